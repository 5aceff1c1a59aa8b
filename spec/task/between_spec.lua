local moonring = require "moonring"
local net = require "moonring.net"
local test = require "moonring.test"

local function code_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  return not ok and type(failure) == "table" and failure.code or nil, failure
end

-- Runs fn as a task until it waits, cancels it there and waits for its end.
local function cancelled_while_waiting(fn)
  moonring.scope(function(scope)
    local child = scope:spawn(fn)
    moonring.sleep(0)
    child:cancel()
    child:join()
  end)
end

describe("a channel", function()
  for _, capacity in ipairs { 0, 1, 3, 100 } do
    it("hands values over in order, with capacity " .. capacity, function()
      local got = {}
      moonring.scope(function(scope)
        local channel = moonring.channel(capacity)
        scope:spawn(function()
          for i = 1, 50 do
            assert.is_true(channel:send(i))
          end
          channel:close()
        end)
        for value in channel:values() do
          got[#got + 1] = value
          if value % 7 == 0 then moonring.sleep(0) end
        end
      end)
      assert.equal(50, #got)
      for i = 1, 50 do
        assert.equal(i, got[i])
      end
    end)
  end

  it("holds at most its capacity", function()
    local channel = moonring.channel(2)
    assert.is_true(channel:try_send(1))
    assert.is_true(channel:try_send(2))
    assert.is_false(channel:try_send(3))
    assert.equal(2, channel:count())
    assert.equal("deadline", (code_of(moonring.timeout, 0.01, channel.send, channel, 3)))
    assert.equal(1, channel:receive())
    assert.equal(2, channel:receive())
    assert.is_nil((channel:try_receive()))
  end)

  it("serves receivers and senders in the order of their coming", function()
    local log = {}
    moonring.scope(function(scope)
      local channel = moonring.channel()
      for i = 1, 5 do
        scope:spawn(function()
          local value = channel:receive()
          log[#log + 1] = i .. value
        end)
      end
      moonring.sleep(0)
      for i = 1, 5 do
        channel:send("v" .. i)
      end
    end)
    assert.same({ "1v1", "2v2", "3v3", "4v4", "5v5" }, log)
  end)

  it("gives what is in it after it was closed, and then nil", function()
    local channel = moonring.channel(2)
    channel:send "a"
    channel:close()
    channel:close()
    local ok, message, code = channel:send "b"
    assert.is_nil(ok)
    assert.matches("closed", message)
    assert.equal("closed", code)
    assert.equal("a", channel:receive())
    assert.is_nil(channel:receive())
    assert.same({ nil, false, n = 2 }, { n = 2, channel:try_receive() })
  end)

  it("wakes its waiters when it is closed", function()
    moonring.scope(function(scope)
      local channel, other = moonring.channel(), moonring.channel()
      local receiver = scope:spawn(function() return channel:receive() end)
      local sender = scope:spawn(function() return other:send(1) end)
      moonring.sleep(0)
      channel:close()
      other:close()
      assert.same({ true }, { receiver:join() })
      local _, sent, _, code = sender:join()
      assert.is_nil(sent)
      assert.equal("closed", code)
    end)
  end)

  it("forgets a cancelled receiver, and gives the value to the next", function()
    local channel = moonring.channel()
    cancelled_while_waiting(function() channel:receive() end)
    assert.is_true(channel.receivers:is_empty())
    assert.is_false(channel:try_send "nobody")
    moonring.scope(function(scope)
      local receiver = scope:spawn(function() return channel:receive() end)
      channel:send "kept"
      assert.same({ true, "kept" }, { receiver:join() })
    end)
  end)

  it("forgets a cancelled sender and its value", function()
    local channel = moonring.channel()
    cancelled_while_waiting(function() channel:send "lost by intent" end)
    assert.is_true(channel.senders:is_empty())
    assert.is_nil((channel:try_receive()))
  end)

  it("wakes the next receiver when the first was woken and then cancelled", function()
    moonring.scope(function(scope)
      local channel, got = moonring.channel(4), {}
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = scope:spawn(function()
          local value = channel:receive()
          got[#got + 1] = value
        end)
      end
      moonring.sleep(0)
      channel:send "x"
      tasks[1]:cancel()
      channel:send "y"
      channel:send "z"
      moonring.sleep(0)
      assert.same({ "x", "y", "z" }, got)
    end)
  end)

  it("refuses nil", function()
    assert.equal("argument", (code_of(function() moonring.channel(1):send(nil) end)))
  end)

  it("leaves nothing of a hundred thousand waiters that gave up", function()
    local channel = moonring.channel()
    moonring.scope(function(scope)
      local stays = scope:spawn(function() return channel:receive() end)
      moonring.sleep(0)
      local function give_up(times)
        for _ = 1, times do
          moonring.select { now = channel:receive_op(), later = moonring.sleep_op(0) }
          local waiter = scope:spawn(channel.receive, channel)
          moonring.sleep(0)
          waiter:cancel()
          waiter:join()
        end
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      local before = give_up(100000) -- by now everything is compiled that will be
      local growth = give_up(100000) - before
      assert.is_true(growth < 1024, growth .. " KiB") -- ten bytes each: no waiters
      assert.equal(1, channel.receivers:count())
      channel:send "end"
      assert.same({ true, "end" }, { stays:join() })
    end)
  end)
end)

describe("a semaphore", function()
  it("lets in so many at once, in the order of their coming", function()
    local inside, most, log = 0, 0, {}
    moonring.scope(function(scope)
      local semaphore = moonring.semaphore(3)
      for i = 1, 10 do
        scope:spawn(function()
          semaphore:with(function()
            inside = inside + 1
            most = math.max(most, inside)
            log[#log + 1] = i
            moonring.sleep(0.001)
            inside = inside - 1
          end)
        end)
      end
    end)
    assert.equal(3, most)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, log)
  end)

  it("is not owned for ever by a waiter that was cancelled", function()
    local semaphore = moonring.semaphore()
    semaphore:acquire()
    cancelled_while_waiting(function() semaphore:acquire() end)
    assert.equal(0, semaphore:waiting())
    semaphore:release()
    assert.is_true(semaphore:try_acquire())
  end)

  it("is not owned for ever by a waiter that got it and was cancelled in the same turn", function()
    local semaphore = moonring.semaphore()
    semaphore:acquire()
    moonring.scope(function(scope)
      local waiter = scope:spawn(semaphore.with, semaphore, moonring.sleep, 60)
      moonring.sleep(0)
      semaphore:release()
      waiter:cancel()
    end)
    assert.is_true(semaphore:try_acquire())
  end)

  it("queues nobody who does not want to wait", function()
    local semaphore = moonring.semaphore()
    assert.is_true(semaphore:try_acquire())
    assert.is_false(semaphore:try_acquire())
    assert.equal("deadline", (code_of(moonring.timeout, 0, semaphore.acquire, semaphore)))
    assert.equal("late", (moonring.select { got = semaphore:acquire_op(), late = moonring.sleep_op(0) }))
    assert.equal(0, semaphore:waiting())
    semaphore:release()
    assert.is_true(semaphore:try_acquire())
  end)

  it("wakes the next waiter when the head of the queue is cancelled", function()
    moonring.scope(function(scope)
      local semaphore = moonring.semaphore()
      semaphore:acquire()
      local head = scope:spawn(semaphore.acquire, semaphore)
      local following = scope:spawn(semaphore.acquire, semaphore)
      moonring.sleep(0)
      head:cancel()
      semaphore:release()
      assert.is_true((following:join()))
    end)
  end)

  it("gives the permit back when the function fails", function()
    local semaphore = moonring.semaphore()
    assert.is_false(pcall(semaphore.with, semaphore, error, "x"))
    assert.is_true(semaphore:try_acquire())
  end)

  it("refuses more permits than it has", function()
    assert.equal("overflow", (code_of(function() moonring.semaphore():release() end)))
    assert.equal("argument", (code_of(moonring.semaphore, 0)))
  end)
end)

describe("an event", function()
  it("wakes twenty thousand waiters at once, and who comes later", function()
    local event, count = moonring.event(), 0
    moonring.scope(function(scope)
      for _ = 1, 20000 do
        scope:spawn(function()
          event:wait()
          count = count + 1
        end)
      end
      moonring.sleep(0)
      assert.equal(0, count)
      event:set()
      moonring.sleep(0)
      assert.equal(20000, count)
      event:wait()
      event:reset()
      assert.equal("deadline", (code_of(moonring.timeout, 0.001, event.wait, event)))
      assert.is_true(event.queue:is_empty())
    end)
  end)
end)

describe("a pool", function()
  local function counted(log)
    local opened = 0
    return function()
      opened = opened + 1
      local name = "r" .. opened
      return { name = name, close = function() log[#log + 1] = name end }
    end
  end

  it("lends what was given back last, and closes the idle ones when it ends", function()
    local log = {}
    moonring.scope(function()
      local pool = moonring.pool { open = counted(log), size = 2 }
      local first, second = pool:acquire(), pool:acquire()
      pool:release(first)
      pool:release(second)
      assert.equal(second, pool:acquire())
      pool:release(second)
      assert.same({ idle = 2, lent = 0, waiting = 0 }, pool:stats())
    end)
    assert.same({ "r2", "r1" }, log)
  end)

  it("makes the next wait in line until one is given back", function()
    local order = {}
    moonring.scope(function(scope)
      local pool = moonring.pool { open = counted {}, size = 1 }
      for i = 1, 4 do
        scope:spawn(function()
          pool:use(function(resource)
            order[#order + 1] = i .. resource.name
            moonring.sleep(0.001)
          end)
        end)
      end
    end)
    assert.same({ "1r1", "2r1", "3r1", "4r1" }, order)
  end)

  it("can be chosen among other waits, and opens after the choice", function()
    moonring.scope(function()
      local opened = 0
      local pool = moonring.pool { size = 1, open = function()
        moonring.sleep(0)
        opened = opened + 1
        return { close = function() end }
      end }
      local name, first = moonring.select { one = pool:acquire_op(), late = moonring.sleep_op(60) }
      assert.equal("one", name)
      assert.equal(1, opened)
      assert.equal("late", (moonring.select { one = pool:acquire_op(), late = moonring.sleep_op(0.001) }))
      assert.same({ idle = 0, lent = 1, waiting = 0 }, pool:stats())
      moonring.after(0.001, function() pool:release(first) end)
      assert.equal(first, pool:acquire_op():perform())
      pool:close()
      assert.equal("closed", (code_of(function() pool:acquire_op():perform() end)))
      pool:release(first)
    end)
  end)

  it("applies deadlines to waiting and keeps no trace of who gave up", function()
    moonring.scope(function()
      local pool = moonring.pool { open = counted {}, size = 1 }
      local lent = pool:acquire()
      assert.equal("deadline", (code_of(moonring.timeout, 0.005, pool.acquire, pool)))
      assert.equal("deadline", (code_of(moonring.timeout, 0, pool.acquire, pool)))
      assert.equal(0, pool:stats().waiting)
      pool:release(lent)
      assert.equal(lent, pool:acquire())
      pool:release(lent)
    end)
  end)

  it("closes what was idle for too long", function()
    local log = {}
    test.virtual_clock(function()
      local pool = moonring.pool { open = counted(log), idle = 10 }
      local first, second = pool:acquire(), pool:acquire()
      pool:release(first)
      moonring.sleep(6)
      pool:release(second)
      moonring.sleep(5)
      assert.same({ "r1" }, log)
      moonring.sleep(6)
      assert.same({ "r1", "r2" }, log)
    end)
  end)

  it("does not lend what fails its check, nor what a failed borrower had", function()
    local log, sound = {}, true
    moonring.scope(function()
      local pool = moonring.pool { open = counted(log), check = function() return sound end }
      pool:use(function() end)
      sound = false
      assert.equal("r2", pool:use(function(resource) return resource.name end))
      assert.same({ "r1" }, log)
      sound = true
      assert.is_false(pcall(pool.use, pool, error, "x"))
      assert.same({ "r1", "r2" }, log)
      assert.same({ idle = 0, lent = 0, waiting = 0 }, pool:stats())
    end)
  end)

  it("hands the failure of open on and keeps its place free", function()
    moonring.scope(function()
      local pool = moonring.pool { size = 1, open = function() return nil, "no", "ENO" end }
      for _ = 1, 3 do
        assert.same({ nil, "no", "ENO", n = 3 }, { n = 3, pool:acquire() })
      end
      local raising = moonring.pool { size = 1, open = function() error("broken", 0) end }
      for _ = 1, 3 do
        assert.is_false(pcall(raising.acquire, raising))
      end
    end)
  end)

  it("wakes its waiters with an error when it is closed", function()
    moonring.scope(function(scope)
      local pool = moonring.pool { open = counted {}, size = 1 }
      local lent = pool:acquire()
      local code
      scope:spawn(function() code = code_of(pool.acquire, pool) end)
      moonring.sleep(0)
      pool:close()
      moonring.sleep(0)
      assert.equal("closed", code)
      pool:release(lent)
      assert.same({ idle = 0, lent = 0, waiting = 0 }, pool:stats())
    end)
  end)
end)

describe("moonring.select", function()
  it("does the one operation that is ready, and returns its name and results", function()
    local channel = moonring.channel(1)
    channel:send "job"
    local name, value = moonring.select { job = channel:receive_op(), late = moonring.sleep_op(60) }
    assert.equal("job", name)
    assert.equal("job", value)
  end)

  it("waits for the first and withdraws the others", function()
    local timers = moonring.stats().timers
    moonring.scope(function(scope)
      local channel, event = moonring.channel(), moonring.event()
      local semaphore = moonring.semaphore()
      semaphore:acquire()
      scope:spawn(function() event:set() end)
      local name = moonring.select {
        value = channel:receive_op(), happened = event:wait_op(), permit = semaphore:acquire_op(),
        late = moonring.sleep_op(60), send = moonring.channel():send_op(1),
      }
      assert.equal("happened", name)
      assert.is_true(channel.receivers:is_empty())
      assert.equal(0, semaphore:waiting())
    end)
    assert.equal(timers, moonring.stats().timers)
  end)

  it("loses no value, however many selects compete", function()
    local sum, expected = 0, 0
    moonring.scope(function(scope)
      local channels = { moonring.channel(), moonring.channel(1) }
      for index = 1, 2 do
        scope:spawn(function()
          for i = 1, 200 do
            expected = expected + i
            channels[index]:send(i)
            if i % 5 == 0 then moonring.sleep(0) end
          end
          channels[index]:close()
        end)
      end
      for _ = 1, 4 do
        scope:spawn(function()
          local open = { true, true }
          while open[1] or open[2] do
            local name, value = moonring.select {
              open[1] and channels[1]:receive_op() or nil,
              [2] = open[2] and channels[2]:receive_op() or nil,
              late = moonring.sleep_op(0.0001),
            }
            if name ~= "late" then
              if value then sum = sum + value else open[name] = nil end
            end
          end
        end)
      end
    end)
    assert.equal(expected, sum)
  end)

  it("gives each ready operation its turn", function()
    local counts = { a = 0, b = 0, c = 0 }
    local event = moonring.event()
    event:set()
    for _ = 1, 30 do
      local name = moonring.select { a = event:wait_op(), b = event:wait_op(), c = event:wait_op() }
      counts[name] = counts[name] + 1
    end
    assert.same({ a = 10, b = 10, c = 10 }, counts)
  end)

  it("sends as well as it receives, between two selects", function()
    moonring.scope(function(scope)
      local channel = moonring.channel()
      local receiver = scope:spawn(function() return moonring.select { got = channel:receive_op() } end)
      local sender = scope:spawn(function() return moonring.select { sent = channel:send_op "x" } end)
      assert.same({ true, "got", "x" }, { receiver:join() })
      assert.same({ true, "sent", true }, { sender:join() })
    end)
  end)

  it("waits for the end of tasks", function()
    moonring.scope(function(scope)
      local slow = scope:spawn(moonring.sleep, 60)
      local quick = scope:spawn(function()
        moonring.sleep(0.001)
        return "done"
      end)
      assert.same({ "quick", true, "done" }, { moonring.select { slow = slow:join_op(), quick = quick:join_op() } })
      assert.is_nil(slow.joiners)
      slow:cancel()
    end)
  end)

  it("takes bytes of a connection only when reading is what it does", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local accepted = scope:spawn(function()
        return moonring.select { server = listener:accept_op(), late = moonring.sleep_op(5) }
      end)
      local client = scope:own(assert(net.connect { port = listener.port }))
      local _, name, server = accepted:join()
      assert.equal("server", name)
      scope:own(server)
      local event = moonring.event()
      scope:spawn(function() event:set() end)
      assert.equal("event", (moonring.select { reply = client:read_op(), event = event:wait_op() }))
      server:write "hello"
      local which, buffer = moonring.select { reply = client:read_op(), late = moonring.sleep_op(5) }
      assert.equal("reply", which)
      assert.equal("hello", buffer:to_string())
      server:write "again"
      assert.equal("again", client:read():to_string())
      assert.equal("drained", (moonring.select { drained = client:drain_op(), late = moonring.sleep_op(5) }))
      server:close()
      which, buffer = moonring.select { reply = client:read_op(), late = moonring.sleep_op(5) }
      assert.equal("reply", which)
      assert.is_nil(buffer)
    end)
  end)

  it("names both tasks when another one reads the connection", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local reader = scope:spawn(client.read, client):named "reader"
      moonring.sleep(0)
      for _, read in ipairs { function() client:read() end, function() client:read_op():perform() end } do
        local code, failure = code_of(read)
        assert.equal("busy", code)
        assert.matches("reader", failure.message)
        assert.matches(("Task %d "):format(moonring.current().id), failure.message)
      end
      reader:cancel()
    end)
  end)

  it("goes on measuring the same sleep when it is only woken", function()
    test.virtual_clock(function(scope)
      local me = moonring.current()
      local waker = scope:spawn(function()
        for _ = 1, 20 do
          moonring.sleep(0.3)
          require("moonring.task").wake(me)
        end
      end)
      local event = moonring.event()
      moonring.select { never = event:wait_op(), late = moonring.sleep_op(1) }
      assert.equal(1, moonring.now())
      waker:cancel()
    end)
  end)

  it("hands results through wrap, also of a choice", function()
    local channel = moonring.channel(2)
    channel:send(20)
    channel:send(1)
    local doubled = moonring.choice(channel:receive_op():wrap(function(value) return value * 2 end), moonring.sleep_op(60))
    assert.equal(41, doubled:wrap(function(value) return value + 1 end):perform())
    assert.equal(1, channel:receive())
  end)

  it("refuses what is no operation, and nothing at all", function()
    assert.equal("argument", (code_of(moonring.select, { a = 1 })))
    assert.equal("argument", (code_of(moonring.select, {})))
  end)
end)
