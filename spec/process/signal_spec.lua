local moonring = require "moonring"
local signal = require "moonring.signal"
local errors = require "moonring.errors"
local support = require "spec.support.process"
local eventually = require "spec.support.eventually"
local failures = require "spec.support.failures"

local refused = failures.refused

local function send(name)
  os.execute(("kill -%s %d"):format(name, support.own_pid))
end

-- Whether a process, this one unless another is given, catches the signal.
local function is_caught(name, pid)
  local mask = tonumber(io.open(("/proc/%s/status"):format(pid or "self")):read("*a"):match "SigCgt:%s*(%x+)", 16)
  return math.floor(mask / 2 ^ (signal.number(name) - 1)) % 2 == 1
end

describe("moonring.signal", function()
  it("waits for a signal, and gives it back when it is closed", function()
    assert.is_false(is_caught "USR2")
    moonring.scope(function(scope)
      local subscription = scope:own(moonring.signal "USR2")
      assert.is_true(is_caught "USR2")
      send "USR2"
      assert.equal("USR2", subscription:wait())
      assert.equal("late", (moonring.select { signal = subscription:wait_op(), late = moonring.sleep_op(0.01) }))
      send "USR2"
      local name, which = moonring.select { signal = subscription:wait_op(), late = moonring.sleep_op(5) }
      assert.equal("signal", name)
      assert.equal("USR2", which)
    end)
    assert.is_false(is_caught "USR2")
  end)

  it("gives every subscription every signal, once for several that came together", function()
    moonring.scope(function(scope)
      local first, second = scope:own(moonring.signal("USR2", "SIGHUP")), scope:own(moonring.signal(12))
      for _ = 1, 3 do
        send "USR2"
      end
      moonring.sleep(0.01)
      assert.equal("USR2", first:wait())
      assert.equal("USR2", second:wait())
      send "HUP"
      assert.equal("HUP", first:wait())
      assert.equal("late", (moonring.select { a = first:wait_op(), b = second:wait_op(), late = moonring.sleep_op(0.01) }))
      first:close()
      send "USR2"
      assert.equal("USR2", second:wait())
    end)
    assert.is_false(is_caught "HUP")
  end)

  it("hands a signal to one of the tasks that wait on one subscription, and forgets a wait that was left", function()
    moonring.scope(function(scope)
      local subscription = scope:own(moonring.signal "USR2")
      local ok, failure = pcall(moonring.timeout, 0.01, subscription.wait, subscription)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "deadline"))
      local got = {}
      for i = 1, 2 do
        scope:spawn(function()
          local name = subscription:wait()
          got[#got + 1] = { i, name }
        end)
      end
      moonring.sleep(0)
      send "USR2"
      assert.is_true(eventually(function() return #got == 1 end))
      assert.same({ 1, "USR2" }, got[1])
      subscription:close()
      assert.is_true(eventually(function() return #got == 2 end))
      assert.same({ 2 }, got[2])
      assert.is_nil(subscription:wait())
    end)
  end)

  it("ends its iteration when it is closed", function()
    moonring.scope(function(scope)
      local subscription = moonring.signal "USR2"
      local count = 0
      local task = scope:spawn(function()
        for _ in subscription:each() do
          count = count + 1
        end
      end)
      moonring.sleep(0)
      send "USR2"
      assert.is_true(eventually(function() return count == 1 end))
      subscription:close()
      assert.is_true((task:join()))
    end)
  end)

  it("refuses what can't be caught, and what is none", function()
    for _, name in ipairs { "KILL", "STOP", "SEGV", "FPE" } do
      refused("argument", name .. " can't be caught", moonring.signal, name)
    end
    refused("argument", "a signal such as", moonring.signal, "NOSUCH")
    refused("argument", "a signal such as", moonring.signal, 65)
    refused("argument", "a signal such as", moonring.signal, 32)
    refused("argument", "a signal such as", moonring.signal, {})
    refused("argument", "the name of a signal", moonring.signal)
    refused("argument", "KILL", moonring.signal, "USR2", "KILL")
    assert.is_false(is_caught "USR2")
  end)

  it("knows names and numbers", function()
    assert.equal(1, signal.number "HUP")
    assert.equal(15, signal.number "SIGTERM")
    assert.equal("HUP", signal.name(1))
    assert.equal("RTMIN", signal.name(34))
    assert.equal(36, signal.number "RTMIN+2")
    assert.is_nil(signal.name(33))
    assert.is_nil(signal.name(0))
  end)
end)

describe("in the executable, a script", function()
  it("takes SIGINT, SIGTERM and SIGHUP over, and gives them back", function()
    moonring.scope(function(scope)
      local child = support.start(scope, support.command("-e", [[
        local moonring = require "moonring"
        local subscription = moonring.signal("INT", "TERM", "HUP")
        io.stderr:write "ready\n"
        for name in subscription:each() do
          io.stderr:write("got ", name, "\n")
          if name == "HUP" then break end
        end
        subscription:close()
        io.stderr:write "closed\n"
        moonring.sleep(60)
      ]]))
      child:expect "ready"
      for _, name in ipairs { "INT", "TERM", "HUP" } do
        child:kill(name)
        child:expect("got " .. name)
      end
      child:expect "closed"
      child:kill "TERM"
      assert.is_true(child:wait())
    end)
  end)

  it("waits for nothing but a signal without that being a deadlock", function()
    moonring.scope(function(scope)
      local child = support.start(scope, support.command("-e", [[
        io.stderr:write("got ", require("moonring").signal("USR2"):wait(), "\n")
      ]]))
      assert.is_true(eventually(function() return is_caught("USR2", child.pid) end, 20))
      moonring.sleep(0.05) -- it has most likely begun to wait; when not, the signal is kept for it
      child:kill "USR2"
      child:expect "got USR2\n$"
      assert.is_true(child:wait())
    end)
  end)

  it("gets a signal that comes while it computes, twice", function()
    local status, output = support.run(support.command("-e", [[
      local moonring = require "moonring"
      local subscription = moonring.signal("USR2", "TERM")
      local pid = io.open("/proc/self/stat"):read "*n"
      for _ = 1, 2 do os.execute("kill -USR2 " .. pid .. "; kill -TERM " .. pid) end
      print(subscription:wait(), subscription:wait())
      print(moonring.select { signal = subscription:wait_op(), none = moonring.sleep_op(0.01) })
    ]]))
    assert.equal(0, status)
    assert.equal("USR2\tTERM\nnone\n", output)
  end)

  it("that forgets its subscription has given the signal back", function()
    local status, output = support.run(support.command("-e", [[
      local moonring = require "moonring"
      moonring.signal("TERM", "USR2")
      collectgarbage() collectgarbage()
      local pid = io.open("/proc/self/stat"):read "*n"
      moonring.scope(function(scope)
        scope:own { close = function() io.stderr:write "in order\n" end }
        os.execute("kill -TERM " .. pid)
        moonring.sleep(60)
      end)
    ]]))
    assert.equal(143, status)
    assert.is_truthy(output:find "^in order\n")
  end)

  it("sees a signal that its parent had left blocked", function()
    local status, output = support.run(
      "perl -e 'use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR2)); exec @ARGV' -- " .. support.command("-e", [[
      local subscription = require("moonring").signal "USR2"
      os.execute("kill -USR2 " .. io.open("/proc/self/stat"):read "*n")
      print(subscription:wait())
    ]]))
    assert.equal(0, status)
    assert.equal("USR2\n", output)
  end)
end)
