-- moonring.http.response.pieces: responses whose content is written after their head: in chunks, by its known length, or
-- until the connection closes (HTTP/1.0). A writer waits while too much of its connection's output is queued. Internal.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local connections = require "moonring.net.connection"
local codec = require "moonring.http.codec"
local exchanges = require "moonring.http.exchange"
local deadlines = require "moonring.http.deadlines"
local core = require "moonring.http.response.core"
local fields_of = require "moonring.http.response.fields"

local Response, live = core.Response, exchanges.live
local unanswered, drain, written, begin = core.unanswered, core.drain, core.written, core.begin
local merge_fields, add_all = fields_of.merge, fields_of.add_all
local CHUNKS, LENGTH, NOTHING, ENDED, WRITE_HIGH = core.CHUNKS, core.LENGTH, core.NOTHING, core.ENDED, connections.WRITE_HIGH

local M = {}

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
  errors.check_offset("response:write_file", "the offset", offset)
  errors.check_offset("response:write_file", "the length", length)
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

return M
