-- moonring.repl.interrupt: Ctrl-C as a signal, for code that waits and for code that computes.
--
-- The signal wakes the loop (runtime/signal.c), and it sets a hook that LuaJIT calls from whatever it interprets next
-- (runtime/main.c). A block that computes is stopped by the hook at once. Any other task is left alone, unless it has
-- held the loop for PATIENCE, so that the loop doesn't come to hear of the signal. Code that has been compiled runs
-- no hook: there the second Ctrl-C ends the process. A stock luajit has no such hook at all.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local loop = require "moonring.loop"

local C = native.C
local found, set_hook = pcall(require, "moonring.computing")

local M = {}

local SIGINT = 2
local PATIENCE = 0.5 -- seconds

local function watch(number, handler)
  local result = C.mr_signal_watch(loop.handle(), number)
  if result < 0 then
    local _, message, code = errors.world(result, "watch signals")
    errors.raise(code, "%s", message)
  end
  local before = loop.signals[number]
  loop.signals[number] = handler
  return before
end

--- Calls `handler(number)` from the scheduler when the signal comes. Returns the function that was called before.
M.watch = watch

--- Takes SIGINT: `handler()` is called from the scheduler; the task that `computing()` returns is interrupted when it runs.
--- Returns a function that gives the signal back.
---@param handler fun()
---@param computing fun(): moonring.Task?
---@param on_interrupt fun() called before a task is interrupted; then handler isn't
---@return fun() release
function M.take(handler, computing, on_interrupt)
  local since, done
  local before = watch(SIGINT, function()
    since = nil
    if done then done = false else handler() end
  end)
  if found then
    set_hook(function()
      local now = C.mr_clock_now()
      since = since or now
      local running = scheduler.current()
      if running and (running == computing() or now - since > PATIENCE) then
        since, done = nil, true
        on_interrupt()
        error(errors.new("interrupted", "interrupted"), 0)
      end
      return running ~= nil -- whether to be called again: the loop itself hears of the signal by its event
    end)
  end
  return function()
    if found then set_hook(nil) end
    loop.signals[SIGINT] = before
  end
end

return M
