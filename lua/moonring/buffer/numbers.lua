-- moonring.buffer.numbers: the primitives. For every type of the table below, in network order and (with _le behind the
-- name) in little-endian order:
--
--   read_T() write_T(value)                  at the position, which moves
--   get_T(offset) set_T(offset, value)       at an offset from byte 0, before the limit; the position stays
--
-- Each is a piece of Lua of its own, made from one text, so that the compiler sees constants where the types differ.
-- Stores go through a scratch and a copy: compiled code may take a wide store and a byte load of one address for
-- unrelated (docs/luajit.md). A NaN is read as the one NaN that Lua makes itself: LuaJIT tags its values in the bits
-- of NaNs, and one that came from the network would be taken for an object.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local ffi = native.ffi
local Buffer = core.Buffer

-- load: an expression over `at`, the address. accept: a condition on `value`. store: fills the scratch `word` (4
-- bytes), `long` (8).
local types = {
  u8 = {
    size = 1,
    load = "at[0]",
    accept = "band(value, 255) == value",
    store = "word[0] = value",
    range = "a whole number from 0 to 255",
  },
  i8 = {
    size = 1,
    load = "arshift(lshift(at[0], 24), 24)",
    accept = "arshift(lshift(value, 24), 24) == value",
    store = "word[0] = band(value, 255)",
    range = "a whole number from -128 to 127",
  },
  u16 = {
    size = 2,
    load = "rshift(bswap(cast(u16, at)[0]), 16)",
    accept = "band(value, 65535) == value",
    store = "short[0] = rshift(bswap(value), 16)",
    load_le = "cast(u16, at)[0]",
    store_le = "short[0] = value",
    range = "a whole number from 0 to 65535",
  },
  i16 = {
    size = 2,
    load = "arshift(bswap(cast(u16, at)[0]), 16)",
    accept = "arshift(lshift(value, 16), 16) == value",
    store = "short[0] = rshift(bswap(value), 16)",
    load_le = "arshift(lshift(cast(u16, at)[0], 16), 16)",
    store_le = "short[0] = band(value, 65535)",
    range = "a whole number from -32768 to 32767",
  },
  u24 = {
    size = 3,
    load = "bor(lshift(at[0], 16), lshift(at[1], 8), at[2])",
    accept = "band(value, 16777215) == value",
    store = "bytes[0], bytes[1], bytes[2] = rshift(value, 16), band(rshift(value, 8), 255), band(value, 255)",
    load_le = "bor(at[0], lshift(at[1], 8), lshift(at[2], 16))",
    store_le = "bytes[0], bytes[1], bytes[2] = band(value, 255), band(rshift(value, 8), 255), rshift(value, 16)",
    range = "a whole number from 0 to 16777215",
  },
  u32 = {
    size = 4,
    load = "unsigned(bswap(cast(i32, at)[0]))",
    accept = "value >= 0 and value <= 4294967295 and value == floor(value)",
    store = "word[0] = bswap(tobit(value))",
    load_le = "unsigned(cast(i32, at)[0])",
    store_le = "word[0] = tobit(value)",
    range = "a whole number from 0 to 4294967295",
  },
  i32 = {
    size = 4,
    load = "bswap(cast(i32, at)[0])",
    accept = "tobit(value) == value",
    store = "word[0] = bswap(value)",
    load_le = "cast(i32, at)[0]",
    store_le = "word[0] = value",
    range = "a whole number from -2147483648 to 2147483647",
  },
  u64 = {
    size = 8,
    load = "bswap(cast(u64, at)[0])",
    store = "long.u = bswap(value)",
    load_le = "cast(u64, at)[0]",
    store_le = "long.u = value",
    convert = "value = as_u64(value, what)",
    range = "a uint64_t, or a whole number from 0 to 2^53",
  },
  i64 = {
    size = 8,
    load = "bswap(cast(i64, at)[0])",
    store = "long.i = bswap(value)",
    load_le = "cast(i64, at)[0]",
    store_le = "long.i = value",
    convert = "value = as_i64(value, what)",
    range = "an int64_t, or a whole number from -2^53 to 2^53",
  },
  f32 = {
    size = 4,
    load = "float_of(bswap(cast(i32, at)[0]))",
    accept = "true",
    store = "single.number = value; single.bits = bswap(single.bits)",
    load_le = "float_of(cast(i32, at)[0])",
    store_le = "single.number = value",
    range = "a number",
  },
  f64 = {
    size = 8,
    load = "double_of(bswap(cast(i32, at)[0]), bswap(cast(i32, at)[1]), bswap(cast(u64, at)[0]))",
    accept = "true",
    store = "long.number = value; long.u = bswap(long.u)",
    load_le = "double_of(cast(i32, at)[1], cast(i32, at)[0], cast(u64, at)[0])",
    store_le = "long.number = value",
    range = "a number",
  },
}

local scratch = { u8 = "word", i8 = "word", u16 = "short", i16 = "short", u24 = "bytes", f32 = "single", u32 = "word",
  i32 = "word", u64 = "long", i64 = "long", f64 = "long" }

local PRELUDE = [==[
local core, Buffer, raise, cast, copy, istype, c = ...
local refuse, check_writable, check_open = core.refuse, core.check_writable, core.check_open
local check_offset = core.check_offset
local band, bor, lshift, rshift, arshift, bswap, tobit =
  bit.band, bit.bor, bit.lshift, bit.rshift, bit.arshift, bit.bswap, bit.tobit
local floor, type, tostring = math.floor, type, tostring
local u16, i32, u64, i64 = c.u16, c.i32, c.u64, c.i64
local word, short, bytes, long, single = c.word, c.short, c.bytes, c.long, c.single
local as_u64, as_i64 = c.as_u64, c.as_i64
local READONLY = c.READONLY
local function unsigned(value) return value + rshift(value, 31) * 4294967296 end
local nan = 0 / 0
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
local function refuse_value(what, value, range)
  raise("argument", "%s: the value must be %s, not %s", what, range, tostring(value))
end
]==]

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

local TEMPLATE = [==[
do
local function load_raw(at) return LOAD end
local function store_raw(at, value) STORE; copy(at, SCRATCH, SIZE) end
local function check_value(value, what) CHECK; return value end
c.raw.NAME = { size = SIZE, load = load_raw, store = store_raw, check = check_value }

function Buffer:read_NAME()
  local position = self.position_
  if position + SIZE > self.limit_ then refuse(self, "read_NAME", SIZE, "underflow") end
  self.position_ = position + SIZE
  return load_raw(self.data_ + position)
end

function Buffer:get_NAME(offset)
  if type(offset) ~= "number" or tobit(offset) ~= offset or offset < 0 or offset + SIZE > self.limit_ then
    check_offset(self, "get_NAME", offset, SIZE, "underflow")
  end
  return load_raw(self.data_ + offset)
end

function Buffer:write_NAME(value)
  value = check_value(value, "write_NAME")
  local position = self.position_
  if position + SIZE > self.limit_ then refuse(self, "write_NAME", SIZE, "overflow") end
  if band(self.flags_, READONLY) ~= 0 then check_writable(self, "write_NAME") end
  self.position_ = position + SIZE
  store_raw(self.data_ + position, value)
  return self
end

function Buffer:set_NAME(offset, value)
  value = check_value(value, "set_NAME")
  if type(offset) ~= "number" or tobit(offset) ~= offset or offset < 0 or offset + SIZE > self.limit_ then
    check_offset(self, "set_NAME", offset, SIZE, "overflow")
  end
  if band(self.flags_, READONLY) ~= 0 then check_writable(self, "set_NAME") end
  store_raw(self.data_ + offset, value)
  return self
end
end
]==]

-- Values of 64 bits come as cdata of either sign that fits, or as numbers that are exact.
local u64, i64 = ffi.typeof("uint64_t"), ffi.typeof("int64_t")
local EXACT_MAX = 9007199254740992

local function refuse_64(value, what, range)
  errors.raise("argument", "%s: the value must be %s, not %s", what, range, tostring(value))
end

local function as_u64(value, what)
  if type(value) == "number" then
    if not (value >= 0 and value <= EXACT_MAX) or value % 1 ~= 0 then refuse_64(value, what, types.u64.range) end
    return ffi.cast(u64, value)
  end
  if ffi.istype(u64, value) then return value end
  if not ffi.istype(i64, value) or value < 0 then refuse_64(value, what, types.u64.range) end
  return ffi.cast(u64, value)
end

local function as_i64(value, what)
  if type(value) == "number" then
    if not (value >= -EXACT_MAX and value <= EXACT_MAX) or value % 1 ~= 0 then refuse_64(value, what, types.i64.range) end
    return ffi.cast(i64, value)
  end
  if ffi.istype(i64, value) then return value end
  if not ffi.istype(u64, value) or value > 0x7fffffffffffffffULL then refuse_64(value, what, types.i64.range) end
  return ffi.cast(i64, value)
end

local environment = {
  u16 = ffi.typeof("const uint16_t *"),
  i32 = ffi.typeof("const int32_t *"),
  u64 = ffi.typeof("const uint64_t *"),
  i64 = ffi.typeof("const int64_t *"),
  word = ffi.new("int32_t[1]"),
  short = ffi.new("uint16_t[1]"),
  bytes = ffi.new("uint8_t[4]"),
  long = ffi.new("union { uint64_t u; int64_t i; double number; }"),
  single = ffi.new("union { int32_t bits; float number; }"),
  as_u64 = as_u64,
  as_i64 = as_i64,
  READONLY = tonumber(native.C.MR_BUFFER_READONLY),
  raw = {},
}

local function check_text(type_of)
  if type_of.convert then return type_of.convert end
  return ('if type(value) ~= "number" or not (%s) then refuse_value(what, value, "%s") end'):format(type_of.accept,
    type_of.range)
end

local function generate(name, type_of, load, store)
  return (TEMPLATE:gsub("%u%u%u%u+", {
    NAME = name,
    SIZE = tostring(type_of.size),
    LOAD = load,
    STORE = store,
    SCRATCH = scratch[name:match("^%w+")],
    CHECK = check_text(type_of),
  }))
end

local M = { raw = environment.raw, names = {} }

local text = { PRELUDE }
for name, type_of in pairs(types) do
  text[#text + 1] = generate(name, type_of, type_of.load, type_of.store)
  text[#text + 1] = generate(name .. "_le", type_of, type_of.load_le or type_of.load, type_of.store_le or type_of.store)
  M.names[#M.names + 1] = name
  M.names[#M.names + 1] = name .. "_le"
end
table.sort(M.names)
local chunk = assert(loadstring(table.concat(text), "=moonring.buffer.numbers"))
chunk(core, Buffer, errors.raise, ffi.cast, ffi.copy, ffi.istype, environment)

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
