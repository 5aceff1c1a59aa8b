-- moonring.buffer.text: bytes that stand for text: lines, strings with a length before them, numbers in digits,
-- variable-length integers, hexadecimal, base64 and UTF-8.
--
-- Too few bytes raise "underflow", too little room "overflow". Bytes that are there and are not of the form are what
-- the world sent: nil, a message and "EILSEQ" (or "EMSGSIZE", "ERANGE"), with the position unchanged.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local band, rshift = bit.band, bit.rshift
local ffi_string = ffi.string
local readable, writable, operand = core.readable, core.writable, core.operand
local Buffer = core.Buffer

local M = {}

local function malformed(what, text, ...)
  return nil, what .. ": " .. text:format(...), "EILSEQ"
end

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
  local line = ffi_string(data, count)
  return line
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
    local text = ffi_string(self.data_ + (position + size), count)
    return text
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

-- All but the one-byte form, which callers have handled.
local function read_varint_long(self, what, bytes_max, minimal)
  local position, limit = self.position_, self.limit_
  local value, scale, at = 0, 1, position
  while true do
    if at - position == bytes_max then return malformed(what, "the number is longer than %d bytes", bytes_max) end
    if at >= limit then core.refuse(self, what, at - position + 1, "underflow") end
    local byte = self.data_[at]
    at = at + 1
    value = value + band(byte, 127) * scale
    scale = scale * 128
    if value > EXACT_MAX then return nil, what .. ": the number is above 2^53 - 1", "ERANGE" end
    if byte < 128 then
      if minimal and byte == 0 then return malformed(what, "the number is longer than it must be") end
      self.position_ = at
      return value
    end
  end
end

--- Reads an unsigned LEB128 number.
---@return number? value
---@return string? message
---@return string? code "EILSEQ": longer than ten bytes; "ERANGE": above 2^53 - 1
function Buffer:read_varint()
  local position = self.position_
  if position < self.limit_ then
    local byte = self.data_[position]
    if byte < 128 then
      self.position_ = position + 1
      return byte
    end
  end
  return read_varint_long(self, "read_varint", VARINT_BYTES_MAX, false)
end

--- Reads a variable byte integer of MQTT (version 5, section 1.5.5): LEB128 of at most four bytes, and no more than it
--- needs.
function Buffer:read_varint_mqtt()
  local position = self.position_
  if position < self.limit_ then
    local byte = self.data_[position]
    if byte < 128 then
      self.position_ = position + 1
      return byte
    end
  end
  return read_varint_long(self, "read_varint_mqtt", MQTT_BYTES_MAX, true)
end

local varint = ffi.new("uint8_t[16]")

local function write_varint(self, what, value, max)
  if type(value) ~= "number" or not (value >= 0 and value <= max) or value % 1 ~= 0 then
    errors.raise("argument", "%s: the value must be a whole number from 0 to %.0f, not %s", what, max, tostring(value))
  end
  local count = 0
  while value >= 128 do
    local low = value % 128
    varint[count] = low + 128
    value = (value - low) / 128
    count = count + 1
  end
  varint[count] = value
  count = count + 1
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

-- Hexadecimal and base64 ----------------------------------------------------------------------------------------------

--- The remaining bytes as lower-case hexadecimal digits. The position stays.
---@return string
function Buffer:to_hex()
  local position, length = readable(self, "to_hex")
  local out = ffi.new("uint8_t[?]", length * 2)
  C.mr_hex_encode(self.data_ + position, length, out)
  local text = ffi_string(out, length * 2)
  return text
end

---@class moonring.Base64Options
---@field url? boolean the alphabet for URLs and file names (RFC 4648 section 5)
---@field bare? boolean without "=" at the end

local function base64_flags(what, options)
  if options == nil then return 0 end
  options = core.options(what, options)
  return (options.url and C.MR_BASE64_URL or 0) + (options.bare and C.MR_BASE64_BARE or 0)
end

--- The remaining bytes as base64. The position stays.
---@param options? moonring.Base64Options
---@return string
function Buffer:to_base64(options)
  local position, length = readable(self, "to_base64")
  local flags = base64_flags("to_base64", options)
  local out = ffi.new("uint8_t[?]", math.floor((length + 2) / 3) * 4)
  local count = C.mr_base64_encode(self.data_ + position, length, out, flags)
  local text = ffi_string(out, count)
  return text
end

-- Decoding goes through memory of its own: a text that turns out to be wrong has then written nothing.
local function write_decoded(self, what, out, count)
  local position = writable(self, what, count)
  self.position_ = position + count
  C.mr_bytes_move(self.data_ + position, out, count)
  return self
end

--- Writes the bytes that hexadecimal digits stand for.
---@param text string|moonring.Buffer
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code "EILSEQ"
function Buffer:write_hex(text)
  local bytes, length = operand("write_hex", text)
  local count = rshift(length, 1)
  writable(self, "write_hex", count)
  if length % 2 ~= 0 then return malformed("write_hex", "an odd number of digits, %d", length) end
  local out = ffi.new("uint8_t[?]", count)
  local at = C.mr_hex_decode(bytes, length, out)
  if at >= 0 then return malformed("write_hex", "no hexadecimal digit at offset %d", at) end
  return write_decoded(self, "write_hex", out, count)
end

--- Writes the bytes that base64 stands for, strictly: padding and unused bits as an encoder writes them, no white
--- space. The room up to the limit bounds the output.
---@param text string|moonring.Buffer
---@param options? moonring.Base64Options
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code "EILSEQ"
function Buffer:write_base64(text, options)
  local bytes, length = operand("write_base64", text)
  local flags = base64_flags("write_base64", options)
  local least = math.max(math.floor(length / 4) * 3 - 2, 0)
  writable(self, "write_base64", least)
  local out = ffi.new("uint8_t[?]", least + 5)
  local count = C.mr_base64_decode(bytes, length, out, flags)
  if count < 0 then return malformed("write_base64", "not base64 at offset %d", -1 - count) end
  return write_decoded(self, "write_base64", out, count)
end

-- UTF-8 ---------------------------------------------------------------------------------------------------------------

--- Whether the remaining bytes are well-formed UTF-8; when not, also how many of them are, from the position on.
---@return boolean valid
---@return integer? offset
function Buffer:is_utf8()
  local position, length = readable(self, "is_utf8")
  local span = C.mr_utf8_span(self.data_ + position, length)
  if span == length then return true end
  return false, span
end

--- Reads `count` bytes (default: all that remain) as a string of well-formed UTF-8.
---@param count? integer bytes
---@return string? text
---@return string? message
---@return string? code "EILSEQ"
function Buffer:read_utf8(count)
  local position, length = readable(self, "read_utf8", count)
  local span = C.mr_utf8_span(self.data_ + position, length)
  if span < length then return malformed("read_utf8", "not UTF-8 at offset %d", span) end
  self.position_ = position + length
  local text = ffi_string(self.data_ + position, length)
  return text
end

local function repair(data, length)
  local out = ffi.new("uint8_t[?]", length * 3)
  local written = C.mr_utf8_repair(data, length, out)
  local text = ffi_string(out, written)
  return text
end

--- The same, with U+FFFD in place of each ill-formed part.
---@param count? integer bytes
---@return string text
function Buffer:read_utf8_lenient(count)
  local position, length = readable(self, "read_utf8_lenient", count)
  self.position_ = position + length
  local data = self.data_ + position
  if C.mr_utf8_span(data, length) == length then
    local text = ffi_string(data, length)
    return text
  end
  local text = repair(data, length)
  return text
end

---@class moonring.Utf8Decoder
local Decoder = { __name = "moonring.Utf8Decoder" }
Decoder.__index = Decoder

--- A decoder for text that comes in pieces: a sequence that is cut at the end of one is kept for the next.
---@param options? { lenient?: boolean } lenient: U+FFFD in place of ill-formed parts instead of a failure
---@return moonring.Utf8Decoder
function M.decoder(options)
  return setmetatable({ kept = "", lenient = core.options("buffer.utf8_decoder", options).lenient, offset = 0 }, Decoder)
end

--- The text up to the last complete character. A buffer's remaining bytes are all taken.
---@param piece string|moonring.Buffer
---@return string? text
---@return string? message
---@return string? code "EILSEQ"; the decoder goes no further
function Decoder:decode(piece)
  if self.failed then return nil, self.failed, "EILSEQ" end
  local text = piece
  if type(piece) ~= "string" then
    if not core.is(piece) then
      errors.raise("argument", "utf8_decoder: a string or a buffer is needed, not a %s", type(piece))
    end
    text = piece:read_string()
  end
  text = self.kept .. text
  self.kept = ""
  local bytes = ffi.cast(core.bytes, text)
  local length = #text
  local span = C.mr_utf8_span(bytes, length)
  if span == length then
    self.offset = self.offset + length
    return text
  end
  -- A cut sequence can only be in the last three bytes.
  local tail = math.max(length - 3, span)
  for at = tail, length - 1 do
    if band(bytes[at], 0xc0) ~= 0x80 and C.mr_utf8_sequence(bytes + at, length - at) == 0 then
      self.kept = text:sub(at + 1)
      text, length = text:sub(1, at), at
      break
    end
  end
  if span < length and not self.lenient then
    self.failed = ("utf8_decoder: not UTF-8 at offset %.0f"):format(self.offset + span)
    return nil, self.failed, "EILSEQ"
  end
  self.offset = self.offset + length
  if span >= length then return text end
  return repair(ffi.cast(core.bytes, text), length)
end

--- What is left at the end: nothing, or U+FFFD for a cut sequence when the decoder is lenient.
---@return string? text
---@return string? message
---@return string? code "EILSEQ"
function Decoder:finish()
  if self.failed then return nil, self.failed, "EILSEQ" end
  if self.kept == "" then return "" end
  self.kept = ""
  if self.lenient then return "\239\191\189" end
  self.failed = ("utf8_decoder: the text ends within a character, at offset %.0f"):format(self.offset)
  return nil, self.failed, "EILSEQ"
end

return M
