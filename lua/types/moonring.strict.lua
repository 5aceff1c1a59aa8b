---@meta moonring.strict
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

--- globals have to be declared, for a forgotten `local` is a variable that all tasks share.
local module = {}

--- From now on reading a global that nobody has set raises, and so does setting a new one inside of a function. A main
--- chunk may set any, and so may rawset: `require("moonring.strict").on()` at the top of a script.
function module.on() end

return module
