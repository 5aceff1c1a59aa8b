-- UDP echo beside luv: CPU time of the server per datagram. Started by scripts/bench/udp, from the root of the project.
-- Servers take turns in each round, so that what the machine does meanwhile meets both.

local HERE = "scripts/bench/"
package.path = HERE .. "?.lua;" .. package.path
local process = require("process")
local report = require("report")

local BUILD = "build/bench/"
local SERVER_CORE, LOAD_CORE = 0, 1
local ROUNDS, SECONDS = tonumber(arg[1]) or 5, tonumber(arg[2]) or 3
local PORT = 18900

local SERVERS = {
  { name = "moonring", command = { "build/moonring", HERE .. "udp_echo.lua" } },
  { name = "luv", command = { "luajit", HERE .. "peers/luv_udp.lua" } },
}
local LOADS = {
  { name = "1 socket, 1 datagram of 64 bytes", sockets = 1, flying = 1, bytes = 64 },
  { name = "16 sockets, 8 datagrams of 64 bytes each", sockets = 16, flying = 8, bytes = 64 },
  { name = "16 sockets, 8 datagrams of 1400 bytes each", sockets = 16, flying = 8, bytes = 1400 },
}

local function load(which, port, seconds)
  local command = ("taskset -c %d %sudp_load %d %d %d %g %d"):format(LOAD_CORE, BUILD, port, which.sockets, which.flying,
    seconds, which.bytes)
  local pipe = io.popen(command)
  local text = pipe:read("*a")
  pipe:close()
  local datagrams, took, lost = text:match("datagrams=(%d+) seconds=([%d.]+) lost=(%d+)")
  assert(datagrams, "the load has failed: " .. command .. "\n" .. text)
  return tonumber(datagrams), tonumber(took), tonumber(lost)
end

-- One server under one load: microseconds of CPU for each datagram, datagrams a second, datagrams lost.
local function measure(server, which)
  PORT = PORT + 1
  local command = { unpack(server.command) }
  command[#command + 1] = PORT
  local pid = process.start(command, SERVER_CORE, BUILD .. "udp_server.log")
  process.sleep(0.3)
  load(which, PORT, 0.5)
  local before = process.cpu(pid)
  local datagrams, seconds, lost = load(which, PORT, SECONDS)
  local used = process.cpu(pid) - before
  assert(process.is_running(pid), server.name .. " has ended: " .. (process.read(BUILD .. "udp_server.log") or ""))
  process.stop(pid)
  return used / datagrams * 1e6, datagrams / seconds, lost
end

for _, which in ipairs(LOADS) do
  print(which.name)
  local costs, rates, losts, ratios = {}, {}, {}, {}
  for round = 1, ROUNDS do
    for _, server in ipairs(SERVERS) do
      local name = server.name
      costs[name], rates[name] = costs[name] or {}, rates[name] or {}
      local lost
      costs[name][round], rates[name][round], lost = measure(server, which)
      losts[name] = (losts[name] or 0) + lost
    end
    ratios[round] = costs.moonring[round] / costs.luv[round]
  end
  for _, server in ipairs(SERVERS) do
    local name = server.name
    print(("  %-9s %6.2f us of CPU a datagram, %8.0f a second, %d lost"):format(name, report.quantile(costs[name], 0.5),
      report.quantile(rates[name], 0.5), losts[name]))
  end
  print(("  moonring / luv: %.2f (%.2f to %.2f)"):format(report.quantile(ratios, 0.5), report.quantile(ratios, 0),
    report.quantile(ratios, 1)))
end
