-- moonring.fs.file.reading: what comes out of a file.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local buffers = require "moonring.buffer.core"
local call = require "moonring.call"
local common = require "moonring.fs.common"
local stream = require "moonring.stream"
local core = require "moonring.fs.file.core"

local C = native.C
local band = bit.band
local begin, wait, check_offset, failed = call.begin, call.wait, errors.check_offset, common.failed
local File, of = core.File, buffers.of
local descriptor_of, offset_for, end_use, guarded = File.descriptor_of, core.offset_for, core.end_use, core.guarded
local ANCHORED, HEAP = tonumber(C.MR_BUFFER_ANCHORED), tonumber(C.MR_BUFFER_HEAP)

local EOPNOTSUPP = -95

local M = {
  -- Bytes that read takes at once when nobody says how many.
  CHUNK = 65536,
  -- Bytes of a line at the most, unless lines is told otherwise.
  LINE_MAX = 1048576,
}

-- Starts a read into [position, limit) of *to. Returns the slot, and the buffer that the bytes have to be copied from.
local function start_read(handle, descriptor, offset, to)
  local flags = to.flags_
  if band(flags, ANCHORED) == 0 then return C.mr_call_read(handle, descriptor, offset, to) end
  if band(flags, HEAP) ~= 0 then
    return core.start_anchored(C.mr_call_read_iovecs, handle, descriptor, offset, buffers.anchors[to],
      to.data_ + to.position_, to.limit_ - to.position_, 0)
  end
  local bounce = buffer.allocate(to.limit_ - to.position_)
  return C.mr_call_read(handle, descriptor, offset, bounce), bounce
end

-- Reads by a call. Returns the result, and the buffer that the bytes have to be copied from.
local function read_by_call(self, handle, offset, to)
  local slot, bounce = start_read(handle, self.descriptor, offset, to)
  return wait(slot, "file:read", self.path), bounce
end

-- Copies what is in memory already. A failure is left for the call to tell.
local function read_now(self, handle, offset, to)
  local position = to.position_
  local count = C.mr_descriptor_read_now(handle, self.descriptor, offset, to.data_ + position, to.limit_ - position)
  if count == EOPNOTSUPP then self.reads_now = false end
  return count
end

-- Reads into a buffer of the caller's, up to its limit. Returns the number of bytes, 0 at the end, or negative errno.
local function read_once(self, what, target, offset)
  descriptor_of(self, what)
  local handle = begin "file:read"
  local to = of(target, "file:read")
  if to.limit_ - to.position_ < 1 then buffers.writable(to, "file:read", 1) end
  buffers.check_writable(to, "file:read")
  local at, sequential = offset_for(self, what, offset)
  if self.reads_now then
    local count = read_now(self, handle, at, to)
    if count >= 0 then
      end_use(self, sequential, count)
      to.position_ = to.position_ + count
      return count
    end
  end
  local result, bounce = guarded(self, sequential, read_by_call, self, handle, at, to)
  end_use(self, sequential, result)
  if result > 0 then
    to = of(target, "file:read") -- which its owner may have released meanwhile
    buffers.writable(to, "file:read", result)
    if bounce then C.mr_bytes_move(to.data_ + to.position_, bounce.data_, result) end
    to.position_ = to.position_ + result
  end
  if bounce then bounce:release() end
  return result
end

local function read_lent(self)
  descriptor_of(self, "read")
  local input = self.input
  if not input or not input.is_open or C.mr_iovec_holders(input.memory_) > 1 then
    -- What was lent before is somebody else's as well by now: its slices keep what they show.
    if input then input:release() end
    input = buffer.allocate(M.CHUNK)
    self.input = input
  end
  input:reset_for_write()
  local result = read_once(self, "read", input)
  if result > 0 then
    input:reset_for_read()
    return input
  end
  if result == 0 then return nil end
  return failed(result, "read", self.path)
end

local function check_count(count)
  if count < 1 or count > 2147483647 or count % 1 ~= 0 then
    errors.raise("argument", "file:read: 1 to 2^31 - 1 bytes can be asked for, not %s", tostring(count))
  end
end

local function read_new(self, count, offset)
  check_count(count)
  local made = buffer.allocate(count)
  local ok, result = pcall(read_once, self, "read", made, offset)
  if ok and result > 0 then return made:reset_for_read() end
  made:release()
  if not ok then error(result, 0) end
  if result == 0 then return nil end
  return failed(result, "read", self.path)
end

--- Reads what one call of the kernel gives. Without arguments: the next bytes, in a buffer that is lent until the next
--- read or the close of the file. With a number: up to so many, in a buffer that is the caller's. With a buffer: into
--- [position, limit) of it, whose position moves behind the bytes, and it is the one that is returned. With an offset
--- the file's position has no part in it, and reads may be under way together.
---@param target? integer|moonring.Buffer
---@param offset? integer bytes; default: at the file's position, which moves on
---@return moonring.Buffer? buffer nil at the end of the file
---@return string? message
---@return string? code the errno's name
function File:read(target, offset)
  if target == nil then
    if offset ~= nil then target = M.CHUNK else return read_lent(self) end
  end
  if type(target) == "number" then return read_new(self, target, offset) end
  if not buffers.is(target) then
    errors.raise("argument", "file:read: a buffer or a number of bytes is needed, not a %s", type(target))
  end
  local result = read_once(self, "read", target, offset)
  if result > 0 then return target end
  if result == 0 then return nil end
  return failed(result, "read", self.path)
end

-- read while helpers hold what they have read ahead: an offset has no part in that.
local function read_with_rest(self, target, offset)
  if offset ~= nil then return self.read_more(self, target, offset) end
  if type(target) ~= "number" then return stream.read_rest(self, target) end
  check_count(target)
  return stream.take(self, target)
end

-- A for loop passes the last buffer along, which read would take for a target.
local function next_chunk(self)
  return self:read()
end

--- Iterates over the rest of the file: `for buffer in file:chunks() do`. Ends with the file, also when that fails.
function File:chunks()
  return next_chunk, self
end

stream.mix(File, { read = read_with_rest })

-- A last line without its LF is one in a file. What goes wrong is raised, because an iteration can't return it.
local function next_line(self, max)
  local line, message, code = self:read_line(max)
  if line then return line end
  if code == "EOF" then
    line, message, code = self:read_all(math.huge)
    if line then return line end
  end
  if code == "EMSGSIZE" then
    errors.raise(code, "file:lines: %s: a line is longer than %.0f bytes", self.path, max)
  elseif code then
    errors.raise(code, "%s", message)
  end
end

--- Iterates over the lines from the position on, without their ends (LF, or CR LF): `for line in file:lines() do`. A
--- failure of the system is raised.
---@param max? integer bytes of a line at the most, default 1 MiB
---@return fun(): string?
function File:lines(max)
  if max == nil then max = M.LINE_MAX else check_offset("file:lines", "max", max) end
  return function() return next_line(self, max) end
end

--- Fills the `length` bytes of each iovec, one after the other, as far as one call goes (readv).
---@param list moonring.Iovec[]
---@param offset? integer
---@return integer? count bytes; nil at the end of the file
---@return string? message
---@return string? code
function File:read_iovecs(list, offset)
  local descriptor = descriptor_of(self, "read_iovecs")
  core.check_list("read_iovecs", list)
  local handle = begin "file:read_iovecs"
  local at, sequential = offset_for(self, "read_iovecs", offset)
  local parts, count = core.name_parts(list, 1, 0)
  local slot = C.mr_call_read_iovecs(handle, descriptor, at, parts, count)
  local result = guarded(self, sequential, wait, slot, "file:read_iovecs", self.path)
  end_use(self, sequential, result)
  if result > 0 then return result end
  if result == 0 then return nil end
  return failed(result, "read", self.path)
end

return M
