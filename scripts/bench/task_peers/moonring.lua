-- The same work as in the other files here, for moonring.

local moonring = require "moonring"
local measure = dofile "scripts/bench/task_peers/measure.lua"

local function nothing()
end

measure("spawn + finish", function(count)
  for _ = 1, count / 100 do
    moonring.scope(function(scope)
      for _ = 1, 100 do
        scope:spawn(nothing)
      end
    end)
  end
end, moonring.now)

measure("channel hand-over", function(count)
  moonring.scope(function(scope)
    local channel = moonring.channel()
    scope:spawn(function()
      for i = 1, count do
        channel:send(i)
      end
    end)
    for _ = 1, count do
      channel:receive()
    end
  end)
end, moonring.now)

measure("timer start + cancel", function(count)
  moonring.scope(function()
    for _ = 1, count / 100 do
      local timers = {}
      for i = 1, 100 do
        timers[i] = moonring.after(60, nothing)
      end
      for i = 1, 100 do
        timers[i]:cancel()
      end
      moonring.sleep(0)
    end
  end)
end, moonring.now)

measure("sleep(0)", function(count)
  for _ = 1, count do
    moonring.sleep(0)
  end
end, moonring.now)

measure("select of three", function(count)
  moonring.scope(function(scope)
    local first, second, third = moonring.channel(), moonring.channel(), moonring.channel()
    scope:spawn(function()
      for i = 1, count do
        second:send(i)
      end
    end)
    for _ = 1, count do
      moonring.select { first = first:receive_op(), second = second:receive_op(), third = third:receive_op() }
    end
  end)
end, moonring.now)

measure("scope with deadline", function(count)
  for _ = 1, count do
    moonring.timeout(60, nothing)
  end
end, moonring.now)
