---@meta moonring.http.json
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

--- JSON by lua-cjson, loaded when it is first needed.
--- 
--- What cjson does otherwise than services want is made up for here where that can be: it takes strings that are not
--- UTF-8, and an empty table is an object to it. It writes fourteen digits of a number, or sixteen where it is newer than
--- 2.1.0, so an id that may be longer goes as a string.
--- 
--- cjson's defaults bound the depth of what it reads and writes to 1000; here it is 128 for reading, which no document of a
--- service reaches and which keeps a hostile one from costing much.
local module = {}

--- How deep a text that is read may be nested.
---@type any
module.DEPTH_MAX = nil

--- A list, as an array of JSON also when it is empty: an empty table would be written as {}.
---@param list T[]
---@return T[]|string array the list, or what stands for an empty one
function module.array(list) end

--- Reads a JSON text. Raises "unavailable" when lua-cjson is not installed.
---@param text string
---@return any value nil where it is malformed or too deep; null is M.null
---@return string? message
function module.decode(text) end

--- Writes a value as JSON. Raises "argument" for what has no JSON form: functions, sparse arrays, NaN, cycles.
---@param value any
---@return string
function module.encode(value) end

--- What stands for null, which a Lua table can't hold. Loads lua-cjson when it is first asked for.
---@type userdata
module.null = nil

return module
