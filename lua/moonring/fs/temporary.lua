-- moonring.fs.temporary: files and directories that go when their owner closes them.
--
-- A temporary file has no name at all where the filesystem can make such (O_TMPFILE), so nothing is left of it even when
-- the process is killed; elsewhere, and where a name is wanted, it has a random one that its close removes.

local native = require "moonring.native"
local errors = require "moonring.errors"
local call = require "moonring.call"
local loop = require "moonring.loop"
local common = require "moonring.fs.common"
local file = require "moonring.fs.file"
local directory = require "moonring.fs.directory"

local C, ffi = native.C, native.ffi
local check_path, failed, done = common.check_path, common.failed, common.done

local M = {
  -- Names that are tried when others have taken those before.
  TRIES = 100,
}

local OPEN = common.RDWR + common.CREATE + common.EXCLUSIVE + common.NO_FOLLOW

local name_buffer = ffi.typeof("char[?]")

-- What a name ends with, and nobody can guess.
local function random_suffix()
  local text = name_buffer(C.MR_TEMPORARY_NAME_BYTES)
  C.mr_temporary_name(text)
  return ffi.string(text)
end

--- The directory that a path's last name is in.
function M.directory_of(path)
  local parent = path:match "^(.*)/[^/]*/*$"
  if parent == nil then return "." end
  return parent == "" and "/" or parent
end

--- Where a path that is there leads to, through links.
function M.resolve(path)
  local handle = call.begin "fs.write_file"
  local slot = C.mr_call_real_path(handle, path)
  local result = call.wait_keeping(slot, "fs.write_file", path)
  local text = result >= 0 and ffi.string(C.mr_call_data(handle, slot), result) or path
  call.finish(slot)
  return text
end

-- Calls make(path) with new names until one is free. Returns its result and the path.
local function with_new_name(prefix, make)
  local result, path
  for _ = 1, M.TRIES do
    path = prefix .. random_suffix()
    result = make(path)
    if result ~= common.EEXIST then break end
  end
  return result, path
end

---@class moonring.TemporaryFile: moonring.File
---@field name? string|false its path, where it has one
local TemporaryFile = setmetatable({ __name = "moonring.TemporaryFile", __tostring = file.File.__tostring },
  { __index = file.File })
TemporaryFile.__index = TemporaryFile

-- Removes a name without waiting: it is called at the end of scopes.
local function unlink_quietly(path, flags)
  local handle = loop.handle()
  local slot = C.mr_call_unlink(handle, common.HERE, path, flags)
  if slot >= 0 then C.mr_call_let_go(handle, slot) end
end

--- Closes and removes it.
function TemporaryFile:close()
  if self.name then
    unlink_quietly(self.name, 0)
    self.name = false
  end
  file.File.close(self)
end

--- Gives it a name for good; closing it doesn't remove it any more. What has this name is replaced.
---@param path string
---@return true? ok
---@return string? message
---@return string? code
function TemporaryFile:rename_to(path)
  check_path("file:rename_to", path)
  if not self.descriptor then errors.raise("closed", "file:rename_to: %s has been closed", self.path) end
  if not self.name then return self:link_to(path) end
  local handle = call.begin "file:rename_to"
  local result = call.wait(C.mr_call_rename(handle, self.name, path, 0), "file:rename_to", self.name)
  if result >= 0 then self.name, self.path = false, path end
  return done(result, "rename " .. self.path .. " to", path)
end

--- Gives a file without a name one that is free; closing it doesn't remove that.
function TemporaryFile:link_to(path)
  check_path("file:link_to", path)
  local own = ("/proc/self/fd/%d"):format(self.descriptor)
  local handle = call.begin "file:link_to"
  local result = call.wait(C.mr_call_link(handle, common.HERE, own, path, 1024), "file:link_to", path) -- AT_SYMLINK_FOLLOW
  if result >= 0 then self.path = path end
  return done(result, "link to", path)
end

local function wrap(descriptor, path, name)
  local made = file.new(descriptor, path)
  made.name = name
  return setmetatable(made, TemporaryFile)
end

--- A new file in the directory of `path`, which is to take its place. Internal.
function M.beside(path, permissions)
  local parent, last = M.directory_of(path), path:match "([^/]*)/*$"
  local descriptor, name = with_new_name(directory.join(parent, "." .. last:sub(1, 200) .. "."), function(try)
    return call.wait(C.mr_call_open(call.begin "fs.write_file", common.HERE, try, OPEN, permissions), "fs.write_file", try)
  end)
  if descriptor < 0 then return failed(descriptor, "make a file beside", path) end
  return wrap(descriptor, name, name)
end

---@class moonring.TemporaryOptions
---@field directory? string where; default $TMPDIR, or /tmp
---@field prefix? string what its name begins with, default "moonring."
---@field named? boolean of a file: give it a name that others can open

local function options_of(what, options)
  options = common.options(what, options, { directory = true, prefix = true, named = true })
  local parent = options.directory or os.getenv "TMPDIR" or "/tmp"
  local prefix = options.prefix or "moonring."
  check_path(what, parent)
  if type(prefix) ~= "string" or prefix:find "[/%z]" then
    errors.raise("argument", "%s: a prefix is a part of a name, not %s", what, tostring(prefix))
  end
  return parent, directory.join(parent, prefix), options.named or options.prefix
end

--- A new file for reading and writing, permissions 600, that is gone when it is closed: `scope:own(fs.temporary_file())`.
---@param options? moonring.TemporaryOptions
---@return moonring.TemporaryFile? file
---@return string? message
---@return string? code
function M.file(options)
  local parent, prefix, named = options_of("fs.temporary_file", options)
  if not named then
    local flags = bit.bor(common.RDWR, C.mr_open_flag.temporary)
    local descriptor = call.wait(C.mr_call_open(call.begin "fs.temporary_file", common.HERE, parent, flags, 384),
      "fs.temporary_file", parent)
    if descriptor >= 0 then return wrap(descriptor, "a temporary file in " .. parent, false) end
    -- EISDIR, ENOENT, EOPNOTSUPP: not here; with a name it may be possible.
  end
  local descriptor, name = with_new_name(prefix, function(try)
    return call.wait(C.mr_call_open(call.begin "fs.temporary_file", common.HERE, try, OPEN, 384), "fs.temporary_file", try)
  end)
  if descriptor < 0 then return failed(descriptor, "make a temporary file in", parent) end
  return wrap(descriptor, name, name)
end

---@class moonring.TemporaryDirectory
---@field path string
local TemporaryDirectory = { __name = "moonring.TemporaryDirectory" }
TemporaryDirectory.__index = TemporaryDirectory

--- Removes it with all that is in it. Closing again does nothing.
---@return true? ok
---@return string? message
---@return string? code
function TemporaryDirectory:close()
  if self.closed then return true end
  self.closed = true
  return directory.remove_tree(self.path)
end

function TemporaryDirectory:__tostring()
  return ("moonring.TemporaryDirectory(%s%s)"):format(self.path, self.closed and ", removed" or "")
end

--- A new directory, permissions 700, that is removed with all that is in it when it is closed.
---@param options? moonring.TemporaryOptions
---@return moonring.TemporaryDirectory? directory
---@return string? message
---@return string? code
function M.directory(options)
  local parent, prefix = options_of("fs.temporary_directory", options)
  local result, path = with_new_name(prefix, function(try)
    return call.wait(C.mr_call_make_directory(call.begin "fs.temporary_directory", common.HERE, try, 448),
      "fs.temporary_directory", try)
  end)
  if result < 0 then return failed(result, "make a temporary directory in", parent) end
  return setmetatable({ path = path, closed = false }, TemporaryDirectory)
end

return M
