-- moonring.failure: errors on their way up through tasks: where they came from, and the last who hear of them.
--
-- An error object reaches its receiver untouched, so its traceback is kept beside it. A string can't be told from
-- another of the same text, so the task that raised it keeps that traceback.

local coroutines = require "moonring.coroutines"
local scheduler = require "moonring.scheduler"
local place = require "moonring.place"

local traceback, tracebacks = debug.traceback, coroutines.tracebacks
local current = scheduler.current
local SPAWNER, LINE = scheduler.SPAWNER, scheduler.LINE

local M = {}

--- The handler of every xpcall that a failure may leave by: notes the traceback and returns the failure as it is.
function M.record_traceback(failure)
  if type(failure) == "table" then
    if not tracebacks[failure] then tracebacks[failure] = traceback("", 2):sub(2) end
    return failure
  end
  local task = current()
  if task and task.is_rethrowing then
    task.is_rethrowing = nil
  elseif type(failure) == "string" and task then
    task.failure_traceback = traceback("", 2):sub(2)
  end
  return failure
end

--- The traceback of an error that left a task, where one is known.
---@return string?
function M.traceback_of(failure, task)
  if type(failure) == "table" then return tracebacks[failure] end
  return task and task.failure_traceback
end

--- Raises a failure that has its traceback already.
function M.raise_again(task, failure)
  if type(failure) == "string" then task.is_rethrowing = true end
  error(failure, 0)
end

--- Makes a failure go on where its task was spawned, with `heir` as the task that has it now.
function M.inherit(failure, task, heir)
  local trace = M.traceback_of(failure, task)
  if not trace then return end
  if task[SPAWNER] then trace = trace .. "\nspawned at " .. place.text(task[SPAWNER], task[LINE]) end
  if type(failure) == "table" then
    tracebacks[failure] = trace
  else
    heir.failure_traceback = trace
  end
end

--- Tells standard error of a failure that nobody receives.
---@param what string how it came about
function M.report(what, failure, task)
  local text = { ("moonring: %s: %s"):format(what, tostring(failure)) }
  local trace = M.traceback_of(failure, task)
  if trace and trace ~= "" then text[#text + 1] = trace end
  if task and task[SPAWNER] then text[#text + 1] = "spawned at " .. place.text(task[SPAWNER], task[LINE]) end
  io.stderr:write(table.concat(text, "\n"), "\n")
end

return M
