-- The sections of the Autobahn test suite (1 to 7, 9, 12 and 13), written down as frames that a peer sends and answers that
-- have to come, for a server and for a client that send back what they get.

local moonring = require "moonring"
local net = require "moonring.net"
local buffer = require "moonring.buffer"
local deflate = require "moonring.websocket.deflate"
local session = require "moonring.websocket.session"
local wire = require "spec.websocket.wire"

local KEY = "\1\2\3\4"
local NAMES = { [0] = "more", [1] = "text", [2] = "binary", [8] = "close", [9] = "ping", [10] = "pong" }

-- A frame as fields; the key is added where the peer is a client.
local function frame(opcode, payload, fields)
  local out = { opcode = opcode, payload = payload }
  for name, value in pairs(fields or {}) do
    out[name] = value
  end
  return out
end

local function text(payload, fields) return frame(1, payload, fields) end
local function more(payload, fields) return frame(0, payload, fields) end
local function ping(payload, fields) return frame(9, payload, fields) end
local function close(payload, fields) return frame(8, payload, fields) end
local OPEN = { fin = false }

local function bytes_of(frames, role)
  local out = {}
  for number, each in ipairs(frames) do
    each.key = role == "server" and KEY or nil
    out[number] = wire.frame(each)
  end
  return table.concat(out)
end

-- Takes the first frame off some bytes: what it is as "name payload", and the rest; nil for more.
local function take_frame(data)
  if #data < 2 then return nil end
  local first, second = data:byte(1, 2)
  local length, at = second % 128, 3
  if length >= 126 then
    local count = length == 126 and 2 or 8
    if #data < 2 + count then return nil end
    length = 0
    for index = 3, 2 + count do
      length = length * 256 + data:byte(index)
    end
    at = 3 + count
  end
  local key = second >= 128 and data:sub(at, at + 3)
  if key then at = at + 4 end
  if #data < at + length - 1 then return nil end
  local payload = data:sub(at, at + length - 1)
  if key then
    local bytes = buffer.allocate(math.max(length, 1)):write(payload):reset_for_read()
    bytes:xor_mask(key)
    payload = bytes:to_string()
    bytes:release()
  end
  local opcode = first % 16
  local name = NAMES[opcode]
  if opcode == 8 and #payload >= 2 then payload = tostring(payload:byte(1) * 256 + payload:byte(2)) end
  return name .. (payload ~= "" and " " .. payload or ""), data:sub(at + length)
end

-- All frames that come until the stream ends.
local function answers_of(connection)
  local out, pieces, rest = {}, {}, ""
  for input in connection:chunks() do
    pieces[#pieces + 1] = input:to_string()
    if #pieces > 64 or #rest == 0 then
      rest, pieces = rest .. table.concat(pieces), {}
      while true do
        local what, behind = take_frame(rest)
        if not what then break end
        out[#out + 1], rest = what, behind
      end
    end
  end
  rest = rest .. table.concat(pieces)
  while true do
    local what, behind = take_frame(rest)
    if not what then break end
    out[#out + 1], rest = what, behind
  end
  if rest ~= "" then out[#out + 1] = "cut" end
  return out
end

-- Sends the pieces of bytes to an echo in that role, and returns what came back, until the echo had ended. Where the pieces
-- don't end it, nobody does, and that fails.
local function converse(role, pieces, options)
  options = options or {}
  options.role = role
  return moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen { port = 0 }))
    local peer = scope:own(assert(net.connect { port = listener.port }))
    local socket = session.new(assert(listener:accept()), options)
    local echo = scope:spawn(function()
      for message, kind in socket:messages() do
        socket:send(message, kind)
      end
      socket:close()
    end)
    local sender = scope:spawn(function()
      for number, piece in ipairs(pieces) do
        if not peer:write(piece) then return end
        if number < #pieces then moonring.sleep(0.005) end
      end
    end)
    local answers = moonring.timeout(30, answers_of, peer)
    sender:cancel()
    peer:close(0)
    assert(echo:join())
    return answers
  end)
end

local BYE = close "\3\232"

-- Name, frames, answers. Where no Close is among the answers, one is added to the frames, and its answer expected.
local sections = {}

local function section(title)
  sections[#sections + 1] = { title = title }
end

local function add(name, frames, answers, options)
  local cases = sections[#sections]
  cases[#cases + 1] = { name = name, frames = frames, answers = answers, options = options }
end

section "1, text and binary of every form of length"
for _, size in ipairs { 0, 125, 126, 127, 128, 65535, 65536 } do
  local payload = ("*"):rep(size)
  add("1.1 text of " .. size, { text(payload) }, { size > 0 and "text " .. payload or "text" })
  payload = ("\254"):rep(size)
  add("1.2 binary of " .. size, { frame(2, payload) }, { size > 0 and "binary " .. payload or "binary" })
end

section "2, Pings and Pongs"
add("2.1 a Ping without payload", { ping "" }, { "pong" })
add("2.3 a Ping with bytes", { ping "\0\255\254\253\252\251\0\255" }, { "pong \0\255\254\253\252\251\0\255" })
add("2.4 a Ping of 125 bytes", { ping(("\254"):rep(125)) }, { "pong " .. ("\254"):rep(125) })
add("2.5 a Ping of 126 bytes", { ping(("\254"):rep(126)) }, { "close 1002" })
add("2.7 a Pong that nobody asked for", { frame(10, "") }, {})
add("2.9 a Pong that nobody asked for, and a Ping", { frame(10, "unsolicited"), ping "p" }, { "pong p" })
local ten, ten_pongs = {}, {}
for number = 1, 10 do
  ten[number], ten_pongs[number] = ping("payload-" .. number), "pong payload-" .. number
end
add("2.10 ten Pings", ten, ten_pongs)

section "3, reserved bits, behind good messages"
for rsv, name in pairs { [0x40] = "RSV1", [0x20] = "RSV2", [0x10] = "RSV3", [0x70] = "all of them" } do
  add("3 " .. name .. " in a text", { text "good", text("bad", { rsv = rsv }), ping "" }, { "text good", "close 1002" })
  add("3 " .. name .. " in a Ping", { ping("", { rsv = rsv }) }, { "close 1002" })
  add("3 " .. name .. " in a Close", { close("\3\232", { rsv = rsv }) }, { "close 1002" })
  add("3 " .. name .. " in a continuation", { text("a", OPEN), more("b", { rsv = rsv }) }, { "close 1002" })
end

section "4, reserved opcodes"
for _, opcode in ipairs { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do
  add("4 opcode " .. opcode, { text "good", frame(opcode, "x"), ping "" }, { "text good", "close 1002" })
end

section "5, fragments"
add("5.1 a Ping in fragments", { ping("a", OPEN), more "b" }, { "close 1002" })
add("5.2 a Pong in fragments", { frame(10, "a", OPEN), more "b" }, { "close 1002" })
add("5.3 a text in fragments", { text("fragment1", OPEN), more "fragment2" }, { "text fragment1fragment2" })
add("5.6 a Ping between fragments", { text("a", OPEN), ping "p", more "b" }, { "pong p", "text ab" })
add("5.9 a continuation of nothing", { more("x", OPEN), text "y" }, { "close 1002" })
add("5.10 a last continuation of nothing", { more "x", text "y" }, { "close 1002" })
add("5.12 a continuation behind a message", { text "a", more("x", OPEN), text "y" }, { "text a", "close 1002" })
add("5.15 a continuation behind fragments", { text("a", OPEN), more "b", more("c", OPEN), more "d" },
  { "text ab", "close 1002" })
add("5.16 no message open, again and again", { more("a", OPEN), text("b", OPEN), more "c" }, { "close 1002" })
add("5.18 a text in a text", { text("a", OPEN), text "b" }, { "close 1002" })
add("5.19 five fragments with Pings between", { text("1", OPEN), more("2", OPEN), ping "x", more("3", OPEN), more("4", OPEN),
  ping "y", more "5" }, { "pong x", "pong y", "text 12345" })

section "6, UTF-8, good and bad, whole and in fragments"
local KOSME = "\206\186\225\189\185\207\131\206\188\206\181"
local valid = { "Hello-\194\181@\195\159\195\182\195\164\195\188\195\160\195\161-UTF-8!!", KOSME, "\0", "\127", "\194\128",
  "\223\191", "\224\160\128", "\239\191\191", "\240\144\128\128", "\244\143\191\191", "\237\159\191", "\238\128\128",
  "\239\191\189", "\239\191\190", "\240\159\191\190", "\243\191\191\191" }
for number, payload in ipairs(valid) do
  local name = ("6 valid text %d"):format(number)
  add(name, { text(payload) }, { "text " .. payload })
  local bytes = {}
  for at = 1, #payload do
    bytes[at] = (at == 1 and text or more)(payload:sub(at, at), { fin = at == #payload })
  end
  add(name .. " in fragments of a byte", bytes, { "text " .. payload })
end
local invalid = { KOSME .. "\237\160\128edited", "\128", "\191", "\128\191\128", "\192 ", "\193\191", "\224 ", "\240 ",
  "\248 ",
  "\252 ", "\192", "\224\128", "\240\128\128", "\223", "\239\191", "\247\191\191", "\254", "\255", "\254\254\255\255",
  "\192\175", "\224\128\175", "\240\128\128\175", "\248\128\128\128\175", "\252\128\128\128\128\175", "\193\191",
  "\224\159\191", "\240\143\191\191", "\192\128", "\224\128\128", "\237\160\128", "\237\191\191", "\237\160\128\237\176\128",
  "\244\144\128\128", "\245\128\128\128", "\247\191\191\191", "\248\136\128\128\128" }
for number, payload in ipairs(invalid) do
  local name = ("6 invalid text %d"):format(number)
  add(name, { text(payload) }, { "close 1007" })
  add(name .. " behind a good fragment", { text("good ", OPEN), more(payload) }, { "close 1007" })
  add(name .. " is none of binary's business", { frame(2, payload) }, { "binary " .. payload })
end

section "7, closing, with every kind of code"
add("7.1.1 a message and a Close", { text "a", BYE }, { "text a", "close 1000" })
add("7.1.2 two Closes", { BYE, BYE }, { "close 1000" })
add("7.1.3 a Ping behind a Close", { BYE, ping "" }, { "close 1000" })
add("7.1.4 a text behind a Close", { BYE, text "late" }, { "close 1000" })
add("7.1.5 a fragment behind a Close", { text("a", OPEN), BYE, more "b" }, { "close 1000" })
add("7.1.6 much before a Close", { text(("x"):rep(262144)), text "b", BYE }, { "text " .. ("x"):rep(262144), "text b",
  "close 1000" })
add("7.3.1 a Close without payload", { close "" }, { "close" })
add("7.3.2 a Close of one byte", { close "a" }, { "close 1002" })
add("7.3.4 a Close with a reason", { close "\3\232Hello World!" }, { "close 1000" })
add("7.3.5 a Close with the longest reason", { close("\3\232" .. ("*"):rep(123)) }, { "close 1000" })
add("7.3.6 a Close that is too long", { close("\3\232" .. ("*"):rep(124)) }, { "close 1002" })
add("7.5.1 a Close whose reason is no text", { close("\3\232" .. KOSME .. "\237\160\128") }, { "close 1007" })
for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999 } do
  add("7.7 the code " .. code, { close(string.char(math.floor(code / 256), code % 256)) }, { "close " .. code })
end
for _, code in ipairs { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 } do
  add("7.9 the code " .. code, { close(string.char(math.floor(code / 256), code % 256)) }, { "close 1002" })
end
add("7.11 a Close in fragments", { close("\3\232", OPEN) }, { "close 1002" })

section "9, large messages, in one frame and in fragments"
for _, size in ipairs { 65537, 262144, 1048576 } do
  add("9.1 text of " .. size, { text(("*"):rep(size)) }, { "text " .. ("*"):rep(size) })
  for _, part in ipairs { 64, 4096, 65536 } do
    if size / part < 10000 then
      local frames = {}
      for at = 1, size, part do
        frames[#frames + 1] = frame(at == 1 and 2 or 0, ("\254"):rep(math.min(part, size - at + 1)),
          { fin = at + part > size })
      end
      add(("9.3 binary of %d in fragments of %d"):format(size, part), frames, { "binary " .. ("\254"):rep(size) })
    end
  end
end
add("9 a message over the limit", { frame(2, ("x"):rep(101)) }, { "close 1009" }, { max_message_bytes = 100 })
add("9 fragments over the limit", { frame(2, ("x"):rep(60), OPEN), more(("x"):rep(41), OPEN) }, { "close 1009" },
  { max_message_bytes = 100 })
add("9 a length over the limit, of which nothing comes", { frame(2, "", { form = 8, length = 2 ^ 40 }) }, { "close 1009" })

-- Messages of a client over 64 KiB go out in several frames: as one.
local function joined(answers)
  local out = {}
  for _, answer in ipairs(answers) do
    local rest = answer:match "^more ?(.*)$"
    if rest then out[#out] = out[#out] .. rest else out[#out + 1] = answer end
  end
  return out
end

local function has_close(list)
  for _, each in ipairs(list) do
    if type(each) == "table" and each.opcode == 8 or type(each) == "string" and each:find "^close" then return true end
  end
end

local function check(role, case)
  local expected, frames = { unpack(case.answers) }, { unpack(case.frames) }
  if not has_close(expected) then
    frames[#frames + 1] = BYE
    expected[#expected + 1] = "close 1000"
  end
  local options = case.options or {}
  local answers = joined(converse(role, { bytes_of(frames, role) }, { max_message_bytes = options.max_message_bytes }))
  for number = 1, math.max(#answers, #expected) do
    local answer, wanted = tostring(answers[number]), tostring(expected[number])
    if answer ~= wanted then
      error(("%s: answer %d is %q, not %q"):format(case.name, number, answer:sub(1, 60), wanted:sub(1, 60)))
    end
  end
end

for _, role in ipairs { "server", "client" } do
  describe("a WebSocket's " .. role .. " answers as the Autobahn suite wants:", function()
    for _, cases in ipairs(sections) do
      it(cases.title, function()
        for _, case in ipairs(cases) do
          check(role, case)
        end
      end)
    end

    -- 6.4: what can't become UTF-8 any more is refused at once, not with the rest of its message.
    for name, pieces in pairs {
      ["in a fragment"] = { text("\206\186\244\144\128\128", OPEN) },
      ["at a byte that can't follow, of a fragment"] = { text("\206\186\244", OPEN), more("\144", OPEN) },
    } do
      it("6.4 fails fast " .. name, function()
        assert.same({ "close 1007" }, converse(role, { bytes_of(pieces, role) }))
      end)
    end
    it("6.4 fails fast in the middle of a frame", function()
      local whole = bytes_of({ text("\206\186\244\144\128\128 and more of it") }, role)
      assert.same({ "close 1007" }, converse(role, { whole:sub(1, #whole - 10) }))
    end)

    it("2.6, 5.5 and 7 the same when everything comes byte by byte", function()
      local frames = { text("fragment1", OPEN), ping(("p"):rep(125)), more "fragment2", BYE }
      local bytes, pieces = bytes_of(frames, role), {}
      for at = 1, #bytes, 3 do
        pieces[#pieces + 1] = bytes:sub(at, at + 2)
      end
      assert.same({ "pong " .. ("p"):rep(125), "text fragment1fragment2", "close 1000" }, converse(role, pieces))
    end)
  end)
end

-- 12 and 13, compression. The peer is a compressor of zlib's own here.
describe("permessage-deflate as the Autobahn suite wants it:", function()
  local function compressor(bits)
    local stream = buffer.deflater { format = "raw", window_bits = bits }
    return function(data)
      local out = stream:update(data, "sync")
      local payload = out:to_string():sub(1, -5)
      out:release()
      return payload
    end, stream
  end

  local function inflated(payload)
    local input = buffer.wrap(payload .. "\0\0\255\255")
    local stream = buffer.inflater { format = "raw", max_bytes = math.huge }
    local room = buffer.allocate(262144)
    assert(stream:run(input, room) ~= nil)
    local out = room:reset_for_read():to_string()
    input:release()
    room:release()
    stream:close()
    return out
  end

  local function options(role, fields)
    local agreement = { server_no_context_takeover = true, client_no_context_takeover = true, server_max_window_bits = 15,
      client_max_window_bits = 15 }
    for name, value in pairs(fields or {}) do
      agreement[name] = value
    end
    return { role = role, agreement = agreement, compress = deflate.options { min_bytes = 1 } }
  end

  for _, role in ipairs { "server", "client" } do
    it("12 " .. role .. ", messages of many sizes", function()
      for _, size in ipairs { 16, 64, 256, 1024, 4096, 16384, 65536, 131072 } do
        local data = ("compress me "):rep(math.ceil(size / 12)):sub(1, size)
        local compress, stream = compressor(15)
        local answers = joined(converse(role, { bytes_of({ text(compress(data), { rsv = 0x40 }), BYE }, role) },
          options(role)))
        stream:close()
        assert.equal(2, #answers)
        assert.is_true(inflated(answers[1]:sub(6)) == data)
      end
    end)

    for _, bits in ipairs { 9, 10, 12, 15 } do
      it(("13 %s, windows of %d bits, kept from message to message"):format(role, bits), function()
        local compress, stream = compressor(bits)
        local frames, count = {}, 50
        for number = 1, count do
          frames[number] = text(compress(("message %d of many "):format(number):rep(40)), { rsv = 0x40 })
        end
        frames[count + 1] = BYE
        local answers = converse(role, { bytes_of(frames, role) }, options(role, { server_no_context_takeover = false,
          client_no_context_takeover = false, server_max_window_bits = bits, client_max_window_bits = bits }))
        stream:close()
        assert.equal(count + 1, #answers)
        -- The answers refer to those before, so they are read as one stream.
        local all = {}
        for number = 1, count do
          all[number] = answers[number]:sub(6) .. "\0\0\255\255"
        end
        local read = inflated(table.concat(all):sub(1, -5))
        for number = 1, count do
          assert.is_truthy(read:find(("message %d of many "):format(number), 1, true))
        end
      end)
    end

    for name, frames in pairs {
      ["a Ping that claims to be compressed"] = { ping("", { rsv = 0x40 }) },
      ["a Close that claims to be compressed"] = { close("\3\232", { rsv = 0x40 }) },
      ["RSV1 in a continuation"] = { text("\242\72\205", { fin = false, rsv = 0x40 }), more("\201\201\7\0",
        { rsv = 0x40 }) },
      ["RSV2 beside RSV1"] = { text("\242\72\205\201\201\7\0", { rsv = 0x60 }) },
    } do
      it("13 " .. role .. ", refuses " .. name, function()
        assert.same({ "close 1002" }, converse(role, { bytes_of(frames, role) }, options(role)))
      end)
    end

    it("13 " .. role .. ", takes compressed and plain messages by turns, in fragments with a Ping between", function()
      local hello = "\242\72\205\201\201\7\0"
      local answers = converse(role, { bytes_of({ text(hello, { rsv = 0x40 }), text "plain",
        text(hello:sub(1, 3), { rsv = 0x40, fin = false }), ping "p", more(hello:sub(4)), BYE }, role) }, options(role))
      assert.equal(5, #answers)
      assert.equal("Hello", inflated(answers[1]:sub(6)))
      assert.equal("plain", inflated(answers[2]:sub(6)))
      assert.equal("pong p", answers[3])
      assert.equal("Hello", inflated(answers[4]:sub(6)))
      assert.equal("close 1000", answers[5])
    end)

    it("13 " .. role .. ", refuses what is no deflate, and bombs", function()
      assert.same({ "close 1007" }, converse(role, { bytes_of({ text("\255\255\255", { rsv = 0x40 }) }, role) },
        options(role)))
      local compress, stream = compressor(15)
      local bomb = compress(("\0"):rep(20000000))
      stream:close()
      assert.is_true(#bomb < 30000)
      assert.same({ "close 1009" }, converse(role, { bytes_of({ frame(2, bomb, { rsv = 0x40 }) }, role) }, options(role)))
    end)
  end
end)
