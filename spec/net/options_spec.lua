local moonring = require "moonring"
local net = require "moonring.net"
local connections = require "moonring.net.connection"
local system = require "spec.support.system"
local process = require "spec.support.process"

-- Runs body(client, server, listener, scope) with the two ends of a TCP connection.
local function with_pair(listen, connect, body)
  return moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen(listen)))
    connect.port = listener.port
    local client = scope:own(assert(net.connect(connect)))
    local server = scope:own(assert(listener:accept()))
    return body(client, server, listener, scope)
  end)
end

describe("socket options", function()
  it("are as ever when nothing is asked for", function()
    with_pair({}, {}, function(client, server, listener)
      for _, each in ipairs { client, server, listener } do
        assert.is_true(each:get "nodelay")
        assert.is_false(each:get "keepalive")
        assert.is_false(each:get "linger")
      end
      assert.is_true(listener:get "reuse_address")
      assert.is_false(listener:get "reuse_port")
    end)
  end)

  it("are set at listen and inherited, at connect, and on what is open, and read back", function()
    local wanted = {
      nodelay = false, keepalive = true, keepalive_idle = 11, keepalive_interval = 12, keepalive_count = 3, linger = 4,
      user_timeout = 5.5,
    }
    local function check(connection)
      for name, value in pairs(wanted) do
        assert.equal(value, connection:get(name), name)
      end
    end
    local listen, connect = {}, {}
    for name, value in pairs(wanted) do
      listen[name], connect[name] = value, value
    end
    with_pair(listen, connect, function(client, server, listener)
      check(client)
      check(server)
      check(listener)
    end)
    with_pair({}, {}, function(client, server, listener)
      for _, each in ipairs { client, server, listener } do
        assert.is_true(each:set(wanted))
        check(each)
        assert.is_true(each:set { linger = false })
        assert.is_false(each:get "linger")
      end
    end)
  end)

  it("set the sizes of the kernel's buffers", function()
    with_pair({ receive_buffer = 20000 }, { send_buffer = 30000 }, function(client, server)
      assert.equal(60000, client:get "send_buffer") -- the kernel doubles it
      assert.equal(40000, server:get "receive_buffer")
    end)
  end)

  it("are unknown by name, and of the wrong kind, before anything is changed", function()
    for _, call in ipairs { net.listen, net.connect } do
      local ok, failure = pcall(call, { port = 0, no_delay = true })
      assert.is_false(ok)
      assert.equal("argument", failure.code)
      assert.is_truthy(failure.message:find("no option 'no_delay', 'nodelay' may be meant; known are address, ", 1, true),
        failure.message)
      assert.is_truthy(failure.message:find("nodelay", 1, true))
    end
    with_pair({}, {}, function(client, _, listener)
      for _, case in ipairs {
        { nodelay = 1 }, { keepalive_idle = 1.5 }, { linger = true }, { linger = -1 }, { send_buffer = "x" },
        { user_timeout = -1 },
        { device = "no such device" }, { nonsense = 1 }, { [1] = 1 }, 5,
      } do
        for _, each in ipairs { client, listener } do
          local ok, failure = pcall(each.set, each, case)
          assert.is_false(ok)
          assert.equal("argument", failure.code)
        end
      end
      assert.equal("argument", select(2, pcall(client.get, client, "nonsense")).code)
    end)
  end)

  it("that the kernel refuses are named", function()
    moonring.scope(function(scope)
      local left, right = system.socketpair()
      local client = scope:own(assert(connections.open(left)))
      scope:own(assert(connections.open(right)))
      local ok, message, code = client:set { nodelay = true }
      assert.is_nil(ok)
      assert.equal("EOPNOTSUPP", code)
      assert.is_truthy(message:find("option nodelay", 1, true))
      assert.equal("EOPNOTSUPP", select(3, client:get "nodelay"))
      local reader, writer = system.pipe()
      local pipe = scope:own(assert(connections.open(reader)))
      scope:own(assert(connections.open(writer)))
      assert.equal("ENOTSOCK", select(3, pipe:set { keepalive = true }))
      local listener, refused, why = net.listen { path = "@moonring options", defer_accept = 1 }
      assert.is_nil(listener)
      assert.equal("EOPNOTSUPP", why)
      assert.is_truthy(refused:find("listen on unix:@moonring options, option defer_accept", 1, true), refused)
    end)
  end)

  it("let several listeners have one port", function()
    moonring.scope(function(scope)
      local first = scope:own(assert(net.listen { reuse_port = true }))
      scope:own(assert(net.listen { reuse_port = true, port = first.port }))
      assert.equal("EADDRINUSE", select(3, net.listen { port = first.port }))
    end)
  end)

  it("make close a reset", function()
    with_pair({}, {}, function(client, server)
      server:set { linger = 0 }
      server:close()
      assert.equal("ECONNRESET", select(3, client:read()))
    end)
  end)

  it("hand a connection out when its first bytes have come", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen { defer_accept = 5 }))
      assert.is_true(listener:get "defer_accept" >= 5)
      local client = scope:own(assert(net.connect { port = listener.port }))
      local name = moonring.select { connection = listener:accept_op(), late = moonring.sleep_op(0.05) }
      assert.equal("late", name)
      client:write("now")
      assert.equal("now", scope:own(assert(listener:accept())):read_exactly(3))
    end)
  end)

  it("listen in both families, or in IPv6 only", function()
    moonring.scope(function(scope)
      local both = net.listen { host = "::" }
      if not both then return pending "no IPv6 here" end
      scope:own(both)
      local client = scope:own(assert(net.connect { port = both.port }))
      local server = scope:own(assert(both:accept()))
      assert.equal("::ffff:127.0.0.1", server:peer().host)
      assert.is_true(server:peer():is_loopback())
      client:close()
      local six = scope:own(assert(net.listen { host = "::", ipv6_only = true }))
      assert.is_true(six:get "ipv6_only")
      assert.equal("ECONNREFUSED", select(3, net.connect { port = six.port }))
      assert.is_truthy(scope:own(assert(net.connect { host = "::1", port = six.port })))
    end)
  end)

  it("connect from an address and over a device", function()
    with_pair({}, { source = "127.0.0.9", device = "lo" }, function(client, server)
      assert.equal("127.0.0.9", server:peer().host)
      assert.equal("127.0.0.9", client:address().host)
    end)
    assert.equal("argument", select(2, pcall(net.connect, { port = 1, source = "somewhere" })).code)
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      assert.equal("EADDRNOTAVAIL", select(3, net.connect { port = listener.port, source = "192.0.2.1" }))
    end)
  end)

  it("open fast where the system lets them", function()
    -- In a network of its own, because a server's side must be switched on for the whole of it.
    local script = [[
      local moonring, net = require "moonring", require "moonring.net"
      local listener = assert(net.listen { fast_open = 16 })
      for i = 1, 3 do
        local client = assert(net.connect { port = listener.port, fast_open = true })
        local value, _, code = client:write("question " .. i)
        client:flush()
        local server = assert(listener:accept())
        assert(server:read_exactly(10) == "question " .. i)
        server:write("answer")
        assert(client:read_exactly(6) == "answer")
        client:close()
        assert(server:read() == nil)
        server:close()
      end
      for line in io.lines "/proc/net/netstat" do
        local numbers = line:match "^TcpExt: (%d.*)"
        if names and numbers then
          local at, values = 0, {}
          for each in numbers:gmatch "%d+" do values[#values + 1] = each end
          for name in names:gmatch "%S+" do
            at = at + 1
            if name == "TCPFastOpenPassive" then print(values[at]) end
          end
        end
        names = line:match "^TcpExt: (%a.*)"
      end
    ]]
    local status, output = process.run("unshare -rn sh -c " .. process.quote(
      "ip link set lo up && echo 3 > /proc/sys/net/ipv4/tcp_fastopen && " .. process.command("-e", script)))
    if output:find("unshare") then return pending "no network namespaces here" end
    assert.equal("2\n", output) -- the first one fetches the cookie
    assert.equal(0, status)
  end)
end)

describe("half close", function()
  it("ends one direction and leaves the other, both ways", function()
    with_pair({}, {}, function(client, server)
      assert.is_true(client:shutdown())
      assert.is_nil((server:read()))
      for i = 1, 100 do
        assert.is_true(server:write(("line %d\n"):format(i)))
      end
      for i = 1, 100 do
        assert.equal("line " .. i, client:read_line())
      end
      assert.equal("EPIPE", select(3, client:write("x")))
      server:shutdown()
      assert.is_nil((client:read()))
    end)
  end)
end)

describe("marks", function()
  it("set what a writer may queue", function()
    with_pair({ receive_buffer = 4096 }, { send_buffer = 4096 }, function(client, server, _, scope)
      assert.equal(262144, client:marks().write_high)
      assert.equal(1000, client:marks({ write_high = 1000, write_low = 10 }).write_high)
      local writer = scope:spawn(function()
        while client:write(("x"):rep(5000)) do end
      end)
      moonring.sleep(0.05)
      local queued = client:statistics().queued
      assert.is_true(queued > 1000 and queued <= 6000, queued)
      for _ = 1, 10 do
        assert.equal(("x"):rep(5000), server:read_exactly(5000))
      end
      writer:cancel()
    end)
  end)

  it("stop a receive that its reader does not keep up with, and let it go on", function()
    with_pair({}, {}, function(client, server, _, scope)
      server:marks { read_high = 100000, read_low = 50000 }
      local total = 20 * 1048576
      local writer = scope:spawn(function()
        for _ = 1, 20 do
          client:write(("x"):rep(1048576))
        end
        client:shutdown()
      end)
      moonring.sleep(0.1)
      local unread = server:statistics().unread
      assert.is_true(unread >= 100000 and unread < 4194304, unread) -- what was under way when it stopped
      assert.is_false(writer:has_ended())
      local count = 0
      for piece in server:chunks() do
        count = count + piece:remaining()
        assert.is_true(server:statistics().unread < 4194304)
      end
      assert.equal(total, count)
      assert.equal(total, server:statistics().received)
    end)
  end)

  it("are checked", function()
    with_pair({}, {}, function(client)
      for _, wrong in ipairs {
        { high = 1 }, { write_high = -1 }, { write_high = "x" }, { write_high = 10 }, { read_low = 262144 },
        { read_high = 0 },
        { read_high = 0 / 0 }, { write_high = math.huge },
      } do
        local ok, failure = pcall(client.marks, client, wrong)
        assert.is_false(ok)
        assert.equal("argument", failure.code)
      end
      assert.same({ write_high = 262144, write_low = 65536, read_high = 262144, read_low = 65536 }, client:marks())
    end)
  end)
end)
