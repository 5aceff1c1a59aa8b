-- UDP echo on moonring. Usage: moonring udp_echo.lua PORT
local net = require("moonring.net")

local socket = assert(net.datagram({ host = "127.0.0.1", port = tonumber(arg[1]) }))
for datagram, from in socket:datagrams() do
  socket:send(datagram, from)
end
