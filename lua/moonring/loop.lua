-- moonring.loop: the one loop of this Lua state, and the way from its events to tasks.
--
-- C fills an array of events; this module drains it and runs whoever noted itself in the table of the event's kind.
-- Events are hints: a woken task asks the connection or listener what is true and may wait again.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"

local C, ffi = native.C, native.ffi
local run, run_ready, set_turn_time = scheduler.run, scheduler.run_ready, scheduler.set_turn_time

local EDEADLK = -35

local M = {
  readers = {}, -- by connection slot: the task that waits for bytes
  writers = {}, -- by connection slot: the task that waits for room, or for the connection to come about
  sleepers = {}, -- by timer: the task that sleeps, or any object whose expired() is called
  listeners = {}, -- by listener slot: the object whose accepted(slot_or_errno) takes new connections
  signals = {}, -- by number: a function
  -- By slot: the child process whose ended() is called. Weak: a forgotten one is reaped by C all the same.
  processes = setmetatable({}, { __mode = "v" }),
  calls = {}, -- by call slot: the object whose called(result, slot) is to be told of its end
  handlers = {}, -- by kind of event, for the kinds that this module doesn't know: a function(slot, result)
  on_memory = function() end, -- moonring.memory's
  on_output = function() end, -- moonring.stdio's: of a descriptor, and 0 or an errno
  on_broken_pipe = function() end, -- moonring.cli's: nobody reads the process's output any more
  before_turn = false, -- moonring.stdio's: called once before the next turn, when set; true: it has woken somebody
}
local readers, writers, sleepers, listeners = M.readers, M.writers, M.sleepers, M.listeners
local signals, processes, calls, handlers = M.signals, M.processes, M.calls, M.handlers

local handle -- mr_loop *, made when it is first asked for

--- The error of a loop that could not be made: about the system, not about who waited first.
M.refusal = false

--- Set by moonring.cli: called when the loop has been made.
M.on_start = false

--- The C loop. Made at the first call; raises what stands in the way and what to do about it.
function M.handle()
  if handle then return handle end
  local out = ffi.new("mr_loop *[1]")
  local result = C.mr_loop_create(M.options, out)
  if result < 0 then
    local text = ffi.new("char[512]")
    C.mr_loop_explain(result, text, 512)
    local _, message, code = errors.world(result, "cannot start the event loop")
    M.refusal = errors.new(code, message .. "\n  " .. ffi.string(text))
    error(M.refusal, 0)
  end
  handle = out[0]
  M.started = true
  if M.on_start then M.on_start() end
  return handle
end

-- Runs the task that waits there, if one does.
local function run_in(waiting_tasks, slot)
  local waiting = waiting_tasks[slot]
  if waiting then
    waiting_tasks[slot] = nil
    run(waiting)
  end
end
M.run_in = run_in

local function dispatch(events, count)
  for i = 0, count - 1 do
    local event = events[i]
    local kind, slot = event.kind, event.slot
    if kind == C.MR_EVENT_READABLE then
      run_in(readers, slot)
    elseif kind == C.MR_EVENT_WRITABLE or kind == C.MR_EVENT_CONNECTED then
      run_in(writers, slot)
    elseif kind == C.MR_EVENT_ACCEPTED then
      local listener = listeners[slot]
      if listener then
        event.kind = C.MR_EVENT_NONE -- it has an owner now, and a close of the listener in this turn leaves it alone
        listener:accepted(event.result)
      end
    elseif kind == C.MR_EVENT_TIMER then
      local sleeper = sleepers[slot]
      if sleeper then
        sleepers[slot] = nil
        sleeper:expired()
      end
    elseif kind == C.MR_EVENT_CALL then
      local caller = calls[slot]
      if caller then
        calls[slot] = nil
        caller:called(event.result, slot)
      end
    elseif kind == C.MR_EVENT_SIGNAL then
      local handler = signals[event.result]
      if handler then handler(event.result) end
    elseif kind == C.MR_EVENT_OUTPUT then
      M.on_output(slot, event.result)
    elseif kind == C.MR_EVENT_PROCESS then
      local process = processes[slot]
      if process then process:ended() else C.mr_process_release(handle, slot) end
    elseif kind == C.MR_EVENT_SHORTAGE then
      local listener = listeners[slot]
      if listener then listener:short(event.result) end
    elseif kind == C.MR_EVENT_MEMORY then
      M.on_memory(event.result)
    else
      local handler = handlers[kind]
      if handler then handler(slot, event.result) end
    end
  end
end

--- Set by moonring.clock while time is virtual: lets it go on to the next timer, when all wait and the kernel has nothing.
--- Returns whether there was one.
M.advance_time = false

--- Set by moonring.inspect: tells of a deadlock.
function M.report_deadlock()
end

-- Nothing can ever wake anybody. The first time the main task is cancelled for it, so that its scopes end in order.
local function end_deadlock(root)
  M.report_deadlock()
  local failure = errors.new("deadlock", "deadlock: every task waits, and nothing can ever wake one of them")
  if root.reason then error(failure, 0) end
  root:cancel(failure)
end

-- A turn costs a system call, so tasks that hand things to each other go on for so long before the kernel is asked
-- again. What comes meanwhile waits no longer than that, and one round of those who are ready.
local ROUNDS_SECONDS = 50e-6

-- Returns whether some are ready still.
local function run_rounds(root)
  local more = run_ready()
  if not more then return false end
  local finish = C.mr_clock_now() + ROUNDS_SECONDS
  repeat
    more = run_ready()
  until not more or root:has_ended() or C.mr_clock_now() >= finish
  return more
end

--- Runs the loop until `root`, a task without a parent, has ended. The loop is made when somebody first waits.
function M.run_until(root)
  if not handle then run_ready() end
  if root:has_ended() then return end
  local loop = M.handle()
  local events = ffi.cast("mr_event *", C.mr_loop_events(loop))
  while not root:has_ended() do
    local more = run_rounds(root)
    if root:has_ended() then break end
    if M.before_turn and M.before_turn() then more = true end
    local count = C.mr_loop_turn(loop, (more or M.advance_time) and 0 or -1)
    set_turn_time(C.mr_loop_now(loop))
    if count > 0 then
      dispatch(events, count)
    elseif count == 0 then
      if M.advance_time and not more and not M.advance_time() then
        count = C.mr_loop_turn(loop, -1)
      end
      if count > 0 then dispatch(events, count) end
    end
    if count == EDEADLK then
      end_deadlock(root)
    elseif count < 0 then
      local _, message, code = errors.world(count, "the event loop has failed")
      errors.raise(code, "%s", message)
    end
  end
end

local iovecs_held = ffi.new("int64_t[1]")

--- Ends the loop: what is in flight is cancelled and waited for. Returns the operations that the kernel would not give
--- back, and the iovecs that were still held.
function M.close()
  if not handle then return 0, 0 end
  local loop = handle
  handle = nil
  M.started = false
  C.mr_watch_start(0) -- the watchdog has nothing to watch any more
  local owed = C.mr_loop_finish(loop, 2, iovecs_held)
  return owed, tonumber(iovecs_held[0])
end

return M
