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

for _, name in ipairs { "u8", "u16", "u16_le", "u32", "u32_le" } do
  local size = tonumber(name:match("%d+")) / 8
  local max = 2 ^ (size * 8) - 1
  local get, put = Buffer["get_" .. name], Buffer["write_" .. name]
  local read_name, write_name = "read_string_" .. name, "write_string_" .. name

  --- Reads a string that its length precedes.
  Buffer[read_name] = function(self)
    local position = readable(self, read_name, size)
    local count = get(self, position)
    if count > self.limit_ - position - size then core.refuse(self, read_name, size + count, "underflow") end
    self.position_ = position + size + count
    return string_at(self, position + size, count)
  end

  --- Writes the length of a string or buffer and then its bytes. All or nothing.
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

local VARINT_BYTES_MAX, MQTT_BYTES_MAX, MQTT_MAX = 10, 4, 268435455
local EXACT_MAX = 9007199254740991
local TOO_LONG = -90 -- EMSGSIZE

local varint_value = ffi.new("double[1]")

-- All but the one-byte form, which callers have handled.
local function read_varint_long(self, what, bytes_max, minimal)
  local position, length = readable(self, what)
  local data = self.data_ + position
  local count = C.mr_varint_decode(data, length, bytes_max, varint_value)
  if count == 0 then core.refuse(self, what, length + 1, "underflow") end
  if count == TOO_LONG then return malformed(what, "the number is longer than %d bytes", bytes_max) end
  if count < 0 then return nil, what .. ": the number is above 2^53 - 1", "ERANGE" end
  if minimal and data[count - 1] == 0 then return malformed(what, "the number is longer than it must be") end
  self.position_ = position + count
  return varint_value[0]
end

local function varint_reader(what, bytes_max, minimal)
  return function(self)
    local position = self.position_
    if position < self.limit_ then
      local byte = self.data_[position]
      if byte < 128 then
        self.position_ = position + 1
        return byte
      end
    end
    return read_varint_long(self, what, bytes_max, minimal)
  end
end

--- Reads an unsigned LEB128 number.
---@return number? value
---@return string? message
---@return string? code "EILSEQ": longer than ten bytes; "ERANGE": above 2^53 - 1
Buffer.read_varint = varint_reader("read_varint", VARINT_BYTES_MAX, false)

--- Reads a variable byte integer of MQTT (version 5, section 1.5.5): LEB128 of at most four bytes, and no more than it
--- needs.
Buffer.read_varint_mqtt = varint_reader("read_varint_mqtt", MQTT_BYTES_MAX, true)

local varint = ffi.new("uint8_t[16]")

local function write_varint(self, what, value, max)
  if type(value) ~= "number" or not (value >= 0 and value <= max) or value % 1 ~= 0 then
    errors.raise("argument", "%s: the value must be a whole number from 0 to %.0f, not %s", what, max, tostring(value))
  end
  local count = C.mr_varint_encode(value, varint)
  local position = writable(self, what, count)
  self.position_ = position + count
  C.mr_bytes_move(self.data_ + position, varint, count)
  return self
end

--- Writes an unsigned LEB128 number of up to 2^53 - 1.
---@param value number
function Buffer:write_varint(value)
  return write_varint(self, "write_varint", value, EXACT_MAX)
end

--- Writes a variable byte integer of MQTT, up to 268 435 455.
---@param value number
function Buffer:write_varint_mqtt(value)
  return write_varint(self, "write_varint_mqtt", value, MQTT_MAX)
end
