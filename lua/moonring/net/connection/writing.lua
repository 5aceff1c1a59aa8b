-- moonring.net.connection.writing: what goes out. Writing a buffer hands its memory to the kernel; what the kernel has not
-- taken yet is queued, and a writer waits while that is too much.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"
local endpoint = require "moonring.net.endpoint"
local core = require "moonring.net.connection.core"

local C, ffi = native.C, native.ffi
local band = bit.band
local Connection, writing, refuse_closed = core.Connection, core.writing, core.refuse_closed
local wait_in = endpoint.wait_in
local writers = writing.tasks

local EAGAIN, ENOMEM = -11, -12
local OPEN = C.MR_BUFFER_OPEN

local M = {}

--- Waits until at most `mark` bytes are queued for sending (default: the low-water mark).
---@param mark? integer bytes
---@return true? ok
---@return string? message
---@return string? code
function Connection:drain(mark)
  if not self.slot then refuse_closed("drain") end
  mark = mark or self.write_low
  local result = C.mr_connection_drain(self.handle, self.slot, mark)
  while result == EAGAIN do
    wait_in(self, writers, "write")
    result = C.mr_connection_drain(self.handle, self.slot, mark)
  end
  if result == 0 then return true end
  return errors.world(result, "write")
end

-- Copies bytes into the queue: all of them or, for want of memory, none.
local function queue_bytes(self, slot, from, count)
  local queued = C.mr_connection_write_bytes(self.handle, slot, from, count)
  if queued == ENOMEM then
    queued = memory.try_again(C.mr_connection_write_bytes, self.handle, slot, from, count)
  end
  return queued
end

-- Drains after a write of `length` bytes, `unqueued` of which have not been queued yet. When that is cancelled the
-- error tells what has become of the bytes.
local function drain_written(self, length, unqueued)
  local ok, result, message, code = pcall(self.drain, self)
  if ok then return result, message, code end
  local failure = result
  if not errors.is(failure) or not self.slot then error(failure, 0) end
  local left = math.min(C.mr_connection_queued(self.handle, self.slot), length - unqueued)
  local own = errors.new(failure.code, failure.message)
  own.cause = failure
  own.sent, own.queued = length - unqueued - left, left
  error(own, 0)
end

M.drain_written = drain_written

-- A string longer than the queue may get goes out in pieces.
local function write_long(self, text)
  local from, length, at = ffi.cast("const uint8_t *", text), #text, 0
  local high = self.write_high
  while at < length do
    local count = math.min(length - at, math.max(high, 1))
    local queued = queue_bytes(self, self.slot, from + at, count)
    if queued < 0 then return errors.world(queued, "write") end
    at = at + count
    if queued > high then
      local ok, message, code = drain_written(self, length, length - at)
      if not ok then return ok, message, code end
    end
  end
  return true
end

--- Queues a string (copied) or the remaining bytes of a buffer (not copied: they must not be changed any more;
--- position becomes limit) for sending. Waits while too much is queued. When that wait is cancelled, the error has two
--- more fields: `sent`, how many of these bytes the kernel has taken, and `queued`, how many still go out unless the
--- connection is closed with a linger of 0; what is left of a long string after both is dropped.
---@param data string|moonring.Buffer
---@return true? ok
---@return string? message
---@return string? code
function Connection:write(data)
  local slot = self.slot
  if not slot then refuse_closed("write", self) end
  local queued, length
  if type(data) == "string" then
    if #data > self.write_high then return write_long(self, data) end
    length = #data
    queued = queue_bytes(self, slot, data, length)
  elseif buffer.is(data) then
    data = buffer.of(data, "connection:write")
    if band(data.flags_, OPEN) == 0 then errors.raise("closed", "connection:write: the buffer has been released") end
    length = data:remaining()
    queued = C.mr_connection_write_buffer(self.handle, slot, data)
  else
    errors.raise("argument", "connection:write: a string or a buffer is needed, not a %s", type(data))
  end
  if queued < 0 then return errors.world(queued, "write") end
  if queued > self.write_high then return drain_written(self, length, 0) end
  return true
end

--- Queues a string or the remaining bytes of a buffer as write does, without waiting, however much is queued: for whoever
--- looks at the returned number himself.
---@param data string|moonring.Buffer
---@return number? queued bytes queued on the connection
---@return string? message
---@return string? code
function Connection:queue(data)
  local slot = self.slot
  if not slot then refuse_closed("queue", self) end
  local queued
  if type(data) == "string" then
    queued = queue_bytes(self, slot, data, #data)
  else
    queued = C.mr_connection_write_buffer(self.handle, slot, buffer.of(data, "connection:queue"))
  end
  if queued < 0 then return errors.world(queued, "write") end
  return queued
end

--- Bytes queued on the connection that the kernel has not taken; 0 when it has been closed.
---@return number
function Connection:queued()
  local slot = self.slot
  return slot and C.mr_connection_queued(self.handle, slot) or 0
end

--- Room for `count` bytes at the end of the send queue, to be filled and committed at once. For codecs.
---@param count integer bytes
---@return ffi.cdata*? pointer nil when the connection takes no more writes
function Connection:reserve(count)
  local slot = self.slot
  if not slot then refuse_closed("reserve") end
  local room = C.mr_connection_reserve(self.handle, slot, count)
  if room ~= nil then return room end
  if C.mr_connection_error(self.handle, slot) == 0 then -- no memory
    room = memory.try_again(C.mr_connection_reserve, self.handle, slot, count)
    if room ~= nil then return room end
    return errors.world(ENOMEM, "write")
  end
  return errors.world(C.mr_connection_error(self.handle, slot), "write")
end

--- Queues the first `count` bytes of what reserve gave. Returns the bytes queued on the connection.
---@param count integer bytes
---@return number? queued
---@return string? message
---@return string? code
function Connection:commit(count)
  local queued = C.mr_connection_commit(self.handle, self.slot, count)
  if queued < 0 then return errors.world(queued, "write") end
  return queued
end

--- Waits until everything written has been handed to the peer's side of the socket.
---@return true? ok
---@return string? message
---@return string? code
function Connection:flush()
  return self:drain(0)
end

--- Ends the sending half: the peer sees the end of the stream once everything written has gone out. Reading goes on.
---@return true? ok
---@return string? message
---@return string? code
function Connection:shutdown()
  if not self.slot then refuse_closed("shutdown") end
  local result = C.mr_connection_shutdown(self.handle, self.slot)
  if result < 0 then return errors.world(result, "shutdown") end
  return true
end

local Drain = endpoint.operation("moonring.Operation.Drain", writing, "drain", function(self, connection, slot)
  local result = C.mr_connection_drain(connection.handle, slot, self.mark)
  if result == EAGAIN then return false end
  if result == 0 then return true, true end
  return true, errors.world(result, "write")
end)

--- drain as an operation for moonring.select.
---@param mark? integer bytes
---@return moonring.Operation
function Connection:drain_op(mark)
  return setmetatable({ endpoint = self, mark = mark or self.write_low }, Drain)
end

return M
