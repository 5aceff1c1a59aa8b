-- moonring.waiters: a queue of those who wait for the same thing, first come, first served.
--
-- A waiter is a task, or one case of a select (moonring.operation): anything with a place for its POSITION that is
-- woken by wake(waiter, value). Leaving the queue early takes O(1) and leaves nothing behind.

local scheduler = require "moonring.scheduler"

local POSITION, DELIVERED = scheduler.POSITION, scheduler.DELIVERED

--- Internal.
---@class moonring.Waiters
local Waiters = {}
Waiters.__index = Waiters

local M = {}

--- Makes a queue. `what` is what they wait for, as reports say it.
---@param what? string
function M.new(what)
  return setmetatable({ first = 1, last = 0, what = what }, Waiters)
end

function Waiters:__tostring()
  return self.what or "a queue"
end

--- Puts a waiter behind the others.
function Waiters:add(waiter)
  local last = self.last + 1
  self.last = last
  self[last] = waiter
  waiter[POSITION] = last
end

--- The first waiter, which stays where it is; nil when nobody waits.
function Waiters:peek()
  return self[self.first]
end

--- Takes a waiter out, wherever it stands. One that isn't there (any more) is no matter.
function Waiters:remove(waiter)
  local position = waiter[POSITION]
  if not position or self[position] ~= waiter then return end
  self[position] = nil
  waiter[POSITION] = false
  -- Both ends of the queue are waiters; holes are only between them.
  local first, last = self.first, self.last
  if first == last then
    self.first, self.last = 1, 0
  elseif position == first then
    first = first + 1
    while not self[first] do
      first = first + 1
    end
    self.first = first
  elseif position == last then
    last = last - 1
    while not self[last] do
      last = last - 1
    end
    self.last = last
  end
end

-- A task waits on the queue itself.
Waiters.withdraw = Waiters.remove

--- Puts the running task into the queue and waits. Returns what it is handed. object: what the task waits on, when that is
--- another one, whose withdraw takes it out of the queue.
---@param object? table
function Waiters:wait(object)
  local me = scheduler.current() or scheduler.require_task(self.what)
  self:add(me)
  scheduler.wait(object or self)
  local value = me[DELIVERED]
  me[DELIVERED] = false
  return value
end

--- Takes the first waiter out and wakes it with the value. Returns it, nil when nobody waits.
function Waiters:wake_first(value)
  local waiter = self:peek()
  if not waiter then return nil end
  self:remove(waiter)
  M.deliver(waiter, value)
  return waiter
end

--- Takes all waiters out, in their order, and wakes them with the value.
function Waiters:wake_all(value)
  while self:wake_first(value) do end
end

--- Lets all go on, to look again for what they wait for: they are handed nothing.
function Waiters:wake_to_retry()
  local waiting = {}
  local waiter = self:peek()
  while waiter do
    self:remove(waiter)
    waiting[#waiting + 1] = waiter
    waiter = self:peek()
  end
  for _, each in ipairs(waiting) do
    scheduler.wake(each.task or each)
  end
end

--- Whether nobody waits.
---@return boolean
function Waiters:is_empty()
  return self:peek() == nil
end

--- How many wait. Walks through them: for reports and specs.
function Waiters:count()
  local count = 0
  for position = self.first, self.last do
    if self[position] then count = count + 1 end
  end
  return count
end

--- Hands a value to a waiter that has been taken out of its queue.
function M.deliver(waiter, value)
  local selection = waiter.selection
  if selection then
    selection:decide(waiter, value)
  else
    waiter[DELIVERED] = value
    scheduler.wake(waiter)
  end
end

return M
