-- moonring.buffer.text: lines, strings with a length before them, numbers in digits, variable-length integers.
--
-- Too few bytes raise "underflow", too little room "overflow". Bytes that are there and are not of the form are what
-- the world sent: nil, a message and "EILSEQ" (or "EMSGSIZE", "ERANGE"), with the position unchanged.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local readable, writable, operand = core.readable, core.writable, core.operand
local Buffer = core.Buffer
local malformed, string_at = core.malformed, core.string_at

local M = {}

-- Lines and strings ---------------------------------------------------------------------------------------------------

local LF, CR = 10, 13

--- Reads up to the next LF and returns the line without it and without a CR before it. Raises "underflow" when there is
--- no LF.
---@param max? integer bytes of the line
---@return string? line
---@return string? message
---@return string? code "EMSGSIZE" for a line that is longer than max
function Buffer:read_line(max)
  if max == nil then max = false else core.check_length("read_line", max) end
  local position, length = readable(self, "read_line")
  local data = self.data_ + position
  local at = C.mr_scan_byte(data, length, LF)
  if at < 0 then
    if not max or length <= max + 1 then core.refuse(self, "read_line", length + 1, "underflow") end
    at = length
  end
  local count = at
  if at > 0 and data[at - 1] == CR then count = at - 1 end
  if max and count > max then return nil, ("read_line: the line is longer than %.0f bytes"):format(max), "EMSGSIZE" end
  self.position_ = position + at + 1
  return string_at(self, position, count)
end

--- Reads a string that its length, a NAME, precedes.
---@name Buffer:read_string_NAME()
---@each NAME = u8 u16 u16_le u32 u32_le
---@return string

--- Writes the length of a string or buffer as a NAME and then its bytes. All or nothing. Returns the buffer.
---@name Buffer:write_string_NAME(text)
---@each NAME = u8 u16 u16_le u32 u32_le
---@param text string|moonring.Buffer
---@return moonring.Buffer

for _, name in ipairs { "u8", "u16", "u16_le", "u32", "u32_le" } do
  local size = tonumber(name:match("%d+")) / 8
  local max = 2 ^ (size * 8) - 1
  local get, put = Buffer["get_" .. name], Buffer["write_" .. name]
  local read_name, write_name = "read_string_" .. name, "write_string_" .. name

  Buffer[read_name] = function(self)
    local position = readable(self, read_name, size)
    local count = get(self, position)
    if count > self.limit_ - position - size then core.refuse(self, read_name, size + count, "underflow") end
    self.position_ = position + size + count
    return string_at(self, position + size, count)
  end

  Buffer[write_name] = function(self, text)
    local bytes, count = operand(write_name, text)
    if count > max then errors.raise("argument", "%s: %.0f bytes are more than the prefix can tell", write_name, count) end
    local position = writable(self, write_name, size + count)
    -- The bytes first: they may lie where the length goes.
    C.mr_bytes_move(self.data_ + (position + size), bytes, count)
    put(self, count)
    self.position_ = position + size + count
    return self
  end
end

-- Numbers in digits ---------------------------------------------------------------------------------------------------

local number_out = ffi.new("double[1]")

local function read_number(self, what, base)
  local position, length = readable(self, what)
  local count = C.mr_text_number(self.data_ + position, length, base, number_out)
  if count == 0 then return malformed(what, "there is no digit at position %d", position) end
  if count < 0 then return nil, what .. ": the number is above 2^53 - 1", "ERANGE" end
  self.position_ = position + count
  return number_out[0]
end

--- Reads the decimal digits at the position, up to the first other character, as a number.
---@return number? value
---@return string? message
---@return string? code "EILSEQ": no digit; "ERANGE": above 2^53 - 1
function Buffer:read_decimal()
  return read_number(self, "read_decimal", 10)
end

--- The same with hexadecimal digits of either case.
function Buffer:read_hexadecimal()
  return read_number(self, "read_hexadecimal", 16)
end

-- Variable-length integers --------------------------------------------------------------------------------------------

local EXACT_MAX = 9007199254740991
local TOO_LONG = -90 -- EMSGSIZE

-- The two forms: at most so many bytes, up to so much; minimal: no more bytes than it needs.
M.varints = {
  varint = { bytes_max = 10, max = EXACT_MAX, minimal = false },
  varint_mqtt = { bytes_max = 4, max = 268435455, minimal = true },
}

local varint_value, varint = ffi.new("double[1]"), ffi.new("uint8_t[16]")

--- The number at data and how many of the `length` bytes it takes; nil and 0 when it is cut; nil, a message and a code when
--- there is none.
function M.load_varint(what, data, length, bytes_max, minimal)
  local count = C.mr_varint_decode(data, length, bytes_max, varint_value)
  if count > 0 then
    if minimal and count > 1 and data[count - 1] == 0 then
      return malformed(what, "the number is longer than it must be")
    end
    return varint_value[0], count
  end
  if count == 0 then return nil, 0 end
  if count == TOO_LONG then return malformed(what, "the number is longer than %d bytes", bytes_max) end
  return nil, what .. ": the number is above 2^53 - 1", "ERANGE"
end

--- Checks a number that is to be written. Returns the bytes that it takes.
function M.check_varint(what, value, max)
  if type(value) ~= "number" or not (value >= 0 and value <= max) or value % 1 ~= 0 then
    errors.raise("argument", "%s: the value must be a whole number from 0 to %.0f, not %s", what, max, tostring(value))
  end
  return C.mr_varint_encode(value, varint)
end

M.store_varint = C.mr_varint_encode

local function varint_reader(what, form)
  local bytes_max, minimal = form.bytes_max, form.minimal
  return function(self)
    local position = self.position_
    if position < self.limit_ then
      local byte = self.data_[position]
      if byte < 128 then
        self.position_ = position + 1
        return byte
      end
    end
    local _, length = readable(self, what)
    local value, count, code = M.load_varint(what, self.data_ + position, length, bytes_max, minimal)
    if value then
      self.position_ = position + count
    elseif count == 0 then
      core.refuse(self, what, length + 1, "underflow")
    else
      return nil, count, code
    end
    return value
  end
end

--- Reads an unsigned LEB128 number.
---@return number? value
---@return string? message
---@return string? code "EILSEQ": longer than ten bytes; "ERANGE": above 2^53 - 1
Buffer.read_varint = varint_reader("read_varint", M.varints.varint)

--- Reads a variable byte integer of MQTT (version 5, section 1.5.5): LEB128 of at most four bytes, and no more than it
--- needs.
Buffer.read_varint_mqtt = varint_reader("read_varint_mqtt", M.varints.varint_mqtt)

local function write_varint(self, what, value, form)
  local count = M.check_varint(what, value, form.max) -- and there it is
  return core.put(self, what, varint, count)
end

--- Writes an unsigned LEB128 number of up to 2^53 - 1.
---@param value number
function Buffer:write_varint(value)
  return write_varint(self, "write_varint", value, M.varints.varint)
end

--- Writes a variable byte integer of MQTT, up to 268 435 455.
---@param value number
function Buffer:write_varint_mqtt(value)
  return write_varint(self, "write_varint_mqtt", value, M.varints.varint_mqtt)
end

return M
