-- moonring.dns.watched_file: a small file of the system that is parsed again when it has changed. Internal.
--
-- A change is a new modification time, inode or size. The file is looked at with every use (a stat of a file that is
-- in memory) and read only when it has changed.

local native = require "moonring.native"

local C, ffi = native.C, native.ffi

local M = {}

local WatchedFile = {}
WatchedFile.__index = WatchedFile

local stamp = ffi.new("mr_file_stamp")

--- `parse` gets the whole text, "" for a file that is not there. Returns an object whose get() gives what parse has
--- returned.
function M.new(path, parse)
  return setmetatable({ path = path, parse = parse }, WatchedFile)
end

function WatchedFile:get()
  local is_there = C.mr_file_stamp_get(self.path, stamp) == 0
  local modified, inode, size = is_there and stamp.modified, is_there and stamp.inode, is_there and stamp.size
  if self.value and self.modified == modified and self.inode == inode and self.size == size then return self.value end
  local text = ""
  local file = is_there and io.open(self.path)
  if file then
    text = file:read("*a") or ""
    file:close()
  end
  self.modified, self.inode, self.size = modified, inode, size
  self.value = self.parse(text)
  return self.value
end

return M
