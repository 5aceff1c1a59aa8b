local moonring = require "moonring"
local net = require "moonring.net"
local buffer = require "moonring.buffer"
local errors = require "moonring.errors"
local session = require "moonring.websocket.session"
local prepared = require "moonring.websocket.prepared"
local wire = require "spec.websocket.wire"

local KEY = "\0\0\0\0"

-- Runs fn(socket, peer, scope): a server's WebSocket, and the plain connection to it.
local function with_peer(options, fn)
  return moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen { port = 0 }))
    local peer = scope:own(assert(net.connect { port = listener.port }))
    options.role = options.role or "server"
    local socket = scope:own(session.new(assert(listener:accept()), options))
    fn(socket, peer, scope)
    peer:close(0)
  end)
end

-- The same with a WebSocket on both sides.
local function with_pair(options, fn)
  return moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen { port = 0 }))
    local connection = assert(net.connect { port = listener.port })
    local function with(role)
      local out = { role = role }
      for name, value in pairs(options) do
        out[name] = value
      end
      return out
    end
    local client = session.new(connection, with "client")
    local server = session.new(assert(listener:accept()), with "server")
    fn(server, client, scope)
    scope:spawn(function() client:close() end)
    server:close()
  end)
end

local function frame(payload, fields)
  fields = fields or {}
  fields.opcode, fields.payload, fields.key = fields.opcode or 1, payload, KEY
  return wire.frame(fields)
end

local function read_exactly(connection, count)
  local text = ""
  while #text < count do
    text = text .. assert(connection:read()):to_string()
  end
  return text
end

local function answer_close(peer)
  peer:write(frame("\3\232", { opcode = 8 }))
end

describe("a WebSocket", function()
  it("receives what is sent, both ways, in every size", function()
    with_pair({ max_message_bytes = 4000000 }, function(server, client, scope)
      local sizes = { 0, 1, 125, 126, 127, 65535, 65536, 65537, 200000, 1000000 }
      for _, pair in ipairs { { server, client }, { client, server } } do
        local sender, receiver = pair[1], pair[2]
        local task = scope:spawn(function()
          for i, size in ipairs(sizes) do
            local kind = i % 2 == 0 and "text" or "binary"
            assert(sender:send(("x"):rep(size), kind))
          end
        end)
        for i, size in ipairs(sizes) do
          local message, kind = receiver:receive()
          assert.equal(size, #message)
          assert.equal(("x"):rep(size), message)
          assert.equal(i % 2 == 0 and "text" or "binary", kind)
        end
        assert(task:join())
      end
    end)
  end)

  it("sends a large buffer's memory itself, from a server", function()
    with_pair({ max_message_bytes = 4000000 }, function(server, client, scope)
      local data = scope:own(buffer.allocate(300000)):fill(65)
      local copied = moonring.stats().bytes_copied
      scope:spawn(function() assert(server:send(data)) end)
      local message, kind = client:receive_buffer()
      assert.equal("binary", kind)
      assert.equal(300000, message:remaining())
      assert.is_true(message:equals(("A"):rep(300000)))
      message:release()
      assert.equal(0, data:remaining())
      assert.is_true(moonring.stats().bytes_copied - copied < 100)
    end)
  end)

  it("answers a Ping, also between the parts of a message", function()
    with_peer({}, function(socket, peer)
      peer:write(frame("Hel", { fin = false }) .. frame("x", { opcode = 9 }) .. frame("lo", { opcode = 0 }))
      assert.equal("Hello", (socket:receive()))
      assert.equal(wire.frame { opcode = 10, payload = "x" }, read_exactly(peer, 3))
      answer_close(peer)
    end)
  end)

  it("does not queue Pongs without end for a peer that takes none", function()
    with_peer({}, function(socket, peer, scope)
      local most = 0
      local receiver = scope:spawn(function()
        return socket:receive()
      end)
      local pings = frame(("p"):rep(125), { opcode = 9 }):rep(1000)
      local flood = scope:spawn(function()
        for _ = 1, 400 do -- 52 MB, far more than the kernel buffers
          if not peer:write(pings) then return end
        end
        peer:write(frame "at last")
      end)
      for _ = 1, 50 do
        moonring.sleep(0.002)
        most = math.max(most, socket:queued())
      end
      assert.is_false(flood:has_ended()) -- it waits, as whoever floods should
      assert.is_true(most > 200000 and most < 300000, tostring(most))
      local reader = scope:spawn(function()
        for _ in peer:chunks() do end -- luacheck: ignore
      end)
      assert.equal("at last", select(2, receiver:join()))
      answer_close(peer)
      reader:cancel()
    end)
  end)

  it("gives parts as they come", function()
    with_peer({}, function(socket, peer)
      peer:write(frame("Hel", { fin = false }))
      local part, is_last, kind = socket:receive_part()
      assert.same({ "Hel", false, "text" }, { part:to_string(), is_last, kind })
      peer:write(frame("lo", { opcode = 0 }))
      part, is_last = socket:receive_part()
      assert.same({ "lo", true }, { part:to_string(), is_last })
      answer_close(peer)
    end)
  end)

  it("sends parts of one message, and refuses another message between them", function()
    with_peer({}, function(socket, peer)
      assert(socket:send_part("Hel", false, "text"))
      local ok, failure = pcall(socket.send, socket, "other")
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "busy"))
      assert(socket:ping "p")
      assert(socket:send_part("lo", true))
      local expected = wire.frame { opcode = 1, payload = "Hel", fin = false } .. wire.frame { opcode = 9, payload = "p" }
        .. wire.frame { opcode = 0, payload = "lo" }
      assert.equal(expected, read_exactly(peer, #expected))
      answer_close(peer)
    end)
  end)

  it("closes: sends a Close, waits for the peer's, ends the connection", function()
    with_peer({}, function(socket, peer, scope)
      local task = scope:spawn(socket.close, socket, 1001, "bye")
      assert.equal(wire.frame { opcode = 8, payload = "\3\233bye" }, read_exactly(peer, 7))
      assert.is_false(task:has_ended())
      peer:write(frame("late", {}) .. frame("\3\233", { opcode = 8 }))
      assert(task:join())
      assert.is_nil((peer:read()))
      assert.equal(1001, socket.close_code)
      assert.same({ n = 3, nil, "websocket: closed", "EPIPE" }, { n = 3, socket:send "x" })
    end)
  end)

  it("is closed by the peer's Close, answers it, and tells code and reason", function()
    with_peer({}, function(socket, peer)
      peer:write(frame("\15\160see you", { opcode = 8 }))
      assert.equal(1, select("#", socket:receive()))
      assert.same({ 4000, "see you" }, { socket.close_code, socket.close_reason })
      assert.equal(wire.frame { opcode = 8, payload = "\15\160see you" }, read_exactly(peer, 11))
      assert.is_nil((peer:read()))
    end)
  end)

  it("gives a Close without a code the number 1005", function()
    with_peer({}, function(socket, peer)
      peer:write(frame("", { opcode = 8 }))
      assert.is_nil((socket:receive()))
      assert.equal(1005, socket.close_code)
      assert.equal("\136\0", read_exactly(peer, 2))
    end)
  end)

  it("ends with ECONNRESET when the peer leaves without a Close", function()
    with_peer({}, function(socket, peer)
      peer:write(frame("a", { fin = false }))
      peer:close()
      local message, text, code = socket:receive()
      assert.is_nil(message)
      assert.equal("websocket: the peer has left without a Close", text)
      assert.equal("ECONNRESET", code)
      assert.equal(1006, socket.close_code)
    end)
  end)

  for name, case in pairs {
    ["the protocol"] = { frame("", { opcode = 3 }), 1002, "EPROTO" },
    ["UTF-8"] = { frame "\255", 1007, "EPROTO" },
    ["the limit"] = { frame(("x"):rep(101)), 1009, "EMSGSIZE" },
    ["the rules of Close"] = { frame("\3", { opcode = 8 }), 1002, "EPROTO" },
  } do
    it("ends with a Close when the peer breaks " .. name, function()
      with_peer({ max_message_bytes = 100 }, function(socket, peer)
        peer:write(case[1])
        local message, text, code = socket:receive()
        assert.is_nil(message)
        assert.equal(case[3], code)
        local head = read_exactly(peer, 4)
        assert.equal(136, head:byte(1))
        assert.equal(case[2], head:byte(3) * 256 + head:byte(4))
        assert.same({ nil, text, code }, { socket:receive() }) -- and stays ended
      end)
    end)
  end

  it("loses no byte of a message when a receive is cancelled", function()
    with_peer({}, function(socket, peer, scope)
      peer:write(frame("Hello"):sub(1, 8))
      local task = scope:spawn(function() return socket:receive() end)
      moonring.sleep(0.01)
      task:cancel()
      assert.is_false((task:join()))
      peer:write(frame("Hello"):sub(9))
      assert.equal("Hello", (socket:receive()))
      answer_close(peer)
    end)
  end)

  it("gives what a cancelled receive has gathered to receive_part", function()
    with_peer({}, function(socket, peer, scope)
      peer:write(frame("Hel", { fin = false }))
      local task = scope:spawn(function() return socket:receive() end)
      moonring.sleep(0.01)
      task:cancel()
      task:join()
      peer:write(frame("lo", { opcode = 0 }) .. frame("next"))
      local text = ""
      repeat
        local part, is_last = socket:receive_part()
        text = text .. part:to_string()
      until is_last
      assert.equal("Hello", text)
      assert.equal("next", (socket:receive()))
      answer_close(peer)
    end)
  end)

  it("refuses a second receiver and names both", function()
    with_peer({}, function(socket, peer, scope)
      local first = scope:spawn(function() return socket:receive() end):named "first"
      moonring.sleep(0.005)
      local ok, failure = pcall(socket.receive, socket)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "busy"))
      assert.truthy(tostring(failure):find(tostring(first), 1, true))
      first:cancel()
      first:join()
      answer_close(peer)
    end)
  end)

  it("keeps messages of several tasks apart, and lets Pings through", function()
    with_pair({ max_message_bytes = 4000000 }, function(server, client, scope)
      for i = 1, 4 do
        scope:spawn(function()
          for j = 1, 5 do
            assert(client:send(tostring(i):rep(j * 50000)))
          end
        end)
      end
      local pinger = scope:spawn(function()
        for _ = 1, 20 do
          assert(client:ping "p")
          moonring.sleep(0)
        end
      end)
      local counts = {}
      for _ = 1, 20 do
        local message = assert(server:receive())
        local digit = message:sub(1, 1)
        assert.equal(digit:rep(#message), message)
        counts[digit] = (counts[digit] or 0) + 1
        assert.equal(counts[digit] * 50000, #message)
      end
      assert.same({ ["1"] = 5, ["2"] = 5, ["3"] = 5, ["4"] = 5 }, counts)
      pinger:join()
    end)
  end)

  it("masks each of a client's frames with a key of its own", function()
    with_peer({ role = "client" }, function(socket, peer)
      local keys = {}
      for _ = 1, 50 do
        socket:send "abcd"
        local bytes = read_exactly(peer, 10)
        assert.equal("\129\132", bytes:sub(1, 2))
        local key = bytes:sub(3, 6)
        assert.equal(wire.frame { opcode = 1, payload = "abcd", key = key }, bytes)
        assert.is_nil(keys[key])
        keys[key] = true
      end
      peer:write(wire.frame { opcode = 8, payload = "\3\232" })
    end)
  end)

  it("pings a peer that is quiet, and gives it up when it does not answer", function()
    with_peer({ ping_interval = 0.05 }, function(socket, peer)
      local message, _, code = socket:receive()
      assert.is_nil(message)
      assert.equal("ETIMEDOUT", code)
      assert.equal("\137\0", read_exactly(peer, 2))
    end)
  end)

  it("does not give up a peer that answers", function()
    with_pair({ ping_interval = 0.02 }, function(server, client, scope)
      local receiver = scope:spawn(function() return client:receive() end)
      local other = scope:spawn(function() return server:receive() end)
      moonring.sleep(0.15)
      assert.is_false(other:has_ended())
      assert(server:send "still here")
      local _, message = receiver:join()
      assert.equal("still here", message)
      other:cancel()
      other:join()
    end)
  end)

  it("raises what can't be sent", function()
    with_peer({}, function(socket, peer)
      for _, case in ipairs { { 1 }, { {} }, { "\255", "text" }, { "a", "other" } } do
        local ok, failure = pcall(socket.send, socket, case[1], case[2])
        assert.is_false(ok)
        assert.is_true(errors.is(failure, "argument"))
      end
      assert.is_false((pcall(socket.close, socket, 1006)))
      assert.is_false((pcall(socket.ping, socket, ("x"):rep(126))))
      assert(socket:send("\255", "binary"))
      answer_close(peer)
    end)
  end)
end)

describe("a prepared message", function()
  it("goes to many WebSockets from the same memory", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen { port = 0 }))
      local sockets, peers = {}, {}
      for i = 1, 20 do
        peers[i] = scope:own(assert(net.connect { port = listener.port }))
        sockets[i] = session.new(assert(listener:accept()), { role = "server" })
        scope:own(sockets[i].connection)
      end
      local text = ("news "):rep(20000)
      local message = prepared.new(text)
      local before = moonring.stats()
      for _ = 1, 2 do
        assert.same({ 20, 0 }, { prepared.broadcast(sockets, message) })
      end
      local after = moonring.stats()
      assert.equal(before.memory.chunk_bytes, after.memory.chunk_bytes)
      assert.equal(before.bytes_copied, after.bytes_copied)
      message:release()
      local expected = wire.frame { opcode = 1, payload = text }:rep(2)
      for i = 1, 20 do
        assert.equal(expected, read_exactly(peers[i], #expected))
      end
      local ok, failure = pcall(sockets[1].send, sockets[1], message)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "closed"))
    end)
  end)

  it("leaves out who is too slow or has ended, and tells of the slow", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen { port = 0 }))
      local sockets = {}
      for i = 1, 3 do
        scope:own(assert(net.connect { port = listener.port }))
        sockets[i] = session.new(assert(listener:accept()), { role = "server" })
        scope:own(sockets[i].connection)
      end
      sockets[3].close_sent = true
      local slow = {}
      local message = prepared.new(("x"):rep(100000), "binary")
      -- Nobody reads: the sockets' buffers fill up, and then the queues to their bound.
      local sent, skipped, rounds = 1, 0, 0
      while sent > 0 and rounds < 2000 do
        sent, skipped = prepared.broadcast(sockets, message, {
          max_queued = 250000,
          on_slow = function(socket) slow[socket] = true end,
        })
        rounds = rounds + 1
        moonring.sleep(0.001)
      end
      assert.same({ 0, 3 }, { sent, skipped })
      assert.is_true(slow[sockets[1]] and slow[sockets[2]])
      assert.is_nil(slow[sockets[3]])
      assert.is_true(sockets[1]:queued() <= 350100)
      message:release()
      for i = 1, 3 do
        sockets[i].connection:close(0)
      end
    end)
  end)

  it("is masked by clients", function()
    with_pair({}, function(server, client)
      local message = prepared.new("all of you")
      assert(client:send(message))
      assert.equal("all of you", (server:receive()))
      message:release()
    end)
  end)
end)
