-- What an author sees who has made a mistake: the line of the script, what is wrong, and no frame of moonring's own.

local moonring, errors, net = require "moonring", require "moonring.errors", require "moonring.net"
local process = require "moonring.process"
local executable = require("spec.support.process").command():match "^'?([^' ]+)"

-- Runs a script, standard output and standard error together.
local function run(script)
  local status, output = process.run { executable, "-", input = script, stderr = "stdout" }
  return output, status
end

local function failure_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return failure
end

describe("an error that is raised", function()
  it("names the caller's line, however deep in moonring it was raised", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local failure = failure_of(function() net.listen { prot = 1 } end)
    assert.equal("spec/errors_spec.lua:" .. line, failure.place)
    assert.equal(failure.place .. ": " .. failure.message, tostring(failure))
    assert.equal("log: " .. tostring(failure), "log: " .. failure)
    assert.equal(tostring(failure) .. "!", failure .. "!")
  end)

  it("is told at the top with that line, and a traceback of the script's own frames", function()
    local output, status = run [[
      local buffer = require "moonring.buffer"
      local function work(b) b:write "y" end
      local b = buffer.allocate(16)
      b:release()
      work(b)
    ]]
    assert.equal(1, status.code)
    assert.equal([[
moonring: stdin:2: write: the buffer has been released
stack traceback:
	stdin:2: in function 'work'
	stdin:5: in function 'chunk'
]], output)
  end)

  it("has no traceback when there is nothing of the script's in it", function()
    assert.equal("moonring: stdin:1: unexpected symbol near '='\n", (run "local x = = 3"))
    local _, output = process.run { executable, "/nonexistent.lua", stderr = "stdout" }
    assert.equal("moonring: cannot open /nonexistent.lua: No such file or directory\n", output)
  end)

  it("that is a table shows what is in it", function()
    local output = run [[require("moonring").spawn(function() error { code = 7, why = "x" } end)]]
    assert.matches('^moonring: an error that is a table: { code = 7, why = "x" }\n', output)
    assert.matches("spawned at stdin:1\n$", output)
  end)

  it("keeps its own traceback when a close fails behind it", function()
    local output = run [[
      require("moonring").scope(function(scope)
        scope:own { close = function() error "second" end }
        error "first"
      end)
    ]]
    assert.matches("moonring: stdin:3: first\nstack traceback:\n\tstdin:3: in function", output)
  end)
end)

describe("an option that is not known", function()
  it("is refused with the known ones, and the one that is probably meant", function()
    for name, meant in pairs { prot = "port", nodely = "nodelay", reuseport = "reuse_port", backlgo = "backlog" } do
      local failure = failure_of(net.listen, { [name] = 1 })
      assert.equal("argument", failure.code)
      assert.matches(("no option '%s', '%s' may be meant; known are address, "):format(name, meant), failure.message)
    end
    assert.matches("no option 'something'; known", failure_of(net.listen, { something = 1 }).message)
    assert.matches("no option '1'; known", failure_of(net.listen, { 1 }).message)
  end)

  it("is refused everywhere", function()
    local http = require "moonring.http"
    for call, options in pairs {
      [net.connect] = { prt = 1 }, [net.datagram] = { bind = 1 }, [http.server] = { timeout = 1 },
      [process.spawn] = { "x", stdot = 1 },
      [moonring.pool] = { open = print, sise = 1 }, [require("moonring.fs").temporary_file] = { name = true },
    } do
      local failure = failure_of(call, options)
      assert.equal("argument", failure.code)
      assert.matches("there is no option '", failure.message)
    end
  end)
end)

describe("a mistake that is easily made", function()
  local moment = { spawn = function() moonring.spawn(nil) end }

  function moment.dot()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local connection = scope:own(assert(net.connect { port = listener.port }))
      connection.write "x"
    end)
  end

  function moment.select() moonring.select { a = moonring.channel() } end

  function moment.pool()
    moonring.scope(function()
      moonring.pool({ open = function() return {} end }):acquire()
    end)
  end

  function moment.serve() require("moonring.http").serve(8080, print) end

  function moment.port() net.connect { port = 99999 } end

  function moment.host() net.listen { host = "example.test" } end

  local messages = {
    spawn = "not a nil; its arguments come behind it: moonring%.spawn%(fn, %.%.%.%)", dot = "called with a colon",
    select = "is a moonring%.Channel, not an operation: channel:receive_op",
    pool = "has no close method; give the option close",
    serve = "options such as { port = 8080 }", port = "the port is 99999, not a number from 0 to 65535",
    host = "the host is example%.test, not a numeric address",
  }

  for name, message in pairs(messages) do
    it("(" .. name .. ") is told with the way out", function()
      local failure = failure_of(moment[name])
      assert.is_true(errors.is(failure, "argument"))
      assert.matches(message, failure.message)
      assert.matches("^spec/errors_spec%.lua:%d+$", failure.place)
    end)
  end
end)
