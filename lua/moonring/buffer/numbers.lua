-- moonring.buffer.numbers: the primitives. For every type, in network order and (with _le behind the name) in
-- little-endian order:
--
--   read_T() write_T(value)                  at the position, which moves
--   get_T(offset) set_T(offset, value)       at an offset from byte 0, before the limit; the position stays
--
-- The methods themselves are made by the build, all from one text (scripts/primitives.lua). Here is what they share, and
-- the numbers that take eight bytes and must be exact. A NaN is read as the one NaN that Lua makes itself: LuaJIT tags
-- its values in the bits of NaNs, and one that came from the network would be taken for an object.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local primitives = require "moonring.buffer.primitives"

local ffi = native.ffi
local band, bor, rshift = bit.band, bit.bor, bit.rshift
local Buffer = core.Buffer

--- Reads a NAME at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@name Buffer:read_NAME()
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le u53 u53_le
---@return number

--- Writes a NAME at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@name Buffer:write_NAME(value)
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le u53 u53_le
---@param value number
---@return moonring.Buffer

--- The NAME at an offset from byte 0, before the limit. The position stays.
---@name Buffer:get_NAME(offset)
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le u53 u53_le
---@param offset integer bytes
---@return number

--- Sets the NAME at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@name Buffer:set_NAME(offset, value)
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le u53 u53_le
---@param offset integer bytes
---@param value number
---@return moonring.Buffer

-- Values of 64 bits come as cdata of either sign that fits, or as numbers that are exact.
local u64, i64 = ffi.typeof("uint64_t"), ffi.typeof("int64_t")
local EXACT_MAX = 9007199254740992
local U64_RANGE = "a uint64_t, or a whole number from 0 to 2^53"
local I64_RANGE = "an int64_t, or a whole number from -2^53 to 2^53"

local function refuse_value(value, what, range)
  errors.raise("argument", "%s: the value must be %s, not %s", what, range, tostring(value))
end

local function as_u64(value, what)
  if type(value) == "number" then
    if not (value >= 0 and value <= EXACT_MAX) or value % 1 ~= 0 then refuse_value(value, what, U64_RANGE) end
    return ffi.cast(u64, value)
  end
  if ffi.istype(u64, value) then return value end
  if not ffi.istype(i64, value) or value < 0 then refuse_value(value, what, U64_RANGE) end
  return ffi.cast(u64, value)
end

local function as_i64(value, what)
  if type(value) == "number" then
    if not (value >= -EXACT_MAX and value <= EXACT_MAX) or value % 1 ~= 0 then refuse_value(value, what, I64_RANGE) end
    return ffi.cast(i64, value)
  end
  if ffi.istype(i64, value) then return value end
  if not ffi.istype(u64, value) or value > 0x7fffffffffffffffULL then refuse_value(value, what, I64_RANGE) end
  return ffi.cast(i64, value)
end

-- A value is stored through one of these.
local word, short, bytes = ffi.new("int32_t[1]"), ffi.new("uint16_t[1]"), ffi.new("uint8_t[4]")
local long = ffi.new("union { uint64_t u; int64_t i; double number; }")
local single = ffi.new("union { int32_t bits; float number; }")

local nan = 0 / 0

local function unsigned(value)
  return value + rshift(value, 31) * 4294967296
end

local function float_of(bits)
  if band(bits, 0x7fffffff) > 0x7f800000 then return nan end
  single.bits = bits
  return single.number
end

local function double_of(high, low, bits)
  if band(high, 0x7ff00000) == 0x7ff00000 and bor(band(high, 0xfffff), low) ~= 0 then return nan end
  long.u = bits
  return long.number
end

local M = {
  -- By name: { size = bytes, load(address), store(address, value), check(value, what) }. Internal.
  raw = primitives {
    u16 = ffi.typeof("const uint16_t *"), i32 = ffi.typeof("const int32_t *"), u64 = ffi.typeof("const uint64_t *"),
    i64 = ffi.typeof("const int64_t *"), word = word, short = short, bytes = bytes, long = long, single = single,
    unsigned = unsigned, float_of = float_of, double_of = double_of, as_u64 = as_u64, as_i64 = as_i64,
    refuse_value = refuse_value, READONLY = tonumber(native.C.MR_BUFFER_READONLY),
  },
}

-- Numbers of 64 bits that must be exact as Lua numbers.
local function exact(value, what)
  if value > 9007199254740991ULL then
    errors.raise("argument", "%s: %s is above 2^53 - 1 and has no exact number; read_u64 gives all of it", what,
      tostring(value))
  end
  return tonumber(value)
end

for _, order in ipairs { "", "_le" } do
  local what_read, what_get, what_write = "read_u53" .. order, "get_u53" .. order, "write_u53" .. order
  local what_set = "set_u53" .. order
  local get, write, set = Buffer["get_u64" .. order], Buffer["write_u64" .. order], Buffer["set_u64" .. order]

  local function check(value, what)
    if type(value) ~= "number" or not (value >= 0 and value < EXACT_MAX) or value % 1 ~= 0 then
      errors.raise("argument", "%s: the value must be a whole number from 0 to 2^53 - 1, not %s", what, tostring(value))
    end
  end

  Buffer[what_read] = function(self)
    local position = self.position_
    if position + 8 > self.limit_ then core.refuse(self, what_read, 8, "underflow") end
    local value = exact(get(self, position), what_read)
    self.position_ = position + 8
    return value
  end

  Buffer[what_get] = function(self, offset)
    return exact(get(self, offset), what_get)
  end

  Buffer[what_write] = function(self, value)
    check(value, what_write)
    return write(self, value)
  end

  Buffer[what_set] = function(self, offset, value)
    check(value, what_set)
    return set(self, offset, value)
  end
end

return M
