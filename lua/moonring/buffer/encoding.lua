-- moonring.buffer.encoding: bytes as hexadecimal digits and as base64 (RFC 4648), both ways. What is not of the form is
-- returned as nil, a message and "EILSEQ", with nothing written.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local rshift = bit.rshift
local ffi_string = ffi.string
local readable, writable, operand, malformed = core.readable, core.writable, core.operand, core.malformed
local Buffer, put = core.Buffer, core.put

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
  options = errors.options(what, options)
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
  local out = ffi.new("uint8_t[?]", count) -- a text that turns out to be wrong has written nothing
  local at = C.mr_hex_decode(bytes, length, out)
  if at >= 0 then return malformed("write_hex", "no hexadecimal digit at offset %d", at) end
  return put(self, "write_hex", out, count)
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
  return put(self, "write_base64", out, count)
end
