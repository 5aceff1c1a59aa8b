-- moonring.pool: a few expensive things, connections above all, lent to many tasks.
--
-- At most `size` exist, and whoever wants one more waits in line; deadlines and cancellation apply to that wait as to
-- any. The one given back last is lent first, so that the rest grow idle, and those idle for too long are closed. One
-- that fails its check, or whose borrower failed, is closed and not lent again. The pool belongs to the scope that it
-- was made in and ends with it.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local failures = require "moonring.failure"
local clock = require "moonring.clock"
local semaphore = require "moonring.semaphore"
local operation = require "moonring.operation"

---@class moonring.PoolOptions
---@field open fun(): any, string?, string? makes one; nil, message, code when that fails
---@field close? fun(resource: any) default: its close method
---@field check? fun(resource: any): boolean whether one that was idle may still be lent, default: always
---@field size? integer how many may exist, default 8
---@field idle? number seconds after which one that nobody wants is closed, default 60

---@class moonring.Pool
local Pool = { __name = "moonring.Pool" }
Pool.__index = Pool

local M = {}

local OPTIONS = { open = "function", close = "function", check = "function", size = "number", idle = "number" }

local function close_method(resource)
  resource:close()
end

-- What is opened has to be closed one day: said now and not then.
local function check_closable(self, resource)
  if self.close_one ~= close_method then return end
  local ok, close = pcall(function() return resource.close end)
  if ok and close then return end
  errors.raise("argument", "moonring.pool: %s, which open has returned, has no close method; give the option close, " ..
    "a function", tostring(resource))
end

--- Makes a pool, which the running task's innermost scope owns.
---@param options moonring.PoolOptions
---@return moonring.Pool
function M.new(options)
  local me = scheduler.require_task "moonring.pool"
  if type(options) ~= "table" or type(options.open) ~= "function" then
    errors.raise("argument", "moonring.pool: options with a function `open` are needed")
  end
  errors.check_options("moonring.pool", options, OPTIONS)
  local self = setmetatable({
    open = options.open,
    close_one = options.close or close_method,
    check = options.check,
    idle_seconds = options.idle or 60,
    permits = semaphore.new(options.size or 8),
    idle = {}, -- { resource, since }, the one given back last at the end
    lent = {}, -- by resource: true
    is_closed = false,
  }, Pool)
  self.permits.queue.what = "pool:acquire"
  return task.innermost(me):own(self)
end

local function dispose(self, resource)
  local ok, failure = xpcall(self.close_one, failures.record_traceback, resource)
  if not ok then failures.report("a pool could not close " .. tostring(resource), failure, task.current()) end
end

-- The reaper's timer: closing may wait, so it gets a task of its own, which nobody waits for.
local Reaper = {}
Reaper.__index = Reaper

local function dispose_all(self, resources)
  for _, resource in ipairs(resources) do
    dispose(self, resource)
  end
end

local function arm_reaper(self)
  local oldest = self.idle[1]
  if self.reaper or not oldest or self.idle_seconds == math.huge then return end
  self.reaper = setmetatable({ pool = self }, Reaper)
  self.reaper.timer = clock.start(math.max(oldest.since + self.idle_seconds - clock.now(), 0), self.reaper)
end

function Reaper:expired()
  local pool = self.pool
  pool.reaper = nil
  local expired, kept, now = {}, {}, clock.now()
  for _, entry in ipairs(pool.idle) do
    if now - entry.since >= pool.idle_seconds then
      expired[#expired + 1] = entry.resource
    else
      kept[#kept + 1] = entry
    end
  end
  pool.idle = kept
  if expired[1] then task.root(dispose_all, pool, expired):named "pool's reaper" end
  arm_reaper(pool)
end

-- An idle one that passes its check; nil when there is none.
local function take_idle(self)
  while true do
    local entry = table.remove(self.idle)
    if not entry then return nil end
    local resource = entry.resource
    if clock.now() - entry.since < self.idle_seconds then
      if not self.check then return resource end
      local ok, sound = xpcall(self.check, failures.record_traceback, resource)
      if ok and sound then return resource end
      dispose(self, resource)
      if not ok then error(sound, 0) end
    else
      dispose(self, resource)
    end
  end
end

local function give_out(self)
  local resource = take_idle(self)
  if resource ~= nil then return resource end
  local message, code
  resource, message, code = self.open()
  if resource ~= nil then check_closable(self, resource) end
  return resource, message, code
end

local function refuse_closed()
  errors.raise("closed", "pool:acquire: the pool has been closed")
end

local function lend(self, ok, resource, ...)
  if ok and resource ~= nil and self.is_closed then
    dispose(self, resource)
    ok, resource = pcall(refuse_closed)
  end
  if not ok or resource == nil then
    self.permits:release()
    if not ok then error(resource, 0) end
    return nil, ...
  end
  self.lent[resource] = true
  return resource
end

-- What comes after the wait for a place.
local function use_place(self)
  if self.is_closed then
    self.permits:release()
    refuse_closed()
  end
  return lend(self, xpcall(give_out, failures.record_traceback, self))
end

--- Lends one: an idle one, or a new one, or the next that is given back. The borrower gives it back with release.
---@return any? resource nil when a new one could not be opened
---@return string? message
---@return string? code
function Pool:acquire()
  if self.is_closed then refuse_closed() end
  self.permits:acquire()
  return use_place(self)
end

local Acquire = operation.class("moonring.Operation.PoolAcquire", {
  describe = function() return "pool:acquire" end,
  try = function(self) return self.pool.is_closed or self.pool.permits:try_acquire() end,
  block = function(self, case) self.pool.permits.queue:add(case) end,
  withdraw = function(self, case) self.pool.permits.queue:remove(case) end,
  finish = function() end,
})

--- acquire as an operation for moonring.select. It is chosen when there is a place for the borrower; checking an idle one
--- or opening a new one, which may wait, comes after the choice.
---@return moonring.Operation
function Pool:acquire_op()
  return setmetatable({ pool = self }, Acquire):wrap(function() return use_place(self) end)
end

--- Gives one back.
---@param resource any
---@param is_broken? boolean true: it is closed and not lent again
function Pool:release(resource, is_broken)
  if not self.lent[resource] then
    errors.raise("argument", "pool:release: %s is not lent by this pool", tostring(resource))
  end
  self.lent[resource] = nil
  if is_broken or self.is_closed then
    dispose(self, resource)
  else
    self.idle[#self.idle + 1] = { resource = resource, since = clock.now() }
    arm_reaper(self)
  end
  self.permits:release()
end

local function give_back(self, resource, ok, ...)
  self:release(resource, not ok)
  if not ok then error((...), 0) end
  return ...
end

--- Runs `fn(resource, ...)` with one and gives it back; when fn raises (a cancellation included) it is closed instead,
--- for nobody knows what state it is in. Returns what fn returns; nil, message, code when none could be opened.
---@param fn function
function Pool:use(fn, ...)
  local resource, message, code = self:acquire()
  if resource == nil then return nil, message, code end
  return give_back(self, resource, xpcall(fn, failures.record_traceback, resource, ...))
end

--- How many are idle, lent, and wanted by tasks that wait.
---@return { idle: integer, lent: integer, waiting: integer }
function Pool:stats()
  local lent = 0
  for _ in pairs(self.lent) do
    lent = lent + 1
  end
  return { idle = #self.idle, lent = lent, waiting = self.permits:waiting() }
end

--- Closes the idle ones, and the lent ones as they are given back. Who waits gets the error "closed".
function Pool:close()
  if self.is_closed then return end
  self.is_closed = true
  if self.reaper then
    clock.stop(self.reaper.timer, self.reaper)
    self.reaper = nil
  end
  local idle = self.idle
  self.idle = {}
  for i = #idle, 1, -1 do
    dispose(self, idle[i].resource)
  end
  local waiting = self.permits.queue
  self.permits.permits = math.huge -- those who wait are let through, to find it closed
  waiting:wake_all()
end

function Pool:__tostring()
  local stats = self:stats()
  return ("moonring.Pool(%d idle, %d lent, %d waiting%s)"):format(stats.idle, stats.lent, stats.waiting,
    self.is_closed and ", closed" or "")
end

return M
