--- Request targets, their queries, and forms, which are written alike: percent-encoding (RFC 3986 section 2.1) and
--- the pairs of application/x-www-form-urlencoded (WHATWG URL section 5).

local errors = require "moonring.errors"

local M = {}

local char, tonumber = string.char, tonumber

local function decode_pair(digits)
  return char(tonumber(digits, 16))
end

--- Replaces %XX by the byte. A percent sign without two digits stays as it is.
---@param text string
---@return string
function M.percent_decode(text)
  if not text:find("%", 1, true) then return text end
  return (text:gsub("%%(%x%x)", decode_pair))
end

local function encode_byte(byte)
  return ("%%%02X"):format(byte:byte())
end

--- Replaces all but letters, digits and -._~ by %XX, and leaves the characters of `keep` too: "/" for a path.
---@param text string
---@param keep? string
---@return string
function M.percent_encode(text, keep)
  local class = "[^%w%-._~" .. (keep or ""):gsub("%W", "%%%0") .. "]"
  return (text:gsub(class, encode_byte))
end

-- Of a form: "+" stands for a space.
local function decode_form(text)
  if text:find("+", 1, true) then text = text:gsub("+", " ") end
  return M.percent_decode(text)
end

--- The most pairs of a query or a form that are looked at: more are an attack on whoever makes tables of them.
M.PAIRS_MAX = 1000

--- Takes a query or a form apart. Result: a list of name, value, name, value ... in their order, or nil and why not.
---@param text string
---@return string[]? pairs
---@return string? message
function M.parse_pairs(text)
  local list, count = {}, 0
  for part in text:gmatch "[^&]+" do
    if count == 2 * M.PAIRS_MAX then return nil, ("more than %d pairs"):format(M.PAIRS_MAX) end
    local equals = part:find("=", 1, true)
    list[count + 1] = decode_form(equals and part:sub(1, equals - 1) or part)
    list[count + 2] = equals and decode_form(part:sub(equals + 1)) or ""
    count = count + 2
  end
  return list
end

--- The first value of each name.
---@param list string[] name, value, name, value ...
---@return table<string, string>
function M.first_values(list)
  local values = {}
  for number = 1, #list, 2 do
    local name = list[number]
    if values[name] == nil then values[name] = list[number + 1] end
  end
  return values
end

--- All values of one name.
---@param list string[]
---@param name string
---@return string[]
function M.values_of(list, name)
  local values = {}
  for number = 1, #list, 2 do
    if list[number] == name then values[#values + 1] = list[number + 1] end
  end
  return values
end

local function encode_form(text)
  return (M.percent_encode(text, " "):gsub(" ", "+"))
end

--- Writes a query or a form: from a list of name, value ..., or from a table of name = value (in the names' order).
---@param pairs_ table
---@return string
function M.format_pairs(pairs_)
  local list = pairs_
  if #list == 0 then
    local names = {}
    for name in pairs(pairs_) do
      if type(name) ~= "string" then errors.raise("argument", "format_pairs: a name is a string, not a %s", type(name)) end
      names[#names + 1] = name
    end
    table.sort(names)
    list = {}
    for _, name in ipairs(names) do
      list[#list + 1] = name
      list[#list + 1] = tostring(pairs_[name])
    end
  end
  local parts = {}
  for number = 1, #list, 2 do
    parts[#parts + 1] = encode_form(list[number]) .. "=" .. encode_form(tostring(list[number + 1]))
  end
  return table.concat(parts, "&")
end

--- Splits a request target into path, query (without "?", nil when there is none) and authority (of the absolute form,
--- and of CONNECT's). The path of an absolute target without one is "/", that of the authority form "".
---@param target string
---@return string path
---@return string? query
---@return string? authority
function M.split(target)
  if target:byte() == 47 or target == "*" then
    local question = target:find("?", 1, true)
    if not question then return target, nil, nil end
    return target:sub(1, question - 1), target:sub(question + 1), nil
  end
  local authority, rest = target:match "^%a[%w+.-]*://([^/?]*)(.*)$"
  if not authority then return "", nil, target end
  local path, query = rest:match "^([^?]*)%??(.*)$"
  if path == "" then path = "/" end
  return path, rest:find("?", 1, true) and query or nil, authority
end

return M
