-- moonring.test: what specs need.

local task = require "moonring.task"
local clock = require "moonring.clock"
local operation = require "moonring.operation"

local M = {}

local function finish(ok, ...)
  clock.make_real()
  if not ok then error((...), 0) end
  return ...
end

--- Runs `fn(...)` in a scope of its own under virtual time, which begins at 0, and returns what it returns. Sleeps,
--- deadlines, timers and moonring.now go by that time without knowing: it stands still while any task can run or the
--- kernel has something to tell, and then jumps to the next timer. Specs of hours take milliseconds, and the order of
--- things is the same in every run. Sleeps that began before go on in real time. Data under way between sockets may
--- arrive after a jump: use it for logic, not for networks.
---@param fn fun(scope: moonring.Scope, ...): ...
function M.virtual_clock(fn, ...)
  clock.make_virtual()
  operation.restart_turns()
  return finish(xpcall(task.open_scope, task.record_traceback, fn, ...))
end

return M
