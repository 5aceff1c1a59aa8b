--- The base64 of short strings, such as credentials and keys. Longer data has buffers, which do it where it lies.

local buffer = require "moonring.buffer"

---@param text string
---@return string
return function(text)
  local view = buffer.wrap(text)
  local out = view:to_base64()
  view:release()
  return out
end
