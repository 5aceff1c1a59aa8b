-- An echo server: what comes in goes out, from the same memory.
--   moonring examples/echo.lua [port]
local net = require "moonring.net"

local listener = assert(net.listen { port = tonumber(arg[1]) or 7007 })
print("echo on " .. tostring(listener:address()))

net.serve(listener, function(connection)
  for buffer in connection:chunks() do
    connection:write(buffer)
  end
end)
