-- moonring.iovec: counted slices of native memory, as C has them. See runtime/iovec.h for the model.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"

local C, ffi = native.C, native.ffi
local iovec_type = ffi.typeof("mr_iovec")

local M = {}

---@class moonring.Iovec
---@field length integer bytes that hold data
---@field capacity integer bytes of the slice
local Iovec = {}

local function check(result, what)
  if result >= 0 then return result end
  local _, message, code = errors.world(result, what)
  if code == "ESTALE" then errors.raise("closed", "%s: the iovec has been released or moved", what) end
  errors.raise(code == "EINVAL" and "argument" or code, "%s", message)
end

--- Another reference to the same bytes.
---@return moonring.Iovec
function Iovec:clone()
  local made = iovec_type()
  if self.reference == nil then errors.raise("closed", "iovec:clone: the iovec has been released or moved") end
  check(C.mr_iovec_clone(made, self), "iovec:clone")
  return made
end

--- Another reference to `length` bytes from `offset` on.
---@return moonring.Iovec
function Iovec:clone_segment(offset, length)
  local made = iovec_type()
  if self.reference == nil then errors.raise("closed", "iovec:clone_segment: the iovec has been released or moved") end
  check(C.mr_iovec_clone_segment(made, self, offset, length), "iovec:clone_segment")
  return made
end

--- Hands the reference over to a new iovec; this one is empty afterwards.
---@return moonring.Iovec
function Iovec:move()
  local made = iovec_type()
  check(C.mr_iovec_move(made, self), "iovec:move")
  return made
end

--- Drops the reference. Once for each iovec: an empty one may be released again.
function Iovec:release()
  check(C.mr_iovec_release(self), "iovec:release")
end
Iovec.close = Iovec.release

--- A cursor over the same bytes, with a reference of its own.
---@return moonring.Buffer
function Iovec:buffer()
  local moved, made = self:clone(), buffer.new()
  check(C.mr_buffer_adopt(made, moved), "iovec:buffer")
  return made
end

ffi.metatype(iovec_type, {
  __index = Iovec,
  __len = function(self)
    return self.length
  end,
  __tostring = function(self)
    return ("moonring.Iovec(%s length=%d capacity=%d holders=%d)"):format(tostring(self.data):match("0x%x+") or "empty",
      self.length, self.capacity, C.mr_iovec_holders(self))
  end,
  __gc = C.mr_iovec_finalize,
})

--- An iovec of `length` contiguous bytes whose address is a multiple of `alignment`.
---@param length integer bytes
---@param alignment? integer a power of two
---@return moonring.Iovec
function M.allocate(length, alignment)
  local made = iovec_type()
  check(C.mr_iovec_alloc(C.mr_loop_memory(loop.handle()), length, alignment or 0, 1, 0, made), "iovec.allocate")
  return made
end

return M
