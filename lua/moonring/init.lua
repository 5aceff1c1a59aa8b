-- moonring: tasks, scopes and time; memory by moonring.buffer, networks by moonring.net, HTTP by moonring.http.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"
require "moonring.iovec"
if native.C.mr_trace_enabled() ~= 0 then require "moonring.trace" end

local C, ffi = native.C, native.ffi

local M = {}

--- Runs `fn(scope, ...)` in a new scope and returns what it returns. What the scope owns is released, last made
--- first, and its child tasks have ended, when this returns or raises.
M.scope = task.open_scope

--- Starts `fn(...)` as a task of the running task's innermost scope, which waits for it before it ends.
M.spawn = task.spawn

--- A buffer of `capacity` bytes that the scope releases when it ends.
---@param capacity integer bytes
---@return moonring.Buffer
function task.Scope:allocate(capacity)
  return self:own(buffer.owned(capacity))
end

--- The same with the address of its first byte a multiple of `alignment`, a power of two.
---@param capacity integer bytes
---@param alignment integer
---@return moonring.Buffer
function task.Scope:allocate_aligned(capacity, alignment)
  return self:own(buffer.owned(capacity, alignment))
end

-- What a sleeping task waits on: the sleep's timer is kept on the task.
local sleeping = {}
function sleeping:withdraw(sleeper) -- luacheck: ignore self
  local timer = sleeper.timer
  loop.sleepers[timer] = nil
  C.mr_timer_stop(loop.handle(), timer)
end

--- Waits for `seconds`, never less. 0 lets other tasks run.
---@param seconds number
function M.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds then
    errors.raise("argument", "moonring.sleep: a number of seconds is needed, not %s", tostring(seconds))
  end
  local me = task.current()
  if not me then errors.raise("argument", "moonring.sleep: no task runs here; start one with moonring.run(fn)") end
  if seconds <= 0 then return task.yield() end
  local timer = C.mr_timer_start(loop.handle(), seconds)
  if timer < 0 then
    local _, message, code = errors.world(timer, "moonring.sleep")
    errors.raise(code, "%s", message)
  end
  me.timer = timer
  loop.sleepers[timer] = me
  task.wait(sleeping)
end

--- Monotonic time in seconds, for measuring durations.
---@return number
function M.now()
  return C.mr_clock_now()
end

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
  "operations", "forgotten", "stale", "sends", "bytes_received", "bytes_sent", "bytes_copied", "receive_refusals",
  "receive_ring_bytes", "incremental",
}

--- The loop's counters; see mr_loop_statistics in runtime/loop.h. `memory` is a table of those of its memory, `tasks`
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
  if not root.ok then error(root.failure, 0) end
end

return M
