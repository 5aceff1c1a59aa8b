-- moonring.net.connection.core: the class of connections: its making, its two sides, its end. Internal.
--
-- The other files of this folder add the methods, each those of one subject.

local native = require "moonring.native"
local loop = require "moonring.loop"
local endpoint = require "moonring.net.endpoint"
local stream = require "moonring.stream"

local C, ffi = native.C, native.ffi

local M = {
  -- Bytes queued on a connection at which a writer waits, unless marks says otherwise.
  WRITE_HIGH = 262144,
  -- Those at which it goes on.
  WRITE_LOW = 65536,
  -- Seconds that close gives queued bytes to leave.
  LINGER = 10,
  -- The two sides, see moonring.net.endpoint. A connection that is being made waits for room.
  reading = { tasks = loop.readers, what = "read", withdraw = C.mr_connection_read_withdraw },
  writing = { tasks = loop.writers, what = "write", withdraw = C.mr_connection_write_withdraw },
}

---@class moonring.Connection: moonring.Stream
local Connection = {
  __name = "moonring.Connection",
  write_high = M.WRITE_HIGH, -- a connection's own stand before these
  write_low = M.WRITE_LOW,
}
Connection.__index = Connection
M.Connection = Connection

endpoint.mix(Connection, "connection", { M.reading, M.writing })

local function refuse_closed(what, self)
  endpoint.refuse_closed(Connection, what, self)
end

M.refuse_closed = refuse_closed

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
  endpoint.wake_all(self, slot)
end

--- The number of the descriptor beneath, which stays the connection's: for handing it to a child process.
---@return integer
function Connection:descriptor()
  if not self.slot then refuse_closed("descriptor") end
  return C.mr_connection_descriptor(self.handle, self.slot)
end

--- The other side's address.
---@return moonring.Address? address
---@return string? message
---@return string? code
function Connection:peer()
  return endpoint.address_by(self, C.mr_connection_peer, "peer")
end

--- This side's address.
function Connection:address()
  return endpoint.address_by(self, C.mr_connection_local, "address")
end

function Connection:__tostring()
  if not self.slot then return "moonring.Connection(closed)" end
  if self.name then return ("moonring.Connection(%s)"):format(self.name) end
  return ("moonring.Connection(peer=%s)"):format(tostring(self:peer() or "?"))
end

return M
