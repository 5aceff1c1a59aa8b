--- moonring.http.middleware.compress: gzip for what handlers send as a whole, by send and json. What goes out in pieces
--- is left as it is, and files have their own ways (http.static).
--
-- An answer that has a secret in it beside what a stranger can choose tells its length, and with it the secret bit by bit
-- (BREACH), so what has tokens in its pages is better left alone.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local conditions = require "moonring.http.codec.conditions"
local media_types = require "moonring.http.media_types"
local responses = require "moonring.http.response"

local M = {}

---@class moonring.http.CompressOptions
---@field min_bytes? integer shorter content is sent as it is; default 1024
---@field max_bytes? integer longer content is, too, because compressing holds the loop; default 1 MiB
---@field level? integer 1 to 9; default 4

local DEFAULTS = { min_bytes = 1024, max_bytes = 1048576, level = 4 }
local OPTIONS = { min_bytes = "number", max_bytes = "number", level = "number" }

-- The fields of the call, and those that were set before, by their names in lower case: { name, value }.
local function by_name(fields, set)
  local out = {}
  for number = 1, #set, 2 do
    out[set[number]:lower()] = { set[number], set[number + 1] }
  end
  for name, value in pairs(fields or {}) do
    if type(name) == "string" then out[name:lower()] = { name, value } end
  end
  return out
end

local function is_worth_it(self, status, body, media_type)
  return type(body) == "string" and #body >= self.min_bytes and #body <= self.max_bytes and status ~= 206
    and media_types.is_compressible(media_type)
end

local function compressed(text, level)
  local output = buffer.deflate(text, { format = "gzip", level = level })
  if not output then return nil end
  local result = output:to_string()
  output:release()
  return #result < #text and result or nil
end

-- The fields of the compressed form: another representation, so a strong tag would be wrong for it (RFC 9110 section 8.8.1).
local function fields_for(fields, known)
  local out = {}
  for name, value in pairs(fields or {}) do
    out[name] = value
  end
  local tag = known.etag
  if tag and tostring(tag[2]):sub(1, 1) == '"' then out[tag[1]] = "W/" .. tag[2] end
  out["Content-Encoding"] = "gzip"
  return out
end

local function send(self, response, status, body, fields)
  local exchange, known = response[1], by_name(fields, response[1].fields or {})
  local media_type = known["content-type"] and known["content-type"][2] or exchange.content_type or responses.PLAIN_TEXT
  if not known["content-encoding"] and is_worth_it(self, status or exchange.status, body, media_type) then
    local shorter = compressed(body, self.level)
    if shorter then body, fields = shorter, fields_for(fields, known) end
  end
  return responses.Response.send(response, status, body, fields)
end

--- Makes the middleware.
---@param options? moonring.http.CompressOptions
---@return function
function M.new(options)
  options = options or {}
  errors.check_options("http.compress", options, OPTIONS)
  local self = setmetatable({}, { __index = DEFAULTS })
  for name, value in pairs(options) do
    self[name] = value
  end
  if self.level % 1 ~= 0 or self.level < 1 or self.level > 9 then
    errors.raise("argument", "http.compress: the level is from 1 to 9, not %s", tostring(self.level))
  end
  local function send_one(response, status, body, fields)
    return send(self, response, status, body, fields)
  end
  local function json_one(response, status, value, fields)
    local all = { ["Content-Type"] = not by_name(fields, {})["content-type"] and "application/json" or nil }
    for name, each in pairs(fields or {}) do
      all[name] = each
    end
    return send(self, response, status, require("moonring.http.json").encode(value), all)
  end
  return function(request, response, next)
    response:add_field("Vary", "Accept-Encoding")
    if conditions.accepts_gzip(request:header "accept-encoding") then
      response.send, response.json = send_one, json_one
    end
    return next(request, response)
  end
end

return M
