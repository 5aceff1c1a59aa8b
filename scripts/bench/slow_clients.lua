-- Clients that send a byte of a request each second, for scripts/bench/slow_clients: moonring slow_clients.lua PORT COUNT

local moonring, net = require "moonring", require "moonring.net"

local port, count = tonumber(arg[1]), tonumber(arg[2])
local sent, begun = 0, 0

-- A request that never ends, from a connection that is made anew whenever the server has had enough of it.
local function be_slow(number)
  moonring.sleep(number % 100 / 100) -- not all in the same instant
  while true do
    local connection = assert(net.connect { port = port })
    begun = begun + 1
    local text, at = "GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: ", 0
    while true do
      at = at + 1
      if not connection:write(at <= #text and text:sub(at, at) or "x") then break end
      sent = sent + 1
      moonring.sleep(1)
    end
    connection:close()
  end
end

for number = 1, count do
  moonring.spawn(be_slow, number)
end
repeat
  moonring.sleep(0.05)
until begun >= count
print(("%d slow clients"):format(count))
moonring.sleep(3600)
