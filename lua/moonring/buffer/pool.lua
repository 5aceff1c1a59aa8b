-- moonring.buffer.pool: buffers that are used again.
--
-- acquire gives a lease: it has every method and property of a buffer, and stands for one term of use of a record in
-- C (see runtime/buffer/pool.h). A lease that has been released never becomes valid again, whoever has the record now. It is
-- a value of a machine word that compiled code keeps in a register, so acquiring allocates nothing there; and so it
-- has no finalizer: a lease that is neither released nor owned by a scope keeps its memory until the process ends.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local leases = require "moonring.buffer.lease"

local C, ffi = native.C, native.ffi
local resolve, Buffer = core.resolve, core.Buffer
local make, CAPACITY_MAX = leases.make, leases.CAPACITY_MAX

local M = {}

-- Leases --------------------------------------------------------------------------------------------------------------

local Lease = {}

-- Methods that return the buffer, and must return the lease instead: the structure behind it outlives this term.
local chaining = { seek = true, skip = true, compact = true, fill = true, xor_mask = true, write = true, read_into = true,
  reset_for_read = true, reset_for_write = true, set_limit = true }

local PLAIN = [==[
local method, resolve = ...
return function(self, a, b, c, d) return method(resolve(self, "NAME"), a, b, c, d) end
]==]
local CHAINING = [==[
local method, resolve = ...
return function(self, a, b, c, d)
  local ok, message, code = method(resolve(self, "NAME"), a, b, c, d)
  if not ok then return nil, message, code end
  return self
end
]==]

-- Every method is a piece of Lua of its own, for the compiler, and made when it is first called for: a service uses a few of
-- more than a hundred. Their places are there from the start, because compiled code doesn't survive that this table grows.
for name in pairs(Buffer) do
  Lease[name] = false
end

local function make_method(name)
  local template = (chaining[name] or name:find("^write_") or name:find("^set_")) and CHAINING or PLAIN
  local method = assert(loadstring((template:gsub("NAME", name)), "=moonring.buffer.pool"))(Buffer[name], resolve)
  Lease[name] = method
  return method
end

--- Ends the lease: the memory goes back to the pool. Releasing again does nothing, also when the memory has a new
--- owner.
function Lease:release()
  C.mr_lease_release(self)
end
Lease.close = Lease.release

local function is_live(lease)
  local ok, buffer = pcall(resolve, lease, "lease")
  return ok and buffer.is_open
end

ffi.metatype("mr_lease", {
  __index = function(self, key)
    local method = Lease[key]
    if method then return method end
    if key == "is_open" then return is_live(self) end
    if Buffer[key] then return make_method(key) end
    return resolve(self, tostring(key))[key]
  end,
  __newindex = function(self, key, value)
    resolve(self, tostring(key))[key] = value -- a field of the structure, or the buffer raises
  end,
  __len = function(self)
    return Buffer.remaining(resolve(self, "remaining"))
  end,
  __tostring = function(self)
    if not is_live(self) then return "moonring.Buffer(back in its pool)" end
    return (tostring(resolve(self, "tostring")):gsub("%)$", " pooled)"))
  end,
})

-- Pools ---------------------------------------------------------------------------------------------------------------

---@class moonring.BufferPool
---@field size integer bytes of a buffer that is acquired without a size
local Pool = { __name = "moonring.BufferPool" }
Pool.__index = Pool

---@class moonring.BufferPoolOptions
---@field size integer bytes of its buffers
---@field max_bytes? integer of idle memory that it keeps; default 64 buffers of its size

local IDLE_DEFAULT = 64

--- Makes a pool. What is acquired is not bounded by it; of what is released it keeps up to max_bytes.
---@param options moonring.BufferPoolOptions
---@return moonring.BufferPool
function M.new(options)
  if type(options) ~= "table" then errors.raise("argument", "buffer.pool: options are needed, not %s", tostring(options)) end
  local size, max_bytes = options.size, options.max_bytes
  core.check_length("buffer.pool", size)
  if size < 1 or size > CAPACITY_MAX then
    errors.raise("argument", "buffer.pool: the size is from 1 to 2^31 - 1 bytes, not %.0f", size)
  end
  if max_bytes == nil then max_bytes = size * IDLE_DEFAULT end
  if type(max_bytes) ~= "number" or max_bytes ~= max_bytes or max_bytes < 0 then
    errors.raise("argument", "buffer.pool: max_bytes is a number from 0 on, not %s", tostring(max_bytes))
  end
  local handle = C.mr_pool_create(size, max_bytes)
  if handle == nil then errors.raise("ENOMEM", "buffer.pool: no memory") end
  return setmetatable({ handle = ffi.gc(handle, C.mr_pool_destroy), size = size }, Pool)
end

--- A buffer of `size` bytes (default: the pool's), position 0, limit = capacity. What is in it is left from earlier
--- use. Release it through itself, or give it to a scope.
---@param size? integer
---@return moonring.Buffer
function Pool:acquire(size)
  local handle = self.handle
  if not handle then errors.raise("closed", "pool:acquire: the pool has been closed") end
  if size == nil then
    size = self.size
  elseif type(size) ~= "number" or not (size >= 0 and size <= CAPACITY_MAX) or size % 1 ~= 0 then
    return make(handle, "pool:acquire", size, 0)
  end
  local lease = C.mr_pool_take(handle, size)
  if lease == nil then return make(handle, "pool:acquire", size, 0) end
  return lease
end

--- Counters: acquired, reused and released since the start; in_use, idle_count and idle_bytes now.
---@return table<string, number>
function Pool:statistics()
  if not self.handle then errors.raise("closed", "pool:statistics: the pool has been closed") end
  local counters = ffi.new("mr_pool_statistics")
  C.mr_pool_statistics_get(self.handle, counters)
  local out = {}
  for _, name in ipairs { "acquired", "reused", "released", "in_use", "idle_count", "idle_bytes" } do
    out[name] = counters[name]
  end
  return out
end

--- Frees what is idle. Buffers in use stay good; releasing them frees them. Closing again does nothing.
function Pool:close()
  local handle = self.handle
  if not handle then return end
  self.handle = false
  C.mr_pool_destroy(ffi.gc(handle, nil))
end

function Pool:__tostring()
  if not self.handle then return "moonring.BufferPool(closed)" end
  return ("moonring.BufferPool(size=%d in_use=%d)"):format(self.size, self:statistics().in_use)
end

return M
