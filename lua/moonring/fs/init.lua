-- moonring.fs: files, directories and watching them.
--
-- Every call is carried out by the ring or by a helper thread while other tasks run. What the system refuses is returned
-- as nil, message, code; misuse is raised. A call that is cancelled leaves at once: what the kernel has done by then
-- stays done, so a cancelled rename may have happened.

local native = require "moonring.native"
local errors = require "moonring.errors"
local call = require "moonring.call"
local scheduler = require "moonring.scheduler"
local time = require "moonring.time"
local common = require "moonring.fs.common"
local file = require "moonring.fs.file"
local directory = require "moonring.fs.directory"
local status = require "moonring.fs.status"
local whole = require "moonring.fs.whole"
local temporary = require "moonring.fs.temporary"

local C, ffi = native.C, native.ffi
local check_path, failed, done, permissions = common.check_path, common.failed, common.done, common.permissions

local M = {
  --- The class, for the modules that add to it. Internal.
  File = file.File,
  open_directory = directory.open,
  read_directory = directory.read,
  walk = directory.walk,
  remove_tree = directory.remove_tree,
  read_file = whole.read_file,
  write_file = whole.write_file,
  copy = whole.copy,
  lines = whole.lines,
  temporary_file = temporary.file,
  temporary_directory = temporary.directory,
}

-- Opening -------------------------------------------------------------------------------------------------------------

local modes = {
  r = { read = true },
  ["r+"] = { read = true, write = true },
  w = { write = true, create = true, truncate = true },
  ["w+"] = { read = true, write = true, create = true, truncate = true },
  a = { write = true, create = true, append = true },
  ["a+"] = { read = true, write = true, create = true, append = true },
  x = { write = true, create = true, exclusive = true },
  ["x+"] = { read = true, write = true, create = true, exclusive = true },
}

local flag_values = {
  read = 0, write = 0, create = common.CREATE, exclusive = common.EXCLUSIVE, truncate = common.TRUNCATE,
  append = common.APPEND, direct = C.mr_open_flag.direct, sync = common.SYNC, data_sync = common.DATA_SYNC,
  no_follow = common.NO_FOLLOW, no_access_time = C.mr_open_flag.no_access_time,
}

---@class moonring.OpenFlags
---@field read? boolean
---@field write? boolean
---@field create? boolean make it when it isn't there
---@field exclusive? boolean with create: fail with "EEXIST" when it is
---@field truncate? boolean make it empty
---@field append? boolean each write goes to the end, wherever that is by then
---@field direct? boolean past the page cache (O_DIRECT): memory, offsets and lengths aligned, see file:direct_alignment
---@field sync? boolean each write is on the disk when it returns
---@field data_sync? boolean the same without times
---@field no_follow? boolean fail with "ELOOP" when it is a link
---@field no_access_time? boolean reading doesn't change the access time; the owner only

-- The numbers of the flags, and the flags.
local function flags_of(mode)
  local flags = mode == nil and modes.r or modes[mode] or mode
  if type(flags) ~= "table" then
    errors.raise("argument", 'fs.open: the mode is "r", "r+", "w", "w+", "a", "a+", "x", "x+" or a table of flags, not %s',
      tostring(mode))
  end
  local value = 0
  for name, on in pairs(flags) do
    if not flag_values[name] then errors.raise("argument", "fs.open: there is no flag '%s'", tostring(name)) end
    if on then value = bit.bor(value, flag_values[name]) end
  end
  if flags.write then
    value = bit.bor(value, flags.read and common.RDWR or common.WRONLY)
  elseif not flags.read then
    errors.raise("argument", "fs.open: at least one of the flags read and write is needed")
  end
  return value, flags
end

local ENXIO = -6
local FIFO_RETRY, FIFO_RETRY_MAX = 0.001, 0.05 -- seconds

-- A FIFO that nobody reads: io_uring could wait for a reader only by holding one of the kernel's threads for files.
local function is_fifo(path)
  local of = status.of("fs.open", common.HERE, path, 0, path)
  return of and of.kind == "fifo"
end

--- Opens a file. mode: as for io.open, "x" making a new one or failing, or a table of flags. A FIFO waits for the other
--- side, as other programs do; what is opened is closed on exec.
---@param path string
---@param mode? string|moonring.OpenFlags default "r"
---@param new_permissions? integer of a new file, cut by the umask; default tonumber("666", 8)
---@return moonring.File? file
---@return string? message
---@return string? code
function M.open(path, mode, new_permissions)
  check_path("fs.open", path)
  local value, flags = flags_of(mode)
  new_permissions = permissions("open", new_permissions, 438)
  local delay = FIFO_RETRY
  while true do
    local handle = call.begin "fs.open"
    local descriptor = call.wait(C.mr_call_open(handle, common.HERE, path, value, new_permissions), "fs.open", path)
    if descriptor >= 0 then return file.new(descriptor, path, flags.direct) end
    if descriptor ~= ENXIO or not is_fifo(path) then return failed(descriptor, "open", path) end
    time.sleep(delay)
    delay = math.min(delay * 2, FIFO_RETRY_MAX)
  end
end

-- What there is -------------------------------------------------------------------------------------------------------

local NO_FOLLOW_LINK = 256 -- AT_SYMLINK_NOFOLLOW

--- What is known of a file: a table with kind, size, permissions, times, owner and more.
---@param path string
---@return moonring.FileStatus? status
---@return string? message
---@return string? code
function M.stat(path)
  check_path("fs.stat", path)
  return status.of("fs.stat", common.HERE, path, 0, path)
end

--- The same of a link itself.
function M.lstat(path)
  check_path("fs.lstat", path)
  return status.of("fs.lstat", common.HERE, path, NO_FOLLOW_LINK, path)
end

--- Whether there is something at the path. A link that leads nowhere is nothing.
---@param path string
---@return boolean? exists nil when that can't be found out
---@return string? message
---@return string? code
function M.exists(path)
  check_path("fs.exists", path)
  local found, message, code = status.of("fs.exists", common.HERE, path, 0, path)
  if found then return true end
  if code == "ENOENT" or code == "ENOTDIR" then return false end
  return nil, message, code
end

local access_bits = { r = 4, w = 2, x = 1 }

--- Whether this process may use the file so: any of "r", "w" and "x" together.
---@param path string
---@param how string
---@return boolean? may
---@return string? message
---@return string? code
function M.access(path, how)
  check_path("fs.access", path)
  local bits = 0
  for letter in tostring(how):gmatch "." do
    if not access_bits[letter] then
      errors.raise("argument", 'fs.access: "r", "w", "x" or several of them are needed, not %s', tostring(how))
    end
    bits = bit.bor(bits, access_bits[letter])
  end
  local result = call.wait(C.mr_call_access(call.begin "fs.access", path, bits), "fs.access", path)
  if result >= 0 then return true end
  if result == -13 or result == -30 then return false end -- EACCES, EROFS
  return failed(result, "access", path)
end

-- A call that gives text.
local function text_of(what, slot, doing, path)
  local handle = call.begin(what)
  local result = call.wait_keeping(slot, what, path)
  local text = result >= 0 and ffi.string(C.mr_call_data(handle, slot), result)
  call.finish(slot)
  if text then return text end
  return failed(result, doing, path)
end

--- What a symbolic link says.
---@param path string
---@return string? target
---@return string? message
---@return string? code
function M.read_link(path)
  check_path("fs.read_link", path)
  return text_of("fs.read_link", C.mr_call_read_link(call.begin "fs.read_link", path), "read link", path)
end

--- The absolute path without links, "." and "..". All of it must be there.
---@param path string
---@return string? path
---@return string? message
---@return string? code
function M.real_path(path)
  check_path("fs.real_path", path)
  return text_of("fs.real_path", C.mr_call_real_path(call.begin "fs.real_path", path), "resolve", path)
end

-- Names ---------------------------------------------------------------------------------------------------------------

local rename_flags = { replace = 0, no_replace = 1, exchange = 2 }

--- Gives a file another name, in one step that everybody sees done or not done. how: "replace" (default) what is there,
--- "no_replace" (fails with "EEXIST"), or "exchange" the two.
---@param from string
---@param to string
---@param how? "replace"|"no_replace"|"exchange"
---@return true? ok
---@return string? message
---@return string? code "EXDEV": not on the same filesystem
function M.rename(from, to, how)
  check_path("fs.rename", from)
  check_path("fs.rename", to)
  local flags = rename_flags[how or "replace"]
  if not flags then
    errors.raise("argument", 'fs.rename: "replace", "no_replace" or "exchange" is needed, not %s', tostring(how))
  end
  return done(call.wait(C.mr_call_rename(call.begin "fs.rename", from, to, flags), "fs.rename", from), "rename",
    from .. " to " .. to)
end

--- Gives a file a second name, `path`. A link is not followed.
---@param existing string
---@param path string
function M.link(existing, path)
  check_path("fs.link", existing)
  check_path("fs.link", path)
  return done(call.wait(C.mr_call_link(call.begin "fs.link", common.HERE, existing, path, 0), "fs.link", path), "link",
    existing .. " to " .. path)
end

--- Makes a symbolic link at `path` that says `target`.
---@param target string
---@param path string
function M.symlink(target, path)
  check_path("fs.symlink", target)
  check_path("fs.symlink", path)
  return done(call.wait(C.mr_call_symlink(call.begin "fs.symlink", target, path), "fs.symlink", path), "make link", path)
end

local function unlink(what, path, flags)
  check_path(what, path)
  return done(call.wait(C.mr_call_unlink(call.begin(what), common.HERE, path, flags), what, path), "remove", path)
end

--- Removes a name of a file, or a link itself.
---@param path string
---@return true? ok
---@return string? message
---@return string? code
function M.unlink(path)
  return unlink("fs.unlink", path, 0)
end

--- Removes an empty directory.
function M.remove_directory(path)
  return unlink("fs.remove_directory", path, 512) -- AT_REMOVEDIR
end

---@class moonring.MakeDirectoryOptions
---@field parents? boolean make what is missing above, and be content when it is there already
---@field permissions? integer cut by the umask; default tonumber("777", 8)

local function make_one(path, mode)
  return call.wait(C.mr_call_make_directory(call.begin "fs.make_directory", common.HERE, path, mode), "fs.make_directory",
    path)
end

local function is_directory(path)
  local of = status.of("fs.make_directory", common.HERE, path, 0, path)
  return of and of.kind == "directory"
end

-- Tried from the deepest up, since most of the way is there already.
local function make_with_parents(path, mode)
  local result = make_one(path, mode)
  if result == common.ENOENT then
    local parent = path:match "^(.*[^/])/+[^/]+/*$"
    if parent then
      local ok, message, code = make_with_parents(parent, mode)
      if not ok then return ok, message, code end
      result = make_one(path, mode)
    end
  end
  if result == common.EEXIST and is_directory(path) then return true end
  return done(result, "make directory", path)
end

--- Makes a directory.
---@param path string
---@param options? moonring.MakeDirectoryOptions
---@return true? ok
---@return string? message
---@return string? code
function M.make_directory(path, options)
  check_path("fs.make_directory", path)
  options = common.options("fs.make_directory", options, { parents = true, permissions = true })
  local mode = permissions("make_directory", options.permissions, 511)
  if options.parents then return make_with_parents(path, mode) end
  return done(make_one(path, mode), "make directory", path)
end

-- What belongs to a name ----------------------------------------------------------------------------------------------

--- Sets who may do what with a file, as chmod(2).
---@param path string
---@param new_permissions integer such as tonumber("644", 8)
function M.chmod(path, new_permissions)
  check_path("fs.chmod", path)
  new_permissions = permissions("chmod", new_permissions)
  return done(call.wait(C.mr_call_permissions(call.begin "fs.chmod", -1, path, new_permissions), "fs.chmod", path), "chmod",
    path)
end

--- Sets whose file it is, as chown(2).
---@param path string
---@param owner? integer user's number; nil: unchanged
---@param group? integer
---@param no_follow? boolean of a link itself
function M.chown(path, owner, group, no_follow)
  check_path("fs.chown", path)
  return done(call.wait(C.mr_call_owner(call.begin "fs.chown", -1, path, owner or -1, group or -1, no_follow and 1 or 0),
    "fs.chown", path), "chown", path)
end

--- Sets when it was read and written last, as utimensat(2).
---@param path string
---@param accessed? number seconds since 1970; nil: unchanged
---@param modified? number
---@param no_follow? boolean of a link itself
function M.utimes(path, accessed, modified, no_follow)
  check_path("fs.utimes", path)
  local handle = call.begin "fs.utimes"
  local slot = C.mr_call_times(handle, -1, path, accessed or 0 / 0, modified or 0 / 0, no_follow and 1 or 0)
  return done(call.wait(slot, "fs.utimes", path), "utimes", path)
end

--- Watches files and directories; see moonring.fs.watch.
---@param path string
---@param options? moonring.WatchOptions
---@return moonring.Watch? watch
---@return string? message
---@return string? code
function M.watch(path, options)
  scheduler.require_task "fs.watch"
  return require("moonring.fs.watch").new(path, options)
end

return M
