-- moonring.net.connection: a stream over a socket, a pipe, a terminal.
--
-- Reading hands out the memory that the kernel wrote; writing a buffer hands the same memory back to it. A reader
-- that lags stops the peer, a writer waits while too much is queued, so neither side's memory grows without bound.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local operation = require "moonring.operation"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"
local address = require "moonring.net.address"
local options = require "moonring.net.options"
local stream = require "moonring.stream"

local C, ffi = native.C, native.ffi
local band = bit.band
local readers, writers = loop.readers, loop.writers
local current, wait, wait_directly = task.current, task.wait, require("moonring.scheduler").wait_directly

local EAGAIN = -11
local OPEN = C.MR_BUFFER_OPEN

local ENOMEM = -12

local M = {
  -- Bytes queued on a connection at which a writer waits, unless marks says otherwise.
  WRITE_HIGH = 262144,
  -- Those at which it goes on.
  WRITE_LOW = 65536,
  -- Seconds that close gives queued bytes to leave.
  LINGER = 10,
}

---@class moonring.Connection: moonring.Stream
local Connection = {
  __name = "moonring.Connection",
  write_high = M.WRITE_HIGH, -- a connection's own stand before these
  write_low = M.WRITE_LOW,
}
Connection.__index = Connection

--- The class, for the modules that add to it. Internal.
M.Connection = Connection

local function refuse_closed(what)
  errors.raise("closed", "connection:%s: the connection has been closed", what)
end

--- Wraps a slot of the loop. `exchange` is the place of the protocol that runs on it. guarded: a finalizer closes it
--- when it is forgotten. Internal.
function M.new(handle, slot, guarded)
  local self = setmetatable({ handle = handle, slot = slot, input = false, exchange = false }, Connection)
  if guarded then
    self.guard = ffi.gc(ffi.new("mr_guard"), C.mr_guard_release)
    C.mr_connection_guard(handle, slot, self.guard)
  end
  return self
end

-- Takes the task's wait back; called when it is cancelled.
function Connection:withdraw(waiting)
  local slot = self.slot
  if not slot then return end
  if readers[slot] == waiting then
    readers[slot] = nil
    C.mr_connection_read_withdraw(self.handle, slot)
  elseif writers[slot] == waiting then
    writers[slot] = nil
    C.mr_connection_write_withdraw(self.handle, slot)
  end
end

local function refuse_busy(what, other)
  errors.raise("busy", "connection:%s: %s is in %s of this connection already, and %s wants to; one task at a time", what,
    tostring(other), what, tostring(current()))
end

local function note_in(self, waiting_tasks, what)
  local slot = self.slot
  local other = waiting_tasks[slot]
  if other then refuse_busy(what, other) end
  waiting_tasks[slot] = current()
end

local function wait_in(self, waiting_tasks, what)
  note_in(self, waiting_tasks, what)
  wait(self)
  if not self.slot then refuse_closed(what) end
end

-- For reports.
function Connection:describe_wait(waiting)
  local slot = self.slot
  local what = slot and readers[slot] == waiting and "read" or "write"
  return ("%s of %s"):format(what, tostring(self))
end

--- The buffer that read fills. Empty before the first read. Internal.
function Connection:input_buffer()
  local input = self.input
  if not input then
    input = buffer.new()
    self.input = input
  end
  return input
end

--- What read() does, for the loop of a protocol that runs directly in its task. Internal.
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code
function Connection:next_input()
  local slot = self.slot
  if not slot then refuse_closed("read") end
  local input = self.input
  local count = C.mr_connection_read(self.handle, slot, input)
  if count > 0 then return input end
  -- No loop here: it would be a short one in the middle of the caller's, which then is not compiled.
  if count == EAGAIN then
    note_in(self, readers, "read")
    wait_directly(self)
    if not self.slot then refuse_closed("read") end
    count = C.mr_connection_read(self.handle, slot, input)
    if count > 0 then return input end
    if count == EAGAIN then return self:next_input() end
  end
  if count == 0 then return nil end
  return errors.world(count, "read")
end

-- Reads into a buffer of the caller's. It is looked at anew after every wait, in which its owner may have released it.
local function read_into(self, slot, target)
  if not buffer.is(target) then
    errors.raise("argument", "connection:read: a buffer is needed, not a %s", type(target))
  end
  while true do
    local to = buffer.of(target, "connection:read")
    local room = to.limit_ - to.position_
    if room < 1 or to.is_read_only then
      buffer.check_writable(to, "connection:read", 1)
    end
    local count = C.mr_connection_read_bytes(self.handle, slot, to.data_ + to.position_, room)
    if count > 0 then
      to.position_ = to.position_ + count
      return target
    end
    if count == 0 then return nil end
    if count ~= EAGAIN then return errors.world(count, "read") end
    wait_in(self, readers, "read")
  end
end

--- Waits for bytes and returns them as a buffer: the memory that the kernel has filled, position 0, limit = their
--- number. The buffer is lent until the next read or the close of this connection; its slice or retain keeps the
--- bytes longer.
---
--- With a buffer of the caller's, the bytes are copied there instead, as many as are there and fit before its limit;
--- its position moves behind them, and it is the one that is returned.
---@param target? moonring.Buffer
---@return moonring.Buffer? buffer nil at the end of the stream
---@return string? message what went wrong, when it is nil for that reason
---@return string? code the errno's name
function Connection:read(target)
  local slot = self.slot
  if not slot then refuse_closed("read") end
  if target ~= nil then return read_into(self, slot, target) end
  local input = self.input or self:input_buffer()
  local count = C.mr_connection_read(self.handle, slot, input)
  while count == EAGAIN do
    wait_in(self, readers, "read")
    count = C.mr_connection_read(self.handle, slot, input)
  end
  if count > 0 then return input end
  if count == 0 then return nil end
  return errors.world(count, "read")
end

--- Waits for more bytes and puts them behind the remaining ones of `input`, a buffer that read has returned.
--- Afterwards it is one run of at most `max` bytes from position 0 on.
---@param input moonring.Buffer
---@param max integer bytes
---@return boolean? more nil at the end of the stream; false when it holds max bytes already
---@return string? message
---@return string? code
function Connection:extend(input, max)
  local slot = self.slot
  if not slot then refuse_closed("extend") end
  local count = C.mr_connection_extend(self.handle, slot, input, max)
  while count == EAGAIN do
    wait_in(self, readers, "read")
    count = C.mr_connection_extend(self.handle, slot, input, max)
  end
  if count > 0 then return true end
  if count == 0 then return nil end
  if count == -90 then return false end -- EMSGSIZE
  return errors.world(count, "read")
end

-- A for loop passes the last buffer along, which read would take for a target.
local function next_chunk(self)
  return self:read()
end

--- Iterates over what arrives: `for buffer in connection:chunks() do`. Ends with the stream, also when it fails.
function Connection:chunks()
  return next_chunk, self
end

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
  if queued == ENOMEM then -- what has been forgotten may be enough
    memory.collect()
    queued = C.mr_connection_write_bytes(self.handle, slot, from, count)
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
  if not slot then refuse_closed("write") end
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
  if not slot then refuse_closed("queue") end
  local queued
  if type(data) == "string" then
    queued = queue_bytes(self, slot, data, #data)
  else
    queued = C.mr_connection_write_buffer(self.handle, slot, buffer.of(data, "connection:queue"))
  end
  if queued < 0 then return errors.world(queued, "write") end
  return queued
end

--- Whether nothing has come that nobody has read, nor the end of the stream: for a pool, before it lends an idle one.
---@return boolean
function Connection:is_quiet()
  local slot = self.slot
  if not slot then return false end
  local result = C.mr_connection_read(self.handle, slot, self:input_buffer())
  if result ~= EAGAIN then return false end
  C.mr_connection_read_withdraw(self.handle, slot)
  return true
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
  if C.mr_connection_error(self.handle, slot) == 0 then -- no memory: what has been forgotten may be enough
    memory.collect()
    room = C.mr_connection_reserve(self.handle, slot, count)
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

--- Closes the connection. What has been written still goes out in the background, for up to `linger` seconds (default
--- 10; 0 drops it). Who waits in read or write of it gets the error "closed". Closing again does nothing.
---@param linger? number seconds
function Connection:close(linger)
  local slot = self.slot
  if not slot then return end
  self.slot = false
  if self.guard then self.guard.loop = nil end
  if self.input then self.input:release() end
  if self.rest then stream.release(self) end
  C.mr_connection_close(self.handle, slot, linger or M.LINGER)
  for _, waiting_tasks in pairs { readers, writers } do
    local waiting = waiting_tasks[slot]
    if waiting then
      waiting_tasks[slot] = nil
      task.wake(waiting)
    end
  end
end

--- The number of the descriptor beneath, which stays the connection's: for handing it to a child process.
---@return integer
function Connection:descriptor()
  if not self.slot then refuse_closed("descriptor") end
  return C.mr_connection_descriptor(self.handle, self.slot)
end

local function address_by(self, get, what)
  if not self.slot then refuse_closed(what) end
  local found = address.new()
  local result = get(self.handle, self.slot, found)
  if result < 0 then return errors.world(result, what) end
  return found
end

--- The other side's address.
---@return moonring.Address? address
---@return string? message
---@return string? code
function Connection:peer()
  return address_by(self, C.mr_connection_peer, "peer")
end

--- This side's address.
function Connection:address()
  return address_by(self, C.mr_connection_local, "address")
end

-- Operations: the event only wakes the task, and then what is there is asked for again.

local function block_in(case, waiting_tasks, what)
  local connection = case.operation.connection
  local slot = connection.slot
  if not slot then return task.wake(case.task) end
  local other = waiting_tasks[slot]
  if other then refuse_busy(what, other) end
  waiting_tasks[slot] = case.task
end

local function withdraw_from(self, case, waiting_tasks, withdraw)
  local connection = self.connection
  local slot = connection.slot
  if slot and waiting_tasks[slot] == case.task then
    waiting_tasks[slot] = nil
    withdraw(connection.handle, slot)
  end
end

local Read = operation.class("moonring.Operation.Read", {
  describe = function(self) return "read of " .. tostring(self.connection) end,
  try = function(self)
    local connection = self.connection
    local slot = connection.slot
    if not slot then refuse_closed("read") end
    if readers[slot] then return false end -- block tells who is in the way
    local input = connection:input_buffer()
    local count = C.mr_connection_read(connection.handle, slot, input)
    if count > 0 then return true, input end
    if count == EAGAIN then return false end
    if count == 0 then return true, nil end
    return true, errors.world(count, "read")
  end,
  block = function(_, case) block_in(case, readers, "read") end,
  withdraw = function(self, case) withdraw_from(self, case, readers, C.mr_connection_read_withdraw) end,
})

local Drain = operation.class("moonring.Operation.Drain", {
  describe = function(self) return "drain of " .. tostring(self.connection) end,
  try = function(self)
    local connection = self.connection
    local slot = connection.slot
    if not slot then refuse_closed("drain") end
    if writers[slot] then return false end
    local result = C.mr_connection_drain(connection.handle, slot, self.mark)
    if result == EAGAIN then return false end
    if result == 0 then return true, true end
    return true, errors.world(result, "write")
  end,
  block = function(_, case) block_in(case, writers, "write") end,
  withdraw = function(self, case) withdraw_from(self, case, writers, C.mr_connection_write_withdraw) end,
})

--- read as an operation for moonring.select: bytes are taken only when it is the one that is done.
---@return moonring.Operation
function Connection:read_op()
  return setmetatable({ connection = self }, Read)
end

--- drain as an operation for moonring.select.
---@param mark? integer bytes
---@return moonring.Operation
function Connection:drain_op(mark)
  return setmetatable({ connection = self, mark = mark or self.write_low }, Drain)
end

function Connection:__tostring()
  if not self.slot then return "moonring.Connection(closed)" end
  if self.name then return ("moonring.Connection(%s)"):format(self.name) end
  return ("moonring.Connection(peer=%s)"):format(tostring(self:peer() or "?"))
end

--- For what extends the class in files of its own. Internal.
M.refuse_closed, M.wait_in, M.drain_written = refuse_closed, wait_in, drain_written

stream.mix(Connection)

---@class moonring.StreamOptions
---@field keep? boolean closing the connection leaves the descriptor open
---@field descriptors? boolean a Unix socket: receive_descriptor is going to be used
---@field name? string what tostring and error messages call it; default "descriptor N"

--- Makes a connection of an open descriptor: a stream socket, a pipe, a FIFO, a terminal, a device, or a file, which is
--- read and written at its position. The descriptor is the connection's from then on, unless it is to be kept.
---@param number integer the descriptor
---@param how? moonring.StreamOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code "EBADF", "EISDIR", "EPROTOTYPE": no stream socket
function M.open(number, how)
  if type(number) ~= "number" or number < 0 or number > 0x7fffffff or number % 1 ~= 0 then
    errors.raise("argument", "connection.open: a descriptor's number is needed, not %s", tostring(number))
  end
  local handle = loop.handle()
  local name = how and how.name or "descriptor " .. number
  local flags = (how and how.keep and C.MR_STREAM_KEEP or 0) +
    (how and how.descriptors and C.MR_STREAM_TAKE_DESCRIPTORS or 0)
  local slot = C.mr_stream_open(handle, number, flags)
  if slot < 0 then return errors.world(slot, "open of " .. name) end
  local self = M.new(handle, slot, true)
  self.name = name
  return self
end

local none = {}

--- Connects to one address. The wait ends with the connection, its failure, or the cancellation of the task. given: the
--- socket's options, and `source`, an address to connect from, and `descriptors`, for receive_descriptor; `own` are the
--- names in it that are somebody else's. Internal: net.connect is the public one.
---@param peer moonring.Address
---@param given? table
---@param own? table<string, boolean>
---@return moonring.Connection? connection
---@return string? message
---@return string? code
function M.connect(peer, given, own)
  local handle = loop.handle()
  local list, count, how = nil, 0, nil
  if given then
    list, count = options.compile("net.connect", given, own or none)
    how = ffi.new("mr_connect", given.source, given.descriptors and 1 or 0, count, list)
  end
  local slot = C.mr_connection_connect(handle, peer, how)
  local doing = "connect to " .. tostring(peer)
  if slot < 0 then return errors.world(slot, options.explain(doing, list, count)) end
  local self = M.new(handle, slot, true)
  local ok, failure = pcall(wait_in, self, writers, "connect")
  if not ok then
    self:close(0)
    error(failure, 0)
  end
  local result = C.mr_connection_error(handle, slot)
  if result < 0 then
    self:close(0)
    return errors.world(result, doing)
  end
  return self
end

package.loaded["moonring.net.connection"] = M -- these extend it
require "moonring.net.tuning"
require "moonring.net.passing"
require "moonring.net.sendfile"

return M
