-- moonring: tasks, scopes and time; memory by moonring.buffer, networks by moonring.net, HTTP by moonring.http.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scope = require "moonring.scope"
local task = require "moonring.task"
local deadline = require "moonring.deadline"
local scheduler = require "moonring.scheduler"
local loop = require "moonring.loop"
local clock = require "moonring.clock"
local time = require "moonring.time"
local operation = require "moonring.operation"
local inspect = require "moonring.inspect"
local module_loader = require "moonring.module_loader"
local stdio = require "moonring.stdio"
require "moonring.buffer"
require "moonring.iovec"
if native.C.mr_trace_enabled() ~= 0 then require "moonring.trace" end

local C, ffi = native.C, native.ffi

local M = {}

--- Runs `fn(scope, ...)` in a new scope and returns what it returns. What the scope owns is released, last made
--- first, and its child tasks have ended, when this returns or raises.
--- ```lua
--- local moonring = require "moonring"
---
--- local sum = moonring.scope(function(scope)
---   scope:deadline(2)                       -- everything in here, together
---   local parts = moonring.channel(2)
---   scope:spawn(function() parts:send(20) end)
---   scope:spawn(function() parts:send(22) end)
---   return parts:receive() + parts:receive()
--- end)
--- assert(sum == 42)
--- ```
M.scope = scope.open

M.spawn = task.spawn
M.timeout = deadline.timeout
M.shield = deadline.shield

--- The task that runs now.
---@type fun(): moonring.Task?
M.current = scheduler.current

--- Raises when the running task's scope has been cancelled. Nothing can come to pass while a task computes, neither a
--- deadline nor a signal: code that computes for long gives way with moonring.sleep(0), which checks as well.
M.check = scheduler.check

M.sleep = time.sleep
M.after = time.after
M.every = time.every

--- Monotonic time in seconds, for measuring durations.
---@type fun(): number
M.now = clock.now

--- Seconds since 1970, by the system's clock, which may jump.
---@type fun(): number
M.wall = clock.wall

M.select = operation.select
M.choice = operation.choice
M.sleep_op = operation.sleep_op

M.channel = require("moonring.channel").new
M.semaphore = require("moonring.semaphore").new
M.event = require("moonring.event").new
M.pool = require("moonring.pool").new
M.signal = require("moonring.signal").new

--- Makes a cache: values by key, for a time, and only so many.
---@param options? moonring.CacheOptions
---@return moonring.Cache
function M.cache(options)
  return require("moonring.cache").new(options)
end

--- Makes a limiter: so many per second, for each key by itself.
---@param options moonring.LimiterOptions
---@return moonring.Limiter
function M.limiter(options)
  return require("moonring.limiter").new(options)
end

--- Calls `fn(...)` until it returns something else than nil or false, and returns that. When it has been tried often
--- enough, what it returned last is returned: nil, message, code. How long it may take in all is the deadline of the scope.
--- ```lua
--- local moonring, net = require "moonring", require "moonring.net"
---
--- local connection, message, code = moonring.retry({ attempts = 3, first = 0.01, codes = { "ECONNREFUSED" } },
---   net.connect, { port = 1 })
--- print(connection, message, code)
--- ```
---@param options moonring.RetryOptions
---@param fn function
function M.retry(options, fn, ...)
  return require("moonring.retry").retry(options, fn, ...)
end

M.stdout, M.stderr = stdio.stdout, stdio.stderr

M.require = module_loader.require

M.tasks = inspect.tasks
M.watchdog = inspect.watchdog

-- What tostring shows of stats(): one line each for the loop and its memory.
local statistics_metatable = {
  __tostring = function(self)
    local lines = {}
    for _, part in ipairs { self, self.memory } do
      local names, words = {}, {}
      for name, value in pairs(part) do
        if type(value) == "number" then names[#names + 1] = name end
      end
      table.sort(names)
      for i, name in ipairs(names) do
        words[i] = ("%s=%.0f"):format(name, part[name])
      end
      lines[#lines + 1] = table.concat(words, " ")
    end
    return ("moonring.Statistics(%s)\n  memory(%s)"):format(lines[1], lines[2])
  end,
}

local function copy_numbers(from, names)
  local out = {}
  for _, name in ipairs(names) do
    out[name] = tonumber(from[name])
  end
  return out
end

local memory_names = {
  "slab_count", "slab_bytes", "slab_bytes_peak", "chunk_count", "chunk_bytes", "iovec_count", "iovec_bytes", "allocations",
  "lua_bytes", "leaks_caught", "refusals", "foreign_bytes", "stale_releases", "quarantine_bytes",
}
local loop_names = {
  "turns", "enters", "completions", "events", "accepted", "connections", "connections_peak", "listeners", "timers",
  "operations", "calls", "forgotten", "stale", "sends", "bytes_received", "bytes_sent", "bytes_from_files", "bytes_copied",
  "receive_refusals", "receive_ring_bytes", "incremental", "processes", "spawned",
}

--- The loop's counters; see mr_loop_statistics in runtime/loop/loop.h. `memory` is a table of those of its memory, `tasks`
--- the number of tasks that have not ended.
---@return table
function M.stats()
  local statistics = ffi.new("mr_loop_statistics")
  C.mr_loop_statistics_get(loop.handle(), statistics)
  local out = copy_numbers(statistics, loop_names)
  out.memory = copy_numbers(statistics.memory, memory_names)
  out.tasks = task.count()
  return setmetatable(out, statistics_metatable)
end

--- Runs `fn(...)` as a task and the loop until it has ended; for programs that a stock luajit runs. Raises what the
--- task raises.
function M.run(fn, ...)
  if task.current() then
    errors.raise("busy", "moonring.run: a task runs here already; use moonring.spawn or moonring.scope")
  end
  local root = task.root(fn, ...)
  loop.run_until(root)
  task.raise_failure(root)
end

-- Standard input is read from the first mention of moonring.stdin on, so it is made then.
return setmetatable(M, {
  __index = function(_, name)
    if name == "stdin" then return stdio.stdin() end
  end,
})
