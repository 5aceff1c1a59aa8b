-- Waits until check() returns true, as moonring.test does it, but for longer: the machine may be busy.

local eventually = require("moonring.test").eventually

return function(check, seconds)
  return eventually(check, seconds or 30)
end
