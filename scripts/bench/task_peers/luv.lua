-- The same work as in the other files here, for luv with coroutines: the least that does it, as somebody would write it who
-- cares for speed. There are no errors, no cancellation and no names of tasks in it.

local uv = require "luv"
local measure = dofile "scripts/bench/task_peers/measure.lua"

local create, resume, yield, running = coroutine.create, coroutine.resume, coroutine.yield, coroutine.running

local function nothing()
end

local function clock()
  return uv.hrtime() * 1e-9
end

-- Who runs with the next turn of the loop: an idle handle keeps the loop turning while there is somebody.
local idle, ready, ready_count = uv.new_idle(), {}, 0

local function run_ready()
  local now, count = ready, ready_count
  ready, ready_count = {}, 0
  for i = 1, count do
    assert(resume(now[i]))
  end
  if ready_count == 0 then idle:stop() end
end

local function later(thread)
  ready_count = ready_count + 1
  ready[ready_count] = thread
  if ready_count == 1 then idle:start(run_ready) end
end

-- Runs fn as a coroutine, and the loop to its end.
local function inside(fn)
  return function(count)
    local thread = create(fn)
    assert(resume(thread, count))
    uv.run()
    assert(coroutine.status(thread) == "dead")
  end
end

-- Somebody waits for every hundred of them.
measure("spawn + finish", inside(function(count)
  local parent = running()
  for _ = 1, count / 100 do
    local left = 100
    for _ = 1, 100 do
      later(create(function()
        nothing()
        left = left - 1
        if left == 0 then later(parent) end
      end))
    end
    yield()
  end
end), clock)

-- A channel of no capacity: whoever comes first waits in its queue.
local function new_channel()
  return { senders = {}, receivers = {} }
end

local function remove(queue, waiter)
  for i = 1, #queue do
    if queue[i] == waiter then return table.remove(queue, i) end
  end
end

local function send(channel, value)
  local receiver = table.remove(channel.receivers, 1)
  if receiver then
    receiver.value = value
    if receiver.channels then
      for _, each in pairs(receiver.channels) do
        remove(each.receivers, receiver)
      end
    end
    return later(receiver.thread)
  end
  table.insert(channel.senders, { thread = running(), value = value })
  yield()
end

local function take(channel)
  local sender = table.remove(channel.senders, 1)
  if not sender then return nil end
  later(sender.thread)
  return sender.value
end

local function receive(channel)
  local value = take(channel)
  if value then return value end
  local me = { thread = running() }
  table.insert(channel.receivers, me)
  yield()
  return me.value
end

local function select_of(channels)
  for _, channel in pairs(channels) do
    local value = take(channel)
    if value then return value end
  end
  local me = { thread = running(), channels = channels }
  for _, channel in pairs(channels) do
    table.insert(channel.receivers, me)
  end
  yield()
  return me.value
end

local function send_all(channel, count)
  later(create(function()
    for i = 1, count do
      send(channel, i)
    end
  end))
end

measure("channel hand-over", inside(function(count)
  local channel = new_channel()
  send_all(channel, count)
  for _ = 1, count do
    receive(channel)
  end
end), clock)

measure("timer start + cancel", inside(function(count)
  for _ = 1, count / 100 do
    local timers = {}
    for i = 1, 100 do
      local timer = uv.new_timer()
      timer:start(60000, 0, nothing)
      timers[i] = timer
    end
    for i = 1, 100 do
      timers[i]:stop()
      timers[i]:close()
    end
    later(running())
    yield()
  end
end), clock)

measure("sleep(0)", inside(function(count)
  local me = running()
  for _ = 1, count do
    later(me)
    yield()
  end
end), clock)

measure("select of three", inside(function(count)
  local first, second, third = new_channel(), new_channel(), new_channel()
  send_all(second, count)
  for _ = 1, count do
    select_of { first = first, second = second, third = third }
  end
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
