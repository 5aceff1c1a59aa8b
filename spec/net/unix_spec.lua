local moonring = require "moonring"
local net = require "moonring.net"
local connections = require "moonring.net.connection"
local process = require "spec.support.process"
local system = require "spec.support.system"
local eventually = require "spec.support.eventually"

local function free_path()
  local path = os.tmpname()
  os.remove(path)
  return path
end

local function exists(path)
  return os.execute("test -e " .. process.quote(path)) == 0
end

-- Runs body(scope, client, server) over a Unix socket; options are added to both ends'.
local function with_pair(options, body)
  return moonring.scope(function(scope)
    local path = free_path()
    local listen, connect = { path = path }, { path = path }
    for name, value in pairs(options) do
      listen[name], connect[name] = value, value
    end
    local listener = scope:own(assert(net.listen(listen)))
    local client = scope:own(assert(net.connect(connect)))
    local server = scope:own(assert(listener:accept()))
    return body(scope, client, server)
  end)
end

describe("a Unix stream socket", function()
  it("carries bytes both ways, and tells its names", function()
    moonring.scope(function(scope)
      local path = free_path()
      local listener = scope:own(assert(net.listen { path = path }))
      assert.equal("unix:" .. path, tostring(listener:address()))
      local client = scope:own(assert(net.connect { path = path }))
      local server = scope:own(assert(listener:accept()))
      client:write("question\n")
      assert.equal("question", server:read_line())
      server:write("answer\n")
      assert.equal("answer", client:read_line())
      assert.equal(path, client:peer().path)
      assert.equal("", server:peer().path)
      assert.equal(path, server:address().path)
      assert.equal(("moonring.Connection(peer=unix:%s)"):format(path), tostring(client))
    end)
  end)

  it("has abstract names, which leave no file", function()
    moonring.scope(function(scope)
      local name = "@moonring spec " .. moonring.now()
      local listener = scope:own(assert(net.listen { path = name }))
      local client = scope:own(assert(net.connect { address = assert(net.address.parse("unix:" .. name)) }))
      local server = scope:own(assert(listener:accept()))
      assert.equal(name, server:address().path)
      client:write("x")
      assert.equal("x", server:read_exactly(1))
      assert.equal("EADDRINUSE", select(3, net.listen { path = name }))
    end)
  end)

  it("serves socat, with half closes", function()
    moonring.scope(function(scope)
      local path = free_path()
      local listener = assert(net.listen { path = path })
      local server = scope:spawn(net.serve, listener, function(connection)
        local all = connection:read_all()
        connection:write(("%d bytes"):format(#all))
      end)
      local child = process.start(scope, ("bash -c %s"):format(
        process.quote(("head -c 100000 /dev/zero | timeout 10 socat -t 5 - UNIX-CONNECT:%s"):format(path))))
      child:expect("100000 bytes")
      assert.is_true(child:wait())
      server:cancel()
    end)
  end)

  it("removes its file when it is closed, but no other's", function()
    local path = free_path()
    local first = assert(net.listen { path = path })
    assert.is_true(exists(path))
    first:close()
    assert.is_false(exists(path))
    first = assert(net.listen { path = path })
    os.remove(path)
    local second = assert(net.listen { path = path })
    first:close()
    assert.is_true(exists(path))
    second:close()
    assert.is_false(exists(path))
  end)

  it("is told of a file in the way, and removes it on request when nobody listens there", function()
    moonring.scope(function(scope)
      local path = free_path()
      local child = process.start(scope, process.command("-e", ([[
        local listener = require("moonring.net").listen { path = %q }
        print "ready"
        while true do listener:accept() end
      ]]):format(path)))
      child:expect("ready")
      assert.equal("EADDRINUSE", select(3, net.listen { path = path }))
      assert.equal("EADDRINUSE", select(3, net.listen { path = path, unlink_stale = true })) -- somebody listens
      child:kill("KILL")
      assert.is_true(child:wait())
      assert.is_true(exists(path))
      -- The kernel takes the dead process's ring apart a little later, and its accept holds the socket until then.
      assert.is_true(eventually(function()
        local connection, _, code = net.connect { path = path }
        if connection then connection:close(0) end
        return code == "ECONNREFUSED"
      end))
      assert.equal("EADDRINUSE", select(3, net.listen { path = path }))
      local listener = assert(net.listen { path = path, unlink_stale = true })
      listener:close()
      local file = io.open(path, "w")
      file:write("precious")
      file:close()
      assert.equal("EADDRINUSE", select(3, net.listen { path = path, unlink_stale = true })) -- no socket
      assert.is_true(exists(path))
      os.remove(path)
    end)
  end)

  it("has the permissions that were asked for, whatever the umask", function()
    for _, mode in ipairs { "600", "660", "666", "777" } do
      local path = free_path()
      local listener = assert(net.listen { path = path, mode = tonumber(mode, 8) })
      assert.equal(mode .. "\n", select(2, process.run("stat -c %a " .. path)))
      listener:close()
    end
  end)

  it("is refused by name", function()
    assert.equal("ENOENT", select(3, net.connect { path = "/nowhere/socket" }))
    assert.equal("ENOENT", select(3, net.listen { path = "/nowhere/socket" }))
    for _, path in ipairs { "", ("x"):rep(108), 5 } do
      for _, call in ipairs { net.listen, net.connect } do
        local ok, failure = pcall(call, { path = path })
        assert.is_false(ok)
        assert.equal("argument", failure.code)
      end
    end
  end)

  it("waits while the other's backlog is full, and can be cancelled there", function()
    moonring.scope(function(scope)
      local path = free_path()
      -- Another process, so that nobody takes what is queued.
      local child = process.start(scope, process.command("-e", ([[
        local listener = require("moonring.net").listen { path = %q, backlog = 1 }
        print "ready"
        listener:accept()
      ]]):format(path)))
      child:expect("ready")
      child:kill("STOP")
      local made = 0
      local ok, failure = pcall(moonring.timeout, 0.3, function()
        while made < 20 do
          scope:own(assert(net.connect { path = path }))
          made = made + 1
        end
      end)
      assert.is_false(ok)
      assert.equal("deadline", failure.code)
      assert.is_true(made < 20)
      child:kill("CONT")
    end)
    assert.is_true(eventually(function() return moonring.stats().operations <= 2 end))
  end)
end)

describe("credentials", function()
  it("are those of the process at the other end", function()
    with_pair({}, function(_, client, server)
      local uid = tonumber(select(2, process.run("id -u")))
      local own = client:credentials()
      assert.equal(uid, own.uid)
      assert.same(own, server:credentials())
      assert.is_true(exists("/proc/" .. own.pid))
    end)
    moonring.scope(function(scope)
      local path = free_path()
      local listener = scope:own(assert(net.listen { path = path }))
      local child = process.start(scope, ("socat - UNIX-CONNECT:%s"):format(path))
      assert.equal(child.pid, scope:own(assert(listener:accept())):credentials().pid)
    end)
  end)

  it("are refused for what is no Unix socket", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      assert.equal("EOPNOTSUPP", select(3, client:credentials()))
      assert.equal("EOPNOTSUPP", select(3, client:send_descriptor(0)))
      assert.equal("EOPNOTSUPP", select(3, client:receive_descriptor()))
      assert.equal("EOPNOTSUPP", select(3, net.connect { port = listener.port, descriptors = true }))
      assert.equal("EOPNOTSUPP", select(3, net.listen { descriptors = true }))
    end)
  end)
end)

describe("descriptors over a Unix socket", function()
  it("arrive with their bytes, close-on-exec, and work", function()
    with_pair({ descriptors = true }, function(scope, client, server)
      local reader, writer = system.pipe()
      client:write("before ")
      assert.is_true(client:send_descriptor(writer, "with "))
      client:write("behind\n")
      system.close(writer)
      local received = assert(server:receive_descriptor())
      assert.equal("before with behind", server:read_line())
      assert.is_true(system.is_close_on_exec(received:number()))
      local out = scope:own(assert(received:open()))
      assert.equal("moonring.Descriptor(closed)", tostring(received))
      out:write("through it")
      out:close()
      assert.equal("through it", scope:own(assert(connections.open(reader))):read_all())
    end)
  end)

  it("come in order, many of them, beside many bytes", function()
    local before = system.count()
    with_pair({ descriptors = true }, function(scope, client, server)
      local reader, writer = system.pipe()
      local in_pipe = scope:own(assert(connections.open(reader)))
      local total = 200
      scope:spawn(function()
        for i = 1, total do
          local sent
          repeat -- at most 64 are queued
            sent = client:send_descriptor(writer, ("%04d"):format(i) .. ("x"):rep(i * 37 % 5000))
            if not sent then client:flush() end
          until sent
        end
        client:shutdown()
      end)
      local bytes = scope:spawn(function()
        moonring.sleep(0)
        return nil
      end)
      bytes:join()
      for _ = 1, total do
        local received = assert(server:receive_descriptor())
        local stream = assert(received:open())
        stream:write("y")
        stream:close()
        local there = server:statistics().unread
        if there > 100000 then server:skip(there - 1000) end
      end
      server:read_all()
      assert.is_nil((server:receive_descriptor()))
      assert.equal(("y"):rep(total), in_pipe:read_exactly(total))
      system.close(writer)
    end)
    assert.is_true(eventually(function() return system.count() <= before end))
  end)

  it("are closed when nobody takes them, or they never went out", function()
    local before = system.count()
    with_pair({ descriptors = true }, function(_, client, server)
      for _ = 1, 10 do
        client:send_descriptor(0)
      end
      assert.is_truthy(server:read())
      client:write(("x"):rep(3000000):sub(1, 200000))
      for _ = 1, 10 do
        client:send_descriptor(0)
      end
    end)
    assert.is_true(eventually(function() return system.count() <= before end))
    do
      local left, right = system.socketpair()
      local a, b = connections.open(left), connections.open(right, { descriptors = true })
      a:send_descriptor(0)
      local forgotten = assert(b:receive_descriptor()):number()
      assert.is_true(system.is_open(forgotten))
      a:close()
      b:close()
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(eventually(function() return system.count() <= before end))
  end)

  it("come from and go to other programs", function()
    moonring.scope(function(scope)
      local path = free_path()
      local listener = scope:own(assert(net.listen { path = path, descriptors = true }))
      process.start(scope, ("python3 -c %s"):format(process.quote(([[
import socket, os, array
s = socket.socket(socket.AF_UNIX)
s.connect(%q)
r, w = os.pipe()
s.sendmsg([b"three"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [w, w, w]))])
data, rights, flags, name = socket.recv_fds(s, 100, 5)
os.write(rights[0], b"to you")
print(os.read(r, 100), flush=True)
]]):format(path))))
      local server = scope:own(assert(listener:accept()))
      local first = assert(server:receive_descriptor())
      assert.equal("three", server:read_exactly(5))
      for _ = 1, 2 do
        assert(server:receive_descriptor()):close()
      end
      local reader, writer = system.pipe()
      assert.is_true(server:send_descriptor(writer, "here"))
      system.close(writer)
      assert.equal("to you", scope:own(assert(connections.open(reader))):read_exactly(6))
      scope:own(assert(first:open())):write("from me")
    end)
  end)

  it("tell when there was no room for one", function()
    local status, output = process.run(process.command("-e", [[
      local moonring, connections = require "moonring", require "moonring.net.connection"
      local system = require "spec.support.system"
      local left, right = system.socketpair()
      local a, b = connections.open(left), connections.open(right, { descriptors = true })
      local held = {}
      moonring.sleep(0)
      while true do
        local fd = require("ffi").C.dup(0)
        if fd < 0 then break end
        held[#held + 1] = fd
      end
      system.close(table.remove(held)) -- for the duplicate that is sent
      assert(a:send_descriptor(0, "x"))
      moonring.sleep(0.01)
      local descriptor, message, code = b:receive_descriptor()
      print(descriptor, code, b:read_exactly(1))
    ]]):gsub("^", "ulimit -n 40; LUA_PATH='./?.lua;;' "))
    assert.equal("nil\tEMFILE\tx\n", output)
    assert.equal(0, status)
  end)

  it("are refused when they are none", function()
    with_pair({ descriptors = true }, function(_, client)
      assert.equal("EBADF", select(3, client:send_descriptor(1999)))
      for _, wrong in ipairs { -1, 1.5, "x", {} } do
        assert.equal("argument", select(2, pcall(client.send_descriptor, client, wrong)).code)
      end
      assert.equal("argument", select(2, pcall(client.send_descriptor, client, 0, "")).code)
    end)
    with_pair({}, function(_, _, server)
      assert.equal("EOPNOTSUPP", select(3, server:receive_descriptor()))
    end)
  end)
end)
