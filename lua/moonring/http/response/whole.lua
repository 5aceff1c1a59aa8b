-- moonring.http.response.whole: responses that are sent by one call. Internal.
--
-- A string goes out in one piece with its head, by one call of the codec.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local connections = require "moonring.net.connection"
local codec = require "moonring.http.codec"
local exchanges = require "moonring.http.exchange"
local deadlines = require "moonring.http.deadlines"
local core = require "moonring.http.response.core"
local fields_of = require "moonring.http.response.fields"

local Response = core.Response
local write_response, live = codec.write_response, exchanges.live
local unanswered, refuse_answered, drain, written = core.unanswered, core.refuse_answered, core.drain, core.written
local is_head_request, settle_continue, begin = core.is_head_request, core.settle_continue, core.begin
local merge_fields, merge_list, add_all = fields_of.merge, fields_of.merge_list, fields_of.add_all
local LENGTH, ENDED, WRITE_HIGH = core.LENGTH, core.ENDED, connections.WRITE_HIGH

local M = {}

-- Content that is not put into one piece with its head: buffers are not copied, long strings go out bit by bit.
local function send_apart(exchange, status, body, content_type, list)
  local length = type(body) == "string" and #body or body:remaining()
  local ok, message, code = begin(exchange, status, content_type, list, length)
  if not ok then return ok, message, code end
  if exchange.stream == LENGTH and length > 0 then
    local connection = exchange.connection
    ok, message, code = deadlines.wait(exchange, "write", connection.write, connection, body)
    if not ok then exchange.broken = true end
    exchange.sent = length
  end
  exchange.stream = ENDED
  return ok, message, code
end

local function send_merged(exchange, status, body, content_type, list)
  local head = exchange.head
  settle_continue(exchange)
  if type(body) ~= "string" or #body > WRITE_HIGH then
    if type(body) ~= "string" and not buffer.is(body) then
      errors.raise("argument", "response:send: the body is a %s: a string or a buffer is needed", type(body))
    end
    return send_apart(exchange, status, body, content_type, list)
  end
  local queued, message, code = write_response(exchange.connection, status, content_type, body, head.keep_alive,
    is_head_request(head), list, head.minor_version)
  exchange.answered, exchange.sent = status, #body
  if not queued then
    exchange.broken = true
    return nil, message, code
  end
  if queued > WRITE_HIGH then return drain(exchange) end
  return true
end

local function send(exchange, status, body, fields, default_type)
  local content_type, list = merge_fields(exchange, fields, default_type)
  return send_merged(exchange, status, body, content_type, list)
end
M.send = send

--- Sends the response whose fields but its type are a list { name, value, name, value ... }. Internal.
function M.send_list(self, status, body, content_type, list)
  local exchange = unanswered(self, "send")
  return send_merged(exchange, status, body, content_type, merge_list(exchange, list))
end

--- Sends a head in the same way, whose `length` bytes of content are written after it. Internal.
function M.start_list(self, status, content_type, list, length)
  local exchange = unanswered(self, "start")
  return begin(exchange, status, content_type, merge_list(exchange, list), length)
end

--- Sends the response: status, body and the length of it. A buffer's memory is sent as it is and must not be changed
--- any more.
---@param status? integer 200 to 999; nil: that of set_status, or 200
---@param body? string|moonring.Buffer
---@param fields? table<string, string|string[]> header fields; Content-Type is text/plain unless it is among them
---@return true? ok
---@return string? message
---@return string? code
function Response:send(status, body, fields)
  local exchange = live(self, "response:send")
  if exchange.answered then refuse_answered "send" end
  return send(exchange, status or exchange.status or 200, body or "", fields)
end

--- Sends a value as JSON. Raises "argument" for what has no JSON form, and "unavailable" without lua-cjson.
---@param status integer
---@param value any
---@param fields? table<string, string|string[]>
---@return true? ok
---@return string? message
---@return string? code
function Response:json(status, value, fields)
  local exchange = unanswered(self, "json")
  local text = require("moonring.http.json").encode(value)
  return send(exchange, status or exchange.status or 200, text, fields, "application/json")
end

--- Sends the client to another place.
---@param location string a URI or a path, percent-encoded
---@param status? integer default 302 (Found); 301, 303, 307, 308
---@return true? ok
---@return string? message
---@return string? code
function Response:redirect(location, status)
  local exchange = unanswered(self, "redirect")
  if type(location) ~= "string" or location == "" or location:find "[%c ]" then
    errors.raise("argument", "response:redirect: %q is not a URI reference; percent-encode it", tostring(location))
  end
  return send(exchange, status or 302, "", { Location = location })
end

--- Sends an interim response before the final one, such as 103 with Link fields. Clients of HTTP/1.0 get none.
---@param status integer 100, or 102 to 199
---@param fields? table<string, string|string[]>
---@return true? ok
---@return string? message
---@return string? code
function Response:inform(status, fields)
  local exchange = unanswered(self, "inform")
  if exchange.head.minor_version == 0 then return true end
  if status == 100 then
    exchange.wants_continue = false
    return written(exchange, codec.write_interim(exchange.connection, 100))
  end
  local list = {}
  for name, value in pairs(fields or {}) do
    add_all(list, name, value)
  end
  return written(exchange, codec.write_interim(exchange.connection, status, list))
end

return M
