-- moonring.repl.screen: what an editor's view looks like on a terminal. Returns bytes; writes nothing itself.
--
-- The screen knows what it has drawn and where the cursor is, and draws only rows that have changed. It wraps long
-- lines itself and never relies on what a terminal does at its right edge. Everything else that is written to the
-- terminal must come between hide() and draw(), or the two no longer agree.

local cells_of = require "moonring.repl.cells"

local M = {}

local MENU_ROWS_MAX = 8

--- Internal.
---@class moonring.repl.Screen
local Screen = {}
Screen.__index = Screen

--- Internal.
---@class moonring.repl.ScreenOptions
---@field columns integer
---@field rows integer
---@field colour? boolean

--- Makes a screen. Nothing is drawn yet.
---@param options moonring.repl.ScreenOptions
---@return moonring.repl.Screen
function M.new(options)
  return setmetatable({
    columns = math.max(options.columns, 2),
    rows = math.max(options.rows, 2),
    colour = options.colour,
    shown = {}, -- the rows that are drawn, top first
    row = 1, -- where the cursor is among them
    column = 0,
    tail = "", -- output above the prompt that has not ended its line
  }, Screen)
end

-- Layout: a view as rows of text ------------------------------------------------------------------------------------

local function new_row(layout, text, width)
  layout.rows[#layout.rows + 1] = text
  layout.width = width
end

local function put(self, layout, cell)
  local width = cells_of.width(cell)
  if layout.width + width > self.columns then new_row(layout, "", 0) end
  local rows = layout.rows
  rows[#rows] = rows[#rows] .. cells_of.visible(cell)
  layout.width = layout.width + width
end

local function put_prompt(self, layout, prompt)
  local width = cells_of.text_width(prompt)
  if width >= self.columns - 1 then prompt, width = "", 0 end -- no room for it
  new_row(layout, prompt, width)
end

local function mark_cursor(self, layout)
  if layout.width >= self.columns then new_row(layout, "", 0) end
  layout.row, layout.column = #layout.rows, layout.width
end

local function put_menu(self, layout, menu)
  local widest = 0
  for _, item in ipairs(menu.items) do
    widest = math.max(widest, cells_of.text_width(item))
  end
  local width = math.min(widest + 2, self.columns)
  local across = math.max(math.floor(self.columns / width), 1)
  local down = math.ceil(#menu.items / across)
  local height = math.max(math.min(MENU_ROWS_MAX, self.rows - 2, down), 1)
  local selected_row = menu.selected > 0 and math.floor((menu.selected - 1) / across) or 0
  local top = math.max(math.min(selected_row - height + 1, down - height), 0)
  if selected_row < height then top = 0 end
  for row = top, top + height - 1 do
    local parts = {}
    for column = 1, across do
      local place = row * across + column
      local item = menu.items[place]
      if not item then break end
      local cells = cells_of.split(item)
      while cells_of.text_width(table.concat(cells)) > width - 1 and #cells > 0 do cells[#cells] = nil end
      item = table.concat(cells)
      local padding = (" "):rep(width - cells_of.text_width(item))
      if place == menu.selected then item = "\27[7m" .. item .. "\27[0m" end
      parts[column] = item .. (column < across and padding or "")
    end
    new_row(layout, table.concat(parts), 0)
  end
  if down > height then new_row(layout, ("... %d in all"):format(#menu.items), 0) end
end

local function lay_out(self, view, prompt, continuation)
  local layout = { rows = {}, width = 0 }
  if view.search then
    prompt = ("(%ssearch) %s: "):format(view.search.found and "" or "failing ", view.search.query)
  end
  put_prompt(self, layout, prompt)
  for i, cell in ipairs(view.cells) do
    if i == view.cursor + 1 then mark_cursor(self, layout) end
    if cell == "\n" then put_prompt(self, layout, continuation) else put(self, layout, cell) end
  end
  if view.cursor >= #view.cells then mark_cursor(self, layout) end
  layout.last = #layout.rows
  if view.menu then put_menu(self, layout, view.menu) end
  return layout
end

-- A block that is taller than the terminal is seen through a window around the cursor.
local function clip(self, layout)
  local rows = layout.rows
  if #rows <= self.rows then return end
  local first = math.max(layout.row - self.rows, 0)
  local window = {}
  for i = 1, self.rows do
    window[i] = rows[first + i]
  end
  layout.rows, layout.row = window, layout.row - first
  layout.last = math.min(layout.last - first, self.rows)
end

-- Drawing ------------------------------------------------------------------------------------------------------------------

-- Goes to the beginning of a row; rows that don't exist yet are made by line ends, which scroll where they must.
local function go(self, out, row)
  local drawn = math.max(#self.shown, 1)
  out[#out + 1] = "\r"
  if row < self.row then
    out[#out + 1] = ("\27[%dA"):format(self.row - row)
  elseif row > self.row then
    local existing = math.min(row, drawn)
    if existing > self.row then out[#out + 1] = ("\27[%dB"):format(existing - self.row) end
    out[#out + 1] = ("\r\n"):rep(row - math.max(existing, self.row))
  end
  self.row, self.column = row, 0
end

local function draw_row(self, out, i, text)
  local old = self.shown[i]
  if old == text then return end
  local suffix = old and i == self.row and self.column == cells_of.text_width(old) and text:sub(1, #old) == old
    and not old:find "\27" and self.column > 0
  if suffix then
    out[#out + 1] = text:sub(#old + 1)
  else
    go(self, out, i)
    out[#out + 1] = "\27[K" .. text
  end
  self.column = cells_of.text_width(text)
  self.shown[i] = text
end

--- Draws the view, or what has changed of it.
---@param view moonring.repl.View
---@param prompt string
---@param continuation string the prompt of further lines
---@return string bytes
function Screen:draw(view, prompt, continuation)
  local layout = lay_out(self, view, prompt, continuation)
  clip(self, layout)
  local out = {}
  for i, text in ipairs(layout.rows) do
    draw_row(self, out, i, text)
  end
  if #self.shown > #layout.rows then
    go(self, out, #layout.rows + 1)
    out[#out + 1] = "\27[J"
    for i = #layout.rows + 1, #self.shown do self.shown[i] = nil end
  end
  self.last = layout.last
  if self.row ~= layout.row or self.column ~= layout.column or self.column >= self.columns then
    go(self, out, layout.row)
    if layout.column > 0 then out[#out + 1] = ("\27[%dC"):format(layout.column) end
    self.column = layout.column
  end
  return table.concat(out)
end

local function forget(self)
  self.shown, self.row, self.column = {}, 1, 0
end

-- Clears this row and the `count` - 1 below it, one by one: a terminal may take "clear to the end" at its first row
-- for the wish to have all of it in its history.
local function clear_rows(count)
  if count <= 1 then return "\27[K" end
  return "\27[K" .. ("\27[B\27[K"):rep(count - 1) .. ("\27[%dA"):format(count - 1)
end

--- Takes everything off the screen; the cursor is where the first row began.
---@return string bytes
function Screen:hide()
  if #self.shown == 0 then return "" end
  local out = {}
  go(self, out, 1)
  out[#out + 1] = clear_rows(#self.shown)
  forget(self)
  return table.concat(out)
end

--- Leaves what is drawn where it is and begins anew below it.
---@return string bytes
function Screen:finish()
  if #self.shown == 0 then return "" end
  local out = {}
  go(self, out, math.max(self.last or #self.shown, 1))
  out[#out + 1] = "\r\n"
  forget(self)
  self.tail = ""
  return table.concat(out)
end

--- Clears the whole terminal.
---@return string bytes
function Screen:clear()
  forget(self)
  self.tail = ""
  return "\27[H\27[2J"
end

-- Rows that a text without line ends takes.
local function rows_of(self, text)
  return math.max(math.ceil(cells_of.text_width(text) / self.columns), 1)
end

--- Puts output above what is drawn: hides, writes, and is to be followed by draw. Output that has not ended its line is
--- taken back and goes on there the next time.
---@param text string
---@return string bytes
function Screen:above(text)
  local out = { self:hide() }
  if self.tail ~= "" then
    local height = rows_of(self, self.tail)
    out[2] = ("\27[%dA\r"):format(height) .. clear_rows(height)
    text = self.tail .. text
  end
  self.tail = text:match "[^\n]*$"
  if #self.tail > 4096 then self.tail = "" end
  out[#out + 1] = text:gsub("\r?\n", "\r\n")
  if text:sub(-1) ~= "\n" then out[#out + 1] = "\r\n" end
  return table.concat(out)
end

--- The terminal has another size: takes off what was drawn, as far as it can be known where the terminal has moved it
--- (most wrap rows that have become too long). To be followed by draw.
---@param columns integer
---@param rows integer
---@return string bytes
function Screen:resize(columns, rows)
  columns, rows = math.max(columns, 2), math.max(rows, 2)
  local above, drawn = 0, 0
  for i, text in ipairs(self.shown) do
    local height = columns < self.columns and math.max(math.ceil(cells_of.text_width(text) / columns), 1) or 1
    if i < self.row then above = above + height end
    drawn = drawn + height
  end
  if columns < self.columns then above = above + math.floor(self.column / columns) end
  self.columns, self.rows = columns, rows
  self.tail = ""
  forget(self)
  if drawn == 0 then return "" end
  return "\r" .. (above > 0 and ("\27[%dA"):format(above) or "") .. clear_rows(drawn)
end

return M
