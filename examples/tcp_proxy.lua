-- A TCP proxy: what one side sends goes to the other, without a copy.
--   moonring examples/tcp_proxy.lua [port] [upstream port] [upstream host]
local moonring = require "moonring"
local net = require "moonring.net"

local upstream_port, upstream_host = tonumber(arg[2]) or 7007, arg[3]
local listener = assert(net.listen { port = tonumber(arg[1]) or 7008 })
print("proxy on " .. tostring(listener:address()))

local function pass(from, to)
  for buffer in from:chunks() do
    if not to:write(buffer) then return end
  end
  to:shutdown()
end

net.serve(listener, function(client)
  moonring.scope(function(scope)
    local upstream, message = scope:own(net.connect { host = upstream_host, port = upstream_port })
    if not upstream then return print(message) end
    scope:spawn(pass, upstream, client)
    pass(client, upstream)
  end)
end)
