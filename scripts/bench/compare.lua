-- Compares moonring with the floor and its peers. Started by scripts/bench/run, which builds what this needs:
-- luajit scripts/bench/compare.lua, from the root of the project. What is measured, and why so, is in
-- docs/performance.md.

local HERE = "scripts/bench/"
package.path = HERE .. "?.lua;" .. package.path
local process = require("process")
local report = require("report")

local BUILD = "build/bench/"
local SERVER_CORE, LOAD_CORE = 0, 1
local WARM_UP_SECONDS = 1 -- wrk counts in whole seconds
local START_SECONDS = 5 -- how long a server may take until it listens
local FIRST_PORT, LAST_PORT = 18000, 27999 -- below the ephemeral ports

-- ---- the targets and the loads

local ROOT = io.popen("pwd"):read("*l") .. "/"

-- Fills peers/NAME in and writes it to build/bench/; returns its path.
local function configuration(name, values)
  local text = process.read(HERE .. "peers/" .. name):gsub("@(%u+)@", values)
  local file = assert(io.open(BUILD .. name, "w"))
  file:write(text)
  file:close()
  return ROOT .. BUILD .. name
end

local function nginx_command(port)
  local path = configuration("nginx.conf", { PORT = port, DIRECTORY = ROOT .. BUILD:sub(1, -2) })
  return { "nginx", "-e", "stderr", "-c", path }
end

-- Where the load of a proxy listens as its upstream.
local function upstream_port(port)
  return port - 8000
end

local function haproxy(name, splice)
  return { name = name, needs = "command -v haproxy", command = function(port)
    return { "haproxy", "-db", "-f",
      configuration("haproxy.cfg", { PORT = port, UPSTREAM = upstream_port(port), SPLICE = splice }) }
  end }
end

-- A target that is a plain command: its words, then the port. `needs` is a shell test for its presence.
local function target(name, needs, ...)
  local words = { ... }
  return {
    name = name,
    needs = needs,
    command = function(port)
      local command = { unpack(words) }
      command[#command + 1] = port
      return command
    end,
  }
end

local LUV = "luajit -e 'require \"luv\"'"
local TARGETS = {
  http = {
    target("moonring", "test -x build/moonring -a -f examples/http_hello.lua", "build/moonring",
      "examples/http_hello.lua"),
    target("floor", "test -x build/bench/floor", BUILD .. "floor", "http"),
    { name = "nginx", needs = "command -v nginx", command = nginx_command },
    target("luv", LUV, "luajit", HERE .. "peers/luv_http.lua"),
    target("node", "command -v node", "node", HERE .. "peers/node_http.js"),
  },
  echo = {
    target("moonring", "test -x build/moonring -a -f examples/echo.lua", "build/moonring", "examples/echo.lua"),
    target("floor", "test -x build/bench/floor", BUILD .. "floor", "echo"),
    target("luv", LUV, "luajit", HERE .. "peers/luv_echo.lua"),
    target("node", "command -v node", "node", HERE .. "peers/node_echo.js"),
  },
  file = {
    { name = "moonring", needs = "test -x build/moonring -a -f examples/http_static.lua", command = function(port)
      return { "build/moonring", "examples/http_static.lua", BUILD, port }
    end },
    { name = "nginx", needs = "command -v nginx", command = nginx_command },
  },
  proxy = {
    { name = "moonring", needs = "test -x build/moonring -a -f examples/tcp_proxy.lua", command = function(port)
      return { "build/moonring", "examples/tcp_proxy.lua", port, upstream_port(port) }
    end },
    haproxy("haproxy", "nosplice"),
    haproxy("haproxy-splice", ""),
  },
}

local function wrk(connections, depth, kind)
  return function(port, seconds)
    return ("wrk -t1 -c%d -d%d -s %swrk_report.lua http://127.0.0.1:%d/ -- %d %s"):format(connections, seconds, HERE, port,
      depth, kind or "")
  end
end

local LOADS = {
  { name = "http-1", kind = "http", title = "HTTP, 1 connection", command = wrk(1, 1) },
  { name = "http-64", kind = "http", title = "HTTP, 64 connections", command = wrk(64, 1) },
  { name = "http-1000", kind = "http", title = "HTTP, 1000 connections", command = wrk(1000, 1) },
  -- wrk corrects latencies by an interval per response, while they are those of a group: they are void here.
  { name = "http-64x16", kind = "http", title = "HTTP, 64 connections, 16 requests pipelined", command = wrk(64, 16),
    no_latency = true },
  { name = "http-64-browser", kind = "http", title = "HTTP, 64 connections, 12 header fields as browsers send them",
    command = wrk(64, 1, "browser") },
  { name = "file-16", kind = "file", title = "A static file of 1 MiB, 16 connections", base = "nginx",
    command = wrk(16, 1, "file") },
  { name = "echo-64", kind = "echo", title = "Echo of 64 bytes, 64 connections", command = function(port, seconds)
    return ("%secho_load %d 64 %d 64"):format(BUILD, port, seconds)
  end },
  { name = "churn-64", kind = "echo", title = "Echo of 64 bytes, a connection for each, 64 at once", work = "connection",
    command = function(port, seconds)
      return ("%secho_load %d 64 %d 64 churn"):format(BUILD, port, seconds)
    end },
  { name = "proxy-8", kind = "proxy", title = "TCP proxy, 8 streams", work = "MiB", base = "haproxy",
    command = function(port, seconds)
      return ("%sbulk_load %d 8 %d %d"):format(BUILD, port, seconds, upstream_port(port))
    end },
}

local USAGE = [==[
usage: scripts/bench/run [--quick] [--only TARGET[,TARGET]] [--load LOAD[,LOAD]] [--markdown FILE]

  --quick          one round of one second
  --only TARGET    moonring, floor, nginx, luv, node, haproxy, haproxy-splice (the ratios need the floor, or haproxy)
  --load LOAD      http-1, http-64, http-1000, http-64x16, http-64-browser, file-16, echo-64, churn-64, proxy-8
  --markdown FILE  also writes the tables between the marks <!-- table --> and <!-- /table --> of FILE

Environment: ROUNDS (5), SECONDS_EACH (2, whole seconds).
]==]

local function parse_options(arguments)
  local options = { rounds = tonumber(os.getenv("ROUNDS")) or 5, seconds = tonumber(os.getenv("SECONDS_EACH")) or 2 }
  local function names(text, known)
    local set = {}
    for name in (text or ""):gmatch("[^,]+") do
      if not known[name] then
        io.stderr:write("unknown name: ", name, "\n", USAGE)
        os.exit(2)
      end
      set[name] = true
    end
    return next(set) and set
  end
  local known_targets, known_loads = {}, {}
  for _, list in pairs(TARGETS) do
    for _, each in ipairs(list) do
      known_targets[each.name] = true
    end
  end
  for _, load in ipairs(LOADS) do
    known_loads[load.name] = true
  end
  local i = 1
  while arguments[i] do
    local option, value = arguments[i], arguments[i + 1]
    if option == "--quick" then
      options.rounds, options.seconds = 1, 1
    elseif option == "--only" and value then
      options.only = names(value, known_targets)
      i = i + 1
    elseif option == "--load" and value then
      options.load = names(value, known_loads)
      i = i + 1
    elseif option == "--markdown" and value then
      options.markdown = value
      i = i + 1
    else
      io.stderr:write(USAGE)
      os.exit(option == "--help" and 0 or 2)
    end
    i = i + 1
  end
  options.seconds = math.max(1, math.floor(options.seconds))
  return options
end

-- ---- one measurement

local next_port = FIRST_PORT + os.time() % 100 * 90

-- A port of its own for every server, so that no run meets the connections in TIME_WAIT of another.
local function free_port()
  repeat
    next_port = next_port < LAST_PORT and next_port + 1 or FIRST_PORT
  until not process.is_listening(next_port)
  return next_port
end

-- Runs the load generator on its core; returns its numbers, or nil and what it said.
local function run_load(load, port, seconds)
  local command = ("timeout %d taskset -c %d %s 2>&1"):format(seconds + 20, LOAD_CORE, load.command(port, seconds))
  local pipe = io.popen(command)
  local output = pipe:read("*a")
  pipe:close()
  local line = output:match("result ([^\n]+)")
  if not line then
    return nil, "the load generator failed: " .. output:sub(-300)
  end
  local numbers = {}
  for key, value in line:gmatch("([%w_]+)=(%S+)") do
    numbers[key] = tonumber(value)
  end
  return numbers
end

local function wait_until_listening(pid, port)
  for _ = 1, START_SECONDS * 100 do
    if process.is_listening(port) then
      return true
    end
    if not process.is_running(pid) then
      return false
    end
    process.sleep(0.01)
  end
  return false
end

-- Starts a fresh server, warms it up, measures one window, ends it. Returns the measurement, or nil and the reason.
local function measure(server, load, seconds)
  local port, log = free_port(), BUILD .. server.name .. ".log"
  local pid = process.start(server.command(port), SERVER_CORE, log)
  local function try()
    if not wait_until_listening(pid, port) then
      return nil, "the server did not start: " .. (process.read(log) or ""):sub(-300)
    end
    local warm_up, warm_up_failure = run_load(load, port, WARM_UP_SECONDS)
    if not process.is_running(pid) then
      return nil, "the server ended in the warm-up: " .. (process.read(log) or ""):sub(-300)
    end
    if not warm_up then
      return nil, warm_up_failure
    end
    if warm_up.errors > 0 then
      return nil, ("%d errors in the warm-up"):format(warm_up.errors)
    end
    local total, user, system = process.cpu(pid)
    local numbers, failure = run_load(load, port, seconds)
    local total_after, user_after, system_after = process.cpu(pid)
    if not process.is_running(pid) then
      return nil, "the server ended under load: " .. (process.read(log) or ""):sub(-300)
    end
    if not numbers then
      return nil, failure
    end
    if numbers.errors > 0 or numbers.requests == 0 then
      return nil, ("%d errors in %d requests"):format(numbers.errors, numbers.requests)
    end
    local cpu_us = (total_after - total) * 1e6 / numbers.requests
    local ticks = user_after - user + system_after - system
    local user_share = ticks > 0 and (user_after - user) / ticks or 0
    return {
      rate = numbers.requests / numbers.seconds,
      cpu_us = cpu_us,
      user_us = cpu_us * user_share,
      system_us = cpu_us * (1 - user_share),
      p50_us = not load.no_latency and numbers.p50_us or nil,
      p99_us = not load.no_latency and numbers.p99_us or nil,
      peak_mib = process.peak_memory(pid) / 1048576,
    }
  end
  local measurement, failure = try()
  process.stop(pid)
  return measurement, failure
end

-- ---- the comparison

local function first_line(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local line = pipe:read("*l")
  pipe:close()
  return line or "unknown"
end

-- The chosen targets that are there, and a note for each one that is not.
local function present_targets(only, notes)
  local present, absent = {}, {}
  for kind, known in pairs(TARGETS) do
    local list = {}
    present[kind] = list
    for _, each in ipairs(known) do
      if not only or only[each.name] then
        if os.execute(each.needs .. " >/dev/null 2>&1") == 0 then
          list[#list + 1] = each
        else
          absent[#absent + 1] = each.name .. " (" .. kind .. ")"
        end
      end
    end
  end
  if #absent > 0 then
    table.sort(absent)
    notes[#notes + 1] = "Skipped, not there: " .. table.concat(absent, ", ") .. "."
  end
  return present
end

local function main()
  local options = parse_options(arg)
  local notes = {
    ("Linux %s, %s. %d rounds of %d s, medians."):format(first_line("uname -r"),
      first_line("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo"), options.rounds, options.seconds),
  }
  local targets = present_targets(options.only, notes)
  local loads, results, failures = {}, {}, {}
  for _, load in ipairs(LOADS) do
    if not options.load or options.load[load.name] then
      loads[#loads + 1] = load
      results[load.name] = {}
    end
  end
  local show_progress = os.execute("test -t 2") == 0
  for round = 1, options.rounds do
    for _, load in ipairs(loads) do
      local list = targets[load.kind]
      for place = 1, #list do
        local server = list[(place + round - 2) % #list + 1] -- another one begins in every round
        if show_progress then
          io.stderr:write(("\27[Kround %d of %d: %s, %s\r"):format(round, options.rounds, load.name, server.name))
        end
        local cells = results[load.name]
        cells[server.name] = cells[server.name] or {}
        local measurement, failure = measure(server, load, options.seconds)
        cells[server.name][round] = measurement
        if not measurement then
          failures[#failures + 1] = ("Failed: %s, %s, round %d: %s"):format(server.name, load.name, round,
            failure:gsub("%s+", " "))
        end
      end
    end
  end
  if show_progress then
    io.stderr:write("\27[K")
  end
  for _, failure in ipairs(failures) do
    notes[#notes + 1] = failure
  end
  io.write(report.format(loads, targets, results, notes, false))
  if options.markdown then
    report.replace_section(options.markdown, report.format(loads, targets, results, notes, true))
  end
  os.exit(#failures == 0 and 0 or 1)
end

main()
