--- moonring.http.response: what a handler answers with.
--
-- What sends a whole response is in response/whole.lua, what writes one in pieces in response/pieces.lua, fields in
-- response/fields.lua. Here is what hands the request on: to events, files, another protocol.

local errors = require "moonring.errors"
local codec = require "moonring.http.codec"
local exchanges = require "moonring.http.exchange"
local core = require "moonring.http.response.core"
local fields_of = require "moonring.http.response.fields"
local whole = require "moonring.http.response.whole"
local pieces = require "moonring.http.response.pieces"

local Response, live = core.Response, exchanges.live
local unanswered, written, is_head_request = core.unanswered, core.written, core.is_head_request
local add_all = fields_of.add_all

--- For what serves requests. Internal.
local M = {
  Response = Response,
  PLAIN_TEXT = fields_of.PLAIN_TEXT,
  send = whole.send, send_list = whole.send_list, start_list = whole.start_list,
  is_open = pieces.is_open, finish = pieces.finish,
}

--- Begins a stream of server-sent events: see moonring.http.events.
---@param fields? table<string, string|string[]>
---@return moonring.http.Events? events
---@return string? message
---@return string? code
function Response:events(fields)
  return require("moonring.http.events").begin(self, fields)
end

--- Whether the request is a HEAD: what is written is dropped then, so it need not be fetched.
---@return boolean
function Response:is_head()
  return is_head_request(live(self, "response:is_head").head)
end

--- Answers with a file of the caller's choice, as moonring.http.static does: with its type, conditions and ranges. A
--- path that is made of what a client has sent is for http.static, which keeps it below a directory.
---@param path string
---@param options? moonring.http.FileOptions
---@return true? ok
---@return string? message
---@return string? code "ENOENT" ...: nothing has been sent, and the handler answers otherwise
function Response:file(path, options)
  unanswered(self, "file")
  local request = setmetatable({ self[1], self[2] }, require("moonring.http.request").Request)
  return require("moonring.http.static").send_file(request, self, path, options)
end

--- Changes to another protocol: sends 101 (or, for a CONNECT, 200) and hands the connection over. It is the handler's
--- until that returns, and is closed then. Bytes that have come behind the request are in the buffer: they come
--- before any that the connection reads, and its read gives that buffer back, so they are to be taken first
--- (connection:extend adds to them).
---
--- With `serve` the connection is not the handler's: it goes to serve(connection, unread) once the handler has returned,
--- when nothing of the request is held any more. That takes some 6 KiB less for a connection that lasts.
---@param protocol? string for the field Upgrade; none for CONNECT
---@param fields? table<string, string|string[]>
---@param serve? fun(connection: moonring.Connection, unread: moonring.Buffer)
---@return moonring.Connection connection
---@return moonring.Buffer unread
function Response:upgrade(protocol, fields, serve)
  local exchange = unanswered(self, "upgrade")
  local head, list = exchange.head, {}
  local is_tunnel = head:method() == "CONNECT"
  if not is_tunnel and not head.upgrade then
    errors.raise("argument", "response:upgrade: the client has not asked for another protocol; see request.upgrades")
  end
  if exchange.body_open then errors.raise("busy", "response:upgrade: the request's body has not been read to its end") end
  for name, value in pairs(fields or {}) do
    add_all(list, name, value)
  end
  local status = is_tunnel and 200 or 101
  local queued, message, code = codec.write_response_head(exchange.connection, { status = status, fields = list,
    upgrade = protocol, keep_alive = true })
  exchange.plain, exchange.upgraded = false, serve or true
  exchange.answered, exchange.sent = status, 0
  written(exchange, queued, message, code) -- a client that has gone is found by whoever uses the connection
  return exchange.connection, exchange.connection.input
end

function Response:__tostring()
  if self[1].serial ~= self[2] then return "moonring.http.Response(ended)" end
  return ("moonring.http.Response(%s)"):format(self[1].answered and "sent" or "open")
end

return M
