-- moonring.fs.common: what the modules of fs share: checks of arguments, failures with their path. Internal.

local native = require "moonring.native"
local errors = require "moonring.errors"

local C = native.C

local M = {
  HERE = C.MR_CALL_HERE,
  RDONLY = 0,
  WRONLY = 1,
  RDWR = 2,
  CREATE = 64,
  EXCLUSIVE = 128,
  TRUNCATE = 512,
  APPEND = 1024,
  SYNC = 1052672,
  DATA_SYNC = 4096,
  DIRECTORY = C.mr_open_flag.directory,
  NO_FOLLOW = C.mr_open_flag.no_follow,
  EXDEV = -18,
  EEXIST = -17,
  ENOENT = -2,
  EINVAL = -22,
  EOPNOTSUPP = -95,
  ENOSYS = -38,
}

--- Checks a path: a string without a NUL, which would end it early for the kernel.
function M.check_path(what, path)
  if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
    errors.raise("argument", "%s: a path is a string that is not empty and has no NUL byte, not %s", what,
      type(path) == "string" and ("%q"):format(path) or tostring(path))
  end
end

--- Checks permissions such as tonumber("644", 8); `default` stands for none.
function M.permissions(what, value, default)
  if value == nil then return default end
  if type(value) ~= "number" or value < 0 or value > 4095 or value % 1 ~= 0 then
    errors.raise("argument", 'fs.%s: permissions are a number from 0 to tonumber("7777", 8), not %s', what, tostring(value))
  end
  return value
end

--- Options as a table, each name one of those in `known`.
function M.options(what, options, known)
  options = errors.options(what, options)
  errors.check_options(what, options, known)
  return options
end

--- nil, message, code of a failure.
function M.failed(result, doing, path)
  return errors.world(result, path and ("%s %s"):format(doing, path) or doing)
end

--- true, or the failure.
function M.done(result, doing, path)
  if result >= 0 then return true end
  return errors.world(result, ("%s %s"):format(doing, path))
end

return M
