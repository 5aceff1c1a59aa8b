-- Reading from connections whose bytes may come in any pieces.

local M = {}

--- The next `count` bytes; raises when the stream ends before them.
function M.read_exactly(connection, count)
  local text = ""
  while #text < count do
    text = text .. assert(connection:read(), "the stream has ended"):to_string()
  end
  return text
end

--- Everything up to the end of the stream.
function M.read_all(connection)
  local parts = {}
  for buffer in connection:chunks() do
    parts[#parts + 1] = buffer:read_string()
  end
  return table.concat(parts)
end

return M
