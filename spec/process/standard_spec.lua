local moonring = require "moonring"
local process = require "moonring.process"
local support = require "spec.support.process"

local ffi = require "ffi"
ffi.cdef [[
  int posix_openpt(int); int grantpt(int); int unlockpt(int); char *ptsname(int);
  int open(const char *, int, ...); int close(int); long read(int, void *, size_t); long write(int, const void *, size_t);
  int fcntl(int, int, ...);
]]

local executable = support.executable

local function script(code, options)
  options = options or {}
  options[1], options[2], options[3] = executable, "-e", code
  return options
end

local function run(code, options)
  return process.run(script(code, options))
end

-- Reads from a descriptor of this spec until `pattern` has come.
local function read_until(stream, pattern)
  local text = ""
  while not text:find(pattern) do
    text = text .. assert(stream:read(), "the stream has ended after: " .. text):read_string()
  end
  return text
end

describe("what is printed", function()
  it("comes in its order, whoever wrote it, and as luajit writes it", function()
    local code = [[
      print("a", 1, nil, true, 1/3, -0.0, 1e15, 1e14, 123456789012345, 0/0 ~= 0/0, 2^53, -17, 1/0)
      io.write("b", 2, 1.5, "\n")
      print()
      io.stderr:write("c\n")
      io.stdout:write("d", "\n")
      print(("x"):rep(100000))
      io.output():write("e\n")
      print(("x"):rep(40000), ("y"):rep(40000))
      io.write()
      print(setmetatable({}, { __tostring = function() return "object" end }), 3)
    ]]
    local ours = select(2, run(code, { stderr = "stdout" }))
    local theirs = select(2, process.run { "luajit", "-e", code, stderr = "stdout" })
    theirs = theirs:gsub("c\n", "", 1):gsub("\n\nd", "\n\nc\nd") -- which luajit writes first, for it holds the rest back
    assert.equal(theirs, ours)
  end)

  it("is checked as luajit checks it", function()
    local code = [[
      print(pcall(function() io.write({}) end))
      print(pcall(print, setmetatable({}, { __tostring = function() return 1 end })))
      print(pcall(print, setmetatable({}, { __tostring = function() return {} end })))
      print(io.type(io.stdout), io.stdout:write(), io.stdout == io.output())
      local file = io.tmpfile()
      file:write("x", 1)
      file:seek "set"
      print(file:read "*a", io.stdout:setvbuf "full")
      io.output(file)
      io.write "into the file"
      print "not into the file"
      io.output(io.stdout)
      io.write "back\n"
    ]]
    assert.equal(select(2, process.run { "luajit", "-e", code }), (select(2, run(code))))
  end)

  it("is seen through a pipe as soon as the script waits", function()
    moonring.scope(function(scope)
      local code = "print 'first' require('moonring').sleep(60)"
      local child = scope:own(assert(process.spawn(script(code, { stdout = "pipe" }))))
      assert.equal("first\n", child.stdout:read():read_string())
    end)
  end)

  it("is whole when the script ends, also by an error, os.exit or a signal", function()
    for ending, status in pairs {
      [""] = "exit status 0", ["error()"] = "exit status 1", ["os.exit(3)"] = "exit status 3",
      ["os.execute('kill -TERM ' .. io.open('/proc/self/stat'):read('*n')) require('moonring').sleep(60)"] = "signal TERM",
    } do
      local result, output = run(([[ for i = 1, 100000 do io.write(i, "\n") end %s ]]):format(ending))
      assert.equal(status, tostring(result))
      assert.equal(588895, #output)
    end
  end)

  it("leaves the loop free while the pipe is full, and a task that goes on printing waits", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local moonring = require "moonring"
        local printed = 0
        moonring.spawn(function()
          for i = 1, 20000 do
            print(("x"):rep(99))
            printed = i
          end
        end)
        local last = -1
        for i = 1, 100 do
          moonring.sleep(0.002)
          if printed == last and printed > 0 then break end
          last = printed
        end
        io.stderr:write(printed, "\n")
      ]], { stdout = "pipe", stderr = "pipe" }))))
      -- Nothing is read here: what it says on the other pipe shows that its loop runs.
      local printed = tonumber(read_until(child.stderr, "\n"))
      assert.is_true(printed < 20000 and printed > 2000, tostring(printed))
      local total = 0
      for buffer in child.stdout:chunks() do
        total = total + buffer:remaining()
      end
      assert.equal(2000000, total)
      assert.is_true(child:wait().ok)
    end)
  end)

  it("outside of a place that can wait queues", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local numbers = {}
        for i = 1, 3 do numbers[i] = i end
        table.sort(numbers, function(a, b)
          print(("x"):rep(999999))
          return a < b
        end)
        io.stderr:write "sorted\n"
      ]], { stdout = "pipe", stderr = "pipe" }))))
      read_until(child.stderr, "sorted")
      local total = 0
      for buffer in child.stdout:chunks() do
        total = total + buffer:remaining()
      end
      assert.is_true(total % 1000000 == 0 and total >= 2000000, tostring(total))
    end)
  end)

  it("and is not read ends its program in order, by SIGPIPE", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local moonring = require "moonring"
        moonring.scope(function(scope)
          scope:own { close = function() io.stderr:write "released\n" end }
          while true do
            print "more"
            moonring.sleep(0.001)
          end
        end)
      ]], { stdout = "pipe", stderr = "pipe" }))))
      child.stdout:read()
      child.stdout:close()
      assert.equal("released\n", read_until(child.stderr, "\n"))
      assert.equal("PIPE", child:wait().signal)
    end)
  end)

  it("and is not read from a script's end on, too", function()
    local _, output = process.shell('"$1" -e "for i = 1, 100000 do print(i) end" | head -n 1; sleep 0.01', executable)
    assert.equal("1\n", output)
  end)

  it("to where SIGPIPE is ignored fails with status 1 instead", function()
    local _, _, errors = process.shell([[
      trap "" PIPE
      { "$1" -e "for i = 1, 100000 do print(i) end"; echo "status=$?" >&2; } | head -n 1
    ]], executable)
    assert.is_truthy(errors:find "status=1\n", errors)
  end)

  it("to a full disk is told, and the status is 1", function()
    local status, _, errors = process.shell('"$1" -e "print(1)" >/dev/full', executable)
    assert.equal(1, status.code)
    assert.is_truthy(errors:find("moonring: write to stdout: ENOSPC", 1, true), errors)
    local code = "print(1) io.stderr:write(tostring(select(2, io.stdout:flush())))"
    status, _, errors = process.shell([["$1" -e "$2" >/dev/full]], executable, code)
    assert.equal(1, status.code)
    assert.is_truthy(errors:find("^write to stdout: ENOSPC"), errors)
  end)

  it("to a descriptor that is closed goes nowhere, and to no socket", function()
    local status, output, errors = process.shell([["$1" -e '
      local net = require "moonring.net"
      local listener = assert(net.listen {})
      print "lost"
      io.stderr:write "lost, too"
      assert(net.connect { port = listener.port }):close()
      os.exit(7)' >&- 2>&- <&-]], executable)
    assert.equal(7, status.code)
    assert.equal("", output .. errors)
  end)

  it("goes to a socket", function()
    moonring.scope(function(scope)
      local net = require "moonring.net"
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local served = scope:own(assert(listener:accept()))
      local code = "for i = 1, 200000 do io.write('0123456789') end"
      local child = scope:own(assert(process.spawn(script(code, { stdout = served }))))
      served:close()
      local total = 0
      for buffer in client:chunks() do
        total = total + buffer:remaining()
      end
      assert.equal(2000000, total)
      assert.is_true(child:wait().ok)
    end)
  end)

  for what, user in pairs {
    ["where the kernel can't write to it without waiting"] = false,
    ["where it can't be opened anew, either, for it is another user's"] = "nobody",
  } do
    it("leaves the loop free while the pipe is full, also " .. what, function()
      moonring.scope(function(scope)
        local command = { "strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwritev2:error=EOPNOTSUPP" }
        local status = not user or process.run { executable, "-v", user = user }
        if not status or user and not status.ok then return pending "needs root, and an executable for all" end
        command.user = user or nil
        for _, word in ipairs { executable, "-e", [[
          local moonring = require "moonring"
          for i = 1, 20000 do io.write(i, ("x"):rep(30), "\n") end
          for _ = 1, 10 do moonring.sleep(0.001) end
          io.stderr:write "still here\n"
        ]] } do
          command[#command + 1] = word
        end
        command.stdout, command.stderr, command.extra = "pipe", "pipe", { ASAN_OPTIONS = "detect_leaks=0" }
        local child = scope:own(assert(process.spawn(command)))
        scope:spawn(function()
          local text = read_until(child.stdout, "\n20000x+\n")
          assert.equal(20000, select(2, text:gsub("\n", "")))
        end)
        read_until(child.stderr, "still here\n")
        assert.is_true(child:wait().ok)
      end)
    end)
  end
end)

describe("on a terminal", function()
  -- Returns the descriptors of both sides.
  local function terminal()
    local master = ffi.C.posix_openpt(0x80102) -- O_RDWR | O_NOCTTY | O_CLOEXEC
    if master < 0 or ffi.C.grantpt(master) ~= 0 or ffi.C.unlockpt(master) ~= 0 then return nil end
    return master, ffi.C.open(ffi.C.ptsname(master), 0x80102)
  end

  it("a line is seen at its end, and O_NONBLOCK stays off", function()
    local master, slave = terminal()
    if not master then return pending "no pseudo-terminals here" end
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script(
        "io.write 'begun' print ' and ended' local t = os.clock() while os.clock() < t + 0.2 do end print 'last'", {
        stdout = slave, stdin = slave }))))
      local connection = require "moonring.net.connection"
      local ours = scope:own(assert(connection.open(master)))
      assert.equal("begun and ended\r\n", read_until(ours, "\n"))
      assert.is_false(child:has_ended())
      assert.equal(0, bit.band(ffi.C.fcntl(slave, 3), 2048)) -- F_GETFL, O_NONBLOCK
      assert.is_true(child:wait().ok)
      ffi.C.close(slave)
    end)
  end)

  it("that is not read the loop runs on, and nothing is lost", function()
    local master, slave = terminal()
    if not master then return pending "no pseudo-terminals here" end
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local moonring = require "moonring"
        moonring.spawn(function() for i = 1, 20000 do print(i) end end)
        moonring.sleep(0.05)
        io.stderr:write "still here\n"
      ]], { stdout = slave, stderr = "pipe" }))))
      ffi.C.close(slave)
      read_until(child.stderr, "still here\n")
      local ours = scope:own(assert(require("moonring.net.connection").open(master)))
      local text = read_until(ours, "20000\r\n")
      assert.equal(20000, select(2, text:gsub("\n", "")))
      assert.is_true(child:wait().ok)
    end)
  end)
end)

describe("moonring.stdout", function()
  it("writes strings and buffers, flushes and drains", function()
    local status, output = run [[
      local moonring, buffer = require "moonring", require "moonring.buffer"
      assert(moonring.stdout:write("text\n"))
      local bytes = buffer.wrap "bytes\n"
      assert(moonring.stdout:write(bytes))
      assert(bytes:remaining() == 0)
      assert(moonring.stdout:flush())
      assert(moonring.select { drained = moonring.stdout:drain_op() } == "drained")
      print(moonring.stdout, moonring.stdout:descriptor(), pcall(moonring.stdout.write, moonring.stdout, {}))
    ]]
    assert.is_true(status.ok)
    assert.equal("text\nbytes\nmoonring.Output(stdout)\t1\tfalse\t"
      .. "(command line):8: stdout:write: a string or a buffer is needed, not a table\n", output)
  end)

  it("raises the cancellation in a cancelled scope that prints on and on", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local moonring = require "moonring"
        local ok, failure = pcall(moonring.scope, function(scope)
          scope:cancel()
          print "goodbye"
          while true do print(("x"):rep(9999)) end
        end)
        io.stderr:write(tostring(failure.code), "\n")
      ]], { stdout = "pipe", stderr = "pipe" }))))
      assert.equal("cancelled\n", read_until(child.stderr, "\n"))
      assert.equal("goodbye", child.stdout:read_line())
      for _ in child.stdout:chunks() do end -- luacheck: ignore
      assert.is_true(child:wait().ok)
    end)
  end)

  it("lets a write that waits be cancelled", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local moonring = require "moonring"
        local ok, failure = pcall(moonring.timeout, 0.02, function()
          while true do print(("x"):rep(999)) end
        end)
        io.stderr:write(tostring(failure.code), "\n")
      ]], { stdout = "pipe", stderr = "pipe" }))))
      assert.equal("deadline\n", read_until(child.stderr, "\n"))
      for _ in child.stdout:chunks() do end -- luacheck: ignore
      assert.is_true(child:wait().ok)
    end)
  end)
end)

describe("moonring.stdin", function()
  it("is read without holding the loop", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn(script([[
        local moonring = require "moonring"
        moonring.spawn(function()
          for _ = 1, 10 do moonring.sleep(0.001) end
          print "ticked"
        end)
        for buffer in moonring.stdin:chunks() do io.write(buffer:read_string()) end
        print "end"
      ]], { stdin = "pipe", stdout = "pipe" }))))
      read_until(child.stdout, "ticked\n")
      for _, word in ipairs { "one", "two" } do
        child.stdin:write(word)
        read_until(child.stdout, word)
      end
      child.stdin:close()
      read_until(child.stdout, "end\n")
    end)
  end)

  it("is a file, or nothing", function()
    local path = os.tmpname()
    local file = io.open(path, "w")
    file:write(("line\n"):rep(100000))
    file:close()
    local code = [[
      local total = 0
      for buffer in require("moonring").stdin:chunks() do total = total + buffer:remaining() end
      print(total)
    ]]
    local _, output = process.shell('"$1" -e "$2" <"$3"; "$1" -e "$2" </dev/null', executable, code, path)
    os.remove(path)
    assert.equal("500000\n0\n", output)
  end)
end)

it("children write behind what was printed before them", function()
  local _, output = run [[
    local process = require "moonring.process"
    print "before"
    process.run { "echo", "child", stdout = "inherit" }
    print "between"
    os.execute "echo shell"
    print "after"
  ]]
  assert.equal("before\nchild\nbetween\nshell\nafter\n", output)
end)
