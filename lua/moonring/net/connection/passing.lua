-- moonring.net.connection.passing: what Unix sockets have beside their bytes: descriptors, and who is at the other end.

local native = require "moonring.native"
local errors = require "moonring.errors"
local descriptor = require "moonring.descriptor"
local endpoint = require "moonring.net.endpoint"
local core = require "moonring.net.connection.core"
local writing = require "moonring.net.connection.writing"

local C, ffi = native.C, native.ffi
local Connection, refuse_closed = core.Connection, core.refuse_closed
local wait_in, readers = endpoint.wait_in, core.reading.tasks

local EAGAIN, ENODATA, ENOBUFS = -11, -61, -105

local credentials = ffi.new("mr_credentials")

--- Who is at the other end of a Unix socket, as of when it was connected.
---@return { pid: integer, uid: integer, gid: integer }? credentials
---@return string? message
---@return string? code "EOPNOTSUPP": it is no Unix socket
function Connection:credentials()
  if not self.slot then refuse_closed("credentials") end
  local result = C.mr_connection_credentials(self.handle, self.slot, credentials)
  if result < 0 then return errors.world(result, "credentials") end
  return { pid = credentials.pid, uid = credentials.uid, gid = credentials.gid }
end

local function number_of(what)
  if type(what) == "number" and what >= 0 and what % 1 == 0 and what <= 0x7fffffff then return what end
  if descriptor.is(what) then return what:number() end
  errors.raise("argument", "connection:send_descriptor: a descriptor or its number is needed, not %s", tostring(what))
end

--- Sends a duplicate of a descriptor over a Unix socket, with the bytes that go along: at least one, by default "\0". The
--- original stays the caller's. Waits while too much is queued.
---@param what moonring.Descriptor|integer
---@param data? string
---@return true? ok
---@return string? message
---@return string? code "EOPNOTSUPP": it is no Unix socket; "EBADF"; "ETOOMANYREFS"
function Connection:send_descriptor(what, data)
  data = data or "\0"
  if not self.slot then refuse_closed("send_descriptor") end
  if type(data) ~= "string" or data == "" then
    errors.raise("argument", "connection:send_descriptor: a string of at least a byte is needed, not '%s'",
      tostring(data))
  end
  local result = C.mr_connection_send_descriptor(self.handle, self.slot, number_of(what), data, #data)
  if result < 0 then return errors.world(result, "send_descriptor") end
  if C.mr_connection_queued(self.handle, self.slot) > self.write_high then
    return writing.drain_written(self, #data, 0)
  end
  return true
end

--- Waits for the next descriptor that comes over a Unix socket, whose connection was made with `descriptors = true`. The
--- bytes that come with it are read as all others.
---@return moonring.Descriptor? descriptor nil alone at the end of the stream
---@return string? message
---@return string? code "EMFILE": the kernel closed one that had no room; "ENOBUFS": read the bytes before it first
function Connection:receive_descriptor()
  local slot = self.slot
  if not slot then refuse_closed("receive_descriptor") end
  local number = C.mr_connection_take_descriptor(self.handle, slot)
  while number == EAGAIN do
    wait_in(self, readers, "read")
    number = C.mr_connection_take_descriptor(self.handle, slot)
  end
  if number >= 0 then return descriptor.new(number) end
  if number == ENODATA then return nil end
  local doing = number == ENOBUFS and "receive_descriptor: unread bytes are in the way" or "receive_descriptor"
  return errors.world(number, doing)
end
