local moonring = require "moonring"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"

local function find(reports, name)
  for _, report in ipairs(reports) do
    if report.name == name then return report end
    local found = find(report.children, name)
    if found then return found end
  end
end

-- Runs a script and returns its status and output.
local function run(code)
  return process.run("timeout -s KILL 20 " .. process.command("-e", code))
end

describe("moonring.tasks", function()
  it("gives the tree with names, waits, ages, tracebacks and spawners", function()
    moonring.scope(function(scope)
      local channel = moonring.channel()
      local function wait_for_work() return channel:receive() end
      local worker = scope:spawn(function()
        moonring.spawn(moonring.sleep, 60):named "sleeper"
        local work = wait_for_work()
        return work
      end):named "worker"
      moonring.sleep(0.02)
      local report = find(moonring.tasks(), "worker")
      assert.equal("waiting", report.state)
      assert.equal("channel:receive", report.waiting_on)
      assert.is_true(report.waiting_seconds > 0.005 and report.waiting_seconds < 5)
      assert.is_true(report.age >= report.waiting_seconds)
      assert.matches("inspect_spec%.lua:%d+", report.spawned_at)
      assert.matches("wait_for_work", report.traceback)
      assert.equal("sleeper", report.children[1].name)
      assert.equal("sleep", report.children[1].waiting_on)
      worker:cancel()
    end)
    assert.is_nil(find(moonring.tasks(), "worker"))
  end)

  it("shows the innermost coroutine, and the running task", function()
    moonring.scope(function(scope)
      local function waits_inside() moonring.sleep(60) end
      local child = scope:spawn(function()
        local result = coroutine.wrap(function()
          local inner = coroutine.wrap(function() waits_inside() end)()
          return inner
        end)()
        return result
      end):named "nested"
      moonring.sleep(0)
      assert.matches("waits_inside", find(moonring.tasks(), "nested").traceback)
      moonring.current():named "me"
      assert.equal("running", find(moonring.tasks(), "me").state)
      moonring.current().name = nil
      child:cancel()
    end)
  end)

  it("is printed on SIGUSR1", function()
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("-e", [[
        local moonring = require "moonring"
        moonring.spawn(function() moonring.event():wait() end):named "waits for Godot"
        io.write("up\n")
        moonring.sleep(60)
      ]]))
      child:expect "up"
      moonring.sleep(0.1) -- most often it waits by then; when it doesn't, it is asked again
      eventually(function()
        child:kill "USR1"
        moonring.sleep(0.1)
        return child:output():find "waits for Godot: waits for event:wait since"
      end)
      child:expect "task %d+ main: waits for sleep since.*waits for Godot: waits for event:wait since"
      assert.is_true(child:is_running())
    end)
  end)
end)

describe("the watchdog", function()
  local function script(hog)
    return ([[
      local moonring = require "moonring"
      moonring.watchdog(0.1)
      local function computes()
        %s
        moonring.sleep(0.01)
      end
      moonring.spawn(function() computes() end):named "the hog"
      for _ = 1, 5 do moonring.sleep(0.01) end
    ]]):format(hog)
  end

  it("reports a task that computes for too long, with its name and traceback", function()
    local status, output = run(script "local t = os.clock() while os.clock() - t < 0.4 do end")
    assert.equal(0, status)
    assert.is_true(tonumber(output:match "the loop has been held for ([%d.]+%d)") >= 0.1, output)
    assert.matches("Task %d+ the hog .* has held the loop", output)
    assert.matches("it is here:.-in function 'computes'", output)
    assert.matches("spawned at %(command line%):%d+", output:gsub("%[string.-%]", "(command line)"))
  end)

  it("reports where a task blocks", function()
    local _, output = run(script "os.execute('sleep 0.4')")
    assert.matches("the hog .-it is here:\n[^\n]+\n[^\n]+:5: in function 'computes'", output)
  end)

  it("reports from within a coroutine of the user's own, and from a compiled loop when that ends", function()
    local _, output = run(script [=[
      local function spins()
        local sum, start = 0, moonring.now()
        while moonring.now() - start < 0.4 do
          for i = 1, 1e6 do sum = sum + i % 7 end
        end
      end
      coroutine.wrap(spins)()
    ]=])
    assert.matches("the hog .-it is here:.-in function <.-inside of:.-in function 'computes'", output)
  end)

  it("leaves a hook of the script's own in its place", function()
    local _, output = run [[
      local moonring = require "moonring"
      jit.off()
      moonring.watchdog(0.1)
      local calls = 0
      debug.sethook(function() calls = calls + 1 end, "c")
      local t = os.clock()
      while os.clock() - t < 0.3 do end
      local before = calls
      tostring(1)
      print(calls > before and "still there")
    ]]
    assert.matches("has held the loop", output)
    assert.matches("still there", output)
  end)

  it("says nothing of a loop that is idle, or busy with many", function()
    local status, output = run [[
      local moonring = require "moonring"
      moonring.watchdog(0.1)
      moonring.sleep(0.4)
      for _ = 1, 40 do
        moonring.spawn(function()
          local start = moonring.now()
          while moonring.now() - start < 0.01 do end
        end)
      end
    ]]
    assert.equal(0, status)
    assert.equal("", output)
  end)

  it("refuses what is no time", function()
    for _, seconds in ipairs { -1, 0 / 0, "x" } do
      local ok, failure = pcall(moonring.watchdog, seconds)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)
end)

describe("a deadlock", function()
  it("is reported with the tasks, and ends the process with its scopes in order", function()
    local status, output = run [[
      local moonring = require "moonring"
      moonring.scope(function(scope)
        scope:own { close = function() io.stdout:write("released\n") end }
        scope:spawn(function() moonring.channel():receive() end):named "stuck"
        moonring.event():wait()
      end)
    ]]
    assert.equal(1, status)
    assert.matches("deadlock: every task waits", output)
    assert.matches("stuck: waits for channel:receive", output)
    assert.matches("released", output)
  end)

  it("is found after connections, timers and signals have been at work, whatever of them is still known inside", function()
    local status, output = run [[
      local moonring, net = require "moonring", require "moonring.net"
      moonring.watchdog(10)
      moonring.scope(function(scope)
        local listener = scope:own(assert(net.listen {}))
        local client = scope:own(assert(net.connect { port = listener.port }))
        local server = scope:own(assert(listener:accept()))
        client:write(("x"):rep(1000000))
        for _ = 1, 3 do server:read() end
        moonring.after(60, print):cancel()
        pcall(moonring.timeout, 0.01, server.write, server, ("y"):rep(100000000))
        pcall(moonring.timeout, 0.01, listener.accept, listener)
        client:close(0)
        server:close(0)
      end)
      moonring.event():wait()
    ]]
    assert.equal(1, status)
    assert.matches("deadlock: every task waits", output)
  end)

  it("is not seen where a peer may still come", function()
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("-e", [[
        local moonring, net = require "moonring", require "moonring.net"
        local listener = net.listen {}
        print("up")
        moonring.event():wait()
      ]]))
      child:expect "up"
      moonring.sleep(0.2)
      assert.is_true(child:is_running())
    end)
  end)

  it("ends the process also when a task does not let itself be cancelled", function()
    local status, output = run [[
      local moonring = require "moonring"
      moonring.shield(math.huge, function() moonring.event():wait() end)
    ]]
    assert.equal(1, status)
    assert.matches("deadlock", output)
  end)

  it("is not what a service is in that waits for connections", function()
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("-e", [[
        io.write("up\n")
        require("moonring.net").serve({ port = 0 }, function() end)
      ]]))
      child:expect "up"
      moonring.sleep(0.1)
      assert.is_true(child:is_running())
    end)
  end)
end)

describe("a failure at the top", function()
  it("prints the traceback of the task that failed and the place that spawned it", function()
    local status, output = run [[
      local moonring = require "moonring"
      local function breaks() error("broken") end
      moonring.spawn(function() breaks() end)
      moonring.sleep(1)
    ]]
    assert.equal(1, status)
    assert.matches("broken", output)
    assert.matches("in function 'breaks'", output)
    assert.matches("spawned at", output)
  end)
end)

describe("memory", function()
  it("is where it was after a million tasks", function()
    local function spawn(times)
      for _ = 1, times do
        moonring.scope(function(scope)
          for _ = 1, 100 do
            scope:spawn(function() end)
          end
        end)
      end
      jit.flush() -- the compiler's traces are not what is measured
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    -- A leak grows in every round, tables and stacks, whose sizes are powers of two, only in some.
    local before, growth = spawn(100), nil
    for round = 1, 12 do
      local now = spawn(2500)
      growth, before = now - before, now
      if round >= 4 and growth < 25 then break end
    end
    assert.is_true(growth < 25, growth .. " KiB in a round")
  end)

  it("of ten thousand waiting tasks is less than 1.5 KiB each", function()
    local _, output = run [[
      local moonring = require "moonring"
      local function memory()
        collectgarbage()
        collectgarbage()
        return tonumber(io.open("/proc/self/status"):read("*a"):match("VmRSS:%s*(%d+)"))
      end
      local before = memory()
      local event = moonring.event()
      for _ = 1, 10000 do
        moonring.spawn(function() event:wait() end)
      end
      moonring.sleep(0.05)
      print(("each=%d"):format((memory() - before) * 1024 / 10000))
      event:set()
    ]]
    local each = tonumber(output:match("each=(%d+)"))
    if not (os.getenv("MOONRING") or ""):find("sanitize") then assert.is_true(each < 1536, each .. " bytes each") end
  end)
end)
