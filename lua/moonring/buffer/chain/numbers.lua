-- moonring.buffer.chain.numbers: every primitive across the boundaries of slices: read_T, peek_T(offset) and their try_
-- forms. The build makes them, as those of buffers (scripts/primitives.lua).

--- Reads a NAME, wherever its bytes lie. Raises "underflow" when they have not all come.
---@name Chain:read_NAME()
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le
---@return number

--- The NAME at an offset from the first byte, default 0; nothing is read.
---@name Chain:peek_NAME(offset)
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le
---@param offset? integer bytes
---@return number

--- Reads a NAME; nil when its bytes have not all come.
---@name Chain:try_read_NAME()
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le
---@return number?

--- The NAME at an offset, default 0; nil when its bytes have not all come.
---@name Chain:try_peek_NAME(offset)
---@each NAME = u8 i8 u16 i16 u24 u32 i32 u64 i64 f32 f64
---@each NAME = u8_le i8_le u16_le i16_le u24_le u32_le i32_le u64_le i64_le f32_le f64_le
---@param offset? integer bytes
---@return number?

require "moonring.buffer.chain.primitives"
