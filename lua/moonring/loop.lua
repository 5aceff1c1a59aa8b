-- moonring.loop: the one loop of this Lua state, and the way from its events to tasks.
--
-- C fills an array of events; this module drains it and runs whoever noted itself in the table of the event's kind.
-- Events are hints: a woken task asks the connection or listener what is true and may wait again.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"

local C, ffi = native.C, native.ffi
local run, run_ready = task.run, task.run_ready

local M = {
  readers = {}, -- by connection slot: the task that waits for bytes
  writers = {}, -- by connection slot: the task that waits for room, or for the connection to come about
  sleepers = {}, -- by timer: the task that sleeps
  listeners = {}, -- by listener slot: the object whose accepted(slot_or_errno) takes new connections
  signals = {}, -- by number: a function
  on_memory = function() end, -- moonring.memory's
}
local readers, writers, sleepers, listeners, signals = M.readers, M.writers, M.sleepers, M.listeners, M.signals

local handle -- mr_loop *, made when it is first asked for

--- The C loop. Made at the first call; raises what stands in the way and what to do about it.
function M.handle()
  if handle then return handle end
  local out = ffi.new("mr_loop *[1]")
  local result = C.mr_loop_create(M.options, out)
  if result < 0 then
    local text = ffi.new("char[512]")
    C.mr_loop_explain(result, text, 512)
    local _, message, code = errors.world(result, "cannot start the event loop")
    errors.raise(code, "%s", message .. "\n  " .. ffi.string(text))
  end
  handle = out[0]
  M.started = true
  return handle
end

local function wake_in(waiting_tasks, slot)
  local waiting = waiting_tasks[slot]
  if waiting then
    waiting_tasks[slot] = nil
    run(waiting)
  end
end

local function dispatch(events, count)
  for i = 0, count - 1 do
    local event = events[i]
    local kind, slot = event.kind, event.slot
    if kind == C.MR_EVENT_READABLE then
      wake_in(readers, slot)
    elseif kind == C.MR_EVENT_WRITABLE or kind == C.MR_EVENT_CONNECTED then
      wake_in(writers, slot)
    elseif kind == C.MR_EVENT_ACCEPTED then
      local listener = listeners[slot]
      if listener then listener:accepted(event.result) end
    elseif kind == C.MR_EVENT_TIMER then
      wake_in(sleepers, slot)
    elseif kind == C.MR_EVENT_SIGNAL then
      local handler = signals[event.result]
      if handler then handler(event.result) end
    elseif kind == C.MR_EVENT_MEMORY then
      M.on_memory(event.result)
    end
  end
end

--- Runs the loop until `root`, a task without a parent, has ended.
function M.run_until(root)
  local loop = M.handle()
  local events = C.mr_loop_events(loop)
  while not root.done do
    local more = run_ready()
    if root.done then break end
    local count = C.mr_loop_turn(loop, more and 0 or -1)
    if count < 0 then
      local _, message, code = errors.world(count, "the event loop has failed")
      errors.raise(code, "%s", message)
    end
    dispatch(events, count)
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
  local owed = C.mr_loop_finish(loop, 2, iovecs_held)
  return owed, tonumber(iovecs_held[0])
end

return M
