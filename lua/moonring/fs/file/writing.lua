-- moonring.fs.file.writing: what goes into a file.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffers = require "moonring.buffer.core"
local chains = require "moonring.buffer.chain"
local call = require "moonring.call"
local common = require "moonring.fs.common"
local core = require "moonring.fs.file.core"

local C, ffi = native.C, native.ffi
local band = bit.band
local begin, wait, check_offset, failed = call.begin, call.wait, errors.check_offset, common.failed
local File, of = core.File, buffers.of
local descriptor_of, offset_for, end_use, guarded = File.descriptor_of, core.offset_for, core.end_use, core.guarded
local chain_class = getmetatable(chains.new())
local ANCHORED, HEAP = tonumber(C.MR_BUFFER_ANCHORED), tonumber(C.MR_BUFFER_HEAP)

local EIO = -5

-- Strings up to this length are copied for a write; longer ones are kept alive instead.
local COPY_MAX = 16384
-- One call moves at most so many bytes: Linux's own limit is a page less than 2^31.
local CALL_MAX = 1073741824

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
    local rest = math.min(#text - done_bytes, CALL_MAX)
    if rest <= COPY_MAX then return C.mr_call_write_bytes(handle, descriptor, at, bytes + done_bytes, rest) end
    return core.start_anchored(C.mr_call_write_iovecs, handle, descriptor, at, text, bytes + done_bytes, rest,
      C.MR_IOVEC_READONLY)
  end)
  return write_result(self, #text, written, result)
end

local function start_write(handle, descriptor, offset, from)
  local flags = from.flags_
  if band(flags, ANCHORED) == 0 then return C.mr_call_write(handle, descriptor, offset, from) end
  local keeper = buffers.anchors[from]
  local address, length = from.data_ + from.position_, from.limit_ - from.position_
  if band(flags, HEAP) ~= 0 or type(keeper) == "string" then
    return core.start_anchored(C.mr_call_write_iovecs, handle, descriptor, offset, keeper, address, length,
      C.MR_IOVEC_READONLY)
  end
  return C.mr_call_write_bytes(handle, descriptor, offset, address, length)
end

local function write_buffer(self, source, offset)
  local handle = begin "file:write"
  local from = of(source, "file:write")
  buffers.check_open(from, "file:write")
  local length = from.limit_ - from.position_
  local written, result = write_all(self, "write", length, offset, function(at, done_bytes)
    local descriptor = descriptor_of(self, "write")
    from = of(source, "file:write")
    buffers.check_open(from, "file:write")
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
    local parts, count, segment = core.name_parts(list, first, done_bytes - before)
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
  core.check_list("write_iovecs", list)
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
  if buffers.is(data) then return write_buffer(self, data, offset) end
  if getmetatable(data) == chain_class then return write_chain(self, data, offset) end
  errors.raise("argument", "file:write: a string, a buffer or a chain is needed, not a %s", type(data))
end
