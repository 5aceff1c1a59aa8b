-- Waits until what value() returns has stayed the same for a tenth of a second, `seconds` at most (default 30). Returns it,
-- or nil when it never does.

local moonring = require "moonring"

return function(value, seconds)
  local deadline = moonring.now() + (seconds or 30)
  local last, since = value(), moonring.now()
  while moonring.now() < deadline do
    moonring.sleep(0.01)
    local now = value()
    if now ~= last then
      last, since = now, moonring.now()
    elseif moonring.now() - since > 0.1 then
      return now
    end
  end
  return nil
end
