local native = require "moonring.native"
local errors = require "moonring.errors"
local frames = require "moonring.websocket.frames"
local wire = require "spec.websocket.wire"

local ffi = native.ffi
local KEY = "\1\2\3\4"

-- What a reader says of the pieces: messages as "opcode:payload", "|" between their parts left out, controls, and the end.
local function read(pieces, options)
  local reader, out, message = frames.reader(options), {}, ""
  for _, piece in ipairs(pieces) do
    local input = wire.input(piece)
    while true do
      local what, detail, value = reader:next(input)
      if what == nil then break end
      if what == "data" then
        if reader.is_first then message = reader.opcode .. ":" end
        message = message .. input:get_string(detail, value)
        if reader.is_last then out[#out + 1] = message end
      elseif what == "control" then
        out[#out + 1] = ("control %d:%s"):format(detail, value)
      else
        out[#out + 1] = ("refused %d: %s"):format(detail, value)
        input:release()
        return out
      end
    end
    assert.equal(0, input:remaining())
    input:release()
  end
  if not reader:is_between() then out[#out + 1] = "cut" end
  return out
end

local SERVER, CLIENT = { role = "server" }, { role = "client" }

local function text(payload, fields)
  fields = fields or {}
  fields.opcode, fields.payload, fields.key = fields.opcode or 1, payload, KEY
  return wire.frame(fields)
end

local accepted = {
  { "a text frame", text "Hello", { "1:Hello" } },
  { "an empty frame", text "", { "1:" } },
  { "a binary frame", text("\0\255", { opcode = 2 }), { "2:\0\255" } },
  { "125, 126 and 127 bytes", text(("a"):rep(125)) .. text(("b"):rep(126)) .. text(("c"):rep(127)),
    { "1:" .. ("a"):rep(125), "1:" .. ("b"):rep(126), "1:" .. ("c"):rep(127) } },
  { "two frames of one message", text("Hel", { fin = false }) .. text("lo", { opcode = 0 }), { "1:Hello" } },
  { "empty fragments", text("", { fin = false }) .. text("", { opcode = 0, fin = false }) .. text("", { opcode = 0 }),
    { "1:" } },
  { "control frames between fragments", text("Hel", { fin = false }) .. text("x", { opcode = 9 }) ..
    text("", { opcode = 10 }) .. text("lo", { opcode = 0 }), { "control 9:x", "control 10:", "1:Hello" } },
  { "a Ping of 125 bytes", text(("p"):rep(125), { opcode = 9 }), { "control 9:" .. ("p"):rep(125) } },
  { "a Close", text("\3\232bye", { opcode = 8 }), { "control 8:\3\232bye" } },
}

local refused = {
  { "a reserved opcode", text("", { opcode = 3 }), "refused 1002: reserved opcode 3" },
  { "a reserved control opcode", text("", { opcode = 11 }), "refused 1002: reserved opcode 11" },
  { "RSV1 that nobody negotiated", text("", { rsv = 0x40 }),
    "refused 1002: reserved bit without an extension that defines it" },
  { "RSV2", text("", { rsv = 0x20 }), "refused 1002: reserved bits" },
  { "RSV3 in a Ping", text("", { opcode = 9, rsv = 0x10 }), "refused 1002: reserved bits" },
  { "RSV1 in a Ping", text("", { opcode = 9, rsv = 0x40 }), "refused 1002: reserved bit in a control frame" },
  { "a fragmented Ping", text("", { opcode = 9, fin = false }), "refused 1002: fragmented control frame" },
  { "a Ping of 126 bytes", text(("p"):rep(126), { opcode = 9 }), "refused 1002: control frame of more than 125 bytes" },
  { "a continuation of nothing", text("", { opcode = 0 }), "refused 1002: continuation of no message" },
  { "a message in a message", text("a", { fin = false }) .. text "b",
    "refused 1002: a message begins before the last one has ended" },
  { "a length of 2^63", wire.frame { opcode = 2, key = KEY, form = 8, length = 2 ^ 63 }, "refused 1002: malformed length" },
  { "125 in sixteen bits", wire.frame { opcode = 2, key = KEY, form = 2, length = 125 }, "refused 1002: malformed length" },
  { "65535 in 64 bits", wire.frame { opcode = 2, key = KEY, form = 8, length = 65535 }, "refused 1002: malformed length" },
  { "a frame without a mask", wire.frame { opcode = 1, payload = "a" }, "refused 1002: frame without a mask" },
}

describe("websocket frames, reading", function()
  for _, case in ipairs(accepted) do
    it("take " .. case[1] .. ", however it is cut", function()
      wire.every_split(case[2], function(pieces) assert.same(case[3], read(pieces, SERVER)) end)
    end)
  end

  for _, case in ipairs(refused) do
    it("refuse " .. case[1] .. ", however it is cut", function()
      wire.every_split(case[2], function(pieces)
        local out = read(pieces, SERVER)
        assert.equal(case[3], out[#out])
      end)
    end)
  end

  it("refuse masks from a server, and take frames without", function()
    assert.same({ "refused 1002: masked frame from the server" }, read({ text "a" }, CLIENT))
    assert.same({ "1:a" }, read({ wire.frame { opcode = 1, payload = "a" } }, CLIENT))
  end)

  it("refuse a frame longer than the limit by its header alone", function()
    local header = wire.frame { opcode = 2, key = KEY, length = 1001 }
    assert.same({ "refused 1009: a frame of more than 1000 bytes" },
      read({ header }, { role = "server", max_frame_bytes = 1000 }))
  end)

  it("tell of RSV1 where it has been negotiated, and refuse it in a continuation", function()
    local options = { role = "server", allow_compressed = true }
    local reader = frames.reader(options)
    local input = wire.input(text("ab", { rsv = 0x40, fin = false }) .. text("c", { opcode = 0, rsv = 0x40 }))
    assert.equal("data", (reader:next(input)))
    assert.is_true(reader.compressed)
    assert.is_false((reader:next(input)))
    input:release()
  end)

  it("give long payloads unmasked piece by piece, with 64-bit lengths", function()
    local payload = ("0123456789abcdef"):rep(5000) .. "xyz"
    local whole = text(payload)
    local pieces, at = {}, 1
    while at <= #whole do
      local size = #pieces % 7 * 1000 + 1
      pieces[#pieces + 1] = whole:sub(at, at + size - 1)
      at = at + size
    end
    assert.same({ "1:" .. payload }, read(pieces, SERVER))
  end)

  it("stay refused", function()
    local reader = frames.reader(SERVER)
    local input = wire.input(text("", { opcode = 3 }) .. text "Hello")
    for _ = 1, 3 do
      local what, code, message = reader:next(input)
      assert.same({ false, 1002, "reserved opcode 3" }, { what, code, message })
    end
    input:release()
  end)

  it("know whether the stream may end", function()
    assert.same({ "cut" }, read({ text("Hello"):sub(1, -2) }, SERVER))
    assert.same({ "cut" }, read({ text("Hello", { fin = false }) }, SERVER))
    assert.same({ "cut" }, read({ "\129" }, SERVER))
  end)
end)

describe("websocket frames, writing", function()
  it("put headers of every form", function()
    for _, length in ipairs { 0, 125, 126, 65535, 65536, 2 ^ 32 + 5 } do
      for _, key in ipairs { false, KEY } do
        local out = ffi.new("uint8_t[16]")
        local mask = key and ffi.cast("const uint8_t *", key) or nil
        local size = frames.put_header(out, frames.first_byte(frames.BINARY, false, true), length, mask)
        local expected = wire.frame { opcode = 2, fin = false, rsv = 0x40, length = length, key = key or nil }
        assert.equal(expected, ffi.string(out, size))
        assert.equal(#expected, frames.header_bytes(length, key ~= false))
      end
    end
  end)

  it("write and read Close payloads", function()
    assert.equal("", frames.close_payload())
    assert.equal("\3\232bye", frames.close_payload(1000, "bye"))
    assert.same({ 1000, "bye" }, { frames.parse_close "\3\232bye" })
    assert.same({ n = 2, nil, "" }, { n = 2, frames.parse_close "" })
    for code, ok in pairs { [999] = false, [1000] = true, [1003] = true, [1004] = false, [1005] = false, [1006] = false,
      [1007] = true, [1014] = true, [1015] = false, [2999] = false, [3000] = true, [4999] = true, [5000] = false } do
      local payload = string.char(math.floor(code / 256), code % 256)
      assert.equal(ok, frames.parse_close(payload) == code, tostring(code))
      assert.equal(ok, (pcall(frames.close_payload, code)), tostring(code))
    end
    assert.same({ false, 1002, "Close with half a code" }, { frames.parse_close "\3" })
    assert.same({ false, 1007, "the reason of a Close is not UTF-8" }, { frames.parse_close "\3\232\255" })
  end)

  it("refuse reasons that are too long or no text", function()
    for _, reason in ipairs { ("a"):rep(124), "\255" } do
      local ok, failure = pcall(frames.close_payload, 1000, reason)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "argument"))
    end
  end)
end)
