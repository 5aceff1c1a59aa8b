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

  -- What comes of `bytes`, given as a string or byte by byte or in two pieces.
  local function inflate_pieces(format, pieces)
    local stream, parts = buffer.inflater { format = format }, {}
    local result, code
    for _, piece in ipairs(pieces) do
      local part, _, failure = stream:update(piece)
      if not part then
        code = failure
        break
      end
      parts[#parts + 1] = part:read_string()
      part:release()
    end
    result = not code and stream.ended and table.concat(parts) or nil
    stream:close()
    return result, code
  end

  it("judges good, damaged and cut input alike at every split", function()
    local text = "moon moon moon ring ring"
    for _, format in ipairs { "zlib", "gzip", "raw" } do
      local good = assert(buffer.deflate(text, { format = format })):to_string()
      local cases = { good, good:sub(1, -2), good:sub(1, 3), "" }
      if format ~= "raw" then
        -- The checksum (gzip: CRC and length, RFC 1952 section 2.3.1) is the last of it, and it is looked at.
        for at = #good - (format == "gzip" and 7 or 3), #good do
          local damaged = string.char((good:byte(at) + 1) % 256)
          cases[#cases + 1] = good:sub(1, at - 1) .. damaged .. good:sub(at + 1)
        end
      end
      cases[#cases + 1] = "\7" .. good -- no such block, no such header
      for number, bytes in ipairs(cases) do
        local expected, expected_code = inflate_pieces(format, { bytes })
        assert.equal(number == 1 and text or nil, expected)
        if number > 4 then assert.equal("EILSEQ", expected_code) end
        for split = 0, #bytes do
          local result, code = inflate_pieces(format, { bytes:sub(1, split), bytes:sub(split + 1) })
          assert(result == expected and code == expected_code, format .. number)
        end
        local single = {}
        for i = 1, #bytes do single[i] = bytes:sub(i, i) end
        local result, code = inflate_pieces(format, single)
        assert(result == expected and code == expected_code, format .. number)
      end
    end
  end)

  it("leaves what stands behind the end of the stream", function()
    local source = buffer.wrap(assert(buffer.deflate(TEXT, { format = "gzip" })):to_string() .. "next")
    local stream = buffer.inflater { format = "gzip" }
    assert.equal(TEXT, assert(stream:update(source)):to_string())
    assert.is_true(stream.ended)
    assert.equal("next", source:to_string())
  end)

  it("compresses messages with and without what came before them, each within its own bound", function()
    local message = ("a message that is much like the one before it; "):rep(20)
    local sizes = {}
    for _, takeover in ipairs { true, false } do
      local deflater, inflater = buffer.deflater { format = "raw" }, buffer.inflater { format = "raw" }
      for round = 1, 3 do
        local packed = assert(deflater:update(message, "sync")):to_string()
        assert.equal("\0\0\255\255", packed:sub(-4)) -- what RFC 7692 section 7.2.1 takes off
        sizes[takeover and round or round + 3] = #packed
        inflater:allow(#message)
        assert.equal(message, assert(inflater:update(packed:sub(1, -5))):to_string()
          .. assert(inflater:update("\0\0\255\255")):to_string())
        if not takeover then
          deflater:reset()
          inflater:reset()
        end
      end
    end
    assert.is_true(sizes[2] < sizes[1] / 2) -- refers to the first
    assert.is_true(sizes[4] == sizes[5] and sizes[5] == sizes[6])
    local deflater = buffer.deflater { format = "raw" }
    local first = assert(deflater:update(message, "full")):to_string()
    local second = assert(deflater:update(message, "full")):to_string()
    assert.equal("\0\0\255\255", first:sub(-4))
    assert.equal(message, assert(buffer.inflater({ format = "raw" }):update(second)):to_string()) -- readable by itself
  end)

  it("refuses what passes the bound, and everything after it until it is reset", function()
    local bomb = assert(buffer.deflate(("\0"):rep(100000))):to_string()
    for _, room in ipairs { 1, 999, 1000, 1001, 50000 } do
      local stream, source, target = buffer.inflater { max_bytes = 1000 }, buffer.wrap(bomb), buffer.allocate(room)
      local given, ended, code = 0, false, nil
      while ended == false do
        ended, _, code = stream:run(source, target:reset_for_write())
        given = given + target.position
      end
      assert(ended == nil and code == "EMSGSIZE" and given == 1000)
      ended, _, code = stream:run(source, target:reset_for_write())
      assert(ended == nil and code == "EMSGSIZE" and target.position == 0)
      ended, _, code = stream:update("")
      assert(ended == nil and code == "EMSGSIZE")
      stream:reset()
      stream:allow(100000)
      assert.equal(100000, assert(stream:update(bomb)):remaining())
      stream:close()
    end
    local exact = buffer.inflater { max_bytes = 100000 }
    assert.equal(100000, assert(exact:update(bomb)):remaining())
    assert.is_true(exact.ended)
    raises("argument", exact.allow, exact, -1)
    exact:close()
    raises("closed", exact.allow, exact, 1)
    raises("closed", exact.reset, exact)
    raises("closed", exact.run, exact, buffer.allocate(1), buffer.allocate(1))
  end)

  it("works with windows of any size, and refuses sizes that there are not", function()
    local far = ("0123456789abcdef"):rep(64) -- 1 KiB, and again behind 4 KiB of noise
    local noise = {}
    for i = 1, 4096 do noise[i] = string.char((i * i * 31 + i * 17 + math.floor(i / 7)) % 256) end
    local text = far .. table.concat(noise) .. far
    for _, format in ipairs { "zlib", "gzip", "raw" } do
      for bits = 9, 15 do
        local packed = assert(buffer.deflate(text, { format = format, window_bits = bits })):to_string()
        assert.equal(text, assert(buffer.inflate(packed, { format = format, window_bits = bits })):to_string())
        assert.equal(text, assert(buffer.inflate(packed, { format = format })):to_string())
      end
      local wide = assert(buffer.deflate(text:rep(10), { format = format, window_bits = 15 })):to_string()
      local narrow, _, code = buffer.inflate(wide, { format = format, window_bits = 9 })
      assert(narrow == nil and code == "EILSEQ")
    end
    raises("argument", buffer.deflater, { window_bits = 8 })
    raises("argument", buffer.inflater, { window_bits = 7 })
    raises("argument", buffer.inflater, { window_bits = 16 })
    raises("argument", buffer.deflater, { window_bits = 9.5 })
    local deflater = buffer.deflater()
    raises("argument", deflater.update, deflater, "x", "partial")
  end)
end)
