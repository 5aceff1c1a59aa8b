-- moonring.fs.file.core: the class of open files: its making, its position, its end. Internal.
--
-- The other files of this folder add the methods, each those of one subject.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local memory = require "moonring.memory"
local iovec = require "moonring.iovec"
local scheduler = require "moonring.scheduler"
local stream = require "moonring.stream"

local C, ffi = native.C, native.ffi
local check_offset = errors.check_offset
local PARTS_MAX = tonumber(C.MR_CALL_PARTS_MAX)

local M = {}

---@class moonring.File
---@field path string what it was opened by
---@field descriptor integer|false false once it has been closed
---@field position integer where reads and writes without an offset go on; ahead of what reading helpers have given
---@field has_offsets boolean false for pipes, terminals and the like
local File = { __name = "moonring.File" }
File.__index = File
M.File = File

--- Wraps a descriptor, which the file owns from now on. `direct`: it was opened so. Internal.
function M.new(descriptor, path, direct)
  local guard = ffi.gc(ffi.new("mr_file_guard", loop.handle(), descriptor), C.mr_file_guard_release)
  local has_offsets = C.mr_descriptor_has_offsets(descriptor) ~= 0
  return setmetatable({
    descriptor = descriptor,
    path = path,
    has_offsets = has_offsets,
    reads_now = has_offsets and not direct, -- whether what is in memory is read without a turn of the loop
    guard = guard,
    position = 0,
    user = false, -- the task that reads or writes at the position
    input = false, -- the buffer that read() lends
  }, File)
end

--- The descriptor; raises "closed" when there is none any more. Internal.
local function descriptor_of(self, what)
  local descriptor = self.descriptor
  if not descriptor then errors.raise("closed", "file:%s: %s has been closed", what, self.path) end
  return descriptor
end

File.descriptor_of = descriptor_of

-- What helpers have read ahead is forgotten, and the position is where they have come to.
local function give_back(self)
  self.position = self.position - self.rest.bytes
  stream.release(self)
end

--- The offset for a call, and whether it is the file's position that is meant.
local function offset_for(self, what, offset)
  if offset ~= nil then
    check_offset("file:" .. what, "an offset", offset)
    return offset, false
  end
  local user = self.user
  if user then
    errors.raise("busy", "file:%s: %s reads or writes at the position of %s already, and %s wants to; give offsets", what,
      tostring(user), self.path, tostring(scheduler.current()))
  end
  if self.has_rest and self.has_offsets and not self.filling then give_back(self) end
  self.user = scheduler.current()
  return self.has_offsets and self.position or -1, true
end
M.offset_for = offset_for

--- Ends the use of the position, and moves it on.
function M.end_use(self, sequential, count)
  if not sequential then return end
  self.user = false
  if count > 0 then self.position = self.position + count end
end

--- Calls fn(...), which starts a call and waits for it. When that raises, the position is free again, and where it was.
function M.guarded(self, sequential, fn, ...)
  if not sequential then return fn(...) end
  local ok, result, more = pcall(fn, ...)
  if ok then return result, more end
  self.user = false
  error(result, 0)
end

--- Moves the file's position, from which read and write without an offset go on.
---@param offset integer bytes
function File:seek(offset)
  descriptor_of(self, "seek")
  check_offset("file:seek", "an offset", offset)
  if not self.has_offsets then
    errors.raise("argument", "file:seek: %s is a pipe, terminal or socket, which has no offsets", self.path)
  end
  offset_for(self, "seek")
  self.user = false
  self.position = offset
  return self
end

--- Closes the file; never waits. What is under way goes on. Whether everything written has reached the disk is told by
--- sync alone. Closing again does nothing.
function File:close()
  local descriptor = self.descriptor
  if not descriptor then return end
  self.descriptor = false
  self.guard.descriptor = -1
  if self.input then self.input:release() end
  if self.rest then stream.release(self) end
  C.mr_descriptor_close(loop.handle(), descriptor)
end

function File:__tostring()
  if not self.descriptor then return ("moonring.File(%s, closed)"):format(self.path) end
  return ("moonring.File(%s descriptor=%d position=%.0f)"):format(self.path, self.descriptor, self.position)
end

local scratch = ffi.typeof "const mr_iovec *[1]"

--- A call on the bytes of a heap buffer, or of a string: both live as long as the call's own reference does.
function M.start_anchored(start, handle, descriptor, offset, keeper, address, length, flags)
  local part = iovec.new()
  local anchor = memory.anchor(keeper)
  local result = C.mr_iovec_wrap_anchored(memory.handle(), address, length, flags, anchor, part)
  if result < 0 then
    memory.unanchor(anchor)
    return result
  end
  local slot = start(handle, descriptor, offset, scratch(part), 1)
  C.mr_iovec_release(part)
  return slot
end

local pointers = ffi.typeof "const mr_iovec *[?]"

--- Checks the iovecs that `what` is given.
function M.check_list(what, list)
  if type(list) ~= "table" or not iovec.is(list[1]) then
    errors.raise("argument", "file:%s: a list of iovecs is needed, not %s", what, tostring(list))
  end
  for i = 1, #list do
    if not iovec.is(list[i]) then errors.raise("argument", "file:%s: item %d is no iovec", what, i) end
    if C.mr_iovec_holders(list[i]) == 0 and list[i].length > 0 then
      errors.raise("closed", "file:%s: iovec %d has been released", what, i)
    end
  end
end

--- The iovecs from list[first] on, without the first `skip` bytes of it, as many as one call takes. The second result is
--- a segment that is to be released.
function M.name_parts(list, first, skip)
  local count = math.min(#list - first + 1, PARTS_MAX)
  local out, segment = pointers(count), nil
  for i = 0, count - 1 do
    out[i] = list[first + i]
  end
  if skip > 0 then
    segment = list[first]:clone_segment(skip, list[first].length - skip)
    out[0] = segment
  end
  return out, count, segment
end

return M
