-- moonring.repl.cells: text as a terminal shows it.
--
-- A cell is what the cursor steps over: a character with the combining ones behind it. Its width is 0, 1 or 2 columns.

local native = require "moonring.native"
local keys = require "moonring.repl.keys"

local C = native.C

local M = {}

local widths = {} -- by character
local function character_width(character)
  local width = widths[character]
  if not width then
    width = C.mr_terminal_width(keys.decode(character))
    widths[character] = width
  end
  return width
end

--- Splits a text into cells. A combining character at its beginning stands alone.
---@param text string
---@return string[]
function M.split(text)
  local cells = {}
  for _, character in keys.characters(text) do
    if character ~= "\n" and #cells > 0 and cells[#cells] ~= "\n" and character_width(character) == 0 then
      cells[#cells] = cells[#cells] .. character
    else
      cells[#cells + 1] = character
    end
  end
  return cells
end

--- Whether a character joins the cell before it.
---@param character string
---@return boolean
function M.is_combining(character)
  return character_width(character) == 0
end

local cell_widths = {}

--- Columns that a cell takes. What can't be shown takes one.
---@param cell string
---@return integer
function M.width(cell)
  local width = cell_widths[cell]
  if not width then
    local _, first = keys.characters(cell)()
    width = math.max(character_width(first), 1)
    cell_widths[cell] = width
  end
  return width
end

--- A cell as it is written: a combining character that has nothing to combine with gets a dotted circle.
---@param cell string
---@return string
function M.visible(cell)
  local _, first = keys.characters(cell)()
  local width = character_width(first)
  if width > 0 then return cell end
  return width == 0 and "\226\151\140" .. cell or keys.REPLACEMENT
end

--- Columns that a text without line ends takes; colours in it take none.
---@param text string
---@return integer
function M.text_width(text)
  local total = 0
  for _, cell in ipairs(M.split((text:gsub("\27%[[%d;]*m", "")))) do
    total = total + M.width(cell)
  end
  return total
end

return M
