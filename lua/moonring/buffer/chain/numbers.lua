-- moonring.buffer.chain.numbers: every primitive across the boundaries of slices: read_T, peek_T(offset) and their try_
-- forms, each a piece of Lua of its own, as in moonring.buffer.numbers.

local buffer_core = require "moonring.buffer.core"
local numbers = require "moonring.buffer.numbers"
local core = require "moonring.buffer.chain.core"

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

local TEMPLATE = [==[
do
local load = raw.NAME.load
function Chain:read_NAME()
  local head = self.head
  if head then
    local position = head.position_
    if head.limit_ - position > SIZE and self.searched == 0 and not self.full then
      local value = load(head.data_ + position)
      head.position_ = position + SIZE
      self.bytes = self.bytes - SIZE
      return value
    end
  end
  if self.bytes < SIZE then refuse(self, "read_NAME", SIZE) end
  local value = load(bytes_at(self, 0, SIZE))
  consume(self, SIZE)
  return value
end
function Chain:peek_NAME(offset)
  if offset == nil then offset = 0 else check_length("chain:peek_NAME", offset) end
  if self.bytes < offset + SIZE then refuse(self, "peek_NAME", offset + SIZE) end
  return load(bytes_at(self, offset, SIZE))
end
function Chain:try_read_NAME()
  if self.bytes < SIZE then check_open(self, "try_read_NAME") return nil end
  return Chain.read_NAME(self)
end
function Chain:try_peek_NAME(offset)
  if offset == nil then offset = 0 else check_length("chain:try_peek_NAME", offset) end
  if self.bytes < offset + SIZE then
    check_open(self, "try_peek_NAME")
    return nil
  end
  return Chain.peek_NAME(self, offset)
end
end
]==]

local text = { "local Chain, raw, bytes_at, consume, refuse, check_open, check_length = ...\n" }
for _, name in ipairs(numbers.names) do
  text[#text + 1] = TEMPLATE:gsub("NAME", name):gsub("SIZE", tostring(numbers.raw[name].size))
end
assert(loadstring(table.concat(text), "=moonring.buffer.chain.numbers"))(core.Chain, numbers.raw, core.bytes_at,
  core.consume, core.refuse, core.check_open, buffer_core.check_length)
