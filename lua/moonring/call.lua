-- moonring.call: waiting for system calls. Internal; what carries them out is runtime/call/call.h.
--
-- A function of C starts the call and returns its slot, this module waits for its end:
--
--   local handle = call.begin "fs.rename"
--   local result = call.wait(C.mr_call_rename(handle, from, to, 0), "fs.rename", from)
--
-- The wait ends with the call or with the cancellation of the task, which leaves at once: the kernel is asked to stop,
-- and what it has done by then stays done.

local native = require "moonring.native"
local scheduler = require "moonring.scheduler"
local loop = require "moonring.loop"
local task = require "moonring.task"

local C = native.C
local calls = loop.calls
local run, wait_for, check, require_task = scheduler.run, scheduler.wait, scheduler.check, scheduler.require_task
local current = scheduler.current

local M = {}

-- What a task waits on whose call is under way: the call's slot and name are kept on the task.
local calling = {}

function calling:withdraw(caller) -- luacheck: ignore self
  local slot = caller.call
  if calls[slot] == caller then
    calls[slot] = nil
    C.mr_call_abandon(loop.handle(), slot)
  end
end

function calling:describe_wait(caller) -- luacheck: ignore self
  local subject = caller.call_subject
  return subject and ("%s of %s"):format(caller.call_name, tostring(subject)) or caller.call_name
end

-- The call of a task has ended; see loop.calls.
function task.Task:called()
  run(self)
end

--- What comes before the start of a call: raises when no task runs here, or when its scope has been cancelled, so that
--- nothing is begun. Returns the loop.
---@param what string the public function
function M.begin(what)
  if not current() then require_task(what) end
  check()
  return loop.handle()
end

-- Waits for the end of the call in `slot`.
local function await(slot, what, subject)
  local me = current()
  calls[slot] = me
  me.call, me.call_name, me.call_subject = slot, what, subject
  wait_for(calling)
end

--- Waits for the end of the call in `slot`, and returns its result, a negative errno for a failure. What the call has
--- given beside it can be read until finish. `slot` may be the negative errno of a call that could not be started.
---@param slot integer
---@param what string the public function, for the tree of tasks
---@param subject any what it is about
---@return integer result
function M.wait_keeping(slot, what, subject)
  if slot < 0 then return slot end
  await(slot, what, subject)
  return C.mr_call_result(loop.handle(), slot)
end

--- Gives the slot of a call back that wait_keeping has waited for.
function M.finish(slot)
  if slot >= 0 then C.mr_call_finish(loop.handle(), slot) end
end

--- The same as wait_keeping, for a call that gives nothing beside its result.
---@param slot integer
---@param what string
---@param subject any
---@return integer result
function M.wait(slot, what, subject)
  if slot < 0 then return slot end
  await(slot, what, subject)
  return C.mr_call_finish(loop.handle(), slot)
end

return M
