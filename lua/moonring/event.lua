-- moonring.event: a moment that any number of tasks wait for.

local scheduler = require "moonring.scheduler"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"

---@class moonring.Event
local Event = { __name = "moonring.Event" }
Event.__index = Event

local M = {}

--- Makes an event that has not happened.
---@return moonring.Event
function M.new()
  return setmetatable({ happened = false, queue = waiters.new "event:wait" }, Event)
end

--- Lets all go on who wait, and everybody who comes later.
function Event:set()
  self.happened = true
  self.queue:wake_all()
end

--- From now on waiting waits again.
function Event:reset()
  self.happened = false
end

--- Whether it has happened.
---@return boolean
function Event:is_set()
  return self.happened
end

--- Waits until it has happened.
function Event:wait()
  scheduler.check()
  if not self.happened then self.queue:wait() end
end

function Event:__tostring()
  return ("moonring.Event(%s)"):format(self.happened and "set" or "not set")
end

local Wait = operation.class("moonring.Operation.Event", {
  describe = function() return "event:wait" end,
  try = function(self) return self.event.happened end,
  block = function(self, case) self.event.queue:add(case) end,
  withdraw = function(self, case) self.event.queue:remove(case) end,
  finish = function() end,
})

--- wait as an operation for moonring.select.
---@return moonring.Operation
function Event:wait_op()
  return setmetatable({ event = self }, Wait)
end

return M
