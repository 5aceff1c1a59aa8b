-- moonring.place: where in the source something was asked for.
--
-- Noting a place is on the way of every spawn, so it is two values without a string; the text is made when somebody
-- looks. The executable brings a C function for it, a stock luajit makes do with debug.getinfo.

local getinfo = debug.getinfo

local M = {}

local function caller(level)
  local info = getinfo(level + 1, "fl")
  if info then return info.func, info.currentline end
end

local found, fast = pcall(require, "moonring.caller")

--- The function at `level` of the stack (1: the one that calls this) and its current line.
---@type fun(level: integer): function?, integer?
M.caller = found and fast or caller

--- The text of a place: "service.lua:12".
---@param func? function|string
---@param line? integer
---@return string
function M.text(func, line)
  if not func then return "?" end
  local info = getinfo(func, "S")
  if not line or line < 1 then line = info.linedefined end
  return ("%s:%d"):format(info.short_src, line)
end

return M
