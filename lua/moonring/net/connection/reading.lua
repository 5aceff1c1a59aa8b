-- moonring.net.connection.reading: what comes in. Reading hands out the memory that the kernel wrote.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local buffer = require "moonring.buffer"
local stream = require "moonring.stream"
local endpoint = require "moonring.net.endpoint"
local core = require "moonring.net.connection.core"

local C = native.C
local Connection, reading, refuse_closed = core.Connection, core.reading, core.refuse_closed
local note, wait_in, wait_directly = endpoint.note, endpoint.wait_in, scheduler.wait_directly
local readers = reading.tasks

local EAGAIN, EMSGSIZE = -11, -90

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
    note(self, readers, "read")
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
  if count == EMSGSIZE then return false end
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

local Read = endpoint.operation("moonring.Operation.Read", reading, "read", function(_, connection, slot)
  local input = connection:input_buffer()
  local count = C.mr_connection_read(connection.handle, slot, input)
  if count > 0 then return true, input end
  if count == EAGAIN then return false end
  if count == 0 then return true, nil end
  return true, errors.world(count, "read")
end)

--- read as an operation for moonring.select: bytes are taken only when it is the one that is done.
---@return moonring.Operation
function Connection:read_op()
  return setmetatable({ endpoint = self }, Read)
end

stream.mix(Connection)
