-- moonring.http.response.core: the class of responses, their head, and the wait for a slow client. Internal.
--
-- The other files of this folder add the methods, each those of one subject.

local errors = require "moonring.errors"
local connections = require "moonring.net.connection"
local codec = require "moonring.http.codec"
local exchanges = require "moonring.http.exchange"
local deadlines = require "moonring.http.deadlines"

local live = exchanges.live
local WRITE_HIGH = connections.WRITE_HIGH

local HEAD_FIRST_BYTE = 72 -- "H"

---@class moonring.http.Response
local Response = { __name = "moonring.http.Response" }
Response.__index = Response

local M = {
  Response = Response,
  -- How the content of a response goes out that is written in pieces.
  CHUNKS = "chunks", LENGTH = "length", UNTIL_CLOSE = "until close", NOTHING = "nothing", ENDED = "ended",
}
local CHUNKS, LENGTH, UNTIL_CLOSE, NOTHING = M.CHUNKS, M.LENGTH, M.UNTIL_CLOSE, M.NOTHING

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

M.refuse_answered, M.unanswered, M.drain, M.written = refuse_answered, unanswered, drain, written
M.is_head_request, M.settle_continue, M.begin = is_head_request, settle_continue, begin

return M
