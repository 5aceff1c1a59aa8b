-- moonring.repl.history: the blocks that were entered, newest first, and the file that keeps them.
--
-- A block is one line of the file: backslashes and line ends are written \\ and \n. Each is appended when it is
-- entered, in one go and under a lock, so several REPLs share the file; what the others enter is seen at the next
-- start. A file that can't be written is told once and costs nothing else.

local native = require "moonring.native"
local errors = require "moonring.errors"
local keys = require "moonring.repl.keys"

local C = native.C

local M = {
  ENTRIES_MAX = 5000,
  FILE_BYTES_MAX = 1048576, -- beyond it the file is cut to half of that
  BLOCK_BYTES_MAX = 65536, -- a longer one is kept for this session only
}

--- Internal.
---@class moonring.repl.History
local History = {}
History.__index = History

--- Where the history is kept: MOONRING_HISTORY, or below XDG_STATE_HOME or ~/.local/state. nil when that is nowhere;
--- MOONRING_HISTORY set to nothing turns the file off.
---@return string? path
function M.default_path()
  local path = os.getenv "MOONRING_HISTORY"
  if path then return path ~= "" and path or nil end
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/moonring/history" end -- relative ones are to be ignored
  return home and home ~= "" and home .. "/.local/state/moonring/history" or nil
end

local escapes = { ["\\"] = "\\\\", ["\n"] = "\\n" }
local unescapes = { ["\\\\"] = "\\", ["\\n"] = "\n" }

local function add(self, text)
  local entries = self.entries
  if entries[#entries] == text then return false end
  entries[#entries + 1] = text
  if #entries > M.ENTRIES_MAX then table.remove(entries, 1) end
  return true
end

--- Makes a history, with what the file holds.
---@param path? string none: for this session only
---@return moonring.repl.History
function M.new(path)
  local self = setmetatable({ entries = {}, path = path }, History)
  local file = path and io.open(path)
  if file then
    local text = file:read "*a" or ""
    file:close()
    for line in text:sub(-M.FILE_BYTES_MAX):gmatch "([^\n]+)\n" do
      add(self, keys.sanitize((line:gsub("\\[\\n]", unescapes))))
    end
  end
  return self
end

--- Adds a block that was entered, unless it is blank, begins with a space, or is the same as the one before.
---@param text string
---@return true? ok
---@return string? message why it could not be written to the file
function History:add(text)
  if not text:find "%S" or text:find "^ " or not add(self, text) then return true end
  if not self.path or #text > M.BLOCK_BYTES_MAX then return true end
  local line = text:gsub("[\\\n]", escapes) .. "\n"
  local result = C.mr_private_append(self.path, line, #line, M.FILE_BYTES_MAX)
  if result == 0 then return true end
  local _, message = errors.world(result, "write the history " .. self.path)
  self.path = nil
  return nil, message
end

--- An entry: 1 is the newest.
---@param place integer
---@return string?
function History:get(place)
  return self.entries[#self.entries + 1 - place]
end

--- How many there are.
---@return integer
function History:count()
  return #self.entries
end

--- The first entry that contains the text, from `place` on towards older ones (step 1) or newer ones (-1).
---@param text string
---@param place integer
---@param step integer
---@return integer? place
function History:find(text, place, step)
  while place >= 1 and place <= #self.entries do
    if text ~= "" and self:get(place):find(text, 1, true) then return place end
    place = place + step
  end
end

return M
