-- moonring.buffer.lease: where leases come from, and the lists of them that scopes have. Internal.
--
-- A lease is a buffer that stands for one term of use of a record in C (runtime/buffer/pool.h, moonring.buffer.pool). Its
-- methods are loaded with the first one that is made: most starts make none.

local native = require "moonring.native"
local errors = require "moonring.errors"
local memory = require "moonring.memory"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi

local M = {
  CAPACITY_MAX = 2147483647,
}

local CAPACITY_MAX = M.CAPACITY_MAX
local ENOMEM = -12
local lease_out = ffi.new("mr_lease *[1]")

local function refuse(what, size, result)
  local _, message = errors.world(result, ("%s: %.0f bytes"):format(what, size))
  errors.raise(result == ENOMEM and "ENOMEM" or "argument", "%s", message)
end

--- A lease of a pool with new memory.
---@param pool ffi.cdata*
---@param what string the public function that asks
---@param size integer bytes
---@param alignment integer 0: none
---@return moonring.Buffer
function M.make(pool, what, size, alignment)
  core.check_length(what, size)
  if size > CAPACITY_MAX then
    errors.raise("argument", "%s: a buffer has at most 2^31 - 1 bytes, not %.0f", what, size)
  end
  local handle = memory.handle()
  local result = C.mr_pool_make(pool, handle, size, alignment, lease_out)
  if result == ENOMEM then result = memory.try_again(C.mr_pool_make, pool, handle, size, alignment, lease_out) end
  if result < 0 then refuse(what, size, result) end
  return lease_out[0]
end
local make = M.make

local scoped = ffi.gc(C.mr_pool_create(1, 0), C.mr_pool_destroy)

local function owned(capacity, alignment)
  if alignment == nil then return make(scoped, "allocate", capacity, 0) end
  core.check_length("allocate_aligned", alignment)
  if alignment > C.MR_ALIGNMENT_MAX or bit.band(alignment, alignment - 1) ~= 0 then
    errors.raise("argument", "allocate_aligned: the alignment is a power of two up to %d, not %.0f", C.MR_ALIGNMENT_MAX,
      alignment)
  end
  return make(scoped, "allocate_aligned", capacity, alignment)
end

--- A list of buffers that are released together, for a scope: C.mr_holder_release does so. What an owner forgets with it
--- is released by its finalizer.
---@return ffi.cdata* holder
function M.holder()
  local holder = C.mr_holder_create(scoped)
  if holder == nil then errors.raise("ENOMEM", "moonring.scope: no memory") end
  return ffi.gc(holder, C.mr_holder_destroy)
end

--- Whether a value is a lease, ended ones included.
function M.is_lease(value)
  return ffi.istype(core.lease_pointer, value)
end

local function hold_slowly(holder, capacity)
  local lease = owned(capacity)
  C.mr_holder_add(holder, lease)
  return lease
end

local function held(holder, capacity)
  core.check_length("allocate", capacity)
  local lease = C.mr_holder_allocate(holder, memory.handle(), capacity)
  if lease == nil then return hold_slowly(holder, capacity) end
  return lease
end

-- What makes leases is in its place when they have their methods.
local function load_methods()
  require "moonring.buffer"
  M.owned, M.held = owned, held
end

--- A native buffer for an owner that is sure to release it, as a scope is: a lease, which costs less than a buffer
--- with a finalizer. Its memory goes home with its release.
---@param capacity integer bytes
---@param alignment? integer a power of two
---@return moonring.Buffer
function M.owned(capacity, alignment)
  load_methods()
  return owned(capacity, alignment)
end

--- A native buffer as of owned, put on the holder's list.
---@param holder ffi.cdata*
---@param capacity integer bytes
---@return moonring.Buffer
function M.held(holder, capacity)
  load_methods()
  return held(holder, capacity)
end

return M
