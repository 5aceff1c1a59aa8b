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

  it("runs -e and -l in their order, and the script after them", function()
    with_script("return 1", function(path)
      local folder, name = path:match "^(.*)/([^/]*)$"
      local loaded = ("package.path = %q .. package.path print 'first'"):format(folder .. "/?;")
      local status, output = process.run(process.command("-e", loaded, "-l", name, "-e",
        ("print(package.loaded[%q])"):format(name)))
      assert.equal("first\n1\n", output)
      assert.equal(0, status)
    end)
  end)

  it("controls the compiler as luajit does", function()
    local _, output = process.run(process.command("-joff", "-e", "print((jit.status()))"))
    assert.equal("false\n", output)
    _, output = process.run(process.command("-j", "on", "-O1", "-e", "print((jit.status()))"))
    assert.equal("true\n", output)
    _, output = process.run(process.command("-jv", "-e", "for i = 1, 100 do local x = i end"))
    assert.is_truthy(output:find "%[TRACE")
    local status
    status, output = process.run(process.command("-jnothing", "-e", "print 'never'"))
    assert.equal(1, status)
    assert.is_truthy(output:find("there is no jit.nothing", 1, true))
  end)

  it("runs standard input, with - and without", function()
    for _, arguments in ipairs { "", " - a b" } do
      local status, output = process.run("echo 'require(\"moonring\").sleep(0.001) print(\"read\", ...)' | "
        .. process.command() .. arguments)
      assert.equal("read" .. arguments:gsub(" %-", ""):gsub(" ", "\t") .. "\n", output)
      assert.equal(0, status)
    end
  end)

  it("reads a REPL's lines from a pipe with -i, without prompts, and ends with the last one's status", function()
    local status, output = process.run("printf 'x = 2\nx * 21\nfor i = 1, 2 do\nprint(i)\nend' | " .. process.command "-i")
    assert.equal("42\n1\n2\n", output)
    assert.equal(0, status)
    status, output = process.run("printf 'error(\"oh\")\n' | " .. process.command "-i")
    assert.equal("error: repl:1:1: oh\nstack traceback:\n\trepl:1:1: in function 'fn'\n", output)
    assert.equal(1, status)
  end)

  it("ends by SIGINT a REPL that waits for its pipe", function()
    local processes = require "moonring.process"
    moonring.scope(function(scope)
      local child = scope:own(assert(processes.spawn { process.executable, "-i", stdin = "pipe", stdout = "pipe" }))
      child.stdin:write "print 'ready'\n"
      assert.equal("ready", child.stdout:read_line())
      local status
      repeat -- until the block has ended, it is what is cancelled
        child:kill "INT"
        local ok, result = pcall(moonring.timeout, 0.1, child.wait, child)
        status = ok and result
      until status
      assert.equal("INT", status.signal)
    end)
  end)

  it("loads for a start only what a task needs", function()
    local _, output = process.run(process.command("-e", [[
      local count, loaded = 0, {}
      for name in pairs(package.loaded) do
        if name:find "^moonring" then count = count + 1 end
      end
      for _, name in ipairs { "buffer", "inspect", "net", "stdio", "signal", "process", "dns", "http" } do
        if package.loaded["moonring." .. name] then loaded[#loaded + 1] = name end
      end
      print(count, unpack(loaded))
    ]]))
    local count = tonumber(output:match "^(%d+)\n$")
    assert.is_true(count ~= nil and count <= 24, output)
  end)

  it("makes no loop for what doesn't wait", function()
    if os.execute("strace -o /dev/null true 2>/dev/null") ~= 0 then return pending("strace can't trace here") end
    local _, output = process.run("ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=io_uring_setup "
      .. process.command("-e", "x = 1"))
    assert.is_falsy(output:find("io_uring_setup", 1, true))
    _, output = process.run("ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=io_uring_setup "
      .. process.command("-e", "require('moonring').sleep(0.001)"))
    assert.is_truthy(output:find("io_uring_setup", 1, true))
  end)

  it("prints its version and its help", function()
    local status, output = process.run(process.command("-v"))
    assert.equal(0, status)
    assert.is_truthy(output:find("^moonring %d+%.%d+%.%d+ %(LuaJIT "))
    status, output = process.run(process.command("-h"))
    assert.equal(0, status)
    assert.is_truthy(output:find("^usage: moonring"))
  end)

  it("refuses options that it does not know, and bad values", function()
    local status, output = process.run(process.command("-y"))
    assert.equal(1, status)
    assert.is_truthy(output:find("unknown option '-y'", 1, true))
    for _, option in ipairs { "-e", "-l", "-j" } do
      status, output = process.run(process.command(option))
      assert.equal(1, status)
      assert.is_truthy(output:find(option .. " needs an argument", 1, true))
    end
    for _, option in ipairs { "--watch=1", "--profile=", "--trace=all", "--memory-limit=x", "--leaks=maybe", "--more" } do
      status, output = process.run(process.command(option, "-e", "print 'never'"))
      assert.equal(1, status)
      assert.is_truthy(output:find("^moonring: .*" .. option:match "%-%-%a+":gsub("%-", "%%-")))
      assert.is_falsy(output:find("never", 1, true))
    end
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
      local child = process.start(scope, process.command("-e",
        "require('moonring').sleep(0.001) print 'here' io.flush() while true do end"))
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
        local status, output = run_injected("io_uring_setup:error=" .. code, process.command("-e",
          "require('moonring').sleep(0.001) print 'never'"))
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
