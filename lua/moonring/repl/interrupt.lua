-- moonring.repl.interrupt: Ctrl-C as a signal, for code that waits and for code that computes.
--
-- The signal wakes the loop (runtime/loop/signal.c), and it sets a hook that LuaJIT calls from whatever it interprets next
-- (runtime/main.c). A block that computes is stopped by the hook at once. Any other task is left alone, unless it has
-- held the loop for PATIENCE, so that the loop doesn't come to hear of the signal. Code that has been compiled runs
-- no hook: there the second Ctrl-C ends the process. A stock luajit has no such hook at all.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local signal = require "moonring.signal"

local C = native.C
local found, interrupt = pcall(require, "moonring.interrupt")

local M = {}

local PATIENCE = 0.5 -- seconds

--- Takes SIGINT: `handler()` is called from the scheduler, and says whether it was for the REPL; if not, who else wants it
--- gets it. The task that `computing()` returns is interrupted when it runs. Returns a function that gives the signal back.
---@param handler fun(): boolean
---@param computing fun(): moonring.Task?
---@param on_interrupt fun() called before a task is interrupted; then handler isn't
---@return fun() release
function M.take(handler, computing, on_interrupt)
  local since, done
  signal.claim("INT", function()
    since = nil
    if not done then return handler() end
    done = false
    return true
  end)
  if found then
    interrupt("keyboard", function()
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
    if found then interrupt("keyboard", nil) end
    signal.claim("INT", nil)
  end
end

return M
