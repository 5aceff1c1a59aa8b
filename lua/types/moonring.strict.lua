---@meta moonring.strict
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

--- globals have to be declared, for a forgotten `local` is a variable that all tasks share.
local module = {}

return module
