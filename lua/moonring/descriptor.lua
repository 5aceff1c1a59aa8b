-- moonring.descriptor: a file descriptor that a Lua object owns.
--
-- What is not a stream (yet) is held as this: a descriptor that came over a Unix socket, for one. It is closed by
-- close, by the scope that owns it, or, when it was forgotten, by its finalizer.

local native = require "moonring.native"
local errors = require "moonring.errors"

local C, ffi = native.C, native.ffi

local M = {}

---@class moonring.Descriptor
local Descriptor = { __name = "moonring.Descriptor" }
Descriptor.__index = Descriptor

--- Makes an object the owner of a descriptor.
---@param number integer
---@return moonring.Descriptor
function M.new(number)
  local held = ffi.gc(ffi.new("mr_descriptor", number), C.mr_descriptor_release)
  return setmetatable({ held = held }, Descriptor)
end

local function number_of(self, what)
  local number = self.held.number
  if number < 0 then errors.raise("closed", "descriptor:%s: the descriptor has been closed or taken", what) end
  return number
end

--- Its number, which stays this object's to close.
---@return integer
function Descriptor:number()
  return number_of(self, "number")
end

--- Its number, which is the caller's to close from now on.
---@return integer
function Descriptor:take()
  local number = number_of(self, "take")
  self.held.number = -1
  return number
end

--- Makes a connection of it (moonring.net.connection, open). Afterwards it is the connection's.
---@param options? moonring.StreamOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code
function Descriptor:open(options)
  local connection, message, code = require("moonring.net.connection").open(number_of(self, "open"), options)
  if not connection then return nil, message, code end
  self.held.number = -1
  return connection
end

--- Closes it. Closing again does nothing.
function Descriptor:close()
  C.mr_descriptor_release(self.held)
end

function Descriptor:__tostring()
  local number = self.held.number
  return number < 0 and "moonring.Descriptor(closed)" or ("moonring.Descriptor(%d)"):format(number)
end

--- Whether a value is one.
function M.is(value)
  return getmetatable(value) == Descriptor
end

return M
