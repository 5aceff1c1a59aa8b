-- moonring.buffer: cursors over native memory.
--
-- A buffer has a position, a limit and a capacity; reading and writing move the position and stop at the limit. Every
-- access is checked; one that would leave [position, limit) raises "underflow" or "overflow" and changes nothing. A
-- released buffer has position = limit = capacity = 0, so the same check catches its use, and the slow path says
-- "closed".
--
-- Numbers are in network byte order; the names that end in _le are little-endian. The methods are spread over modules
-- by subject: bytes, numbers, search, text, encoding, utf8, arrays; chain, pool, struct and zlib are objects of their
-- own.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local make = require "moonring.buffer.make"
local leases = require "moonring.buffer.lease"

local C, ffi = native.C, native.ffi
local band = bit.band
local check_length, check_open = core.check_length, core.check_open

local OPEN, READONLY = tonumber(C.MR_BUFFER_OPEN), tonumber(C.MR_BUFFER_READONLY)
local ANCHORED, HEAP = tonumber(C.MR_BUFFER_ANCHORED), tonumber(C.MR_BUFFER_HEAP)

local M = {
  Buffer = core.Buffer, -- the methods, for moonring.trace
  allocate = make.allocate,
  wrap = make.wrap,
  open_shared = make.open_shared,
}

local Buffer = core.Buffer
require "moonring.buffer.bytes"
require "moonring.buffer.numbers"
require "moonring.buffer.search"
require "moonring.buffer.text"
require "moonring.buffer.encoding"
require "moonring.buffer.utf8"
require "moonring.buffer.arrays"

--- Whether a value is a buffer.
---@return boolean
M.is = core.is

--- The structure of any buffer, pooled ones included, and the check that `count` bytes can be written to one. Internal.
M.of, M.check_writable = core.of, core.writable

--- A released buffer, to be filled by C. Internal.
M.new = core.type

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
  local position, length = core.readable(self, "skip", count)
  self.position_ = position + length
  return self
end

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
ffi.metatype(core.type, metatable)

--- Bytes that come in pieces, as from a connection: see moonring.buffer.chain.
---@param options? moonring.ChainOptions
---@return moonring.Chain
function M.chain(options)
  return require("moonring.buffer.chain").new(options)
end

--- A pool of buffers: see moonring.buffer.pool.
---@param options moonring.BufferPoolOptions
---@return moonring.BufferPool
M.pool = require("moonring.buffer.pool").new

--- A native buffer for an owner that is sure to release it, such as a scope. Internal.
function M.owned(capacity, alignment)
  return leases.owned(capacity, alignment)
end

--- A reader and writer of records: see moonring.buffer.struct.
---@param fields table
---@return moonring.Struct
function M.struct(fields)
  return require("moonring.buffer.struct").compile(fields)
end

--- A stream that decompresses: see moonring.buffer.zlib.
---@param options? moonring.InflateOptions
---@return moonring.Inflater
function M.inflater(options)
  return require("moonring.buffer.zlib").inflater(options)
end

--- A stream that compresses.
---@param options? moonring.DeflateOptions
---@return moonring.Deflater
function M.deflater(options)
  return require("moonring.buffer.zlib").deflater(options)
end

--- Decompresses a string or a buffer at once.
---@param source string|moonring.Buffer
---@param options? moonring.InflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function M.inflate(source, options)
  return require("moonring.buffer.zlib").inflate(source, options)
end

--- Compresses a string or a buffer at once.
---@param source string|moonring.Buffer
---@param options? moonring.DeflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function M.deflate(source, options)
  return require("moonring.buffer.zlib").deflate(source, options)
end

--- Keeps UTF-8 sequences that are cut at the end of a piece: see moonring.buffer.utf8.
M.utf8_decoder = require("moonring.buffer.utf8").decoder

return M
