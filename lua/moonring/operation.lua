-- moonring.operation: waits as values, as in Concurrent ML.
--
-- An operation is something that a task could wait for: the next value of a channel, the end of a task, a moment.
-- Making one does nothing; performing it waits, and so does a select, which waits for whichever of several comes
-- first. It has three methods:
--
--   try()            true and up to three results, when it can be done at once (and then it has been done); false
--                    otherwise. One with more results gives them by results()
--   block(case)      notes the case where its event will find it; case.task is the task, for those that are only woken
--   withdraw(case)   takes that note away; also called when there is none any more
--
-- The event's side either hands the case its result (waiters.deliver), which decides the select at once and withdraws
-- the other cases before anybody else runs, or just wakes the task, and all are tried again. So exactly one operation
-- is done, and one that was not done has changed nothing: no value is lost, nobody stays in a queue.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local clock = require "moonring.clock"

local M = {}

---@class moonring.Operation
local Operation = { __name = "moonring.Operation" }
Operation.__index = Operation

--- Makes an operation class with `try`, `block`, `withdraw` and `describe`. What a case was handed is given to
--- `finish(case, value)`, which returns the results; by default the value.
function M.class(name, methods)
  methods.__index = methods
  methods.__name = name
  methods.__tostring = function(self) return self:describe() end
  return setmetatable(methods, { __index = Operation })
end

function Operation:finish(_, value) -- luacheck: ignore self
  return value
end

Operation.results = false

--- An operation whose results are those of this one, handed through `fn`. It runs after the choice has been made.
---@param fn function
---@return moonring.Operation
function Operation:wrap(fn)
  return setmetatable({ inner = self, fn = fn }, M.Wrapped)
end

local function without_name(_, ...)
  return ...
end

--- Waits for this operation. Returns its results.
function Operation:perform()
  return without_name(M.select { self })
end

M.Wrapped = M.class("moonring.Operation.Wrapped", {
  describe = function(self) return self.inner:describe() end,
})

local Choice = M.class("moonring.Operation.Choice", {
  describe = function(self)
    local parts = {}
    for i, operation in ipairs(self) do
      parts[i] = operation:describe()
    end
    return table.concat(parts, " or ")
  end,
})

--- An operation that is whichever of these comes first.
---@param ... moonring.Operation
---@return moonring.Operation
function M.choice(...)
  return setmetatable({ ... }, Choice)
end

local Wrapped = M.Wrapped

local function wrapped(wraps, ...)
  if not wraps then return ... end
  return wrapped(wraps.outer, wraps.fn(...))
end

-- What select returns for an operation that try has done. Without the nils behind the last result, for who counts.
local function done(name, operation, wraps, first, second, third)
  if operation.results then return name, wrapped(wraps, operation:results()) end
  if third ~= nil then return name, wrapped(wraps, first, second, third) end
  if second ~= nil then return name, wrapped(wraps, first, second) end
  if first ~= nil then return name, wrapped(wraps, first) end
  return name, wrapped(wraps)
end

-- What a select is asked for, laid out in the order of the names, which is the same in every run. Most selects find
-- something that can be done, and make nothing but this; and this is used again by the next one.
local spare_plan = { count = 0, names = {}, operations = {}, wraps = {} }

local function take_plan()
  local plan = spare_plan
  if not plan then return { count = 0, names = {}, operations = {}, wraps = {} } end
  spare_plan = false
  return plan
end

local function drop_plan(plan)
  for i = 1, plan.count do
    plan.names[i], plan.operations[i], plan.wraps[i] = false, false, false
  end
  plan.count = 0
  spare_plan = plan
end

local function is_before(left, right)
  if type(left) == "string" and type(right) == "string" then return left < right end
  return tostring(left) < tostring(right)
end

local function add(plan, name, operation, wraps)
  local class = getmetatable(operation)
  if class == Wrapped then
    return add(plan, name, operation.inner, { fn = operation.fn, outer = wraps })
  elseif class == Choice then
    for _, each in ipairs(operation) do
      add(plan, name, each, wraps)
    end
    return
  elseif type(operation) ~= "table" or not operation.block then
    errors.raise("argument", "moonring.select: '%s' is a %s, not an operation: channel:receive_op() and the like make one",
      tostring(name), tostring(operation):match "^moonring%.[%w.]+" or type(operation))
  end
  local names, all, all_wraps = plan.names, plan.operations, plan.wraps
  local place = plan.count + 1
  plan.count = place
  while place > 1 and is_before(name, names[place - 1]) do
    names[place], all[place], all_wraps[place] = names[place - 1], all[place - 1], all_wraps[place - 1]
    place = place - 1
  end
  names[place], all[place], all_wraps[place] = name, operation, wraps
end

-- One of the operations while its select waits. Its place in a queue is where a task has it.
local Case = {}
Case.__index = Case
local NAME, WRAPS = 5, 6

function Case:expired()
  self.operation:expired(self)
end

local function new_case(selection, name, operation, wraps)
  local case = { false, false, false, false, false, false, false, false, false,
    operation = false, selection = false, task = false }
  case[NAME], case[WRAPS] = name, wraps
  case.operation, case.selection, case.task = operation, selection, selection.task
  return setmetatable(case, Case)
end

-- One select while it waits: the object that its task waits on. `value` is what the winner was handed.
local Selection = {}
Selection.__index = Selection

local function new_selection(task_of, plan)
  local selection = setmetatable({ false, false, false, false, task = false, count = 0, winner = false, value = false },
    Selection)
  selection.task, selection.count = task_of, plan.count
  for i = 1, plan.count do
    selection[i] = new_case(selection, plan.names[i], plan.operations[i], plan.wraps[i])
  end
  return selection
end

function Selection:__tostring()
  local parts = {}
  for i = 1, self.count do
    parts[i] = tostring(self[i][NAME]) .. ": " .. self[i].operation:describe()
  end
  return "select of " .. table.concat(parts, ", ")
end

function Selection:withdraw()
  for i = 1, self.count do
    local case = self[i]
    if case ~= self.winner then case.operation:withdraw(case) end
  end
end

-- A case has been handed its result.
function Selection:decide(case, value)
  if self.winner then return end
  self.winner, self.value = case, value
  self:withdraw()
  scheduler.wake(self.task)
end

local turn = 0

--- Begins the turns anew, so that runs under virtual time are the same. Internal.
function M.restart_turns()
  turn = 0
end

local function block_all(selection)
  for i = 1, selection.count do
    local case = selection[i]
    case.operation:block(case)
  end
end

-- Tries all again, after the task was only woken. Returns the case that has been done, and its results.
local function try_again(selection)
  turn = turn + 1
  for i = 0, selection.count - 1 do
    local case = selection[(turn + i) % selection.count + 1]
    local ok, first, second, third = case.operation:try()
    if ok then return case, first, second, third end
  end
end

local function wait_for_one(selection)
  while true do
    local ok, problem = pcall(block_all, selection)
    if not ok then
      selection:withdraw()
      error(problem, 0)
    end
    scheduler.wait(selection)
    local case = selection.winner
    if case then return case[NAME], wrapped(case[WRAPS], case.operation:finish(case, selection.value)) end
    selection:withdraw()
    local first, second, third
    case, first, second, third = try_again(selection)
    if case then return done(case[NAME], case.operation, case[WRAPS], first, second, third) end
  end
end

--- Waits until one of several operations can be done, and does that one: `local name, value = moonring.select { reply
--- = connection:read_op(), late = moonring.sleep_op(2) }`. The others are as if they had never been asked for. When
--- several can be done at once, each gets its turn.
--- ```lua
--- local moonring = require "moonring"
---
--- local replies = moonring.channel(1)
--- moonring.spawn(function() replies:send "pong" end)
--- local what, reply = moonring.select { reply = replies:receive_op(), late = moonring.sleep_op(2) }
--- assert(what == "reply" and reply == "pong")
--- ```
---@param operations table<any, moonring.Operation>
---@return any name the key of the operation that was done
---@return any ... its results
function M.select(operations)
  local me = scheduler.require_task "moonring.select"
  scheduler.check()
  local plan = take_plan()
  for name, operation in pairs(operations) do
    add(plan, name, operation, false)
  end
  local count = plan.count
  if count == 0 then errors.raise("argument", "moonring.select: at least one operation is needed") end
  -- Each time from another one on, so that none starves behind one that is always ready.
  turn = turn + 1
  for i = 0, count - 1 do
    local place = (turn + i) % count + 1
    local operation = plan.operations[place]
    local ok, first, second, third = operation:try()
    if ok then
      local name, wraps = plan.names[place], plan.wraps[place]
      drop_plan(plan)
      return done(name, operation, wraps, first, second, third)
    end
  end
  local selection = new_selection(me, plan)
  drop_plan(plan)
  return wait_for_one(selection)
end

-- Operations of tasks and time --------------------------------------------------------------------------------------------

local DUE, TIMER = scheduler.BORN, scheduler.TIMER

local Sleep = M.class("moonring.Operation.Sleep", {
  describe = function(self) return ("sleep of %g s"):format(self.seconds) end,
  try = function(self) return self.seconds <= 0 end,
  block = function(self, case)
    local now = clock.now()
    case[DUE] = case[DUE] or now + self.seconds -- stays when the select is only woken and waits again
    case[TIMER] = clock.start(case[DUE] - now, case)
  end,
  withdraw = function(_, case)
    if case[TIMER] then clock.stop(case[TIMER], case) end
    case[TIMER] = false
  end,
  expired = function(_, case)
    case[TIMER] = false
    case.selection:decide(case)
  end,
  finish = function() end,
})

--- The moment `seconds` after the waiting begins.
---@param seconds number
---@return moonring.Operation
function M.sleep_op(seconds)
  errors.check_seconds("moonring.sleep_op", seconds)
  return setmetatable({ seconds = seconds }, Sleep)
end

local Join = M.class("moonring.Operation.Join", {
  describe = function(self) return "the end of " .. tostring(self.task) end,
  try = function(self) return self.task:has_ended() end,
  results = function(self) return self.task:outcome() end,
  block = function(self, case) case.note = self.task:add_joiner(case) end,
  withdraw = function(_, case)
    if case.note then case.note:withdraw(case) end
  end,
  finish = function(self) return self.task:outcome() end,
})

--- The task's end; its results are those of join.
---@return moonring.Operation
function task.Task:join_op()
  return setmetatable({ task = self }, Join)
end

return M
