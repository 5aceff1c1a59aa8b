--- moonring.http.response: what a handler answers with.
--
-- A whole response is written by one call of the codec (send). One that is written in pieces has a head first, and
-- its content goes out in chunks, by its known length, or until the connection closes (HTTP/1.0). A writer waits
-- while too much of its connection's output is queued.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local connections = require "moonring.net.connection"
local codec = require "moonring.http.codec"
local exchanges = require "moonring.http.exchange"
local deadlines = require "moonring.http.deadlines"

local write_response = codec.write_response
local live = exchanges.live
local WRITE_HIGH = connections.WRITE_HIGH

local PLAIN_TEXT = "text/plain; charset=utf-8"
local HEAD_FIRST_BYTE = 72 -- "H"

-- How the content of a response goes out that is written in pieces.
local CHUNKS, LENGTH, UNTIL_CLOSE, NOTHING, ENDED = "chunks", "length", "until close", "nothing", "ended"

---@class moonring.http.Response
local Response = { __name = "moonring.http.Response" }
Response.__index = Response

local M = { Response = Response, PLAIN_TEXT = PLAIN_TEXT }

local function refuse_answered(what)
  errors.raise("busy", "response:%s: this request has been answered already", what)
end

-- The exchange, when nothing has been answered yet.
local function unanswered(self, what)
  local exchange = live(self, "response:" .. what)
  if exchange.answered then refuse_answered(what) end
  return exchange
end

-- Waits until less is queued on the connection.
local function drain(exchange, mark)
  local connection = exchange.connection
  local ok, message, code = deadlines.wait(exchange, "write", connection.drain, connection, mark)
  if not ok then exchange.broken = true end
  return ok, message, code
end

-- After a write of the codec's: its results, and the wait where much is queued.
local function written(exchange, queued, message, code)
  if not queued then
    exchange.broken = true
    return nil, message, code
  end
  if queued > WRITE_HIGH then return drain(exchange) end
  return true
end

local function is_head_request(head)
  return head:base()[0] == HEAD_FIRST_BYTE and head:method() == "HEAD"
end

-- Fields --------------------------------------------------------------------------------------------------------------

local function add(list, name, value)
  list[#list + 1] = name
  list[#list + 1] = value
end

local function add_all(list, name, value)
  if type(value) == "table" then
    for _, each in ipairs(value) do
      add(list, name, each)
    end
  else
    add(list, name, value)
  end
end

local function is_content_type(name)
  return name == "Content-Type" or type(name) == "string" and #name == 12 and name:lower() == "content-type"
end

-- One field of a call's: Content-Type has its own place in a response, the others become a list.
local function take(content_type, list, name, value)
  if is_content_type(name) then return value, list end
  list = list or {}
  add_all(list, name, value)
  return content_type, list
end

local function take_all(content_type, list, fields, name)
  for each, value in next, fields, name do
    content_type, list = take(content_type, list, each, value)
  end
  return content_type, list
end

-- The fields of a call. Up to three without a loop: one of few rounds would keep the server's from being compiled.
local function split_fields(fields, content_type)
  local list, name, value = nil, next(fields)
  if name == nil then return content_type, nil end
  content_type, list = take(content_type, list, name, value)
  name, value = next(fields, name)
  if name == nil then return content_type, list end
  content_type, list = take(content_type, list, name, value)
  name, value = next(fields, name)
  if name == nil then return content_type, list end
  content_type, list = take(content_type, list, name, value)
  if next(fields, name) == nil then return content_type, list end
  return take_all(content_type, list, fields, name)
end

-- Those of the call, and those that were set before and have none of their name among them. Names are taken in any case.
-- Vary is a list to which a handler adds what its answer depends on, whatever middleware has said.
local function join_fields(list, set)
  local given = {}
  for number = 1, #list, 2 do
    given[tostring(list[number]):lower()] = true
  end
  for number = 1, #set, 2 do
    local name = set[number]:lower()
    if not given[name] or name == "vary" then add(list, set[number], set[number + 1]) end
  end
  return list
end

-- Content type and list of the response to come. The list may be the exchange's own, and is not to be changed.
local function merge_fields(exchange, fields, default_type)
  local set = exchange.fields or nil
  local content_type = exchange.content_type or default_type or PLAIN_TEXT
  if fields == nil then return content_type, set end
  if type(fields) ~= "table" then
    errors.raise("argument", "response: the fields are a table of name = value, not a %s", type(fields))
  end
  local list
  content_type, list = split_fields(fields, content_type)
  if not set or not list then return content_type, list or set end
  return content_type, join_fields(list, set)
end

local function check_name(what, name)
  if type(name) ~= "string" or not codec.is_token(name) then
    errors.raise("argument", "response:%s: field name %q is not a token", what, tostring(name))
  end
end

local function remove_field(list, name)
  local kept, lower = {}, name:lower()
  for number = 1, #list, 2 do
    if list[number]:lower() ~= lower then add(kept, list[number], list[number + 1]) end
  end
  return kept
end

--- Sets the status of the response to come, where the call that sends it names none.
---@param status integer
---@return moonring.http.Response self
function Response:set_status(status)
  local exchange = unanswered(self, "set_status")
  exchange.plain, exchange.status = false, status
  return self
end

--- Sets a field of the response to come, in the place of any of that name; nil takes it away.
---@param name string
---@param value? string
---@return moonring.http.Response self
function Response:set_field(name, value)
  local exchange = unanswered(self, "set_field")
  check_name("set_field", name)
  exchange.plain = false
  if is_content_type(name) then
    exchange.content_type = value or false
    return self
  end
  exchange.fields = exchange.fields and remove_field(exchange.fields, name) or {}
  if value ~= nil then add(exchange.fields, name, value) end
  return self
end

--- Adds a field to the response to come, beside any of that name.
---@param name string
---@param value string
---@return moonring.http.Response self
function Response:add_field(name, value)
  local exchange = unanswered(self, "add_field")
  check_name("add_field", name)
  exchange.plain = false
  exchange.fields = exchange.fields or {}
  add(exchange.fields, name, value)
  return self
end

--- Sets a cookie with the response to come: see moonring.http.codec.cookie for the attributes.
---@param name string
---@param value string
---@param attributes? moonring.http.CookieAttributes
---@return moonring.http.Response self
function Response:set_cookie(name, value, attributes)
  return self:add_field("Set-Cookie", codec.format_cookie(name, value, attributes))
end

-- The fields of a response to come, when its own are a list that nobody may change. As above, they stand before set ones.
local function merge_list(exchange, list)
  local set = exchange.fields
  if not set then return list end
  local all = {}
  for number = 1, #list do
    all[number] = list[number]
  end
  return join_fields(all, set)
end

-- Whole responses -----------------------------------------------------------------------------------------------------

-- A client that was not told to continue may or may not send the body: what follows can't be told apart.
local function settle_continue(exchange)
  if exchange.wants_continue then exchange.head.keep_alive = false end
end

-- Writes the head, and notes how the content goes out that is `length` bytes long, or nil.
local function begin(exchange, status, content_type, list, length)
  local head = exchange.head
  settle_continue(exchange)
  local stream = CHUNKS
  if length then
    stream = LENGTH
  elseif head.minor_version == 0 then
    stream, head.keep_alive = UNTIL_CLOSE, false
  end
  local queued, message, code = codec.write_response_head(exchange.connection, { status = status,
    content_type = content_type, fields = list, content_length = length, chunked = stream == CHUNKS,
    keep_alive = head.keep_alive, minor_version = head.minor_version })
  exchange.plain = false
  exchange.answered, exchange.sent = status, 0
  exchange.stream, exchange.stream_left = stream, length or false
  if is_head_request(head) or codec.is_bodiless(status) then exchange.stream = NOTHING end
  return written(exchange, queued, message, code)
end

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

-- Content in pieces ---------------------------------------------------------------------------------------------------

--- Sends the head of a response whose content is written in pieces after it.
---@param status? integer
---@param fields? table<string, string|string[]>
---@param length? number bytes of the content, where it is known; otherwise it goes out in chunks
---@return true? ok
---@return string? message
---@return string? code
function Response:start(status, fields, length)
  local exchange = unanswered(self, "start")
  local content_type, list = merge_fields(exchange, fields)
  return begin(exchange, status or exchange.status or 200, content_type, list, length)
end

local function refuse_length(exchange, what, count)
  errors.raise("overflow", "response:%s: %.0f bytes are more than the %.0f that are left of the announced length", what,
    count, exchange.stream_left)
end

-- One chunk whose content is not copied: what connection[method](connection, ...) writes.
local function write_chunk(connection, count, method, ...)
  local ok, message, code = connection:write(codec.chunk_line(count))
  if ok then ok, message, code = connection[method](connection, ...) end
  if ok then ok, message, code = connection:write "\r\n" end
  return ok, message, code
end

local function write_chunk_string(exchange, data)
  local from = 1
  repeat
    local piece = data
    if #data > WRITE_HIGH then piece = data:sub(from, from + WRITE_HIGH - 1) end
    local ok, message, code = written(exchange, codec.write_chunk(exchange.connection, piece))
    if not ok then return ok, message, code end
    from = from + #piece
  until from > #data
  return true
end

-- Makes ready for `count` more bytes of the content: true, false where there are none to be written, or nil, message, code.
local function ready_for(self, exchange, what, count)
  if not exchange.answered then
    local ok, message, code = self:start()
    if not ok then return nil, message, code end
  end
  local stream = exchange.stream
  if not stream or stream == ENDED then
    errors.raise("closed", "response:%s: the response has been sent to its end", what)
  end
  if count == 0 or stream == NOTHING then return false end
  if stream == LENGTH then
    if count > exchange.stream_left then refuse_length(exchange, what, count) end
    exchange.stream_left = exchange.stream_left - count
  end
  exchange.sent = exchange.sent + count
  return true
end

-- Writes `count` bytes of the content by connection[method](connection, ...), which may wait.
local function write_apart(exchange, count, method, ...)
  local connection = exchange.connection
  local ok, message, code
  if exchange.stream == CHUNKS then
    ok, message, code = deadlines.wait(exchange, "write", write_chunk, connection, count, method, ...)
  else
    ok, message, code = deadlines.wait(exchange, "write", connection[method], connection, ...)
  end
  if not ok then exchange.broken = true end
  return ok, message, code
end

--- Writes a piece of the content: a string, or a buffer's remaining bytes, which are sent as they are. The first one
--- sends the head where start has not. Waits while too much is queued.
---@param data string|moonring.Buffer
---@return true? ok
---@return string? message when the client has gone
---@return string? code
function Response:write(data)
  local exchange = live(self, "response:write")
  local is_string = type(data) == "string"
  if not is_string and not buffer.is(data) then
    errors.raise("argument", "response:write: a string or a buffer is needed, not a %s", type(data))
  end
  local count = is_string and #data or data:remaining()
  local ready, message, code = ready_for(self, exchange, "write", count)
  if not ready then return ready == false or nil, message, code end
  if exchange.stream == CHUNKS and is_string then return write_chunk_string(exchange, data) end
  return write_apart(exchange, count, "write", data)
end

--- Writes bytes of an open file as a piece of the content, without copying them where that can be: see
--- connection:write_file.
---@param file moonring.File
---@param offset integer bytes from its beginning
---@param length integer bytes, which the file must have
---@return true? ok
---@return string? message when the client has gone, or the file was too short
---@return string? code
function Response:write_file(file, offset, length)
  local exchange = live(self, "response:write_file")
  if type(length) ~= "number" or length < 0 then
    errors.raise("argument", "response:write_file: the length is a number of bytes, not %s", tostring(length))
  end
  local ready, message, code = ready_for(self, exchange, "write_file", length)
  if not ready then return ready == false or nil, message, code end
  return write_apart(exchange, length, "write_file", file, offset, length)
end

--- Waits until all that has been written is the kernel's.
---@return true? ok
---@return string? message
---@return string? code
function Response:flush()
  return drain(live(self, "response:flush"), 0)
end

-- Ends a response that was written in pieces. Its end is what tells the client that it has all.
local function finish(exchange, trailers)
  local stream = exchange.stream
  exchange.stream = ENDED
  if exchange.broken then return nil, "the connection has ended", "EPIPE" end
  if stream == CHUNKS then return written(exchange, codec.write_last_chunk(exchange.connection, trailers)) end
  if stream == LENGTH and exchange.stream_left > 0 then
    exchange.broken = true
    return nil, ("%.0f bytes of the announced length have not been written"):format(exchange.stream_left), "EPROTO"
  end
  return true
end

--- Whether a response is being written in pieces and has not been finished. Internal.
function M.is_open(exchange)
  local stream = exchange.stream
  return stream and stream ~= ENDED
end
M.finish = finish

--- Ends the content that was written in pieces; the end of the handler does that too.
---@param trailers? table<string, string|string[]> fields behind the content; only where it goes out in chunks
---@return true? ok
---@return string? message when less was written than the length that was announced, or the client has gone
---@return string? code
function Response:finish(trailers)
  local exchange = live(self, "response:finish")
  if not exchange.answered then
    local ok, message, code = self:start()
    if not ok then return ok, message, code end
  end
  if not M.is_open(exchange) then errors.raise("closed", "response:finish: the response has been sent to its end") end
  local list
  if trailers then
    list = {}
    for name, value in pairs(trailers) do
      add_all(list, name, value)
    end
  end
  return finish(exchange, list)
end

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
