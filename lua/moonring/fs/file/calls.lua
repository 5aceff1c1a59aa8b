-- moonring.fs.file.calls: what a file can do beside reading and writing: to be synced, cut, reserved, described, locked.

local native = require "moonring.native"
local errors = require "moonring.errors"
local call = require "moonring.call"
local time = require "moonring.time"
local common = require "moonring.fs.common"
local status = require "moonring.fs.status"
local File = require("moonring.fs.file.core").File

local C = native.C
local begin, wait, check_offset, failed, done = call.begin, call.wait, errors.check_offset, common.failed, common.done

local EAGAIN, EACCES = -11, -13
-- Seconds between two tries of a lock: the first, and the longest.
local LOCK_RETRY, LOCK_RETRY_MAX = 0.001, 0.1

local function perform(self, what, start, ...)
  local descriptor = self:descriptor_of(what)
  local handle = begin("file:" .. what)
  return done(wait(start(handle, descriptor, ...), "file:" .. what, self.path), what, self.path)
end

--- Waits until all that was written is on the disk (fsync); with `data_only`, without times that nobody needs for
--- finding it (fdatasync).
---@param data_only? boolean
---@return true? ok
---@return string? message
---@return string? code "EIO", "ENOSPC", "EDQUOT": what could not be written back, told once
function File:sync(data_only)
  return perform(self, "sync", C.mr_call_sync, data_only and 1 or 0)
end

--- Makes the file `length` bytes long; what is new reads as zeros.
---@param length integer
---@return true? ok
---@return string? message
---@return string? code
function File:truncate(length)
  check_offset("file:truncate", "a length", length)
  return perform(self, "truncate", C.mr_call_truncate, length)
end

local allocate_modes = { extend = 0, keep_size = 1, punch_hole = 3, zero = 16 }

--- Reserves disk space for `length` bytes from `offset` on, so that writing there can't fail for want of it. mode
--- "extend" (default) lets the file grow to them, "keep_size" doesn't; "punch_hole" gives the space back and "zero"
--- keeps it, both leaving zeros (fallocate(2)).
---@param offset integer
---@param length integer
---@param mode? "extend"|"keep_size"|"punch_hole"|"zero"
---@return true? ok
---@return string? message
---@return string? code
function File:allocate(offset, length, mode)
  check_offset("file:allocate", "an offset", offset)
  check_offset("file:allocate", "a length", length)
  local number = allocate_modes[mode or "extend"]
  if not number then
    errors.raise("argument", 'file:allocate: the mode is "extend", "keep_size", "punch_hole" or "zero", not %s',
      tostring(mode))
  end
  return perform(self, "allocate", C.mr_call_allocate, number, offset, length)
end

local advices = { normal = 0, random = 1, sequential = 2, will_need = 3, dont_need = 4, no_reuse = 5 }

--- Tells the kernel how the file will be read (posix_fadvise(2)). length 0: to its end.
---@param advice "normal"|"random"|"sequential"|"will_need"|"dont_need"|"no_reuse"
---@param offset? integer
---@param length? integer
function File:advise(advice, offset, length)
  local number = advices[advice]
  if not number then errors.raise("argument", "file:advise: there is no advice %s", tostring(advice)) end
  check_offset("file:advise", "an offset", offset or 0)
  check_offset("file:advise", "a length", length or 0)
  return perform(self, "advise", C.mr_call_advise, offset or 0, math.min(length or 0, 4294967295), number)
end

--- What is known of the file; see fs.stat.
---@return moonring.FileStatus? status
---@return string? message
---@return string? code
function File:stat()
  return status.of("file:stat", self:descriptor_of("stat"), "", 0, self.path)
end

--- Sets its permissions, as fs.chmod does.
---@param permissions integer such as tonumber("644", 8)
function File:chmod(permissions)
  return perform(self, "chmod", C.mr_call_permissions, "", common.permissions("chmod", permissions))
end

--- Sets its owner and group, as fs.chown does.
---@param owner? integer user's number; nil: unchanged
---@param group? integer
function File:chown(owner, group)
  return perform(self, "chown", C.mr_call_owner, "", owner or -1, group or -1, 0)
end

--- Sets its times, as fs.utimes does.
---@param accessed? number seconds since 1970; nil: unchanged
---@param modified? number
function File:utimes(accessed, modified)
  return perform(self, "utimes", C.mr_call_times, "", accessed or 0 / 0, modified or 0 / 0, 0)
end

local lock_kinds = { shared = 1, exclusive = 2 }

--- Takes an advisory lock on the whole file, which belongs to this open file (an open file description lock, fcntl(2)):
--- "exclusive" (default), or "shared" with other shared ones. Waits until it is free, asking again up to ten times a
--- second, since the kernel can't be asked to tell; with `wait` false it doesn't. The close of the file gives it back.
---@param kind? "shared"|"exclusive"
---@param wait_for_it? boolean default true
---@return boolean? locked false: somebody else has it
---@return string? message
---@return string? code
function File:lock(kind, wait_for_it)
  local number = lock_kinds[kind or "exclusive"]
  if not number then
    errors.raise("argument", 'file:lock: the lock is "shared" or "exclusive", not %s', tostring(kind))
  end
  local delay = LOCK_RETRY
  while true do
    local descriptor = self:descriptor_of("lock")
    local result = wait(C.mr_call_lock(begin "file:lock", descriptor, number), "file:lock", self.path)
    if result >= 0 then return true end
    if result ~= EAGAIN and result ~= EACCES then return failed(result, "lock", self.path) end
    if wait_for_it == false then return false end
    time.sleep(delay)
    delay = math.min(delay * 2, LOCK_RETRY_MAX)
  end
end

--- Gives the lock back.
function File:unlock()
  return perform(self, "unlock", C.mr_call_lock, 0)
end

--- The alignment that offsets, lengths and memory must have for a file that was opened with `direct`: what the kernel
--- says (6.1), or a page, which suits every disk.
---@return integer bytes
function File:direct_alignment()
  local found = self:stat()
  if not found or found.direct_alignment == 0 then return 4096 end
  return found.direct_alignment
end
