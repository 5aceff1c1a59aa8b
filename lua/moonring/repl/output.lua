-- moonring.repl.output: what a process writes while a person types.
--
-- While a REPL sits at the terminal, everything that Lua writes to standard output or standard error (print, io.write,
-- the write methods of io.stdout and io.stderr) goes through M.put, so that the line being typed can be taken away
-- before and drawn again behind. This is the only place that knows how those are caught.

local M = {}

local methods = debug.getmetatable(io.stdout).__index
local original_print, original_io_write, original_write = print, io.write, methods.write

-- Takes a text for the terminal; set while a REPL is active.
local sink

--- Writes to the terminal itself, past the catch.
---@param text string
function M.raw(text)
  if text == "" then return end
  original_write(io.stdout, text)
  io.stdout:flush()
end

--- Writes a text as output of the process: above the line being typed, where there is one.
---@param text string
function M.put(text)
  if sink then return sink(text) end
  M.raw(text)
end

local function is_caught(file)
  return sink and (file == io.stdout or file == io.stderr)
end

local function text_of(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    local kind = type(parts[i])
    if kind ~= "string" and kind ~= "number" then return nil end
  end
  return table.concat(parts)
end

local function write(file, ...)
  local text = is_caught(file) and text_of(...)
  if not text then return original_write(file, ...) end
  M.put(text)
  return file
end

local function io_write(...)
  return write(io.output(), ...)
end

local function print_caught(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    parts[i] = tostring((select(i, ...)))
  end
  M.put(table.concat(parts, "\t") .. "\n")
end

--- Catches what is written from now on and hands it to `to`.
---@param to fun(text: string)
function M.catch(to)
  sink = to
  if print == original_print then _G.print = print_caught end
  if io.write == original_io_write then io.write = io_write end -- luacheck: ignore
  if methods.write == original_write then methods.write = write end
end

--- Ends the catch.
function M.release()
  sink = nil
  if print == print_caught then _G.print = original_print end
  if io.write == io_write then io.write = original_io_write end -- luacheck: ignore
  if methods.write == write then methods.write = original_write end
end

return M
