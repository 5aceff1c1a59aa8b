-- moonring.fs.file: an open file.
--
-- A read or write with an offset is one of its own: many may be under way, and none moves anything. Without an offset
-- they go on at the file's position, which is kept here and not in the kernel; one task at a time may do that. Pipes,
-- terminals and other files without offsets are read and written in the order in which that was asked for.
--
-- Native memory is handed to the kernel as it is, heap buffers and long strings, too, which are kept meanwhile. Short
-- strings are copied to native memory, and so is what goes to and from wrapped memory of the caller's, because nobody
-- knows how long that lives.
--
-- Files have the reading helpers of moonring.stream, which read ahead. Whoever else uses the position, by a write or a
-- list of iovecs, begins behind what they have given: what they hold goes back to the file, where it has offsets.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local memory = require "moonring.memory"
local buffer = require "moonring.buffer"
local core = require "moonring.buffer.core"
local chains = require "moonring.buffer.chain"
local iovec = require "moonring.iovec"
local call = require "moonring.call"
local common = require "moonring.fs.common"
local scheduler = require "moonring.scheduler"
local stream = require "moonring.stream"

local C, ffi = native.C, native.ffi
local band = bit.band
local begin, wait, check_offset, failed = call.begin, call.wait, common.check_offset, common.failed
local of = core.of
local chain_class = getmetatable(chains.new())
local ANCHORED, HEAP = tonumber(C.MR_BUFFER_ANCHORED), tonumber(C.MR_BUFFER_HEAP)
local PARTS_MAX = tonumber(C.MR_CALL_PARTS_MAX)

local EIO, EOPNOTSUPP = -5, -95

local M = {
  -- Bytes that read takes at once when nobody says how many.
  CHUNK = 65536,
  -- Bytes of a line at the most, unless lines is told otherwise.
  LINE_MAX = 1048576,
  -- Strings up to this length are copied for a write; longer ones are kept alive instead.
  COPY_MAX = 16384,
  -- One call moves at most so many bytes: Linux's own limit is a page less than 2^31.
  CALL_MAX = 1073741824,
}

---@class moonring.File
---@field path string what it was opened by
---@field descriptor integer|false false once it has been closed
---@field position integer where reads and writes without an offset go on; ahead of what reading helpers have given
---@field has_offsets boolean false for pipes, terminals and the like
local File = { __name = "moonring.File" }
File.__index = File
M.File = File
for name, method in pairs(require "moonring.fs.file_calls") do
  File[name] = method
end

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

-- The offset for a call, and whether it is the file's position that is meant.
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

-- Ends the use of the position, and moves it on.
local function end_use(self, sequential, count)
  if not sequential then return end
  self.user = false
  if count > 0 then self.position = self.position + count end
end

-- Calls fn(...), which starts a call and waits for it. When that raises, the position is free again, and where it was.
local function guarded(self, sequential, fn, ...)
  if not sequential then return fn(...) end
  local ok, result, more = pcall(fn, ...)
  if ok then return result, more end
  self.user = false
  error(result, 0)
end

local scratch = ffi.typeof "const mr_iovec *[1]"

-- A call on the bytes of a heap buffer, or of a string: both live as long as the call's own reference does.
local function start_anchored(start, handle, descriptor, offset, keeper, address, length, flags)
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

-- Reading -------------------------------------------------------------------------------------------------------------

-- Starts a read into [position, limit) of *to. Returns the slot, and the buffer that the bytes have to be copied from.
local function start_read(handle, descriptor, offset, to)
  local flags = to.flags_
  if band(flags, ANCHORED) == 0 then return C.mr_call_read(handle, descriptor, offset, to) end
  if band(flags, HEAP) ~= 0 then
    return start_anchored(C.mr_call_read_iovecs, handle, descriptor, offset, core.anchors[to], to.data_ + to.position_,
      to.limit_ - to.position_, 0)
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
  if to.limit_ - to.position_ < 1 then core.writable(to, "file:read", 1) end
  core.check_writable(to, "file:read")
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
    core.writable(to, "file:read", result)
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
  if not core.is(target) then
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

-- Lists of iovecs -----------------------------------------------------------------------------------------------------

local pointers = ffi.typeof "const mr_iovec *[?]"

local function check_list(what, list)
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

-- The iovecs from list[first] on, without the first `skip` bytes of it, as many as one call takes. The second result is
-- a segment that is to be released.
local function name_parts(list, first, skip)
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

--- Fills the `length` bytes of each iovec, one after the other, as far as one call goes (readv).
---@param list moonring.Iovec[]
---@param offset? integer
---@return integer? count bytes; nil at the end of the file
---@return string? message
---@return string? code
function File:read_iovecs(list, offset)
  local descriptor = descriptor_of(self, "read_iovecs")
  check_list("read_iovecs", list)
  local handle = begin "file:read_iovecs"
  local at, sequential = offset_for(self, "read_iovecs", offset)
  local parts, count = name_parts(list, 1, 0)
  local slot = C.mr_call_read_iovecs(handle, descriptor, at, parts, count)
  local result = guarded(self, sequential, wait, slot, "file:read_iovecs", self.path)
  end_use(self, sequential, result)
  if result > 0 then return result end
  if result == 0 then return nil end
  return failed(result, "read", self.path)
end

-- Writing -------------------------------------------------------------------------------------------------------------

local function write_by_call(self, start, at, written)
  return wait(start(at < 0 and at or at + written, written), "file:write", self.path)
end

-- Calls start(offset, written) until `length` bytes are written: the kernel may take fewer at a time, as before a disk is
-- full. Returns the bytes written, and the errno of what stopped it.
local function write_all(self, what, length, offset, start)
  local at, sequential = offset_for(self, what, offset)
  local written, result = 0, 0
  while written < length do
    result = guarded(self, sequential, write_by_call, self, start, at, written)
    if result == 0 then result = EIO end -- which no file gives that is sound
    if result < 0 then break end
    written = written + result
  end
  end_use(self, sequential, written)
  return written, result
end

local function write_result(self, length, written, result)
  if written == length then return true end
  local _, message, code = failed(result, "write", self.path)
  return nil, message, code, written
end

local function write_string(self, text, offset)
  local handle = begin "file:write"
  local bytes = ffi.cast("const uint8_t *", text)
  local written, result = write_all(self, "write", #text, offset, function(at, done_bytes)
    local descriptor = descriptor_of(self, "write")
    local rest = math.min(#text - done_bytes, M.CALL_MAX)
    if rest <= M.COPY_MAX then return C.mr_call_write_bytes(handle, descriptor, at, bytes + done_bytes, rest) end
    return start_anchored(C.mr_call_write_iovecs, handle, descriptor, at, text, bytes + done_bytes, rest,
      C.MR_IOVEC_READONLY)
  end)
  return write_result(self, #text, written, result)
end

local function start_write(handle, descriptor, offset, from)
  local flags = from.flags_
  if band(flags, ANCHORED) == 0 then return C.mr_call_write(handle, descriptor, offset, from) end
  local keeper = core.anchors[from]
  local address, length = from.data_ + from.position_, from.limit_ - from.position_
  if band(flags, HEAP) ~= 0 or type(keeper) == "string" then
    return start_anchored(C.mr_call_write_iovecs, handle, descriptor, offset, keeper, address, length, C.MR_IOVEC_READONLY)
  end
  return C.mr_call_write_bytes(handle, descriptor, offset, address, length)
end

local function write_buffer(self, source, offset)
  local handle = begin "file:write"
  local from = of(source, "file:write")
  core.check_open(from, "file:write")
  local length = from.limit_ - from.position_
  local written, result = write_all(self, "write", length, offset, function(at, done_bytes)
    local descriptor = descriptor_of(self, "write")
    from = of(source, "file:write")
    core.check_open(from, "file:write")
    if done_bytes == 0 then return start_write(handle, descriptor, at, from) end
    local rest = from:slice()
    rest:skip(done_bytes)
    local slot = start_write(handle, descriptor, at, rest)
    rest:release()
    return slot
  end)
  from = of(source, "file:write")
  if from.limit_ - from.position_ >= written then from.position_ = from.position_ + written end
  return write_result(self, length, written, result)
end

local function write_parts(self, list, offset)
  local handle = begin "file:write"
  local length = 0
  for i = 1, #list do
    length = length + list[i].length
  end
  local first, before = 1, 0 -- the iovec to go on with, and the bytes of those before it
  local written, result = write_all(self, "write", length, offset, function(at, done_bytes)
    local descriptor = descriptor_of(self, "write")
    while done_bytes - before >= list[first].length do
      before = before + list[first].length
      first = first + 1
    end
    local parts, count, segment = name_parts(list, first, done_bytes - before)
    local slot = C.mr_call_write_iovecs(handle, descriptor, at, parts, count)
    if segment then segment:release() end
    return slot
  end)
  return write_result(self, length, written, result)
end

--- Writes the `length` bytes of each iovec, one after the other (writev), as write does.
---@param list moonring.Iovec[]
---@param offset? integer
---@return true? ok
---@return string? message
---@return string? code
---@return integer? written
function File:write_iovecs(list, offset)
  descriptor_of(self, "write_iovecs")
  check_list("write_iovecs", list)
  if offset ~= nil then check_offset("file:write_iovecs", "an offset", offset) end
  return write_parts(self, list, offset)
end

-- The chain's slices as they are; what has been written leaves it.
local function write_chain(self, chain, offset)
  local list = chain:iovecs()
  local ok, result, message, code, written = pcall(write_parts, self, list, offset)
  local length = 0
  for i = 1, #list do
    length = length + list[i].length
    list[i]:release()
  end
  if not ok then error(result, 0) end
  chain:skip(written or length)
  return result, message, code, written
end

--- Writes a string, the remaining bytes of a buffer (whose position moves behind what was written), or a chain (which
--- what was written leaves): all of it, in as many calls as it takes. A buffer must not be changed before write returns.
--- When that fails, or the wait is cancelled, a part may have been written; for a failure the fourth result says how
--- many bytes.
---@param data string|moonring.Buffer|moonring.Chain
---@param offset? integer bytes; default: at the file's position, which moves on; without meaning when it appends
---@return true? ok
---@return string? message
---@return string? code
---@return integer? written
function File:write(data, offset)
  descriptor_of(self, "write")
  if type(data) == "string" then return write_string(self, data, offset) end
  if core.is(data) then return write_buffer(self, data, offset) end
  if getmetatable(data) == chain_class then return write_chain(self, data, offset) end
  errors.raise("argument", "file:write: a string, a buffer or a chain is needed, not a %s", type(data))
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

return M
