-- moonring.signal: signals as something to wait for.
--
-- Any number of subscriptions may ask for the same signal; each gets every one. While there is one, the signal does
-- nothing else: a script that subscribes to INT has taken Ctrl-C over (at a REPL it gets what the REPL has no use for). When
-- the last has been closed or forgotten, what was before holds again. Signals are not counted: of several that come before
-- a subscriber looks, it sees one.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"
local loop = require "moonring.loop"

local C, ffi = native.C, native.ffi

local M = {}

---@class moonring.Signal
local Signal = { __name = "moonring.Signal" }
Signal.__index = Signal

-- By number: { handler = the program's own, insists =, subscribers = those that take it over, claim = who is asked first }.
local watched = {}

--- The number of a signal, given by its name ("HUP" or "SIGHUP") or its number. Raises when there is none such.
---@param signal string|integer
---@param what? string the call that asks, for the error
---@return integer
function M.number(signal, what)
  local number
  if type(signal) == "string" then
    number = C.mr_signal_number(signal)
  elseif type(signal) == "number" and signal % 1 == 0 and signal > 0 and signal < 65 then
    number = signal
  end
  if not number or number < 0 or C.mr_signal_name(number) == nil then
    errors.raise("argument", "%s: a signal such as \"HUP\" is needed, not %s", what or "moonring.signal",
      type(signal) == "string" and ("%q"):format(signal) or tostring(signal))
  end
  return number
end

--- The name of a number, without SIG; nil when there is none such.
---@param number integer
---@return string?
function M.name(number)
  local name = C.mr_signal_name(number)
  if name ~= nil then return ffi.string(name) end
end

local function watch(number, flags)
  local result = C.mr_signal_watch(loop.handle(), number, flags)
  if result == 0 then return end
  local _, message, code = errors.world(result, "watch the signal " .. M.name(number))
  if code == "EINVAL" then
    errors.raise("argument", "moonring.signal: %s can't be caught, or would come again at once", M.name(number))
  end
  errors.raise(code, "%s", message)
end

-- Makes the kernel's side fit what is asked for.
local function settle(number)
  local state = watched[number]
  local is_taken = next(state.subscribers) ~= nil
  if not (is_taken or state.claim or state.handler) then
    watched[number] = nil
    loop.signals[number] = nil
    C.mr_signal_unwatch(loop.handle(), number)
    return
  end
  local insists = state.claim or not is_taken and state.insists
  watch(number, (is_taken and C.MR_SIGNAL_AWAITED or 0) + (insists and C.MR_SIGNAL_INSISTS or 0))
end

local function arrived(number)
  local state = watched[number]
  if state.claim and state.claim() then return end
  local taken = false
  for subscriber in pairs(state.subscribers) do
    taken = true
    subscriber:deliver(number)
  end
  if taken then return end
  settle(number) -- all that asked for it have been forgotten
  if state.handler then state.handler(number) else C.mr_signal_raise(number) end
end

local function state_of(number)
  local state = watched[number]
  if not state then
    state = { subscribers = setmetatable({}, { __mode = "k" }) }
    watched[number] = state
    loop.signals[number] = arrived
  end
  return state
end

--- What the program does about a signal as long as no script asks for it; nil: nothing. insists: a second one that comes
--- before the first was seen acts as if the program didn't. Returns what it did before. Internal.
---@param signal string|integer
---@param handler? fun(number: integer)
---@param insists? boolean
---@return fun(number: integer)? handler
---@return boolean? insists
function M.handle(signal, handler, insists)
  local number = M.number(signal)
  local state = state_of(number)
  local former, insisted = state.handler, state.insists
  state.handler, state.insists = handler, insists
  settle(number)
  return former, insisted
end

--- Asks `claim()` about every one that comes, before anybody else gets it: true when it was for the claim. As long as there
--- is one, a second signal that comes before the first was seen acts as if nobody asked for it. nil ends that. Internal.
---@param signal string|integer
---@param claim? fun(): boolean
function M.claim(signal, claim)
  local number = M.number(signal)
  state_of(number).claim = claim
  settle(number)
end

--- Whether a script has subscribed to it. Internal.
---@param signal string|integer
---@return boolean
function M.is_taken(signal)
  local state = watched[M.number(signal)]
  return state ~= nil and next(state.subscribers) ~= nil
end

--- Subscribes to signals: `moonring.signal("HUP", "USR1")`. A scope may own the subscription; closing it gives the
--- signals back.
---@param ... string|integer names, with or without SIG, or numbers
---@return moonring.Signal
function M.new(...)
  local self = setmetatable({ numbers = { ... }, arrived = {}, queue = waiters.new() }, Signal)
  if #self.numbers == 0 then errors.raise("argument", "moonring.signal: the name of a signal is needed") end
  for i, signal in ipairs(self.numbers) do
    self.numbers[i] = M.number(signal)
  end
  self.queue.what = "signal:wait for " .. self:names()
  for _, number in ipairs(self.numbers) do
    state_of(number).subscribers[self] = true
  end
  local ok, failure = pcall(function()
    for _, number in ipairs(self.numbers) do
      settle(number)
    end
  end)
  if not ok then
    pcall(self.close, self)
    error(failure, 0)
  end
  return self
end

-- What it has subscribed to, as a text.
function Signal:names()
  local names = {}
  for i, number in ipairs(self.numbers) do
    names[i] = M.name(number)
  end
  return table.concat(names, ", ")
end

-- One of its signals has come.
function Signal:deliver(number)
  local name = M.name(number)
  if self.queue:wake_first(name) then return end
  for _, pending in ipairs(self.arrived) do
    if pending == name then return end
  end
  self.arrived[#self.arrived + 1] = name
end

local function take(self)
  return table.remove(self.arrived, 1)
end

--- Waits for one of the signals. Of several tasks that wait on one subscription, one gets it.
---@return string? name nil when the subscription has been closed
function Signal:wait()
  scheduler.check()
  local name = take(self)
  if name or self.closed then return name end
  return self.queue:wait()
end

--- Iterates over the signals that come: `for name in moonring.signal("HUP"):each() do`. Ends when it is closed.
function Signal:each()
  return self.wait, self
end

--- Gives the signals back: when nobody else has subscribed to them, they do again what they did before. Those that have
--- come and were not taken are forgotten. Closing again does nothing.
function Signal:close()
  if self.closed then return end
  self.closed = true
  self.arrived = {}
  for _, number in ipairs(self.numbers) do
    local state = watched[number]
    if state and state.subscribers[self] then
      state.subscribers[self] = nil
      if loop.started then settle(number) end
    end
  end
  self.queue:wake_all(nil)
end

function Signal:__tostring()
  return ("moonring.Signal(%s%s)"):format(self:names(), self.closed and ", closed" or "")
end

local Wait = operation.class("moonring.Operation.Signal", {
  describe = function(self) return self.signal.queue.what end,
  try = function(self)
    local name = take(self.signal)
    return name ~= nil or self.signal.closed == true, name
  end,
  block = function(self, case) self.signal.queue:add(case) end,
  withdraw = function(self, case) self.signal.queue:remove(case) end,
})

--- wait as an operation for moonring.select.
---@return moonring.Operation
function Signal:wait_op()
  return setmetatable({ signal = self }, Wait)
end

return M
