-- moonring.buffer.chain: a queue of slices, read as if it were one run of bytes.
--
-- What a stream delivers is appended without copying and read from the front. Whatever lies within one slice is read
-- where it is; what crosses a boundary is gathered first. What the chain gives out (strings, buffers, iovecs) holds its
-- own memory.
--
-- read_* raises "underflow" when too few bytes are there, try_read_* returns nil for that; both leave the chain as it
-- was. Searching remembers how far it has looked, so a line that trickles in is looked at once.
--
-- Invariant: head is the first slice and has bytes left, or is false when the chain is empty; bytes is the sum of what
-- is left.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local numbers = require "moonring.buffer.numbers"
local buffer = require "moonring.buffer"

local C, ffi = native.C, native.ffi
local band, ffi_string = bit.band, ffi.string
local anchors = core.anchors
local check_length = core.check_length
local raise = errors.raise

local CR = 13
local ANCHORED = tonumber(C.MR_BUFFER_ANCHORED)

---@class moonring.Chain
local Chain = { __name = "moonring.Chain" }
Chain.__index = Chain

local M = { Chain = Chain }

local COMPACT_BYTES = 1024 -- fewer than this don't hold a receive buffer of 64 KiB

---@class moonring.ChainOptions
---@field max_bytes? integer that append lets the chain hold; default no bound
---@field high? integer bytes at which is_full becomes true; default max_bytes
---@field low? integer bytes at which it becomes false again; default half of high

--- Makes an empty chain.
---@param options? moonring.ChainOptions
---@return moonring.Chain
function M.new(options)
  options = core.options("buffer.chain", options)
  local max_bytes = options.max_bytes or math.huge
  local high = options.high or max_bytes
  local low = options.low or type(high) == "number" and high / 2 or 0
  for name, value in pairs { max_bytes = max_bytes, high = high, low = low } do
    if type(value) ~= "number" or value ~= value or value < 0 then
      raise("argument", "buffer.chain: %s is a number of bytes, not %s", name, tostring(value))
    end
  end
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

local function check_open(self, what)
  if self.closed then raise("closed", "chain:%s: the chain has been closed", what) end
end

local function refuse(self, what, wanted)
  check_open(self, what)
  raise("underflow", "chain:%s: %.0f bytes are needed, %.0f are there", what, wanted, self.bytes)
end

local function left_of(slice)
  return slice.limit_ - slice.position_
end

-- Appending and dropping ----------------------------------------------------------------------------------------------

-- Makes the chain the holder of what `source` holds; source is closed.
local function take_over(source)
  local taken = buffer.new()
  if ffi.istype(core.lease_pointer, source) then
    C.mr_buffer_move(taken, core.resolve(source, "chain:append"))
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
  local _, length = core.operand("chain:append", source)
  if not core.is(source) and type(source) ~= "string" then
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

-- Lets go of the first slice and makes the next one the head.
local function drop_head(self)
  local first = self.first
  self[first]:release()
  self[first] = nil
  first = first + 1
  if first > self.last then
    self.first, self.last, self.head = 1, 0, false
  else
    self.first, self.head = first, self[first]
  end
end

-- The search's memory after `count` bytes have left the front.
local function forget_search(self, count)
  if self.searched > count and self.head then
    self.searched = self.searched - count
    self.search_base = self.search_base - count
    if self.search_index <= self.first or self.search_base < 0 then
      self.search_index, self.search_base = self.first, 0
    end
  else
    self.searched, self.search_index, self.search_base = 0, self.first, 0
  end
end

-- Takes `count` bytes, which are there, off the front.
local function consume(self, count)
  self.bytes = self.bytes - count
  local rest = count
  while rest > 0 do
    local head = self.head
    local left = head.limit_ - head.position_
    if rest < left then
      head.position_ = head.position_ + rest
      break
    end
    rest = rest - left
    drop_head(self)
  end
  forget_search(self, count)
  if self.full and self.bytes <= self.low then self.full = false end
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

-- Gathering -----------------------------------------------------------------------------------------------------------

-- Copies `count` bytes from the offset on, which are there, to `to`. The walk begins at slice `index`, whose first
-- byte has the offset `base`.
local function gather(self, to, offset, count, index, base)
  index, base = index or self.first, base or 0
  while count > 0 do
    local slice = self[index]
    local left = slice.limit_ - slice.position_
    local skip = offset - base
    if skip < left then
      local part = left - skip
      if part > count then part = count end
      C.mr_bytes_move(to, slice.data_ + (slice.position_ + skip), part)
      to = to + part
      offset = offset + part
      count = count - part
    end
    base = base + left
    index = index + 1
  end
end

local scratch = ffi.new("uint8_t[16]")

-- The address of `size` bytes, at most 16, at the offset: in their slice, or gathered.
local function bytes_at(self, offset, size)
  local head = self.head
  if head.limit_ - head.position_ >= offset + size then return head.data_ + (head.position_ + offset) end
  gather(self, scratch, offset, size)
  return scratch + 0 -- a pointer; the array itself must stay an upvalue, or nothing keeps it
end

local function copy_string(self, offset, count)
  if count == 0 then return "" end
  local head = self.head
  if left_of(head) >= offset + count then
    local text = ffi_string(head.data_ + (head.position_ + offset), count)
    return text
  end
  local out = ffi.new("uint8_t[?]", count)
  gather(self, out, offset, count)
  local text = ffi_string(out, count)
  return text
end

-- Numbers -------------------------------------------------------------------------------------------------------------

local TEMPLATE = [==[
do
local load = raw.NAME.load
function Chain:read_NAME()
  local head = self.head
  if head then
    local position = head.position_
    if head.limit_ - position > SIZE and self.searched == 0 and not self.full then
      local value = load(head.data_ + position)
      head.position_ = position + SIZE
      self.bytes = self.bytes - SIZE
      return value
    end
  end
  if self.bytes < SIZE then refuse(self, "read_NAME", SIZE) end
  local value = load(bytes_at(self, 0, SIZE))
  consume(self, SIZE)
  return value
end
function Chain:peek_NAME(offset)
  if offset == nil then offset = 0 else check_length("chain:peek_NAME", offset) end
  if self.bytes < offset + SIZE then refuse(self, "peek_NAME", offset + SIZE) end
  return load(bytes_at(self, offset, SIZE))
end
function Chain:try_read_NAME()
  if self.bytes < SIZE then check_open(self, "try_read_NAME") return nil end
  return Chain.read_NAME(self)
end
function Chain:try_peek_NAME(offset)
  if offset == nil then offset = 0 else check_length("chain:try_peek_NAME", offset) end
  if self.bytes < offset + SIZE then
    check_open(self, "try_peek_NAME")
    return nil
  end
  return Chain.peek_NAME(self, offset)
end
end
]==]

local text = { "local Chain, raw, bytes_at, consume, refuse, check_open, check_length = ...\n" }
for _, name in ipairs(numbers.names) do
  text[#text + 1] = TEMPLATE:gsub("NAME", name):gsub("SIZE", tostring(numbers.raw[name].size))
end
assert(loadstring(table.concat(text), "=moonring.buffer.chain"))(Chain, numbers.raw, bytes_at, consume, refuse, check_open,
  check_length)

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

-- Searching -----------------------------------------------------------------------------------------------------------

-- Occurrence that begins in slice `index` at or behind `start` of it and reaches into the next ones.
local function find_across(self, needle, index, base, start)
  local size, left = #needle, left_of(self[index])
  if start < left - size + 1 then start = left - size + 1 end
  local count = math.min(left - start + size - 1, self.bytes - base - start)
  if count < size then return -1, start end
  local window = ffi.new("uint8_t[?]", count)
  gather(self, window, base + start, count, index, base)
  return C.mr_bytes_find(window, count, needle, size), start
end

-- Offset of the needle's first occurrence, or nil, and then the search's memory says where to go on.
local function find(self, needle)
  if self.searched_for ~= needle then
    self.searched_for = needle
    self.searched, self.search_index, self.search_base = 0, self.first, 0
  end
  local size = #needle
  local index, base, from = self.search_index, self.search_base, self.searched
  while index <= self.last do
    local slice = self[index]
    local left = left_of(slice)
    local start = from > base and from - base or 0
    if left - start >= size then
      local at = C.mr_bytes_find(slice.data_ + (slice.position_ + start), left - start, needle, size)
      if at >= 0 then return base + start + at end
    end
    if size > 1 and start < left and index < self.last then
      local at, from_here = find_across(self, needle, index, base, start)
      if at >= 0 then return base + from_here + at end
    end
    if base + left > self.bytes - size + 1 then break end -- what begins here may still be completed
    base = base + left
    index = index + 1
  end
  self.search_index, self.search_base = index, base
  self.searched = math.max(from, self.bytes - size + 1)
  return nil
end

local function too_long(what, max)
  return nil, ("chain:%s: the delimiter does not come within %.0f bytes"):format(what, max), "EMSGSIZE"
end

local function check_search(self, what, needle, max)
  if type(needle) ~= "string" or needle == "" then
    raise("argument", "chain:%s: the delimiter is a string that is not empty, not %s", what, tostring(needle))
  end
  if max then check_length("chain:" .. what, max) end
  check_open(self, what)
end

-- Result: the offset of the delimiter; nil for "need more"; false when it lies too far.
local function search(self, what, needle, max)
  check_search(self, what, needle, max)
  local at = find(self, needle)
  if at then return (not max or at <= max) and at end
  if max and self.bytes - (#needle - 1) > max then return false end
end

local function read_until(self, what, needle, max)
  if max == nil then max = false end -- a NULL pointer too
  local at = search(self, what, needle, max)
  if not at then
    if at == false then return too_long(what, max) end
    return nil
  end
  local out = copy_string(self, 0, at)
  consume(self, at + #needle)
  return out
end

-- The same for LF with an optional CR before it, which does not count for max.
local function read_line(self, what, max)
  if max == nil then max = false else check_length("chain:" .. what, max) end
  local at = search(self, what, "\n", max and max + 1 or nil)
  if not at then
    if at == false then return too_long(what, max) end
    return nil
  end
  local count = at
  if at > 0 and Chain.peek_u8(self, at - 1) == CR then count = at - 1 end
  if max and count > max then return too_long(what, max) end
  local out = copy_string(self, 0, count)
  consume(self, at + 1)
  return out
end

--- Reads up to the delimiter and returns what is before it; the delimiter is skipped. Raises "underflow" when it is not
--- there; try_read_until returns nil for that.
---@param delimiter string
---@param max? integer bytes before it
---@return string? text
---@return string? message
---@return string? code "EMSGSIZE": more than max bytes without it
function Chain:read_until(delimiter, max)
  local out, message, code = read_until(self, "read_until", delimiter, max)
  if not out and not code then refuse(self, "read_until", self.bytes + 1) end
  return out, message, code
end

function Chain:try_read_until(delimiter, max)
  return read_until(self, "try_read_until", delimiter, max)
end

--- Reads a line, which ends with LF; neither it nor a CR before it is returned. Raises "underflow" when there is no LF;
--- try_read_line returns nil for that.
---@param max? integer bytes of the line
---@return string? line
---@return string? message
---@return string? code "EMSGSIZE": more than max bytes without LF
function Chain:read_line(max)
  local out, message, code = read_line(self, "read_line", max)
  if not out and not code then refuse(self, "read_line", self.bytes + 1) end
  return out, message, code
end

function Chain:try_read_line(max)
  return read_line(self, "try_read_line", max)
end

--- Offset of the first occurrence of a byte or a string that is not empty; nil when there is none.
---@param needle integer|string
---@return integer?
function Chain:index_of(needle)
  if type(needle) == "number" then
    if band(needle, 255) ~= needle then
      raise("argument", "chain:index_of: a byte is a whole number from 0 to 255, not %s", tostring(needle))
    end
    needle = string.char(needle)
  end
  check_search(self, "index_of", needle)
  return find(self, needle)
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
