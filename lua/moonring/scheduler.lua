-- moonring.scheduler: who runs now, who is ready, and the one way to wait.
--
-- To wait, a piece of code notes the task where its event will find it, and calls wait(object) with the object that
-- offers withdraw(task) for undoing that note. Whoever brings the event takes the note away and calls wake(task), or
-- run(task) from the loop. A cancellation withdraws the note and raises in the wait. Which of the two came first
-- decides: a wait whose event has come returns, so nothing that was handed over is lost, and the next wait raises.
--
-- A task's state is its field `waiting`: false while it runs, READY or INTERRUPTED in the queue, ENDED, or the object.

local native = require "moonring.native"
local errors = require "moonring.errors"
local coroutines = require "moonring.coroutines"

local C = native.C
local resume, yield, WAIT, refusal = coroutines.resume, coroutines.yield, coroutines.WAIT, coroutines.refusal
local isyieldable = coroutine.isyieldable
local watch = C.mr_watch_state()

local function no_withdrawal()
end

local function state(name)
  return setmetatable({ withdraw = no_withdrawal }, { __tostring = function() return name end })
end

local M = {
  READY = state "its turn",
  INTERRUPTED = state "its turn, cancelled",
  ENDED = state "nothing: it has ended",
  STARTING = state "its first turn",
  -- Places in a task's array part, which costs less than named fields do.
  BORN = 1, -- monotonic seconds
  SINCE = 2, -- when its last wait began
  DELIVERED = 3, -- what the other side of a hand-over has left for it
  POSITION = 4, -- in the queue of waiters it stands in
  SPAWNER = 5, -- the function that spawned it
  LINE = 6, -- and the line there
  COUNT = 7, -- of its arguments; -1: it gets its resource instead; -2: it was cancelled before it began
  ARGUMENT = 8, -- the argument, or a table of several; or the reason of that cancellation
  TIMER = 9, -- of its sleep, or of its beginning
}
local READY, INTERRUPTED, ENDED, SINCE = M.READY, M.INTERRUPTED, M.ENDED, M.SINCE

local current -- the task that runs now, nil in the scheduler
-- Who is ready, and the round of those who were, which is under way. The two take turns, and a place is emptied by false: so
-- both stay arrays without holes, which compiled code stores into directly.
local ready, ready_count = {}, 0
local round, round_next, round_count = {}, 1, 0
local now = C.mr_clock_now() -- as of this turn

--- The task that runs now; nil in the scheduler.
---@return moonring.Task?
function M.current()
  return current
end

--- The running task; raises when none runs.
---@param what string the public function that needs it
---@return moonring.Task
function M.require_task(what)
  if not current then errors.raise("argument", "%s: no task runs here; start one with moonring.run(fn)", what) end
  return current
end

--- Seconds, as of this turn of the loop: for ages, not for measuring.
function M.turn_time()
  return now
end

--- Called by the loop with each turn.
function M.set_turn_time(seconds)
  now = seconds
end

local function make_ready(task, as)
  task.waiting = as
  ready_count = ready_count + 1
  ready[ready_count] = task
end
M.make_ready = make_ready

--- Lets a waiting task run when its turn comes. May be called from anywhere, also for one that is woken already.
---@param task moonring.Task
local function wake(task)
  local waiting = task.waiting
  if waiting == READY or waiting == INTERRUPTED or waiting == ENDED then return end
  make_ready(task, READY)
end
M.wake = wake

--- Takes the task out of its wait, wherever that is noted, and lets it run into the reason of its scope's cancellation.
---@param task moonring.Task
function M.interrupt(task)
  local object = task.waiting
  if not object or object == READY or object == INTERRUPTED or object == ENDED then return end
  object:withdraw(task)
  make_ready(task, INTERRUPTED)
end

-- The wait has not come about: LuaJIT can't yield here.
local function refuse(task, object, refused)
  task.waiting = false
  object:withdraw(task)
  if type(refused) ~= "table" then refused = refusal() end
  error(refused, 0)
end

-- Code that catches its cancellation and waits again, over and over (`while true do pcall(step) end`), would hold the
-- loop for ever and let nothing end. So after some such waits every further one lets the others run first; and in the
-- end the task is given up: its coroutine is not resumed any more, and what it owns is released.
local SWALLOWED_YIELD, SWALLOWED_MAX = 100, 10000
local swallowed = setmetatable({}, { __mode = "k" }) -- by task: { reason, how many waits it has refused }

--- Set by moonring.task: ends the task without its coroutine.
function M.give_up()
end

local function raise_reason(task, reason)
  local seen = swallowed[task]
  if not seen or seen[1] ~= reason then
    seen = { reason, 0 }
    swallowed[task] = seen
  end
  seen[2] = seen[2] + 1
  if seen[2] > SWALLOWED_YIELD and isyieldable() then
    if seen[2] > SWALLOWED_MAX then
      M.give_up(task, reason, SWALLOWED_MAX)
    else
      make_ready(task, READY)
    end
    task[SINCE] = now
    pcall(yield, WAIT)
    task.waiting = false
  end
  error(reason, 0)
end

-- What comes before the yield of a wait: raises when the scope has been cancelled. Returns the scope.
local function begin_wait(task, object)
  local scope = task.scope or task
  local reason = scope.reason
  if reason and not scope.is_ending then
    object:withdraw(task)
    raise_reason(task, reason)
  end
  task.waiting = object
  task[SINCE] = now
  return scope
end

-- And what comes after it: raises when the wait was interrupted.
local function end_wait(task, scope)
  if task.waiting == INTERRUPTED then
    task.waiting = false
    error(scope.reason, 0)
  end
end

--- Suspends the running task until it is woken. `object` is what it waits on and offers withdraw(task).
--- Raises the reason when its scope has been cancelled, before or while it waits.
function M.wait(object)
  local task = current
  if not task then M.require_task("wait") end
  local scope = begin_wait(task, object)
  -- The yield raises where it is impossible; asking first costs three times what pcall does.
  local ok, refused = pcall(yield, WAIT)
  if not ok or refused then refuse(task, object, refused) end
  end_wait(task, scope)
end

--- The same for a protocol's own loop, which runs directly in its task: nothing of C is in the way of its yield, so that
--- isn't guarded. The guard is not compiled, and costs a tenth of a request.
function M.wait_directly(object)
  local task = current
  local scope = begin_wait(task, object)
  yield(WAIT)
  end_wait(task, scope)
end

--- The same for what must not be interrupted: the end of a scope. Returns false where LuaJIT can't yield.
function M.wait_uninterrupted(object)
  local task = current
  task.waiting = object
  task[SINCE] = now
  local ok, refused = pcall(yield, WAIT)
  task.waiting = false
  return ok and not refused
end

--- Raises when the running task's scope has been cancelled. What a wait does first. Nothing can come to pass while a
--- task computes, neither a deadline nor a signal: moonring.sleep(0) gives way, and checks as well.
function M.check()
  local task = current or M.require_task("check")
  local scope = task.scope or task
  if scope.reason and not scope.is_ending then raise_reason(task, scope.reason) end
end

--- Lets every task run that is ready now, before the running one goes on.
function M.yield()
  M.check()
  local task = current
  if not isyieldable() then refuse(task, READY) end
  make_ready(task, READY)
  task[SINCE] = now
  local refused = yield(WAIT)
  if refused then
    task.waiting = false -- which makes its place in the queue void
    error(refused, 0)
  end
end

--- Set by moonring.inspect: what becomes of a task that has held the loop for too long.
function M.report_hog()
end

local function look_for_hog()
  if watch.overdue ~= 0 then M.report_hog(current) end
end

--- For who resumes a task by other means than run: before. It may follow another task in the same resumption.
function M.begin_resume(task)
  if current then look_for_hog() end
  current = task
  watch.resumes = watch.resumes + 1
end

--- And after.
function M.end_resume()
  look_for_hog()
  current = nil
end

--- Lets a waiting task run, now: called by the loop and by whoever hands it something, from the scheduler only.
local function run(task)
  if task.waiting ~= INTERRUPTED then task.waiting = false end
  current = task
  watch.resumes = watch.resumes + 1
  local ok, mark = resume(task.coroutine)
  if watch.overdue ~= 0 then M.report_hog(current) end -- another than this when it has ended
  current = nil
  if not ok then error(mark, 0) end -- the coroutine's own frame has failed, not the task's function
end
M.run = run

--- Takes the task that is next in the round if it has not begun, so that a coroutine whose task has ended may go on with
--- that. Switching coroutines would cost as much as a short task does.
function M.next_unstarted()
  if round_next > round_count then return nil end
  local task = round[round_next]
  if task.coroutine or task.waiting ~= READY or task.reason then return nil end
  round[round_next] = false
  round_next = round_next + 1
  return task
end

--- Runs every task that is ready at this moment. Returns whether some are ready again.
function M.run_ready()
  if round_next > round_count then
    round, ready = ready, round
    round_next, round_count, ready_count = 1, ready_count, 0
  end
  while round_next <= round_count do
    local task = round[round_next]
    round[round_next] = false
    round_next = round_next + 1
    local waiting = task.waiting
    if waiting == READY or waiting == INTERRUPTED then
      if task.coroutine then run(task) else task:start() end
    end
  end
  return ready_count > 0
end

function coroutines.task_coroutine()
  return current and current.coroutine
end

return M
