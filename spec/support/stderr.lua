-- Runs body() while standard error is watched, and returns what was written. Raises what body raises.

return function(body)
  local written, original = {}, io.stderr
  io.stderr = { write = function(_, ...) written[#written + 1] = table.concat { ... } end } -- luacheck: ignore
  local ok, failure = pcall(body)
  io.stderr = original -- luacheck: ignore
  if not ok then error(failure, 0) end
  return table.concat(written)
end
