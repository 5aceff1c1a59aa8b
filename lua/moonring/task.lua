-- moonring.task: coroutines that may wait, each with a scope around its code.
--
-- A task is the outermost scope of its own code (moonring.scope) and belongs to the scope that it was spawned in, which
-- waits for it. It ends when its function has returned and its own scope has ended.
--
-- Ten thousand idle connections are ten thousand tasks, so a task has eight named fields and no more while it waits for
-- its connection; the usual answers of the others are in its class, where the first look behind the object finds them.
-- What every task has besides is in its array part, see moonring.scheduler.

local errors = require "moonring.errors"
local coroutines = require "moonring.coroutines"
local scheduler = require "moonring.scheduler"
local place = require "moonring.place"
local waiters = require "moonring.waiters"
local failures = require "moonring.failure"
local tree = require "moonring.tree"
local scope = require "moonring.scope"

local yield, create, resume = coroutines.yield, coroutines.create, coroutines.resume
local make_ready, turn_time = scheduler.make_ready, scheduler.turn_time
local READY, INTERRUPTED, ENDED = scheduler.READY, scheduler.INTERRUPTED, scheduler.ENDED
local BORN, SINCE, COUNT, ARGUMENT = scheduler.BORN, scheduler.SINCE, scheduler.COUNT, scheduler.ARGUMENT
local SPAWNER, LINE = scheduler.SPAWNER, scheduler.LINE
local NEVER_BEGUN = -2
local record_traceback = failures.record_traceback
local innermost, adopt, disown = tree.innermost, tree.adopt, tree.disown
local Scope, record_of = scope.Scope, scope.record_of

local M = {
  -- What whoever deals with tasks needs of the modules below.
  current = scheduler.current,
  run = scheduler.run,
  wait = scheduler.wait,
  wake = scheduler.wake,
  record_traceback = record_traceback,
  traceback_of = failures.traceback_of,
  text_of = failures.text_of,
  open_scope = scope.open,
  innermost = innermost,
  roots = {}, -- the tasks without a parent that have not ended, as keys
}

---@class moonring.Task: moonring.Scope
---@field id integer
---@field name? string
local Task = setmetatable({
  __name = "moonring.Task",
  is_open = true, reason = false, is_ending = false, scope = false,
  is_lean = false, is_detached = false, held = false, expiry = false,
  first_child = false, owned = false, first_failure = false, cut_short = false, joining = false, on_failure = false,
  selection = false, -- what a case of a select has, see moonring.waiters
}, { __index = Scope })
Task.__index = Task

local idle_coroutines = {}
local IDLE_COROUTINES_MAX = 1024
local IDLE = {} -- what a coroutine yields that waits for its next task
local task_count, serial = 0, 0

-- What comes after a task's end however it was: who waits for it learns of that, and its scope is rid of it.
local function leave_tree(task)
  task.waiting = ENDED
  task_count = task_count - 1
  local joiners = task.joiners
  if joiners then
    task.joiners = nil
    joiners:wake_all()
  end
  if not task.parent then
    M.roots[task] = nil
    return
  end
  disown(task)
  if scope.on_end then scope.on_end(task) end
end

local function tell_parent(parent)
  if parent.joining and not parent.first_child then scheduler.wake(parent.joining) end
end

local function end_task(task, ok, failure)
  if not ok then
    task.failed, task.failure = true, failure
  end
  leave_tree(task)
  local parent = task.parent
  if not parent then
    if task.on_end then task.on_end(task, ok, failure) end
    return
  end
  if not ok then
    if tree.is_cancellation(task, failure) then
      if parent.reason then parent.cut_short = true end
    elseif parent.on_failure then
      parent.on_failure(failure, task)
    else
      scope.note_failure(parent, failure, task)
      tree.cancel(parent, errors.new("cancelled", "cancelled: a task of the same scope failed"))
    end
  end
  tell_parent(parent)
end

--- Ends a task that has been cancelled before it began. Without a reason its error is made when somebody asks. The
--- table gets no new field by this: timers are mostly taken back. Internal.
function Task:end_unstarted(reason)
  self[COUNT], self[ARGUMENT] = NEVER_BEGUN, reason or false
  leave_tree(self)
  local parent = self.parent
  if not parent then
    if self.on_end then self.on_end(self, self:outcome()) end
    return
  end
  if parent.reason then parent.cut_short = true end
  tell_parent(parent)
end

-- Notes what the task's function has returned, for join.
local function returned(task, ok, ...)
  if ok and select("#", ...) > 0 then task.results = { n = select("#", ...), ... } end
  if task.scope then scope.detach_all(task) end
  if ok and not (task.first_child or task.owned or task.resource or task.first_failure or task.expiry or task.cut_short) then
    return end_task(task, true)
  end
  return end_task(task, scope.finish(task, ok, (...)))
end

local function begin(task, thread)
  task.coroutine = thread
  task.waiting = false
  scheduler.begin_resume(task)
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
    task = scheduler.next_unstarted()
    if task then
      begin(task, own)
    else
      if #idle_coroutines >= IDLE_COROUTINES_MAX then return IDLE end
      idle_coroutines[#idle_coroutines + 1] = own
      task = yield(IDLE)
    end
  end
end

-- A task whose coroutine swallows its cancellation ends without it. The coroutine stays where it is and is collected.
function scheduler.give_up(task, reason, count)
  local failure = errors.misuse("abandoned", ("%s has caught its cancellation %d times and goes on waiting, so it is " ..
    'given up; let errors of the codes "cancelled" and "deadline" pass'):format(tostring(task), count))
  record_traceback(failure)
  if task.reason then
    io.stderr:write("moonring: ", failures.text_of(failure), "\n", failures.traceback_of(failure) or "", "\n")
  else -- what was cancelled is a scope in it: the task itself has failed
    reason = failure
  end
  task.coroutine = create(function()
    returned(task, false, reason)
    task.coroutine = false
    return IDLE
  end)
  make_ready(task, READY)
end

--- Runs a new task's first step, or ends it when it was cancelled before. Internal.
function Task:start()
  if self.reason then
    if not self.resource then return self:end_unstarted(self.reason) end
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
  begin(self, thread)
  local ok, failure = resume(thread, self)
  scheduler.end_resume()
  if not ok then error(failure, 0) end
end

local function new_task(parent, fn)
  serial = serial + 1
  task_count = task_count + 1
  local now = turn_time()
  -- One constructor with everything in it: the table never grows while the task does nothing special. All constants: what
  -- is copied as a whole costs less than what is put in key by key.
  local task = setmetatable({
    false, false, false, false, false, false, 0, false, false,
    id = 0, fn = false, parent = false, coroutine = false, waiting = false, resource = false,
    next_sibling = false, previous_sibling = false,
  }, Task)
  task[BORN], task[SINCE] = now, now
  task.id, task.fn = serial, fn
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
function M.start_owning(parent, resource, fn)
  local task = new_task(record_of(parent, "start_owning"), fn)
  task.resource = resource
  task[COUNT] = -1
  task:start()
end

local function check_function(what, fn)
  if type(fn) == "function" then return end
  errors.raise("argument", "%s: a function is needed, not a %s; its arguments come behind it: %s(fn, ...)", what, type(fn),
    what)
end

-- A task that does not run yet. `level` is that of the public function, for whom it is done.
local function spawn_in(record, what, level, fn, ...)
  check_function(what, fn)
  if not record.is_open or record.waiting == ENDED then errors.raise("closed", "%s: the scope has ended", what) end
  local task = new_task(record, fn)
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
  local task = spawn_in(record_of(self, "spawn"), "spawn", 1, fn, ...)
  make_ready(task, READY)
  return task
end

--- The same with a resource that the new task owns, as `fn(resource)`.
---@param resource table anything with a close method
---@param fn function
---@return moonring.Task
function Scope:spawn_owning(resource, fn)
  local task = spawn_in(record_of(self, "spawn_owning"), "spawn_owning", 1, fn)
  task.resource = resource
  task[COUNT] = -1
  make_ready(task, READY)
  return task
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
  if self.coroutine then scheduler.run(self) else self:start() end
end

function Task:__tostring()
  local waiting = self.waiting
  local state = waiting == ENDED and (self:outcome() and "ended" or "failed") or not waiting and "running"
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
  if self[COUNT] == NEVER_BEGUN then
    self[ARGUMENT] = self[ARGUMENT] or errors.new("cancelled", "cancelled")
    return false, self[ARGUMENT]
  end
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
  local parent = me.parent
  while parent do
    local above = parent.task or parent
    if above == self then
      errors.raise("argument", "task:join: %s waits for this task, its child, to end", tostring(self))
    end
    parent = above.parent
  end
  while self.waiting ~= ENDED do
    scheduler.wait(self:add_joiner(me))
  end
  return self:outcome()
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
  local ok, failure = task:outcome()
  if not ok then error(failure, 0) end
end

M.IDLE = IDLE

--- How many tasks have not ended.
function M.count()
  return task_count
end

M.Scope, M.Task = Scope, Task

return M
