---@meta moonring.buffer
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Buffer
---@field position integer offset of the next byte to read or write; read-only, see seek
---@field limit integer offset behind the last byte that may be read or written; read-only, see set_limit
---@field capacity integer bytes in all; read-only
---@field is_open boolean whether it has not been released
---@field is_read_only boolean
---@field zone string "native", "heap", "shared" or "wrapped": where the memory comes from
local Buffer = {}

--- Gives the memory back. Any later use raises "closed"; releasing again does nothing. Slices made of the buffer keep
--- theirs.
function Buffer:close() end

--- Makes room behind a rest that has not been read: it moves to the front, the position behind it, the limit to the
--- capacity.
function Buffer:compact() end

--- CRC-32 (zlib's and Ethernet's) of the remaining bytes, going on from `crc` where one is given.
---@param crc? integer
---@return integer
function Buffer:crc32(crc) end

--- The descriptor of shared memory, to be handed to another process; it belongs to the memory. Raises "argument" for
--- other zones.
---@return integer
function Buffer:descriptor() end

--- Whether the remaining bytes are those of a string or buffer. (== asks whether two variables are one buffer.)
---@param other string|moonring.Buffer
---@return boolean
function Buffer:equals(other) end

--- Sets every byte from the position to the limit. The position stays.
---@param byte integer
function Buffer:fill(byte) end

--- The f32 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_f32(offset) end

--- The f32_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_f32_le(offset) end

--- The f64 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_f64(offset) end

--- The f64_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_f64_le(offset) end

--- The i16 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i16(offset) end

--- The i16_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i16_le(offset) end

--- The i32 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i32(offset) end

--- The i32_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i32_le(offset) end

--- The i64 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i64(offset) end

--- The i64_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i64_le(offset) end

--- The i8 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i8(offset) end

--- The i8_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_i8_le(offset) end

--- `count` bytes from the absolute `offset` on as a string. The position stays.
---@param offset integer
---@param count integer
---@return string
function Buffer:get_string(offset, count) end

--- The u16 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u16(offset) end

--- The u16_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u16_le(offset) end

--- The u24 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u24(offset) end

--- The u24_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u24_le(offset) end

--- The u32 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u32(offset) end

--- The u32_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u32_le(offset) end

--- The u53 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u53(offset) end

--- The u53_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u53_le(offset) end

--- The u64 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u64(offset) end

--- The u64_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u64_le(offset) end

--- The u8 at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u8(offset) end

--- The u8_le at an offset from byte 0, before the limit. The position stays.
---@param offset integer bytes
---@return number
function Buffer:get_u8_le(offset) end

--- A number of 32 bits that spreads well over the remaining bytes, for tables. It may change with a version, and does
--- not protect against chosen keys.
---@param seed? integer
---@return integer
function Buffer:hash(seed) end

--- Offset of the first occurrence of a byte, a string or another buffer's remaining bytes, at `from` or behind it; nil
--- when there is none. Nothing is found at once.
---@param needle integer|string|moonring.Buffer
---@param from? integer default 0
---@return integer?
function Buffer:index_of(needle, from) end

--- Whether the remaining bytes are well-formed UTF-8; when not, also how many of them are, from the position on.
---@return boolean valid
---@return integer? offset
function Buffer:is_utf8() end

--- Offset of the first byte that differs from those of a string or buffer; the shorter one's length when it begins the
--- longer; nil when they are equal.
---@param other string|moonring.Buffer
---@return integer?
function Buffer:mismatch(other) end

--- The address of byte 0, not of the position. The way out of all checks, to FFI: valid until the buffer is released,
--- and nothing keeps the memory for it.
---@return ffi.cdata* address uint8_t *
function Buffer:pointer() end

--- Reads `count` numbers of a type such as "u16" or "f64_le" into a table, a new one unless `into` is given.
---@param type_name string
---@param count integer
---@param into? table filled from 1 on
---@return table
function Buffer:read_array(type_name, count, into) end

--- The same, and the position moves behind it.
---@param count? integer
---@return moonring.Buffer
function Buffer:read_buffer(count) end

--- Reads the decimal digits at the position, up to the first other character, as a number.
---@return number? value
---@return string? message
---@return string? code "EILSEQ": no digit; "ERANGE": above 2^53 - 1
function Buffer:read_decimal() end

--- Reads a f32 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_f32() end

--- Reads a f32_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_f32_le() end

--- Reads a f64 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_f64() end

--- Reads a f64_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_f64_le() end

--- The same with hexadecimal digits of either case.
function Buffer:read_hexadecimal() end

--- Reads a i16 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i16() end

--- Reads a i16_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i16_le() end

--- Reads a i32 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i32() end

--- Reads a i32_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i32_le() end

--- Reads a i64 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i64() end

--- Reads a i64_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i64_le() end

--- Reads a i8 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i8() end

--- Reads a i8_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_i8_le() end

--- Copies `count` bytes (default: all that remain) into a cdata of the caller's. The position moves behind them.
---@param target ffi.cdata* an array or structure, or a pointer with a count
---@param count? integer
function Buffer:read_into(target, count) end

--- Reads up to the next LF and returns the line without it and without a CR before it. Raises "underflow" when there is
--- no LF.
---@param max? integer bytes of the line
---@return string? line
---@return string? message
---@return string? code "EMSGSIZE" for a line that is longer than max
function Buffer:read_line(max) end

--- Copies `count` bytes (default: all that remain) out as a string.
---@param count? integer
---@return string
function Buffer:read_string(count) end

--- Reads a string that its length, a u16, precedes.
---@return string
function Buffer:read_string_u16() end

--- Reads a string that its length, a u16_le, precedes.
---@return string
function Buffer:read_string_u16_le() end

--- Reads a string that its length, a u32, precedes.
---@return string
function Buffer:read_string_u32() end

--- Reads a string that its length, a u32_le, precedes.
---@return string
function Buffer:read_string_u32_le() end

--- Reads a string that its length, a u8, precedes.
---@return string
function Buffer:read_string_u8() end

--- Reads a u16 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u16() end

--- Reads a u16_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u16_le() end

--- Reads a u24 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u24() end

--- Reads a u24_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u24_le() end

--- Reads a u32 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u32() end

--- Reads a u32_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u32_le() end

--- Reads a u53 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u53() end

--- Reads a u53_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u53_le() end

--- Reads a u64 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u64() end

--- Reads a u64_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u64_le() end

--- Reads a u8 at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u8() end

--- Reads a u8_le at the position, which moves behind it. u and i are whole numbers with as many bits, f floating-point ones;
--- the 64-bit ones are cdata; a u53 takes eight bytes and is a Lua number, and raises when it would not be exact.
---@return number
function Buffer:read_u8_le() end

--- Reads `count` bytes (default: all that remain) as a string of well-formed UTF-8.
---@param count? integer bytes
---@return string? text
---@return string? message
---@return string? code "EILSEQ"
function Buffer:read_utf8(count) end

--- The same, with U+FFFD in place of each ill-formed part.
---@param count? integer bytes
---@return string text
function Buffer:read_utf8_lenient(count) end

--- Reads an unsigned LEB128 number.
---@return number? value
---@return string? message
---@return string? code "EILSEQ": longer than ten bytes; "ERANGE": above 2^53 - 1
function Buffer:read_varint() end

--- Reads a variable byte integer of MQTT (version 5, section 1.5.5): LEB128 of at most four bytes, and no more than it
--- needs.
---@type any
Buffer.read_varint_mqtt = nil

--- Gives the memory back. Any later use raises "closed"; releasing again does nothing. Slices made of the buffer keep
--- theirs.
function Buffer:release() end

--- Bytes between position and limit.
---@return integer
function Buffer:remaining() end

--- After writing: what was written can be read. Limit = position, position = 0.
function Buffer:reset_for_read() end

--- Position 0, limit = capacity.
function Buffer:reset_for_write() end

--- A buffer over the same remaining bytes that stays valid when this one moves on: for keeping what a connection's read
--- gave. A few bytes of a large receive buffer are copied out, so that they don't pin all of it.
---@return moonring.Buffer
function Buffer:retain() end

--- Sets the position. Returns the buffer.
---@param position integer from 0 to the limit
function Buffer:seek(position) end

--- The same as write at an absolute offset; the position stays.
---@param offset integer
---@param source string|moonring.Buffer|ffi.cdata*
---@param count? integer
function Buffer:set_bytes(offset, source, count) end

--- Sets the f32 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_f32(offset, value) end

--- Sets the f32_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_f32_le(offset, value) end

--- Sets the f64 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_f64(offset, value) end

--- Sets the f64_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_f64_le(offset, value) end

--- Sets the i16 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i16(offset, value) end

--- Sets the i16_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i16_le(offset, value) end

--- Sets the i32 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i32(offset, value) end

--- Sets the i32_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i32_le(offset, value) end

--- Sets the i64 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i64(offset, value) end

--- Sets the i64_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i64_le(offset, value) end

--- Sets the i8 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i8(offset, value) end

--- Sets the i8_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_i8_le(offset, value) end

--- Sets the limit, which must lie between position and capacity. Returns the buffer.
---@param limit integer
function Buffer:set_limit(limit) end

--- Sets the u16 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u16(offset, value) end

--- Sets the u16_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u16_le(offset, value) end

--- Sets the u24 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u24(offset, value) end

--- Sets the u24_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u24_le(offset, value) end

--- Sets the u32 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u32(offset, value) end

--- Sets the u32_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u32_le(offset, value) end

--- Sets the u53 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u53(offset, value) end

--- Sets the u53_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u53_le(offset, value) end

--- Sets the u64 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u64(offset, value) end

--- Sets the u64_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u64_le(offset, value) end

--- Sets the u8 at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u8(offset, value) end

--- Sets the u8_le at an offset from byte 0, before the limit. The position stays. Returns the buffer.
---@param offset integer bytes
---@param value number
---@return moonring.Buffer
function Buffer:set_u8_le(offset, value) end

--- Advances the position over `count` bytes (default: all that remain). Returns the buffer.
---@param count? integer
function Buffer:skip(count) end

--- A buffer over `count` bytes from the position on (default: up to the limit): the same memory, which it keeps alive
--- by itself, and so writes are seen both ways. The position stays. The slice is the caller's to release.
---@param count? integer
---@return moonring.Buffer
function Buffer:slice(count) end

--- Whether the remaining bytes begin with those of a string or buffer.
---@param other string|moonring.Buffer
---@return boolean
function Buffer:starts_with(other) end

--- The remaining bytes as base64. The position stays.
---@param options? moonring.Base64Options
---@return string
function Buffer:to_base64(options) end

--- The remaining bytes in memory of Lua's collector: of a whole heap buffer the same memory, otherwise a copy.
---@return moonring.Buffer
function Buffer:to_heap() end

--- The remaining bytes as lower-case hexadecimal digits. The position stays.
---@return string
function Buffer:to_hex() end

--- The same, to be written to.
---@return moonring.Buffer
function Buffer:to_mutable_native() end

--- An independent, read-only copy of the remaining bytes in native memory, position 0. The source is unchanged.
---@return moonring.Buffer
function Buffer:to_native() end

--- The remaining bytes as a string. The position stays.
---@return string
function Buffer:to_string() end

--- Writes a string, the remaining bytes of another buffer (whose position stays), or `count` bytes of a cdata.
--- All or nothing; source and target may overlap.
---@param source string|moonring.Buffer|ffi.cdata*
---@param count? integer bytes; default: all
function Buffer:write(source, count) end

--- Writes the numbers values[from] to values[to] (default: all). All or nothing.
---@param type_name string
---@param values number[]
---@param from? integer default 1
---@param to? integer default #values
function Buffer:write_array(type_name, values, from, to) end

--- Writes the bytes that base64 stands for, strictly: padding and unused bits as an encoder writes them, no white
--- space. The room up to the limit bounds the output.
---@param text string|moonring.Buffer
---@param options? moonring.Base64Options
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code "EILSEQ"
function Buffer:write_base64(text, options) end

--- Writes a f32 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_f32(value) end

--- Writes a f32_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_f32_le(value) end

--- Writes a f64 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_f64(value) end

--- Writes a f64_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_f64_le(value) end

--- Writes the bytes that hexadecimal digits stand for.
---@param text string|moonring.Buffer
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code "EILSEQ"
function Buffer:write_hex(text) end

--- Writes a i16 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i16(value) end

--- Writes a i16_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i16_le(value) end

--- Writes a i32 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i32(value) end

--- Writes a i32_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i32_le(value) end

--- Writes a i64 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i64(value) end

--- Writes a i64_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i64_le(value) end

--- Writes a i8 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i8(value) end

--- Writes a i8_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_i8_le(value) end

--- Writes the length of a string or buffer as a u16 and then its bytes. All or nothing. Returns the buffer.
---@param text string|moonring.Buffer
---@return moonring.Buffer
function Buffer:write_string_u16(text) end

--- Writes the length of a string or buffer as a u16_le and then its bytes. All or nothing. Returns the buffer.
---@param text string|moonring.Buffer
---@return moonring.Buffer
function Buffer:write_string_u16_le(text) end

--- Writes the length of a string or buffer as a u32 and then its bytes. All or nothing. Returns the buffer.
---@param text string|moonring.Buffer
---@return moonring.Buffer
function Buffer:write_string_u32(text) end

--- Writes the length of a string or buffer as a u32_le and then its bytes. All or nothing. Returns the buffer.
---@param text string|moonring.Buffer
---@return moonring.Buffer
function Buffer:write_string_u32_le(text) end

--- Writes the length of a string or buffer as a u8 and then its bytes. All or nothing. Returns the buffer.
---@param text string|moonring.Buffer
---@return moonring.Buffer
function Buffer:write_string_u8(text) end

--- Writes a u16 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u16(value) end

--- Writes a u16_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u16_le(value) end

--- Writes a u24 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u24(value) end

--- Writes a u24_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u24_le(value) end

--- Writes a u32 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u32(value) end

--- Writes a u32_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u32_le(value) end

--- Writes a u53 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u53(value) end

--- Writes a u53_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u53_le(value) end

--- Writes a u64 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u64(value) end

--- Writes a u64_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u64_le(value) end

--- Writes a u8 at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u8(value) end

--- Writes a u8_le at the position, which moves behind it. A value that it can't hold raises "argument". Returns the buffer.
---@param value number
---@return moonring.Buffer
function Buffer:write_u8_le(value) end

--- Writes an unsigned LEB128 number of up to 2^53 - 1.
---@param value number
function Buffer:write_varint(value) end

--- Writes a variable byte integer of MQTT, up to 268 435 455.
---@param value number
function Buffer:write_varint_mqtt(value) end

--- Masks or unmasks the remaining bytes in place (RFC 6455 section 5.3): each is XORed with one of the key's four, the
--- first with number `offset` modulo 4. The position stays.
---@param key integer|string a number (network order) or four bytes
---@param offset? integer of the first remaining byte in its message; default 0
function Buffer:xor_mask(key, offset) end

---@class moonring.BufferPool
---@field size integer bytes of a buffer that is acquired without a size
local BufferPool = {}

--- A buffer of `size` bytes (default: the pool's), position 0, limit = capacity. What is in it is left from earlier
--- use. Release it through itself, or give it to a scope.
---@param size? integer
---@return moonring.Buffer
function BufferPool:acquire(size) end

--- Frees what is idle. Buffers in use stay good; releasing them frees them. Closing again does nothing.
function BufferPool:close() end

--- Counters: acquired, reused and released since the start; in_use, idle_count and idle_bytes now.
---@return table<string, number>
function BufferPool:statistics() end

---@class moonring.Chain
local Chain = {}

--- Puts the remaining bytes of a buffer, or a string, at the end. The chain takes the buffer over: it is closed for its
--- old owner. An empty one is released. Raises "overflow" when the chain would hold more than max_bytes; then nothing
--- is taken.
---@param source moonring.Buffer|string
---@return moonring.Chain self
function Chain:append(source) end

--- Bytes that can be read.
---@return integer
function Chain:available() end

--- Lets go of everything. What the chain has given out stays. Closing again does nothing.
function Chain:close() end

--- Offset of the first occurrence of a byte or a string that is not empty; nil when there is none.
---@param needle integer|string
---@return integer?
function Chain:index_of(needle) end

--- The slices as iovecs of the caller's, for a gathering send. The bytes stay in the chain.
---@return moonring.Iovec[]
function Chain:iovecs() end

--- Whether its owner should stop feeding it: true from `high` bytes on, until it has come down to `low`.
---@return boolean
function Chain:is_full() end

--- The f32 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_f32(offset) end

--- The f32_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_f32_le(offset) end

--- The f64 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_f64(offset) end

--- The f64_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_f64_le(offset) end

--- The i16 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i16(offset) end

--- The i16_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i16_le(offset) end

--- The i32 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i32(offset) end

--- The i32_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i32_le(offset) end

--- The i64 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i64(offset) end

--- The i64_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i64_le(offset) end

--- The i8 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i8(offset) end

--- The i8_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_i8_le(offset) end

--- `count` bytes as a string, from `offset` (default 0) on. They stay.
---@param count integer
---@param offset? integer
---@return string
function Chain:peek_string(count, offset) end

--- The u16 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u16(offset) end

--- The u16_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u16_le(offset) end

--- The u24 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u24(offset) end

--- The u24_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u24_le(offset) end

--- The u32 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u32(offset) end

--- The u32_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u32_le(offset) end

--- The u64 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u64(offset) end

--- The u64_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u64_le(offset) end

--- The u8 at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u8(offset) end

--- The u8_le at an offset from the first byte, default 0; nothing is read.
---@param offset? integer bytes
---@return number
function Chain:peek_u8_le(offset) end

--- Reads a f32, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_f32() end

--- Reads a f32_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_f32_le() end

--- Reads a f64, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_f64() end

--- Reads a f64_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_f64_le() end

--- Reads a i16, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i16() end

--- Reads a i16_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i16_le() end

--- Reads a i32, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i32() end

--- Reads a i32_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i32_le() end

--- Reads a i64, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i64() end

--- Reads a i64_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i64_le() end

--- Reads a i8, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i8() end

--- Reads a i8_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_i8_le() end

--- Reads a line, which ends with LF; neither it nor a CR before it is returned. Raises "underflow" when there is no LF;
--- try_read_line returns nil for that.
---@param max? integer bytes of the line
---@return string? line
---@return string? message
---@return string? code "EMSGSIZE": more than max bytes without LF
function Chain:read_line(max) end

--- Reads a u16, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u16() end

--- Reads a u16_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u16_le() end

--- Reads a u24, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u24() end

--- Reads a u24_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u24_le() end

--- Reads a u32, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u32() end

--- Reads a u32_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u32_le() end

--- Reads a u64, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u64() end

--- Reads a u64_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u64_le() end

--- Reads a u8, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u8() end

--- Reads a u8_le, wherever its bytes lie. Raises "underflow" when they have not all come.
---@return number
function Chain:read_u8_le() end

--- Reads up to the delimiter and returns what is before it; the delimiter is skipped. Raises "underflow" when it is not
--- there; try_read_until returns nil for that.
---@param delimiter string
---@param max? integer bytes before it
---@return string? text
---@return string? message
---@return string? code "EMSGSIZE": more than max bytes without it
function Chain:read_until(delimiter, max) end

--- Lets go of everything. What the chain has given out stays. Closing again does nothing.
function Chain:release() end

--- All bytes as a string. They stay.
---@return string
function Chain:to_string() end

--- The f32 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_f32(offset) end

--- The f32_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_f32_le(offset) end

--- The f64 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_f64(offset) end

--- The f64_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_f64_le(offset) end

--- The i16 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i16(offset) end

--- The i16_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i16_le(offset) end

--- The i32 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i32(offset) end

--- The i32_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i32_le(offset) end

--- The i64 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i64(offset) end

--- The i64_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i64_le(offset) end

--- The i8 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i8(offset) end

--- The i8_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_i8_le(offset) end

--- The u16 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u16(offset) end

--- The u16_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u16_le(offset) end

--- The u24 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u24(offset) end

--- The u24_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u24_le(offset) end

--- The u32 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u32(offset) end

--- The u32_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u32_le(offset) end

--- The u64 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u64(offset) end

--- The u64_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u64_le(offset) end

--- The u8 at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u8(offset) end

--- The u8_le at an offset, default 0; nil when its bytes have not all come.
---@param offset? integer bytes
---@return number?
function Chain:try_peek_u8_le(offset) end

--- Reads a f32; nil when its bytes have not all come.
---@return number?
function Chain:try_read_f32() end

--- Reads a f32_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_f32_le() end

--- Reads a f64; nil when its bytes have not all come.
---@return number?
function Chain:try_read_f64() end

--- Reads a f64_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_f64_le() end

--- Reads a i16; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i16() end

--- Reads a i16_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i16_le() end

--- Reads a i32; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i32() end

--- Reads a i32_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i32_le() end

--- Reads a i64; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i64() end

--- Reads a i64_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i64_le() end

--- Reads a i8; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i8() end

--- Reads a i8_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_i8_le() end

--- The same, but nil alone when there is no LF.
---@param max? integer bytes of the line
---@return string? line
---@return string? message
---@return string? code "EMSGSIZE"
function Chain:try_read_line(max) end

--- Reads a u16; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u16() end

--- Reads a u16_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u16_le() end

--- Reads a u24; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u24() end

--- Reads a u24_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u24_le() end

--- Reads a u32; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u32() end

--- Reads a u32_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u32_le() end

--- Reads a u64; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u64() end

--- Reads a u64_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u64_le() end

--- Reads a u8; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u8() end

--- Reads a u8_le; nil when its bytes have not all come.
---@return number?
function Chain:try_read_u8_le() end

--- The same, but nil alone when the delimiter has not come.
---@param delimiter integer|string
---@param max? integer bytes without it
---@return string? bytes
---@return string? message
---@return string? code "EMSGSIZE"
function Chain:try_read_until(delimiter, max) end

---@class moonring.Deflater
local Deflater = {}

--- Frees the stream's memory; closing again does nothing.
function Deflater:close() end

--- Makes the stream as new: what follows is a stream of its own, and refers to nothing before.
function Deflater:reset() end

--- Compresses from one buffer to another until the input is used up or the target is full. With `finish` the input is
--- the last; call it again with room until it returns true.
---@param source moonring.Buffer
---@param target moonring.Buffer
---@param finish? boolean
---@return boolean? ended
---@return string? message
---@return string? code
function Deflater:run(source, target, finish) end

--- Compresses a piece and returns what there is of output as a buffer of the caller's. "sync" makes it hold all of the
--- input so far (its last bytes are then 00 00 ff ff), "full" makes also what follows readable without it, "finish" ends the
--- stream.
---@param source string|moonring.Buffer
---@param flush? "sync"|"full"|"finish"
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function Deflater:update(source, flush) end

---@class moonring.Inflater
---@field ended boolean whether the end of the compressed stream has come
local Inflater = {}

--- Bounds what the stream gives from now on, for a stream that lasts longer than one message.
---@param max_bytes integer
function Inflater:allow(max_bytes) end

--- Frees the stream's memory; closing again does nothing.
function Inflater:close() end

--- Makes the stream as new, max_bytes included: what follows is a stream of its own.
function Inflater:reset() end

--- Decompresses from one buffer to another until the input is used up or the target is full. What stands behind the end
--- of the stream is left in source.
---@param source moonring.Buffer
---@param target moonring.Buffer
---@return boolean? ended nil for input that is not of the format, or stands for more than max_bytes
---@return string? message
---@return string? code "EILSEQ", "EMSGSIZE"
function Inflater:run(source, target) end

--- Decompresses all of a piece and returns the output as a buffer of the caller's.
---@param source string|moonring.Buffer
---@return moonring.Buffer? output
---@return string? message
---@return string? code "EILSEQ", or "EMSGSIZE" when the output would pass max_bytes
function Inflater:update(source) end

---@class moonring.Struct
---@field size integer bytes of the fields whose size is fixed
local Struct = {}

--- Reads a record from a buffer or a chain, into a new table unless `into` is given. Raises "underflow" when it is not
--- all there.
---@param source moonring.Buffer|moonring.Chain
---@param into? table
---@return table? record
---@return string? message
---@return string? code "EILSEQ" or "ERANGE": a number of variable length that is none
function Struct:read(source, into) end

--- The same; nil when the record is not all there yet.
---@param source moonring.Buffer|moonring.Chain
---@param into? table
---@return table? record
---@return string? message
---@return string? code as of read
function Struct:try_read(source, into) end

--- Writes a record. A number that is the size of another field may be left out; a wrong one raises "argument".
---@param target moonring.Buffer
---@param record table
---@return moonring.Buffer target
function Struct:write(target, record) end

---@class moonring.Utf8Decoder
local Utf8Decoder = {}

--- The text up to the last complete character. A buffer's remaining bytes are all taken.
---@param piece string|moonring.Buffer
---@return string? text
---@return string? message
---@return string? code "EILSEQ"; the decoder goes no further
function Utf8Decoder:decode(piece) end

--- What is left at the end: nothing, or U+FFFD for a cut sequence when the decoder is lenient.
---@return string? text
---@return string? message
---@return string? code "EILSEQ"
function Utf8Decoder:finish() end

---@class moonring.AllocateOptions
---@field zone? "native"|"heap"|"shared" default "native"
---@field alignment? integer of the address of byte 0: a power of two
local AllocateOptions = {}

---@class moonring.Base64Options
---@field url? boolean the alphabet for URLs and file names (RFC 4648 section 5)
---@field bare? boolean without "=" at the end
local Base64Options = {}

---@class moonring.BufferPoolOptions
---@field size integer bytes of its buffers
---@field max_bytes? integer of idle memory that it keeps; default 64 buffers of its size
local BufferPoolOptions = {}

---@class moonring.ChainOptions
---@field max_bytes? integer that append lets the chain hold; default no bound
---@field high? integer bytes at which is_full becomes true; default max_bytes
---@field low? integer bytes at which it becomes false again; default half of high
local ChainOptions = {}

---@class moonring.DeflateOptions
---@field format? "zlib"|"gzip"|"raw" default "zlib"
---@field level? integer 0 (none) to 9 (best)
---@field window_bits? integer 9 to 15: how far back the output refers, and memory for it; default 15
local DeflateOptions = {}

---@class moonring.InflateOptions
---@field format? "zlib"|"gzip"|"raw" default "zlib"
---@field max_bytes? integer of output in all; default 16 MiB
---@field window_bits? integer 8 to 15: not less than the compressor's; default 15
local InflateOptions = {}

--- cursors over native memory.
--- 
--- A buffer has a position, a limit and a capacity; reading and writing move the position and stop at the limit. Every
--- access is checked; one that would leave [position, limit) raises "underflow" or "overflow" and changes nothing. A
--- released buffer has position = limit = capacity = 0, so the same check catches its use, and the slow path says
--- "closed".
--- 
--- Numbers are in network byte order; the names that end in _le are little-endian. The methods are spread over modules
--- by subject: bytes, numbers, search, text, encoding, utf8, arrays; chain, pool, struct and zlib are objects of their
--- own.
local module = {}

--- the methods, for moonring.trace
---@type any
module.Buffer = nil

--- A buffer of `capacity` bytes: position 0, limit = capacity. Zone "native" (the default) is slab memory at a stable
--- address, not zeroed: release it, or let a scope do so (scope:allocate); what is forgotten is freed by the collector.
--- "heap" is zeroed memory of Lua's collector; releasing it is optional. "shared" is zeroed memory that another process
--- can map through b:descriptor().
--- ```lua
--- local buffer = require "moonring.buffer"
--- 
--- local message = buffer.allocate(64)
--- message:write_u16(5):write "moon!"
--- message:reset_for_read()
--- assert(message:read_string(message:read_u16()) == "moon!")
--- message:release()
--- ```
---@param capacity integer bytes
---@param options? moonring.AllocateOptions
---@return moonring.Buffer
function module.allocate(capacity, options) end

--- Bytes that come in pieces, as from a connection: see moonring.buffer.chain.
---@param options? moonring.ChainOptions
---@return moonring.Chain
function module.chain(options) end

--- Compresses a string or a buffer at once.
---@param source string|moonring.Buffer
---@param options? moonring.DeflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function module.deflate(source, options) end

--- A stream that compresses.
---@param options? moonring.DeflateOptions
---@return moonring.Deflater
function module.deflater(options) end

--- Decompresses a string or a buffer at once.
---@param source string|moonring.Buffer
---@param options? moonring.InflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function module.inflate(source, options) end

--- A stream that decompresses: see moonring.buffer.zlib.
---@param options? moonring.InflateOptions
---@return moonring.Inflater
function module.inflater(options) end

--- Whether a value is a buffer.
---@return boolean
function module.is(value) end

--- Maps the memory of another process's shared buffer. The descriptor stays the caller's, who may close it afterwards.
---@param descriptor integer
---@param capacity integer bytes
---@return moonring.Buffer? buffer
---@return string? message
---@return string? code
function module.open_shared(descriptor, capacity) end

--- A pool of buffers: see moonring.buffer.pool.
---@param options moonring.BufferPoolOptions
---@return moonring.BufferPool
function module.pool(options) end

--- A reader and writer of records: see moonring.buffer.struct.
---@param fields table
---@return moonring.Struct
function module.struct(fields) end

--- Keeps UTF-8 sequences that are cut at the end of a piece: see moonring.buffer.utf8.
---@param options? { lenient?: boolean } lenient: U+FFFD in place of ill-formed parts instead of a failure
---@return moonring.Utf8Decoder
function module.utf8_decoder(options) end

--- A buffer over what is there already. A string gives a read-only view that keeps the string; a cdata is shared:
--- writes are seen both ways, and the cdata is kept, though not what a pointer points at.
---@param source string|ffi.cdata*
---@param count? integer bytes; needed for a pointer
---@return moonring.Buffer
function module.wrap(source, count) end

return module
