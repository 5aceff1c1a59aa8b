-- moonring.tree: which task belongs to which scope, and cancelling from one on downward. Internal.
--
-- A record is what has the state of a scope: a task, or the frame of a scope inside it (moonring.scope). A task's chain of
-- frames leads from the innermost, its field `scope`, outward by `outer`; its child tasks hang on the record that they
-- were spawned in.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"

local M = {}

--- The record that the task's code runs in.
function M.innermost(task)
  return task.scope or task
end

--- The task whose record it is.
function M.task_of(record)
  return record.task or record
end
local task_of = M.task_of

--- Notes that a frame has more to end than buffers. A task has no such field while it doesn't need it.
function M.fatten(record)
  if record.is_lean then record.is_lean = false end
end
local fatten = M.fatten

--- Hangs a task on the scope that it belongs to.
function M.adopt(record, child)
  fatten(record)
  child.parent = record
  local first = record.first_child
  if first then
    child.next_sibling = first
    first.previous_sibling = child
  end
  record.first_child = child
end

--- Takes a task off its scope.
function M.disown(child)
  local previous, following = child.previous_sibling, child.next_sibling
  if previous then previous.next_sibling = following else child.parent.first_child = following end
  if following then following.previous_sibling = previous end
  child.previous_sibling, child.next_sibling = false, false
end

local cancel

-- Marks one record and what was spawned in it.
local function mark(record, reason)
  if record.reason then return end
  record.reason = reason
  fatten(record)
  local child = record.first_child
  while child do
    local following = child.next_sibling -- one that has not begun may end at once
    cancel(child, reason)
    child = following
  end
end

--- Cancels a record and all below it. What a task waits on may have its own way of that: interrupted(task, reason).
function cancel(record, reason)
  if record.reason or record.is_detached then return end
  local waiting = record.waiting
  if waiting and waiting.interrupted then return waiting:interrupted(record, reason) end
  local task = task_of(record)
  local inside = task.scope
  -- A shield is passed by, and so is what was opened inside one, or by the end of a scope.
  local from, each = inside, inside
  while each and each ~= record do
    if each.is_shield then from = each.outer elseif each.is_ending then from = each end
    each = each.outer
  end
  if record.is_ending then from = each end
  local is_reached = from == inside
  while from and from ~= record do
    mark(from, reason)
    from = from.outer
  end
  mark(record, reason)
  if is_reached and not (inside or record).is_ending then scheduler.interrupt(task) end
end
M.cancel = cancel

--- Whether a failure is only what the scope was cancelled with.
function M.is_cancellation(record, failure)
  local reason = record.reason
  if not reason then return false end
  return failure == reason or errors.is(failure, "cancelled") or errors.is(failure, "deadline")
end

return M
