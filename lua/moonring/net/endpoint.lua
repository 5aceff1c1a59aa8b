-- moonring.net.endpoint: what connections, listeners and datagram sockets have in common: a slot of the loop, and sides at
-- each of which one task waits at a time.
--
-- A side is, for all objects of a class, the table from slot to the task that waits there. A wait notes the running task in
-- it. The event for the slot takes the note away and runs the task (moonring.loop); the object's close does so, too; and a
-- cancellation takes it away by withdraw, which tells C. Events are hints: who has been woken asks again for what it wanted.
--
-- The functions for waiting get a side's table, not the side: each request of a server comes by here, and a table that is a
-- constant of the caller costs compiled code no look-up.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local operation = require "moonring.operation"
local address = require "moonring.net.address"

local current, wait, wake = scheduler.current, scheduler.wait, scheduler.wake

local M = {}

local kinds = {} -- by class: { called =, sides = }

local function refuse_closed(class, what, self)
  local called = kinds[class].called
  if self ~= nil and getmetatable(self) ~= class then
    errors.raise("argument", "%s:%s: called on a %s; a method is called with a colon", called, what, type(self))
  end
  errors.raise("closed", "%s:%s: the %s has been closed", called, what, called)
end

--- Raises "closed" for a method of an object that has been; "argument" when that is given and is none of the class.
M.refuse_closed = refuse_closed

local function refuse_busy(self, what, other)
  local called = kinds[getmetatable(self)].called
  errors.raise("busy", "%s:%s: %s is in %s of this %s already, and %s wants to; one task at a time", called, what,
    tostring(other), what, called, tostring(current()))
end

local function check_free(self, tasks, what)
  local other = tasks[self.slot]
  if other then refuse_busy(self, what, other) end
end

--- Raises "busy" when a task waits there.
M.check_free = check_free

-- Notes a task as the one that waits there.
local function note(self, tasks, what, task)
  check_free(self, tasks, what)
  tasks[self.slot] = task
end

--- Notes the running task as the one that waits there, for who does the waiting itself. Raises "busy".
function M.note(self, tasks, what)
  note(self, tasks, what, current())
end

--- Waits there for the slot's next event. Raises "busy", and "closed" when the object was closed meanwhile.
---@param tasks table<integer, moonring.Task> the side's
---@param what string the method, for errors
function M.wait_in(self, tasks, what)
  note(self, tasks, what, current())
  wait(self)
  if not self.slot then refuse_closed(getmetatable(self), what) end
end

-- Where a task waits, of the sides that its object has.
local function side_of(self, waiting)
  local slot = self.slot
  if not slot then return nil end
  for _, side in ipairs(kinds[getmetatable(self)].sides) do
    if side.tasks[slot] == waiting then return side end
  end
end

local function withdraw_from(self, side, waiting)
  local slot = self.slot
  if not slot or side.tasks[slot] ~= waiting then return end
  side.tasks[slot] = nil
  side.withdraw(self.handle, slot)
end

-- Takes the task's wait back; called when it is cancelled.
local function withdraw(self, waiting)
  local side = side_of(self, waiting)
  if side then withdraw_from(self, side, waiting) end
end

-- For reports.
local function describe_wait(self, waiting)
  local side = side_of(self, waiting)
  return (side and side.what .. " of " or "") .. tostring(self)
end

--- Internal.
---@class moonring.net.Side
---@field tasks table<integer, moonring.Task> by slot: who waits there
---@field what string what it waits in, for reports
---@field withdraw fun(handle: ffi.cdata*, slot: integer) tells C that nobody waits there any more

--- Makes the objects of a class endpoints. They have the `handle` of the loop, and a `slot`, which is false once closed.
---@param class table their metatable
---@param called string what errors call one
---@param sides moonring.net.Side[]
function M.mix(class, called, sides)
  kinds[class] = { called = called, sides = sides }
  class.withdraw, class.describe_wait = withdraw, describe_wait
end

--- Wakes who waits at `slot`, which the object had until now: they find it closed.
function M.wake_all(self, slot)
  for _, side in ipairs(kinds[getmetatable(self)].sides) do
    local waiting = side.tasks[slot]
    if waiting then
      side.tasks[slot] = nil
      wake(waiting)
    end
  end
end

--- A class of operations that wait at a side. Its objects have the `endpoint`, and what `attempt` needs besides. That does
--- what an operation's try does, and is asked only while the endpoint is open and nobody waits there.
---@param name string
---@param side moonring.net.Side
---@param verb string the method that it is the operation of
---@param attempt fun(self: table, endpoint: table, slot: integer): boolean, ...
function M.operation(name, side, verb, attempt)
  local tasks = side.tasks
  return operation.class(name, {
    describe = function(self) return verb .. " of " .. tostring(self.endpoint) end,
    try = function(self)
      local endpoint = self.endpoint
      local slot = endpoint.slot
      if not slot then refuse_closed(getmetatable(endpoint), verb) end
      if tasks[slot] then return false end -- block tells who is in the way
      return attempt(self, endpoint, slot)
    end,
    block = function(self, case)
      local endpoint = self.endpoint
      if not endpoint.slot then return wake(case.task) end
      note(endpoint, tasks, side.what, case.task)
    end,
    withdraw = function(self, case) withdraw_from(self.endpoint, side, case.task) end,
  })
end

--- The address that a function of C gives for the object's slot.
---@param get fun(handle: ffi.cdata*, slot: integer, found: moonring.Address): integer
---@param what string the method
---@return moonring.Address? address
---@return string? message
---@return string? code
function M.address_by(self, get, what)
  if not self.slot then refuse_closed(getmetatable(self), what) end
  local found = address.new()
  local result = get(self.handle, self.slot, found)
  if result < 0 then return errors.world(result, what) end
  return found
end

return M
