-- moonring.fs.whole: files as a whole: read, written, copied, and as lines.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local buffer = require "moonring.buffer"
local call = require "moonring.call"
local common = require "moonring.fs.common"
local file = require "moonring.fs.file"
local directory = require "moonring.fs.directory"
local temporary = require "moonring.fs.temporary"

local C = native.C
local check_path, failed = common.check_path, common.failed

local M = {
  -- Bytes that read_file gives at the most unless it is told otherwise: a string or buffer of 2^31 - 1.
  READ_MAX = 2147483647,
  -- Bytes that copy moves at once.
  COPY_CHUNK = 1048576,
}

local function open(what, path, flags, permissions)
  local handle = call.begin(what)
  local descriptor = call.wait(C.mr_call_open(handle, common.HERE, path, flags, permissions or 0), what, path)
  if descriptor < 0 then return failed(descriptor, "open", path) end
  return file.new(descriptor, path)
end

-- Calls body(opened, ...) and closes the file however that ends.
local function with(opened, body, ...)
  local ok, result, message, code = pcall(body, opened, ...)
  opened:close()
  if not ok then error(result, 0) end
  return result, message, code
end

local function too_long(path, max)
  return nil, ("read %s: it is longer than %.0f bytes"):format(path, max), "EFBIG"
end

-- The size that stat gives is a hint: files of /proc say 0, and others grow.
local function read_whole(opened, max)
  local of, message, code = opened:stat()
  if not of then return nil, message, code end
  if of.kind == "directory" then return failed(-21, "read", opened.path) end
  if of.size > max then return too_long(opened.path, max) end
  local room = math.min(math.max(of.size + 1, 4096), max + 1, M.READ_MAX)
  local out = buffer.allocate(room)
  while true do
    local got
    got, message, code = opened:read(out)
    if not got then
      if message then
        out:release()
        return nil, message, code
      end
      return out:reset_for_read()
    end
    if out.position > max then
      out:release()
      return too_long(opened.path, max)
    end
    if out:remaining() == 0 then
      if room == M.READ_MAX then
        out:release()
        return too_long(opened.path, M.READ_MAX - 1)
      end
      room = math.min(room * 2, max + 1, M.READ_MAX)
      local larger = buffer.allocate(room)
      larger:write(out:reset_for_read())
      out:release()
      out = larger
    end
  end
end

--- The whole file as a buffer of the caller's, position 0.
--- ```lua
--- local fs = require "moonring.fs"
---
--- local contents = assert(fs.read_file "/proc/sys/kernel/ostype")
--- assert(contents:to_string() == "Linux\n")
--- contents:release()
--- ```
---@param path string
---@param max? integer bytes at the most; more is refused with "EFBIG"
---@return moonring.Buffer? contents
---@return string? message
---@return string? code
function M.read_file(path, max)
  check_path("fs.read_file", path)
  if max ~= nil then errors.check_offset("fs.read_file", "max", max) end
  local opened, message, code = open("fs.read_file", path, common.RDONLY)
  if not opened then return nil, message, code end
  return with(opened, read_whole, math.min(max or M.READ_MAX - 1, M.READ_MAX - 1))
end

---@class moonring.WriteFileOptions
---@field atomic? boolean default true: readers see the old file or the new one, never a part, also when this fails
---@field durable? boolean on the disk when this returns, the name as well
---@field permissions? integer of a new file, default tonumber("666", 8) cut by the umask; one that is there keeps its own

local function sync_directory(path)
  local opened, message, code = directory.open_file(temporary.directory_of(path))
  if not opened then return nil, message, code end
  return with(opened, opened.sync)
end

local function fill(opened, data, durable)
  local ok, message, code = opened:write(data)
  if ok and durable then return opened:sync() end
  return ok, message, code
end

-- What is there lends the new file its owner, where that is possible, and its permissions.
local function resemble(made, old)
  local mine = made:stat()
  if mine and (mine.owner ~= old.owner or mine.group ~= old.group) then made:chown(old.owner, old.group) end
  return made:chmod(old.permissions)
end

local function write_beside(path, data, options)
  local old = require("moonring.fs.status").of("fs.write_file", common.HERE, path, 0, path)
  if old and old.kind ~= "file" then
    return nil, ("write %s: it is a %s, which can't be replaced; { atomic = false } writes into it"):format(path, old.kind),
      "EINVAL"
  end
  -- Through links: the file is replaced, not the link.
  local target = old and temporary.resolve(path) or path
  -- Nobody may open it before it has the permissions of the old one, which may be a secret.
  local made, message, code = temporary.beside(target,
    old and 384 or common.permissions("write_file", options.permissions, 438))
  if not made then return nil, message, code end
  local ok, result
  ok, result, message, code = pcall(function()
    local alike, why, name = true, nil, nil
    if old then alike, why, name = resemble(made, old) end
    if not alike then return nil, why, name end
    alike, why, name = fill(made, data, options.durable)
    if not alike then return nil, why, name end
    return made:rename_to(target)
  end)
  made:close()
  if not ok then error(result, 0) end
  if result and options.durable then return sync_directory(target) end
  return result, message, code
end

--- Writes a string, the remaining bytes of a buffer, or a chain as the whole of a file. By default into a new one in the
--- same directory that then takes its name.
---@param path string
---@param data string|moonring.Buffer|moonring.Chain
---@param options? moonring.WriteFileOptions
---@return true? ok
---@return string? message
---@return string? code
function M.write_file(path, data, options)
  check_path("fs.write_file", path)
  options = common.options("fs.write_file", options, { atomic = true, durable = true, permissions = true })
  if options.atomic ~= false then return write_beside(path, data, options) end
  local opened, message, code = open("fs.write_file", path, common.WRONLY + common.CREATE + common.TRUNCATE,
    common.permissions("write_file", options.permissions, 438))
  if not opened then return nil, message, code end
  local ok
  ok, message, code = with(opened, fill, data, options.durable)
  if ok and options.durable then return sync_directory(path) end
  return ok, message, code
end

---@class moonring.CopyOptions
---@field exclusive? boolean fail with "EEXIST" when the target is there
---@field durable? boolean on the disk when this returns
---@field progress? fun(bytes: integer) called after each piece with the bytes copied so far

-- Whether the kernel can't do this for these two files, and they have to be read and written.
local function is_impossible(result)
  return result == common.EXDEV or result == common.EINVAL or result == common.EOPNOTSUPP or result == common.ENOSYS or
    result == -25 or result == -1 -- ENOTTY, EPERM
end

local function copy_by_hand(from, to, at, options)
  local piece = buffer.allocate(M.COPY_CHUNK)
  local ok, result, message, code = pcall(function()
    while true do
      piece:reset_for_write()
      local got, why, name = from:read(piece, from.has_offsets and at or nil)
      if not got then
        if why then return nil, why, name end
        return at
      end
      local count = piece.position
      local written
      written, why, name = to:write(piece:reset_for_read(), at)
      if not written then return nil, why, name end
      at = at + count
      if options.progress then options.progress(at) end
    end
  end)
  piece:release()
  if not ok then error(result, 0) end
  return result, message, code
end

local function copy_contents(from, to, options)
  local handle = call.begin "fs.copy"
  local result = call.wait(C.mr_call_clone(handle, from.descriptor, to.descriptor), "fs.copy", from.path)
  if result == 0 then
    local of, message, code = to:stat()
    if not of then return nil, message, code end
    if options.progress then options.progress(of.size) end
    return of.size
  end
  if not is_impossible(result) then return failed(result, "copy", from.path) end
  local at, piece = 0, options.progress and M.COPY_CHUNK or 67108864
  while true do
    result = call.wait(C.mr_call_copy(call.begin "fs.copy", from.descriptor, at, to.descriptor, at, piece), "fs.copy",
      from.path)
    if result < 0 and is_impossible(result) then return copy_by_hand(from, to, at, options) end
    if result < 0 then return failed(result, "copy", from.path) end
    -- Files whose size is not known, as in /proc, seem to be empty.
    if result == 0 then return at == 0 and copy_by_hand(from, to, 0, options) or at end
    at = at + result
    if options.progress then options.progress(at) end
  end
end

--- Copies a file's contents and permissions. The blocks are shared where the filesystem can (a reflink), else the kernel
--- copies, else this does.
---@param from string
---@param to string replaced in place when it is there
---@param options? moonring.CopyOptions
---@return integer? bytes
---@return string? message
---@return string? code
function M.copy(from, to, options)
  check_path("fs.copy", from)
  check_path("fs.copy", to)
  options = common.options("fs.copy", options, { exclusive = true, durable = true, progress = true })
  local source, message, code = open("fs.copy", from, common.RDONLY)
  if not source then return nil, message, code end
  return with(source, function()
    local of, why, name = source:stat()
    if not of then return nil, why, name end
    if of.kind == "directory" then return failed(-21, "copy", from) end
    -- Truncated only once it is known to be another file.
    local target
    target, why, name = open("fs.copy", to, common.WRONLY + common.CREATE + (options.exclusive and common.EXCLUSIVE or 0),
      bit.band(of.permissions, 511))
    if not target then return nil, why, name end
    return with(target, function()
      local there = target:stat()
      if there and there.inode == of.inode and there.device == of.device then
        return nil, ("copy %s to %s: they are the same file"):format(from, to), "EINVAL"
      end
      if there and there.size > 0 then
        local ok, reason, reason_code = target:truncate(0)
        if not ok then return nil, reason, reason_code end
      end
      local bytes, reason, reason_code = copy_contents(source, target, options)
      if bytes and options.durable then
        local ok
        ok, reason, reason_code = target:sync()
        if not ok then return nil, reason, reason_code end
      end
      return bytes, reason, reason_code
    end)
  end)
end

--- Iterates over the lines of a file, without their ends (LF, or CR LF): `for line in fs.lines(path) do`. A path is
--- opened, and closed at the end of the iteration, or with the scope when that is left before; of an open file it is
--- file:lines. A failure of the system is raised, since the iteration can't return it.
---@param source string|moonring.File
---@param max? integer bytes of a line at the most, default 1 MiB
---@return fun(): string?
function M.lines(source, max)
  if getmetatable(source) == file.File then return source:lines(max) end
  if type(source) ~= "string" then
    errors.raise("argument", "fs.lines: a path or a file is needed, not a %s", type(source))
  end
  if max ~= nil then errors.check_offset("fs.lines", "max", max) end
  check_path("fs.lines", source)
  local opened, message, code = open("fs.lines", source, common.RDONLY)
  if not opened then errors.raise(code, "%s", message) end
  local scope = task.innermost(task.current())
  scope:own(opened)
  local next_line = opened:lines(max)
  return function()
    if not opened.descriptor then return nil end
    local ok, line = pcall(next_line)
    if ok and line then return line end
    scope:release(opened)
    opened:close()
    if not ok then error(line, 0) end
    return nil
  end
end

return M
