-- moonring.repl.output: what a process writes while a person types.
--
-- While a REPL sits at the terminal, everything that Lua writes to it (moonring.stdio) goes through M.put, so that the
-- line being typed can be taken away before and drawn again behind.

local lua_io = require "moonring.lua_io"
local stdio = require "moonring.stdio"

local M = {}

-- Takes a text for the terminal; set while a REPL is active.
local sink

--- Writes to the terminal itself, past the catch.
---@param text string
function M.raw(text)
  if text ~= "" then stdio.stdout:pass(text) end
end

--- Writes a text as output of the process: above the line being typed, where there is one.
---@param text string
function M.put(text)
  if sink then return sink(text) end
  M.raw(text)
end

--- Catches what is written from now on and hands it to `to`.
---@param to fun(text: string)
function M.catch(to)
  if not lua_io.installed then -- in a stock luajit, where nobody finishes output that has been gathered
    lua_io.install()
    stdio.stdout:setvbuf "no"
  end
  sink = to
  stdio.catch(to)
end

--- Ends the catch.
function M.release()
  sink = nil
  stdio.catch(nil)
end

return M
