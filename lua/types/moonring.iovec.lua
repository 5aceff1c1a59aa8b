---@meta moonring.iovec
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Iovec
---@field length integer bytes that hold data; set_length changes it
---@field capacity integer bytes of the slice
local Iovec = {}

--- Fills this empty iovec with fresh memory, as M.allocate does: the way to allocate on a hot path without a new
--- object.
---@return moonring.Iovec? self
function Iovec:allocate(length, alignment) end

--- A cursor over the same bytes, with a reference of its own.
---@return moonring.Buffer
function Iovec:buffer() end

--- Another reference to the same bytes.
---@return moonring.Iovec
function Iovec:clone() end

--- Another reference to `length` bytes from `offset` on.
---@return moonring.Iovec
function Iovec:clone_segment(offset, length) end

--- Drops the reference if there is one. What scopes call.
function Iovec:close() end

--- Ends a reservation: keeps its first `length` bytes (default: those set by set_length), gives the rest back.
---@param length? integer
---@return moonring.Iovec
function Iovec:commit(length) end

--- Hands the reference over to a new iovec; this one is empty afterwards, and any use of it raises.
---@return moonring.Iovec
function Iovec:move() end

--- The same, keeping only `length` bytes from `offset` on.
---@return moonring.Iovec
function Iovec:move_segment(offset, length) end

--- The address of byte 0. The way out of all checks, to FFI: valid until the iovec is released.
function Iovec:pointer() end

--- Drops the reference. Once for each iovec: a second time raises "closed".
function Iovec:release() end

--- Sets how many bytes hold data, up to the capacity. Returns the iovec.
---@return moonring.Iovec
function Iovec:set_length(length) end

--- counted slices of native memory, as C has them; runtime/memory/iovec.h has the model, docs/memory.md the
--- use.
--- 
--- An iovec object owns one reference. Release it, or give it to a scope (scope:own); what is forgotten is released by a
--- finalizer and counted as a leak. Misuse is raised ("closed" for what was released or moved, "argument", "busy");
--- memory that is not there is returned as nil, message, "ENOMEM".
local module = {}

--- An iovec of `length` contiguous bytes whose address is a multiple of `alignment`.
---@param length integer bytes; 0 gives an empty iovec
---@param alignment? integer a power of two
---@param shared? boolean counted atomically: may be handed to other threads
---@return moonring.Iovec? iovec
---@return string? message
---@return string? code
function module.allocate(length, alignment, shared) end

--- Up to `max` iovecs whose lengths add up to `length`: the rest of the chunk in use is taken first.
---@return moonring.Iovec[]? iovecs
---@return string? message
---@return string? code
function module.allocate_list(length, max, alignment) end

--- Whether a value is an iovec.
function module.is(value) end

--- An empty iovec, for iovec:allocate or for C to fill.
---@type any
module.new = nil

--- Releases a list of iovecs, the last first.
function module.release_list(list) end

--- Memory for up to `length` bytes whose final number is not known: fill it, then commit it.
---@return moonring.Iovec? iovec
---@return string? message
---@return string? code
function module.reserve(length, alignment) end

--- An iovec over a string, or over `length` bytes at the start of a cdata. Neither is copied: it is kept alive until
--- the last reference is gone. Those to a string are read-only.
---@param source string|ffi.cdata*
---@param length? integer bytes; of a string: all of it
---@return moonring.Iovec? iovec
---@return string? message
---@return string? code
function module.wrap(source, length) end

return module
