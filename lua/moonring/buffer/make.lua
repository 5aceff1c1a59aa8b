-- moonring.buffer.make: where buffers come from: the zones of memory, and what is there already. Internal; its functions
-- are fields of moonring.buffer.

local native = require "moonring.native"
local errors = require "moonring.errors"
local memory = require "moonring.memory"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local band = bit.band
local check_length, operand = core.check_length, core.operand

local buffer_type, anchors = core.type, core.anchors
local OPEN, READONLY = tonumber(C.MR_BUFFER_OPEN), tonumber(C.MR_BUFFER_READONLY)
local ANCHORED, HEAP = tonumber(C.MR_BUFFER_ANCHORED), tonumber(C.MR_BUFFER_HEAP)
local ENOMEM = -12
local CAPACITY_MAX = 2147483647
local SLAB_BYTES = C.MR_SLAB_BYTES -- a longer buffer is a mapping of its own
local HEAP_ALIGNMENT = 8 -- what the collector's memory has anyway

local M = {}

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
  if result == ENOMEM then result = memory.try_again(C.mr_buffer_allocate, handle, made, capacity, alignment) end
  if result < 0 then
    core.check_made(result, ("buffer.allocate: %d bytes, aligned to %d"):format(capacity, alignment))
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
  core.check_made(C.mr_buffer_allocate_shared(made, capacity), ("buffer.allocate: %d shared bytes"):format(capacity))
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
--- ```lua
--- local buffer = require "moonring.buffer"
---
--- local message = buffer.allocate(64)
--- message:write_u16(5):write "moon!"
--- message:reset_for_read()
--- assert(message:read_string(message:read_u16()) == "moon!")
--- message:release()
--- ```
---@param capacity integer bytes
---@param options? moonring.AllocateOptions
---@return moonring.Buffer
function M.allocate(capacity, options)
  check_capacity("buffer.allocate", capacity)
  if options == nil then return zones.native(capacity, 0) end
  errors.options("buffer.allocate", options)
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

return M
