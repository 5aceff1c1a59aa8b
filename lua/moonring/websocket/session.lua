-- moonring.websocket.session: a WebSocket over a connection: messages in and out, the closing handshake, keep-alive.
--
-- One task receives, any number may send (moonring.websocket.sending).
--
-- It ends once both sides have sent a Close, or the connection fails. Whoever receives answers the peer's Close and
-- Pings; so somebody must receive for the peer to get its answers.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local deadline = require "moonring.deadline"
local clock = require "moonring.clock"
local buffer = require "moonring.buffer"
local event = require "moonring.event"
local connections = require "moonring.net.connection"
local frames = require "moonring.websocket.frames"
local messages = require "moonring.websocket.messages"
local sending = require "moonring.websocket.sending"
local deflate = require "moonring.websocket.deflate"

local M = {
  -- Seconds that close waits for the peer's Close.
  CLOSE_TIMEOUT = 5,
  -- Bytes of Pongs that are queued behind what the peer has not taken.
  PONG_BYTES_MAX = 16384,
}

-- The least room in which a message of several parts is put together.
local GATHER_FIRST_BYTES = 4096

---@class moonring.WebSocket
---@field protocol? string the subprotocol that was agreed on
---@field close_code? integer of the peer's Close; 1005 when it had none, 1006 when the connection ended without one
---@field close_reason? string
---@field extensions string what was agreed on, "" for nothing
local Session = { __name = "moonring.WebSocket" }
Session.__index = Session
M.Session = Session
for name, method in pairs(sending.methods) do
  Session[name] = method
end

---@class moonring.websocket.SessionOptions
---@field role "server"|"client"
---@field protocol? string
---@field agreement? moonring.websocket.DeflateAgreement
---@field compress? moonring.websocket.DeflateOptions with its defaults, where there is an agreement
---@field max_message_bytes? integer of a received message, decompressed; default 1 MiB
---@field ping_interval? number seconds without a sign of the peer after which it is pinged; as many later it is given up
---@field rest? moonring.Buffer bytes behind the handshake

--- Makes a WebSocket of a connection on which the handshake has been done. It takes the connection over. Internal.
---@param connection moonring.Connection
---@param options moonring.websocket.SessionOptions
---@return moonring.WebSocket
function M.new(connection, options)
  local agreement, is_server = options.agreement, options.role == "server"
  local inflation, deflation
  if agreement then
    local ours, theirs = "server", "client"
    if not is_server then ours, theirs = theirs, ours end
    inflation = deflate.inflation(agreement[theirs .. "_max_window_bits"], agreement[theirs .. "_no_context_takeover"])
    deflation = deflate.deflation(agreement[ours .. "_max_window_bits"], agreement[ours .. "_no_context_takeover"],
      options.compress)
  end
  local self = setmetatable({
    connection = connection,
    masks = not is_server,
    protocol = options.protocol,
    extensions = agreement and deflate.NAME or "",
    reader = messages.reader { role = options.role, max_message_bytes = options.max_message_bytes, inflation = inflation },
    deflation = deflation,
    input = options.rest or false,
    receiver = false, -- the task that receives
    gathered = false, -- the parts of a message, while receive puts them together
    given = false, -- receive_part has lent them out
    close_sent = false,
    close_code = nil,
    failure = false, -- { message, code } that receive goes on returning
    sending = false, -- a semaphore while a message goes out in several frames
    fragmented = false, -- its opcode, while send_part has begun a message
    over = false, -- an event, while somebody waits for the end
    interval = options.ping_interval or false,
    timer = false,
    pong_bytes = 0, -- queued since there was too much of it
    seen = 0, -- when the last bytes came
    pinged = false,
  }, Session)
  connection.on_stop = function() self:go_away() end
  if self.interval then
    if type(self.interval) ~= "number" or self.interval ~= self.interval or self.interval <= 0 then
      errors.raise("argument", "websocket: ping_interval is a number of seconds above 0, not %s", tostring(self.interval))
    end
    self.seen = clock.now()
    self.timer = clock.start(self.interval, self)
  end
  return self
end

-- The end -------------------------------------------------------------------------------------------------------------

-- Nothing comes any more.
local function finish(self)
  if self.timer then clock.stop(self.timer, self) end
  self.timer = false
  self.reader:close()
  if self.gathered then self.gathered:release() end
  self.gathered = false
  if self.deflation then self.deflation:close() end
  if self.over then self.over:set() end
end

local function end_by(self, code, reason, failure)
  if self.close_code then return end
  self.close_code, self.close_reason, self.failure = code, reason, failure
  finish(self)
end

local function send_close(self, payload)
  if self.close_sent then return end
  self.close_sent = true
  sending.queue_control(self, frames.CLOSE, payload)
end

-- Section 7.1.1: the server closes the connection first, so that the client is not left in TIME_WAIT.
local function hang_up(self)
  self.connection:shutdown()
end

-- The peer's Close. A malformed one is answered as a breach of the protocol.
local function take_close(self, payload)
  local code, reason, message = frames.parse_close(payload)
  if code == false then
    send_close(self, frames.close_payload(reason, message))
    hang_up(self)
    return end_by(self, 1006, message, { "websocket: " .. message, "EPROTO" })
  end
  send_close(self, payload)
  hang_up(self)
  return end_by(self, code or 1005, reason)
end

-- Who sends Pings and takes no Pongs would have us queue them without end. So with a full queue only so many are added
-- before receiving waits until the peer has taken some.
local function answer_ping(self, payload)
  local queued = sending.queue_control(self, frames.PONG, payload)
  if not queued or queued <= connections.WRITE_HIGH then
    self.pong_bytes = 0
    return
  end
  self.pong_bytes = self.pong_bytes + #payload + frames.HEADER_MAX
  if self.pong_bytes > M.PONG_BYTES_MAX then
    self.pong_bytes = 0
    self.connection:drain()
  end
end

local function take_control(self, opcode, payload)
  if opcode == frames.CLOSE then return take_close(self, payload) end
  if opcode == frames.PING and not self.close_sent then answer_ping(self, payload) end
end

local function take_breach(self, code, message)
  send_close(self, frames.close_payload(code, message))
  hang_up(self)
  end_by(self, 1006, message, { "websocket: " .. message, code == 1009 and "EMSGSIZE" or "EPROTO" })
end

-- Gets more bytes from the connection. Whether there are any.
local function read_more(self)
  local input, message, code = self.connection:read()
  if input then
    self.input = input
    self.seen, self.pinged = self.timer and clock.now() or 0, false
    return true
  end
  if self.close_code then return false end
  message = message or "the peer has left without a Close"
  end_by(self, 1006, message, { "websocket: " .. message, code or "ECONNRESET" })
  return false
end

-- Receiving -----------------------------------------------------------------------------------------------------------

local function receive_part(self)
  while not self.close_code do
    local input = self.input
    if not input then
      if not read_more(self) then break end
      input = self.input
    end
    local what, detail, value = self.reader:next(input)
    if what == "part" then return detail, value end
    if what == nil then
      self.input = false
    elseif what then
      take_control(self, detail, value)
    else
      take_breach(self, detail, value)
    end
  end
end

local function ended(self)
  local failure = self.failure
  if failure then return nil, failure[1], failure[2] end
  return nil
end

local function begin_receiving(self, what)
  if self.receiver then
    errors.raise("busy", "websocket:%s: %s receives from it already, and %s wants to; one task at a time", what,
      tostring(self.receiver), tostring(scheduler.current()))
  end
  self.receiver = scheduler.current()
end

local function end_receiving(self, ok, ...)
  self.receiver = false
  if ok then return ... end
  local failure = ...
  if self.failure and errors.is(failure, "closed") then return ended(self) end -- the keep-alive has closed the connection
  error(failure, 0)
end

-- The guard lets the next receive be made when this one is cancelled.
local function guarded(self, what, fn)
  begin_receiving(self, what)
  return end_receiving(self, pcall(fn, self))
end

local function kind_of(self)
  return self.reader:is_text() and "text" or "binary"
end

local function part_with_kind(self)
  local part, is_last = receive_part(self)
  if not part then return ended(self) end
  return part, is_last, kind_of(self)
end

local function drop_gathered(self)
  if self.gathered then self.gathered:release() end
  self.gathered = false
end

-- What a cancelled receive has gathered of a message comes first.
local function first_part(self)
  local gathered = self.gathered
  if not gathered then return part_with_kind(self) end
  if self.given then
    drop_gathered(self)
    self.given = false
    return part_with_kind(self)
  end
  self.given = true
  return gathered:reset_for_read(), false, kind_of(self)
end

--- Waits for the next part of a message: as much of it as is there. The buffer is lent until the next call.
---@return moonring.Buffer? part nil at the end, see receive
---@return boolean|string? is_last whether it ends its message
---@return string? kind
function Session:receive_part()
  return guarded(self, "receive_part", first_part)
end

-- Puts a part behind those before it, in a buffer that grows by doubling.
local function gather(self, part)
  local gathered, length = self.gathered, part:remaining()
  if not gathered then
    gathered = buffer.allocate(math.max(GATHER_FIRST_BYTES, length * 2))
  elseif length > gathered:remaining() then
    local larger = buffer.allocate(math.max(gathered.capacity * 2, gathered.position + length))
    larger:write(gathered:reset_for_read())
    gathered:release()
    gathered = larger
  end
  self.gathered = gathered:write(part)
end

-- The next message as it lies in one part, or gathered, and then the caller's to release. What has come of it when this is
-- cancelled stays in self.gathered.
local function receive_whole(self)
  while true do
    local part, is_last = receive_part(self)
    if not part then
      drop_gathered(self)
      return nil
    end
    if is_last and not self.gathered then return part, false end
    gather(self, part)
    if is_last then
      local gathered = self.gathered
      self.gathered = false
      return gathered:reset_for_read(), true
    end
  end
end

local function receive_string(self)
  local whole, is_ours = receive_whole(self)
  if not whole then return ended(self) end
  local text = whole:to_string()
  if is_ours then whole:release() end
  return text, kind_of(self)
end

local function receive_buffer(self)
  local whole, is_ours = receive_whole(self)
  if not whole then return ended(self) end
  return is_ours and whole or whole:retain(), kind_of(self)
end

--- Waits for the next message. Returns it and its kind; nil alone after the closing handshake (close_code and
--- close_reason tell); nil, message, code when the connection has failed ("ECONNRESET", "ETIMEDOUT"), or the peer has
--- broken the protocol ("EPROTO") or max_message_bytes ("EMSGSIZE").
---@return string? message
---@return string? kind "text" or "binary"; or the message of a failure
---@return string? code
function Session:receive()
  return guarded(self, "receive", receive_string)
end

--- The same as a buffer of the caller's: the received memory itself when the message lies in one piece there.
---@return moonring.Buffer? message
---@return string? kind
---@return string? code
function Session:receive_buffer()
  return guarded(self, "receive_buffer", receive_buffer)
end

--- Iterates over messages: `for message, kind in socket:messages() do`. Ends with the WebSocket, also when it fails.
function Session:messages()
  return function() return self:receive() end
end

-- Keep-alive and close ------------------------------------------------------------------------------------------------

--- The timer of ping_interval, from the scheduler.
function Session:expired()
  self.timer = false
  if self.close_code then return end
  local now = clock.now()
  local quiet = now - self.seen
  if quiet < self.interval then
    self.timer = clock.start(self.interval - quiet, self)
  elseif self.pinged then
    end_by(self, 1006, "the peer does not answer", { "websocket: the peer does not answer", "ETIMEDOUT" })
    self.connection:close(0)
  else
    self.pinged = true
    sending.queue_control(self, frames.PING, "")
    self.timer = clock.start(self.interval, self)
  end
end

local function drop_rest(self)
  while receive_part(self) do end
end

-- Waits for the peer's Close: by receiving, or for the task that does.
local function await_close(self)
  if not self.receiver then return guarded(self, "close", drop_rest) end
  self.over = self.over or event.new()
  self.over:wait()
end

--- Ends the WebSocket: sends a Close, waits for the peer's for a few seconds (nothing interrupts that), and closes the
--- connection. What the peer still sends is dropped unless another task receives. Closing again does nothing.
---@param code? integer RFC 6455 section 7.4.1, or 3000 to 4999; default 1000
---@param reason? string UTF-8, at most 123 bytes
function Session:close(code, reason)
  local payload = frames.close_payload(code or 1000, reason)
  local connection = self.connection
  if self.closed then return end
  self.closed = true
  if not self.close_code then
    send_close(self, payload)
    local ok, failure = pcall(deadline.shield, M.CLOSE_TIMEOUT, await_close, self)
    if not ok and not errors.is(failure, "deadline") and not errors.is(failure, "closed") then
      end_by(self, 1006, tostring(failure), { tostring(failure), "ECONNABORTED" })
      connection:close(0)
      error(failure, 0)
    end
    end_by(self, 1006, "the peer did not answer the Close")
  end
  connection:close()
end

--- Begins the end without waiting: sends a Close with code 1001, "going away" unless one has been sent, and lets whoever
--- receives see the peer's. What a server that stops does.
function Session:go_away()
  if self.close_code or not self.connection.slot then return end
  send_close(self, frames.close_payload(1001, "going away"))
end

--- The other side's address, as of connection:peer.
function Session:peer()
  return self.connection:peer()
end

function Session:__tostring()
  local state = self.closed and "closed" or self.close_code and "ended" or self.close_sent and "closing" or "open"
  return ("moonring.WebSocket(%s, %s)"):format(state, tostring(self.connection))
end

return M
