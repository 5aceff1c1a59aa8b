-- The same work as in the other files here, for cqueues. Its condition variables stand for channels and select.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local measure = dofile "scripts/bench/task_peers/measure.lua"

local function nothing()
end

-- Runs fn in a controller of its own.
local function inside(fn)
  return function(count)
    local controller = cqueues.new()
    controller:wrap(fn, controller, count)
    assert(controller:loop())
  end
end

measure("spawn + finish", inside(function(controller, count)
  for _ = 1, count / 100 do
    for _ = 1, 100 do
      controller:wrap(nothing)
    end
    cqueues.sleep(0)
  end
end), cqueues.monotime)

-- A channel of no capacity from two condition variables.
local function hand_over(controller, count, wait)
  local full, empty, value = condition.new(), condition.new(), nil
  controller:wrap(function()
    for i = 1, count do
      while value do
        empty:wait()
      end
      value = i
      full:signal()
    end
  end)
  for _ = 1, count do
    while not value do
      wait(full)
    end
    value = nil
    empty:signal()
  end
end

measure("channel hand-over", inside(function(controller, count)
  hand_over(controller, count, function(full) full:wait() end)
end), cqueues.monotime)

-- A timer is a coroutine that sleeps and can be woken before.
measure("timer start + cancel", inside(function(controller, count)
  for _ = 1, count / 100 do
    local stops = {}
    for i = 1, 100 do
      local stop = condition.new()
      stops[i] = stop
      controller:wrap(function()
        if stops[i] then stop:wait(60) end
      end)
    end
    cqueues.sleep(0)
    for i = 1, 100 do
      local stop = stops[i]
      stops[i] = nil
      stop:signal()
    end
    cqueues.sleep(0)
  end
end), cqueues.monotime)

measure("sleep(0)", inside(function(_, count)
  for _ = 1, count do
    cqueues.sleep(0)
  end
end), cqueues.monotime)

measure("select of three", inside(function(controller, count)
  local first, third = condition.new(), condition.new()
  hand_over(controller, count, function(full) cqueues.poll(first, full, third) end)
end), cqueues.monotime)

measure("scope with deadline", inside(function(_, count)
  for _ = 1, count do
    local scope = cqueues.new()
    scope:wrap(nothing)
    assert(scope:loop(60))
  end
end), cqueues.monotime)
