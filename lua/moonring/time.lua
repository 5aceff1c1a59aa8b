-- moonring.time: sleeping, and functions that run later or again and again. Each is a task, so it may wait, and its
-- scope waits for it and cancels it like any other.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local clock = require "moonring.clock"

local TIMER, DELIVERED = scheduler.TIMER, scheduler.DELIVERED
local check_seconds = errors.check_seconds

local M = {}

-- What a sleeping task waits on.
local sleeping = setmetatable({}, { __tostring = function() return "sleep" end })
function sleeping:withdraw(sleeper) -- luacheck: ignore self
  clock.stop(sleeper[TIMER], sleeper)
end

--- Waits for `seconds`, never less. 0 lets other tasks run.
---@param seconds number
function M.sleep(seconds)
  check_seconds("moonring.sleep", seconds)
  local me = scheduler.current() or scheduler.require_task "moonring.sleep"
  if seconds <= 0 then return scheduler.yield() end
  me[TIMER] = clock.start(seconds, me)
  scheduler.wait(sleeping)
end

-- What a task waits on that has not begun because its time has not come. Nobody runs in it, so a cancellation ends it
-- at once.
local delay = {}
function delay:withdraw(later) -- luacheck: ignore self
  clock.stop(later[TIMER], later)
end

function delay:interrupted(later, reason) -- luacheck: ignore self
  clock.stop(later[TIMER], later)
  later:end_unstarted(reason)
end

function delay:describe_wait(later) -- luacheck: ignore self
  return ("its beginning, %g s after it was asked for"):format(later[DELIVERED])
end

--- Starts `fn(...)` as a task of the running task's innermost scope, `seconds` from now and never earlier. Until then
--- it costs a table and a timer; task:cancel() takes it back.
---@param seconds number
---@param fn function
---@return moonring.Task
function M.after(seconds, fn, ...)
  check_seconds("moonring.after", seconds)
  local me = scheduler.require_task "moonring.after"
  scheduler.check()
  local later = task.spawn_in(task.innermost(me), "moonring.after", 1, fn, ...)
  if later.reason then -- of a scope that is cancelled and ending
    scheduler.make_ready(later, scheduler.INTERRUPTED)
    return later
  end
  later.waiting = delay
  later[DELIVERED] = seconds
  later[TIMER] = clock.start(seconds, later)
  return later
end

local function repeat_every(seconds, fn, ...)
  local due = clock.now()
  while true do
    local now = clock.now()
    -- Moments that have passed while fn ran are left out, and the others stay where they were: no drift.
    due = due + math.max(math.ceil((now - due) / seconds), 1) * seconds
    M.sleep(due - now)
    if fn(...) == false then return end
  end
end

--- Calls `fn(...)` every `seconds` in a task of the running task's innermost scope, until it returns false or the task
--- is cancelled. A call that takes longer than `seconds` lets the moments pass that fall into it.
---@param seconds number more than 0
---@param fn function
---@return moonring.Task
function M.every(seconds, fn, ...)
  check_seconds("moonring.every", seconds)
  if seconds <= 0 then errors.raise("argument", "moonring.every: more than 0 seconds are needed, not %g", seconds) end
  errors.check_function("moonring.every", fn)
  local later = task.spawn_in(task.innermost(scheduler.require_task "moonring.every"), "moonring.every", 1, repeat_every,
    seconds, fn, ...)
  later.fn = repeat_every
  scheduler.make_ready(later, scheduler.READY)
  return later
end

return M
