-- moonring.task: tasks, scopes and the scheduler.
--
-- A task is a coroutine that may wait. A scope is a block that owns what is made in it: memory, sockets and child
-- tasks. Each task is itself the outermost scope of its own code, so scopes form one tree, and cancelling a scope
-- means marking the subtree below it and waking whoever waits there. The mark stays: every later wait inside a
-- cancelled scope raises again, so a pcall can't swallow it.
--
-- A scope ends in this order: its children are waited for (cancelled first, when it ends by an error), then what it
-- owns is released, last made first. While that happens cancellation does not interrupt it again.
--
-- To wait, a piece of code notes the task where its event will find it, and calls task.wait(object) with the object
-- that offers withdraw(task) for undoing that note. The loop calls task.wake when the event has come.

local errors = require "moonring.errors"

local yield, create, resume = coroutine.yield, coroutine.create, coroutine.resume
local traceback = debug.traceback

local M = {}

---@class moonring.Scope
---@field is_open boolean
-- The fields that are usually not set have their defaults here and on Task, where the first look behind the object
-- finds them.
local Scope = { __name = "moonring.Scope", is_open = true, reason = false, is_ending = false }
Scope.__index = Scope

---@class moonring.Task: moonring.Scope
local Task = setmetatable({ __name = "moonring.Task", is_open = true, reason = false, is_ending = false, scope = false },
  { __index = Scope })
Task.__index = Task

local current -- the task that runs now, nil in the scheduler
local ready, ready_first, ready_last = {}, 1, 0
local idle_coroutines = {}
local IDLE_COROUTINES_MAX = 1024
local task_count, serial = 0, 0

-- Tracebacks of errors on their way up, by error object. Kept beside the object, which its receiver gets untouched.
local tracebacks = setmetatable({}, { __mode = "k" })

local function record_traceback(failure)
  if type(failure) == "table" then
    if not tracebacks[failure] then tracebacks[failure] = traceback("", 2):sub(2) end
    return failure
  end
  if type(failure) == "string" and current then
    current.failure_traceback = traceback("", 2):sub(2)
  end
  return failure
end

-- Ten thousand idle connections are ten thousand tasks, so a task has few fields of its own: `scope` is set only
-- inside a nested scope, `task` only on those, and `owned` only when a scope owns more than the resource it was
-- started with.

local function innermost(task)
  return task.scope or task
end

local function owner_of(scope)
  return scope.task or scope
end

-- The tree ------------------------------------------------------------------------------------------------------------

local function adopt(parent, child)
  child.parent = parent
  local first = parent.first_child
  child.next_sibling = first
  if first then first.previous_sibling = child end
  parent.first_child = child
end

local function disown(child)
  local parent = child.parent
  local previous, following = child.previous_sibling, child.next_sibling
  if previous then previous.next_sibling = following else parent.first_child = following end
  if following then following.previous_sibling = previous end
  child.previous_sibling, child.next_sibling = nil, nil
end

local function make_ready(task)
  if task.queued then return end
  task.queued = true
  ready_last = ready_last + 1
  ready[ready_last] = task
end

-- Takes the task out of its wait, wherever that is noted, and lets it run.
local function interrupt(task)
  local object = task.waiting
  if object then
    task.waiting = nil
    object:withdraw(task)
    make_ready(task)
  end
end

local function cancel(scope, reason)
  if scope.reason then return end
  scope.reason = reason
  local child = scope.first_child
  while child do
    local following = child.next_sibling
    cancel(child, reason)
    child = following
  end
  local task = owner_of(scope)
  if innermost(task) == scope and not scope.is_ending then interrupt(task) end
end

-- Waiting -------------------------------------------------------------------------------------------------------------

--- Suspends the running task until it is woken. `object` is what it waits on and offers withdraw(task).
--- Raises the reason when its scope has been cancelled, before or while it waits.
function M.wait(object)
  local task = current
  local scope = task.scope or task
  local reason = scope.reason
  if reason and not scope.is_ending then
    object:withdraw(task)
    error(reason, 0)
  end
  task.waiting = object
  yield()
  reason = scope.reason
  if reason and not scope.is_ending then error(reason, 0) end
end

--- Lets a waiting task run, now: called by the loop and by whoever hands it something, from the scheduler only.
local function run(task)
  task.waiting = nil
  current = task
  local ok, failure = resume(task.coroutine)
  current = nil
  if not ok then error(failure, 0) end -- the coroutine's own frame has failed, not the task's function
end
M.run = run

--- Lets a waiting task run when its turn comes. May be called from anywhere.
function M.wake(task)
  task.waiting = nil
  make_ready(task)
end

--- Raises when the running task's scope has been cancelled. What a wait does first.
function M.check()
  local scope = innermost(current)
  if scope.reason and not scope.is_ending then error(scope.reason, 0) end
end

-- What a task waits on that only lets others run.
local turn = {}
function turn.withdraw()
end

--- Lets every task run that is ready now, before the running one goes on.
function M.yield()
  make_ready(current)
  M.wait(turn)
end

-- What the end of a scope waits on: its last child.
local children = {}
function children.withdraw()
end

local function wait_for_children(scope)
  local task = owner_of(scope)
  while scope.first_child do
    scope.joining = true
    task.waiting = children
    yield()
  end
  scope.joining = nil
end

-- Ends ----------------------------------------------------------------------------------------------------------------

-- Releases what a scope owns, last made first. A release that fails doesn't keep the others from theirs.
local function release_owned(scope)
  local failure
  local function release(resource)
    local ok, problem = xpcall(resource.close, record_traceback, resource)
    if not ok then failure = failure or problem end
  end
  local owned = scope.owned or {}
  for i = #owned, 1, -1 do
    release(owned[i])
    owned[i] = nil
  end
  scope.owned = nil
  if scope.resource then release(scope.resource) end
  scope.resource = nil
  return failure
end

-- Returns ok and the failure that leaves the scope: the block's own, a child's, or that of a release.
local function close_scope(scope, ok, failure)
  if not ok and not scope.reason then cancel(scope, errors.new("cancelled", "cancelled: its scope ended by an error")) end
  scope.is_ending = true
  wait_for_children(scope)
  scope.is_open = false
  local problem
  if scope.owned or scope.resource then problem = release_owned(scope) end
  local child_failure = scope.child_failure
  if child_failure then
    scope.child_failure = nil
    return false, child_failure[1]
  end
  if ok and problem ~= nil then return false, problem end
  return ok, failure
end

local function end_task(task, ok, failure)
  task.done, task.ok, task.failure = true, ok, failure
  task_count = task_count - 1
  local parent = task.parent
  if not parent then return end
  disown(task)
  if M.on_scope_end then M.on_scope_end(task) end
  if not ok and failure ~= parent.reason and not errors.is(failure, "cancelled") then
    if parent.on_failure then
      parent.on_failure(failure, task)
    elseif not parent.child_failure then
      parent.child_failure = { failure }
      if type(failure) ~= "table" then owner_of(parent).failure_traceback = task.failure_traceback end
    end
    if parent.child_failure then cancel(parent, errors.new("cancelled", "cancelled: a task of the same scope failed")) end
  end
  if parent.joining and not parent.first_child then M.wake(owner_of(parent)) end
end

-- A coroutine runs one task after another: making one costs more than a task of its own kind often does.
local function coroutine_main(task)
  while true do
    local ok, failure
    if task.resource then
      ok, failure = xpcall(task.fn, record_traceback, task.resource)
    else
      ok, failure = xpcall(task.fn, record_traceback, unpack(task, 1, task.argument_count))
    end
    end_task(task, close_scope(task, ok, failure))
    task.coroutine = nil
    local own = coroutine.running()
    if #idle_coroutines >= IDLE_COROUTINES_MAX then return end
    idle_coroutines[#idle_coroutines + 1] = own
    task = nil -- luacheck: ignore (lets go of the ended task while the coroutine idles)
    task = yield()
  end
end

local function start(task)
  if task.reason then -- cancelled before its first step: it takes none
    end_task(task, close_scope(task, false, task.reason))
    return
  end
  local idle = #idle_coroutines
  local thread
  if idle > 0 then
    thread = idle_coroutines[idle]
    idle_coroutines[idle] = nil
  else
    thread = create(coroutine_main)
  end
  task.coroutine = thread
  current = task
  local ok, failure = resume(thread, task)
  current = nil
  if not ok then error(failure, 0) end
end

local function new_task(parent, fn)
  serial = serial + 1
  task_count = task_count + 1
  local task = setmetatable({ id = serial, fn = fn }, Task)
  if parent then
    adopt(parent, task)
    if parent.reason then task.reason = parent.reason end
  end
  return task
end

local function set_arguments(task, ...)
  task.argument_count = select("#", ...)
  for i = 1, task.argument_count do
    task[i] = (select(i, ...))
  end
end

--- Starts `fn(resource)` as a task that owns the resource, now rather than with its turn: for what the loop itself
--- hands out.
function M.start_owning(scope, resource, fn)
  local task = new_task(scope, fn)
  task.resource = resource
  start(task)
end

--- Starts `fn(...)` as a task of the running task's innermost scope. It runs when its turn comes.
---@param fn function
---@return moonring.Task
function M.spawn(fn, ...)
  if not current then errors.raise("argument", "moonring.spawn: no task runs here; start one with moonring.run(fn)") end
  return innermost(current):spawn(fn, ...)
end

--- Starts `fn(...)` as a child task of this scope.
---@param fn function
---@return moonring.Task
function Scope:spawn(fn, ...)
  if type(fn) ~= "function" then errors.raise("argument", "spawn: a function is needed, not a %s", type(fn)) end
  if not self.is_open then errors.raise("closed", "spawn: the scope has ended") end
  local task = new_task(self, fn)
  set_arguments(task, ...)
  make_ready(task)
  return task
end

--- The same with a resource that the new task owns, as `fn(resource)`.
function Scope:spawn_owning(resource, fn)
  local task = self:spawn(fn)
  task.resource = resource
  return task
end

--- Makes the scope the owner of anything with a close method. Returns it.
function Scope:own(resource, ...)
  if resource == nil then return nil, ... end -- lets own(net.connect(...)) hand a failure through
  if not self.is_open then
    resource:close()
    errors.raise("closed", "own: the scope has ended; what it was given has been closed")
  end
  local owned = self.owned
  if not owned then
    owned = {}
    self.owned = owned
  end
  owned[#owned + 1] = resource
  return resource, ...
end

--- Ends the scope's work: every wait in it and below it raises. `reason` is the error object they get.
function Scope:cancel(reason)
  cancel(self, reason or errors.new("cancelled", "cancelled"))
end

function Scope:__tostring()
  return ("moonring.Scope(%s)"):format(self.is_open and "open" or "closed")
end

function Task:__tostring()
  local state = self.done and (self.ok and "ended" or "failed") or (self.waiting and "waiting" or "ready")
  return ("moonring.Task %d (%s)"):format(self.id, state)
end

local function leave_scope(scope, ok, ...)
  local task = scope.task
  local closed_ok, failure = close_scope(scope, ok, (...))
  local parent = scope.parent
  task.scope = parent ~= task and parent or nil
  disown(scope)
  if M.on_scope_end then M.on_scope_end(scope, ...) end -- moonring.trace's
  if not closed_ok then error(failure, 0) end
  return ...
end

--- Runs `fn(scope, ...)` in a new scope and returns what it returns. However it ends, what the scope owns is released
--- and its child tasks have ended when this returns or raises.
---@param fn fun(scope: moonring.Scope, ...): ...
function M.open_scope(fn, ...)
  local task = current
  if not task then errors.raise("argument", "moonring.scope: no task runs here; start one with moonring.run(fn)") end
  local parent = innermost(task)
  local scope = setmetatable({ task = task, reason = parent.reason }, Scope)
  adopt(parent, scope)
  task.scope = scope
  return leave_scope(scope, xpcall(fn, record_traceback, scope, ...))
end

-- The scheduler -------------------------------------------------------------------------------------------------------

--- Runs every task that is ready, those included that become so meanwhile in this round's predecessors. Returns whether
--- some are ready again.
function M.run_ready()
  local last = ready_last
  while ready_first <= last do
    local task = ready[ready_first]
    ready[ready_first] = nil
    ready_first = ready_first + 1
    task.queued = nil
    if task.coroutine then
      run(task)
    elseif not task.done then
      start(task)
    end
  end
  if ready_first > ready_last then ready_first, ready_last = 1, 0 end
  return ready_last >= ready_first
end

--- The task that runs now; nil in the scheduler.
---@return moonring.Task?
function M.current()
  return current
end

--- A task without a parent, for the loop to run.
function M.root(fn, ...)
  local task = new_task(nil, fn)
  set_arguments(task, ...)
  make_ready(task)
  return task
end

--- The traceback of an error that left a task, where one is known.
---@return string?
function M.traceback_of(failure, task)
  if type(failure) == "table" then return tracebacks[failure] end
  return task and task.failure_traceback
end

M.record_traceback = record_traceback

--- How many tasks have not ended.
function M.count()
  return task_count
end

M.Scope, M.Task = Scope, Task

return M
