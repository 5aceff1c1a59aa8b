-- moonring.deadline: how long a scope and everything in it may take, and the scopes that are opened for that.
--
-- Where a deadline was set belongs into its error. scope:deadline notes the place; moonring.timeout, which hot code
-- calls, leaves that to the day when the time has passed: then its call is still on the stack of the task that waits.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local coroutines = require "moonring.coroutines"
local failures = require "moonring.failure"
local tree = require "moonring.tree"
local scope = require "moonring.scope"
local clock = require "moonring.clock"
local place = require "moonring.place"

local getinfo = debug.getinfo
local current = scheduler.current
local enter, leave, new_handle, next_frame = scope.enter, scope.leave, scope.new_handle, scope.next_frame
local record_traceback = failures.record_traceback
local check_seconds, check_function = errors.check_seconds, errors.check_function
local HUGE = math.huge

local M = {}

local openers = scope.openers

-- How many stack frames of openers a frame's own one lies behind.
local function openers_before(frame)
  local count, each = 0, frame.task.scope
  while each and each ~= frame do
    count, each = count + 1, each.outer
  end
  return count
end

-- The innermost line of Lua at this level or behind it.
local function first_place(thread, level)
  while true do
    local info = getinfo(thread, level, "fl")
    if not info then return "?" end
    if info.currentline > 0 then return place.text(info.func, info.currentline) end
    level = level + 1
  end
end

-- The place that opened a scope whose task waits: who called the opener.
local function place_of(frame)
  local threads = {}
  local thread = frame.task.coroutine
  while thread do
    table.insert(threads, 1, thread)
    thread = coroutines.resumed_by(thread)
  end
  local before = openers_before(frame)
  for _, each in ipairs(threads) do
    local level = 0
    local info = getinfo(each, level, "f")
    while info do
      if openers[info.func] then
        if before == 0 then return first_place(each, level + 1) end
        before = before - 1
      end
      level = level + 1
      info = getinfo(each, level, "f")
    end
  end
  return "?"
end

local Deadline = {}
Deadline.__index = Deadline

local function new_deadline(record)
  return setmetatable({ record = record, timer = false, seconds = 0, func = false, line = false }, Deadline)
end

function Deadline:start(seconds)
  self.seconds = seconds
  if seconds > 0 and seconds < HUGE then
    self.timer = clock.start(seconds, self)
    self.record.expiry = self
  end
end

function Deadline:stop()
  self.record.expiry = false
  local timer = self.timer
  if timer then
    self.timer = false
    clock.stop(timer, self)
  end
end

function Deadline:expired()
  local record = self.record
  self.timer, record.expiry = false, false
  if record.reason then return end
  local where = self.func and place.text(self.func, self.line) or place_of(record)
  tree.cancel(record, errors.new("deadline", ("deadline: the %g s given at %s have passed"):format(self.seconds, where)))
end

--- Gives everything in this scope and below `seconds` together, from now: then it is cancelled with an error of code
--- "deadline". Set again it replaces the earlier one; math.huge takes it away. Of nested deadlines the nearest wins.
---@param seconds number
function scope.Scope:deadline(seconds)
  check_seconds("deadline", seconds)
  local record = scope.record_of(self, "deadline")
  if scope.has_ended(record) then errors.raise("closed", "deadline: the scope has ended") end
  local deadline = new_deadline(record)
  deadline.func, deadline.line = place.caller(2)
  local earlier = record.expiry
  deadline:start(seconds)
  if earlier then
    earlier:stop()
    record.expiry = deadline.timer and deadline
  end
  if seconds <= 0 then deadline:expired() end
end

-- The deadline of the frame that is opened next; it stays with the frame for its later uses. Its timer runs before the
-- frame is entered: nothing can fail once that is so.
local function next_deadline(what, seconds, fn)
  check_seconds(what, seconds)
  check_function(what, fn)
  if not current() then scheduler.require_task(what) end
  local frame = next_frame()
  local deadline = frame.own_deadline
  if not deadline then
    deadline = new_deadline(frame)
    frame.own_deadline = deadline
  end
  deadline:start(seconds)
  return deadline
end

-- For an expiry within the call, where nobody waits yet.
local function expire_now(deadline)
  local level = 3
  local func, line = place.caller(level)
  while func and line < 1 do -- a pcall
    level = level + 1
    func, line = place.caller(level)
  end
  deadline.func, deadline.line = func, line
  deadline:expired()
  deadline.func, deadline.line = false, false
end

--- Runs `fn(...)` with `seconds` of time, the waiting of its child tasks included, and returns what it returns. Raises
--- an error of code "deadline" when the time is over.
---@param seconds number
---@param fn function
function M.timeout(seconds, fn, ...)
  local deadline = next_deadline("moonring.timeout", seconds, fn)
  local frame = enter "moonring.timeout"
  if seconds <= 0 then expire_now(deadline) end
  return leave(new_handle(frame), frame, xpcall(fn, record_traceback, ...))
end

--- Runs `fn(...)` protected from the cancellation of what is around it, for at most `seconds`: for cleaning up that
--- has to wait. The cancellation is raised by the next wait after it.
---@param seconds number
---@param fn function
function M.shield(seconds, fn, ...)
  local deadline = next_deadline("moonring.shield", seconds, fn)
  local frame = enter "moonring.shield"
  frame.reason, frame.is_shield, frame.is_lean = false, true, false
  if seconds <= 0 then expire_now(deadline) end
  return leave(new_handle(frame), frame, xpcall(fn, record_traceback, ...))
end

openers[M.timeout], openers[M.shield] = true, true

return M
