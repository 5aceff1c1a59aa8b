-- moonring.websocket.sending: the sending side of a WebSocket. Its methods are those of moonring.websocket.session's class.
--
-- A frame is queued in one go, so frames of several tasks never mix; a message that goes out in several frames makes other
-- messages wait for its end, but not Pongs and Closes.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local semaphore = require "moonring.semaphore"
local connections = require "moonring.net.connection"
local frames = require "moonring.websocket.frames"

local C, ffi = native.C, native.ffi

local M = {}

-- Up to this many bytes a payload is copied behind its header; longer strings, and all that is masked, go out in
-- frames of this length.
local COPY_MAX = 65536

---@class moonring.WebSocket
local Session = {}
M.methods = Session

local mask_keys, mask_left = ffi.new("uint8_t[4096]"), 0

-- Section 5.3: each frame's key is new and unpredictable.
local function next_mask()
  if mask_left == 0 then
    local result = C.mr_random(mask_keys, 4096)
    if result < 0 then
      local _, message, code = errors.world(result, "websocket: mask")
      errors.raise(code, "%s", message)
    end
    mask_left = 4096
  end
  mask_left = mask_left - 4
  return mask_keys + mask_left
end

-- Queues a frame of up to COPY_MAX bytes. Never waits. Result: bytes queued on the connection, or nil, message, code.
local function queue_frame(self, first, from, length)
  local key = self.masks and next_mask() or nil
  local connection = self.connection
  local out, message, code = connection:reserve(frames.header_bytes(length, self.masks) + length)
  if not out then return nil, message, code end
  local size = frames.put_header(out, first, length, key)
  if length > 0 then frames.put_payload(out + size, from, length, key) end
  return connection:commit(size + length)
end

--- Queues a control frame without waiting. Internal.
function M.queue_control(self, opcode, payload)
  return queue_frame(self, frames.first_byte(opcode, true), ffi.cast(core.bytes, payload), #payload)
end

local function drain_when_full(self, queued)
  if queued > connections.WRITE_HIGH then return self.connection:drain() end
  return true
end

-- A long payload in frames of COPY_MAX bytes, with waits between them. `keeper` keeps the bytes meanwhile.
local function send_fragments(self, opcode, compressed, from, length, is_last, keeper)
  local at = 0
  repeat
    local count = math.min(length - at, COPY_MAX)
    local ends = at + count == length
    local queued, message, code = queue_frame(self, frames.first_byte(at == 0 and opcode or 0, ends and is_last,
      at == 0 and compressed), from + at, count)
    if not queued then return nil, message, code end
    at = at + count
    local ok
    ok, message, code = drain_when_full(self, queued)
    if not ok then return nil, message, code end
    if not ends and (self.close_sent or not self.connection) then return nil, "websocket: closed while sending", "EPIPE" end
  until ends
  return true, keeper and nil
end

-- A buffer of native memory goes out as it is, behind a header of its own.
local function send_native(self, first, data, length)
  local connection = self.connection
  local out, message, code = connection:reserve(frames.HEADER_MAX)
  if not out then return nil, message, code end
  local ok
  ok, message, code = connection:commit(frames.put_header(out, first, length))
  if not ok then return nil, message, code end
  return connection:write(data)
end

local function with_turn(self, send, ...)
  local turn = semaphore.new(1)
  turn:acquire()
  self.sending = turn
  local function done(ok, ...)
    self.sending = false
    turn:release()
    if not ok then error((...), 0) end
    return ...
  end
  return done(pcall(send, self, ...))
end

local function wait_for_turn(self)
  while self.sending do
    local turn = self.sending
    turn:acquire()
    turn:release()
  end
end

-- Sends one message or one part of it.
local function send_data(self, opcode, compressed, data, is_last)
  if self.sending then wait_for_turn(self) end
  if self.close_sent then return nil, "websocket: closed", "EPIPE" end
  local from, length = core.operand("websocket:send", data)
  if length <= COPY_MAX then
    local queued, message, code = queue_frame(self, frames.first_byte(opcode, is_last, compressed), from, length)
    if not queued then return nil, message, code end
    return drain_when_full(self, queued)
  end
  if not self.masks and core.is(data) then
    return send_native(self, frames.first_byte(opcode, is_last, compressed), data, length)
  end
  return with_turn(self, send_fragments, opcode, compressed, from, length, is_last, data)
end

local opcodes = { text = frames.TEXT, binary = frames.BINARY }

local function opcode_of(what, data, kind)
  if kind == nil then return type(data) == "string" and frames.TEXT or frames.BINARY end
  local opcode = opcodes[kind]
  if not opcode then
    errors.raise("argument", 'websocket:%s: the kind is "text" or "binary", not %s', what, tostring(kind))
  end
  return opcode
end

local function check_data(what, data)
  if type(data) ~= "string" and not core.is(data) then
    errors.raise("argument", "websocket:%s: a string or a buffer is needed, not a %s", what, type(data))
  end
end

local function check_text(what, data)
  local from, length = core.operand("websocket:" .. what, data)
  if C.mr_utf8_span(from, length) ~= length then
    errors.raise("argument", 'websocket:%s: the text is not UTF-8; send bytes with kind "binary"', what)
  end
end

local function send_prepared(self, prepared)
  if self.fragmented then
    errors.raise("busy", "websocket:send: a message of several parts has not been ended; see send_part")
  end
  if self.sending then wait_for_turn(self) end
  if self.close_sent then return nil, "websocket: closed", "EPIPE" end
  local queued, message, code = prepared:queue_on(self)
  if not queued then return nil, message, code end
  return drain_when_full(self, queued)
end

--- Sends a message and waits while too much is queued. A buffer's remaining bytes are taken without being copied when
--- there are many of them: they must not be changed any more, and its position becomes its limit.
---@param data string|moonring.Buffer|moonring.websocket.Prepared
---@param kind? "text"|"binary" default: text for a string, binary for a buffer
---@return true? ok
---@return string? message
---@return string? code "EPIPE" after the close
function Session:send(data, kind)
  if type(data) == "table" and data.queue_on then return send_prepared(self, data) end
  check_data("send", data)
  local opcode = opcode_of("send", data, kind)
  if self.fragmented then
    errors.raise("busy", "websocket:send: a message of several parts has not been ended; see send_part")
  end
  if opcode == frames.TEXT then check_text("send", data) end
  local deflation = self.deflation
  if deflation and #data >= deflation.min_bytes then
    if self.sending then wait_for_turn(self) end -- the order of compression is that of sending
    local compressed = deflation:compress(data)
    local ok, message, code = send_data(self, opcode, true, compressed, true)
    compressed:release()
    return ok, message, code
  end
  return send_data(self, opcode, false, data, true)
end

--- Sends a part of a message whose length is not known beforehand. Parts are not compressed. One task at a time.
---@param data string|moonring.Buffer
---@param is_last boolean
---@param kind? "text"|"binary" of the message, with its first part
---@return true? ok
---@return string? message
---@return string? code
function Session:send_part(data, is_last, kind)
  check_data("send_part", data)
  local opcode = self.fragmented and frames.CONTINUATION or opcode_of("send_part", data, kind)
  local ok, message, code = send_data(self, opcode, false, data, is_last)
  if ok then self.fragmented = not is_last end
  return ok, message, code
end

--- Queues a prepared message without waiting, unless it can't go out now: a message of several parts is on its way, or
--- the WebSocket is closing. Whether it was queued.
---@param prepared moonring.websocket.Prepared
---@return boolean
function Session:try_send(prepared)
  if self.sending or self.fragmented or self.close_sent or self.close_code then return false end
  return prepared:queue_on(self) ~= nil
end

--- Queues a whole message as one masked frame. Internal.
function Session:queue_masked(opcode, from, length)
  return queue_frame(self, frames.first_byte(opcode, true), from, length)
end

--- Bytes that the kernel has not taken.
---@return integer
function Session:queued()
  return self.connection:queued()
end

--- Sends a Ping; the peer answers with a Pong of the same payload, which receive takes note of.
---@param payload? string at most 125 bytes
---@return true? ok
---@return string? message
---@return string? code
function Session:ping(payload)
  payload = payload or ""
  if type(payload) ~= "string" or #payload > frames.CONTROL_MAX then
    errors.raise("argument", "websocket:ping: the payload is a string of at most %d bytes", frames.CONTROL_MAX)
  end
  if self.close_sent then return nil, "websocket: closed", "EPIPE" end
  local queued, message, code = M.queue_control(self, frames.PING, payload)
  if not queued then return nil, message, code end
  return true
end

return M
