-- moonring.buffer: cursors over native memory.
--
-- A buffer has a position, a limit and a capacity; reading and writing move the position and stop at the limit. Every access is
-- checked; one that would leave [position, limit) raises "underflow" or "overflow" and changes nothing. A released buffer
-- has position = limit = capacity = 0, so the same check catches its use, and the slow path says "closed".
--
-- Numbers are in network byte order; the names that end in _le are little-endian.

local native = require "moonring.native"
local errors = require "moonring.errors"
local memory = require "moonring.memory"

local C, ffi = native.C, native.ffi
local band, bswap, rshift = bit.band, bit.bswap, bit.rshift
local copy, ffi_string, cast = ffi.copy, ffi.string, ffi.cast
local floor = math.floor

local buffer_type = ffi.typeof("mr_buffer")
local u16_pointer, i32_pointer = ffi.typeof("const uint16_t *"), ffi.typeof("const int32_t *")
local bytes_pointer = ffi.typeof("const uint8_t *")
-- Stores go through these and a copy: the compiler may take a wide store and a byte load of one address for unrelated.
local scratch8 = ffi.new("uint8_t[8]")

local READONLY, OPEN = C.MR_BUFFER_READONLY, C.MR_BUFFER_OPEN

local M = {}

---@class moonring.Buffer
---@field position integer offset of the next byte to read or write; read-only, see seek
---@field limit integer offset behind the last byte that may be read or written; read-only, see set_limit
---@field capacity integer bytes in all; read-only
local Buffer = {}

-- The slow path of every check: says why.
local function refuse(self, what, wanted, code)
  if band(self.flags_, OPEN) == 0 then
    errors.raise("closed", "%s: the buffer has been released", what)
  end
  errors.raise(code, "%s: %d bytes are needed at position %d, %d are left before the limit %d", what, wanted,
    self.position_, self.limit_ - self.position_, self.limit_)
end

local function refuse_length(what, length)
  errors.raise("argument", "%s: a length is a whole number from 0 to 2^31 - 1, not %s", what, tostring(length))
end

local function check_length(what, length)
  if type(length) ~= "number" or length < 0 or length > 2147483647 or length ~= floor(length) then
    refuse_length(what, length)
  end
end

local function check_writable(self, what)
  if band(self.flags_, READONLY) ~= 0 then errors.raise("argument", "%s: the buffer is read-only", what) end
end

--- Bytes between position and limit.
function Buffer:remaining()
  return self.limit_ - self.position_
end

--- Sets the position. Returns the buffer.
function Buffer:seek(position)
  check_length("seek", position)
  if position > self.limit_ then refuse(self, "seek", position - self.position_, "underflow") end
  self.position_ = position
  return self
end

--- Sets the limit, which must lie between position and capacity. Returns the buffer.
function Buffer:set_limit(limit)
  check_length("set_limit", limit)
  if limit > self.capacity_ or limit < self.position_ then
    if band(self.flags_, OPEN) == 0 then refuse(self, "set_limit", 0, "closed") end
    errors.raise("argument", "set_limit: %d is not between the position %d and the capacity %d", limit, self.position_,
      self.capacity_)
  end
  self.limit_ = limit
  return self
end

--- After writing: what was written can be read. Limit = position, position = 0.
function Buffer:reset_for_read()
  self.limit_ = self.position_
  self.position_ = 0
  return self
end

--- Position 0, limit = capacity.
function Buffer:reset_for_write()
  self.position_ = 0
  self.limit_ = self.capacity_
  return self
end

--- Advances the position over `count` bytes. Returns the buffer.
function Buffer:skip(count)
  check_length("skip", count)
  local position = self.position_
  if count > self.limit_ - position then refuse(self, "skip", count, "underflow") end
  self.position_ = position + count
  return self
end

function Buffer:read_u8()
  local position = self.position_
  if position + 1 > self.limit_ then refuse(self, "read_u8", 1, "underflow") end
  self.position_ = position + 1
  return self.data_[position]
end

function Buffer:read_u16()
  local position = self.position_
  if position + 2 > self.limit_ then refuse(self, "read_u16", 2, "underflow") end
  self.position_ = position + 2
  return rshift(bswap(cast(u16_pointer, self.data_ + position)[0]), 16)
end

function Buffer:read_u16_le()
  local position = self.position_
  if position + 2 > self.limit_ then refuse(self, "read_u16_le", 2, "underflow") end
  self.position_ = position + 2
  return cast(u16_pointer, self.data_ + position)[0]
end

function Buffer:read_i32()
  local position = self.position_
  if position + 4 > self.limit_ then refuse(self, "read_i32", 4, "underflow") end
  self.position_ = position + 4
  return bswap(cast(i32_pointer, self.data_ + position)[0])
end

function Buffer:read_u32()
  local position = self.position_
  if position + 4 > self.limit_ then refuse(self, "read_u32", 4, "underflow") end
  self.position_ = position + 4
  local value = bswap(cast(i32_pointer, self.data_ + position)[0])
  return value >= 0 and value or value + 4294967296
end

function Buffer:read_u32_le()
  local position = self.position_
  if position + 4 > self.limit_ then refuse(self, "read_u32_le", 4, "underflow") end
  self.position_ = position + 4
  local value = cast(i32_pointer, self.data_ + position)[0]
  return value >= 0 and value or value + 4294967296
end

--- Copies `count` bytes (default: all that remain) out as a string.
function Buffer:read_string(count)
  local position = self.position_
  if count == nil then count = self.limit_ - position end
  check_length("read_string", count)
  if count > self.limit_ - position then refuse(self, "read_string", count, "underflow") end
  self.position_ = position + count
  return ffi_string(self.data_ + position, count)
end

--- The remaining bytes as a string. The position stays.
function Buffer:to_string()
  return ffi_string(self.data_ + self.position_, self.limit_ - self.position_)
end

local function put(self, what, count)
  local position = self.position_
  if position + count > self.limit_ then refuse(self, what, count, "overflow") end
  check_writable(self, what)
  self.position_ = position + count
  copy(self.data_ + position, scratch8, count)
  return self
end

local function check_value(what, value, max)
  if type(value) ~= "number" or value < 0 or value > max or value ~= floor(value) then
    errors.raise("argument", "%s: a whole number from 0 to %d is needed, not %s", what, max, tostring(value))
  end
end

function Buffer:write_u8(value)
  check_value("write_u8", value, 255)
  scratch8[0] = value
  return put(self, "write_u8", 1)
end

function Buffer:write_u16(value)
  check_value("write_u16", value, 65535)
  scratch8[0], scratch8[1] = rshift(value, 8), band(value, 255)
  return put(self, "write_u16", 2)
end

function Buffer:write_u32(value)
  check_value("write_u32", value, 4294967295)
  scratch8[0], scratch8[1] = band(rshift(value, 24), 255), band(rshift(value, 16), 255)
  scratch8[2], scratch8[3] = band(rshift(value, 8), 255), band(value, 255)
  return put(self, "write_u32", 4)
end

--- Writes a string, the remaining bytes of another buffer (whose position stays), or `count` bytes at a cdata pointer.
--- All or nothing; source and target may overlap.
function Buffer:write(source, count)
  local from
  if type(source) == "string" then
    from, count = source, #source
  elseif ffi.istype(buffer_type, source) then
    if band(source.flags_, OPEN) == 0 then refuse(source, "write", 0, "closed") end
    from, count = source.data_ + source.position_, source.limit_ - source.position_
  else
    check_length("write", count)
    from = cast(bytes_pointer, source)
  end
  local position = self.position_
  if count > self.limit_ - position then refuse(self, "write", count, "overflow") end
  check_writable(self, "write")
  self.position_ = position + count
  C.mr_bytes_move(self.data_ + position, from, count)
  return self
end

--- The address of byte 0. The way out of all checks, to FFI: valid until the buffer is released.
function Buffer:pointer()
  if band(self.flags_, OPEN) == 0 then refuse(self, "pointer", 0, "closed") end
  return self.data_
end

--- A buffer over the bytes between position and limit: the same memory, which it keeps alive. It is the caller's.
function Buffer:slice()
  local view = buffer_type()
  local result = C.mr_buffer_slice(view, self)
  if result < 0 then refuse(self, "slice", 0, "closed") end
  return view
end

--- A buffer over the same remaining bytes that stays valid when this one moves on: for keeping what a connection's read gave.
--- A few bytes of a large receive buffer are copied out, so that they don't pin all of it.
function Buffer:retain()
  local count = self.limit_ - self.position_
  if count > M.RETAIN_COPY_MAX then return self:slice() end
  if band(self.flags_, OPEN) == 0 then refuse(self, "retain", 0, "closed") end
  local kept = M.allocate(count)
  kept:write(self)
  return kept:reset_for_read()
end

--- Gives the memory back. Any later use raises "closed"; releasing again does nothing.
function Buffer:release()
  C.mr_buffer_release(self)
end
Buffer.close = Buffer.release

local properties = { position = "position_", limit = "limit_", capacity = "capacity_" }

local metatable = {
  __index = function(self, key)
    local method = Buffer[key]
    if method then return method end
    if key == "position" then return self.position_ end
    if key == "limit" then return self.limit_ end
    if key == "capacity" then return self.capacity_ end
  end,
  __newindex = function(_, key)
    errors.raise("argument", "a buffer's %s can't be assigned%s", tostring(key),
      properties[key] and "; use seek, set_limit, reset_for_read or reset_for_write" or "")
  end,
  __len = function(self)
    return self.limit_ - self.position_
  end,
  __tostring = function(self)
    if band(self.flags_, OPEN) == 0 then return "moonring.Buffer(released)" end
    return ("moonring.Buffer(position=%d limit=%d capacity=%d%s)"):format(self.position_, self.limit_, self.capacity_,
      band(self.flags_, READONLY) ~= 0 and " read-only" or "")
  end,
  __gc = C.mr_buffer_finalize,
}
ffi.metatype(buffer_type, metatable)

-- Up to this many bytes, retain copies; above, it holds the memory itself.
M.RETAIN_COPY_MAX = 2048

--- A buffer of `capacity` bytes of native memory, not zeroed: position 0, limit = capacity. Release it, or let a scope do so
--- (scope:allocate); what is forgotten is freed by the collector.
---@param capacity integer bytes
---@return moonring.Buffer
function M.allocate(capacity)
  check_length("buffer.allocate", capacity)
  local made = buffer_type()
  local handle = memory.handle()
  local result = C.mr_buffer_allocate(handle, made, capacity, 0)
  if result == -12 then -- ENOMEM: what Lua has forgotten may hold what is missing
    memory.collect()
    result = C.mr_buffer_allocate(handle, made, capacity, 0)
  end
  if result < 0 then
    local _, message = errors.world(result, ("buffer.allocate: %d bytes"):format(capacity))
    errors.raise(result == -12 and "ENOMEM" or "argument", "%s", message)
  end
  memory.pay()
  return made
end

--- Whether a value is a buffer.
function M.is(value)
  return ffi.istype(buffer_type, value)
end

-- The methods, for moonring.trace.
M.Buffer = Buffer

--- A released buffer, to be filled by C. Internal.
M.new = buffer_type

return M
