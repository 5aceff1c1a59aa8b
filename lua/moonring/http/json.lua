--- moonring.http.json: JSON by lua-cjson, loaded when it is first needed.
--
-- cjson's defaults bound the depth of what it reads and writes to 1000; here it is 128 for reading, which no document of a
-- service reaches and which keeps a hostile one from costing much.

local errors = require "moonring.errors"

local M = {}

--- How deep a text that is read may be nested.
M.DEPTH_MAX = 128

--- What stands for null, which a Lua table can't hold. Loads lua-cjson when it is first asked for.
---@type userdata
M.null = nil

local cjson

local function load_cjson()
  if cjson then return cjson end
  local ok, module = pcall(require, "cjson.safe")
  if not ok then
    errors.raise("unavailable", "JSON needs lua-cjson: apt-get install lua-cjson, or luarocks install lua-cjson")
  end
  cjson = module.new()
  cjson.decode_max_depth(M.DEPTH_MAX)
  cjson.decode_invalid_numbers(false) -- NaN, Infinity and hexadecimal are not JSON
  M.null = cjson.null
  return cjson
end

--- Reads a JSON text. Raises "unavailable" when lua-cjson is not installed.
---@param text string
---@return any value nil where it is malformed or too deep; null is M.null
---@return string? message
function M.decode(text)
  local value, message = load_cjson().decode(text)
  if value == nil then return nil, "malformed JSON: " .. tostring(message) end
  return value
end

--- Writes a value as JSON. Raises "argument" for what has no JSON form: functions, sparse arrays, NaN, cycles.
---@param value any
---@return string
function M.encode(value)
  local text, message = load_cjson().encode(value)
  if not text then errors.raise("argument", "json: %s", tostring(message)) end
  return text
end

return setmetatable(M, {
  __index = function(self, key)
    if key == "null" then
      load_cjson()
      return rawget(self, "null")
    end
  end,
})
