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

  it("describes the header of a DNS message", function()
    local made = buffer.allocate(12)
    dns_header:write(made, { id = 0xabcd, flags = 0x0100, questions = 1, answers = 0, authorities = 0, additional = 0 })
    assert.equal("abcd01000001000000000000", made:reset_for_read():to_hex())
    assert.equal(1, dns_header:read(made).questions)
    assert.equal(12, dns_header.size)
  end)

  it("is refused when its description is wrong", function()
    for _, fields in ipairs {
      {}, { { "a" } }, { { "a", "u99" } }, { { "a", "u8" }, { "a", "u8" } }, { { "a", "bytes" } }, { { "a", "bytes", "b" } },
      { { "n", "i8" }, { "a", "bytes", "n" } }, { { "n", "u8" }, { "a", "bytes", "n" }, { "b", "bytes", "n" } }, { 5 },
      { { "a", "bytes", -1 } }, { { "a", "bytes", 0 } }, { { "n", "u8" }, { "a", "pad", "n" } },
    } do
      raises("argument", buffer.struct, fields)
    end
    raises("argument", buffer.struct)
  end)
end)
