local moonring = require "moonring"
local buffer = require "moonring.buffer"
local net = require "moonring.net"
local datagrams = require "moonring.net.datagram"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"

-- Runs body(scope, client, server): a bound socket, and one that is connected to it. A datagram that was lost ends it.
local function with_pair(body, server_options, client_options)
  return moonring.scope(function(scope)
    scope:deadline(10)
    local wanted = { host = "127.0.0.1", port = 0 }
    for name, value in pairs(server_options or {}) do
      wanted[name] = value
    end
    local server = scope:own(assert(net.datagram(wanted)))
    local peer = { connect = server:address() }
    for name, value in pairs(client_options or {}) do
      peer[name] = value
    end
    return body(scope, scope:own(assert(net.datagram(peer))), server)
  end)
end

local function error_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return failure
end

describe("a datagram socket", function()
  it("carries datagrams of every length, each whole, with the sender's address", function()
    with_pair(function(_, client, server)
      for _, length in ipairs { 0, 1, 2, 1000, 2020, 2048, 2049, 9000, 65506, 65507 } do
        local text = ("abcdefg"):rep(math.ceil(length / 7)):sub(1, length)
        assert.is_true(client:send(text))
        local datagram, from, full_length = server:receive()
        assert.equal(text, datagram:to_string())
        assert.is_nil(full_length)
        assert.equal(tostring(client:address()), tostring(from))
        assert.is_true(server:send(datagram, from))
        assert.equal(text, client:receive():to_string())
      end
    end)
  end)

  it("keeps the borders between datagrams, and goes on after an empty one", function()
    with_pair(function(_, client, server)
      for _, text in ipairs { "a", "", "", "bc", "d" } do
        client:send(text)
      end
      local got = {}
      for i = 1, 5 do
        got[i] = server:receive():to_string()
      end
      assert.same({ "a", "", "", "bc", "d" }, got)
    end)
  end)

  it("sends a buffer without copying it, and moves its position", function()
    with_pair(function(scope, client, server)
      local b = scope:allocate(30000)
      b:fill(7)
      b:seek(10)
      local before = moonring.stats().bytes_copied
      assert.is_true(client:send(b))
      assert.equal(0, b:remaining())
      assert.equal(29990, server:receive():remaining())
      assert.equal(before, moonring.stats().bytes_copied)
    end)
  end)

  it("keeps the memory of a sent buffer that is released at once", function()
    with_pair(function(_, client, server)
      for i = 1, 20 do
        local b = buffer.allocate(5000)
        b:fill(i)
        client:send(b)
        b:release()
        buffer.allocate(5000):fill(0):release()
      end
      for i = 1, 20 do
        local datagram = server:receive()
        assert.equal(5000, datagram:remaining())
        assert.equal(i, datagram:get_u8(0))
        assert.equal(i, datagram:get_u8(4999))
      end
    end)
  end)

  it("sends from buffers of every zone", function()
    with_pair(function(_, client, server)
      for _, zone in ipairs { "native", "heap", "shared" } do
        local b = buffer.allocate(4, { zone = zone }):write(zone:sub(1, 4)):reset_for_read()
        client:send(b)
        assert.equal(zone:sub(1, 4), server:receive():to_string())
        b:release()
      end
      client:send(buffer.wrap("wrapped"))
      assert.equal("wrapped", server:receive():to_string())
    end)
  end)

  it("lends a received buffer until the next receive; retain keeps it", function()
    with_pair(function(_, client, server)
      for _, length in ipairs { 10, 5000 } do
        client:send(("1"):rep(length))
        client:send(("2"):rep(length))
        local lent = server:receive()
        local kept = lent:retain()
        server:receive()
        assert.equal(("1"):rep(length), kept:to_string())
        kept:release()
      end
    end)
  end)

  it("tells that a datagram was cut, and how long it was", function()
    with_pair(function(_, client, server)
      client:send(("x"):rep(100))
      client:send(("y"):rep(101))
      client:send(("z"):rep(40000))
      local whole, _, none = server:receive()
      assert.equal(100, whole:remaining())
      assert.is_nil(none)
      local cut, from, full_length = server:receive()
      assert.equal(("y"):rep(100), cut:to_string())
      assert.equal(101, full_length)
      assert.equal(client.port, from.port)
      assert.equal(40000, select(3, server:receive()))
      assert.equal(2, server:statistics().cut)
    end, { max_bytes = 100 })
  end)

  it("carries IPv6, and both families on one socket", function()
    moonring.scope(function(scope)
      local both = scope:own(assert(net.datagram { host = "::", port = 0 }))
      for _, host in ipairs { "127.0.0.1", "::1" } do
        local client = scope:own(assert(net.datagram { connect = { host = host, port = both.port } }))
        client:send(host)
        local datagram, from = both:receive()
        assert.equal(host, datagram:to_string())
        assert.equal(host, from.host)
        assert.is_true(both:send("to " .. host, from))
        assert.equal("to " .. host, client:receive():to_string())
      end
      local only = scope:own(assert(net.datagram { host = "::1", port = 0, ipv6_only = true }))
      only:send("x", { host = "127.0.0.1", port = both.port })
      assert.equal("ENETUNREACH", select(3, only:flush()))
    end)
  end)

  it("carries Unix datagrams, between paths, abstract names and sockets without a name", function()
    moonring.scope(function(scope)
      scope:deadline(10)
      local path = os.tmpname()
      os.remove(path)
      local server = scope:own(assert(net.datagram { path = path }))
      local abstract = scope:own(assert(net.datagram {
        path = "@moonring-datagrams-" .. process.own_pid, connect = { path = path } }))
      assert.is_true(abstract:send("hello"))
      local datagram, from = server:receive()
      assert.equal("hello", datagram:to_string())
      assert.equal(abstract:address(), from)
      assert.is_true(server:send(datagram, from))
      assert.equal("hello", abstract:receive():to_string())
      local nameless = scope:own(assert(net.datagram { family = "unix" }))
      for _, length in ipairs { 0, 1, 3000, 65536 } do
        assert.is_true(nameless:send(("x"):rep(length), { path = path }))
        local got, nobody, cut = server:receive()
        assert.equal(length, got:remaining())
        assert.is_nil(nobody)
        assert.is_nil(cut)
      end
      nameless:send(("x"):rep(70000), { path = path })
      local got, _, full_length = server:receive()
      assert.equal(65536, got:remaining())
      assert.equal(70000, full_length)
      nameless:send("x", { path = path .. "-nobody" })
      assert.equal("ENOENT", select(3, nameless:flush()))
      assert.equal("EADDRINUSE", select(3, net.datagram { path = path }))
      assert.equal("EAFNOSUPPORT", select(3, nameless:send("x", { host = "127.0.0.1", port = 1 })))
      assert.equal("EAFNOSUPPORT", select(3, server:join "239.0.0.1"))
      assert.equal("EOPNOTSUPP", select(3, server:set("ttl", 1)))
      server:close()
      assert.is_nil((io.open(path)))
      moonring.sleep(0.01)
      abstract:send("gone?")
      assert.equal("ECONNREFUSED", select(3, abstract:flush()))
    end)
  end)

  it("makes a sender to a Unix socket wait for its reader, in order", function()
    moonring.scope(function(scope)
      scope:deadline(10)
      local server = scope:own(assert(net.datagram { path = "@moonring-slow-reader-" .. process.own_pid, queue = 4 }))
      local client = scope:own(assert(net.datagram { connect = server:address() }))
      local sent = 0
      local writer = scope:spawn(function()
        for i = 1, 300 do
          assert.is_true(client:send(("%05d"):format(i) .. ("x"):rep(4000)))
          sent = i
        end
        assert.is_true(client:flush())
      end)
      moonring.sleep(0.05)
      assert.is_true(sent < 300, "nothing waits")
      for i = 1, 300 do
        local datagram = server:receive()
        assert.equal(4005, datagram:remaining())
        assert.equal(i, tonumber(datagram:read_string(5)))
      end
      assert.same({ true }, { writer:join() })
      -- And one that waits for ever is dropped with the close.
      for i = 1, 60 do
        client:send(tostring(i))
      end
      local waiting = scope:spawn(function() client:flush() end)
      moonring.sleep(0.01)
      assert.is_false(waiting:has_ended())
      waiting:cancel()
      waiting:join()
      client:close()
      -- Nor does one wait for ever that has no peer of its own, once its receiver reads.
      local free = scope:own(assert(net.datagram { family = "unix" }))
      local other = scope:own(assert(net.datagram { path = "@moonring-other-reader-" .. process.own_pid }))
      for i = 1, 60 do
        free:send(tostring(i), other:address())
      end
      for i = 1, 60 do
        assert.equal(tostring(i), other:receive():to_string())
      end
      assert.is_true(free:flush())
    end)
    assert.is_true(eventually(function() return moonring.stats().operations < 5 end))
  end)

  it("gives a turn's datagrams to the kernel together", function()
    with_pair(function(_, client, server)
      local batch = {}
      for i = 1, 200 do
        batch[i] = { tostring(i) }
      end
      local before = moonring.stats().enters
      assert.is_true(client:send_many(batch))
      for i = 1, 200 do
        assert.equal(tostring(i), server:receive():to_string())
      end
      assert.is_true(moonring.stats().enters - before < 40)
    end, { receive_buffer = 1048576 })
  end)

  it("tells of a peer that is not there, and goes on", function()
    with_pair(function(_, client, server)
      local port = server.port
      server:close()
      moonring.sleep(0.01) -- its descriptor is closed with the next turn
      client:send("anybody?")
      local nothing, message, code = client:receive()
      assert.is_nil(nothing)
      assert.equal("ECONNREFUSED", code)
      assert.is_truthy(message:find("connection refused", 1, true))
      local again = assert(net.datagram { host = "127.0.0.1", port = port })
      assert.is_true(client:send("now?"))
      assert.equal("now?", again:receive():to_string())
      again:close()
    end)
  end)

  it("tells a sender that never receives", function()
    with_pair(function(_, client, server)
      server:close()
      local code
      for _ = 1, 20 do
        client:send("x")
        code = select(3, client:flush())
        if code then break end
        moonring.sleep(0.01)
      end
      assert.equal("ECONNREFUSED", code)
      assert.is_true(client:statistics().failed >= 1)
    end)
  end)

  it("refuses what is too long, and tells what the kernel refuses", function()
    with_pair(function(scope, client)
      assert.equal("EMSGSIZE", select(3, client:send(("x"):rep(65508))))
      assert.equal("EMSGSIZE", select(3, client:send(("x"):rep(5000000))))
      local plain = scope:own(assert(net.datagram {}))
      assert.is_true(plain:send("x", { host = "255.255.255.255", port = 9 }))
      local ok, _, code = plain:flush()
      assert.is_nil(ok)
      assert.is_true(code == "EACCES" or code == "ENETUNREACH", code)
      assert.is_true(plain:flush())
    end)
  end)

  it("drops in the kernel what a reader that lags has no room for, counts it, and then goes on", function()
    with_pair(function(_, client, server)
      client:send("first")
      assert.equal("first", server:receive():to_string())
      local block = ("x"):rep(1000)
      for _ = 1, 500 do
        client:send(block)
        client:flush()
      end
      assert.is_true(eventually(function() return server:statistics().dropped > 0 end))
      local statistics = server:statistics()
      assert.is_true(statistics.queued >= 8 and statistics.queued < 200, tostring(statistics.queued))
      local count = 0
      while moonring.select { got = server:receive_op(), late = moonring.sleep_op(0.2) } == "got" do
        count = count + 1
      end
      assert.is_true(count >= statistics.queued and count < 500)
      assert.equal(500, count + server:statistics().dropped)
      client:send("last")
      assert.equal("last", server:receive():to_string())
    end, { queue = 8, receive_buffer = 16384 })
  end)

  it("receives more at once than there are buffers", function()
    with_pair(function(_, client, server)
      moonring.scope(function(scope)
        scope:spawn(function()
          for i = 1, 150 do
            client:send(("%d "):format(i):rep(600))
          end
        end)
        for i = 1, 150 do
          assert.equal(tostring(i), server:receive():read_string():match("^%d+"))
        end
      end)
      assert.equal(0, server:statistics().dropped)
    end, { receive_buffer = 8388608 })
  end)

  it("lets a sender wait while too much is in flight", function()
    local high, low = datagrams.SEND_HIGH, datagrams.SEND_LOW
    datagrams.SEND_HIGH, datagrams.SEND_LOW = 4000, 1000
    local ok, failure = pcall(with_pair, function(_, client, server)
      local block = ("x"):rep(900)
      for _ = 1, 100 do
        assert.is_true(client:send(block))
        assert.is_true(client:statistics().flying <= 4000)
      end
      for _ = 1, 100 do
        server:receive()
      end
    end, { receive_buffer = 1048576 })
    datagrams.SEND_HIGH, datagrams.SEND_LOW = high, low
    assert(ok, failure)
  end)

  it("reaches a group's members, and those who left no more", function()
    moonring.scope(function(scope)
      local group = "239.255.77.1"
      local one = scope:own(assert(net.datagram { host = "0.0.0.0", port = 0, reuse_address = true }))
      local two = scope:own(assert(net.datagram { host = "0.0.0.0", port = one.port, reuse_address = true }))
      assert.is_true(one:join(group, "lo"))
      assert.is_true(two:join(group, "lo"))
      local sender = scope:own(assert(net.datagram { multicast_interface = "lo", multicast_ttl = 0 }))
      local to = { host = group, port = one.port }
      sender:send("both", to)
      assert.equal("both", one:receive():to_string())
      assert.equal("both", two:receive():to_string())
      assert.is_true(two:leave(group, "lo"))
      sender:send("one", to)
      assert.equal("one", one:receive():to_string())
      assert.equal("late", (moonring.select { got = two:receive_op(), late = moonring.sleep_op(0.05) }))
      assert.equal("EADDRNOTAVAIL", select(3, two:leave(group, "lo")))
      assert.is_true(sender:set("multicast_loop", false))
    end)
  end)

  it("joins an IPv6 group", function()
    moonring.scope(function(scope)
      local member = scope:own(assert(net.datagram { host = "::", port = 0 }))
      assert.is_true(member:join("ff01::4d52", "lo"))
      local sender = scope:own(assert(net.datagram { family = 6, multicast_interface = "lo", multicast_ttl = 1 }))
      sender:send("six", { host = "ff01::4d52", port = member.port })
      local ok, _, code = sender:flush()
      if code == "ENETUNREACH" then return end -- this machine's loopback has no route for IPv6 groups
      assert.is_true(ok)
      assert.equal("six", member:receive():to_string())
    end)
  end)

  it("wants the broadcast option for broadcasts", function()
    moonring.scope(function(scope)
      local receiver = scope:own(assert(net.datagram { host = "0.0.0.0", port = 0 }))
      local sender = scope:own(assert(net.datagram { host = "127.0.0.1", port = 0 }))
      local to = { host = "127.255.255.255", port = receiver.port }
      sender:send("x", to)
      assert.equal("EACCES", select(3, sender:flush()))
      assert.is_true(sender:set("broadcast", true))
      sender:send("y", to)
      assert.is_true(sender:flush())
      assert.equal("y", receiver:receive():to_string())
    end)
  end)

  it("lets several sockets share a port", function()
    moonring.scope(function(scope)
      local first = scope:own(assert(net.datagram { host = "127.0.0.1", port = 0, reuse_port = true }))
      scope:own(assert(net.datagram { host = "127.0.0.1", port = first.port, reuse_port = true }))
      local _, message, code = net.datagram { host = "127.0.0.1", port = first.port }
      assert.equal("EADDRINUSE", code)
      assert.is_truthy(message:find(tostring(first.port), 1, true))
    end)
  end)

  it("talks to nc", function()
    moonring.scope(function(scope)
      local server = scope:own(assert(net.datagram { host = "127.0.0.1", port = 0 }))
      local peer = process.start(scope,
        ("sh -c %s"):format(process.quote(("echo question | nc -u -w 2 127.0.0.1 %d"):format(server.port))))
      local datagram, from = server:receive()
      assert.equal("question\n", datagram:to_string())
      server:send("answer\n", from)
      assert.is_truthy(peer:expect("answer"))
    end)
  end)

  it("is misused without harm", function()
    with_pair(function(scope, client, server)
      assert.equal("argument", error_of(server.send, server, "x").code)
      assert.equal("argument", error_of(client.send, client, "x", server:address()).code)
      assert.equal("argument", error_of(server.send, server, 5, client:address()).code)
      assert.equal("argument", error_of(server.send, server, "x", "127.0.0.1").code)
      assert.equal("argument", error_of(server.send, server, "x", { host = "nowhere", port = 1 }).code)
      assert.equal("EAFNOSUPPORT", select(3, server:send("x", { host = "::1", port = 1 })))
      assert.equal("argument", error_of(server.join, server, "no group").code)
      assert.equal("EINVAL", select(3, server:join("127.0.0.1")))
      assert.equal("argument", error_of(server.set, server, "colour", 1).code)
      assert.equal("argument", error_of(server.set, server, "ttl", 256).code)
      for _, options in ipairs { { host = "nowhere" }, { port = 65536 }, { max_bytes = 0 }, { max_bytes = 65537 },
        { queue = 0 }, { family = 5 }, { ttl = 0 }, { multicast_interface = "no such" }, { connect = 1 } } do
        assert.equal("argument", error_of(net.datagram, options).code)
      end
      local released = buffer.allocate(4)
      released:release()
      assert.equal("closed", error_of(client.send, client, released).code)
      scope:spawn(function() server:receive() end):named "the first"
      moonring.sleep(0)
      local second = scope:spawn(function()
        local failure = error_of(server.receive, server)
        assert.equal("busy", failure.code)
        assert.is_truthy(failure.message:find("the first", 1, true))
        assert.is_truthy(failure.message:find("the second", 1, true))
      end):named "the second"
      second:join()
      client:send("x")
    end)
  end)

  it("ends waits in it when it is closed, and later calls raise", function()
    with_pair(function(scope, client, server)
      local reader = scope:spawn(function() return error_of(server.receive, server) end)
      moonring.sleep(0.01)
      server:close()
      server:close()
      local _, failure = reader:join()
      assert.equal("closed", failure.code)
      for _, name in ipairs { "receive", "flush", "address", "peer", "statistics" } do
        assert.equal("closed", error_of(server[name], server).code)
      end
      assert.equal("closed", error_of(server.send, server, "x", client:address()).code)
      assert.equal("moonring.DatagramSocket(closed)", tostring(server))
    end)
  end)

  it("still sends what was sent before its close", function()
    with_pair(function(_, client, server)
      client:send("one")
      client:send("two")
      client:close()
      assert.equal("one", server:receive():to_string())
      assert.equal("two", server:receive():to_string())
    end)
  end)

  it("gives a cancelled reader's datagram to the next", function()
    with_pair(function(scope, client, server)
      local reader = scope:spawn(function() server:receive() end)
      moonring.sleep(0.01)
      reader:cancel()
      reader:join()
      client:send("kept")
      assert.equal("kept", server:receive():to_string())
      local ok, failure = pcall(moonring.timeout, 0.02, function() server:receive() end)
      assert.is_false(ok)
      assert.equal("deadline", failure.code)
      client:send("again")
      assert.equal("again", server:receive():to_string())
    end)
  end)

  it("takes a datagram in a select only when that is the one that is done", function()
    with_pair(function(_, client, server)
      local name = moonring.select { got = server:receive_op(), late = moonring.sleep_op(0.01) }
      assert.equal("late", name)
      client:send("x")
      local which, datagram, from = moonring.select { got = server:receive_op(), late = moonring.sleep_op(5) }
      assert.equal("got", which)
      assert.equal("x", datagram:to_string())
      assert.equal(client.port, from.port)
    end)
  end)

  it("leaves nothing behind: neither descriptors nor memory nor operations", function()
    local function descriptors()
      return tonumber(select(2, process.run("ls /proc/" .. (select(2, process.run("echo $PPID"))):match("%d+") ..
        "/fd | wc -l")):match("%d+"))
    end
    with_pair(function() end) -- the receive buffers are there from now on
    collectgarbage()
    moonring.sleep(0.01)
    local before, files = moonring.stats(), descriptors()
    for round = 1, 60 do
      with_pair(function(scope, client, server)
        for _ = 1, 10 do
          client:send(("x"):rep(3000))
        end
        if round % 3 == 0 then server:receive() end
        if round % 4 == 0 then
          scope:spawn(function() server:receive() end):cancel()
          moonring.sleep(0)
        end
      end)
    end
    collectgarbage()
    assert.is_true(eventually(function()
      local after = moonring.stats()
      return after.operations == before.operations and after.memory.iovec_count <= before.memory.iovec_count
    end))
    assert.equal(files, descriptors())
    assert.equal(0, moonring.stats().stale)
  end)

  it("is closed by its finalizer when it is forgotten", function()
    local before = moonring.stats().forgotten
    local function forget()
      net.datagram { host = "127.0.0.1", port = 0 }
    end
    forget()
    collectgarbage()
    collectgarbage()
    assert.equal(before + 1, moonring.stats().forgotten)
  end)

  it("ends with the loop, whatever is in flight", function()
    local status, output = process.run(process.command("-e", [[
      local moonring, net = require "moonring", require "moonring.net"
      local server = assert(net.datagram { host = "127.0.0.1", port = 0 })
      local client = assert(net.datagram { connect = server:address() })
      moonring.spawn(function() server:receive() moonring.sleep(100) end)
      moonring.sleep(0.01)
      for i = 1, 100 do client:send(("x"):rep(i * 500)) end
      moonring.current():cancel()
      moonring.sleep(0)
    ]]))
    assert.equal(1, status, output)
    assert.is_nil(output:find("AddressSanitizer", 1, true), output)
  end)

  it("is no reason to wait for ever", function()
    local status, output = process.run("timeout 10 " .. process.command("-e", [[
      local moonring, net = require "moonring", require "moonring.net"
      local socket = assert(net.datagram {})
      socket:send("x", { host = "127.0.0.1", port = 9 })
      moonring.event():wait()
    ]]))
    assert.equal(1, status, output)
    assert.is_truthy(output:find("deadlock", 1, true))
  end)

  it("works with memory that is short", function()
    local status, output = process.run(process.command("-e", [[
      local loop = require "moonring.loop"
      loop.options = require("ffi").new("mr_loop_options", { memory_limit_bytes = 8388608 })
      local moonring, net = require "moonring", require "moonring.net"
      local server = assert(net.datagram { host = "127.0.0.1", port = 0, receive_buffer = 8388608 })
      local client = assert(net.datagram { connect = server:address() })
      moonring.spawn(function() for i = 1, 200 do client:send(("x"):rep(60000)) client:flush() end end)
      local kept, count = {}, 0
      while moonring.select { got = server:receive_op(), late = moonring.sleep_op(0.3) } == "got" do
        count = count + 1
      end
      print("received", count, server:statistics().dropped)
    ]]))
    assert.equal(0, status, output)
    local received, dropped = output:match("received%s+(%d+)%s+(%d+)")
    assert.is_true(tonumber(received) > 20, output)
    assert.equal(200, received + dropped, output)
  end)
end)
