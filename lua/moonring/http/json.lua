--- moonring.http.json: JSON by lua-cjson, loaded when it is first needed.
--
-- What cjson does otherwise than services want is made up for here where that can be: it takes strings that are not
-- UTF-8, and an empty table is an object to it. It writes fourteen digits of a number, or sixteen where it is newer than
-- 2.1.0, so an id that may be longer goes as a string.
--
-- cjson's defaults bound the depth of what it reads and writes to 1000; here it is 128 for reading, which no document of a
-- service reaches and which keeps a hostile one from costing much.

local errors = require "moonring.errors"
local native = require "moonring.native"
local digest = require "moonring.digest"

local C = native.C

local M = {}

--- How deep a text that is read may be nested.
M.DEPTH_MAX = 128

--- What stands for null, which a Lua table can't hold. Loads lua-cjson when it is first asked for.
---@type userdata
M.null = nil

local cjson
-- Stands for an empty array until the text is written. Nobody can guess it, so no other string is taken for it.
local empty_array

local function load_cjson()
  if cjson then return cjson end
  local ok, module = pcall(require, "cjson.safe")
  if not ok then
    errors.raise("unavailable", "JSON needs lua-cjson: apt-get install lua-cjson, or luarocks install lua-cjson")
  end
  cjson = module.new()
  cjson.decode_max_depth(M.DEPTH_MAX)
  cjson.decode_invalid_numbers(false) -- NaN, Infinity and hexadecimal are not JSON
  pcall(cjson.encode_number_precision, 16) -- cjson 2.1.0 refuses more than the 14 that it begins with
  M.null = cjson.null
  return cjson
end

--- Reads a JSON text. Raises "unavailable" when lua-cjson is not installed.
---@param text string
---@return any value nil where it is malformed or too deep; null is M.null
---@return string? message
function M.decode(text)
  if text:find("%z") then return nil, "malformed JSON: NUL" end -- where cjson would stop reading
  if C.mr_utf8_span(text, #text) ~= #text then return nil, "malformed JSON: it is not UTF-8" end -- RFC 8259 section 8.1
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
  if empty_array then text = text:gsub('"' .. empty_array .. '"', "[]") end
  return text
end

--- A list, as an array of JSON also when it is empty: an empty table would be written as {}.
---@generic T
---@param list T[]
---@return T[]|string array the list, or what stands for an empty one
function M.array(list)
  if type(list) ~= "table" then errors.raise("argument", "json.array: a list is needed, not a %s", type(list)) end
  if next(list) ~= nil then return list end
  empty_array = empty_array or digest.random(16):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  return empty_array
end

return setmetatable(M, {
  __index = function(self, key)
    if key == "null" then
      load_cjson()
      return rawget(self, "null")
    end
  end,
})
