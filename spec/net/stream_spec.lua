local moonring = require "moonring"
local connections = require "moonring.net.connection"
local process = require "spec.support.process"
local system = require "spec.support.system"
local eventually = require "spec.support.eventually"

local function open(scope, fd, how)
  return scope:own(assert(connections.open(fd, how)))
end

-- Two ends of each kind of stream: what is written to the second comes out of the first.
local kinds = {
  pipe = function(scope)
    local reader, writer = system.pipe()
    return open(scope, reader), open(scope, writer)
  end,
  FIFO = function(scope)
    local path = system.fifo()
    local reader = system.open(path, system.O_RDONLY + system.O_NONBLOCK)
    local writer = system.open(path, system.O_WRONLY)
    os.remove(path)
    return open(scope, reader), open(scope, writer)
  end,
  ["pair of sockets"] = function(scope)
    local left, right = system.socketpair()
    return open(scope, left), open(scope, right)
  end,
}

for name, make in pairs(kinds) do
  describe("a stream over a " .. name, function()
    it("carries bytes at every split", function()
      moonring.scope(function(scope)
        local reader, writer = make(scope)
        local text = "the quick brown fox"
        for split = 0, #text do
          assert.is_true(writer:write(text:sub(1, split)))
          assert.is_true(writer:flush())
          assert.is_true(writer:write(text:sub(split + 1)))
          assert.equal(text, reader:read_exactly(#text))
        end
      end)
    end)

    it("carries 20 MiB unchanged through a slow reader, with bounded memory", function()
      moonring.scope(function(scope)
        local reader, writer = make(scope)
        local block = {}
        for i = 1, 8192 do
          block[i] = ("%08x"):format(i * 2654435761 % 4294967296)
        end
        block = table.concat(block)
        scope:spawn(function()
          for _ = 1, 320 do
            assert.is_true(writer:write(block))
          end
          writer:close()
        end)
        local count, peak = 0, 0
        while true do
          local text = reader:read_exactly(#block)
          if not text then break end
          assert.is_true(text == block)
          count = count + 1
          if count % 50 == 0 then moonring.sleep(0.001) end
          peak = math.max(peak, moonring.stats().memory.chunk_bytes)
        end
        assert.equal(320, count)
        assert.is_true(peak < 16 * 1048576, "peak " .. peak)
      end)
    end)

    it("gathers small writes in order", function()
      moonring.scope(function(scope)
        local reader, writer = make(scope)
        local expected = {}
        for i = 1, 2000 do
          expected[i] = ("%d,"):format(i)
          writer:write(i % 3 == 0 and scope:allocate(16):write(expected[i]):reset_for_read() or expected[i])
        end
        writer:close()
        assert.equal(table.concat(expected), reader:read_all())
      end)
    end)

    it("makes a writer wait, and tells it when the reader goes", function()
      moonring.scope(function(scope)
        local reader, writer = make(scope)
        local result
        local task = scope:spawn(function()
          repeat
            result = { writer:write(("x"):rep(100000)) }
          until not result[1]
        end)
        moonring.sleep(0.02)
        assert.is_false(task:has_ended())
        reader:close(0)
        task:join()
        assert.is_truthy(result[3] == "EPIPE" or result[3] == "ECONNRESET", result[3])
      end)
    end)

    it("ends reading when the writing half ends, again and again", function()
      moonring.scope(function(scope)
        local reader, writer = make(scope)
        writer:write("last")
        assert.is_true(writer:shutdown())
        assert.equal("EPIPE", select(3, writer:write("more")))
        assert.equal("last", reader:read_all())
        for _ = 1, 2 do
          assert.equal(1, select("#", reader:read()))
        end
      end)
    end)

    it("gives a cancelled read's operation back", function()
      local before = moonring.stats().operations
      moonring.scope(function(scope)
        local reader, writer = make(scope)
        local expected, got = {}, {}
        for i = 1, 20 do
          local task = scope:spawn(function() got[#got + 1] = reader:read():to_string() end)
          moonring.sleep(0)
          expected[i] = i .. ";"
          writer:write(expected[i])
          if i % 2 == 0 then moonring.sleep(0) end
          task:cancel()
          moonring.sleep(0)
          assert.is_true(task:has_ended())
        end
        writer:close()
        got[#got + 1] = reader:read_all()
        assert.equal(table.concat(expected), table.concat(got))
      end)
      assert.is_true(eventually(function() return moonring.stats().operations <= before end))
    end)

    it("is closed in the middle of everything, and leaves nothing", function()
      local before = moonring.stats()
      local open_before = system.count()
      for i = 1, 60 do
        moonring.scope(function(scope)
          local reader, writer = make(scope)
          local first = scope:spawn(function() pcall(reader.read_exactly, reader, 10000000) end)
          local second = scope:spawn(function() pcall(writer.write, writer, ("x"):rep(3000000)) end)
          if i % 2 == 0 then moonring.sleep(0) end
          if i % 3 == 0 then reader:close(0) end
          if i % 5 == 0 then writer:close(0) end
          if i % 7 == 0 then moonring.sleep(0.001) end
          first:cancel()
          second:cancel()
          reader:close(0)
          writer:close(0)
        end)
      end
      assert.is_true(eventually(function() return moonring.stats().connections <= before.connections end))
      assert.is_true(eventually(function() return system.count() <= open_before end))
      local after = moonring.stats()
      assert.is_true(after.operations <= before.operations)
      assert.equal(after.receive_ring_bytes, after.memory.iovec_bytes)
      assert.equal(0, after.stale)
    end)
  end)
end

describe("a stream over a terminal", function()
  local function terminal(scope)
    local master, fd = system.terminal()
    return open(scope, master), fd
  end

  it("reads what is typed and writes what is shown", function()
    moonring.scope(function(scope)
      local screen, fd = terminal(scope)
      local inside = open(scope, fd)
      screen:write("typed\n")
      assert.equal("typed", inside:read_line())
      assert.equal("typed", screen:read_line()) -- its echo
      inside:write("shown\n")
      assert.equal("shown", screen:read_line())
    end)
  end)

  it("never blocks the loop when nobody looks at the screen", function()
    moonring.scope(function(scope)
      local screen, fd = terminal(scope)
      local inside = open(scope, fd)
      local text = ("z"):rep(1000) .. "\n"
      local writer = scope:spawn(function() assert.is_true(inside:write(text:rep(2000))) end)
      local turns = 0
      for _ = 1, 20 do
        moonring.sleep(0.001)
        turns = turns + 1
      end
      assert.equal(20, turns)
      assert.is_true(inside:statistics().queued > 0)
      for _ = 1, 2000 do
        assert.equal(text:sub(1, -2), screen:read_line())
      end
      writer:join()
    end)
  end)

  it("does not block it either where it can't have a description of its own", function()
    if process.command():find "sanitize" then return pending "the sanitizers need /proc" end
    local status, output = process.run("timeout 10 unshare -rm sh -c " .. process.quote("mount -t tmpfs none /proc && "
      .. "LUA_PATH='./?.lua;;' exec " .. process.command("-e", [[
        local moonring, connections = require "moonring", require "moonring.net.connection"
        local system = require "spec.support.system"
        local screen, fd = system.terminal()
        local flags = system.flags(fd)
        screen = connections.open(screen)
        local inside = connections.open(fd)
        local writer = moonring.spawn(function() inside:write(("z"):rep(1000000)) end)
        local reader = moonring.spawn(function() inside:read() end)
        for _ = 1, 10 do moonring.sleep(0.001) end
        assert(inside:statistics().queued > 0 and system.flags(fd) == flags)
        screen:skip(1000000)
        writer:join()
        inside:write(("z"):rep(200000)) -- is in flight when all ends
        reader:cancel()
        print(inside:statistics().sent >= 1000000)
      ]])))
    if output:find("unshare") then return pending "no mount namespaces here" end
    assert.equal("true\n", output)
    assert.equal(0, status)
  end)

  it("leaves the flags of a descriptor that it shares as they are", function()
    moonring.scope(function(scope)
      local _, fd = terminal(scope)
      local flags = system.flags(fd)
      local inside = open(scope, fd, { keep = true })
      assert.equal(flags, system.flags(fd))
      local reader = scope:spawn(inside.read, inside)
      moonring.sleep(0.001)
      assert.equal(flags, system.flags(fd))
      reader:cancel()
      inside:close()
      moonring.sleep(0.001)
      assert.is_true(system.is_open(fd))
      system.close(fd)
    end)
  end)

  it("ends when the screen is gone", function()
    moonring.scope(function(scope)
      local screen, fd = terminal(scope)
      local inside = open(scope, fd)
      scope:spawn(function()
        moonring.sleep(0.005)
        screen:close(0)
      end)
      local value, _, code = inside:read()
      assert.is_nil(value)
      assert.is_true(code == nil or code == "EIO")
    end)
  end)
end)

describe("a stream over a descriptor", function()
  it("is a file at its position, a device, or refused by name", function()
    moonring.scope(function(scope)
      local path = os.tmpname()
      local file = io.open(path, "w")
      file:write(("0123456789"):rep(30000))
      file:close()
      assert.equal(("0123456789"):rep(30000), open(scope, system.open(path, 0)):read_all())
      local writer = open(scope, system.open(path, system.O_WRONLY))
      writer:write("abc")
      writer:write("def")
      assert.is_true(writer:flush())
      assert.equal("abcdef6789", open(scope, system.open(path, 0)):read_exactly(10))
      os.remove(path)
      assert.equal("", open(scope, system.open("/dev/null", 0)):read_all())
      assert.equal(("\0"):rep(100000), open(scope, system.open("/dev/zero", 0)):read_exactly(100000))
      local full = open(scope, system.open("/dev/full", system.O_WRONLY))
      full:write("x")
      assert.equal("ENOSPC", select(3, full:flush()))
    end)
    local datagrams = { system.socketpair(2) }
    local directory = system.open("/tmp", 0)
    for _, case in ipairs { { 1999, "EBADF" }, { directory, "EISDIR" }, { datagrams[1], "EPROTOTYPE" } } do
      local connection, message, code = connections.open(case[1], { name = "it" })
      assert.is_nil(connection)
      assert.equal(case[2], code)
      assert.is_truthy(message:find("open of it", 1, true))
    end
    for _, fd in ipairs { directory, datagrams[1], datagrams[2] } do
      assert.is_true(system.is_open(fd)) -- still the caller's
      system.close(fd)
    end
    for _, wrong in ipairs { -1, 1.5, "1", 2 ^ 40 } do
      assert.equal("argument", select(2, pcall(connections.open, wrong)).code)
    end
  end)

  it("is refused the direction that it was not opened for", function()
    moonring.scope(function(scope)
      local reader, writer = kinds.pipe(scope)
      assert.equal("EBADF", select(3, reader:write("x")))
      assert.equal("EBADF", select(3, reader:shutdown()))
      assert.equal("EBADF", select(3, writer:read()))
    end)
  end)

  it("can't end one half of what has only one descriptor for both", function()
    moonring.scope(function(scope)
      local path = system.fifo()
      local both = open(scope, system.open(path, system.O_RDWR))
      os.remove(path)
      both:write("round")
      assert.equal("round", both:read_exactly(5))
      assert.equal("EOPNOTSUPP", select(3, both:shutdown()))
      assert.is_true(both:write("goes on"))
    end)
  end)
end)

describe("a process that reads its standard input as a stream", function()
  local script = [[
    local moonring = require "moonring"
    local input = assert(require("moonring.net.connection").open(0, { keep = true }))
    local reader = moonring.spawn(function()
      for line in input:lines() do io.stderr:write("<", line, ">\n") end
    end)
    %s
  ]]

  it("runs on while it waits, and ends with the read in flight", function()
    local command = process.command("-e", script:format [[
      for _ = 1, 5 do moonring.sleep(0.001) end
      reader:cancel()
    ]])
    for _, each in ipairs { command, ("script -qec %s /dev/null"):format(process.quote(command)) } do -- a pipe, a terminal
      local line = "exec 9< <(exec sleep 20); " .. each .. " <&9; status=$?; kill $!; exit $status"
      local status, output = process.run(("timeout 10 bash -c %s"):format(process.quote(line)))
      assert.equal("", output)
      assert.equal(0, status)
    end
  end)

  it("reads a pipe, a file, and nothing", function()
    local path = os.tmpname()
    for _, source in ipairs { "printf 'one\\ntwo\\n' | %s", "printf 'one\\ntwo\\n' > " .. path .. "; %s < " .. path } do
      local status, output = process.run(source:format(process.command("-e", script:format "")))
      assert.equal("<one>\n<two>\n", output)
      assert.equal(0, status)
    end
    os.remove(path)
    local status, output = process.run(process.command("-e", script:format "") .. " < /dev/null")
    assert.equal("", output)
    assert.equal(0, status)
  end)
end)

describe("SIGPIPE", function()
  it("does not end the process, and is as before in the programs that it starts", function()
    local status, output = process.run(process.command("-e", [[
      local moonring = require "moonring"
      local out = require("moonring.net.connection").open(1, { keep = true })
      moonring.sleep(0.2)
      out:write("x")
      io.stderr:write(select(3, out:flush()), " ")
      io.stderr:write(io.popen("grep SigIgn /proc/self/status"):read("*a"))
    ]]) .. " | true")
    assert.equal(0, status)
    local ignored = output:match("EPIPE SigIgn:%s*(%x+)")
    assert.is_truthy(ignored, output)
    assert.equal(0, math.floor(tonumber(ignored, 16) / 2 ^ 12) % 2)
  end)
end)
