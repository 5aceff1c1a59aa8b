-- Measures fn(count), which does something count times: prints the best of a few rounds, in nanoseconds each. The count
-- is one that takes long enough to be measured.

io.stdout:setvbuf("no")

local ROUND_SECONDS, ROUNDS, COUNT_FIRST = 0.02, 4, 1000

return function(name, fn, clock)
  local function time(count)
    local start = clock()
    fn(count)
    return clock() - start
  end
  local count = COUNT_FIRST
  while time(count) < ROUND_SECONDS do
    count = count * 2
  end
  local best = math.huge
  for _ = 1, ROUNDS do
    collectgarbage()
    best = math.min(best, time(count) / count)
  end
  print(("%s\t%.1f"):format(name, best * 1e9))
end
