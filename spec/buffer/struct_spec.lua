local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"

local raises = kinds.raises

local packet = buffer.struct {
  { "id", "u16" },
  { "flags", "u8" },
  { "length", "u24" },
  { "body", "bytes", "length" },
  { "gap", "pad", 2 },
  { "weight", "f64_le" },
  { "tag_length", "u8" },
  { "tag", "buffer", "tag_length" },
  { "mark", "bytes", 2 },
}

-- The header of a DNS message (RFC 1035 section 4.1.1).
local dns_header = buffer.struct {
  { "id", "u16" }, { "flags", "u16" }, { "questions", "u16" }, { "answers", "u16" }, { "authorities", "u16" },
    { "additional", "u16" },
}

local function new_record()
  return { id = 258, flags = 3, body = "hello", weight = 0.5, tag = buffer.wrap("tag"), mark = "\1\2" }
end

local BYTES = "\1\2\3\0\0\5hello\0\0\0\0\0\0\0\0\224\63\3tag\1\2"

local function check(record)
  assert(record.id == 258 and record.flags == 3 and record.length == 5 and record.body == "hello" and record.weight == 0.5)
  assert(record.tag_length == 3 and record.tag:to_string() == "tag" and record.mark == "\1\2" and record.gap == nil)
  record.tag:release()
end

describe("a struct", function()
  it("writes and reads records on every kind, compiled and interpreted", function()
    local record = new_record()
    for _, kind in ipairs(kinds.list) do
      kinds.compiled_and_interpreted(function()
        kind.with(BYTES, function(made)
          check(packet:read(made))
          assert(made:remaining() == 0)
          if kind.writable then
            made:fill(255):reset_for_write()
            assert(packet:write(made, record) == made and made:remaining() == 0)
            assert(made:seek(0):to_string() == BYTES)
          end
          local into = {}
          assert(packet:try_read(made:seek(0), into) == into)
          check(into)
        end)
      end, 10)
    end
  end)

  it("reads from a chain at every split, and waits for what is missing", function()
    for split = 0, #BYTES do
      local chain = buffer.chain():append(BYTES:sub(1, split))
      if split < #BYTES then
        assert.is_nil(packet:try_read(chain))
        raises("underflow", packet.read, packet, chain)
      end
      assert.equal(split, chain:available())
      chain:append(BYTES:sub(split + 1) .. "next")
      check(packet:read(chain))
      assert.equal("next", chain:to_string())
    end
  end)

  it("changes nothing when the record is not all there or does not fit", function()
    local made = buffer.wrap(BYTES)
    for limit = 0, #BYTES - 1 do
      made:set_limit(limit)
      raises("underflow", packet.read, packet, made)
      assert.is_nil(packet:try_read(made))
      assert.equal(0, made.position)
    end
    local target = buffer.allocate(#BYTES - 1):fill(9)
    raises("overflow", packet.write, packet, target, new_record())
    for name, value in pairs { id = 65536, flags = -1, weight = "x", mark = "1", body = 5, length = 4, tag_length = 300 } do
      local record = new_record()
      record[name] = value
      raises("argument", packet.write, packet, buffer.allocate(100), record)
    end
    local record = new_record()
    record.id = nil
    raises("argument", packet.write, packet, target, record)
    assert.equal(("\9"):rep(#BYTES - 1), target:to_string())
  end)

  it("refuses hostile lengths before anything is allocated", function()
    local made = buffer.wrap("\0\0\0\255\255\255abc")
    raises("underflow", packet.read, packet, made)
    local chain = buffer.chain({ max_bytes = 1000 }):append("\0\0\0\255\255\255abc")
    raises("argument", packet.try_read, packet, chain)
    local wide = buffer.struct { { "length", "u64" }, { "body", "bytes", "length" } }
    raises("underflow", wide.read, wide, buffer.wrap(("\255"):rep(20)))
    assert.is_nil(wide:try_read(buffer.chain():append(("\255"):rep(20))))
  end)

  it("reads and writes the header of a DNS message, at every split", function()
    local bytes = "\171\205\129\128\0\1\0\2\0\3\0\4"
    local made = buffer.allocate(12)
    dns_header:write(made, { id = 0xabcd, flags = 0x8180, questions = 1, answers = 2, authorities = 3, additional = 4 })
    assert.equal(bytes, made:reset_for_read():to_string())
    assert.equal(12, dns_header.size)
    local function check_header(header)
      assert.same({ id = 0xabcd, flags = 0x8180, questions = 1, answers = 2, authorities = 3, additional = 4 }, header)
    end
    check_header(dns_header:read(made))
    for split = 0, 11 do
      local chain = buffer.chain():append(bytes:sub(1, split))
      assert.is_nil(dns_header:try_read(chain))
      check_header(dns_header:try_read(chain:append(bytes:sub(split + 1))))
    end
  end)

  -- MQTT 5, sections 1.5.4 and 2.1: the first byte is type and flags, the remaining length is of one to four bytes.
  local mqtt_packet = buffer.struct { { "kind", "u8" }, { "length", "varint_mqtt" }, { "rest", "bytes", "length" } }
  local mqtt_header = buffer.struct { { "kind", "u8" }, { "length", "varint_mqtt" } }

  it("reads and writes the fixed header of an MQTT packet, at every length and split", function()
    for length, encoded in pairs {
      [0] = "\0", [1] = "\1", [127] = "\127", [128] = "\128\1", [16383] = "\255\127", [16384] = "\128\128\1",
      [2097151] = "\255\255\127", [2097152] = "\128\128\128\1", [268435455] = "\255\255\255\127",
    } do
      local bytes = "\48" .. encoded
      local made = buffer.allocate(5)
      mqtt_header:write(made, { kind = 48, length = length })
      assert.equal(bytes, made:reset_for_read():to_string())
      assert.same({ kind = 48, length = length }, mqtt_header:read(made))
      assert.equal(0, made:remaining())
      for split = 0, #bytes - 1 do
        local chain = buffer.chain():append(bytes:sub(1, split))
        assert.is_nil((mqtt_header:try_read(chain)))
        raises("underflow", mqtt_header.read, mqtt_header, chain)
        local cut = buffer.wrap(bytes:sub(1, split))
        assert.is_nil((mqtt_header:try_read(cut)))
        raises("underflow", mqtt_header.read, mqtt_header, cut)
        assert.equal(0, cut.position)
        chain:append(bytes:sub(split + 1) .. "next")
        assert.same({ kind = 48, length = length }, (mqtt_header:try_read(chain)))
        assert.equal("next", chain:to_string())
      end
    end
  end)

  it("reads and writes whole MQTT packets, whose length it counts by itself", function()
    for _, size in ipairs { 0, 1, 127, 128, 200, 16384 } do
      local rest = ("x"):rep(size)
      local made = buffer.allocate(size + 5)
      mqtt_packet:write(made, { kind = 48, rest = rest })
      local bytes = made:reset_for_read():to_string()
      assert.same({ kind = 48, length = size, rest = rest }, mqtt_packet:read(made))
      for split = 0, math.min(#bytes - 1, 6) do
        local chain = buffer.chain():append(bytes:sub(1, split))
        assert.is_nil((mqtt_packet:try_read(chain)))
        assert.equal(rest, mqtt_packet:read(chain:append(bytes:sub(split + 1))).rest)
      end
      raises("overflow", mqtt_packet.write, mqtt_packet, buffer.allocate(#bytes - 1), { kind = 48, rest = rest })
      local wrong = { kind = 48, rest = rest, length = size + 1 }
      raises("argument", mqtt_packet.write, mqtt_packet, buffer.allocate(#bytes), wrong)
    end
  end)

  it("returns what is no number of variable length, and takes nothing", function()
    for bytes, expected in pairs {
      ["\48\128\128\128\128\1"] = "EILSEQ", -- five bytes
      ["\48\128\0"] = "EILSEQ", -- more than it needs
    } do
      for _, source in ipairs { buffer.wrap(bytes), buffer.chain():append(bytes) } do
        for _, method in ipairs { "read", "try_read" } do
          local record, message, code = mqtt_packet[method](mqtt_packet, source)
          assert(record == nil and type(message) == "string" and code == expected)
        end
        assert.equal(bytes, source:to_string())
      end
    end
    local wide = buffer.struct { { "value", "varint" } }
    local record, _, code = wide:read(buffer.wrap(("\255"):rep(9) .. "\1"))
    assert(record == nil and code == "ERANGE")
    assert.equal(9007199254740991, wide:read(wide:write(buffer.allocate(8), { value = 9007199254740991 }):seek(0)).value)
    for _, value in ipairs { -1, 0.5, 268435456, "x" } do
      raises("argument", mqtt_header.write, mqtt_header, buffer.allocate(8), { kind = 1, length = value })
    end
  end)

  it("is refused when its description is wrong", function()
    for _, fields in ipairs {
      {}, { { "a" } }, { { "a", "u99" } }, { { "a", "u8" }, { "a", "u8" } }, { { "a", "bytes" } }, { { "a", "bytes", "b" } },
      { { "n", "i8" }, { "a", "bytes", "n" } }, { { "n", "u8" }, { "a", "bytes", "n" }, { "b", "bytes", "n" } }, { 5 },
      { { "a", "bytes", -1 } }, { { "a", "bytes", 0 } }, { { "n", "u8" }, { "a", "pad", "n" } },
        { { "n", "varint64" } },
    } do
      raises("argument", buffer.struct, fields)
    end
    raises("argument", buffer.struct)
  end)
end)
