-- moonring.buffer.chain.search: delimiters and lines in a chain, each byte looked at once: the chain remembers for which
-- delimiter it has searched and how far.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer_core = require "moonring.buffer.core"
local core = require "moonring.buffer.chain.core"

local C, ffi = native.C, native.ffi
local band = bit.band
local raise, check_length = errors.raise, buffer_core.check_length
local Chain, check_open, refuse, left_of = core.Chain, core.check_open, core.refuse, core.left_of
local consume, gather, copy_string = core.consume, core.gather, core.copy_string

local CR = 13

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

local function find_in_slices(self, needle)
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

-- Offset of the needle's first occurrence, or nil, and then the search's memory says where to go on. No loop in the usual
-- case, as in consume.
local function find(self, needle)
  if self.searched_for ~= needle then
    self.searched_for = needle
    self.searched, self.search_index, self.search_base = 0, self.first, 0
  end
  local head = self.head
  if head and self.searched == 0 then
    local at = C.mr_bytes_find(head.data_ + head.position_, head.limit_ - head.position_, needle, #needle)
    if at >= 0 then return at end
  end
  return find_in_slices(self, needle)
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

--- The same, but nil alone when the delimiter has not come.
---@param delimiter integer|string
---@param max? integer bytes without it
---@return string? bytes
---@return string? message
---@return string? code "EMSGSIZE"
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

--- The same, but nil alone when there is no LF.
---@param max? integer bytes of the line
---@return string? line
---@return string? message
---@return string? code "EMSGSIZE"
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
