--- moonring.http.static.files: files that are asked for often.
--
-- They stay open, and after a moment are looked at anew. The content of small ones stays in memory: as a string up to
-- TEXT_MAX, which goes out in one piece with its head, as a buffer above that, which is sent without being copied. What
-- is larger still is not read at all: it goes from the page cache to the socket. docs/performance.md has the sizes from
-- which on that pays.
-- Internal.

local fs = require "moonring.fs"
local buffer = require "moonring.buffer"
local clock = require "moonring.clock"

local M = {
  TEXT_MAX = 16384, -- bytes
}

-- What is remembered of paths at which there is no file: so many of them.
local MISSING_MAX = 1000

local Cache = {}
Cache.__index = Cache

--- A cache with the options of http.static.
function M.new(options)
  return setmetatable({ options = options, entries = {}, count = 0, bytes = 0, used = 0, missing = {}, missing_count = 0 },
    Cache)
end

-- Takes bytes of content out of the count.
local function drop_content(cache, entry)
  if entry.compressed then cache.bytes = cache.bytes - #entry.compressed end
  if entry.text then cache.bytes = cache.bytes - #entry.text end
  if entry.content then
    cache.bytes = cache.bytes - entry.content.capacity
    entry.content:release()
  end
  entry.compressed, entry.text, entry.content = false, false, false
end

local function release(cache, entry)
  if entry.users > 0 then return end
  drop_content(cache, entry)
  entry.file:close()
end

-- Takes an entry out. It ends when nobody uses it any more.
local function forget(cache, path)
  local entry = cache.entries[path]
  cache.entries[path] = nil
  cache.count = cache.count - 1
  entry.is_kept = false
  release(cache, entry)
end

-- The file that was used least lately.
local function oldest(cache)
  local found, at
  for path, entry in pairs(cache.entries) do
    if not at or entry.used < at then found, at = path, entry.used end
  end
  return found
end

local function tag_of(status)
  return ('"%x-%x"'):format(status.modified * 1e6, status.size)
end

local function is_same(entry, status)
  local before = entry.status
  return before.size == status.size and before.modified == status.modified and before.inode == status.inode
    and before.device == status.device
end

-- Whether the open file lies below the root, links and all.
local function is_inside(root, file)
  local path = fs.read_link("/proc/self/fd/" .. file.descriptor)
  return path ~= nil and (root == "/" or path:sub(1, #root + 1) == root .. "/")
end

-- nil, message, code; or the entry. A directory is "EISDIR".
local function open(path, root)
  local status, message, code = fs.stat(path) -- first: opening a device or a FIFO may do things
  if not status then return nil, message, code end
  if status.kind == "directory" then return nil, path .. " is a directory", "EISDIR" end
  if status.kind ~= "file" then return nil, path .. " is not a file", "EACCES" end
  local file
  file, message, code = fs.open(path)
  if not file then return nil, message, code end
  status, message, code = file:stat()
  if status and status.kind ~= "file" or root and not is_inside(root, file) then
    file:close()
    return nil, path .. " leads out of the root", "EACCES"
  end
  if not status then
    file:close()
    return nil, message, code
  end
  return {
    path = path,
    file = file,
    status = status,
    size = status.size,
    tag = tag_of(status),
    modified = math.floor(status.modified),
    checked = clock.now(),
    users = 0, -- tasks that answer with it
    used = 0, -- when it was used last, in uses of the cache
    is_kept = false, -- whether it is in the cache
    text = false, content = false, -- what it holds, where that is in memory: a string, or a buffer
    compressed = nil, -- the same by gzip; false where that is not to be had
    answer = false, -- what moonring.http.static.answers made of it last
  }
end

local function keep(cache, path, entry)
  local options = cache.options
  if options.cache_count < 1 then return end
  if cache.entries[path] then forget(cache, path) end -- another task has opened it meanwhile
  while cache.count >= options.cache_count do
    forget(cache, oldest(cache))
  end
  cache.entries[path] = entry
  cache.count = cache.count + 1
  entry.is_kept = true
end

-- The entry if the file is what it was, or nil.
local function look_again(self, path, entry)
  entry.users = entry.users + 1
  local status = fs.stat(path)
  entry.users = entry.users - 1
  if status and is_same(entry, status) then
    entry.checked = clock.now()
    return entry
  end
  if self.entries[path] == entry then forget(self, path) else release(self, entry) end
end

--- The entry of a path; the caller calls done with it.
---@param path string
---@param root? string the directory that it must be below, links and all
---@return table? entry
---@return string? message
---@return string? code
function Cache:get(path, root)
  local entry = self.entries[path]
  self.used = self.used + 1
  if entry and clock.now() - entry.checked > self.options.recheck then entry = look_again(self, path, entry) end
  if not entry then
    local message, code
    entry, message, code = open(path, root)
    if not entry then return nil, message, code end
    keep(self, path, entry)
  end
  entry.used = self.used
  entry.users = entry.users + 1
  return entry
end

function Cache:done(entry)
  entry.users = entry.users - 1
  if not entry.is_kept then release(self, entry) end
end

--- Lets go of everything. It fills again when it is used again.
function Cache:close()
  for path in pairs(self.entries) do
    forget(self, path)
  end
end

--- Whether there was no file of that path a moment ago: remembered as long as a file is.
function Cache:is_missing(path)
  local at = self.missing[path]
  return at and clock.now() - at <= self.options.recheck
end

function Cache:note_missing(path)
  if self.missing_count >= MISSING_MAX then
    self.missing, self.missing_count = {}, 0
  end
  self.missing[path], self.missing_count = clock.now(), self.missing_count + 1
end

-- Content -------------------------------------------------------------------------------------------------------------

-- Reads all of a file into one buffer. nil when it has changed or can't be read.
local function read_whole(entry)
  local content = buffer.allocate(entry.size)
  content:set_limit(entry.size)
  while content:remaining() > 0 do
    if not entry.file:read(content, content.position) then
      content:release()
      return nil
    end
  end
  return content:reset_for_read()
end

local function make_room(cache, size)
  while cache.bytes + size > cache.options.cache_bytes do
    local path = oldest(cache)
    if not path then return false end
    forget(cache, path)
  end
  return true
end

-- Reads the file into memory and keeps it there.
local function fill(cache, entry)
  local content = read_whole(entry)
  if not content then return end
  -- Others may have come here while this waited.
  if entry.text or entry.content or not make_room(cache, content.capacity) or not entry.is_kept then
    content:release()
  elseif entry.size <= M.TEXT_MAX then
    entry.text = content:to_string()
    content:release()
    cache.bytes = cache.bytes + #entry.text
  else
    entry.content = content
    cache.bytes = cache.bytes + content.capacity
  end
end

--- What an entry holds, where that may stay in memory: a string, or a buffer that everybody shares; nil otherwise.
---@return string|moonring.Buffer|nil
function Cache:content(entry)
  local kept = entry.text or entry.content
  if kept then return kept end
  if not entry.is_kept or entry.size > self.options.cache_file_bytes or entry.size == 0 then return nil end
  fill(self, entry)
  return entry.text or entry.content or nil
end

--- Keeps the compressed form of an entry.
---@param text string|false
function Cache:keep_compressed(entry, text)
  entry.compressed = text
  if text then self.bytes = self.bytes + #text end
end

return M
