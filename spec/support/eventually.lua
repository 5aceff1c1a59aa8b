-- Waits until check() returns true, `seconds` at most (default 5). Returns what it returned last.

local moonring = require "moonring"

return function(check, seconds)
  local deadline = moonring.now() + (seconds or 5)
  local result = check()
  while not result and moonring.now() < deadline do
    moonring.sleep(0.005)
    result = check()
  end
  return result
end
