-- moonring.operation: waits as values, as in Concurrent ML.
--
-- An operation is something that a task could wait for: the next value of a channel, the end of a task, a moment.
-- Making one does nothing; performing it waits, and so does a select, which waits for whichever of several comes
-- first. It has three methods:
--
--   try()            true and the results, when it can be done at once (and then it has been done); false otherwise
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

-- One select while it waits: the object that its task waits on.
local Selection = {}
Selection.__index = Selection

function Selection:__tostring()
  local parts = {}
  for i, case in ipairs(self) do
    parts[i] = tostring(case.name) .. ": " .. case.operation:describe()
  end
  return "select of " .. table.concat(parts, ", ")
end

function Selection:withdraw()
  for i = 1, #self do
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

local function add_case(selection, name, operation, wraps)
  local class = getmetatable(operation)
  if class == M.Wrapped then
    return add_case(selection, name, operation.inner, { fn = operation.fn, outer = wraps })
  elseif class == Choice then
    for _, each in ipairs(operation) do
      add_case(selection, name, each, wraps)
    end
    return
  elseif type(operation) ~= "table" or not operation.block then
    errors.raise("argument", "moonring.select: '%s' is a %s, not an operation", tostring(name), type(operation))
  end
  local case = { false, false, false, false, name = name, operation = operation, wraps = wraps, selection = selection,
    task = selection.task }
  selection[#selection + 1] = case
end

local function wrapped(wraps, ...)
  if not wraps then return ... end
  return wrapped(wraps.outer, wraps.fn(...))
end

local function results_of(case, ...)
  return case.name, wrapped(case.wraps, ...)
end

local turn = 0

--- Begins the turns anew, so that runs under virtual time are the same. Internal.
function M.restart_turns()
  turn = 0
end

-- Tries all, each time from another one on, so that none starves behind one that is always ready.
local function try_all(selection)
  local count = #selection
  turn = turn + 1
  for i = 0, count - 1 do
    local case = selection[(turn + i) % count + 1]
    if selection:try(case) then return case end
  end
end

local function keep(selection, ok, ...)
  if not ok then return false end
  local count = select("#", ...)
  selection.count, selection.first = count, (...)
  if count > 1 then selection.results = { ... } end
  return true
end

function Selection:try(case)
  return keep(self, case.operation:try())
end

local function tried(selection, case)
  if selection.results then return results_of(case, unpack(selection.results, 1, selection.count)) end
  if selection.count == 0 then return results_of(case) end
  return results_of(case, selection.first)
end

local function by_name(left, right)
  return tostring(left) < tostring(right)
end

local function block_all(selection)
  for i = 1, #selection do
    local case = selection[i]
    case.operation:block(case)
  end
end

--- Waits until one of several operations can be done, and does that one: `local name, value = moonring.select { reply
--- = connection:read_op(), late = moonring.sleep_op(2) }`. The others are as if they had never been asked for. When
--- several can be done at once, each gets its turn.
---@param operations table<any, moonring.Operation>
---@return any name the key of the operation that was done
---@return any ... its results
function M.select(operations)
  local me = scheduler.require_task "moonring.select"
  scheduler.check()
  local selection = setmetatable({ task = me }, Selection)
  local names = {}
  for name in pairs(operations) do
    names[#names + 1] = name
  end
  if #names > 1 then table.sort(names, by_name) end -- the order is the same in every run
  for i = 1, #names do
    add_case(selection, names[i], operations[names[i]])
  end
  if not selection[1] then errors.raise("argument", "moonring.select: at least one operation is needed") end
  while true do
    local case = try_all(selection)
    if case then return tried(selection, case) end
    local ok, problem = pcall(block_all, selection)
    if not ok then
      selection:withdraw()
      error(problem, 0)
    end
    scheduler.wait(selection)
    case = selection.winner
    if case then return results_of(case, case.operation:finish(case, selection.value)) end
    selection:withdraw()
  end
end

-- Operations of tasks and time --------------------------------------------------------------------------------------------

local Sleep = M.class("moonring.Operation.Sleep", {
  describe = function(self) return ("sleep of %g s"):format(self.seconds) end,
  try = function(self) return self.seconds <= 0 end,
  block = function(self, case)
    case.expired = self.expired
    case.due = case.due or clock.now() + self.seconds -- stays when the select is only woken and waits again
    case.timer = clock.start(case.due - clock.now(), case)
  end,
  withdraw = function(_, case)
    if case.timer then clock.stop(case.timer, case) end
    case.timer = nil
  end,
  expired = function(case)
    case.timer = nil
    case.selection:decide(case)
  end,
  finish = function() end,
})

--- The moment `seconds` after the waiting begins.
---@param seconds number
---@return moonring.Operation
function M.sleep_op(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds then
    errors.raise("argument", "moonring.sleep_op: a number of seconds is needed, not %s", tostring(seconds))
  end
  return setmetatable({ seconds = seconds }, Sleep)
end

local Join = M.class("moonring.Operation.Join", {
  describe = function(self) return "the end of " .. tostring(self.task) end,
  try = function(self)
    if not self.task:has_ended() then return false end
    return true, self.task:outcome()
  end,
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
