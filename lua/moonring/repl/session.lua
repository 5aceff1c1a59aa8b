-- moonring.repl.session: what a REPL knows and does, wherever the person sits.
--
-- A session evaluates blocks, one at a time, each as a task that may wait. Tasks that a block starts stay when it has
-- ended: they go over to the session's scope, whose failures are told and end nothing else. The terminal
-- (moonring.repl) and the socket (moonring.repl.remote) are two fronts of it; both give it write(text).

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local place = require "moonring.place"
local chunk = require "moonring.repl.chunk"
local show = require "moonring.repl.show"

local M = {}

--- Internal.
---@class moonring.repl.Session
---@field scope moonring.Scope of the tasks that blocks leave behind
---@field running? moonring.Task the block that runs now
local Session = {}
Session.__index = Session

-- moonring's own modules by the names that scripts give them: there without a require, unless somebody has such a name.
local MODULES = { moonring = "moonring" }
for name in ("buffer digest dns errors fs http iovec log net process websocket"):gmatch "%S+" do
  MODULES[name] = "moonring." .. name
end

-- The names that blocks see: the session's locals, then the globals, then the modules.
local function new_environment(locals, declared)
  return setmetatable({}, {
    __index = function(_, name)
      if declared[name] then return locals[name] end
      if MODULES[name] and rawget(_G, name) == nil then return require(MODULES[name]) end
      return _G[name]
    end,
    __newindex = function(_, name, value)
      if declared[name] then locals[name] = value else _G[name] = value end
    end,
  })
end

--- Internal.
---@class moonring.repl.SessionOptions
---@field write fun(text: string) where values, errors and reports go
---@field colour? boolean
---@field width? integer columns that values are laid out for, default 80

--- Makes a session in a scope, which its tasks belong to.
---@param scope moonring.Scope
---@param options moonring.repl.SessionOptions
---@return moonring.repl.Session
function M.new(scope, options)
  local self = setmetatable({
    scope = scope, write = options.write, colour = options.colour, width = options.width or 80,
    locals = {}, declared = { _ = true, _error = true }, blocks = 0, compiled = false,
  }, Session)
  self.environment = new_environment(self.locals, self.declared)
  self.on_failure = function(failure, failed) self:report_task(failure, failed) end
  scope:tell_failures(self.on_failure)
  return self
end

--- What `name` means to a block: for completion, which must not run anything.
---@param name string
---@return any
function Session:lookup(name)
  if self.declared[name] then return self.locals[name] end
  local value = rawget(_G, name)
  if value == nil and MODULES[name] then return package.loaded[MODULES[name]] end
  return value
end

--- The names that a block can see, as keys.
function Session:names()
  local names = {}
  for name in next, _G do names[name] = true end
  for name in pairs(MODULES) do names[name] = true end
  for name in pairs(self.declared) do names[name] = true end
  return names
end

-- Errors ---------------------------------------------------------------------------------------------------------------

-- The traceback without the REPL's and the scheduler's own frames, which are the outermost.
local function trim(trace)
  local lines = {}
  for line in (trace or ""):gmatch "[^\n]+" do
    if line:find("moonring/repl/", 1, true) then break end
    if line ~= "stack traceback:" and not line:find "^%s*%[C%]: in function 'error'" then lines[#lines + 1] = line end
  end
  while lines[#lines] and lines[#lines]:find "^%s*%[C%]:" do lines[#lines] = nil end
  if #lines == 0 then return "" end
  return "stack traceback:\n" .. table.concat(lines, "\n") .. "\n"
end

function Session:paint(colour, text)
  return self.colour and "\27[" .. colour .. "m" .. text .. "\27[0m" or text
end

--- Tells of a background task's failure.
function Session:report_task(failure, failed)
  local text = ("[task %d%s failed] %s"):format(failed.id, failed.name and (' "%s"'):format(failed.name) or "",
    tostring(failure))
  text = self:paint("31", text) .. "\n" .. trim(task.traceback_of(failure, failed))
  local spawner, line = failed[scheduler.SPAWNER], failed[scheduler.LINE]
  if spawner then text = text .. "spawned at " .. place.text(spawner, line) .. "\n" end
  self.write(text)
end

-- Evaluation -----------------------------------------------------------------------------------------------------------

local function traced(failure)
  if errors.is(failure, "cancelled") or failure == nil then return { failure = failure } end
  local own = type(failure) == "table" and task.traceback_of(failure)
  return { failure = failure, trace = own or debug.traceback("", 2) }
end

local function declare(self, names)
  for _, name in ipairs(names) do
    if not self.declared[name] then
      self.declared[name] = true
      self.locals[name] = _G[name]
    end
  end
end

--- Compiles a block under the session's names.
---@return function? chunk
---@return string|table message_or_names
---@return boolean? incomplete
function Session:compile(text)
  local fn, found, incomplete = chunk.compile(text, "=repl:" .. self.blocks + 1)
  if not fn then return nil, found, incomplete end
  setfenv(fn, self.environment)
  -- A hook can't interrupt compiled code, so what is typed is interpreted unless :jit on says otherwise.
  if not self.compiled then jit.off(fn, true) end
  return fn, found
end

--- Whether a block that was typed is complete: it compiles, or no further lines could make it compile.
---@param text string
---@return boolean
function M.is_complete(text)
  if text:find "^%s*:%a" or not text:find "%S" then return true end
  local fn, _, incomplete = chunk.compile(text, "=repl")
  return fn ~= nil or not incomplete
end

local function pack(...)
  return { n = select("#", ...), ... }
end

local function pack_behind_first(_, ...)
  return { n = select("#", ...), ... }
end

--- Runs what compile has returned. Returns the values, packed; the first is `_` from then on.
function Session:call(fn, names)
  declare(self, names)
  local results
  if names.is_expression then results = pack_behind_first(fn()) else results = pack(fn()) end
  if results.n > 0 then self.locals._ = results[1] end
  return results
end

--- Prints values as the result of a block.
function Session:show_values(values)
  for i = 1, values.n do
    self.write(show.text(values[i], { colour = self.colour, width = self.width }) .. "\n")
  end
end

local function tell_failure(self, problem)
  local failure = problem.failure
  self.locals._error = failure
  if errors.is(failure, "cancelled") or errors.is(failure, "interrupted") then
    self.write(self:paint("33", tostring(failure)) .. "\n")
  else
    self.write(self:paint("31", "error: " .. show.failure(failure)) .. "\n" .. trim(problem.trace))
  end
end

local function evaluate(self, text)
  if text:find "^%s*:%a" then
    return require("moonring.repl.commands").run(self, text)
  end
  local fn, found = self:compile(text)
  if not fn then
    self.locals._error = found
    self.write(self:paint("31", "error: " .. found) .. "\n")
    return false
  end
  self.blocks = self.blocks + 1
  self:show_values(self:call(fn, found))
  return true
end

-- What a block's task runs. Its children and what it owns stay behind with the session.
local function run_block(self, text)
  local me = task.current()
  me:tell_failures(self.on_failure)
  local ok, result = xpcall(evaluate, traced, self, text)
  if not ok then tell_failure(self, result) end
  me:hand_over()
  return ok and result
end

--- Evaluates a block as a task and waits for its end. Returns whether it went well.
---@param text string
---@return boolean ok
function Session:run(text)
  if not text:find "%S" then return true end
  local running = self.scope:spawn(run_block, self, text):named "repl"
  self.running = running
  local joined, ok, result = pcall(running.join, running)
  self.running = nil
  if not joined then -- whoever waits for the block is cancelled: so is the block
    running:cancel(ok)
    error(ok, 0)
  end
  return ok and result == true
end

--- Cancels the block that runs, as Ctrl-C does. Returns whether one ran.
---@return boolean
function Session:cancel()
  local running = self.running
  if not running then return false end
  running:cancel(errors.new("cancelled", "cancelled"))
  return true
end

return M
