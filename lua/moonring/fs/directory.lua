-- moonring.fs.directory: what is in directories: entries, walks, whole trees.
--
-- A directory is read in pieces of some hundred entries, each by a helper thread, and so is never in memory as a whole,
-- but for walks, which read one to its end before they go into what is in it: no more descriptors are open than there
-- are levels in remove_tree, and one in walk, however large the tree is.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local call = require "moonring.call"
local common = require "moonring.fs.common"
local file = require "moonring.fs.file"
local status = require "moonring.fs.status"

local C, ffi = native.C, native.ffi
local check_path, failed, done = common.check_path, common.failed, common.done

local M = {
  -- Levels that remove_tree and walk go down at most: each holds a descriptor or a list.
  DEPTH_MAX = 1000,
  -- Times that remove_tree looks whether a directory is empty now: somebody may go on filling it.
  ROUNDS_MAX = 100,
}

-- DT_* of readdir(3).
local kinds = {
  [1] = "fifo", [2] = "character device", [4] = "directory", [6] = "block device", [8] = "file", [10] = "link",
  [12] = "socket",
}

local OPEN = common.RDONLY + common.DIRECTORY

---@class moonring.DirectoryEntry
---@field name string
---@field kind? "file"|"directory"|"link"|"fifo"|"socket"|"character device"|"block device" nil where the filesystem
---  doesn't tell; fs.lstat does

---@class moonring.Directory
local Directory = { __name = "moonring.Directory" }
Directory.__index = Directory

-- Opens a directory relative to another one.
local function open_in(what, parent, path, flags, name)
  local handle = call.begin(what)
  local descriptor = call.wait(C.mr_call_open(handle, parent, path, OPEN + flags, 0), what, name)
  if descriptor < 0 then return failed(descriptor, "open directory", name) end
  local guard = ffi.gc(ffi.new("mr_file_guard", handle, descriptor), C.mr_file_guard_release)
  return setmetatable({ descriptor = descriptor, path = name, guard = guard, entries = {}, first = 1, last = 0 }, Directory)
end

local entry = ffi.new "mr_directory_entry"

-- Reads the next piece. Returns whether there was one; nil, message, code for a failure.
local function refill(self)
  local handle = call.begin "directory:next"
  local slot = C.mr_call_directory(handle, self.descriptor)
  local bytes = call.wait_keeping(slot, "directory:next", self.path)
  local entries, count = {}, 0
  if bytes > 0 then
    local data, offset = C.mr_call_data(handle, slot), 0
    while offset < bytes do
      offset = C.mr_directory_entry_read(data, bytes, offset, entry)
      local name = ffi.string(entry.name, entry.name_bytes)
      if name ~= "." and name ~= ".." then
        count = count + 1
        entries[count] = { name = name, kind = kinds[entry.type] }
      end
    end
  end
  call.finish(slot)
  if bytes < 0 then return failed(bytes, "read directory", self.path) end
  self.entries, self.first, self.last = entries, 1, count
  return bytes > 0
end

--- The next entry, without "." and "..", in the order of the filesystem.
---@return moonring.DirectoryEntry? entry nil at the end
---@return string? message
---@return string? code
function Directory:next()
  while self.first > self.last do
    if not self.descriptor then errors.raise("closed", "directory:next: %s has been closed", self.path) end
    local more, message, code = refill(self)
    if not more then return nil, message, code end
  end
  local found = self.entries[self.first]
  self.first = self.first + 1
  return found
end

--- Closes it. Closing again does nothing.
function Directory:close()
  local descriptor = self.descriptor
  if not descriptor then return end
  self.descriptor = false
  self.guard.descriptor = -1
  C.mr_descriptor_close(loop.handle(), descriptor)
end

function Directory:__tostring()
  return ("moonring.Directory(%s%s)"):format(self.path, self.descriptor and "" or ", closed")
end

--- Opens a directory for reading its entries one by one.
---@param path string
---@return moonring.Directory? directory
---@return string? message
---@return string? code
function M.open(path)
  check_path("fs.open_directory", path)
  return open_in("fs.open_directory", common.HERE, path, 0, path)
end

-- All entries of an open directory, which is closed.
local function read_all(directory)
  local list = {}
  local ok, problem = pcall(function()
    while true do
      local found, message, code = directory:next()
      if not found then return message and { message, code } end
      list[#list + 1] = found
    end
  end)
  directory:close()
  if not ok then error(problem, 0) end
  if problem then return nil, problem[1], problem[2] end
  return list
end

--- The entries of a directory, sorted by name.
---@param path string
---@return moonring.DirectoryEntry[]? entries
---@return string? message
---@return string? code
function M.read(path)
  check_path("fs.read_directory", path)
  local directory, message, code = open_in("fs.read_directory", common.HERE, path, 0, path)
  if not directory then return nil, message, code end
  local list
  list, message, code = read_all(directory)
  if not list then return nil, message, code end
  table.sort(list, function(left, right) return left.name < right.name end)
  return list
end

local function join(parent, name)
  return parent:sub(-1) == "/" and parent .. name or parent .. "/" .. name
end
M.join = join

---@class moonring.WalkOptions
---@field follow? boolean go into what links lead to, each directory once; default false
---@field depth? integer levels below `path`, default 1000

-- Whether the walk goes into this one: not into what it has been in already.
local function may_enter(seen, path, found, follow)
  if found.kind ~= "directory" and found.kind and not (follow and found.kind == "link") then return false end
  if found.kind == "directory" and not follow then return true end
  local of = status.of("fs.walk", common.HERE, path, follow and 0 or 256, path) -- AT_SYMLINK_NOFOLLOW
  if not of or of.kind ~= "directory" then return false end
  found.kind = found.kind or "directory"
  local identity = status.identity(of)
  if seen[identity] then return false end
  seen[identity] = true
  return true
end

local function walk(path, options)
  local limit, seen = options.depth or M.DEPTH_MAX, {}
  if options.follow then
    local of = status.of("fs.walk", common.HERE, path, 0, path)
    if of then seen[status.identity(of)] = true end
  end
  -- Directories to go into, the next one last.
  local pending, depths, list, at, parent, depth = { path }, { 0 }, nil, 0, nil, 0
  return function()
    while true do
      if list and at < #list then
        at = at + 1
        local found = list[at]
        local full = join(parent, found.name)
        if depth < limit and may_enter(seen, full, found, options.follow) then
          pending[#pending + 1] = full
          depths[#depths + 1] = depth + 1
        end
        return full, found
      end
      parent = table.remove(pending)
      if not parent then return nil end
      depth = table.remove(depths)
      local message, code
      list, message, code = M.read(parent)
      at = 0
      if not list then
        return parent, { name = parent:match "[^/]+$" or parent, kind = "directory", message = message, code = code }
      end
    end
  end
end

--- Iterates over all that is below a directory: `for path, entry in fs.walk(path) do`. A directory comes before what is
--- in it. Links are not followed unless that is asked for, and then a directory is gone into once, so a loop of links
--- ends. For a directory that can't be read an entry comes that has `message` and `code`.
---@param path string
---@param options? moonring.WalkOptions
---@return fun(): string?, moonring.DirectoryEntry?
function M.walk(path, options)
  check_path("fs.walk", path)
  options = common.options("fs.walk", options, { follow = true, depth = true })
  if options.depth then errors.check_offset("fs.walk", "depth", options.depth) end
  return walk(path, options)
end

local remove_in

-- Empties an open directory, and closes it.
local function empty(directory, depth)
  if depth > M.DEPTH_MAX then
    directory:close()
    return nil, ("remove_tree %s: more than %d levels"):format(directory.path, M.DEPTH_MAX), "ELOOP"
  end
  local ok, result, message, code = pcall(function()
    for _ = 1, M.ROUNDS_MAX do
      -- The place in a directory that shrinks is not defined for every filesystem: each round begins anew.
      local again, problem_message, problem_code = open_in("fs.remove_tree", directory.descriptor, ".", 0, directory.path)
      if not again then return nil, problem_message, problem_code end
      local list
      list, problem_message, problem_code = read_all(again)
      if not list then return nil, problem_message, problem_code end
      if #list == 0 then return true end
      for _, found in ipairs(list) do
        local removed
        removed, problem_message, problem_code = remove_in(directory, found, depth)
        if not removed then return nil, problem_message, problem_code end
      end
    end
    return true -- and the directory's own removal tells that it is not empty
  end)
  directory:close()
  if not ok then error(result, 0) end
  return result, message, code
end

local EISDIR, EPERM, REMOVE_DIRECTORY = -21, -1, 512

local function unlink_in(directory, name, flags, path)
  local handle = call.begin "fs.remove_tree"
  return call.wait(C.mr_call_unlink(handle, directory.descriptor, name, flags), "fs.remove_tree", path)
end

function remove_in(directory, found, depth)
  local name, path = found.name, join(directory.path, found.name)
  local result = found.kind == "directory" and EISDIR or unlink_in(directory, name, 0, path)
  if result == EISDIR or result == EPERM and not found.kind then
    local inner, message, code = open_in("fs.remove_tree", directory.descriptor, name, common.NO_FOLLOW, path)
    if code == "ENOENT" then return true end
    if not inner and (code == "ENOTDIR" or code == "ELOOP") then -- it has been exchanged for something else
      result = unlink_in(directory, name, 0, path)
    elseif not inner then
      return nil, message, code
    else
      local emptied
      emptied, message, code = empty(inner, depth + 1)
      if not emptied then return nil, message, code end
      result = unlink_in(directory, name, REMOVE_DIRECTORY, path)
    end
  end
  if result < 0 and result ~= common.ENOENT then return failed(result, "remove", path) end
  return true
end

--- Removes a directory with all that is in it, or a file. Links are removed and never followed, also when somebody
--- exchanges a directory for one meanwhile: each level is reached from the open directory above it. What is gone
--- already is no failure, except for `path` itself.
---@param path string
---@return true? ok
---@return string? message what stopped it; the rest stays
---@return string? code
function M.remove_tree(path)
  check_path("fs.remove_tree", path)
  local directory, message, code = open_in("fs.remove_tree", common.HERE, path, common.NO_FOLLOW, path)
  local flags = 0
  if directory then
    local emptied
    emptied, message, code = empty(directory, 1)
    if not emptied then return nil, message, code end
    flags = REMOVE_DIRECTORY
  elseif code ~= "ENOTDIR" and code ~= "ELOOP" then
    return nil, message, code
  end
  local handle = call.begin "fs.remove_tree"
  return done(call.wait(C.mr_call_unlink(handle, common.HERE, path, flags), "fs.remove_tree", path), "remove", path)
end

--- Opens a directory as a file, for its sync. Internal.
function M.open_file(path)
  local handle = call.begin "fs.open"
  local descriptor = call.wait(C.mr_call_open(handle, common.HERE, path, OPEN, 0), "fs.open", path)
  if descriptor < 0 then return failed(descriptor, "open directory", path) end
  return file.new(descriptor, path)
end

return M
