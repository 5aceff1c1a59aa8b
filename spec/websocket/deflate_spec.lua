local moonring = require "moonring"
local http = require "moonring.http"
local websocket = require "moonring.websocket"
local buffer = require "moonring.buffer"
local deflate = require "moonring.websocket.deflate"
local handshake = require "moonring.websocket.handshake"
local messages = require "moonring.websocket.messages"
local wire = require "spec.websocket.wire"

local KEY = "key!"

-- A message as one compressed frame: raw deflate without its tail.
local function compressed(text, fields)
  local stream = buffer.deflater { format = "raw" }
  local out = stream:update(text, "sync")
  local payload = out:to_string():sub(1, -5)
  out:release()
  stream:close()
  fields = fields or {}
  fields.opcode, fields.payload, fields.key, fields.rsv = fields.opcode or 1, payload, KEY, 0x40
  return wire.frame(fields)
end

local function read(pieces, options)
  options = options or {}
  options.role = "server"
  options.inflation = deflate.inflation(15, options.fresh ~= false)
  local out, parts = {}, {}
  return wire.feed(messages.reader(options), pieces, out, function(what, detail, value)
    if what == "control" then return end
    parts[#parts + 1] = detail:to_string()
    if value then out[#out + 1], parts = table.concat(parts), {} end
  end)
end

describe("compressed websocket messages", function()
  it("are read however they are cut", function()
    local text = "Hello, na\195\175ve \226\130\172 " .. ("x"):rep(300)
    local plain = wire.frame { opcode = 1, payload = "plain", key = KEY }
    wire.every_split(compressed(text) .. compressed "" .. plain, function(pieces)
      assert.same({ text, "", "plain" }, read(pieces))
    end)
  end)

  it("are read however they are cut into frames", function()
    local whole = compressed(("abc"):rep(100))
    local payload = ""
    for i = 7, #whole do
      payload = payload .. string.char(bit.bxor(whole:byte(i), KEY:byte((i - 7) % 4 + 1)))
    end
    for at = 0, #payload do
      local bytes = wire.frame { opcode = 2, fin = false, rsv = 0x40, payload = payload:sub(1, at), key = KEY }
        .. wire.frame { opcode = 9, payload = "between", key = KEY }
        .. wire.frame { opcode = 0, payload = payload:sub(at + 1), key = KEY }
      assert.same({ ("abc"):rep(100) }, read { bytes })
    end
  end)

  it("are read as RFC 7692 section 7.2.3 has them", function()
    for _, payload in ipairs {
      "\242\72\205\201\201\7\0", -- 7.2.3.1
      "\0\5\0\250\255\72\101\108\108\111\0", -- 7.2.3.3, no compression
      "\243\72\205\201\201\7\0\0", -- 7.2.3.4, with BFINAL
      "\242\72\5\0\0\0\255\255\202\201\201\7\0", -- 7.2.3.5, two blocks
    } do
      assert.same({ "Hello" }, read { wire.frame { opcode = 1, rsv = 0x40, payload = payload, key = KEY } })
    end
  end)

  it("refer to those before where the context is kept, and else are refused", function()
    local first, second = "\242\72\205\201\201\7\0", "\242\0\17\0\0" -- 7.2.3.2
    local bytes = wire.frame { opcode = 1, rsv = 0x40, payload = first, key = KEY }
      .. wire.frame { opcode = 1, rsv = 0x40, payload = second, key = KEY }
    assert.same({ "Hello", "Hello" }, read({ bytes }, { fresh = false }))
    local out = read { bytes }
    assert.equal("Hello", out[1])
    assert.truthy(out[2]:find "^refused 1007: a compressed message that can't be decompressed")
  end)

  it("are bounded by what they decompress to", function()
    local bomb = compressed(("\0"):rep(10000000), { opcode = 2 })
    assert.is_true(#bomb < 11000)
    assert.same({ "refused 1009: a message of more than 1048576 bytes" }, read { bomb })
    assert.equal(10000000, #read({ bomb }, { max_message_bytes = 10000000 })[1])
  end)

  it("must be UTF-8 where they are text, also over the blocks of decompression", function()
    local text = ("\226\130\172"):rep(20000) -- 60,000 bytes: more than one block
    assert.same({ text }, read { compressed(text) })
    assert.same({ "refused 1007: a text message that is not UTF-8" }, read { compressed(text .. "\226\130") })
  end)

  it("are refused when they are no deflate", function()
    local out = read { wire.frame { opcode = 1, rsv = 0x40, payload = "\255\255\255", key = KEY } }
    assert.truthy(out[1]:find "^refused 1007: a compressed message")
  end)
end)

describe("permessage-deflate", function()
  local function answer(offer, options)
    local agreement, extension = deflate.accept(handshake.parse_extensions(offer), deflate.options(options or true))
    return agreement and handshake.format_extension(extension), agreement
  end
  local FRESH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

  it("is agreed on by a server", function()
    assert.equal(FRESH, (answer "permessage-deflate"))
    assert.equal(FRESH, (answer "permessage-deflate; client_max_window_bits"))
    assert.equal("permessage-deflate", (answer("permessage-deflate", { context_takeover = true })))
    assert.equal("permessage-deflate; server_no_context_takeover",
      (answer("permessage-deflate; server_no_context_takeover", { context_takeover = true })))
    assert.equal("permessage-deflate; server_max_window_bits=10",
      (answer("permessage-deflate; server_max_window_bits=10", { context_takeover = true })))
    assert.equal("permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
      (answer("permessage-deflate; client_max_window_bits", { context_takeover = true, window_bits = 9 })))
    assert.equal("permessage-deflate; client_max_window_bits=12",
      (answer("permessage-deflate; client_max_window_bits=12", { context_takeover = true })))
    -- The first offer that will do.
    assert.equal(FRESH, (answer "other, permessage-deflate; server_max_window_bits=8, permessage-deflate"))
  end)

  it("is declined where the offer is malformed or can't be met", function()
    for _, offer in ipairs { "other", "permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1",
      "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=16",
      "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=09",
      "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
      "permessage-deflate; client_max_window_bits=x",
      "permessage-deflate; server_max_window_bits=8" } do
      assert.is_nil((answer(offer)), offer)
    end
  end)

  it("is accepted by a client only as it was offered", function()
    local options = deflate.options { window_bits = 12 }
    local function read_answer(text, with)
      return deflate.read_answer(handshake.parse_extensions(text)[1], with or options)
    end
    assert.same({ server_no_context_takeover = true, client_no_context_takeover = true, server_max_window_bits = 11,
      client_max_window_bits = 10 }, read_answer("permessage-deflate; server_no_context_takeover; " ..
      "server_max_window_bits=11; client_max_window_bits=10"))
    assert.is_nil(read_answer "permessage-deflate; server_no_context_takeover") -- a window of 15
    assert.is_nil(read_answer "permessage-deflate; server_max_window_bits=12") -- with takeover
    assert.is_nil(read_answer "permessage-deflate; server_no_context_takeover; client_max_window_bits")
    assert.is_nil(read_answer "other")
    assert(read_answer("permessage-deflate", deflate.options { context_takeover = true }))
  end)

  for name, options in pairs {
    ["without context"] = true,
    ["with context"] = { context_takeover = true },
    ["with small windows"] = { window_bits = 9, context_takeover = true, level = 9 },
  } do
    it("carries messages both ways, " .. name, function()
      moonring.scope(function(scope)
        local server = scope:own(assert(http.server { port = 0 }))
        scope:spawn(function()
          server:serve(function(request, response)
            local socket = assert(websocket.upgrade(request, response, { compress = options, max_message_bytes = 3000000 }))
            for message, kind in socket:messages() do
              socket:send(message, kind)
            end
          end)
        end)
        local socket = assert(websocket.connect("ws://127.0.0.1:" .. server.port,
          { compress = options, max_message_bytes = 3000000 }))
        assert.equal("permessage-deflate", socket.extensions)
        math.randomseed(7)
        for round = 1, 30 do
          local size = ({ 0, 1, 127, 128, 5000, 70000, 300000 })[round % 7 + 1]
          local words = {}
          for i = 1, size / 8 do
            words[i] = ("%06d, "):format(math.random(999))
          end
          local text = table.concat(words) .. ("x"):rep(size % 8)
          assert(socket:send(text))
          assert.equal(text, (socket:receive()))
          local data = buffer.wrap(text)
          assert(socket:send(data))
          assert.same({ text, "binary" }, { socket:receive() })
        end
        socket:close()
        server:close()
      end)
    end)
  end

  it("is done once for all who get a prepared message, also between their own", function()
    moonring.scope(function(scope)
      local server = scope:own(assert(http.server { port = 0 }))
      local sockets = {}
      scope:spawn(function()
        server:serve(function(request, response)
          local socket = assert(websocket.upgrade(request, response, { compress = { context_takeover = true } }))
          sockets[socket] = socket
          socket:send(("hello and welcome "):rep(20))
          for _ in socket:messages() do end
          sockets[socket] = nil
        end)
      end)
      local clients = {}
      for i = 1, 5 do
        clients[i] = assert(websocket.connect("ws://127.0.0.1:" .. server.port, { compress = { context_takeover = true } }))
        clients[i]:receive()
      end
      local news = ("hello and more news "):rep(50)
      local message = websocket.prepare(news)
      for _ = 1, 3 do
        assert.same({ 5, 0 }, { websocket.broadcast(sockets, message) })
        for socket in pairs(sockets) do
          assert(socket:send(("hello to you alone "):rep(30)))
        end
        for _, client in ipairs(clients) do
          assert.equal(news, (client:receive()))
          assert.equal(("hello to you alone "):rep(30), (client:receive()))
        end
      end
      message:release()
      for _, client in ipairs(clients) do
        client:close()
      end
      server:close()
    end)
  end)
end)
