local moonring = require "moonring"
local net = require "moonring.net"
local connections = require "moonring.net.connection"
local process = require "spec.support.process"
local stands_still = require "spec.support.stands_still"
local stream = require "spec.support.stream"
local with_stderr = require "spec.support.stderr"
local eventually = require "spec.support.eventually"

local read_exactly, read_all = stream.read_exactly, stream.read_all

-- Runs body(scope, client, server) with the two ends of a connection.
local function with_pair(body)
  return moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen {}))
    local client = scope:own(assert(net.connect { port = listener.port }))
    local server = scope:own(assert(listener:accept()))
    return body(scope, client, server)
  end)
end

describe("a connection", function()
  it("carries bytes both ways, at every split", function()
    with_pair(function(_, client, server)
      local text = "the quick brown fox"
      for split = 0, #text do
        assert.is_true(client:write(text:sub(1, split)))
        assert.is_true(client:flush())
        assert.is_true(client:write(text:sub(split + 1)))
        assert.equal(text, read_exactly(server, #text))
        assert.is_true(server:write(text))
        assert.equal(text, read_exactly(client, #text))
      end
    end)
  end)

  it("gives the end of the stream as nil alone, again and again", function()
    with_pair(function(_, client, server)
      client:shutdown()
      for _ = 1, 2 do
        local results = { n = select("#", server:read()), server:read() }
        assert.equal(1, results.n)
        assert.is_nil(results[1])
      end
    end)
  end)

  it("delivers what was written before shutdown and still reads", function()
    with_pair(function(scope, client, server)
      scope:spawn(function()
        assert.equal("question", read_all(server))
        server:write("answer")
        server:close()
      end)
      client:write("question")
      client:shutdown()
      assert.equal("answer", read_all(client))
    end)
  end)

  it("delivers what was written before close", function()
    with_pair(function(_, client, server)
      local text = ("x"):rep(1000000)
      moonring.scope(function(scope)
        scope:spawn(function()
          client:write(text)
          client:close()
        end)
        assert.equal(#text, #read_all(server))
      end)
    end)
  end)

  it("carries 32 MiB unchanged through a slow reader, with bounded memory", function()
    with_pair(function(_, client, server)
      local block = {}
      for i = 1, 4096 do
        block[i] = ("%08x"):format(i * 2654435761 % 4294967296)
      end
      block = table.concat(block)
      local rounds, peak = 1024, 0
      moonring.scope(function(scope)
        scope:spawn(function()
          for _ = 1, rounds do
            assert.is_true(client:write(block))
          end
          client:close()
        end)
        local position, count = 0, 0
        for buffer in server:chunks() do
          while buffer:remaining() > 0 do
            local take = math.min(buffer:remaining(), #block - position)
            assert.is_true(buffer:read_string(take) == block:sub(position + 1, position + take))
            position = (position + take) % #block
            count = count + take
          end
          if count % 7 == 0 then moonring.sleep(0.0005) end
          peak = math.max(peak, moonring.stats().memory.chunk_bytes)
        end
        assert.equal(rounds * #block, count)
      end)
      assert.is_true(peak < 16 * 1048576, "peak " .. peak)
    end)
  end)

  it("makes a writer wait while its peer does not read", function()
    with_pair(function(scope, client, server)
      local written = 0
      local writer = scope:spawn(function()
        local block = ("b"):rep(65536)
        while client:write(block) do
          written = written + #block
        end
      end)
      assert.is_true((stands_still(function() return written end) or 0) > 0)
      -- What the two kernels and our two queues hold, and no more.
      assert.is_true(written < 64 * 1048576)
      assert.is_not_nil(server:read())
      writer:cancel()
    end)
  end)

  it("passes a buffer on without copying it", function()
    with_pair(function(_, client, server)
      client:write(("z"):rep(10000))
      moonring.sleep(0.01)
      local before = moonring.stats().bytes_copied
      local got = 0
      while got < 10000 do
        local buffer = server:read()
        got = got + buffer:remaining()
        assert.is_true(server:write(buffer))
        assert.equal(0, buffer:remaining())
      end
      assert.equal(before, moonring.stats().bytes_copied)
      got = 0
      while got < 10000 do
        got = got + client:read():remaining()
      end
      assert.equal(10000, got)
    end)
  end)

  it("lends a read buffer until the next read; retain keeps it", function()
    with_pair(function(_, client, server)
      client:write("first")
      local lent = server:read()
      local small = lent:retain()
      client:write(("second"):rep(1000))
      local big = server:read():retain()
      read_exactly(server, 6000 - big:remaining()) -- a full receive buffer may have cut it
      client:write("third")
      assert.equal("third", read_exactly(server, 5))
      assert.equal("first", small:to_string())
      assert.equal(("second"):rep(1000):sub(1, big:remaining()), big:to_string())
      small:release()
      big:release()
    end)
  end)

  it("holds no buffer while it is idle", function()
    with_pair(function(scope, client, server)
      client:write("hello")
      assert.is_not_nil(server:read())
      local reader = scope:spawn(server.read, server)
      moonring.sleep(0.01)
      local idle = moonring.stats()
      -- The ring's own buffers are all that is held.
      assert.equal(idle.receive_ring_bytes, idle.memory.iovec_bytes)
      reader:cancel()
    end)
  end)

  it("tells a reader that its connection has been closed by another task", function()
    with_pair(function(scope, _, server)
      scope:spawn(function()
        moonring.sleep(0.01)
        server:close()
      end)
      local ok, failure = pcall(server.read, server)
      assert.is_false(ok)
      assert.equal("closed", failure.code)
      ok, failure = pcall(server.write, server, "x")
      assert.is_false(ok)
      assert.equal("closed", failure.code)
      server:close() -- again
    end)
  end)

  it("refuses a second reader by naming both tasks", function()
    with_pair(function(scope, _, server)
      local first = scope:spawn(server.read, server)
      moonring.sleep(0)
      local ok, failure = pcall(server.read, server)
      assert.is_false(ok)
      assert.equal("busy", failure.code)
      assert.is_truthy(failure.message:find(tostring(first), 1, true))
      first:cancel()
    end)
  end)

  it("lives on when its listener is closed in the turn in which it was accepted", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local server = scope:own(assert(listener:accept()))
      listener:close()
      moonring.sleep(0.01) -- a slot that was given up would be another one's by then
      client:write "still here"
      assert.equal("still here", read_exactly(server, 10))
    end)
  end)

  it("loses no byte to a cancelled read", function()
    with_pair(function(_, client, server)
      for i = 1, 20 do
        moonring.scope(function(scope)
          local reader = scope:spawn(server.read, server)
          moonring.sleep(0)
          client:write(("%d;"):format(i))
          if i % 2 == 0 then moonring.sleep(0) end
          reader:cancel()
        end)
      end
      client:shutdown()
      local expected = {}
      for i = 1, 20 do
        expected[i] = i .. ";"
      end
      -- A reader that was not cancelled in time has taken its bytes; whatever is left is in order and whole.
      local rest = read_all(server)
      local text = table.concat(expected)
      assert.equal(text:sub(#text - #rest + 1), rest)
    end)
  end)

  it("gives a reset as nil, message, code, after the bytes that came before it", function()
    with_pair(function(scope, client, server)
      -- More than the client's side takes without a reader: its system answers the close with a reset.
      local writer = scope:spawn(server.write, server, ("x"):rep(16777216))
      moonring.sleep(0.05)
      assert.is_false(writer:has_ended())
      client:write("last words")
      client:flush()
      client:close(0)
      assert.equal("last words", server:read():to_string())
      local value, message, code = server:read()
      assert.is_nil(value)
      assert.equal("ECONNRESET", code)
      assert.is_truthy(message:find("ECONNRESET: connection reset by peer", 1, true))
    end)
  end)

  it("fails a write after the peer is gone, and after its own shutdown", function()
    with_pair(function(_, client, server)
      server:shutdown()
      local ok, _, code = server:write("x")
      assert.is_nil(ok)
      assert.equal("EPIPE", code)
      server:close(0)
      local deadline = moonring.now() + 5
      repeat
        ok, _, code = client:write("y")
        moonring.sleep(0.001)
      until not ok or moonring.now() > deadline
      assert.is_nil(ok)
      assert.is_truthy(code == "EPIPE" or code == "ECONNRESET")
    end)
  end)

  it("refuses to write what is neither string nor buffer", function()
    with_pair(function(_, client)
      for _, value in ipairs { 1, {}, true } do
        local ok, failure = pcall(client.write, client, value)
        assert.is_false(ok)
        assert.equal("argument", failure.code)
      end
    end)
  end)

  it("is closed by its finalizer when it is forgotten, and counted", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local before = moonring.stats().forgotten
      do
        local lost = assert(net.connect { port = listener.port })
        assert.is_not_nil(lost.slot)
      end
      local server = scope:own(assert(listener:accept()))
      for _ = 1, 3 do
        moonring.sleep(0)
        collectgarbage()
      end
      assert.is_nil((server:read()))
      assert.equal(before + 1, moonring.stats().forgotten)
    end)
  end)
end)

describe("net.connect", function()
  it("returns the refusal of a port where nobody listens", function()
    local listener = assert(net.listen {})
    local port = listener.port
    listener:close()
    moonring.sleep(0.01)
    local connection, message, code = net.connect { port = port }
    assert.is_nil(connection)
    assert.equal("ECONNREFUSED", code)
    assert.is_truthy(message:find("connect to 127.0.0.1:" .. port, 1, true))
  end)

  it("refuses hosts and ports that are none", function()
    for _, options in ipairs { { host = {}, port = 1 }, { port = 70000 }, { port = 1.5 }, { port = "x" } } do
      local ok, failure = pcall(net.connect, options)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)

  it("connects by name, and tells of names that there are none of", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { host = "service.localhost", port = listener.port }))
      assert.equal("127.0.0.1:" .. listener.port, tostring(client:peer()))
      local connection, message, code = net.connect { host = "no.such.invalid", port = 1 }
      assert.is_nil(connection)
      assert.equal("NXDOMAIN", code)
      assert.is_truthy(message:find("no.such.invalid", 1, true))
    end)
  end)

  it("connects over IPv6", function()
    moonring.scope(function(scope)
      local listener = net.listen { host = "::1" }
      if not listener then return pending("no IPv6 here") end
      scope:own(listener)
      local client = scope:own(assert(net.connect { host = "::1", port = listener.port }))
      local server = scope:own(assert(listener:accept()))
      client:write("six")
      assert.equal("six", server:read():to_string())
      assert.equal("[::1]:" .. listener.port, tostring(client:peer()))
      assert.equal("::1", server:address().host)
    end)
  end)
end)

describe("a listener", function()
  it("says what is in the way of listening", function()
    moonring.scope(function(scope)
      local first = scope:own(assert(net.listen {}))
      local second, message, code = net.listen { port = first.port }
      assert.is_nil(second)
      assert.equal("EADDRINUSE", code)
      assert.is_truthy(message:find("listen on 127.0.0.1:" .. first.port, 1, true))
      local ok, failure = pcall(net.serve, { port = first.port }, print)
      assert.is_false(ok)
      assert.equal("EADDRINUSE", failure.code)
    end)
  end)

  it("closes connections that nobody accepted when it is closed", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      moonring.sleep(0.01)
      listener:close()
      local value, _, code = client:read()
      assert.is_nil(value)
      assert.is_true(code == nil or code == "ECONNRESET")
      local ok, failure = pcall(listener.accept, listener)
      assert.is_false(ok)
      assert.equal("closed", failure.code)
    end)
  end)

  it("ends the accept of another task when it is closed", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      scope:spawn(function()
        moonring.sleep(0.01)
        listener:close()
      end)
      local ok, failure = pcall(listener.accept, listener)
      assert.is_false(ok)
      assert.equal("closed", failure.code)
    end)
  end)
end)

describe("net.serve", function()
  it("serves a thousand connections at once and leaves nothing behind", function()
    local before = moonring.stats()
    moonring.scope(function(scope)
      local listener = assert(net.listen {})
      local server = scope:spawn(net.serve, listener, function(connection)
        for buffer in connection:chunks() do
          connection:write(buffer)
        end
      end)
      local clients = {}
      for i = 1, 1000 do
        clients[i] = scope:own(assert(net.connect { port = listener.port }))
        clients[i]:write("message " .. i)
      end
      for i = 1, 1000 do
        assert.equal("message " .. i, read_exactly(clients[i], #("message " .. i)))
      end
      for i = 1, 1000 do
        clients[i]:close()
      end
      server:cancel()
    end)
    assert.is_true(eventually(function() return moonring.stats().connections <= before.connections end))
    local after = moonring.stats()
    assert.equal(before.tasks, after.tasks)
    assert.is_true(after.operations <= before.operations)
    assert.equal(after.receive_ring_bytes, after.memory.iovec_bytes)
    assert.equal(0, after.stale)
  end)

  it("serves connections that all come in the first turn", function()
    -- In a process of its own: its receive ring is not there yet when the first completions are taken.
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("examples/echo.lua", "0"))
      local port = tonumber(child:expect("echo on 127.0.0.1:(%d+)"))
      child:kill("STOP")
      local clients = {}
      for i = 1, 64 do
        clients[i] = scope:own(assert(net.connect { port = port }))
        clients[i]:write("x")
      end
      child:kill("CONT")
      for i = 1, 64 do
        assert.equal("x", read_exactly(clients[i], 1))
      end
    end)
  end)

  it("goes on when a handler fails, and says why on standard error", function()
    local text = with_stderr(function()
      moonring.scope(function(scope)
        local listener = assert(net.listen {})
        local server = scope:spawn(net.serve, listener, function(connection)
          if connection:read():to_string() == "bad" then error("handler trouble") end
          connection:write("fine")
        end)
        local bad = scope:own(assert(net.connect { port = listener.port }))
        bad:write("bad")
        assert.is_nil((bad:read()))
        local good = scope:own(assert(net.connect { port = listener.port }))
        good:write("good")
        assert.equal("fine", good:read():to_string())
        server:cancel()
      end)
    end)
    assert.is_truthy(text:find("handler trouble", 1, true))
    assert.is_truthy(text:find("connection_spec.lua", 1, true))
  end)

  it("returns after its listener was closed and the last handler has ended", function()
    moonring.scope(function(scope)
      local listener = assert(net.listen {})
      local ended = false
      scope:spawn(function()
        local client = assert(net.connect { port = listener.port })
        client:write("x")
        moonring.sleep(0.02)
        listener:close()
        moonring.sleep(0.02)
        assert.is_false(ended)
        client:close()
      end)
      net.serve(listener, function(connection)
        for _ in connection:chunks() do end
      end)
      ended = true
    end)
  end)

  it("stops everything when its task is cancelled", function()
    moonring.scope(function(scope)
      local listener = assert(net.listen {})
      local server = scope:spawn(net.serve, listener, function(connection)
        connection:read()
      end)
      local client = scope:own(assert(net.connect { port = listener.port }))
      moonring.sleep(0.01)
      server:cancel()
      assert.is_nil((client:read()))
    end)
  end)
end)

describe("the marks of a queue", function()
  it("are ordered", function()
    assert.is_true(connections.WRITE_LOW < connections.WRITE_HIGH)
  end)
end)

describe("many writers at once", function()
  it("are all woken, also when one turn has no room for all their events", function()
    local script = [[
      local moonring, net = require "moonring", require "moonring.net"
      local listener = assert(net.listen {})
      local go, clients, done = moonring.event(), {}, 0
      moonring.spawn(net.serve, listener, function() moonring.sleep(100) end)
      for i = 1, 1500 do clients[i] = assert(net.connect { port = listener.port }) end
      moonring.scope(function(scope)
        scope:deadline(10)
        for i = 1, 1500 do
          scope:spawn(function()
            go:wait()
            clients[i]:write("x")
            clients[i]:flush()
            done = done + 1
          end)
        end
        moonring.sleep(0.05)
        go:set()
      end)
      print("done " .. done)
      os.exit(0)
    ]]
    local status, output = process.run("ulimit -n $(ulimit -Hn); " .. process.command("-e", script))
    assert.equal(0, status, output)
    assert.equal("done 1500\n", output)
  end)
end)
