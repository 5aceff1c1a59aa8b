local moonring = require "moonring"
local process = require "spec.support.process"

-- A script file with the given code, removed after body(path).
local function with_script(code, body)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(code)
  file:close()
  local ok, failure = pcall(body, path)
  os.remove(path)
  if not ok then error(failure, 0) end
end

local function run_script(code, ...)
  local status, output
  local arguments = { ... }
  with_script(code, function(path)
    status, output = process.run(process.command(path, unpack(arguments)))
    output = output:gsub(path:gsub("%p", "%%%0"), "SCRIPT")
  end)
  return status, output
end

local run_injected = process.run_injected

describe("moonring", function()
  it("runs a script with its arguments, as luajit does", function()
    local status, output = run_script("print(arg[0] ~= nil, arg[1], arg[2], #arg, ...) print(arg[-1] ~= nil)", "a b", "c")
    assert.equal("true\ta b\tc\t2\ta b\tc\ntrue\n", output)
    assert.equal(0, status)
  end)

  it("has package.path as luajit has it", function()
    local _, ours = process.run(process.command("-e", "print(package.path) print(package.cpath)"))
    local _, theirs = process.run("luajit -e 'print(package.path) print(package.cpath)'")
    assert.equal(theirs, ours)
  end)

  it("runs the main chunk as a task that may wait", function()
    local status, output = run_script [[
      local moonring = require "moonring"
      moonring.spawn(function() moonring.sleep(0.01) print "child" end)
      moonring.sleep(0.001)
      print "main"
    ]]
    assert.equal("main\nchild\n", output)
    assert.equal(0, status)
  end)

  it("runs the code of -e, before the script", function()
    local status, output = process.run(process.command("-e", "x = 1", "-e", "print(x)"))
    assert.equal("1\n", output)
    assert.equal(0, status)
  end)

  it("prints its version and its help", function()
    local status, output = process.run(process.command("-v"))
    assert.equal(0, status)
    assert.is_truthy(output:find("^moonring %d+%.%d+%.%d+ %(LuaJIT "))
    status, output = process.run(process.command("-h"))
    assert.equal(0, status)
    assert.is_truthy(output:find("^usage: moonring"))
  end)

  it("refuses options that it does not know, and to run nothing", function()
    local status, output = process.run(process.command("-y"))
    assert.equal(1, status)
    assert.is_truthy(output:find("unknown option '-y'", 1, true))
    status = process.run(process.command())
    assert.equal(1, status)
    status, output = process.run(process.command("-e"))
    assert.equal(1, status)
    assert.is_truthy(output:find("-e needs an argument", 1, true))
  end)

  it("ends with status 1 and the traceback when the script fails", function()
    local status, output = run_script "local function inner() error('oh no') end\ninner()"
    assert.equal(1, status)
    assert.is_truthy(output:find("^moonring: SCRIPT:1: oh no\nstack traceback:\n"))
    assert.is_truthy(output:find("SCRIPT:1: in function 'inner'", 1, true))
  end)

  it("ends with status 1 and the traceback when a task fails, wherever it was spawned", function()
    local status, output = run_script [[
      local moonring = require "moonring"
      moonring.spawn(function()
        moonring.sleep(0)
        error(setmetatable({}, { __tostring = function() return "an object" end }))
      end)
      moonring.sleep(60)
    ]]
    assert.equal(1, status)
    assert.is_truthy(output:find("moonring: an object\nstack traceback:\n.*SCRIPT:4"))
  end)

  it("ends with status 1 for a script that is not there or does not parse", function()
    local status, output = process.run(process.command("/no/such/file.lua"))
    assert.equal(1, status)
    assert.is_truthy(output:find("cannot open /no/such/file.lua", 1, true))
    status, output = run_script "x ="
    assert.equal(1, status)
    assert.is_truthy(output:find("SCRIPT:1: unexpected symbol near '<eof>'", 1, true))
    status, output = process.run(process.command("-e", "x ="))
    assert.equal(1, status)
    assert.is_truthy(output:find("unexpected symbol", 1, true))
  end)

  it("ends silently with status 1 for a nil error, and with os.exit's status", function()
    local status, output = run_script "error()"
    assert.equal(1, status)
    assert.equal("", output)
    status = run_script "require('moonring').sleep(0) os.exit(7)"
    assert.equal(7, status)
    status, output = run_script [[
      local net = require "moonring.net"
      local listener = net.listen {}
      require("moonring").spawn(net.serve, listener, print)
      require("moonring").sleep(0)
      print "out"
      os.exit(3, true)
    ]]
    assert.equal("out\n", output)
    assert.equal(3, status)
  end)

  it("sends what a script wrote to a connection before it ended", function()
    moonring.scope(function(scope)
      local net = require "moonring.net"
      local listener = scope:own(assert(net.listen {}))
      local total, code = 0, [[
        local connection = assert(require("moonring.net").connect { port = tonumber(arg[1]) })
        connection:write(("x"):rep(3000000))
        connection:close()
      ]]
      with_script(code, function(path)
        local child = process.start(scope, process.command(path, listener.port))
        local connection = scope:own(assert(listener:accept()))
        for buffer in connection:chunks() do
          total = total + buffer:remaining()
        end
        assert.is_true(child:wait())
        assert.equal("", child:output())
      end)
      assert.equal(3000000, total)
    end)
  end)

  for signal, number in pairs { INT = 2, TERM = 15 } do
    it("ends in order by SIG" .. signal .. ", and tells its parent so", function()
      local status, output = run_script(([[
        local moonring = require "moonring"
        moonring.scope(function(scope)
          scope:own { close = function() print "released" end }
          scope:spawn(function()
            pcall(moonring.sleep, 60)
            print "child ends"
          end)
          os.execute("(sleep 0.1; kill -%s " .. require("ffi").C.getpid() .. ") &")
          moonring.sleep(60)
        end)
      ]]):format(signal):gsub("^", 'require("ffi").cdef "int getpid(void);"\n'))
      assert.equal("child ends\nreleased\n", output:gsub("\n[^\n]*Terminated[^\n]*", ""))
      assert.equal(128 + number, status)
    end)
  end

  it("ends by a second signal when the script computes without end", function()
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("-e", "print 'here' io.flush() while true do end"))
      child:expect("here")
      child:kill("TERM")
      moonring.sleep(0.05)
      assert.is_true(child:is_running())
      child:kill("TERM")
      assert.is_true(child:wait(2))
    end)
  end)

  describe("where io_uring is refused", function()
    local cases = {
      EPERM = { "forbids io_uring", "seccomp" },
      ENOSYS = { "has no usable io_uring", "Linux 6.1 or newer" },
      ENOMEM = { "no memory for the rings", "ulimit %-l" },
      EMFILE = { "no file descriptor is left", "ulimit %-n" },
    }
    for code, words in pairs(cases) do
      it("with " .. code .. " says the cause and the remedy, and ends with status 1", function()
        if os.execute("strace -o /dev/null true 2>/dev/null") ~= 0 then return pending("strace can't trace here") end
        local status, output = run_injected("io_uring_setup:error=" .. code, process.command("-e", "print 'never'"))
        assert.equal(1, status)
        assert.is_truthy(output:find("^moonring: cannot start the event loop: " .. code))
        for _, word in ipairs(words) do
          assert.is_truthy(output:find(word), output)
        end
        assert.is_falsy(output:find("stack traceback", 1, true))
      end)
    end
  end)

  it("goes on when the wait for completions is interrupted, now and then", function()
    if os.execute("strace -o /dev/null true 2>/dev/null") ~= 0 then return pending("strace can't trace here") end
    with_script([[
      local moonring, net = require "moonring", require "moonring.net"
      moonring.scope(function(scope)
        local listener = scope:own(assert(net.listen {}))
        scope:spawn(function()
          local connection = scope:own(assert(listener:accept()))
          for buffer in connection:chunks() do connection:write(buffer) end
        end)
        local client = scope:own(assert(net.connect { port = listener.port }))
        local got = 0
        for i = 1, 200 do
          client:write("0123456789")
          got = got + client:read():remaining()
        end
        while got < 2000 do got = got + client:read():remaining() end
        print(got)
        client:close()
      end)
    ]], function(path)
      for _, fault in ipairs { "EINTR:when=3+7", "EAGAIN:when=2+5", "EBUSY:when=4+9" } do
        local status, output = run_injected("io_uring_enter:error=" .. fault, process.command(path))
        assert.equal("2000\n", output)
        assert.equal(0, status)
      end
    end)
  end)
end)
