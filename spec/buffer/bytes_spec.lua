local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local native = require "moonring.native"
local bit = require "bit"

local C, ffi = native.C, native.ffi
local raises, on_every_kind = kinds.raises, kinds.on_every_kind
local SEED = tonumber(os.getenv "MOONRING_SEED") or 20240229

local function bytes_of(text)
  local out = ffi.new("uint8_t[?]", math.max(#text, 1)) -- its own allocation: the sanitizer sees what is read behind it
  ffi.copy(out, text, #text)
  return out
end

local function random_text(length, alphabet)
  local out = {}
  for i = 1, length do
    out[i] = string.char(math.random(0, alphabet - 1))
  end
  return table.concat(out)
end

describe("searching and comparing", function()
  it("counts from the position, on every kind", function()
    on_every_kind("xhello, hello", function(made)
      made:skip(1)
      assert(made:index_of("hello") == 0 and made:index_of("hello", 1) == 7 and made:index_of("zzz") == nil)
      assert(made:index_of(111) == 4 and made:index_of(111, 5) == 11 and made:index_of(0) == nil)
      assert(made:index_of("") == 0 and made:index_of("", 12) == 12 and made:index_of("o", 12) == nil)
      assert(made:index_of(buffer.wrap("xlo"):skip(1)) == 3)
      raises("argument", made.index_of, made, 256)
      raises("argument", made.index_of, made, "h", -1)
      raises("underflow", made.index_of, made, "h", 13)
      raises("argument", made.index_of, made, nil)
      assert(made:mismatch("hello, hello") == nil and made:mismatch("help") == 3 and made:mismatch("hello") == 5)
      assert(made:mismatch("hello, hello!") == 12 and made:mismatch("") == 0 and made:mismatch(made) == nil)
      assert(made:equals("hello, hello") and not made:equals("hello") and made:equals(made:slice()))
      assert(made:starts_with("hell") and made:starts_with("") and not made:starts_with("hello, hello!"))
      assert(made.position == 1)
    end)
  end)

  it("finds what a byte-by-byte search finds, at every length and place", function()
    math.randomseed(SEED)
    for length = 0, 70 do
      local left = random_text(length, 3)
      for at = 0, length do
        local right = at < length and left:sub(1, at) .. string.char(left:byte(at + 1) + 1) .. left:sub(at + 2) or left
        local a, b = bytes_of(left), bytes_of(right)
        local expected = at < length and at or -1
        assert(C.mr_bytes_mismatch(a, b, length) == expected)
        assert(C.mr_bytes_mismatch_scalar(a, b, length) == expected)
      end
      for size = 1, 4 do
        local needle = random_text(size, 3)
        local found = left:find(needle, 1, true)
        assert(C.mr_bytes_find(bytes_of(left), length, bytes_of(needle), size) == (found or 0) - 1)
      end
    end
  end)
end)

describe("filling, masking and sums", function()
  it("work on the remaining bytes and leave the position", function()
    on_every_kind("0123456789", function(made, kind)
      made:seek(2):set_limit(9)
      assert(made:crc32() == C.mr_bytes_crc32(0, ffi.cast("const uint8_t *", "2345678"), 7))
      assert(made:hash() == buffer.wrap("2345678"):hash() and made:hash() ~= made:hash(1))
      if not kind.writable then return end
      made:xor_mask(0x01020304):xor_mask("\1\2\3\4")
      assert(made:to_string() == "2345678")
      made:xor_mask(0x01020304, 3)
      assert(made:get_u8(2) == bit.bxor(50, 4) and made:get_u8(3) == bit.bxor(51, 1))
      made:fill(42):set_limit(10):seek(0)
      assert(made:to_string() == "01*******9")
      raises("argument", made.fill, made, 256)
      raises("argument", made.xor_mask, made, "123")
      raises("argument", made.xor_mask, made, -1)
      raises("argument", made.xor_mask, made, 1, -1)
    end)
  end)

  it("mask in the order of RFC 6455, the same by vector and byte by byte", function()
    assert.equal("7f9f4d5158", buffer.allocate(5):write("Hello"):reset_for_read():xor_mask(0x37fa213d):to_hex())
    for length = 0, 50 do
      for offset = 0, 4 do
        local text = random_text(length, 256)
        local a, b, key = bytes_of(text), bytes_of(text), bytes_of("\1\35\69\103")
        C.mr_bytes_xor(a, length, key, offset)
        C.mr_bytes_xor_scalar(b, length, key, offset)
        assert(C.mr_bytes_mismatch_scalar(a, b, length) == -1)
      end
    end
  end)

  it("give the check value of CRC-32, also in parts", function()
    local made = buffer.wrap("123456789")
    assert.equal(0xcbf43926, made:crc32())
    local first = made:slice(4):crc32()
    assert.equal(0xcbf43926, made:skip(4):crc32(first))
  end)
end)

describe("hexadecimal and base64", function()
  it("go both ways at every length, as RFC 4648 has them", function()
    local vectors = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
      foobar = "Zm9vYmFy" }
    for text, code in pairs(vectors) do
      assert.equal(code, buffer.wrap(text):to_base64())
    end
    for length = 0, 40 do
      local text = random_text(length, 256)
      local wrapped = buffer.wrap(text)
      local made = buffer.allocate(length)
      assert(made:write_hex(wrapped:to_hex()))
      assert.equal(text, made:reset_for_read():to_string())
      assert(made:reset_for_write():write_hex(wrapped:to_hex():upper()))
      assert.equal(text, made:reset_for_read():to_string())
      for _, options in ipairs { {}, { url = true }, { bare = true }, { url = true, bare = true } } do
        local code = wrapped:to_base64(options)
        assert(made:reset_for_write():write_base64(code, options))
        assert.equal(text, made:reset_for_read():to_string())
      end
      wrapped:release()
    end
    assert.equal("-_-_", buffer.wrap("\251\255\191"):to_base64 { url = true })
  end)

  it("refuse what an encoder does not write, with nothing written", function()
    local made = buffer.allocate(30):fill(170)
    for _, text in ipairs { "Zg=", "Zg", "Z", "Zg===", "=Zg=", "Z===", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", "Zm9-",
      "Zm=v", "====" } do
      local ok, message, code = made:write_base64(text)
      assert(ok == nil and code == "EILSEQ" and message:find("offset"), text)
    end
    for _, text in ipairs { "0", "0g", "g0", "00 1", "0x" } do
      local ok, _, code = made:write_hex(text)
      assert(ok == nil and code == "EILSEQ", text)
    end
    raises("overflow", made.write_hex, made, ("00"):rep(31))
    raises("overflow", made.write_base64, made, ("AAAA"):rep(11))
    assert.equal(0, made.position)
    assert.equal(("\170"):rep(30), made:to_string())
  end)
end)

describe("numbers of variable length", function()
  local cases = {
    { 0, "00" }, { 1, "01" }, { 127, "7f" }, { 128, "8001" }, { 16383, "ff7f" }, { 16384, "808001" }, { 624485, "e58e26" },
    { 268435455, "ffffff7f" }, { 268435456, "8080808001" }, { 2 ^ 32, "8080808010" }, { 9007199254740991,
      "ffffffffffffff0f" },
  }

  it("are LEB128, and in MQTT at most four bytes and as short as can be", function()
    kinds.compiled_and_interpreted(function()
      for _, case in ipairs(cases) do
        local made = buffer.allocate(10):write_varint(case[1]):reset_for_read()
        assert(made:to_hex() == case[2] and made:read_varint() == case[1] and made:remaining() == 0)
        made:reset_for_write()
        if case[1] <= 268435455 then
          assert(made:write_varint_mqtt(case[1]):reset_for_read():read_varint_mqtt() == case[1])
        else
          raises("argument", made.write_varint_mqtt, made, case[1])
        end
      end
    end)
  end)

  it("that are cut, too long or too large leave the position", function()
    local function try(hex, method)
      local made = buffer.allocate(20):write_hex(hex):reset_for_read()
      local value, _, code = made[method](made)
      assert(made.position == 0)
      return value == nil and code or value
    end
    raises("underflow", try, "", "read_varint")
    raises("underflow", try, "80", "read_varint")
    raises("underflow", try, "808080", "read_varint_mqtt")
    assert.equal("EILSEQ", try("8080808080808080808000", "read_varint"))
    assert.equal("ERANGE", try("8080808080808010", "read_varint"))
    assert.equal("EILSEQ", try("8080808001", "read_varint_mqtt"))
    assert.equal("EILSEQ", try("8000", "read_varint_mqtt"))
    for _, value in ipairs { -1, 0.5, 2 ^ 53, 0 / 0, "1" } do
      raises("argument", function()
        buffer.allocate(10):write_varint(value)
      end)
    end
    raises("overflow", function()
      buffer.allocate(1):write_varint(128)
    end)
  end)
end)

describe("lines, prefixed strings and digits", function()
  it("are read in place, on every kind", function()
    on_every_kind("one\r\n\ntwo\nend", function(made)
      assert(made:read_line() == "one" and made:read_line() == "")
      local line, _, code = made:read_line(2)
      assert(line == nil and code == "EMSGSIZE" and made:read_line(3) == "two")
      raises("underflow", made.read_line, made)
      assert(made:to_string() == "end")
      line, _, code = made:read_line(1)
      assert(line == nil and code == "EMSGSIZE" and made.position == 10)
    end)
    on_every_kind("0123x ffG9007199254740991,9007199254740992", function(made)
      assert(made:read_decimal() == 123)
      local value, _, code = made:read_decimal()
      assert(value == nil and code == "EILSEQ")
      assert(made:skip(2):read_hexadecimal() == 255 and made:skip(1):read_decimal() == 9007199254740991)
      value, _, code = made:skip(1):read_decimal()
      assert(value == nil and code == "ERANGE" and made:remaining() == 16)
    end)
  end)

  it("carry their length before them in every width", function()
    for _, name in ipairs { "u8", "u16", "u16_le", "u32", "u32_le" } do
      local made = buffer.allocate(12)
      local write, read = made["write_string_" .. name], made["read_string_" .. name]
      write(made, "hello")
      made:reset_for_read()
      assert.equal(5, made["get_" .. name](made, 0))
      assert.equal("hello", read(made))
      made:seek(0):set_limit(3)
      raises("underflow", read, made)
      raises("overflow", write, made, "hello")
      assert.equal(0, made.position)
      local long = buffer.allocate(300)
      if name == "u8" then raises("argument", long.write_string_u8, long, ("x"):rep(256)) end
    end
    local hostile = buffer.wrap("\255\255\255\255abc")
    raises("underflow", hostile.read_string_u32, hostile)
    assert.equal(0, hostile.position)
  end)
end)

describe("UTF-8", function()
  -- Each ill-formed text with the length of its well-formed beginning, and what stands for it when it is repaired.
  local R = "\239\191\189"
  local bad = {
    { "\128", 0, R }, { "a\192\175", 1, "a" .. R .. R }, { "\224\128\175", 0, R .. R .. R }, { "\237\160\128", 0,
      R .. R .. R },
    { "\244\144\128\128", 0, R .. R .. R .. R }, { "\226\130", 0, R }, { "\240\159\146", 0, R }, { "\240\159\146a", 0,
      R .. "a" },
    { "\255", 0, R }, { "x\226\130\172\193", 4, "x\226\130\172" .. R }, { "\226\40\161", 0, R .. "(" .. R },
  }

  it("is validated as Unicode's table 3-7 says, by vector and byte by byte", function()
    for _, text in ipairs { "", "ascii", "\194\162", "\226\130\172", "\240\159\146\150", "\237\159\191",
      "\244\143\191\191", "\0" } do
      for pad = 0, 33 do
        local padded = ("a"):rep(pad) .. text .. ("b"):rep(pad % 7)
        assert.is_true((buffer.wrap(padded):is_utf8()))
        assert.equal(#padded, C.mr_utf8_span_scalar(bytes_of(padded), #padded))
      end
    end
    for _, case in ipairs(bad) do
      for pad = 0, 33 do
        local padded = ("a"):rep(pad) .. case[1]
        local valid, offset = buffer.wrap(padded):is_utf8()
        assert(not valid and offset == pad + case[2])
        assert.equal(offset, C.mr_utf8_span_scalar(bytes_of(padded), #padded))
        assert.equal(offset, C.mr_utf8_span(bytes_of(padded), #padded))
      end
    end
  end)

  it("is read strictly or with replacements", function()
    for _, case in ipairs(bad) do
      local made = buffer.wrap(case[1])
      local text, _, code = made:read_utf8()
      assert(text == nil and code == "EILSEQ" and made.position == 0)
      assert.equal(case[3], made:read_utf8_lenient())
      assert.equal(0, made:remaining())
    end
    assert.equal("h\195\169", buffer.wrap("h\195\169!"):read_utf8(3))
  end)

  it("judges every pair of bytes and what may follow it alike in its vector and its scalar form", function()
    local text = ffi.new("uint8_t[48]")
    for at = 12, 17 do -- across the border of two vectors, and not
      ffi.fill(text, 48, 97)
      for first = 0x80, 255 do
        for second = 0, 255 do
          for _, third in ipairs { 0x61, 0x80, 0xbf, 0xc2 } do
            for _, fourth in ipairs { 0x61, 0x80 } do
              text[at], text[at + 1], text[at + 2], text[at + 3] = first, second, third, fourth
              if C.mr_utf8_span(text, 48) ~= C.mr_utf8_span_scalar(text, 48) then
                error(("%02x %02x %02x %02x at %d"):format(first, second, third, fourth, at))
              end
            end
          end
        end
      end
      for length = at, at + 4 do -- cut by the end
        for _, character in ipairs { "\194\162", "\226\130\172", "\240\159\146\150" } do
          ffi.fill(text, 48, 97)
          ffi.copy(text + at, character, #character)
          local expected = length >= at + #character and length or at
          assert(C.mr_utf8_span(text, length) == expected and C.mr_utf8_span_scalar(text, length) == expected)
        end
      end
    end
  end)

  it("agrees with a validator in Lua on random bytes", function()
    math.randomseed(SEED)
    local pieces = { "a", "\194\162", "\226\130\172", "\240\159\146\150", "\128", "\226\130", "\240\159",
      "\237\160\128", "\255" }
    for round = 1, 6000 do
      local parts, expected, ok = {}, 0, true
      for i = 1, math.random(1, 60) do
        local pick = math.random(round % 2 == 0 and 4 or i > 20 and #pieces or 4)
        parts[i] = pieces[pick]
        if pick <= 4 and ok then expected = expected + #parts[i] else ok = false end
      end
      local text = table.concat(parts)
      -- A piece that is cut may be completed by the one behind it only where that is made of continuation bytes.
      if not text:find("\226\130\128") and not text:find("\240\159\128") then
        assert.equal(expected, C.mr_utf8_span(bytes_of(text), #text))
        assert.equal(expected, C.mr_utf8_span_scalar(bytes_of(text), #text))
      end
    end
  end)

  it("is decoded over every split into pieces as in one piece", function()
    local text = "a\195\169\226\130\172\240\159\146\150z"
    for first = 0, #text do
      for second = first, #text do
        local decoder = buffer.utf8_decoder()
        local out = decoder:decode(text:sub(1, first)) .. decoder:decode(buffer.wrap(text:sub(first + 1, second)))
          .. decoder:decode(text:sub(second + 1)) .. decoder:finish()
        assert.equal(text, out)
      end
    end
    for _, case in ipairs(bad) do
      for split = 0, #case[1] do
        local lenient = buffer.utf8_decoder { lenient = true }
        assert.equal(case[3], lenient:decode(case[1]:sub(1,
          split)) .. lenient:decode(case[1]:sub(split + 1)) .. lenient:finish())
        local strict = buffer.utf8_decoder()
        local failed
        for _, piece in ipairs { case[1]:sub(1, split), case[1]:sub(split + 1) } do
          local _, _, code = strict:decode(piece)
          failed = failed or code
        end
        local _, _, code = strict:finish()
        assert.equal("EILSEQ", failed or code)
      end
    end
  end)
end)
