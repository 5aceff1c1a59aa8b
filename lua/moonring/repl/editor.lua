-- moonring.repl.editor: the block of lines being typed, and what keys do to it.
--
-- Bytes in, events out; it opens nothing, writes nothing and never waits. What it looks like now is view(), which
-- moonring.repl.screen turns into a terminal's bytes. Events are what only the owner can do:
--
--   { kind = "block", text = }    a complete block was entered
--   { kind = "interrupt" }        C-c, after the text was dropped; `empty` tells that there was none
--   { kind = "end" }              C-d on an empty line
--   { kind = "complete", before =, serial = }    Tab: answer with completions(serial, start, candidates)
--   { kind = "suspend" } C-z, { kind = "clear" } C-l, { kind = "bell" }
--
-- A block is one array of cells with line ends among them, so that all of it can be edited until it is entered.

local keys = require "moonring.repl.keys"
local cells_of = require "moonring.repl.cells"

local M = {}

local UNDO_MAX, KILLS_MAX = 200, 60

--- Internal.
---@class moonring.repl.Editor
local Editor = {}
Editor.__index = Editor

--- Internal.
---@class moonring.repl.EditorOptions
---@field history? moonring.repl.History
---@field is_complete? fun(text: string): boolean whether Enter ends the block; default: always

--- Makes an editor.
---@param options? moonring.repl.EditorOptions
---@return moonring.repl.Editor
function M.new(options)
  options = options or {}
  return setmetatable({
    decoder = keys.decoder(),
    history = options.history or require("moonring.repl.history").new(),
    is_complete = options.is_complete or function() return true end,
    cells = {},
    cursor = 0, -- cells before it
    kills = {}, -- newest last
    undos = {},
    serial = 0, -- changes with every change of the text
    last = false, -- the last command, for those that build on one
    place = 0, -- in the history; 0: the block being typed, 1: the newest entry
    draft = "", -- the block being typed, while a history entry is shown
    menu = false,
    search = false,
    held = "", -- bytes that came behind a block
  }, Editor)
end

-- Text -----------------------------------------------------------------------------------------------------------------

--- The text of the block, or of the cells from `first` to `last`.
---@return string
function Editor:text(first, last)
  return table.concat(self.cells, "", first or 1, last or #self.cells)
end

local function note_undo(self)
  local undos = self.undos
  undos[#undos + 1] = { self:text(), self.cursor }
  if #undos > UNDO_MAX then table.remove(undos, 1) end
end

local function changed(self)
  self.serial = self.serial + 1
end

--- Replaces the text; the cursor goes to its end, or behind `cursor` cells.
---@param text string
---@param cursor? integer
function Editor:set_text(text, cursor)
  self.cells = cells_of.split(text)
  self.cursor = math.min(cursor or #self.cells, #self.cells)
  changed(self)
end

-- Splices: the cells from `first` to `last` go, those of `text` come in their place, the cursor behind them.
local function replace(self, first, last, text)
  local added = cells_of.split(text)
  local cells, out = self.cells, {}
  for i = 1, first - 1 do out[i] = cells[i] end
  for i = 1, #added do out[#out + 1] = added[i] end
  local cursor = #out
  for i = last + 1, #cells do out[#out + 1] = cells[i] end
  self.cells, self.cursor = out, cursor
  changed(self)
end

local function insert(self, text)
  if self.last ~= "insert" or text:find "[%s]" then note_undo(self) end
  local cells, cursor = self.cells, self.cursor
  if cells_of.is_combining(text) and cursor > 0 and cells[cursor] ~= "\n" then
    cells[cursor] = cells[cursor] .. text
  else
    table.insert(cells, cursor + 1, text)
    self.cursor = cursor + 1
  end
  changed(self)
end

local function insert_block(self, text)
  note_undo(self)
  replace(self, self.cursor + 1, self.cursor, text)
end

local function is_word(cell)
  return cell ~= nil and cell:find "^[%w_\128-\255]" ~= nil
end

local function word_left(self)
  local at = self.cursor
  while at > 0 and not is_word(self.cells[at]) do at = at - 1 end
  while at > 0 and is_word(self.cells[at]) do at = at - 1 end
  return at
end

local function word_right(self)
  local at, count = self.cursor, #self.cells
  while at < count and not is_word(self.cells[at + 1]) do at = at + 1 end
  while at < count and is_word(self.cells[at + 1]) do at = at + 1 end
  return at
end

-- Cells before the current line, and before its end.
local function line_bounds(self, at)
  local first, last = at or self.cursor, at or self.cursor
  while first > 0 and self.cells[first] ~= "\n" do first = first - 1 end
  while last < #self.cells and self.cells[last + 1] ~= "\n" do last = last + 1 end
  return first, last
end

local function kill(self, first, last, backward)
  if first > last then return end
  note_undo(self)
  local text, kills = self:text(first, last), self.kills
  if self.last == "kill" and #kills > 0 then
    kills[#kills] = backward and text .. kills[#kills] or kills[#kills] .. text
  else
    kills[#kills + 1] = text
    if #kills > KILLS_MAX then table.remove(kills, 1) end
  end
  replace(self, first, last, "")
  self.now = "kill"
end

local function delete(self, first, last)
  if first < 1 or last > #self.cells then return end
  note_undo(self)
  replace(self, first, last, "")
end

local function emit(self, kind, event)
  event = event or {}
  event.kind = kind
  self.events[#self.events + 1] = event
end

local function reset(self)
  self.cells, self.cursor, self.undos, self.place, self.draft = {}, 0, {}, 0, ""
  self.menu, self.search = false, false
  changed(self)
end

-- History --------------------------------------------------------------------------------------------------------------

local function show_entry(self, place)
  local entry = place == 0 and self.draft or self.history:get(place)
  if not entry then return emit(self, "bell") end
  if self.place == 0 then self.draft = self:text() end
  self.place = place
  self:set_text(entry)
end

-- The same column of the line above or below; false when there is none.
local function move_line(self, up)
  local first, last = line_bounds(self)
  local column = self.cursor - first
  if up and first == 0 or not up and last == #self.cells then return false end
  local other_first, other_last = line_bounds(self, up and first - 1 or last + 1)
  self.cursor = math.min(other_first + column, other_last)
  return true
end

local function case_word(self, change)
  local to = word_right(self)
  if to == self.cursor then return end
  note_undo(self)
  replace(self, self.cursor + 1, to, change(self:text(self.cursor + 1, to)))
end

-- Commands -------------------------------------------------------------------------------------------------------------

local commands = {}

commands["C-a"] = function(self) self.cursor = line_bounds(self) end
commands["C-e"] = function(self) self.cursor = select(2, line_bounds(self)) end
commands["C-b"] = function(self) self.cursor = math.max(self.cursor - 1, 0) end
commands["C-f"] = function(self) self.cursor = math.min(self.cursor + 1, #self.cells) end
commands["M-b"] = function(self) self.cursor = word_left(self) end
commands["M-f"] = function(self) self.cursor = word_right(self) end
commands["M-<"] = function(self) show_entry(self, self.history:count()) end
commands["M->"] = function(self) show_entry(self, 0) end
commands["Backspace"] = function(self) delete(self, self.cursor, self.cursor) end
commands["Delete"] = function(self) delete(self, self.cursor + 1, self.cursor + 1) end
commands["C-d"] = function(self)
  if #self.cells == 0 then return emit(self, "end") end
  delete(self, self.cursor + 1, self.cursor + 1)
end
commands["C-k"] = function(self)
  local _, last = line_bounds(self)
  if last == self.cursor then last = math.min(last + 1, #self.cells) end
  kill(self, self.cursor + 1, last)
end
commands["C-u"] = function(self) kill(self, line_bounds(self) + 1, self.cursor, true) end
commands["C-w"] = function(self)
  local at = self.cursor
  while at > 0 and self.cells[at]:find "^%s" do at = at - 1 end
  while at > 0 and not self.cells[at]:find "^%s" do at = at - 1 end
  kill(self, at + 1, self.cursor, true)
end
commands["M-Backspace"] = function(self) kill(self, word_left(self) + 1, self.cursor, true) end
commands["M-d"] = function(self) kill(self, self.cursor + 1, word_right(self)) end
commands["C-y"] = function(self)
  local text = self.kills[#self.kills]
  if not text then return end
  self.yank_from = self.cursor
  insert_block(self, text)
  self.now = "yank"
end
commands["M-y"] = function(self)
  if self.last ~= "yank" then return emit(self, "bell") end
  table.insert(self.kills, 1, table.remove(self.kills))
  replace(self, self.yank_from + 1, self.cursor, self.kills[#self.kills])
  self.now = "yank"
end
commands["C-t"] = function(self)
  local at = math.min(self.cursor, #self.cells - 1)
  if at < 1 then return end
  note_undo(self)
  self.cells[at], self.cells[at + 1] = self.cells[at + 1], self.cells[at]
  self.cursor = at + 1
  changed(self)
end
commands["M-u"] = function(self) case_word(self, string.upper) end
commands["M-l"] = function(self) case_word(self, string.lower) end
commands["M-c"] = function(self)
  case_word(self, function(text) return (text:lower():gsub("%w", string.upper, 1)) end)
end
commands["C-_"] = function(self)
  local undo = table.remove(self.undos)
  if not undo then return emit(self, "bell") end
  self:set_text(undo[1], undo[2])
end
commands["C-p"] = function(self)
  if not move_line(self, true) then show_entry(self, self.place + 1) end
end
commands["C-n"] = function(self)
  if move_line(self, false) then return end
  if self.place == 0 then return emit(self, "bell") end
  show_entry(self, self.place - 1)
end
commands["C-l"] = function(self) emit(self, "clear") end
commands["C-z"] = function(self) emit(self, "suspend") end
commands["C-c"] = function(self)
  local empty = #self.cells == 0
  reset(self)
  emit(self, "interrupt", { empty = empty })
end
commands["C-g"] = function(self) emit(self, "bell") end
commands["C-r"] = function(self)
  self.search = { query = "", place = 0, before = self:text(), before_cursor = self.cursor, found = true }
end
commands["Tab"] = function(self)
  local before = self:text(1, self.cursor)
  if not before:match("[^\n]*$"):find "%S" then -- at the beginning of a line it indents
    return insert_block(self, "  ")
  end
  emit(self, "complete", { before = before, serial = self.serial })
end
commands["M-Enter"] = function(self) insert_block(self, "\n") end
commands["Enter"] = function(self)
  local text = self:text()
  if self.is_complete(text) then
    self.cursor = #self.cells
    self.entered = self:view()
    reset(self)
    return emit(self, "block", { text = text, view = self.entered })
  end
  insert_block(self, "\n")
end

for alias, name in pairs {
  Home = "C-a", End = "C-e", Left = "C-b", Right = "C-f", Up = "C-p", Down = "C-n", ["C-h"] = "Backspace",
  ["C-Left"] = "M-b", ["C-Right"] = "M-f", ["M-Left"] = "M-b", ["M-Right"] = "M-f", ["C-j"] = "Enter",
  ["C-Delete"] = "M-d", ["M-Delete"] = "M-Backspace", ["C-Backspace"] = "M-Backspace", PageUp = "M-<", PageDown = "M->",
} do
  commands[alias] = commands[name]
end

-- Completion -----------------------------------------------------------------------------------------------------------

local function common_prefix(candidates)
  local prefix = candidates[1]
  for i = 2, #candidates do
    local other, length = candidates[i], 0
    while length < #prefix and prefix:byte(length + 1) == other:byte(length + 1) do length = length + 1 end
    prefix = prefix:sub(1, length)
  end
  return prefix
end

--- Answers a "complete" event: `candidates` may stand from the byte `start` of its `before` on. Void when the text has
--- changed since.
---@param serial integer the event's
---@param start integer
---@param candidates string[]
---@return boolean taken
function Editor:completions(serial, start, candidates)
  if serial ~= self.serial or self.search then return false end
  if #candidates == 0 then return false end
  local before = self:text(1, self.cursor)
  local typed = before:sub(start)
  local prefix = #candidates == 1 and candidates[1] or common_prefix(candidates)
  local first = #cells_of.split(before:sub(1, start - 1)) + 1
  if #prefix > #typed and prefix:sub(1, #typed) == typed then
    note_undo(self)
    replace(self, first, self.cursor, prefix)
  end
  if #candidates > 1 then
    self.menu = { items = candidates, selected = 0, first = first, typed = self:text(first, self.cursor) }
  end
  return true
end

local function select_item(self, step)
  local menu = self.menu
  local count = #menu.items
  menu.selected = (menu.selected + step) % (count + 1)
  replace(self, menu.first, self.cursor, menu.items[menu.selected] or menu.typed)
end

-- Returns whether the key was for the menu. Any other puts it away.
local function in_menu(self, key)
  local menu = self.menu
  if key == "Tab" or key == "Down" or key == "C-n" then
    select_item(self, 1)
  elseif key == "S-Tab" or key == "Up" or key == "C-p" then
    select_item(self, -1)
  elseif key == "C-g" or key == "Escape" then
    replace(self, menu.first, self.cursor, menu.typed)
    self.menu = false
  elseif key == "Enter" and menu.selected > 0 then
    self.menu = false
  else
    self.menu = false
    return false
  end
  return true
end

-- Search through the history ---------------------------------------------------------------------------------------------

local function look(self, from, step)
  local search = self.search
  local place = self.history:find(search.query, from, step)
  search.found = place ~= nil or search.query == ""
  if not place then return end
  search.place = place
  local entry = self.history:get(place)
  self:set_text(entry, #cells_of.split(entry:sub(1, (entry:find(search.query, 1, true) or 1) - 1)))
end

local function end_search(self, keep)
  local search = self.search
  self.search = false
  if keep then
    if search.place > 0 then self.draft, self.place = search.before, search.place end
  else
    self:set_text(search.before, search.before_cursor)
  end
end

-- Returns whether the key was for the search. Others end it and do what they do.
local function in_search(self, event)
  local search, key = self.search, event.key
  if event.kind == "text" then
    search.query = search.query .. event.text
    look(self, math.max(search.place, 1), 1)
  elseif key == "Backspace" then
    local cells = cells_of.split(search.query)
    search.query = table.concat(cells, "", 1, math.max(#cells - 1, 0))
    look(self, 1, 1)
  elseif key == "C-r" then
    look(self, search.place + 1, 1)
  elseif key == "C-s" then
    look(self, search.place - 1, -1)
  elseif key == "C-g" or key == "C-c" then
    end_search(self, false)
  else
    end_search(self, true)
    return key == "Escape"
  end
  return true
end

-- Events in ------------------------------------------------------------------------------------------------------------

local function act(self, event)
  self.now = false
  if self.search and in_search(self, event) then return end
  if self.menu and in_menu(self, event.key) then return end
  if event.kind == "text" then
    insert(self, event.text)
    self.now = "insert"
  elseif event.kind == "paste" then
    insert_block(self, event.text)
  else
    local command = commands[event.key]
    if command then command(self) end
  end
end

--- Takes the next bytes from the terminal. Returns the events that they cause, in order. Bytes behind a block that was
--- entered are held back (see resume), because they may be meant for what the block runs.
---@param bytes string
---@return table[] events
function Editor:feed(bytes)
  self.events = {}
  bytes = self.held .. bytes
  local from = 1
  while from <= #bytes do
    for _, event in ipairs(self.decoder:feed(bytes:sub(from, from))) do
      act(self, event)
      self.last = self.now
    end
    from = from + 1
    local last = self.events[#self.events]
    if last and (last.kind == "block" or last.kind == "end") then break end
  end
  self.held = bytes:sub(from)
  return self.events
end

--- Goes on with what feed has held back.
---@return table[] events
function Editor:resume()
  return self:feed ""
end

--- Internal.
---@class moonring.repl.View
---@field cells string[]
---@field cursor integer cells before it
---@field menu? table { items =, selected = }
---@field search? table { query =, found = }

--- What is to be seen now.
---@return moonring.repl.View
function Editor:view()
  return { cells = self.cells, cursor = self.cursor, menu = self.menu, search = self.search }
end

return M
