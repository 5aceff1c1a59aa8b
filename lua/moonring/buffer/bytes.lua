-- moonring.buffer.bytes: bytes in and out of a buffer: as strings, views and copies, and its memory itself.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local make = require "moonring.buffer.make"

local C, ffi = native.C, native.ffi
local band, bor = bit.band, bit.bor
local check_length, check_open = core.check_length, core.check_open
local readable, writable, operand, string_at = core.readable, core.writable, core.operand, core.string_at

local buffer_type, anchors, Buffer = core.type, core.anchors, core.Buffer
local READONLY, ANCHORED = tonumber(C.MR_BUFFER_READONLY), tonumber(C.MR_BUFFER_ANCHORED)
local HEAP = tonumber(C.MR_BUFFER_HEAP)
local RETAIN_COPY_MAX = 2048 -- up to this many bytes, retain copies; above, it holds the memory itself

--- Copies `count` bytes (default: all that remain) out as a string.
---@param count? integer
---@return string
function Buffer:read_string(count)
  local position, length = readable(self, "read_string", count)
  self.position_ = position + length
  return string_at(self, position, length)
end

--- `count` bytes from the absolute `offset` on as a string. The position stays.
---@param offset integer
---@param count integer
---@return string
function Buffer:get_string(offset, count)
  check_length("get_string", count)
  core.check_offset(self, "get_string", offset, count, "underflow")
  check_open(self, "get_string")
  return string_at(self, offset, count)
end

--- The remaining bytes as a string. The position stays.
---@return string
function Buffer:to_string()
  local position, length = readable(self, "to_string")
  return string_at(self, position, length)
end

-- A buffer over `length` bytes from the position on, which are there.
local function view(self, what, length)
  local made = buffer_type()
  local result = C.mr_buffer_slice_part(made, self, length)
  if result < 0 then
    check_open(self, what)
    core.check_made(result, what)
  end
  if band(self.flags_, ANCHORED) ~= 0 then anchors[made] = anchors[self] end
  return made
end

--- A buffer over `count` bytes from the position on (default: up to the limit): the same memory, which it keeps alive
--- by itself, and so writes are seen both ways. The position stays. The slice is the caller's to release.
---@param count? integer
---@return moonring.Buffer
function Buffer:slice(count)
  local _, length = readable(self, "slice", count)
  return view(self, "slice", length)
end

--- The same, and the position moves behind it.
---@param count? integer
---@return moonring.Buffer
function Buffer:read_buffer(count)
  local position, length = readable(self, "read_buffer", count)
  local made = view(self, "read_buffer", length)
  self.position_ = position + length
  return made
end

--- Writes a string, the remaining bytes of another buffer (whose position stays), or `count` bytes of a cdata.
--- All or nothing; source and target may overlap.
---@param source string|moonring.Buffer|ffi.cdata*
---@param count? integer bytes; default: all
function Buffer:write(source, count)
  local from, length = operand("write", source, count)
  local position = writable(self, "write", length)
  self.position_ = position + length
  C.mr_bytes_move(self.data_ + position, from, length)
  return self
end

--- Copies `count` bytes (default: all that remain) into a cdata of the caller's. The position moves behind them.
---@param target ffi.cdata* an array or structure, or a pointer with a count
---@param count? integer
function Buffer:read_into(target, count)
  if core.is(target) then errors.raise("argument", "read_into: a buffer takes bytes by write") end
  local to, length = core.foreign("read_into", target, count)
  local position = readable(self, "read_into", length)
  self.position_ = position + length
  C.mr_bytes_move(ffi.cast("uint8_t *", to), self.data_ + position, length)
  return self
end

--- The same as write at an absolute offset; the position stays.
---@param offset integer
---@param source string|moonring.Buffer|ffi.cdata*
---@param count? integer
function Buffer:set_bytes(offset, source, count)
  local from, length = operand("set_bytes", source, count)
  core.check_offset(self, "set_bytes", offset, length, "overflow")
  check_open(self, "set_bytes")
  core.check_writable(self, "set_bytes")
  C.mr_bytes_move(self.data_ + offset, from, length)
  return self
end

--- Makes room behind a rest that has not been read: it moves to the front, the position behind it, the limit to the
--- capacity.
function Buffer:compact()
  check_open(self, "compact")
  core.check_writable(self, "compact")
  local position = self.position_
  local left = self.limit_ - position
  self.position_, self.limit_ = left, self.capacity_
  C.mr_bytes_move(self.data_, self.data_ + position, left)
  return self
end

-- Copies and memory ---------------------------------------------------------------------------------------------------

local function copy_of(self, what, zone)
  local _, length = readable(self, what)
  local made = make.allocate(length, zone)
  return made:write(self):reset_for_read()
end

--- An independent, read-only copy of the remaining bytes in native memory, position 0. The source is unchanged.
---@return moonring.Buffer
function Buffer:to_native()
  local made = copy_of(self, "to_native")
  made.flags_ = bor(made.flags_, READONLY)
  return made
end

--- The same, to be written to.
---@return moonring.Buffer
function Buffer:to_mutable_native()
  return copy_of(self, "to_mutable_native")
end

local heap_zone = { zone = "heap" }

--- The remaining bytes in memory of Lua's collector: of a whole heap buffer the same memory, otherwise a copy.
---@return moonring.Buffer
function Buffer:to_heap()
  check_open(self, "to_heap")
  if band(self.flags_, HEAP) ~= 0 and self.position_ == 0 and self.limit_ == ffi.sizeof(anchors[self]) then
    return view(self, "to_heap", self.limit_)
  end
  return copy_of(self, "to_heap", heap_zone)
end

--- A buffer over the same remaining bytes that stays valid when this one moves on: for keeping what a connection's read
--- gave. A few bytes of a large receive buffer are copied out, so that they don't pin all of it.
---@return moonring.Buffer
function Buffer:retain()
  local _, length = readable(self, "retain")
  if length > RETAIN_COPY_MAX then return self:slice() end
  return copy_of(self, "retain")
end

--- The address of byte 0, not of the position. The way out of all checks, to FFI: valid until the buffer is released,
--- and nothing keeps the memory for it.
---@return ffi.cdata* address uint8_t *
function Buffer:pointer()
  check_open(self, "pointer")
  return self.data_
end

--- The descriptor of shared memory, to be handed to another process; it belongs to the memory. Raises "argument" for
--- other zones.
---@return integer
function Buffer:descriptor()
  check_open(self, "descriptor")
  local descriptor = C.mr_buffer_descriptor(self)
  if descriptor < 0 then
    errors.raise("argument", "descriptor: only a buffer of the zone \"shared\" has one, this is \"%s\"", self.zone)
  end
  return descriptor
end

--- Gives the memory back. Any later use raises "closed"; releasing again does nothing. Slices made of the buffer keep
--- theirs.
function Buffer:release()
  if band(self.flags_, ANCHORED) ~= 0 then anchors[self] = nil end
  C.mr_buffer_release(self)
end
Buffer.close = Buffer.release
