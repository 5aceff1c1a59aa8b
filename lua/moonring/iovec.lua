-- moonring.iovec: counted slices of native memory, as C has them; runtime/memory/iovec.h has the model, docs/memory.md the
-- use.
--
-- An iovec object owns one reference. Release it, or give it to a scope (scope:own); what is forgotten is released by a
-- finalizer and counted as a leak. Misuse is raised ("closed" for what was released or moved, "argument", "busy");
-- memory that is not there is returned as nil, message, "ENOMEM".

local native = require "moonring.native"
local errors = require "moonring.errors"
local memory = require "moonring.memory"
local buffer = require "moonring.buffer"

local C, ffi = native.C, native.ffi
local iovec_type = ffi.typeof("mr_iovec")
local iovecs_type = ffi.typeof("mr_iovec[?]")
local band, floor = bit.band, math.floor

local ENOMEM = -12
local SHARED, READONLY = C.MR_IOVEC_SHARED, C.MR_IOVEC_READONLY

local M = {}

---@class moonring.Iovec
---@field length integer bytes that hold data; set_length changes it
---@field capacity integer bytes of the slice
local Iovec = {}

local raised_codes = { EINVAL = "argument", EBUSY = "busy", ESTALE = "closed", ENOBUFS = "argument" }

-- Raises what is misuse, returns what is not.
local function refuse(result, what)
  local _, message, code = errors.world(result, what)
  if code == "ESTALE" then message = what .. ": the iovec has been released or moved" end
  if raised_codes[code] then errors.raise(raised_codes[code], "%s", message) end
  return nil, message, code
end

local function check_bytes(what, count)
  if type(count) ~= "number" or count < 0 or count > 4294967295 or count ~= floor(count) then
    errors.raise("argument", "%s: bytes are a whole number from 0 to 2^32 - 1, not %s", what, tostring(count))
  end
end

local function check_held(self, what)
  if self.reference == nil then errors.raise("closed", "%s: the iovec is empty", what) end
end

-- What every new reference of Lua's goes through: it is counted, and paid for.
local function hold(made)
  C.mr_iovec_hold(made)
  memory.pay()
  return made
end

--- Another reference to the same bytes.
---@return moonring.Iovec
function Iovec:clone()
  check_held(self, "iovec:clone")
  local made = iovec_type()
  local result = C.mr_iovec_clone(made, self)
  if result < 0 then return refuse(result, "iovec:clone") end
  return hold(made)
end

--- Another reference to `length` bytes from `offset` on.
---@return moonring.Iovec
function Iovec:clone_segment(offset, length)
  check_held(self, "iovec:clone_segment")
  check_bytes("iovec:clone_segment", offset)
  check_bytes("iovec:clone_segment", length)
  local made = iovec_type()
  local result = C.mr_iovec_clone_segment(made, self, offset, length)
  if result < 0 then return refuse(result, "iovec:clone_segment") end
  return hold(made)
end

--- Hands the reference over to a new iovec; this one is empty afterwards, and any use of it raises.
---@return moonring.Iovec
function Iovec:move()
  local made = iovec_type()
  local result = C.mr_iovec_move(made, self)
  if result < 0 then return refuse(result, "iovec:move") end
  return made
end

--- The same, keeping only `length` bytes from `offset` on.
---@return moonring.Iovec
function Iovec:move_segment(offset, length)
  check_bytes("iovec:move_segment", offset)
  check_bytes("iovec:move_segment", length)
  local made = iovec_type()
  local result = C.mr_iovec_move_segment(made, self, offset, length)
  if result < 0 then return refuse(result, "iovec:move_segment") end
  return made
end

--- Sets how many bytes hold data, up to the capacity. Returns the iovec.
---@return moonring.Iovec
function Iovec:set_length(length)
  check_bytes("iovec:set_length", length)
  local result = C.mr_iovec_set_length(self, length)
  if result < 0 then return refuse(result, ("iovec:set_length: %d of %d bytes"):format(length, self.capacity)) end
  return self
end

--- The address of byte 0. The way out of all checks, to FFI: valid until the iovec is released.
function Iovec:pointer()
  check_held(self, "iovec:pointer")
  local data = C.mr_iovec_data(self)
  if data == nil then return refuse(-116, "iovec:pointer") end
  return data
end

--- Drops the reference. Once for each iovec: a second time raises "closed".
function Iovec:release()
  local result = C.mr_iovec_release(self)
  if result < 0 then return refuse(result, "iovec:release") end
end

--- Drops the reference if there is one. What scopes call.
function Iovec:close()
  if C.mr_iovec_holders(self) > 0 then self:release() end
end

--- Ends a reservation: keeps its first `length` bytes (default: those set by set_length), gives the rest back.
---@param length? integer
---@return moonring.Iovec
function Iovec:commit(length)
  check_held(self, "iovec:commit")
  local filled = self.length
  if length then
    check_bytes("iovec:commit", length)
    self.length = length
  end
  local result = C.mr_iovec_commit(memory.handle(), 0, self, 1)
  if result < 0 then
    self.length = filled
    return refuse(result, ("iovec:commit: %d bytes"):format(length or filled))
  end
  return self
end

-- Calls allocate(handle, out) and once more after a collection when there was no memory.
local function with_memory(allocate, out, ...)
  local handle = memory.handle()
  local result = allocate(handle, out, ...)
  if result == ENOMEM then result = memory.try_again(allocate, handle, out, ...) end
  return result
end

local function allocate_one(handle, out, length, alignment, flags)
  return C.mr_iovec_alloc(handle, length, alignment, 1, flags, out)
end

local function reserve_one(handle, out, length, alignment)
  return C.mr_iovec_reserve(handle, length, alignment, 1, out)
end

--- Fills this empty iovec with fresh memory, as M.allocate does: the way to allocate on a hot path without a new
--- object.
---@return moonring.Iovec? self
function Iovec:allocate(length, alignment)
  if C.mr_iovec_holders(self) > 0 then errors.raise("busy", "iovec:allocate: it holds memory; release it first") end
  check_bytes("iovec:allocate", length)
  local result = C.mr_iovec_alloc(memory.handle(), length, alignment or 0, 1, 0, self)
  if result == ENOMEM then result = with_memory(allocate_one, self, length, alignment or 0, 0) end
  if result < 0 then return refuse(result, "iovec:allocate") end
  return hold(self)
end

--- A cursor over the same bytes, with a reference of its own.
---@return moonring.Buffer
function Iovec:buffer()
  check_held(self, "iovec:buffer")
  local part, made = iovec_type(), buffer.new()
  local result = C.mr_iovec_clone(part, self)
  if result < 0 then return refuse(result, "iovec:buffer") end
  C.mr_buffer_adopt(made, part)
  memory.pay()
  return made
end

ffi.metatype(iovec_type, {
  __index = Iovec,
  __len = function(self)
    return self.length
  end,
  __tostring = function(self)
    local holders = C.mr_iovec_holders(self)
    if holders == 0 then return ("moonring.Iovec(%s)"):format(self.reference == nil and "empty" or "released") end
    return ("moonring.Iovec(%s length=%d capacity=%d references=%d%s%s)"):format(tostring(self.data):match("0x%x+"),
      self.length, self.capacity, holders, band(self.flags, SHARED) ~= 0 and " shared" or "",
      band(self.flags, READONLY) ~= 0 and " read-only" or "")
  end,
  __gc = C.mr_iovec_finalize,
})

local function check_arguments(what, length, alignment)
  check_bytes(what, length)
  if alignment then check_bytes(what, alignment) end
end

--- An iovec of `length` contiguous bytes whose address is a multiple of `alignment`.
---@param length integer bytes; 0 gives an empty iovec
---@param alignment? integer a power of two
---@param shared? boolean counted atomically: may be handed to other threads
---@return moonring.Iovec? iovec
---@return string? message
---@return string? code
function M.allocate(length, alignment, shared)
  check_arguments("iovec.allocate", length, alignment)
  local made = iovec_type()
  local result = with_memory(allocate_one, made, length, alignment or 0, shared and SHARED or 0)
  if result < 0 then return refuse(result, ("iovec.allocate: %d bytes"):format(length)) end
  return hold(made)
end

--- Memory for up to `length` bytes whose final number is not known: fill it, then commit it.
---@return moonring.Iovec? iovec
---@return string? message
---@return string? code
function M.reserve(length, alignment)
  check_arguments("iovec.reserve", length, alignment)
  local made = iovec_type()
  local result = with_memory(reserve_one, made, length, alignment or 0)
  if result < 0 then return refuse(result, ("iovec.reserve: %d bytes"):format(length)) end
  return hold(made)
end

local function allocate_array(handle, out, length, alignment, max)
  return C.mr_iovec_alloc(handle, length, alignment, max, 0, out)
end

--- Up to `max` iovecs whose lengths add up to `length`: the rest of the chunk in use is taken first.
---@return moonring.Iovec[]? iovecs
---@return string? message
---@return string? code
function M.allocate_list(length, max, alignment)
  check_arguments("iovec.allocate_list", length, alignment)
  if type(max) ~= "number" or max < 1 or max > 65536 or max ~= floor(max) then
    errors.raise("argument", "iovec.allocate_list: 1 to 65536 iovecs can be asked for, not %s", tostring(max))
  end
  local array = iovecs_type(max)
  local count = with_memory(allocate_array, array, length, alignment or 0, max)
  if count < 0 then return refuse(count, ("iovec.allocate_list: %d bytes in %d pieces"):format(length, max)) end
  local list = {}
  for i = 1, count do
    list[i] = iovec_type()
    C.mr_iovec_move(list[i], array[i - 1])
    C.mr_iovec_hold(list[i])
  end
  memory.pay()
  return list
end

--- Releases a list of iovecs, the last first.
function M.release_list(list)
  for i = #list, 1, -1 do
    list[i]:release()
  end
end

--- An iovec over a string, or over `length` bytes at the start of a cdata. Neither is copied: it is kept alive until
--- the last reference is gone. Those to a string are read-only.
---@param source string|ffi.cdata*
---@param length? integer bytes; of a string: all of it
---@return moonring.Iovec? iovec
---@return string? message
---@return string? code
function M.wrap(source, length)
  local flags, pointer = 0, nil
  if type(source) == "string" then
    length, flags = length or #source, READONLY
    if length > #source then errors.raise("argument", "iovec.wrap: %d bytes of a string of %d", length, #source) end
    pointer = ffi.cast("const uint8_t *", source)
  elseif type(source) == "cdata" then
    pointer = ffi.cast("const uint8_t *", source)
    length = length or ffi.sizeof(source)
  else
    errors.raise("argument", "iovec.wrap: a string or a cdata is needed, not a %s", type(source))
  end
  check_bytes("iovec.wrap", length)
  local made, anchor = iovec_type(), memory.anchor(source)
  local result = C.mr_iovec_wrap_anchored(memory.handle(), pointer, length, flags, anchor, made)
  if result < 0 then
    memory.unanchor(anchor)
    return refuse(result, "iovec.wrap")
  end
  return made
end

--- An empty iovec, for iovec:allocate or for C to fill.
M.new = iovec_type

--- Whether a value is an iovec.
function M.is(value)
  return ffi.istype(iovec_type, value)
end

--- The methods, for moonring.trace. Internal.
M.Iovec = Iovec

return M
