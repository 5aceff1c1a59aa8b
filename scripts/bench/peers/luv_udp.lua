-- libuv from plain LuaJIT: UDP echo. Usage: luajit luv_udp.lua PORT
local uv = require("luv")

local server = uv.new_udp()
assert(server:bind("127.0.0.1", assert(tonumber(arg[1]), "usage: luv_udp.lua PORT")))
assert(server:recv_start(function(failure, data, from)
  if not failure and data then
    -- Tried at once, as libuv can do without a request; queued when the socket is full.
    if not server:try_send(data, from.ip, from.port) then
      server:send(data, from.ip, from.port, function() end)
    end
  end
end))
uv.run()
