-- moonring.task: tasks and scopes.
--
-- A task is a coroutine that may wait. A scope is a block that owns what is made in it: memory, sockets and child
-- tasks. Each task is itself the outermost scope of its own code, so scopes form one tree, and cancelling a scope
-- means marking the subtree below it and waking whoever waits there. The mark stays: every later wait inside a
-- cancelled scope raises again, so a pcall can't swallow it. A shield is a scope that the marking passes by.
--
-- A scope ends in this order: its children are waited for (cancelled first, when it ends by an error), then what it
-- owns is released, last made first. While that happens cancellation does not interrupt it again. The first failure,
-- of the block or of a child, leaves the scope; a later one is reported, for nobody else would hear of it.
--
-- Ten thousand idle connections are ten thousand tasks, so a task has eight named fields and no more while it waits
-- for its connection: `scope` is set only inside a nested scope, `task` only on those, `owned` only when a scope owns
-- more than the resource it was started with. What every task has besides is in its array part, see
-- moonring.scheduler.

local errors = require "moonring.errors"
local coroutines = require "moonring.coroutines"
local scheduler = require "moonring.scheduler"
local clock = require "moonring.clock"
local place = require "moonring.place"
local waiters = require "moonring.waiters"

local yield, create, resume = coroutines.yield, coroutines.create, coroutines.resume
local traceback, tracebacks = debug.traceback, coroutines.tracebacks
local current, wake, make_ready, turn_time = scheduler.current, scheduler.wake, scheduler.make_ready, scheduler.turn_time
local READY, INTERRUPTED, ENDED = scheduler.READY, scheduler.INTERRUPTED, scheduler.ENDED
local COUNT, ARGUMENT, SPAWNER, LINE = scheduler.COUNT, scheduler.ARGUMENT, scheduler.SPAWNER, scheduler.LINE

local M = {
  current = scheduler.current,
  run = scheduler.run,
  wait = scheduler.wait,
  wake = scheduler.wake,
  yield = scheduler.yield,
  check = scheduler.check,
  roots = {}, -- the tasks without a parent that have not ended, as keys
}

---@class moonring.Scope
---@field is_open boolean
-- The fields that are usually not set have their defaults here and on Task, where the first look behind the object
-- finds them.
local Scope = { __name = "moonring.Scope", is_open = true, reason = false, is_ending = false }
Scope.__index = Scope

---@class moonring.Task: moonring.Scope
---@field id integer
---@field name? string
---@field failed? boolean
---@field failure? any what it failed with
local Task = setmetatable({ __name = "moonring.Task", is_open = true, reason = false, is_ending = false, scope = false },
  { __index = Scope })
Task.__index = Task

local idle_coroutines = {}
local IDLE_COROUTINES_MAX = 1024
local IDLE = {} -- what a coroutine yields that waits for its next task
local task_count, serial = 0, 0

local function record_traceback(failure)
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

local function innermost(task)
  return task.scope or task
end

local function owner_of(scope)
  return scope.task or scope
end

--- The traceback of an error that left a task, where one is known.
---@return string?
function M.traceback_of(failure, task)
  if type(failure) == "table" then return tracebacks[failure] end
  return task and task.failure_traceback
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

-- The tree ------------------------------------------------------------------------------------------------------------

local function adopt(parent, child)
  child.parent = parent
  local first = parent.first_child
  if first then
    child.next_sibling = first
    first.previous_sibling = child
  end
  parent.first_child = child
end

local function disown(child)
  local parent = child.parent
  local previous, following = child.previous_sibling, child.next_sibling
  if previous then previous.next_sibling = following else parent.first_child = following end
  if following then following.previous_sibling = previous end
  child.previous_sibling, child.next_sibling = false, false
end

local function cancel(scope, reason)
  if scope.reason then return end
  scope.reason = reason
  local child = scope.first_child
  while child do
    -- Nothing runs meanwhile, so the list stays as it is.
    if not child.is_shield then cancel(child, reason) end
    child = child.next_sibling
  end
  local task = owner_of(scope)
  if innermost(task) == scope and not scope.is_ending then scheduler.interrupt(task) end
end

-- Whether a failure is only what the scope was cancelled with.
local function is_cancellation(scope, failure)
  local reason = scope.reason
  if not reason then return false end
  return failure == reason or errors.is(failure, "cancelled") or errors.is(failure, "deadline")
end

-- Ends ----------------------------------------------------------------------------------------------------------------

-- What the end of a scope waits on: its last child.
local children = setmetatable({}, { __tostring = function() return "its children" end })
function children.withdraw()
end

-- Where the scope ends inside a C function that LuaJIT can't yield across: its children go to the scope around it.
local function hand_over_children(scope)
  local parent = scope.parent
  while scope.first_child do
    local child = scope.first_child
    disown(child)
    adopt(parent, child)
  end
end

-- What the REPL and the spec runner need of scopes beyond their methods. Internal.

--- Has the failures of a scope's children told to `report(failure, task)`, instead of ending the scope.
function M.tell_failures(scope, report)
  scope.on_failure = report
end

--- How many children a scope has, scopes within it included.
function M.count_children(scope)
  local count, child = 0, scope.first_child
  while child do
    count, child = count + 1, child.next_sibling
  end
  return count
end

--- Hands the children and the resources of a scope that is about to end over to its parent.
function M.hand_over(task)
  hand_over_children(task)
  local parent = task.parent
  for _, resource in ipairs(task.owned or {}) do
    parent:own(resource)
  end
  if task.resource then parent:own(task.resource) end
  task.owned, task.resource = nil, false
end

-- Returns an error when it can't wait for them.
local function wait_for_children(scope)
  while scope.first_child do
    scope.joining = true
    if not scheduler.wait_uninterrupted(children) and scope.first_child then
      local refusal = coroutines.refusal()
      if scope.task then
        cancel(scope, refusal)
        hand_over_children(scope)
      end
      scope.joining = nil
      return refusal
    end
  end
  scope.joining = nil
end

local function release(scope, resource)
  local ok, problem = xpcall(resource.close, record_traceback, resource)
  if ok then return end
  if scope.first_failure then
    M.report("closing " .. tostring(resource) .. " has failed", problem, owner_of(scope))
  else
    scope.first_failure = { problem }
  end
end

-- Releases what a scope owns, last made first. A release that fails doesn't keep the others from theirs.
-- Most scopes own one thing: that is kept without a list, and released without a loop, which would keep the code around
-- the scope from being compiled.
local function release_first(scope)
  local resource = scope.resource
  scope.resource = false
  release(scope, resource)
end

local function release_owned(scope)
  local owned = scope.owned
  while owned and #owned > 0 do
    local resource = owned[#owned]
    owned[#owned] = nil
    release(scope, resource)
  end
  scope.owned = nil
  if scope.resource then release_first(scope) end
end

-- The first failure is what leaves the scope.
local function note_failure(scope, failure, task)
  if scope.first_failure then
    M.report("a further failure in a scope that is ending by an error", failure, task)
    return
  end
  scope.first_failure = { failure }
  if task == owner_of(scope) then return end
  -- The traceback goes on where the task was spawned.
  local trace = M.traceback_of(failure, task)
  if not trace then return end
  if task[SPAWNER] then trace = trace .. "\nspawned at " .. place.text(task[SPAWNER], task[LINE]) end
  if type(failure) == "table" then
    tracebacks[failure] = trace
  else
    owner_of(scope).failure_traceback = trace
  end
end

local function stop_deadline(scope)
  local deadline = scope.timer_of_deadline
  if deadline then
    scope.timer_of_deadline = false
    clock.stop(deadline.timer, deadline)
  end
end

-- Returns ok and the failure that leaves the scope: the block's own, a child's, or that of a release.
local function close_scope(scope, ok, failure)
  if not ok and not is_cancellation(scope, failure) then
    note_failure(scope, failure, owner_of(scope))
    if not scope.reason and scope.first_child then
      cancel(scope, errors.new("cancelled", "cancelled: its scope ended by an error"))
    end
  end
  scope.is_ending = true
  local refusal = scope.first_child and wait_for_children(scope)
  if refusal then note_failure(scope, refusal, owner_of(scope)) end
  scope.is_open = false
  stop_deadline(scope)
  if scope.owned or scope.resource then release_owned(scope) end
  local first_failure = scope.first_failure
  if first_failure then
    scope.first_failure = nil
    return false, first_failure[1]
  end
  -- The block is done, but the cancellation cut its children short.
  if ok and scope.cut_short then return false, scope.reason end
  return ok, failure
end

local function end_task(task, ok, failure)
  task.waiting = ENDED
  if not ok then
    task.failed, task.failure = true, failure
  end
  task_count = task_count - 1
  local joiners = task.joiners
  if joiners then
    task.joiners = nil
    while joiners:wake_first() do end
  end
  local parent = task.parent
  if not parent then
    M.roots[task] = nil
    if task.on_end then task.on_end(task, ok, failure) end
    return
  end
  disown(task)
  if M.on_scope_end then M.on_scope_end(task) end
  if not ok then
    if is_cancellation(task, failure) then
      if parent.reason then parent.cut_short = true end
    elseif parent.on_failure then
      parent.on_failure(failure, task)
    else
      note_failure(parent, failure, task)
      cancel(parent, errors.new("cancelled", "cancelled: a task of the same scope failed"))
    end
  end
  if parent.joining and not parent.first_child then wake(owner_of(parent)) end
end

-- Notes what the task's function has returned, for join.
local function returned(task, ok, ...)
  if ok and select("#", ...) > 0 then task.results = { n = select("#", ...), ... } end
  if ok and not (task.first_child or task.owned or task.resource or task.first_failure or task.timer_of_deadline
      or task.cut_short) then
    return end_task(task, true)
  end
  return end_task(task, close_scope(task, ok, (...)))
end

-- A coroutine runs one task after another: making one costs more than a task of its own kind often does.
local function coroutine_main(task)
  while true do
    local count = task[COUNT]
    if count == 0 then
      returned(task, xpcall(task.fn, record_traceback))
    elseif count < 0 then
      returned(task, xpcall(task.fn, record_traceback, task.resource))
    else
      local argument = task[ARGUMENT]
      task[ARGUMENT] = false
      if count == 1 then
        returned(task, xpcall(task.fn, record_traceback, argument))
      else
        returned(task, xpcall(task.fn, record_traceback, unpack(argument, 1, count)))
      end
    end
    local own = task.coroutine
    task.coroutine = false
    if #idle_coroutines >= IDLE_COROUTINES_MAX then return IDLE end
    idle_coroutines[#idle_coroutines + 1] = own
    task = nil -- luacheck: ignore (lets go of the ended task while the coroutine idles)
    task = yield(IDLE)
  end
end

--- Runs a new task's first step, or ends it when it was cancelled before. Internal.
function Task:start()
  if self.reason then
    if not self.resource then return end_task(self, false, self.reason) end
    self.fn = scheduler.check -- raises the reason, and what it owns is released as ever
  end
  local idle = #idle_coroutines
  local thread
  if idle > 0 then
    thread = idle_coroutines[idle]
    idle_coroutines[idle] = nil
  else
    thread = create(coroutine_main)
  end
  self.coroutine = thread
  self.waiting = false
  scheduler.set_current(self)
  scheduler.count_resume()
  local ok, failure = resume(thread, self)
  scheduler.set_current(nil)
  scheduler.look_for_hog(self)
  if not ok then error(failure, 0) end
end

local function new_task(parent, fn)
  serial = serial + 1
  task_count = task_count + 1
  local now = turn_time()
  -- One constructor with everything in it: the table never grows while the task does nothing special.
  local task = setmetatable({
    now, now, false, false, false, false, 0, false,
    id = serial, fn = fn, parent = false, coroutine = false, waiting = false, resource = false,
    next_sibling = false, previous_sibling = false,
  }, Task)
  if parent then
    adopt(parent, task)
    if parent.reason then task.reason = parent.reason end
  else
    M.roots[task] = true
  end
  return task
end

local function set_arguments(task, count, ...)
  task[COUNT] = count
  if count == 1 then
    task[ARGUMENT] = (...)
  elseif count > 1 then
    task[ARGUMENT] = { ... }
  end
end

--- Starts `fn(resource)` as a task that owns the resource, now rather than with its turn: for what the loop itself
--- hands out.
function M.start_owning(scope, resource, fn)
  local task = new_task(scope, fn)
  task.resource = resource
  task[COUNT] = -1
  task:start()
end

local function check_function(what, fn)
  if type(fn) ~= "function" then errors.raise("argument", "%s: a function is needed, not a %s", what, type(fn)) end
end

local function spawn_in(scope, what, level, fn, ...)
  check_function(what, fn)
  if not scope.is_open or scope.waiting == ENDED then errors.raise("closed", "%s: the scope has ended", what) end
  local task = new_task(scope, fn)
  task[SPAWNER], task[LINE] = place.caller(level + 2)
  local count = select("#", ...)
  if count > 0 then set_arguments(task, count, ...) end
  return task
end
M.spawn_in = spawn_in

--- Starts `fn(...)` as a task of the running task's innermost scope. It runs when its turn comes.
---@param fn function
---@return moonring.Task
function M.spawn(fn, ...)
  local task = spawn_in(innermost(scheduler.require_task "moonring.spawn"), "moonring.spawn", 1, fn, ...)
  make_ready(task, READY)
  return task
end

--- Starts `fn(...)` as a child task of this scope.
---@param fn function
---@return moonring.Task
function Scope:spawn(fn, ...)
  local task = spawn_in(self, "spawn", 1, fn, ...)
  make_ready(task, READY)
  return task
end

--- The same with a resource that the new task owns, as `fn(resource)`.
---@param resource table anything with a close method
---@param fn function
---@return moonring.Task
function Scope:spawn_owning(resource, fn)
  local task = spawn_in(self, "spawn_owning", 1, fn)
  task.resource = resource
  task[COUNT] = -1
  make_ready(task, READY)
  return task
end

--- Makes the scope the owner of anything with a close method. Returns it.
function Scope:own(resource, ...)
  if resource == nil then return nil, ... end -- lets own(net.connect(...)) hand a failure through
  if not self.is_open or self.waiting == ENDED then
    resource:close()
    errors.raise("closed", "own: the scope has ended; what it was given has been closed")
  end
  local owned = self.owned
  if owned then
    owned[#owned + 1] = resource
  elseif self.resource then
    self.owned = { resource }
  else
    self.resource = resource
  end
  return resource, ...
end

--- Takes something out of the scope's hands: it is the caller's from then on, or, with `to`, another scope's. Returns it.
---@param resource any what own or allocate has returned
---@param to? moonring.Scope
function Scope:release(resource, to)
  local owned = self.owned
  for i = owned and #owned or 0, 1, -1 do
    if owned[i] == resource then
      table.remove(owned, i)
      if to then return to:own(resource) end
      return resource
    end
  end
  if resource and self.resource == resource then
    self.resource = false
    if to then return to:own(resource) end
    return resource
  end
  errors.raise("argument", "scope:release: the scope does not own %s", tostring(resource))
end

--- Ends the scope before its block does: cancels and waits for its child tasks, releases what it owns. Closing again
--- does nothing. Only the task of the scope can do that, and only when no scope within is open.
function Scope:close()
  if not self.is_open then return end
  local task = current()
  if not task or innermost(task) ~= self then
    errors.raise("busy", "scope:close: only the task whose innermost scope it is can close it")
  end
  local child = self.first_child
  while child do
    cancel(child, errors.new("cancelled", "cancelled: its scope has been closed"))
    child = child.next_sibling
  end
  local ok, failure = close_scope(self, true)
  self.is_ending = false
  if not ok then error(failure, 0) end
end

--- Ends the scope's work: every wait in it and below it raises. `reason` is the error object they get. Again does
--- nothing, the first reason stays.
---@param reason? any
function Scope:cancel(reason)
  if self.waiting == ENDED then return end
  cancel(self, reason or errors.new("cancelled", "cancelled"))
end

--- Whether the scope has been cancelled, and the reason: for code that computes for long between waits.
---@return any? reason
function Scope:cancelled()
  return self.reason
end

local Deadline = {}
Deadline.__index = Deadline

function Deadline:expired()
  local scope = self.scope
  scope.timer_of_deadline = false
  cancel(scope, errors.new("deadline", ("deadline: the %g s given at %s have passed"):format(self.seconds,
    place.text(self.func, self.line))))
end

local function check_seconds(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds then
    errors.raise("argument", "deadline: a number of seconds is needed, not %s", tostring(seconds))
  end
end

-- Its timer runs before it has a scope: nothing can fail once the scope is open.
local function new_deadline(seconds, level)
  check_seconds(seconds)
  local func, line = place.caller(level + 2)
  local deadline = setmetatable({ scope = false, timer = false, seconds = seconds, func = func, line = line }, Deadline)
  if seconds > 0 and seconds < math.huge then deadline.timer = clock.start(seconds, deadline) end
  return deadline
end

local function set_deadline(scope, deadline)
  deadline.scope = scope
  if deadline.timer then
    scope.timer_of_deadline = deadline
  elseif deadline.seconds <= 0 then
    deadline:expired()
  end
end

--- Gives everything in this scope and below `seconds` together, from now: then it is cancelled with an error of code
--- "deadline". Set again it replaces the earlier one; math.huge takes it away. Of nested deadlines the nearest wins.
---@param seconds number
function Scope:deadline(seconds)
  check_seconds(seconds)
  if not self.is_open or self.waiting == ENDED then errors.raise("closed", "deadline: the scope has ended") end
  local deadline = new_deadline(seconds, 1)
  stop_deadline(self)
  set_deadline(self, deadline)
end

function Scope:__tostring()
  return ("moonring.Scope(%s)"):format(self.is_open and "open" or "closed")
end

--- Gives the task a name for reports. Returns the task.
---@param name string
---@return moonring.Task
function Task:named(name)
  self.name = name
  return self
end

--- Whether its function, its children and the release of what it owned have ended.
---@return boolean
function Task:has_ended()
  return self.waiting == ENDED
end

function Task:expired() -- its timer has fired
  scheduler.run(self)
end

function Task:__tostring()
  local waiting = self.waiting
  local state = waiting == ENDED and (self.failed and "failed" or "ended") or not waiting and "running"
    or (waiting == READY or waiting == INTERRUPTED) and "ready" or "waiting"
  return ("moonring.Task %d %s(%s)"):format(self.id, self.name and self.name .. " " or "", state)
end

-- Waiting for the task's end. Internal.
local Join = { __tostring = function(self) return "the end of " .. tostring(self.task) end }
Join.__index = Join

function Join:withdraw(waiter)
  local joiners = self.task.joiners
  if not joiners then return end
  joiners:remove(waiter)
  if joiners:is_empty() then self.task.joiners = nil end
end

--- Notes a waiter for the task's end. Returns what it waits on. Internal.
function Task:add_joiner(waiter)
  local joiners = self.joiners
  if not joiners then
    joiners = waiters.new "the end of a task"
    self.joiners = joiners
  end
  joiners:add(waiter)
  return setmetatable({ task = self }, Join)
end

--- How it has ended, like pcall: true and what its function returned, or false and what it failed with.
function Task:outcome()
  if self.failed then return false, self.failure end
  local results = self.results
  if results then return true, unpack(results, 1, results.n) end
  return true
end

--- Waits for its end. Returns, like pcall, true and what its function returned, or false and what it failed with
--- (which its scope gets as well). What is raised is the caller's own cancellation.
---@return boolean ok
---@return any ...
function Task:join()
  local me = scheduler.require_task "task:join"
  if self == me then errors.raise("argument", "task:join: a task can't wait for its own end") end
  local scope = innermost(me)
  while scope do
    if scope == self then
      errors.raise("argument", "task:join: %s waits for this task, its child, to end", tostring(self))
    end
    scope = scope.parent
  end
  while self.waiting ~= ENDED do
    scheduler.wait(self:add_joiner(me))
  end
  return self:outcome()
end

-- Scopes --------------------------------------------------------------------------------------------------------------

local function leave_scope(scope, ok, ...)
  local task = scope.task
  local closed_ok, failure
  if ok and not (scope.first_child or scope.owned or scope.first_failure or scope.cut_short) then
    closed_ok, scope.is_open = true, false
    stop_deadline(scope)
    if scope.resource then
      scope.is_ending = true
      release_first(scope)
      if scope.first_failure then closed_ok, failure = close_scope(scope, ok) end
    end
  else
    closed_ok, failure = close_scope(scope, ok, (...))
  end
  local parent = scope.parent
  task.scope = parent ~= task and parent or nil
  disown(scope)
  if M.on_scope_end then M.on_scope_end(scope, ...) end -- moonring.trace's
  if not closed_ok then
    if type(failure) == "string" then task.is_rethrowing = true end -- it has its traceback
    error(failure, 0)
  end
  return ...
end

local function new_scope(what, reason_of)
  local task = scheduler.require_task(what)
  local parent = innermost(task)
  local scope = setmetatable({
    task = task, parent = parent, is_open = true, timer_of_deadline = false, first_child = nil,
    next_sibling = false, previous_sibling = false, resource = false,
  }, Scope)
  if reason_of then scope.reason = parent.reason end
  adopt(parent, scope)
  task.scope = scope
  return scope
end

--- Runs `fn(scope, ...)` in a new scope and returns what it returns. However it ends, what the scope owns is released
--- and its child tasks have ended when this returns or raises.
---@param fn fun(scope: moonring.Scope, ...): ...
function M.open_scope(fn, ...)
  local scope = new_scope("moonring.scope", true)
  return leave_scope(scope, xpcall(fn, record_traceback, scope, ...))
end

--- Runs `fn(...)` with `seconds` of time, the waiting of its child tasks included, and returns what it returns. Raises
--- an error of code "deadline" when the time is over.
---@param seconds number
---@param fn function
function M.timeout(seconds, fn, ...)
  check_function("moonring.timeout", fn)
  scheduler.require_task "moonring.timeout"
  local deadline = new_deadline(seconds, 1)
  local scope = new_scope("moonring.timeout", true)
  set_deadline(scope, deadline)
  return leave_scope(scope, xpcall(fn, record_traceback, ...))
end

--- Runs `fn(...)` protected from the cancellation of what is around it, for at most `seconds`: for cleaning up that
--- has to wait. The cancellation is raised by the next wait after it.
---@param seconds number
---@param fn function
function M.shield(seconds, fn, ...)
  check_function("moonring.shield", fn)
  scheduler.require_task "moonring.shield"
  local deadline = new_deadline(seconds, 1)
  local scope = new_scope("moonring.shield", false)
  scope.is_shield = true
  set_deadline(scope, deadline)
  return leave_scope(scope, xpcall(fn, record_traceback, ...))
end

--- A task without a parent, for the loop to run.
function M.root(fn, ...)
  local task = new_task(nil, fn)
  set_arguments(task, select("#", ...), ...)
  make_ready(task, READY)
  return task
end

--- Raises a task's failure where it has one.
function M.raise_failure(task)
  if task.failed then error(task.failure, 0) end
end

M.record_traceback = record_traceback
M.innermost = innermost
M.IDLE = IDLE

--- How many tasks have not ended.
function M.count()
  return task_count
end

M.Scope, M.Task = Scope, Task

return M
