-- moonring.buffer.utf8: UTF-8 (RFC 3629): is it, as strings, and in pieces. What is not is returned as nil, a message and
-- "EILSEQ", or replaced where the caller is lenient.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local band = bit.band
local ffi_string = ffi.string
local readable, malformed, string_at = core.readable, core.malformed, core.string_at
local Buffer = core.Buffer

local M = {}

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
  return string_at(self, position, length)
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
  if C.mr_utf8_span(data, length) == length then return string_at(self, position, length) end
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
  return setmetatable({ kept = "", lenient = errors.options("buffer.utf8_decoder", options).lenient, offset = 0 }, Decoder)
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
