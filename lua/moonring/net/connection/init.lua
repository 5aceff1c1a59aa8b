-- moonring.net.connection: a stream over a socket, a pipe, a terminal.
--
-- Reading hands out the memory that the kernel wrote; writing a buffer hands the same memory back to it. A reader
-- that lags stops the peer, a writer waits while too much is queued, so neither side's memory grows without bound.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local options = require "moonring.net.options"
local endpoint = require "moonring.net.endpoint"
local core = require "moonring.net.connection.core"
require "moonring.net.connection.reading"
require "moonring.net.connection.writing"
require "moonring.net.connection.tuning"
require "moonring.net.connection.passing"
require "moonring.net.connection.sendfile"

local C, ffi = native.C, native.ffi
local wait_in, writers = endpoint.wait_in, core.writing.tasks

local M = {
  WRITE_HIGH = core.WRITE_HIGH,
  WRITE_LOW = core.WRITE_LOW,
  LINGER = core.LINGER,
}

--- The class, and what wraps a slot of the loop as one of it. Internal.
M.Connection, M.new = core.Connection, core.new

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

return M
