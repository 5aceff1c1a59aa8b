local moonring = require "moonring"
local net = require "moonring.net"
local address = require "moonring.net.address"
local dial = require "moonring.net.dial"
local virtual = require "moonring.test"
local system = require "spec.support.system"
local eventually = require "spec.support.eventually"

local function kinds_of(list)
  local out = {}
  for i, each in ipairs(list) do
    out[i] = tostring(each)
  end
  return table.concat(out, " ")
end

local function parse_all(...)
  local out = {}
  for i, text in ipairs { ... } do
    out[i] = assert(address.parse(text))
  end
  return out
end

-- An address at which connecting hangs: the queue of its listener is full, and the kernel drops what asks to get in.
local function blackhole(scope)
  local fd, port = system.deaf_listener()
  scope:own { close = function() system.close(fd) end }
  scope:own(assert(net.connect { port = port }))
  return ("127.0.0.1:%d"):format(port)
end

-- A port that refuses.
local function refusal()
  local listener = assert(net.listen {})
  local text = "127.0.0.1:" .. listener.port
  listener:close()
  moonring.sleep(0.005)
  return text
end

describe("happy eyeballs", function()
  it("let the families take turns, beginning with the preferred one", function()
    assert.equal("[::1]:1 127.0.0.1:1 [::2]:1 127.0.0.2:1 [::3]:1",
      kinds_of(dial.interleave(parse_all("[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"))))
    assert.equal("127.0.0.1:1 [::1]:1 127.0.0.2:1",
      kinds_of(dial.interleave(parse_all("127.0.0.1:1", "127.0.0.2:1", "[::1]:1"))))
    assert.equal("127.0.0.1:1", kinds_of(dial.interleave(parse_all "127.0.0.1:1")))
  end)

  it("take the preferred address when it answers, and try no other", function()
    moonring.scope(function(scope)
      local first, second = scope:own(assert(net.listen {})), scope:own(assert(net.listen {}))
      local connection = scope:own(assert(dial.connect({ first:address(), second:address() }, "it")))
      assert.equal(tostring(first:address()), tostring(connection:peer()))
      local name = moonring.select { other = second:accept_op(), late = moonring.sleep_op(0.02) }
      assert.equal("late", name)
    end)
  end)

  it("go on at once after a refusal", function()
    moonring.scope(function(scope)
      local good = scope:own(assert(net.listen {}))
      local delay = dial.ATTEMPT_DELAY
      scope:own { close = function() dial.ATTEMPT_DELAY = delay end }
      dial.ATTEMPT_DELAY = 3600 -- which nobody waits for
      local connection = scope:own(assert(moonring.timeout(20, dial.connect,
        parse_all(refusal(), refusal(), tostring(good:address())), "it")))
      assert.equal(tostring(good:address()), tostring(connection:peer()))
    end)
  end)

  it("begin the next attempt beside one that hangs, after 250 ms of it, and leave nothing of that", function()
    moonring.scope(function(scope)
      local hole = blackhole(scope)
      local good = scope:own(assert(net.listen {}))
      local before = moonring.stats()
      local started = moonring.now()
      local connection = scope:own(assert(dial.connect(parse_all(hole, tostring(good:address())), "it")))
      local took = moonring.now() - started
      assert.equal(tostring(good:address()), tostring(connection:peer()))
      assert.is_true(took >= dial.ATTEMPT_DELAY, took)
      assert.is_true(eventually(function() return moonring.stats().connections <= before.connections + 2 end))
    end)
  end)

  it("tell all failures, with the code of the preferred address", function()
    local first, second = refusal(), refusal()
    local connection, message, code = dial.connect(parse_all(first, second), "name:80")
    assert.is_nil(connection)
    assert.equal("ECONNREFUSED", code)
    assert.is_truthy(message:find("connect to name:80: all 2 addresses have failed", 1, true), message)
    assert.is_truthy(message:find(first, 1, true))
    assert.is_truthy(message:find(second, 1, true))
  end)

  it("end with the scope's deadline, and with its cancellation, leaving nothing", function()
    local before = moonring.stats()
    moonring.scope(function(scope)
      local hole = blackhole(scope)
      local list = parse_all(hole, hole, hole)
      local ok, failure = pcall(moonring.timeout, 0.3, dial.connect, list, "it")
      assert.is_false(ok)
      assert.equal("deadline", failure.code)
      local task = scope:spawn(dial.connect, list, "it")
      moonring.sleep(0.01)
      task:cancel()
      ok = task:join()
      assert.is_false(ok)
    end)
    assert.is_true(eventually(function() return moonring.stats().connections <= before.connections end))
    assert.equal(before.tasks, moonring.stats().tasks)
  end)

  it("close what has connected when they are cancelled while the other attempts still end", function()
    local before = moonring.stats()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local list = parse_all(blackhole(scope), tostring(listener:address()))
      local dialer = scope:spawn(dial.connect, list, "it"):named "dialer"
      local function waits_for(reports)
        for _, report in ipairs(reports) do
          local found = report.name == "dialer" and report.waiting_on or waits_for(report.children)
          if found then return found end
        end
      end
      while waits_for(moonring.tasks()) ~= "its children" do -- it has won, and is about to return
        assert.is_false(dialer:has_ended())
        moonring.sleep(0)
      end
      dialer:cancel()
      assert.is_false((dialer:join()))
    end)
    collectgarbage()
    assert.is_true(eventually(function() return moonring.stats().connections <= before.connections end))
    assert.equal(before.forgotten, moonring.stats().forgotten)
  end)

  it("stagger the attempts by the clock, also a virtual one", function()
    moonring.scope(function(scope)
      local hole = blackhole(scope)
      virtual.virtual_clock(function()
        local started = moonring.now()
        local ok, failure = pcall(moonring.timeout, 10, dial.connect, parse_all(hole, hole, hole), "it")
        assert.is_false(ok)
        assert.equal("deadline", failure.code)
        assert.equal(10, moonring.now() - started)
      end)
    end)
  end)
end)

describe("net.connect", function()
  it("tries both families of localhost", function()
    moonring.scope(function(scope)
      local six = net.listen { host = "::1", ipv6_only = true }
      if not six then return pending "no IPv6 here" end
      scope:own(six)
      local connection = scope:own(assert(net.connect { host = "localhost", port = six.port }))
      assert.equal("::1", connection:peer().host)
      local four = scope:own(assert(net.listen {}))
      connection = scope:own(assert(net.connect { host = "localhost", port = four.port }))
      assert.equal("127.0.0.1", connection:peer().host)
    end)
  end)

  it("asks moonring.dns for names", function()
    local real = package.loaded["moonring.dns"]
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      package.loaded["moonring.dns"] = {
        resolve = function(name)
          if name == "missing.example" then return nil, "missing.example: there is no such name", "ENOTFOUND" end
          assert.equal("service.example", name)
          return parse_all("127.0.0.9:0", "127.0.0.1:0")
        end,
      }
      local connection = scope:own(assert(net.connect { host = "service.example", port = listener.port, nodelay = false }))
      assert.equal("127.0.0.1", connection:peer().host)
      assert.is_false(connection:get "nodelay")
      local missing, message, code = net.connect { host = "missing.example", port = 1 }
      assert.is_nil(missing)
      assert.equal("ENOTFOUND", code)
      assert.is_truthy(message:find("no such name", 1, true))
    end)
    package.loaded["moonring.dns"] = real
  end)
end)

describe("net.connect_op", function()
  it("gives the connection, or the failure, to a select", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local attempt = net.connect_op { port = listener.port }
      local name, connection = moonring.select { made = attempt, late = moonring.sleep_op(5) }
      assert.equal("made", name)
      scope:own(connection)
      local none, _, code = net.connect_op({ address = address.parse(refusal()) }):perform()
      assert.is_nil(none)
      assert.equal("ECONNREFUSED", code)
    end)
  end)

  it("gives the attempt up when another operation is done", function()
    local before = moonring.stats()
    moonring.scope(function(scope)
      local hole = blackhole(scope)
      local attempt = net.connect_op { address = address.parse(hole) }
      local name = moonring.select { made = attempt, late = moonring.sleep_op(0.01) }
      assert.equal("late", name)
    end)
    assert.is_true(eventually(function() return moonring.stats().connections <= before.connections end))
    assert.equal(before.tasks, moonring.stats().tasks)
  end)
end)
