-- moonring.semaphore: at most so many at once, first come, first served.
--
-- A permit that is given back goes straight to the first who waits; nobody who comes in between can take it. Waiting
-- for one ends either with the permit or with an error, never with both.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"

---@class moonring.Semaphore
local Semaphore = { __name = "moonring.Semaphore" }
Semaphore.__index = Semaphore

local M = {}

--- Makes a semaphore with so many permits.
---@param permits? integer default 1
---@return moonring.Semaphore
function M.new(permits)
  permits = permits or 1
  if type(permits) ~= "number" or permits ~= permits or permits < 1 then
    errors.raise("argument", "moonring.semaphore: at least one permit is needed, not %s", tostring(permits))
  end
  return setmetatable({ permits = permits, free = permits, queue = waiters.new "semaphore:acquire" }, Semaphore)
end

--- Takes a permit. Waits until there is one.
function Semaphore:acquire()
  scheduler.check()
  if not self:try_acquire() then self.queue:wait() end
end

--- Takes a permit if one is free. Never waits.
---@return boolean
function Semaphore:try_acquire()
  if self.free == 0 then return false end
  self.free = self.free - 1
  return true
end

--- Gives a permit back.
function Semaphore:release()
  if self.queue:wake_first() then return end
  if self.free == self.permits then
    errors.raise("overflow", "semaphore:release: all %d permits are free already", self.permits)
  end
  self.free = self.free + 1
end

local function release_after(self, ok, ...)
  self:release()
  if not ok then error((...), 0) end
  return ...
end

--- Runs `fn(...)` with a permit, which is given back however that ends. Returns what it returns.
---@param fn function
function Semaphore:with(fn, ...)
  self:acquire()
  return release_after(self, xpcall(fn, task.record_traceback, ...))
end

--- How many tasks wait for a permit.
---@return integer
function Semaphore:waiting()
  return self.queue:count()
end

function Semaphore:__tostring()
  return ("moonring.Semaphore(%d of %d free)"):format(self.free, self.permits)
end

local Acquire = operation.class("moonring.Operation.Acquire", {
  describe = function() return "semaphore:acquire" end,
  try = function(self) return self.semaphore:try_acquire() end,
  block = function(self, case) self.semaphore.queue:add(case) end,
  withdraw = function(self, case) self.semaphore.queue:remove(case) end,
  finish = function() end,
})

--- acquire as an operation for moonring.select.
---@return moonring.Operation
function Semaphore:acquire_op()
  return setmetatable({ semaphore = self }, Acquire)
end

return M
