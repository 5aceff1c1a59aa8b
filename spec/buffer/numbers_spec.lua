local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local ffi = require "ffi"

-- Type, value, its bytes in network order. Both ends of every range, and what differs in sign or order.
local CASES = {
  { "u8", 0, "00" }, { "u8", 255, "ff" }, { "u8", 128, "80" },
  { "i8", -128, "80" }, { "i8", 127, "7f" }, { "i8", -1, "ff" }, { "i8", 0, "00" },
  { "u16", 0, "0000" }, { "u16", 65535, "ffff" }, { "u16", 258, "0102" }, { "u16", 32768, "8000" },
  { "i16", -32768, "8000" }, { "i16", 32767, "7fff" }, { "i16", -2, "fffe" },
  { "u24", 0, "000000" }, { "u24", 16777215, "ffffff" }, { "u24", 66051, "010203" }, { "u24", 8388608, "800000" },
  { "u32", 0, "00000000" }, { "u32", 4294967295, "ffffffff" }, { "u32", 16909060, "01020304" },
  { "u32", 2147483648, "80000000" }, { "u32", 2147483647, "7fffffff" },
  { "i32", -2147483648, "80000000" }, { "i32", 2147483647, "7fffffff" }, { "i32", -2, "fffffffe" },
  { "u64", 0ULL, "0000000000000000" }, { "u64", 18446744073709551615ULL, "ffffffffffffffff" },
  { "u64", 0x0102030405060708ULL, "0102030405060708" }, { "u64", 9223372036854775808ULL, "8000000000000000" },
  { "i64", -9223372036854775807LL - 1, "8000000000000000" }, { "i64", 9223372036854775807LL, "7fffffffffffffff" },
  { "i64", -2LL, "fffffffffffffffe" },
  { "u53", 9007199254740991, "001fffffffffffff" }, { "u53", 0, "0000000000000000" }, { "u53", 4294967296,
    "0000000100000000" },
  { "f32", 1, "3f800000" }, { "f32", -0.5, "bf000000" }, { "f32", math.huge, "7f800000" }, { "f32", -math.huge, "ff800000" },
  { "f32", 2 ^ -149, "00000001" }, { "f32", 3.4028234663852886e38, "7f7fffff" },
  { "f64", 1, "3ff0000000000000" }, { "f64", -2, "c000000000000000" }, { "f64", math.huge, "7ff0000000000000" },
  { "f64", -math.huge, "fff0000000000000" }, { "f64", 5e-324, "0000000000000001" },
  { "f64", 1.7976931348623157e308, "7fefffffffffffff" }, { "f64", 0.1, "3fb999999999999a" },
}

local function bytes_of(hex)
  return (hex:gsub("..", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- Every case in both orders: { name, value, bytes }.
local cases = {}
for _, case in ipairs(CASES) do
  local bytes = bytes_of(case[3])
  cases[#cases + 1] = { case[1], case[2], bytes }
  cases[#cases + 1] = { case[1] .. "_le", case[2], bytes:reverse() }
end

local SENTINEL = "\165\90"

local function same(expected, got, what)
  if expected ~= got or type(expected) ~= type(got) then
    error(("%s: %s expected, got %s"):format(what, tostring(expected), tostring(got)), 2)
  end
end

local function read_case(made, case, size)
  local name, value = case[1], case[2]
  same(value, made["get_" .. name](made, 2), "get_" .. name)
  same(0, made.position, "position after get")
  made:seek(2)
  same(value, made["read_" .. name](made), "read_" .. name)
  same(2 + size, made.position, "position after read")
end

local function write_case(made, case, size)
  local name, value, bytes = case[1], case[2], case[3]
  made:reset_for_write():fill(0):seek(2)
  same(made, made["write_" .. name](made, value), "write's result")
  same(2 + size, made.position, "position after write")
  same("\0\0" .. bytes .. "\0\0", made:seek(0):to_string(), "bytes of write_" .. name)
  -- What a wide store has put there is seen by loads of any width.
  same(bytes:byte(1), made:get_u8(2), "the first byte")
  same(bytes:byte(size), made:get_u8(1 + size), "the last byte")
  made:fill(0)
  made["set_" .. name](made, 2, value)
  same("\0\0" .. bytes .. "\0\0", made:to_string(), "bytes of set_" .. name)
end

describe("a buffer's numbers", function()
  for _, kind in ipairs(kinds.list) do
    it(("are read bit by bit as they were written, compiled and interpreted: %s"):format(kind.name), function()
      for _, case in ipairs(cases) do
        local size = #case[3]
        kinds.compiled_and_interpreted(function()
          kind.with(SENTINEL .. case[3] .. SENTINEL, read_case, case, size)
          if kind.writable then kind.with(SENTINEL .. case[3] .. SENTINEL, write_case, case, size) end
        end, 3)
      end
    end)
  end

  it("keep their values in loops that mix widths over the same bytes", function()
    kinds.compiled_and_interpreted(function()
      local made = buffer.allocate(16)
      for i = 1, 300 do
        made:set_u32(0, i * 65537)
        same(i, made:get_u16(0), "high half")
        same(i, made:get_u16(2), "low half")
        made:set_u8(3, 7)
        same(7, made:get_u32(0) % 256, "last byte")
        made:set_f64(8, i)
        same(0, made:get_u8(15), "byte of a double")
        made:set_u24_le(4, i)
        same(i, made:get_u24_le(4), "u24")
        made:set_u64(8, i + 0ULL)
        same(i, made:get_u53(8), "u53 of u64")
      end
      made:release()
    end, 3)
  end)

  it("read any NaN as the one NaN, whatever its bits: those of others would be taken for Lua's own tags", function()
    local patterns = { "7ff8000000000001", "fff9000000000000", "ffffffffffffffff", "fffe800000001234", "7ff0000000000001" }
    kinds.compiled_and_interpreted(function()
      for _, hex in ipairs(patterns) do
        local wrapped = buffer.wrap(bytes_of(hex))
        local value = wrapped:get_f64(0)
        assert(type(value) == "number" and value ~= value)
        local reversed = buffer.wrap(bytes_of(hex):reverse())
        local other = reversed:read_f64_le()
        assert(type(other) == "number" and other ~= other and tostring(other):find("nan"))
      end
      for _, hex in ipairs { "7fc00001", "ffffffff", "7f800001", "ffc00000" } do
        local value = buffer.wrap(bytes_of(hex)):read_f32()
        assert(type(value) == "number" and value ~= value and tostring(value):find("nan"))
        value = buffer.wrap(bytes_of(hex):reverse()):read_f32_le()
        assert(type(value) == "number" and value ~= value)
      end
    end)
  end)

  local refused = {
    u8 = { 256, -1, 0.5 }, i8 = { 128, -129, 0.5 }, u16 = { 65536, -1 }, i16 = { 32768, -32769 }, u24 = { 16777216, -1 },
    u32 = { 4294967296, -1, 0.5 }, i32 = { 2147483648, -2147483649, 0.25 }, u64 = { -1, 0.5, 2 ^ 54, -1LL },
    i64 = { 0.5, 2 ^ 54, 9223372036854775808ULL }, u53 = { 2 ^ 53, -1, 0.5, 1LL }, f32 = { "x" }, f64 = { "x" },
  }
  local always = { 0 / 0, math.huge, -math.huge, 2 ^ 60, "1", true, {} }

  it("that do not fit raise \"argument\", and nothing is written", function()
    local made = buffer.allocate(16):fill(170)
    kinds.compiled_and_interpreted(function()
      for name, values in pairs(refused) do
        for _, list in ipairs { values, name:find("f") and {} or always } do
          for _, value in ipairs(list) do
            kinds.raises("argument", made["write_" .. name], made, value)
            kinds.raises("argument", made["write_" .. name .. "_le"], made, value)
            kinds.raises("argument", made["set_" .. name], made, 0, value)
          end
        end
        kinds.raises("argument", made["write_" .. name], made, nil)
      end
    end, 3)
    assert.equal(0, made.position)
    assert.equal(("\170"):rep(16), made:to_string())
  end)

  it("above 2^53 - 1 are refused by read_u53 and given whole by read_u64", function()
    local made = buffer.wrap(bytes_of "0020000000000000")
    kinds.raises("argument", made.read_u53, made)
    kinds.raises("argument", made.get_u53, made, 0)
    assert.equal(0, made.position)
    assert.equal(2 ^ 53 + 0ULL, made:read_u64())
  end)

  it("take 64-bit values as cdata of either sign that fits, or as exact numbers", function()
    local made = buffer.allocate(24)
    made:write_u64(5LL):write_i64(6ULL):write_u64(7):reset_for_read()
    assert.is_true(ffi.istype("uint64_t", made:get_u64(0)))
    assert.is_true(ffi.istype("int64_t", made:get_i64(0)))
    assert.equal("567", ("%d%d%d"):format(made:read_u53(), made:read_u53(), made:read_u53()))
  end)

  it("behind the limit or before byte 0 raise underflow, overflow or argument and change nothing", function()
    for _, kind in ipairs(kinds.list) do
      kind.with("12345678", function(made)
        made:set_limit(7)
        kinds.raises("underflow", made.read_u64, made)
        kinds.raises("underflow", made.get_u32, made, 4)
        kinds.raises("argument", made.get_u8, made, -1)
        kinds.raises("argument", made.get_u8, made, 0.5)
        kinds.raises("argument", made.get_u8, made, 0 / 0)
        kinds.raises("argument", made.get_u8, made, 2 ^ 32 + 1)
        kinds.raises("underflow", made.get_u8, made, 2 ^ 32)
        kinds.raises("argument", made.get_u8, made, "0")
        kinds.raises("argument", made.get_u8, made)
        if kind.writable then
          kinds.raises("overflow", made.write_u64, made, 1)
          kinds.raises("overflow", made.set_u32, made, 4, 1)
        else
          kinds.raises("argument", made.write_u8, made, 1)
          kinds.raises("argument", made.set_u8, made, 0, 1)
        end
        assert.equal(0, made.position)
        assert.equal(7, made.limit)
        assert.equal("1234567", made:to_string())
      end)
    end
  end)

  it("come in arrays of one type, both ways", function()
    for _, case in ipairs(cases) do
      if not case[1]:find("u53") then
        local made = buffer.allocate(#case[3] * 4)
        made:write_array(case[1], { 0, case[2], case[2], case[2], case[2] }, 2)
        assert.equal(case[3]:rep(4), made:reset_for_read():to_string())
        local into = { 0, 0, 0, 0, 9 }
        assert.equal(into, made:read_array(case[1], 4, into))
        for i = 1, 4 do
          assert.equal(case[2], into[i])
        end
        assert.equal(9, into[5])
        assert.equal(0, made:remaining())
      end
    end
    local small = buffer.allocate(4)
    kinds.raises("overflow", small.write_array, small, "u16", { 1, 2, 3 })
    kinds.raises("argument", small.write_array, small, "u16", { 1, 70000 })
    kinds.raises("argument", small.write_array, small, "u99", { 1 })
    kinds.raises("underflow", small.read_array, small, "u32", 2 ^ 31)
    kinds.raises("argument", small.read_array, small, "u32", -1)
    assert.equal(0, small.position)
  end)
end)
