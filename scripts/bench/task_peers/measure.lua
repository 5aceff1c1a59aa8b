-- Measures fn(count), which does something count times: the best of several rounds, in nanoseconds each.

io.stdout:setvbuf("no")

local COUNT, ROUNDS = 100000, 7

return function(name, fn, clock)
  fn(COUNT)
  local best = math.huge
  for _ = 1, ROUNDS do
    collectgarbage()
    local start = clock()
    fn(COUNT)
    best = math.min(best, clock() - start)
  end
  print(("%s\t%.0f"):format(name, best / COUNT * 1e9))
end
