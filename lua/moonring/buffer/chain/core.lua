-- moonring.buffer.chain.core: what the parts of the chain share: its type, its checks, the walk over its slices, and
-- taking bytes off its front. Internal.
--
-- Invariant: head is the first slice and has bytes left, or is false when the chain is empty; bytes is the sum of what
-- is left.

local native = require "moonring.native"
local errors = require "moonring.errors"

local C, ffi = native.C, native.ffi
local ffi_string = ffi.string
local raise = errors.raise

local M = {}

---@class moonring.Chain
M.Chain = { __name = "moonring.Chain" }
M.Chain.__index = M.Chain

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

-- Dropping ------------------------------------------------------------------------------------------------------------

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

-- Takes `count` bytes, which are there, off the front, the first slice with them.
local function consume_slices(self, count)
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
end

-- Takes `count` bytes, which are there, off the front. No loop in the usual case: it would be a short one in the middle
-- of the caller's, which then is not compiled.
local function consume(self, count)
  self.bytes = self.bytes - count
  local head = self.head
  if head and count < head.limit_ - head.position_ then
    head.position_ = head.position_ + count
  else
    consume_slices(self, count)
  end
  forget_search(self, count)
  if self.full and self.bytes <= self.low then self.full = false end
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

M.check_open, M.refuse, M.left_of = check_open, refuse, left_of
M.consume, M.gather, M.bytes_at, M.copy_string = consume, gather, bytes_at, copy_string

return M
