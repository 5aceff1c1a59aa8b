-- moonring.buffer: cursors over native memory.
--
-- A buffer has a position, a limit and a capacity; reading and writing move the position and stop at the limit. Every
-- access is checked; one that would leave [position, limit) raises "underflow" or "overflow" and changes nothing. A
-- released buffer has position = limit = capacity = 0, so the same check catches its use, and the slow path says
-- "closed".
--
-- Numbers are in network byte order; the names that end in _le are little-endian. The methods are spread over modules
-- by subject: numbers, search, text, arrays; chain, pool, struct and zlib are objects of their own.

local native = require "moonring.native"
local errors = require "moonring.errors"
local memory = require "moonring.memory"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local band, bor = bit.band, bit.bor
local ffi_string = ffi.string
local check_length, check_open = core.check_length, core.check_open
local readable, writable, operand = core.readable, core.writable, core.operand

local buffer_type, anchors = core.type, core.anchors
local OPEN, READONLY = tonumber(C.MR_BUFFER_OPEN), tonumber(C.MR_BUFFER_READONLY)
local ANCHORED, HEAP = tonumber(C.MR_BUFFER_ANCHORED), tonumber(C.MR_BUFFER_HEAP)
local CAPACITY_MAX = 2147483647
local SLAB_BYTES = C.MR_SLAB_BYTES -- a longer buffer is a mapping of its own
local HEAP_ALIGNMENT = 8 -- what the collector's memory has anyway

local M = {
  Buffer = core.Buffer, -- the methods, for moonring.trace
  -- Up to this many bytes, retain copies; above, it holds the memory itself.
  RETAIN_COPY_MAX = 2048,
}

local Buffer = core.Buffer
require "moonring.buffer.numbers"
require "moonring.buffer.search"
require "moonring.buffer.text"
require "moonring.buffer.arrays"

-- Making --------------------------------------------------------------------------------------------------------------

local function check_made(result, what)
  if result >= 0 then return end
  local _, message, code = errors.world(result, what)
  errors.raise(result == -22 and "argument" or code, "%s", message)
end

-- Makes *made a cursor over memory that belongs to the Lua object `anchor`.
local function show(anchor, address, capacity, flags)
  local made = buffer_type()
  anchors[made] = anchor
  made.data_ = address
  made.limit_, made.capacity_ = capacity, capacity
  made.flags_ = OPEN + ANCHORED + flags
  return made
end

-- What moonring.memory does for the bytes of slabs, for those of mappings: so much may be forgotten before it is
-- looked for.
local MAPPED_PRESSURE_BYTES = 67108864
local mapped, mapped_before = 0, 0

local function pay_mapped(capacity)
  mapped = mapped + capacity
  if mapped < MAPPED_PRESSURE_BYTES then return end
  mapped = 0
  if C.mr_buffer_mapped_bytes() > mapped_before + MAPPED_PRESSURE_BYTES / 2 then
    memory.collect()
    mapped_before = C.mr_buffer_mapped_bytes()
  end
end

local zones = {}

function zones.native(capacity, alignment)
  local made = buffer_type()
  local handle = memory.handle()
  local result = C.mr_buffer_allocate(handle, made, capacity, alignment)
  if result == -12 then -- what has been forgotten may be enough
    memory.collect()
    result = C.mr_buffer_allocate(handle, made, capacity, alignment)
  end
  if result < 0 then
    check_made(result, ("buffer.allocate: %d bytes, aligned to %d"):format(capacity, alignment))
  end
  if capacity > SLAB_BYTES then pay_mapped(capacity) else memory.pay() end
  return made
end

function zones.heap(capacity, alignment)
  local spare = alignment > HEAP_ALIGNMENT and alignment or 0
  local array = ffi.new("uint8_t[?]", capacity + spare) -- zeroed
  local address = ffi.cast("uint8_t *", array)
  if spare > 0 then
    local rest = tonumber(ffi.cast("uintptr_t", address) % alignment)
    if rest > 0 then address = address + (alignment - rest) end
  end
  return show(array, address, capacity, HEAP)
end

function zones.shared(capacity, alignment)
  if alignment > 4096 then
    errors.raise("argument", "buffer.allocate: shared memory is aligned to pages of 4096 bytes, not to %d", alignment)
  end
  pay_mapped(capacity)
  local made = buffer_type()
  check_made(C.mr_buffer_allocate_shared(made, capacity), ("buffer.allocate: %d shared bytes"):format(capacity))
  return made
end

local function check_capacity(what, capacity)
  check_length(what, capacity)
  if capacity > CAPACITY_MAX then
    errors.raise("argument", "%s: a buffer has at most 2^31 - 1 bytes, not %.0f", what, capacity)
  end
end

---@class moonring.AllocateOptions
---@field zone? "native"|"heap"|"shared" default "native"
---@field alignment? integer of the address of byte 0: a power of two

--- A buffer of `capacity` bytes: position 0, limit = capacity. Zone "native" (the default) is slab memory at a stable
--- address, not zeroed: release it, or let a scope do so (scope:allocate); what is forgotten is freed by the collector.
--- "heap" is zeroed memory of Lua's collector; releasing it is optional. "shared" is zeroed memory that another process
--- can map through b:descriptor().
---@param capacity integer bytes
---@param options? moonring.AllocateOptions
---@return moonring.Buffer
function M.allocate(capacity, options)
  check_capacity("buffer.allocate", capacity)
  if options == nil then return zones.native(capacity, 0) end
  if type(options) ~= "table" then
    errors.raise("argument", "buffer.allocate: the options are a table, not a %s", type(options))
  end
  local make = zones[options.zone or "native"]
  if not make then
    errors.raise("argument", 'buffer.allocate: the zone is "native", "heap" or "shared", not %s', tostring(options.zone))
  end
  local alignment = options.alignment or 0
  check_length("buffer.allocate", alignment)
  if alignment > C.MR_ALIGNMENT_MAX or band(alignment, alignment - 1) ~= 0 then
    errors.raise("argument", "buffer.allocate: the alignment is a power of two up to %d, not %.0f", C.MR_ALIGNMENT_MAX,
      alignment)
  end
  return make(capacity, alignment)
end

--- A buffer over what is there already. A string gives a read-only view that keeps the string; a cdata is shared:
--- writes are seen both ways, and the cdata is kept, though not what a pointer points at.
---@param source string|ffi.cdata*
---@param count? integer bytes; needed for a pointer
---@return moonring.Buffer
function M.wrap(source, count)
  if core.is(source) then
    errors.raise("argument", "buffer.wrap: this is a buffer already; slice gives another one over its bytes")
  end
  local address, length = operand("buffer.wrap", source, count)
  check_capacity("buffer.wrap", length)
  return show(source, ffi.cast("uint8_t *", address), length, type(source) == "string" and READONLY or 0)
end

--- Maps the memory of another process's shared buffer. The descriptor stays the caller's, who may close it afterwards.
---@param descriptor integer
---@param capacity integer bytes
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code
function M.open_shared(descriptor, capacity)
  check_length("buffer.open_shared", descriptor)
  check_capacity("buffer.open_shared", capacity)
  if descriptor > CAPACITY_MAX then errors.raise("argument", "buffer.open_shared: %.0f is no descriptor", descriptor) end
  local made = buffer_type()
  local result = C.mr_buffer_open_shared(made, descriptor, capacity)
  if result < 0 then
    return errors.world(result, ("buffer.open_shared: %d bytes of descriptor %d"):format(capacity, descriptor))
  end
  return made
end

--- Whether a value is a buffer.
---@return boolean
M.is = core.is

--- The structure of any buffer, pooled ones included, and the check that `count` bytes can be written to one. Internal.
M.of, M.check_writable = core.of, core.writable

--- A released buffer, to be filled by C. Internal.
M.new = buffer_type

-- The cursor ----------------------------------------------------------------------------------------------------------

--- Bytes between position and limit.
---@return integer
function Buffer:remaining()
  local left = self.limit_ - self.position_
  if left == 0 then check_open(self, "remaining") end
  return left
end

--- Sets the position. Returns the buffer.
---@param position integer from 0 to the limit
function Buffer:seek(position)
  check_length("seek", position)
  check_open(self, "seek")
  if position > self.limit_ then
    errors.raise("underflow", "seek: position %.0f is behind the limit %d", position, self.limit_)
  end
  self.position_ = position
  return self
end

--- Sets the limit, which must lie between position and capacity. Returns the buffer.
---@param limit integer
function Buffer:set_limit(limit)
  check_length("set_limit", limit)
  check_open(self, "set_limit")
  if limit > self.capacity_ or limit < self.position_ then
    errors.raise("argument", "set_limit: %.0f is not between the position %d and the capacity %d", limit, self.position_,
      self.capacity_)
  end
  self.limit_ = limit
  return self
end

--- After writing: what was written can be read. Limit = position, position = 0.
function Buffer:reset_for_read()
  check_open(self, "reset_for_read")
  self.limit_ = self.position_
  self.position_ = 0
  return self
end

--- Position 0, limit = capacity.
function Buffer:reset_for_write()
  check_open(self, "reset_for_write")
  self.position_ = 0
  self.limit_ = self.capacity_
  return self
end

--- Advances the position over `count` bytes (default: all that remain). Returns the buffer.
---@param count? integer
function Buffer:skip(count)
  local position, length = readable(self, "skip", count)
  self.position_ = position + length
  return self
end

-- Bytes in and out ----------------------------------------------------------------------------------------------------

--- Copies `count` bytes (default: all that remain) out as a string.
---@param count? integer
---@return string
function Buffer:read_string(count)
  local position, length = readable(self, "read_string", count)
  self.position_ = position + length
  local text = ffi_string(self.data_ + position, length)
  return text
end

--- `count` bytes from the absolute `offset` on as a string. The position stays.
---@param offset integer
---@param count integer
---@return string
function Buffer:get_string(offset, count)
  check_length("get_string", count)
  core.check_offset(self, "get_string", offset, count, "underflow")
  check_open(self, "get_string")
  local text = ffi_string(self.data_ + offset, count)
  return text
end

--- The remaining bytes as a string. The position stays.
---@return string
function Buffer:to_string()
  local position, length = readable(self, "to_string")
  local text = ffi_string(self.data_ + position, length)
  return text
end

-- A buffer over `length` bytes from the position on, which are there.
local function view(self, what, length)
  local made = buffer_type()
  local result = C.mr_buffer_slice_part(made, self, length)
  if result < 0 then
    check_open(self, what)
    check_made(result, what)
  end
  if band(self.flags_, ANCHORED) ~= 0 then anchors[made] = anchors[self] end
  return made
end

--- A buffer over `count` bytes from the position on (default: up to the limit): the same memory, which it keeps alive
--- by itself, and so writes are seen both ways. The position stays. The slice is the caller's to release.
---@param count? integer
---@return moonring.Buffer
function Buffer:slice(count)
  local _, length = readable(self, "slice", count)
  return view(self, "slice", length)
end

--- The same, and the position moves behind it.
---@param count? integer
---@return moonring.Buffer
function Buffer:read_buffer(count)
  local position, length = readable(self, "read_buffer", count)
  local made = view(self, "read_buffer", length)
  self.position_ = position + length
  return made
end

--- Writes a string, the remaining bytes of another buffer (whose position stays), or `count` bytes of a cdata.
--- All or nothing; source and target may overlap.
---@param source string|moonring.Buffer|ffi.cdata*
---@param count? integer bytes; default: all
function Buffer:write(source, count)
  local from, length = operand("write", source, count)
  local position = writable(self, "write", length)
  self.position_ = position + length
  C.mr_bytes_move(self.data_ + position, from, length)
  return self
end

--- Copies `count` bytes (default: all that remain) into a cdata of the caller's. The position moves behind them.
---@param target ffi.cdata* an array or structure, or a pointer with a count
---@param count? integer
function Buffer:read_into(target, count)
  if core.is(target) then errors.raise("argument", "read_into: a buffer takes bytes by write") end
  local to, length = core.foreign("read_into", target, count)
  local position = readable(self, "read_into", length)
  self.position_ = position + length
  C.mr_bytes_move(ffi.cast("uint8_t *", to), self.data_ + position, length)
  return self
end

--- The same as write at an absolute offset; the position stays.
---@param offset integer
---@param source string|moonring.Buffer|ffi.cdata*
---@param count? integer
function Buffer:set_bytes(offset, source, count)
  local from, length = operand("set_bytes", source, count)
  core.check_offset(self, "set_bytes", offset, length, "overflow")
  check_open(self, "set_bytes")
  core.check_writable(self, "set_bytes")
  C.mr_bytes_move(self.data_ + offset, from, length)
  return self
end

--- Makes room behind a rest that has not been read: it moves to the front, the position behind it, the limit to the
--- capacity.
function Buffer:compact()
  check_open(self, "compact")
  core.check_writable(self, "compact")
  local position = self.position_
  local left = self.limit_ - position
  self.position_, self.limit_ = left, self.capacity_
  C.mr_bytes_move(self.data_, self.data_ + position, left)
  return self
end

-- Copies and memory ---------------------------------------------------------------------------------------------------

local function copy_of(self, what, zone)
  local _, length = readable(self, what)
  local made = M.allocate(length, zone)
  return made:write(self):reset_for_read()
end

--- An independent, read-only copy of the remaining bytes in native memory, position 0. The source is unchanged.
---@return moonring.Buffer
function Buffer:to_native()
  local made = copy_of(self, "to_native")
  made.flags_ = bor(made.flags_, READONLY)
  return made
end

--- The same, to be written to.
---@return moonring.Buffer
function Buffer:to_mutable_native()
  return copy_of(self, "to_mutable_native")
end

local heap_zone = { zone = "heap" }

--- The remaining bytes in memory of Lua's collector: of a whole heap buffer the same memory, otherwise a copy.
---@return moonring.Buffer
function Buffer:to_heap()
  check_open(self, "to_heap")
  if band(self.flags_, HEAP) ~= 0 and self.position_ == 0 and self.limit_ == ffi.sizeof(anchors[self]) then
    return view(self, "to_heap", self.limit_)
  end
  return copy_of(self, "to_heap", heap_zone)
end

--- A buffer over the same remaining bytes that stays valid when this one moves on: for keeping what a connection's read
--- gave. A few bytes of a large receive buffer are copied out, so that they don't pin all of it.
---@return moonring.Buffer
function Buffer:retain()
  local _, length = readable(self, "retain")
  if length > M.RETAIN_COPY_MAX then return self:slice() end
  return copy_of(self, "retain")
end

--- The address of byte 0, not of the position. The way out of all checks, to FFI: valid until the buffer is released,
--- and nothing keeps the memory for it.
---@return ffi.cdata* address uint8_t *
function Buffer:pointer()
  check_open(self, "pointer")
  return self.data_
end

--- The descriptor of shared memory, to be handed to another process; it belongs to the memory. Raises "argument" for
--- other zones.
---@return integer
function Buffer:descriptor()
  check_open(self, "descriptor")
  local descriptor = C.mr_buffer_descriptor(self)
  if descriptor < 0 then
    errors.raise("argument", "descriptor: only a buffer of the zone \"shared\" has one, this is \"%s\"", self.zone)
  end
  return descriptor
end

--- Gives the memory back. Any later use raises "closed"; releasing again does nothing. Slices made of the buffer keep
--- theirs.
function Buffer:release()
  if band(self.flags_, ANCHORED) ~= 0 then anchors[self] = nil end
  C.mr_buffer_release(self)
end
Buffer.close = Buffer.release

-- The type ------------------------------------------------------------------------------------------------------------

local setters = { position = "seek", limit = "set_limit" }

local function zone_of(self)
  if band(self.flags_, HEAP) ~= 0 then return "heap" end
  if band(self.flags_, ANCHORED) ~= 0 then return "wrapped" end
  return C.mr_buffer_descriptor(self) >= 0 and "shared" or "native"
end

local function property(self, key)
  if key == "is_open" then return band(self.flags_, OPEN) ~= 0 end
  if key == "is_read_only" then return band(self.flags_, READONLY) ~= 0 end
  if key == "zone" then
    check_open(self, "zone")
    return zone_of(self)
  end
end

local metatable = {
  __index = function(self, key)
    local method = Buffer[key]
    if method then return method end
    if key == "position" then
      if self.limit_ == 0 then check_open(self, "position") end
      return self.position_
    end
    if key == "limit" then
      if self.limit_ == 0 then check_open(self, "limit") end
      return self.limit_
    end
    if key == "capacity" then
      if self.capacity_ == 0 then check_open(self, "capacity") end
      return self.capacity_
    end
    return property(self, key)
  end,
  __newindex = function(_, key)
    errors.raise("argument", "a buffer's %s can't be assigned%s", tostring(key),
      setters[key] and ("; use %s, reset_for_read or reset_for_write"):format(setters[key]) or "")
  end,
  __len = function(self)
    return Buffer.remaining(self)
  end,
  __tostring = function(self)
    if band(self.flags_, OPEN) == 0 then return "moonring.Buffer(released)" end
    return ("moonring.Buffer(position=%d limit=%d capacity=%d%s)"):format(self.position_, self.limit_, self.capacity_,
      band(self.flags_, READONLY) ~= 0 and " read-only" or "")
  end,
  __gc = C.mr_buffer_finalize,
}
ffi.metatype(buffer_type, metatable)

--- Bytes that come in pieces, as from a connection: see moonring.buffer.chain.
---@param options? moonring.ChainOptions
---@return moonring.Chain
function M.chain(options)
  return require("moonring.buffer.chain").new(options)
end

--- A pool of buffers: see moonring.buffer.pool.
---@param options moonring.PoolOptions
---@return moonring.Pool
M.pool = require("moonring.buffer.pool").new

--- A native buffer for an owner that is sure to release it, such as a scope. Internal.
M.owned = require("moonring.buffer.pool").owned

--- A reader and writer of records: see moonring.buffer.struct.
---@param fields table
---@return moonring.Struct
function M.struct(fields)
  return require("moonring.buffer.struct").compile(fields)
end

--- Streams that compress and decompress: see moonring.buffer.zlib.
---@param options? moonring.InflateOptions
---@return moonring.Inflater
function M.inflater(options)
  return require("moonring.buffer.zlib").inflater(options)
end

---@param options? moonring.DeflateOptions
---@return moonring.Deflater
function M.deflater(options)
  return require("moonring.buffer.zlib").deflater(options)
end

--- Decompresses or compresses a string or a buffer at once.
---@param source string|moonring.Buffer
---@param options? moonring.InflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function M.inflate(source, options)
  return require("moonring.buffer.zlib").inflate(source, options)
end

---@param source string|moonring.Buffer
---@param options? moonring.DeflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function M.deflate(source, options)
  return require("moonring.buffer.zlib").deflate(source, options)
end

--- Keeps UTF-8 sequences that are cut at the end of a piece: see moonring.buffer.text.
M.utf8_decoder = require("moonring.buffer.text").decoder

return M
