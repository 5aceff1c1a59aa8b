-- A REPL inside a running service: what goes over the socket, and who may.

local moonring = require "moonring"
local net, wire = require "moonring.net", require "moonring.repl.wire"
local process = require "spec.support.process"
local terminal = require "spec.support.terminal"
local eventually = require "spec.support.eventually"

local SERVICE = [[
  local moonring, repl = require "moonring", require "moonring.repl"
  counter = 41
  cancelled = false
  function wait()
    local ok, failure = pcall(moonring.sleep, 1000)
    cancelled = true
    error(failure, 0)
  end
  moonring.every(0.05, function() print "from the service" end)
  assert(repl.listen(arg[1]))
  print "ready"
]]

-- Runs body(socket, service) with a service that listens.
local function with_service(body)
  return function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir -m 700 " .. folder)
    local script = folder .. "/service.lua"
    local file = assert(io.open(script, "w"))
    file:write(SERVICE)
    file:close()
    local ok, failure = pcall(moonring.scope, function(scope)
      local service = process.start(scope, process.command(script, folder .. "/socket"))
      service:expect "ready"
      body(folder .. "/socket", service, scope)
    end)
    os.execute("rm -rf " .. folder)
    if not ok then error(failure, 0) end
  end
end

local function attach(socket, input)
  return process.run(("printf '%%s' %s | %s"):format(process.quote(input), process.command("attach", socket)))
end

describe("moonring attach", function()
  it("evaluates in the service, and ends with the last block's status", with_service(function(socket)
    local status, output = attach(socket, "counter + 1\nlocal x = 3\nfor i = 1, 2 do\nx = x * 2\nend\nx\n")
    assert.equal("42\n12\n", output)
    assert.equal(0, status)
    status, output = attach(socket, "error 'oh'\n")
    assert.equal("error: repl:1:1: oh\nstack traceback:\n\trepl:1:1: in function 'fn'\n", output)
    assert.equal(1, status)
  end))

  it("shows what the block prints, and leaves the service's output with the service", with_service(function(socket, service)
    local _, output = attach(socket, "print('to me') require('moonring').sleep(0.2)\n")
    assert.equal("to me\n", output)
    service:expect "from the service"
    assert.is_falsy(service:output():find("to me", 1, true))
  end))

  it("makes a socket that only its user can reach", with_service(function(socket)
    local _, mode = process.run("stat -c %a " .. socket)
    assert.equal("600\n", mode)
  end))

  it("refuses another user who has got hold of the socket", with_service(function(socket)
    if process.run("test $(id -u) = 0 && setpriv --reuid 65534 --regid 65534 --clear-groups true") ~= 0 then
      return pending "needs root and setpriv"
    end
    os.execute(("chmod 755 %s; chmod 777 %s"):format(socket:match "^(.*)/", socket))
    local status, output = process.run(("setpriv --reuid 65534 --regid 65534 --clear-groups %s </dev/null")
      :format(process.command("attach", socket)))
    assert.equal(1, status)
    assert.is_truthy(output:find("refused", 1, true), output)
    assert.equal("42\n", select(2, attach(socket, "counter + 1\n")))
  end))

  it("tells where nobody listens, and what it is used for", function()
    local status, output = process.run(process.command("attach", "/tmp/no/such/socket"))
    assert.equal(1, status)
    assert.is_truthy(output:find("^moonring: attach: .*ENOENT"), output)
    status, output = process.run(process.command "attach")
    assert.equal(1, status)
    assert.is_truthy(output:find("usage: moonring attach SOCKET", 1, true))
  end)

  it("cancels the block that runs when the terminal goes away", with_service(function(socket)
    moonring.scope(function(scope)
      local connection = scope:own(assert(net.connect { path = socket }))
      connection:write(wire.frame("hello", "80 false") .. wire.frame("run", "wait()"))
      assert(connection:read())
      moonring.sleep(0.1)
      connection:close(0)
    end)
    assert.is_true(eventually(function() return select(2, attach(socket, "cancelled\n")) == "true\n" end))
  end))

  it("lets go of who sends something else", with_service(function(socket)
    for _, bytes in ipairs { "GET / HTTP/1.1\r\n\r\n", "run 99999999999\n", "nonsense 0\n", ("x"):rep(100) } do
      moonring.timeout(5, function()
        moonring.scope(function(scope)
          local connection = scope:own(assert(net.connect { path = socket }))
          connection:write(bytes)
          while connection:read() do end
        end)
      end)
    end
    assert.equal("42\n", select(2, attach(socket, "counter + 1\n")))
  end))

  it("is a REPL at a terminal: completes, cancels, sees the service end", with_service(function(socket, service, scope)
    local repl = terminal.repl(scope, "attach " .. socket)
    repl:expect "attached to .*service.lua, process %d+\n> $"
    repl:type "coun"
    repl:press "Tab"
    repl:expect "> counter$"
    repl:press "Enter"
    repl:expect "\n41\n> $"
    repl:enter "wait()"
    moonring.sleep(0.2)
    repl:press "C-c"
    repl:expect "cancelled\n> $"
    repl:type "half a line"
    repl:expect "half a line$"
    service:kill "TERM"
    repl:expect "the service has ended the connection"
    assert.equal(1, repl:wait())
  end))
end)

describe("frames", function()
  it("are the same however their bytes are cut", function()
    local bytes = wire.frame("run", "a\nb") .. wire.frame "cancel" .. wire.frame("output", ("x"):rep(300))
    local wanted = assert(wire.decoder():feed(bytes))
    assert.equal(3, #wanted)
    for cut = 1, #bytes - 1 do
      local decoder, found = wire.decoder(), {}
      for _, piece in ipairs { bytes:sub(1, cut), bytes:sub(cut + 1) } do
        for _, frame in ipairs(assert(decoder:feed(piece))) do found[#found + 1] = frame end
      end
      assert.same(wanted, found)
    end
  end)
end)
