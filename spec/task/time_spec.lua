local moonring = require "moonring"
local test = require "moonring.test"
local task = require "moonring.task"
local with_stderr = require "spec.support.stderr"

describe("moonring.after", function()
  it("runs a function later, never early, with its arguments", function()
    local start, got, at = moonring.now(), nil, nil
    moonring.scope(function()
      moonring.after(0.01, function(...)
        got, at = { ... }, moonring.now()
      end, 1, 2)
    end)
    assert.same({ 1, 2 }, got)
    assert.is_true(at - start >= 0.01)
  end)

  it("can be taken back", function()
    local ran, timers = false, moonring.stats().timers
    moonring.scope(function()
      local later = moonring.after(60, function() ran = true end)
      assert.equal(timers + 1, moonring.stats().timers)
      later:cancel()
      assert.equal(timers, moonring.stats().timers)
    end)
    assert.is_false(ran)
  end)

  it("holds a hundred thousand at once", function()
    local count, early = 0, 0
    moonring.scope(function()
      local start = moonring.now()
      for i = 1, 100000 do
        local seconds = (i * 7919 % 1000) / 5000
        moonring.after(seconds, function()
          count = count + 1
          if moonring.now() - start < seconds then early = early + 1 end
        end)
      end
    end)
    assert.equal(100000, count)
    assert.equal(0, early)
  end)
end)

describe("moonring.every", function()
  it("keeps its moments, leaves out those that pass while it runs, and ends by false", function()
    local at = {}
    test.virtual_clock(function()
      moonring.every(10, function()
        at[#at + 1] = moonring.now()
        if #at == 2 then moonring.sleep(25) end
        return #at < 4
      end)
    end)
    assert.same({ 10, 20, 50, 60 }, at)
  end)

  it("ends with its task's cancellation", function()
    local count = 0
    test.virtual_clock(function()
      local ticker = moonring.every(1, function() count = count + 1 end)
      moonring.sleep(3.5)
      ticker:cancel()
    end)
    assert.equal(3, count)
  end)
end)

describe("the wall clock", function()
  it("is the system's", function()
    assert.is_true(math.abs(moonring.wall() - os.time()) <= 2)
  end)
end)

describe("a virtual clock", function()
  it("lets hours pass in milliseconds", function()
    local start = moonring.now()
    test.virtual_clock(function()
      local wall = moonring.wall()
      moonring.sleep(36000)
      assert.equal(36000, moonring.now())
      assert.equal(36000, moonring.wall() - wall)
    end)
    assert.is_true(moonring.now() - start < 1)
  end)

  it("wakes in the order of time, and of the start where times are equal", function()
    local log = {}
    test.virtual_clock(function(scope)
      for i, seconds in ipairs { 3, 1, 2, 1, 3, 2 } do
        scope:spawn(function()
          moonring.sleep(seconds)
          log[#log + 1] = seconds .. ":" .. i
        end)
      end
    end)
    assert.same({ "1:2", "1:4", "2:3", "2:6", "3:1", "3:5" }, log)
  end)

  it("leaves real time as it was, also when its function fails", function()
    local start = moonring.now()
    assert.is_false(pcall(test.virtual_clock, error, "x"))
    assert.is_true(moonring.now() >= start)
    moonring.sleep(0.001)
  end)

  it("lets a sleep that outlives it go on in real time", function()
    local outside = moonring.channel(1)
    moonring.scope(function(scope)
      scope:spawn(function()
        moonring.sleep(0)
        moonring.sleep(0.01)
        outside:send "done"
      end)
      test.virtual_clock(function()
        moonring.sleep(0)
        moonring.sleep(0)
      end)
      assert.equal("done", outside:receive())
    end)
  end)
end)

-- Random trees of tasks, waits, failures, cancellations and deadlines. MOONRING_SEED repeats a run.
describe("a random tree of tasks", function()
  local seed = tonumber(os.getenv "MOONRING_SEED") or os.time()
  local state

  local function random(count)
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % count + 1
  end

  -- One run of the model. Returns its log, for comparing runs.
  local function run(run_seed)
    state = run_seed % 2147483648
    local log, tasks, budget = {}, {}, 60
    local channel, semaphore = moonring.channel(1), moonring.semaphore(2)
    local grow

    local function step(scope_name)
      local kind = random(9)
      log[#log + 1] = ("%s %d %.6f"):format(scope_name, kind, moonring.now())
      if kind <= 2 then
        moonring.sleep(random(50) / 10)
      elseif kind == 3 then
        moonring.timeout(random(20) / 10, channel.receive, channel)
      elseif kind == 4 then
        moonring.timeout(random(20) / 10, channel.send, channel, random(9))
      elseif kind == 5 then
        semaphore:with(moonring.sleep, random(10) / 10)
      elseif kind == 6 then
        moonring.select { a = channel:receive_op(), b = moonring.sleep_op(random(10) / 10), c = semaphore:acquire_op():wrap(
          function() semaphore:release() end) }
      elseif kind == 7 and #tasks > 0 then
        tasks[random(#tasks)]:cancel()
      elseif kind == 8 then
        pcall(moonring.sleep, random(30) / 10)
      elseif kind == 9 and random(6) == 1 then
        error({ "failure" }, 0)
      elseif kind == 9 then
        moonring.scope(function(scope) -- a nested one with something of each kind
          local timer = scope:spawn(moonring.sleep, random(10) / 10)
          local buffer = scope:allocate(random(100))
          moonring.after(random(30) / 10, function() buffer:write_u8(1) end)
          if random(2) == 1 then timer:cancel() end
          if random(4) == 1 then scope:cancel() end
          moonring.sleep(random(10) / 10)
        end)
      end
    end

    -- A scope with children, whose end must find them ended.
    function grow(name, depth)
      local children, ended = {}, false
      local ok, failure = pcall(moonring.scope, function(scope)
        if random(3) == 1 then scope:deadline(random(60) / 10) end
        for i = 1, random(3) do
          if depth > 0 and budget > 0 then
            budget = budget - 1
            local child = scope:spawn(function()
              local inner_ok, problem = pcall(function()
                assert(not ended, "a task runs after its scope")
                for _ = 1, random(4) do
                  step(name .. i)
                end
                grow(name .. i, depth - 1)
              end)
              if not inner_ok and random(4) == 1 then moonring.shield(1, moonring.sleep, 0.5) end
              assert(not ended, "a task runs after its scope")
              if not inner_ok then error(problem, 0) end
            end)
            tasks[#tasks + 1], children[#children + 1] = child, child
          end
        end
        step(name)
      end)
      ended = true
      for _, child in ipairs(children) do
        assert(child:has_ended(), "a scope has ended before its children")
      end
      if not ok and type(failure) == "string" then error(failure, 0) end
      if not ok and random(2) == 1 then error(failure, 0) end
    end

    local ok, failure = pcall(test.virtual_clock, function(scope)
      scope:deadline(1000)
      for _ = 1, 3 do
        grow("r", 3)
      end
    end)
    if not ok and type(failure) == "string" then error(failure, 0) end
    for _, each in ipairs(tasks) do
      assert(each:has_ended(), tostring(each) .. " is left")
    end
    assert(channel.receivers:is_empty() and channel.senders:is_empty(), "a waiter is left in the channel")
    assert(semaphore.queue:is_empty() and semaphore.free == 2, "the semaphore is not as it was")
    return table.concat(log, "\n")
  end

  it("keeps the model's invariants, and runs the same way twice (seed " .. seed .. ")", function()
    with_stderr(function() -- further failures are reported, many of them
      local count, timers, iovecs = task.count(), moonring.stats().timers, moonring.stats().memory.iovec_count
      for i = 0, 299 do
        local run_seed = seed + i
        local fine, problem = pcall(run, run_seed)
        if not fine then error(("MOONRING_SEED=%d: %s"):format(run_seed, tostring(problem)), 0) end
        if i % 10 == 0 then assert.equal(problem, run(run_seed)) end
        assert.equal(count, task.count(), "seed " .. run_seed)
      end
      assert.equal(timers, moonring.stats().timers)
      assert.equal(iovecs, moonring.stats().memory.iovec_count)
    end)
  end)
end)
