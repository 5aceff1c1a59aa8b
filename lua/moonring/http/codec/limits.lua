--- The limits of messages: what each is, its default, and checking a user's own. Data and one function.

local errors = require "moonring.errors"
local native = require "moonring.native"

local C = native.C

local M = {}

---@class moonring.http.Limits
---@field line_bytes integer of one line of a head, its CR LF included
---@field head_bytes integer from the request or status line to the empty line, both included
---@field field_count integer fields of a head, or of the trailers
---@field target_bytes integer of the request target
---@field body_bytes number of a body's content, whatever its framing; math.huge for any
---@field chunk_extension_bytes integer of the extensions of one chunk, which are ignored
---@field trailer_bytes integer of all trailer fields, the empty line included

---@type moonring.http.Limits
M.defaults = {
  line_bytes = 8448, -- a target of its limit, with room for the method and the version
  head_bytes = 16384, -- what servers commonly take; also bounds what a client can make us hold for it
  field_count = 100,
  target_bytes = 8192, -- RFC 9112 section 3 recommends at least 8000
  body_bytes = 1048576,
  chunk_extension_bytes = 256,
  trailer_bytes = 8192,
}

-- Below these no message passes.
local MINIMUM = { line_bytes = 16, head_bytes = 16, field_count = 1, target_bytes = 1, body_bytes = 0,
  chunk_extension_bytes = 0, trailer_bytes = 2 }
local MAXIMUM = { field_count = tonumber(C.MR_HEAD_FIELDS_MAX), body_bytes = math.huge }
local MAXIMUM_OF_OTHERS = 1073741824

local function names()
  local list = {}
  for name in pairs(M.defaults) do
    list[#list + 1] = name
  end
  table.sort(list)
  return table.concat(list, ", ")
end

--- The defaults with a user's own limits over them. Raises "argument" for a name or a value that is none.
---@param what string the public function they were given to
---@param given? table
---@return moonring.http.Limits
function M.merge(what, given)
  if not given then return M.defaults end
  local merged = {}
  for name, default in pairs(M.defaults) do
    merged[name] = default
  end
  for name, value in pairs(given) do
    if not merged[name] then
      errors.raise("argument", "%s: there is no limit %s; limits are %s", what, tostring(name), names())
    end
    local maximum = MAXIMUM[name] or MAXIMUM_OF_OTHERS
    if type(value) ~= "number" or not (value >= MINIMUM[name] and value <= maximum)
        or value % 1 ~= 0 and value ~= math.huge then
      errors.raise("argument", "%s: limit %s is a whole number from %d to %g, not %s", what, name, MINIMUM[name], maximum,
        tostring(value))
    end
    merged[name] = value
  end
  return merged
end

--- What a refusal says of a limit that was passed.
---@param what string
---@param limits moonring.http.Limits
---@param name string
function M.exceeded(what, limits, name)
  return ("%s (the limit %s is %.0f)"):format(what, name, limits[name])
end

return M
