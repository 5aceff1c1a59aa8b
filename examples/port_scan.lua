-- Finds the open TCP ports of this machine: `moonring examples/port_scan.lua [first [last [at once]]]`.
-- 10,000 ports by default, at most 500 connects at a time, each with a second.

local moonring, net = require "moonring", require "moonring.net"

local first, last, at_once = tonumber(arg[1]) or 1, tonumber(arg[2]) or 10000, tonumber(arg[3]) or 500
local permits = moonring.semaphore(at_once)
local open, counts = {}, {}

local function probe(port)
  local ok, connection, _, code = pcall(moonring.timeout, 1, net.connect, { port = port })
  permits:release()
  local result = not ok and "no answer" or code or "open"
  counts[result] = (counts[result] or 0) + 1
  if connection and ok then
    open[#open + 1] = port
    connection:close(0)
  end
end

local started = moonring.now()
moonring.scope(function(scope)
  for port = first, last do
    permits:acquire()
    scope:spawn(probe, port)
  end
end)

table.sort(open)
for _, port in ipairs(open) do
  print(("127.0.0.1:%d is open"):format(port))
end
for result, count in pairs(counts) do
  print(("%6d %s"):format(count, result))
end
print(("%d ports in %.2f s"):format(last - first + 1, moonring.now() - started))
