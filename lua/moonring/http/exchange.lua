--- moonring.http.exchange: one request and its response, while they last.
--
-- Between requests a connection holds no buffer and none of the objects here: an exchange is taken from a pool with
-- the first byte of a request. What handlers get are small handles on it that carry its serial number, so that one
-- which is kept too long is told apart from its successor and raises "closed".

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local codec = require "moonring.http.codec"
local deadlines = require "moonring.http.deadlines"

local C, ffi = native.C, native.ffi

local M = {}

-- Handlers that don't wait need one exchange between them all: it is kept apart from the pool, where it is quickest
-- to get.
local spare
local idle, IDLE_MAX = {}, 256

local function new()
  local exchange = table.remove(idle)
  if exchange then return exchange end
  return {
    server = false, -- whose limits and timeouts count
    connection = false, -- whose request it is
    head = codec.new_head(),
    serial = 0, -- grows with each request: what handles are checked against
    answered = false, -- the status of the final response, once it has been written or begun
    sent = 0, -- bytes of its content
    started = 0, -- when its handler was called, where a log is kept
    plain = true, -- nothing below is in use
    body_open = false, -- there may be content that nobody has read
    body = false, -- its decoder, made when the first one is needed
    wants_continue = false,
    broken = false, -- the connection can't go on
    recovering = false, -- its handler has failed
    refusal = false, -- what a body turned out to be that can't be read: status and message
    complaint = false, -- why it can't be read, also where the client has left: an error that says so is not the handler's
    status = false, -- set by response:set_status
    content_type = false, -- set by response:set_field, as are the
    fields = false, -- name, value, name, value ...
    stream = false, -- how the content goes out that is written in pieces: see moonring.http.response
    stream_left = false, -- bytes of it that are still to come, where their number is known
    upgraded = false, -- the handler has the connection
    phase = false, -- what is waited for of the client: "head", "body", "write"
    scope = false, -- in which that is done, and which a timeout cancels
    head_due = false, -- when the head has to be there, however many waits that takes
    request_due = false, -- when all of the request has to be there, once that is of interest
    timed_out = false, -- the phase that was cut short
    taken = 0, -- bytes that the kernel had taken when the wait for a write was looked at last
    view = false, -- the part of the body that the handler reads
    held = ffi.new("mr_iovec"), -- keeps the head's bytes while the body is read
    head_held = false,
  }
end

--- An exchange, of the pool or new. On the hot path only its first lines run.
function M.take()
  local exchange = spare
  if exchange then
    spare = nil
    return exchange
  end
  return new()
end

--- Gives one back whose request has ended.
function M.give(exchange)
  if not spare then
    spare = exchange
  elseif #idle < IDLE_MAX then
    idle[#idle + 1] = exchange
  end
end

--- Ends what handles and views of the request could still reach, and makes the exchange as new.
function M.finish(exchange)
  exchange.serial = exchange.serial + 1
  if exchange.plain then return end
  if exchange.view then C.mr_buffer_release(exchange.view) end
  if exchange.head_held then C.mr_iovec_release(exchange.held) end
  exchange.plain, exchange.head_held = true, false
  exchange.body_open, exchange.wants_continue, exchange.refusal, exchange.complaint = false, false, false, false
  exchange.status, exchange.content_type, exchange.fields = false, false, false
  exchange.stream, exchange.stream_left, exchange.upgraded = false, false, false
  exchange.phase, exchange.scope, exchange.timed_out = false, false, false
  exchange.head_due, exchange.request_due = false, false
end

--- The same for one whose request did not end as it should have; gives it back.
function M.drop(exchange)
  exchange.plain = false
  M.finish(exchange)
  exchange.head:reset()
  exchange.broken, exchange.answered, exchange.recovering = false, false, false
  exchange.server, exchange.connection = false, false
  M.give(exchange)
end

--- Begins the content that the head announces.
function M.begin_body(exchange, head, limits)
  exchange.plain = false
  exchange.body_open = true
  exchange.wants_continue = head.expect_continue
  local body = exchange.body
  if not body then
    body = codec.new_body()
    exchange.body = body
  end
  body:begin(head, limits)
end

-- The head's bytes lie in the buffer that the next read gives back; whoever reads on keeps them.
local function hold_head(exchange)
  if exchange.head_held then return end
  exchange.head_held = C.mr_iovec_clone(exchange.held, exchange.connection.input.memory_) == 0
end

-- Waits for more bytes of the body behind those that are left. True, or nil, message, code.
local function more_input(exchange)
  local connection = exchange.connection
  local input = connection.input
  hold_head(exchange)
  local more, message, code
  if input.limit_ > input.position_ then
    more, message, code = deadlines.wait(exchange, "body", connection.extend, connection, input,
      exchange.server.limits.trailer_bytes)
  else
    more, message, code = deadlines.wait(exchange, "body", connection.read, connection)
  end
  if more then return true end
  exchange.broken = true
  exchange.body_open = false
  exchange.complaint = message or "the client has left before the body was complete"
  return nil, exchange.complaint, code or "ECONNRESET"
end

--- Notes what the client is told when the handler ends without an answer.
function M.note_refusal(exchange, status, message)
  exchange.plain = false
  exchange.refusal, exchange.complaint = { status, message }, message
end

local function refuse_body(exchange, status, message)
  exchange.broken, exchange.body_open = true, false
  M.note_refusal(exchange, status, message)
  return nil, message, status == 413 and "EMSGSIZE" or "EBADMSG"
end

--- Hands on what a read has given, for loops, which have no place for an error: nil, message, code is raised.
function M.raise_failure(part, message, code)
  if message and not part then error(errors.new(code, message), 0) end
  return part
end

--- Waits for the next part of the body. The buffer is lent until the next part is read or the handler ends.
---@return ffi.cdata*? part
---@return string? message
---@return string? code
function M.read_body(exchange)
  if not exchange.body_open then return nil end
  if exchange.wants_continue and not exchange.body:is_refused() then
    exchange.wants_continue = false
    -- Behind the head of the final response it would be a part of its content; the client has understood by then.
    if not exchange.answered then exchange.connection:write(codec.continue) end
  end
  local body = exchange.body
  while true do
    local input = exchange.connection.input
    local count, at, problem = body:next(input)
    if count == nil then
      local more, message, code = more_input(exchange)
      if not more then return nil, message, code end
    elseif count == 0 then
      exchange.body_open = false
      return nil
    elseif not count then
      return refuse_body(exchange, at, problem)
    else
      exchange.view = exchange.view or buffer.new()
      return codec.view_of(exchange.view, input, at, count)
    end
  end
end

--- The exchange behind a handle; raises "closed" when it serves another request by now.
function M.live(handle, what)
  local exchange = handle[1]
  if exchange.serial ~= handle[2] then
    errors.raise("closed", "%s: the request has been answered and its handler has ended", what)
  end
  return exchange
end

return M
