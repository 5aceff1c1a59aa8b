local moonring = require "moonring"
local net = require "moonring.net"
local errors = require "moonring.errors"
local test = require "moonring.test"
local with_stderr = require "spec.support.stderr"

local function code_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  return not ok and type(failure) == "table" and failure.code or nil, failure
end

-- What is written to standard error while fn runs, and how that ends.
local function stderr_of(fn)
  local ok, failure
  local text = with_stderr(function() ok, failure = pcall(fn) end)
  return text, ok, failure
end

describe("a deadline", function()
  it("cancels the scope with an error that names the time and the place", function()
    local code, failure = code_of(moonring.scope, function(scope)
      scope:deadline(0.01)
      moonring.sleep(60)
    end)
    assert.equal("deadline", code)
    assert.matches("0%.01 s given at .*cancel_spec%.lua:%d+", failure.message)
  end)

  it("names its place also when it is one of several, and passes while the end waits for children", function()
    local lines = {}
    local function failure_of_inner()
      local _, failure = code_of(function()
        lines.inner = debug.getinfo(1, "l").currentline + 1
        moonring.timeout(0.01, function()
          moonring.spawn(moonring.sleep, 60)
          if lines.wait then moonring.timeout(60, moonring.sleep, 60) end
        end)
      end)
      return failure
    end
    for _, wait in ipairs { false, true } do
      lines.wait = wait
      moonring.timeout(60, function()
        moonring.scope(function()
          assert.matches("cancel_spec%.lua:" .. "%d+", tostring(failure_of_inner()))
          local failure = coroutine.wrap(failure_of_inner)()
          assert.matches("cancel_spec%.lua:" .. lines.inner .. " ", failure.message)
        end)
      end)
    end
  end)

  it("is the nearest of the nested ones", function()
    test.virtual_clock(function()
      for _, times in ipairs { { 1, 5 }, { 5, 1 } } do
        local start = moonring.now()
        local code = code_of(moonring.timeout, times[1], function()
          moonring.timeout(times[2], moonring.sleep, 60)
        end)
        assert.equal("deadline", code)
        assert.equal(1, moonring.now() - start)
      end
    end)
  end)

  it("leaves the outer scope alone when the inner one's has passed", function()
    test.virtual_clock(function()
      moonring.timeout(10, function()
        assert.equal("deadline", (code_of(moonring.timeout, 1, moonring.sleep, 60)))
        moonring.sleep(2)
      end)
    end)
  end)

  it("applies to the children of its scope", function()
    test.virtual_clock(function()
      local reason
      local code = code_of(moonring.timeout, 1, function()
        moonring.spawn(function() reason = select(2, pcall(moonring.sleep, 60)) end)
        moonring.spawn(moonring.sleep, 60)
      end)
      assert.equal("deadline", code)
      assert.equal("deadline", reason.code)
      assert.equal(1, moonring.now())
    end)
  end)

  it("can be replaced and taken away", function()
    test.virtual_clock(function()
      moonring.scope(function(scope)
        scope:deadline(1)
        scope:deadline(5)
        moonring.sleep(3)
        scope:deadline(math.huge)
        moonring.sleep(60)
      end)
    end)
  end)

  it("of zero ends the first wait", function()
    assert.equal("deadline", (code_of(moonring.timeout, 0, moonring.sleep, 60)))
  end)

  it("leaves no timer behind when its scope ends in time", function()
    local before = moonring.stats().timers
    assert.equal(7, moonring.timeout(60, function() return 7 end))
    assert.equal(before, moonring.stats().timers)
  end)

  it("refuses what is no number", function()
    assert.equal("argument", (code_of(moonring.timeout, "soon", print)))
    assert.equal("argument", (code_of(moonring.timeout, 1, "fn")))
    moonring.sleep(0)
  end)
end)

describe("moonring.shield", function()
  it("lets cleaning up wait inside a cancelled scope, and the cancellation come after it", function()
    local cleaned, after
    moonring.scope(function(scope)
      local child = scope:spawn(function()
        pcall(moonring.sleep, 60)
        moonring.shield(5, function()
          moonring.sleep(0.01)
          cleaned = true
        end)
        after = code_of(moonring.sleep, 60)
      end)
      moonring.sleep(0)
      child:cancel()
    end)
    assert.is_true(cleaned)
    assert.equal("cancelled", after)
  end)

  it("keeps a cancellation away that comes while it runs", function()
    local cleaned
    moonring.scope(function(scope)
      local child = scope:spawn(moonring.shield, 5, function()
        moonring.sleep(0.01)
        cleaned = true
      end)
      moonring.sleep(0)
      child:cancel()
    end)
    assert.is_true(cleaned)
  end)

  it("ends by its own time", function()
    test.virtual_clock(function(scope)
      local code
      local child = scope:spawn(function()
        code = code_of(moonring.shield, 2, moonring.sleep, 60)
      end)
      moonring.sleep(0)
      child:cancel()
      assert.is_false((child:join()) and code ~= "deadline")
      assert.equal("deadline", code)
      assert.equal(2, moonring.now())
    end)
  end)
end)

describe("a cancellation", function()
  it("of a task that has not started lets it take no step, and closes what it was given", function()
    local ran, closed = false, false
    moonring.scope(function(scope)
      local child = scope:spawn_owning({ close = function() closed = true end }, function() ran = true end)
      child:cancel()
      local ok, failure = child:join()
      assert.is_false(ok)
      assert.equal("cancelled", failure.code)
    end)
    assert.is_false(ran)
    assert.is_true(closed)
  end)

  it("of a later task ends it at once, and its error is made when somebody asks", function()
    moonring.scope(function(scope)
      local mine = errors.new("cancelled", "mine")
      local plain, with_reason, of_scope = moonring.after(60, print), moonring.after(60, print), nil
      plain:cancel()
      with_reason:cancel(mine)
      assert.is_true(plain:has_ended())
      plain:cancel()
      local ok, failure = plain:join()
      assert.is_false(ok)
      assert.equal("cancelled", failure.code)
      assert.equal(failure, select(2, plain:join()))
      assert.equal(mine, select(2, with_reason:join()))
      assert.matches("failed", tostring(plain))
      local _, left_by = pcall(moonring.scope, function(inner)
        of_scope = moonring.after(60, print)
        inner:cancel(mine)
      end)
      assert.equal(mine, left_by)
      assert.equal(mine, select(2, of_scope:join()))
      assert.is_true(scope.is_open)
    end)
  end)

  it("goes by what runs while a scope ends, and reaches it again afterwards", function()
    local closed, code
    moonring.scope(function(scope)
      local child = scope:spawn(function()
        moonring.scope(function(inner)
          inner:own { close = function()
            moonring.timeout(5, moonring.sleep, 0.01) -- a scope of its own, opened by the release
            closed = true
          end }
        end)
        code = code_of(moonring.sleep, 60)
      end)
      moonring.sleep(0)
      child:cancel()
    end)
    assert.is_true(closed)
    assert.equal("cancelled", code)
  end)

  it("of the running task itself is raised by its next wait", function()
    local went_on, code
    moonring.scope(function(scope)
      scope:spawn(function()
        moonring.current():cancel()
        went_on = true
        code = code_of(moonring.sleep, 60)
      end)
    end)
    assert.is_true(went_on)
    assert.equal("cancelled", code)
  end)

  it("twice keeps the first reason", function()
    moonring.scope(function(scope)
      local first = errors.new("cancelled", "first")
      local child = scope:spawn(moonring.sleep, 60)
      moonring.sleep(0)
      child:cancel(first)
      child:cancel(errors.new("cancelled", "second"))
      local ok, failure = child:join()
      assert.is_false(ok)
      assert.equal(first, failure)
      child:cancel()
      assert.equal(first, select(2, child:join()))
    end)
  end)

  it("does not interrupt the end of a scope again", function()
    local closed = false
    moonring.scope(function(scope)
      local child = scope:spawn(function()
        moonring.scope(function(inner)
          inner:own { close = function()
            moonring.sleep(0.01)
            closed = true
          end }
          moonring.sleep(60)
        end)
      end)
      moonring.sleep(0)
      child:cancel()
      moonring.sleep(0)
      child:cancel()
    end)
    assert.is_true(closed)
  end)

  it("reaches the children of a task that waits for them to end", function()
    moonring.scope(function(scope)
      local child = scope:spawn(function() moonring.spawn(moonring.sleep, 60) end)
      moonring.sleep(0)
      child:cancel()
      local ok, failure = child:join()
      assert.is_false(ok)
      assert.equal("cancelled", failure.code)
    end)
  end)

  it("of one task leaves its siblings and its scope alone", function()
    local ended
    moonring.scope(function(scope)
      local child = scope:spawn(moonring.sleep, 60)
      scope:spawn(function()
        moonring.sleep(0.01)
        ended = true
      end)
      moonring.sleep(0)
      child:cancel()
    end)
    assert.is_true(ended)
  end)

  it("that comes after the event lets the wait return", function()
    local got
    moonring.scope(function(scope)
      local channel = moonring.channel()
      local child = scope:spawn(function() got = channel:receive() end)
      moonring.sleep(0)
      channel:send "kept"
      child:cancel()
    end)
    assert.equal("kept", got)
  end)
end)

describe("a cancellation that is swallowed over and over", function()
  local function stubborn()
    while true do pcall(moonring.sleep, 60) end
  end

  it("lets the others run, ends the task, and tells where it was", function()
    local closed, ticks, stopped = false, 0, false
    local text = with_stderr(function()
      moonring.scope(function(scope)
        local task = scope:spawn(function()
          moonring.current():own { close = function() closed = true end }
          stubborn()
        end)
        scope:spawn(function()
          while not stopped do
            ticks = ticks + 1
            moonring.sleep(0)
          end
        end)
        moonring.sleep(0)
        task:cancel()
        assert.is_false((task:join()))
        stopped = true
      end)
    end)
    assert.is_true(closed)
    assert.is_true(ticks > 1000)
    assert.matches("caught its cancellation 10000 times", text)
    assert.matches("cancel_spec%.lua:%d+: in function 'stubborn'", text)
  end)

  it("fails a task whose own scope has passed its deadline, as an error that is none of a cancellation", function()
    local closed = false
    local code, failure = code_of(moonring.scope, function(scope)
      scope:spawn(function()
        moonring.scope(function(inner)
          inner:own { close = function() closed = true end }
          inner:deadline(0.001)
          coroutine.wrap(stubborn)()
        end)
      end)
    end)
    assert.equal("abandoned", code)
    assert.matches("cancel_spec%.lua:%d+: moonring%.Task %d+", tostring(failure))
    assert.is_true(closed)
  end)

  it("does nothing to who catches one after the other", function()
    local caught = 0
    moonring.scope(function()
      for _ = 1, 300 do
        if not pcall(moonring.timeout, 0, moonring.sleep, 60) then caught = caught + 1 end
      end
    end)
    assert.equal(300, caught)
  end)
end)

describe("a cancelled read", function()
  it("loses no byte", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local server = scope:own(assert(listener:accept()))
      local got, sent = {}, {}
      for i = 1, 50 do
        local reader = scope:spawn(function()
          while true do
            got[#got + 1] = server:read():to_string()
          end
        end)
        moonring.sleep(0)
        sent[i] = ("<%d>"):format(i)
        client:write(sent[i])
        if i % 3 == 0 then moonring.sleep(0) end
        reader:cancel()
        reader:join()
      end
      client:shutdown()
      for buffer in server:chunks() do
        got[#got + 1] = buffer:to_string()
      end
      assert.equal(table.concat(sent), table.concat(got))
    end)
  end)
end)

describe("a cancelled write", function()
  it("says how much went out and how much is queued", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local server = scope:own(assert(listener:accept()))
      local total = 64 * 1048576
      local writer = scope:spawn(function() client:write(("w"):rep(total)) end)
      moonring.sleep(0.05)
      writer:cancel()
      local ok, failure = writer:join()
      assert.is_false(ok)
      assert.equal("cancelled", failure.code)
      assert.is_true(failure.sent > 0 and failure.queued > 0)
      assert.is_true(failure.sent + failure.queued < total)
      client:shutdown()
      local got = 0
      for buffer in server:chunks() do
        got = got + buffer:remaining()
      end
      assert.equal(failure.sent + failure.queued, got)
    end)
  end)
end)

describe("task:join", function()
  it("returns like pcall what the task's function returned", function()
    moonring.scope(function(scope)
      local results = { scope:spawn(function() return 1, nil, 3 end):join() }
      assert.same({ true, 1, nil, 3 }, results)
      assert.same({ true }, { scope:spawn(function() end):join() })
    end)
  end)

  it("of a dead task returns at once, again and again", function()
    moonring.scope(function(scope)
      local child = scope:spawn(function() return "done" end)
      moonring.sleep(0)
      for _ = 1, 3 do
        assert.same({ true, "done" }, { child:join() })
      end
    end)
  end)

  it("returns the failure to who waits in another scope", function()
    local failure, joined = { "mine" }, nil
    local ok, caught = pcall(moonring.scope, function(outer)
      outer:spawn(function()
        moonring.scope(function(scope)
          local child = scope:spawn(function()
            moonring.sleep(0)
            error(failure)
          end)
          outer:spawn(function() joined = { child:join() } end)
        end)
      end)
    end)
    assert.is_false(ok)
    assert.equal(failure, caught)
    assert.is_true(joined == nil or joined[2] == failure)
  end)

  it("refuses to wait for the task itself and for its parents", function()
    moonring.scope(function(scope)
      local parent
      parent = scope:spawn(function()
        assert.equal("argument", (code_of(parent.join, parent)))
        moonring.spawn(function() assert.equal("argument", (code_of(parent.join, parent))) end)
      end)
    end)
  end)

  it("serves many who wait", function()
    moonring.scope(function(scope)
      local child = scope:spawn(moonring.sleep, 0.01)
      local count = 0
      for _ = 1, 100 do
        scope:spawn(function()
          child:join()
          count = count + 1
        end)
      end
      child:join()
      moonring.sleep(0)
      assert.equal(100, count)
    end)
  end)
end)

describe("a failure", function()
  it("of a second child is reported on standard error", function()
    local text, ok, caught = stderr_of(function()
      moonring.scope(function(scope)
        scope:spawn(function()
          moonring.sleep(0)
          error("the first", 0)
        end)
        scope:spawn(function()
          pcall(moonring.sleep, 60)
          error("the second", 0)
        end)
        moonring.sleep(60)
      end)
    end)
    assert.is_false(ok)
    assert.equal("the first", caught)
    assert.matches("further failure.*the second", text)
    assert.matches("spawned at .*cancel_spec%.lua:%d+", text)
  end)

  it("of the block comes before that of a child which fails while it is cancelled", function()
    local text, ok, caught = stderr_of(function()
      moonring.scope(function(scope)
        scope:spawn(function()
          pcall(moonring.sleep, 60)
          error("the child's", 0)
        end)
        moonring.sleep(0)
        error("the block's", 0)
      end)
    end)
    assert.is_false(ok)
    assert.equal("the block's", caught)
    assert.matches("the child's", text)
  end)

  it("of a release after another failure is reported", function()
    local text, ok, caught = stderr_of(function()
      moonring.scope(function(scope)
        scope:own { close = function() error("stuck", 0) end }
        error("first", 0)
      end)
    end)
    assert.is_false(ok)
    assert.equal("first", caught)
    assert.matches("stuck", text)
  end)

  it("keeps the traceback of the task that failed, also when it is a string", function()
    local function innermost_function() error "with a place" end
    moonring.scope(function(scope)
      local failed
      failed = scope:spawn(function()
        pcall(moonring.scope, function(inner)
          inner:spawn(function() innermost_function() end)
        end)
        failed = moonring.current().failure_traceback
      end)
      failed:join()
      assert.matches("innermost_function", failed)
    end)
  end)

  it("made of another scope's cancellation is a failure like any", function()
    local code = code_of(moonring.scope, function(scope)
      scope:spawn(function() error(errors.new("cancelled", "thrown by hand"), 0) end)
      moonring.sleep(60)
    end)
    assert.equal("cancelled", code)
  end)
end)
