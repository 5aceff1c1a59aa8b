-- moonring.buffer.chain: a queue of slices, read as if it were one run of bytes.
--
-- What a stream delivers is appended without copying and read from the front. Whatever lies within one slice is read
-- where it is; what crosses a boundary is gathered first. What the chain gives out (strings, buffers, iovecs) holds its
-- own memory.
--
-- read_* raises "underflow" when too few bytes are there, try_read_* returns nil for that; both leave the chain as it
-- was. Searching remembers how far it has looked, so a line that trickles in is looked at once.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer_core = require "moonring.buffer.core"
local buffer = require "moonring.buffer"
local core = require "moonring.buffer.chain.core"
require "moonring.buffer.chain.numbers"
require "moonring.buffer.chain.search"

local C, ffi = native.C, native.ffi
local band = bit.band
local anchors = buffer_core.anchors
local raise, check_length = errors.raise, buffer_core.check_length
local Chain, check_open, refuse, left_of = core.Chain, core.check_open, core.refuse, core.left_of
local consume, gather, copy_string = core.consume, core.gather, core.copy_string

local ANCHORED = tonumber(C.MR_BUFFER_ANCHORED)

local M = { Chain = Chain }

local COMPACT_BYTES = 1024 -- fewer than this don't hold a receive buffer of 64 KiB

---@class moonring.ChainOptions
---@field max_bytes? integer that append lets the chain hold; default no bound
---@field high? integer bytes at which is_full becomes true; default max_bytes
---@field low? integer bytes at which it becomes false again; default half of high

local function check_mark(name, value)
  if type(value) ~= "number" or value ~= value or value < 0 then
    raise("argument", "buffer.chain: %s is a number of bytes, not %s", name, tostring(value))
  end
end

--- Makes an empty chain.
---@param options? moonring.ChainOptions
---@return moonring.Chain
function M.new(options)
  options = errors.options("buffer.chain", options)
  local max_bytes = options.max_bytes or math.huge
  local high = options.high or max_bytes
  local low = options.low or type(high) == "number" and high / 2 or 0
  check_mark("max_bytes", max_bytes)
  check_mark("high", high)
  check_mark("low", low)
  if low > high or high > max_bytes then
    raise("argument", "buffer.chain: low, high and max_bytes must not decrease: %.0f, %.0f, %.0f", low, high, max_bytes)
  end
  return setmetatable({
    first = 1,
    last = 0,
    head = false,
    bytes = 0,
    max_bytes = max_bytes,
    high = high,
    low = low,
    full = false,
    closed = false,
    searched_for = false, -- the delimiter that the next three are about
    searched = 0, -- it does not begin before this offset
    search_index = 1, -- the slice that this offset lies in, or behind the last
    search_base = 0, -- the offset of this slice's first byte
  }, Chain)
end

-- Makes the chain the holder of what `source` holds; source is closed.
local function take_over(source)
  local taken = buffer.new()
  if ffi.istype(buffer_core.lease_pointer, source) then
    C.mr_buffer_move(taken, buffer_core.resolve(source, "chain:append"))
    source:release() -- the pool goes on without the memory
    return taken
  end
  if band(source.flags_, ANCHORED) ~= 0 then
    anchors[taken] = anchors[source]
    anchors[source] = nil
  end
  C.mr_buffer_move(taken, source)
  return taken
end

--- Puts the remaining bytes of a buffer, or a string, at the end. The chain takes the buffer over: it is closed for its
--- old owner. An empty one is released. Raises "overflow" when the chain would hold more than max_bytes; then nothing
--- is taken.
---@param source moonring.Buffer|string
---@return moonring.Chain self
function Chain:append(source)
  check_open(self, "append")
  local _, length = buffer_core.operand("chain:append", source)
  if not buffer_core.is(source) and type(source) ~= "string" then
    raise("argument", "chain:append: a buffer or a string is needed, not a cdata")
  end
  if self.bytes + length > self.max_bytes then
    raise("overflow", "chain:append: %d bytes more than the %.0f that are there would pass max_bytes, %.0f", length,
      self.bytes, self.max_bytes)
  end
  if length == 0 then
    if type(source) ~= "string" then source:release() end
    return self
  end
  local slice = type(source) == "string" and buffer.wrap(source) or take_over(source)
  local last = self.last + 1
  self.last = last
  self[last] = slice
  if not self.head then self.head = slice end
  self.bytes = self.bytes + length
  if self.bytes >= self.high then self.full = true end
  return self
end

--- Bytes that can be read.
---@return integer
function Chain:available()
  check_open(self, "available")
  return self.bytes
end

--- Whether its owner should stop feeding it: true from `high` bytes on, until it has come down to `low`.
---@return boolean
function Chain:is_full()
  check_open(self, "is_full")
  return self.full
end

-- Checks a length; whether so many bytes are there. More than the chain may ever hold is no "not yet".
local function has(self, what, count)
  check_length("chain:" .. what, count)
  if count <= self.bytes and not self.closed then return true end
  check_open(self, what)
  if count > self.max_bytes then
    raise("argument", "chain:%s: %.0f bytes can never be there, max_bytes is %.0f", what, count, self.max_bytes)
  end
  return false
end

-- Strings and buffers -------------------------------------------------------------------------------------------------

local function take_string(self, count)
  local out = copy_string(self, 0, count)
  consume(self, count)
  return out
end

local function take_buffer(self, count)
  local head = self.head
  local made
  if count == 0 then
    made = buffer.allocate(0)
  elseif left_of(head) >= count then
    made = head:slice(count)
  else
    made = buffer.allocate(count)
    gather(self, made.data_, 0, count)
  end
  consume(self, count)
  return made
end

local function take_nothing(self, count)
  consume(self, count)
  return self
end

-- read_string(count) and read_buffer(count) take so many bytes off the front as a string or as a buffer of the
-- caller's: of one slice a view, of several a gathered copy. skip(count) drops them. The try_ forms return nil when
-- they are not all there.
for name, take in pairs { read_string = take_string, read_buffer = take_buffer, skip = take_nothing } do
  Chain[name] = function(self, count)
    if not has(self, name, count) then refuse(self, name, count) end
    local value = take(self, count)
    return value
  end

  local try_name = "try_" .. name
  Chain[try_name] = function(self, count)
    if not has(self, try_name, count) then return nil end
    local value = take(self, count)
    return value
  end
end

--- `count` bytes as a string, from `offset` (default 0) on. They stay.
---@param count integer
---@param offset? integer
---@return string
function Chain:peek_string(count, offset)
  check_length("chain:peek_string", count)
  if offset == nil then offset = 0 else check_length("chain:peek_string", offset) end
  if offset + count > self.bytes then refuse(self, "peek_string", offset + count) end
  check_open(self, "peek_string")
  local out = copy_string(self, offset, count)
  return out
end

--- All bytes as a string. They stay.
---@return string
function Chain:to_string()
  check_open(self, "to_string")
  local out = copy_string(self, 0, self.bytes)
  return out
end

-- Out of the chain ----------------------------------------------------------------------------------------------------

--- The slices as iovecs of the caller's, for a gathering send. The bytes stay in the chain.
---@return moonring.Iovec[]
function Chain:iovecs()
  check_open(self, "iovecs")
  require "moonring.iovec"
  local out = {}
  for i = self.first, self.last do
    local slice, copied = self[i], nil
    if slice.memory_.reference == nil then -- not slab memory: the kernel gets a copy that is
      copied = slice:to_mutable_native()
      slice = copied
    end
    local made = ffi.new("mr_iovec")
    local result = -22
    if slice.memory_.reference ~= nil then
      result = C.mr_iovec_clone_segment(made, slice.memory_, slice.position_, left_of(slice))
    end
    if copied then copied:release() end
    if result < 0 then
      local _, message, code = errors.world(result, "chain:iovecs")
      raise(code, "%s", message)
    end
    out[#out + 1] = made
  end
  return out
end

--- Makes the first `count` bytes, which are there, one run, and returns the buffer that begins with them. Internal.
function Chain:pull(count)
  local head = self.head
  if left_of(head) >= count then return head end
  local joined, full = buffer.allocate(count), self.full
  gather(self, joined.data_, 0, count)
  consume(self, count)
  self.full = full
  self.first = self.first - 1
  if not self.head then self.first, self.last = 1, 1 end
  self[self.first], self.head = joined, joined
  self.bytes = self.bytes + count
  self.searched, self.search_index, self.search_base = 0, self.first, 0
  return joined
end
Chain.consume = consume

--- Before a wait for more: puts a small content into a block of its own, so that it does not hold the buffers that it came
--- in. Internal.
function Chain:compact()
  local count = self.bytes
  if count == 0 or count > COMPACT_BYTES then return end
  local block = buffer.allocate(count)
  gather(self, block.data_, 0, count)
  for i = self.first, self.last do
    self[i]:release()
    self[i] = nil
  end
  C.mr_trace_assign(block.memory_, 0) -- the chain's, which may outlive the scope that reads just now
  self.first, self.last, self[1], self.head = 1, 1, block, block
  self.search_index, self.search_base = 1, 0
end

--- Lets go of everything. What the chain has given out stays. Closing again does nothing.
function Chain:close()
  if self.closed then return end
  for i = self.first, self.last do
    self[i]:release()
    self[i] = nil
  end
  self.first, self.last, self.head, self.bytes, self.closed = 1, 0, false, 0, true
end
Chain.release = Chain.close

function Chain:__tostring()
  if self.closed then return "moonring.Chain(closed)" end
  return ("moonring.Chain(%d bytes in %d slices)"):format(self.bytes, self.last - self.first + 1)
end

return M
