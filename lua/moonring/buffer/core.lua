-- moonring.buffer.core: what the modules of the buffer share: its type, its checks, and who keeps memory alive.
-- Internal.
--
-- Every check comes before every effect, so a call that raises has changed nothing. The fast path of a check is a
-- comparison or two; the slow path finds out what is wrong and says it.
--
-- Memory that belongs to Lua (heap buffers, wrapped strings and cdata) is kept by a table with weak keys, from the
-- buffer to what it shows. The value never leads back to the key, so both can go together. A function that uses data_
-- makes no allocation between taking the pointer and using it, or still has the buffer in its frame.

local native = require "moonring.native"
local errors = require "moonring.errors"

local C, ffi = native.C, native.ffi
local band, tobit = bit.band, bit.tobit
local cast, istype, ffi_string = ffi.cast, ffi.istype, ffi.string
local raise = errors.raise

local M = {}

---@class moonring.Buffer
---@field position integer offset of the next byte to read or write; read-only, see seek
---@field limit integer offset behind the last byte that may be read or written; read-only, see set_limit
---@field capacity integer bytes in all; read-only
---@field is_open boolean whether it has not been released
---@field is_read_only boolean
---@field zone string "native", "heap", "shared" or "wrapped": where the memory comes from
M.Buffer = {}

M.type = ffi.typeof("mr_buffer")
M.lease_pointer = ffi.typeof("mr_lease *")
M.bytes = ffi.typeof("const uint8_t *")
M.anchors = setmetatable({}, { __mode = "k" })

local buffer_type, lease_pointer, bytes = M.type, M.lease_pointer, M.bytes
local record_pointer = ffi.typeof("mr_record *")
local OPEN, READONLY = tonumber(C.MR_BUFFER_OPEN), tonumber(C.MR_BUFFER_READONLY)
local RECORD_MASK = bit.lshift(1ULL, 48) - ffi.sizeof("mr_record")

M.LENGTH_MAX = 4294967296 -- above it a length is no length; up to it there may merely be too few bytes

--- The slow path of every bounds check: says why. `self` is one that check_open and the bounds have refused.
function M.refuse(self, what, wanted, code)
  if band(self.flags_, OPEN) == 0 then raise("closed", "%s: the buffer has been released", what) end
  local position, limit = self.position_, self.limit_
  raise(code, "%s: %.0f bytes are needed at position %d, %d are left before the limit %d", what, wanted, position,
    limit - position, limit)
end
local refuse = M.refuse

function M.check_open(self, what)
  if band(self.flags_, OPEN) == 0 then raise("closed", "%s: the buffer has been released", what) end
end
local check_open = M.check_open

function M.check_writable(self, what)
  if band(self.flags_, READONLY) ~= 0 then raise("argument", "%s: the buffer is read-only", what) end
end

local function check_length_slowly(what, length)
  if type(length) ~= "number" or not (length >= 0 and length <= M.LENGTH_MAX) or length % 1 ~= 0 then
    raise("argument", "%s: a length or offset is a whole number from 0 to 2^32, not %s", what, tostring(length))
  end
end

--- Raises "argument" unless `length` is a whole number from 0 to 2^32.
function M.check_length(what, length)
  if type(length) ~= "number" or tobit(length) ~= length or length < 0 then check_length_slowly(what, length) end
end
local check_length = M.check_length

--- Raises what a negative result of a function of the library says.
function M.check_made(result, what)
  if result >= 0 then return end
  local _, message, code = errors.world(result, what)
  errors.raise(result == -22 and "argument" or code, "%s", message)
end

--- What a call returns for bytes that are there and are not of the form.
function M.malformed(what, text, ...)
  return nil, what .. ": " .. text:format(...), "EILSEQ"
end

--- Checks that `count` bytes remain for reading, all of them when it is nil. Returns position and count.
function M.readable(self, what, count)
  local position = self.position_
  local left = self.limit_ - position
  if count == nil then count = left else check_length(what, count) end
  if count > left then refuse(self, what, count, "underflow") end
  if count == 0 then check_open(self, what) end
  return position, count
end

--- `count` bytes from the absolute `offset` on, which are there, as a string. No tail call: the frame keeps the buffer,
--- and with it the memory that the pointer leads to.
function M.string_at(self, offset, count)
  local text = ffi_string(self.data_ + offset, count)
  return text
end

--- Checks that `count` bytes can be written at the position. Returns it.
function M.writable(self, what, count)
  local position = self.position_
  if count > self.limit_ - position then refuse(self, what, count, "overflow") end
  if band(self.flags_, OPEN + READONLY) ~= OPEN then
    check_open(self, what)
    M.check_writable(self, what)
  end
  return position
end

--- Writes `count` bytes from an address at the position, which moves behind them. Returns the buffer.
function M.put(self, what, from, count)
  local position = M.writable(self, what, count)
  self.position_ = position + count
  C.mr_bytes_move(self.data_ + position, from, count)
  return self
end

--- Checks that `count` bytes lie at the absolute `offset` before the limit.
function M.check_offset(self, what, offset, count, code)
  check_length(what, offset)
  if offset + count > self.limit_ then
    check_open(self, what)
    raise(code, "%s: %.0f bytes are needed at offset %.0f, the limit is %d", what, count, offset, self.limit_)
  end
end

--- The buffer that a lease of a pool stands for; raises "closed" when the lease has ended.
local function resolve(lease, what)
  local record = cast(record_pointer, band(cast("uint64_t", lease), RECORD_MASK))
  if record.lease ~= lease then raise("closed", "%s: the buffer has gone back to its pool", what) end
  return record.buffer
end
M.resolve = resolve

--- Whether a value is a buffer, pooled ones included.
function M.is(value)
  return istype(buffer_type, value) or istype(lease_pointer, value)
end

--- The structure of any buffer, of which C can be told; nil for anything else. Raises "closed" for an ended lease.
function M.of(value, what)
  if istype(lease_pointer, value) then return resolve(value, what) end
  if istype(buffer_type, value) then return value end
end

-- Bytes that a cdata holds itself; nil when it is a pointer, which says nothing of what it points at.
local function sized(value)
  local name = tostring(ffi.typeof(value))
  if name:find("[%d<]u?int64_t>$") or name:find("complex") or name:find("^ctype<enum") then return false end
  if name:find("%*>$") or name:find("%(%*[^%)]*%)") then return nil end
  return ffi.sizeof(value) or false
end

--- Checks a cdata and the number of bytes to be taken from it. Returns the address and that number.
function M.foreign(what, value, count)
  if type(value) ~= "cdata" then
    raise("argument", "%s: a string, a buffer or a cdata is needed, not a %s", what, type(value))
  end
  local size = sized(value)
  if size == false then raise("argument", "%s: a cdata must be an array, a structure or a pointer", what) end
  if count == nil then count = size end
  if count == nil then raise("argument", "%s: with a pointer, the number of bytes is needed", what) end
  check_length(what, count)
  if size and count > size then
    raise("argument", "%s: %.0f bytes are asked for, the cdata has %d", what, count, size)
  end
  local from = cast(bytes, value)
  if from == nil and count > 0 then raise("argument", "%s: the pointer is NULL", what) end
  return from, count
end

--- Address and length of what a call is given beside its buffer: a string, the remaining bytes of a buffer, or `count`
--- bytes of a cdata. The caller keeps the value itself while it uses the address.
function M.operand(what, value, count)
  if type(value) == "string" then
    if count ~= nil then
      check_length(what, count)
      if count > #value then raise("argument", "%s: %.0f bytes are asked for, the string has %d", what, count, #value) end
      return cast(bytes, value), count
    end
    return cast(bytes, value), #value
  end
  local other = M.of(value, what)
  if other then
    check_open(other, what)
    local position, taken = M.readable(other, what, count)
    return other.data_ + position, taken
  end
  return M.foreign(what, value, count)
end

return M
