-- moonring.dns.watched_file: a small file of the system that is parsed again when it has changed. Internal.
--
-- A change is a new modification time, inode or size. The file is looked at with every use and read only when it has
-- changed. Both are waits like any other; what was read last is there without one.

local status = require "moonring.fs.status"
local common = require "moonring.fs.common"
local whole = require "moonring.fs.whole"

local M = {
  BYTES_MAX = 16777216, -- of a hosts file: what is longer is none
}

local WatchedFile = {}
WatchedFile.__index = WatchedFile

--- `parse` gets the whole text, "" for a file that is not there. Returns an object whose `value` is what parse has
--- returned last.
function M.new(path, parse)
  return setmetatable({ path = path, parse = parse, value = parse(""), modified = false, identity = false, size = false },
    WatchedFile)
end

local function text_of(path)
  local contents = whole.read_file(path, M.BYTES_MAX)
  if not contents then return "" end
  local text = contents:read_string()
  contents:release()
  return text
end

--- Looks at the file, reads it when it has changed, and returns the value of now.
function WatchedFile:get()
  local now = status.of("dns", common.HERE, self.path, 0, self.path)
  local is_there = now and now.kind == "file"
  local modified, size = is_there and now.modified, is_there and now.size
  local identity = is_there and status.identity(now)
  if self.modified == modified and self.identity == identity and self.size == size then return self.value end
  local value = self.parse(is_there and text_of(self.path) or "")
  -- Nothing is noted before all of it is known: a wait may have been cancelled.
  self.modified, self.identity, self.size = modified, identity, size
  self.value = value
  return value
end

return M
