-- The same work as in the other files here, for luv with coroutines: the least that does it, without errors or scopes.

local uv = require "luv"
local measure = dofile "scripts/bench/task_peers/measure.lua"

local function nothing()
end

local function clock()
  return uv.hrtime() * 1e-9
end

-- Runs fn as a coroutine, and the loop to its end.
local function inside(fn)
  return function(count)
    local thread = coroutine.create(fn)
    assert(coroutine.resume(thread, count))
    uv.run()
    assert(coroutine.status(thread) == "dead")
  end
end

-- Resumes with the next turn of the loop, as a task starts.
local function later(thread)
  local timer = uv.new_timer()
  timer:start(0, 0, function()
    timer:close()
    assert(coroutine.resume(thread))
  end)
end

measure("spawn + finish", inside(function(count)
  for _ = 1, count do
    later(coroutine.create(nothing))
  end
end), clock)

-- A channel of no capacity between two coroutines, through the loop.
local function hand_over(count, prepare)
  local consumer, value = coroutine.running(), nil
  local producer = coroutine.create(function()
    for i = 1, count do
      value = i
      later(consumer)
      coroutine.yield()
    end
  end)
  for _ = 1, count do
    later(producer)
    if prepare then prepare() end
    coroutine.yield()
    assert(value)
    value = nil
  end
end

measure("channel hand-over", inside(function(count) hand_over(count) end), clock)

measure("timer start + cancel", inside(function(count)
  for _ = 1, count do
    local timer = uv.new_timer()
    timer:start(60000, 0, nothing)
    timer:stop()
    timer:close()
  end
end), clock)

measure("sleep(0)", inside(function(count)
  local me = coroutine.running()
  for _ = 1, count do
    later(me)
    coroutine.yield()
  end
end), clock)

-- Three waiters are noted and taken back for each value.
measure("select of three", inside(function(count)
  hand_over(count, function()
    local waiters = {} -- luacheck: ignore
    for i = 1, 3 do
      waiters[i] = { coroutine.running() }
    end
  end)
end), clock)

measure("scope with deadline", inside(function(count)
  for _ = 1, count do
    local timer = uv.new_timer()
    timer:start(60000, 0, nothing)
    pcall(nothing)
    timer:stop()
    timer:close()
  end
end), clock)
