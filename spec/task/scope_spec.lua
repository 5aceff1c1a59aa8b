local moonring = require "moonring"
local errors = require "moonring.errors"
local task = require "moonring.task"
local eventually = require "spec.support.eventually"

local function resource(log, name)
  return { close = function() log[#log + 1] = name end }
end

describe("a scope", function()
  it("returns what its block returns, nil values included", function()
    local results = { n = select("#", moonring.scope(function() return 1, nil, 3, nil end)),
      moonring.scope(function() return 1, nil, 3, nil end) }
    assert.equal(4, results.n)
    assert.equal(3, results[3])
  end)

  it("passes further arguments to its block", function()
    assert.equal("a7", moonring.scope(function(_, text, number) return text .. number end, "a", 7))
  end)

  it("releases what it owns, last made first, when it returns", function()
    local log = {}
    moonring.scope(function(scope)
      scope:own(resource(log, "first"))
      scope:own(resource(log, "second"))
    end)
    assert.same({ "second", "first" }, log)
  end)

  it("releases on error and raises the same error object", function()
    local log, failure = {}, {}
    local ok, caught = pcall(moonring.scope, function(scope)
      scope:own(resource(log, "it"))
      error(failure)
    end)
    assert.is_false(ok)
    assert.equal(failure, caught)
    assert.same({ "it" }, log)
  end)

  it("releases the rest when one release fails, and raises that failure", function()
    local log = {}
    local ok, caught = pcall(moonring.scope, function(scope)
      scope:own(resource(log, "first"))
      scope:own { close = function() error("stuck", 0) end }
      scope:own(resource(log, "third"))
    end)
    assert.is_false(ok)
    assert.equal("stuck", caught)
    assert.same({ "third", "first" }, log)
  end)

  it("makes the memory of its buffers unusable when it ends", function()
    local kept
    moonring.scope(function(scope)
      kept = scope:allocate(64)
      kept:write("x")
    end)
    local ok, failure = pcall(kept.read_u8, kept)
    assert.is_false(ok)
    assert.equal("closed", failure.code)
  end)

  it("waits for its child tasks", function()
    local ended = false
    moonring.scope(function(scope)
      scope:spawn(function()
        moonring.sleep(0.02)
        ended = true
      end)
    end)
    assert.is_true(ended)
  end)

  it("cancels the siblings of a failed child and raises the child's error object", function()
    local failure, sibling_failure = { "mine" }, nil
    local ok, caught = pcall(moonring.scope, function(scope)
      scope:spawn(function()
        local _, reason = pcall(moonring.sleep, 60)
        sibling_failure = reason
        error(reason, 0)
      end)
      scope:spawn(function() error(failure) end)
      moonring.sleep(60)
    end)
    assert.is_false(ok)
    assert.equal(failure, caught)
    assert.equal("cancelled", sibling_failure.code)
  end)

  it("raises at every later wait once it is cancelled, so that pcall can't swallow it", function()
    local raised = 0
    moonring.scope(function(scope)
      local child = scope:spawn(function()
        for _ = 1, 3 do
          local ok, failure = pcall(moonring.sleep, 60)
          if not ok and errors.is(failure, "cancelled") then raised = raised + 1 end
        end
      end)
      moonring.sleep(0)
      child:cancel()
    end)
    assert.equal(3, raised)
  end)

  it("cancels what was spawned below it, however deep", function()
    local depth_reached = 0
    local ok = pcall(moonring.scope, function(scope)
      local function nest(level)
        moonring.scope(function(inner)
          if level < 5 then inner:spawn(nest, level + 1) else depth_reached = level end
          moonring.sleep(60)
        end)
      end
      scope:spawn(nest, 1)
      eventually(function() return depth_reached == 5 end)
      error("end it", 0)
    end)
    assert.is_false(ok)
    assert.equal(5, depth_reached)
  end)

  it("does not start a child that was cancelled before its first step", function()
    local ran = false
    moonring.scope(function(scope)
      scope:spawn(function() ran = true end):cancel()
    end)
    assert.is_false(ran)
  end)

  it("refuses to spawn and to own after its end", function()
    local kept
    moonring.scope(function(scope) kept = scope end)
    local log = {}
    local ok, failure = pcall(kept.spawn, kept, print)
    assert.is_false(ok)
    assert.equal("closed", failure.code)
    ok, failure = pcall(kept.own, kept, resource(log, "late"))
    assert.is_false(ok)
    assert.equal("closed", failure.code)
    assert.same({ "late" }, log)
  end)

  it("hands a value out: to the caller, or to another scope", function()
    local log, kept = {}, nil
    moonring.scope(function(outer)
      kept = moonring.scope(function(scope)
        scope:own(resource(log, "stays"))
        local handed = scope:own(resource(log, "handed"))
        local buffer = scope:allocate(10)
        buffer:write("0123456789"):reset_for_read()
        assert.equal(handed, scope:release(handed, outer))
        return scope:release(buffer)
      end)
      assert.same({ "stays" }, log)
      assert.equal("0123456789", kept:read_string())
    end)
    assert.same({ "stays", "handed" }, log)
    kept:release()
    moonring.scope(function(scope)
      local ok, failure = pcall(scope.release, scope, {})
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end)
  end)

  it("is told from the one that is opened next by who keeps it", function()
    for _, end_it in ipairs { function() end, function() moonring.sleep(0) end } do
      local stale, log, buffer
      moonring.scope(function(scope)
        stale, buffer = scope, scope:allocate(16)
        end_it()
      end)
      moonring.scope(function(fresh) -- has the same place in the task
        local mine, waiter = fresh:allocate(16), fresh:spawn(moonring.sleep, 60)
        log = {}
        fresh:own(resource(log, "the fresh one's"))
        for _, use in ipairs { "spawn", "own", "allocate", "allocate_aligned", "release", "deadline", "spawn_owning" } do
          local arguments = { own = resource(log, "late"), spawn = print, release = mine }
          local ok, failure = pcall(stale[use], stale, arguments[use] or 8, 8)
          assert.is_false(ok)
          assert.equal("closed", failure.code)
        end
        stale:cancel()
        stale:close()
        assert.is_false(stale.is_open)
        assert.is_false(stale:cancelled())
        assert.matches("closed", tostring(stale))
        assert.equal("closed", select(2, pcall(buffer.read_u8, buffer)).code)
        assert.is_true(fresh.is_open)
        assert.is_false(fresh:cancelled())
        moonring.sleep(0)
        assert.is_false(waiter:has_ended())
        mine:write_u8(1)
        assert.same({ "late" }, log)
        waiter:cancel()
      end)
      assert.same({ "late", "the fresh one's" }, log)
    end
  end)

  it("remembers why it was cancelled", function()
    local kept, reason = nil, errors.new("cancelled", "mine")
    moonring.scope(function(scope)
      kept = scope
      scope:cancel(reason)
      assert.equal(reason, scope:cancelled())
    end)
    assert.equal(reason, kept:cancelled())
  end)

  it("releases buffers and other things in the one order of their making", function()
    local log, buffers = {}, {}
    local function open_buffers()
      local open = ""
      for _, buffer in ipairs(buffers) do
        open = open .. (buffer.is_open and "o" or "-")
      end
      return open
    end
    local function witness(name)
      return { close = function() log[#log + 1] = name .. " " .. open_buffers() end }
    end
    moonring.scope(function(scope)
      buffers[1] = scope:allocate(10)
      scope:own(witness "a")
      buffers[2] = scope:allocate(10)
      buffers[3] = scope:allocate_aligned(10, 64)
      scope:own(witness "b")
      buffers[4] = scope:allocate(200000)
    end)
    assert.same({ "b ooo-", "a o---" }, log)
    assert.equal("----", open_buffers())
  end)

  it("does nothing to a buffer that was released in it and is another's by now", function()
    local count = moonring.stats().memory.iovec_count
    moonring.scope(function(outer)
      local first = outer:allocate(32)
      local others = {}
      moonring.scope(function(inner)
        local mine = {}
        for i = 1, 5 do
          mine[i] = inner:allocate(32)
        end
        for _, i in ipairs { 3, 1, 5 } do -- from the middle and from both ends of its list
          mine[i]:release()
          others[#others + 1] = outer:allocate(32)
        end
        assert.equal("argument", select(2, pcall(inner.release, inner, mine[3])).code)
        assert.equal(mine[2], inner:release(mine[2], outer))
        others[#others + 1] = mine[2]
      end)
      for i, buffer in ipairs(others) do
        buffer:write_u32(i)
      end
      first:write_u32(0)
      assert.equal(count + 5, moonring.stats().memory.iovec_count)
    end)
    assert.equal(count, moonring.stats().memory.iovec_count)
  end)

  it("refuses sizes that are none, and larger ones are had all the same", function()
    moonring.scope(function(scope)
      for _, size in ipairs { -1, 0.5, 0 / 0, 2 ^ 31, "x" } do
        assert.equal("argument", select(2, pcall(scope.allocate, scope, size)).code)
      end
      assert.equal(0, scope:allocate(0).capacity)
      assert.equal(3000000, scope:allocate(3000000).capacity)
    end)
  end)

  it("of a coroutine of the user's own may end in another order than they were opened in", function()
    local log = {}
    moonring.scope(function(outer)
      local generator = coroutine.wrap(function()
        moonring.scope(function(scope)
          scope:own(resource(log, "the generator's"))
          coroutine.yield(1)
          moonring.sleep(0)
          coroutine.yield(2)
        end)
        return "end"
      end)
      assert.equal(1, generator())
      moonring.scope(function(scope)
        scope:own(resource(log, "the block's"))
        assert.equal(2, generator())
        assert.equal("end", generator()) -- ends the scope around this one
        assert.same({ "the generator's" }, log)
        assert.is_true(scope.is_open)
        moonring.sleep(0)
      end)
      assert.same({ "the generator's", "the block's" }, log)
      assert.is_true(outer.is_open)
      local child = moonring.spawn(moonring.sleep, 0)
      child:join()
    end)
  end)

  it("that an abandoned coroutine has left open ends with the task", function()
    local log, generator, child = {}, nil, nil
    local count, iovecs = task.count(), moonring.stats().memory.iovec_count
    moonring.scope(function(outer)
      outer:spawn(function()
        generator = coroutine.wrap(function()
          moonring.scope(function(scope)
            scope:allocate(100)
            scope:own(resource(log, "left"))
            child = scope:spawn(moonring.sleep, 60)
            coroutine.yield()
            log[#log + 1] = scope.is_open
          end)
          return "late"
        end)
        generator()
        moonring.sleep(0)
        log[#log + 1] = "the task's end"
      end)
    end)
    assert.same({ "the task's end", "left" }, log)
    assert.is_true(child:has_ended())
    assert.equal(count, task.count())
    assert.equal(iovecs, moonring.stats().memory.iovec_count)
    assert.equal("late", generator()) -- is in nobody's way
    assert.is_false(log[3])
  end)

  it("can be closed before its block ends", function()
    local log, child_ended = {}, nil
    moonring.scope(function(scope)
      scope:own(resource(log, "it"))
      scope:spawn(function()
        child_ended = select(2, pcall(moonring.sleep, 60)).code
      end)
      moonring.sleep(0)
      assert.is_true(scope.is_open)
      moonring.scope(function()
        local ok, failure = pcall(scope.close, scope)
        assert.is_false(ok)
        assert.equal("busy", failure.code)
      end)
      scope:close()
      assert.is_false(scope.is_open)
      assert.same({ "it" }, log)
      assert.equal("cancelled", child_ended)
      scope:close() -- again
      assert.equal("closed", select(2, pcall(scope.allocate, scope, 1)).code)
    end)
    assert.same({ "it" }, log)
  end)

  it("hands the failure of a constructor through own", function()
    moonring.scope(function(scope)
      local value, message, code = scope:own(nil, "no", "ENO")
      assert.is_nil(value)
      assert.equal("no", message)
      assert.equal("ENO", code)
    end)
  end)
end)

describe("a task", function()
  it("runs after its spawner waits, and in the order of spawning", function()
    local log = {}
    moonring.scope(function(scope)
      for i = 1, 3 do
        scope:spawn(function() log[#log + 1] = i end)
      end
      log[#log + 1] = 0
    end)
    assert.same({ 0, 1, 2, 3 }, log)
  end)

  it("may wait inside pcall, in iterators and in metamethods", function()
    local object = setmetatable({}, { __index = function(_, key)
      moonring.sleep(0)
      return key
    end })
    local function iterate(_, last)
      moonring.sleep(0)
      if last < 3 then return last + 1 end
    end
    local sum = 0
    for i in iterate, nil, 0 do
      sum = sum + i
    end
    assert.equal(6, sum)
    assert.equal("name", object.name)
    assert.is_true(pcall(moonring.sleep, 0))
  end)

  it("leaves no task behind", function()
    local before = task.count()
    moonring.scope(function(scope)
      for _ = 1, 100 do
        scope:spawn(moonring.sleep, 0.001)
      end
    end)
    assert.equal(before, task.count())
  end)
end)

describe("moonring.sleep", function()
  it("never ends early", function()
    for _, seconds in ipairs { 0, 0.0001, 0.001, 0.0137 } do
      local before = moonring.now()
      moonring.sleep(seconds)
      assert.is_true(moonring.now() - before >= seconds)
    end
  end)

  it("counts from its call, however long the task computed in this turn", function()
    local start = moonring.now()
    while moonring.now() - start < 0.02 do end
    local before = moonring.now()
    moonring.sleep(0.01)
    assert.is_true(moonring.now() - before >= 0.01)
  end)

  it("wakes sleepers in the order of their deadlines", function()
    local log = {}
    moonring.scope(function(scope)
      for _, delay in ipairs { 5, 1, 4, 2, 3 } do
        scope:spawn(function()
          moonring.sleep(delay * 0.01)
          log[#log + 1] = delay
        end)
      end
    end)
    assert.same({ 1, 2, 3, 4, 5 }, log)
  end)

  it("leaves no timer behind when it is cancelled", function()
    local before = moonring.stats().timers
    moonring.scope(function(scope)
      local child = scope:spawn(moonring.sleep, 60)
      moonring.sleep(0)
      assert.equal(before + 1, moonring.stats().timers)
      child:cancel()
    end)
    assert.equal(before, moonring.stats().timers)
  end)

  it("refuses what is no number", function()
    local ok, failure = pcall(moonring.sleep, 0 / 0)
    assert.is_false(ok)
    assert.equal("argument", failure.code)
  end)
end)
