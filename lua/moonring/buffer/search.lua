-- moonring.buffer.search: searching, comparing, filling, masking and summing the remaining bytes. The work is done by C
-- kernels (runtime/bytes/bytes.c); comparison is by bytes. Offsets count from the position, and none of these moves it.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local band = bit.band
local readable, operand, check_open, check_writable = core.readable, core.operand, core.check_open, core.check_writable
local Buffer = core.Buffer

local function check_byte(what, byte)
  if type(byte) ~= "number" or band(byte, 255) ~= byte then
    errors.raise("argument", "%s: a byte is a whole number from 0 to 255, not %s", what, tostring(byte))
  end
end

--- Offset of the first occurrence of a byte, a string or another buffer's remaining bytes, at `from` or behind it; nil
--- when there is none. Nothing is found at once.
---@param needle integer|string|moonring.Buffer
---@param from? integer default 0
---@return integer?
function Buffer:index_of(needle, from)
  local position, length = readable(self, "index_of")
  if from ~= nil then
    core.check_length("index_of", from)
    if from > length then core.refuse(self, "index_of", from, "underflow") end
  else
    from = 0
  end
  local found
  if type(needle) == "number" then
    check_byte("index_of", needle)
    found = C.mr_scan_byte(self.data_ + (position + from), length - from, needle)
  else
    local bytes, count = operand("index_of", needle)
    found = C.mr_bytes_find(self.data_ + (position + from), length - from, bytes, count)
  end
  if found < 0 then return nil end
  return found + from
end

--- Offset of the first byte that differs from those of a string or buffer; the shorter one's length when it begins the
--- longer; nil when they are equal.
---@param other string|moonring.Buffer
---@return integer?
function Buffer:mismatch(other)
  local bytes, count = operand("mismatch", other)
  local position, length = readable(self, "mismatch")
  local common = count < length and count or length
  local at = C.mr_bytes_mismatch(self.data_ + position, bytes, common)
  if at >= 0 then return at end
  if count ~= length then return common end
end

--- Whether the remaining bytes are those of a string or buffer. (== asks whether two variables are one buffer.)
---@param other string|moonring.Buffer
---@return boolean
function Buffer:equals(other)
  local bytes, count = operand("equals", other)
  local position, length = readable(self, "equals")
  return count == length and C.mr_bytes_mismatch(self.data_ + position, bytes, length) < 0
end

--- Whether the remaining bytes begin with those of a string or buffer.
---@param other string|moonring.Buffer
---@return boolean
function Buffer:starts_with(other)
  local bytes, count = operand("starts_with", other)
  local position, length = readable(self, "starts_with")
  return count <= length and C.mr_bytes_mismatch(self.data_ + position, bytes, count) < 0
end

--- Sets every byte from the position to the limit. The position stays.
---@param byte integer
function Buffer:fill(byte)
  check_byte("fill", byte)
  check_open(self, "fill")
  check_writable(self, "fill")
  local position = self.position_
  C.mr_bytes_fill(self.data_ + position, byte, self.limit_ - position)
  return self
end

local key_bytes = ffi.new("uint8_t[4]")

--- Masks or unmasks the remaining bytes in place (RFC 6455 section 5.3): each is XORed with one of the key's four, the
--- first with number `offset` modulo 4. The position stays.
---@param key integer|string a number (network order) or four bytes
---@param offset? integer of the first remaining byte in its message; default 0
function Buffer:xor_mask(key, offset)
  if type(key) == "number" and key >= 0 and key <= 4294967295 and key % 1 == 0 then
    for i = 3, 0, -1 do
      key_bytes[i] = key % 256
      key = (key - key % 256) / 256
    end
  elseif type(key) == "string" and #key == 4 then
    ffi.copy(key_bytes, key, 4)
  else
    errors.raise("argument", "xor_mask: the key is a number of 32 bits or a string of 4 bytes, not %s", tostring(key))
  end
  if offset == nil then offset = 0 else core.check_length("xor_mask", offset) end
  check_open(self, "xor_mask")
  check_writable(self, "xor_mask")
  local position = self.position_
  C.mr_bytes_xor(self.data_ + position, self.limit_ - position, key_bytes, offset % 4)
  return self
end

--- CRC-32 (zlib's and Ethernet's) of the remaining bytes, going on from `crc` where one is given.
---@param crc? integer
---@return integer
function Buffer:crc32(crc)
  if crc == nil then crc = 0 else core.check_length("crc32", crc) end
  local position, length = readable(self, "crc32")
  return C.mr_bytes_crc32(crc % 4294967296, self.data_ + position, length)
end

--- A number of 32 bits that spreads well over the remaining bytes, for tables. It may change with a version, and does
--- not protect against chosen keys.
---@param seed? integer
---@return integer
function Buffer:hash(seed)
  if seed == nil then seed = 0 else core.check_length("hash", seed) end
  local position, length = readable(self, "hash")
  return C.mr_bytes_hash(seed % 4294967296, self.data_ + position, length)
end
