local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"

local raises = kinds.raises
local TEXT = ("All work and no play. "):rep(500)

describe("compression", function()
  it("goes both ways in every format, at once and in pieces", function()
    for _, format in ipairs { "zlib", "gzip", "raw" } do
      for _, level in ipairs { 0, 1, 9 } do
        local packed = assert(buffer.deflate(TEXT, { format = format, level = level }))
        local all = packed:to_string()
        assert.equal(TEXT, assert(buffer.inflate(packed, { format = format })):to_string())
        local stream, parts = buffer.inflater { format = format }, {}
        for i = 1, #all, 7 do
          local part = assert(stream:update(all:sub(i, i + 6)))
          parts[#parts + 1] = part:read_string()
          part:release()
        end
        assert.is_true(stream.ended)
        assert.equal(TEXT, table.concat(parts))
        stream:close()
        raises("closed", stream.update, stream, "x")
      end
    end
  end)

  it("runs from buffer to buffer, as far as the room goes", function()
    local packed = assert(buffer.deflate(TEXT))
    local stream, target, parts = buffer.inflater(), buffer.allocate(100), {}
    repeat
      local ended = stream:run(packed, target:reset_for_write())
      assert(ended ~= nil)
      parts[#parts + 1] = target:reset_for_read():to_string()
    until ended
    assert.equal(TEXT, table.concat(parts))
    local deflater, out = buffer.deflater(), buffer.allocate(#TEXT)
    assert.is_false(deflater:run(buffer.wrap(TEXT), out))
    assert.is_true(deflater:run(buffer.wrap(""), out, true))
    assert.equal(TEXT, assert(buffer.inflate(out:reset_for_read())):to_string())
  end)

  it("gives at a sync all that went in, so that a message can be sent", function()
    local deflater, inflater = buffer.deflater { format = "raw" }, buffer.inflater { format = "raw" }
    for _, message in ipairs { "hello", "", "hello", ("x"):rep(100000) } do
      assert.equal(message, inflater:update(assert(deflater:update(message, "sync"))):to_string())
    end
  end)

  it("stops at max_bytes", function()
    local bomb = assert(buffer.deflate(("\0"):rep(1000000)))
    local output, _, code = buffer.inflate(bomb:slice(), { max_bytes = 999999 })
    assert(output == nil and code == "EMSGSIZE")
    assert.equal(1000000, assert(buffer.inflate(bomb:slice(), { max_bytes = 1000000 })):remaining())
    output, _, code = buffer.inflate(bomb:slice(), { max_bytes = 0 })
    assert(output == nil and code == "EMSGSIZE")
  end)

  it("refuses what is cut, damaged or of another format", function()
    local all = assert(buffer.deflate(TEXT)):to_string()
    for _, text in ipairs { "", "garbage", all:sub(1, -2), all:sub(1, 20), all:sub(1, -5) .. "xxxx" } do
      local output, _, code = buffer.inflate(text)
      assert(output == nil and code == "EILSEQ", #text)
    end
    local output, _, code = buffer.inflate(all, { format = "gzip" })
    assert(output == nil and code == "EILSEQ")
    raises("argument", buffer.inflater, { format = "zip" })
    raises("argument", buffer.deflater, { level = 10 })
    raises("argument", buffer.inflater, { max_bytes = -1 })
    local stream = buffer.inflater()
    raises("argument", stream.update, stream, 5)
    raises("argument", stream.run, stream, "x", "y")
  end)
end)
