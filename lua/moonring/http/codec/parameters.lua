--- The parameters behind a field's value, such as those of Content-Type and Content-Disposition (RFC 9110 section 5.6.6).

local target = require "moonring.http.codec.target"

local M = {}

-- Behind the opening quote at `from`: the text up to the closing one, and where what follows it begins. Browsers put file
-- names into quotes without escaping backslashes (WHATWG HTML, "multipart/form-data encoding algorithm"), so a quote
-- behind a backslash closes all the same where nothing follows it; everywhere else it is taken as escaped, for what has
-- an escaped quote in it must not be able to end there and name another parameter.
local function read_quoted(text, from)
  local at, parts = from, {}
  while true do
    local stop = text:find('["\\]', at)
    if not stop then return nil end
    parts[#parts + 1] = text:sub(at, stop - 1)
    if text:byte(stop) == 34 then return table.concat(parts), stop + 1 end
    local escaped = text:sub(stop + 1, stop + 1)
    if escaped == '"' and text:find("^%s*$", stop + 2) then
      parts[#parts + 1] = "\\"
      return table.concat(parts), stop + 2
    end
    if escaped == '"' or escaped == "\\" then
      parts[#parts + 1] = escaped
      at = stop + 2
    else
      parts[#parts + 1] = "\\" -- it escapes nothing: a Windows path
      at = stop + 1
    end
  end
end

--- Reads `; name=value; name="quoted value"`. What is malformed ends the reading; of several with one name the first counts.
---@param text string all from the first semicolon on
---@return table<string, string> values by names in lower case
function M.parse(text)
  local values, at = {}, 1
  while true do
    at = text:match("^%s*;%s*()", at)
    if not at then return values end
    local name, behind = text:match('^([^%s=;"]+)%s*=%s*()', at)
    if name then
      local value
      if text:byte(behind) == 34 then
        value, at = read_quoted(text, behind + 1)
        if not value then return values end
      else
        value, at = text:match('^([^%s;"]*)()', behind)
      end
      name = name:lower()
      if values[name] == nil then values[name] = value end
    else
      at = text:match('^[^%s=;"]*()', at) -- a name alone, or nothing between two semicolons
    end
  end
end

--- Reads the value of a parameter whose name ends with an asterisk: `UTF-8'en'%e2%82%ac` (RFC 8187 section 3.2).
---@param value? string
---@return string? text nil where it is none, or of another charset
function M.extended(value)
  local charset, encoded = (value or ""):match "^([^']*)'[^']*'(.*)$"
  if not charset or charset:lower() ~= "utf-8" then return nil end
  return target.percent_decode(encoded)
end

return M
