-- Random decisions that are the same for the same seed, one source for each worker: what others do, and how fast, has no
-- part in them.

local bit = require "bit"

local M = {}

---@class soak.Random
local Random = {}
Random.__index = Random

function M.new(seed)
  return setmetatable({ state = bit.bxor(bit.tobit(seed * 2654435761 % 4294967296), 0x5bd1e995) }, Random)
end

-- Marsaglia's xorshift32.
function Random:next()
  local x = self.state
  x = bit.bxor(x, bit.lshift(x, 13))
  x = bit.bxor(x, bit.rshift(x, 17))
  x = bit.bxor(x, bit.lshift(x, 5))
  if x == 0 then x = 1 end
  self.state = x
  return x % 4294967296
end

--- A whole number from 1 to `n`, or from `low` to `high`.
function Random:number(low, high)
  if not high then low, high = 1, low end
  return low + self:next() % (high - low + 1)
end

--- Whether it happens this time, one time of `n`.
function Random:chance(n)
  return self:next() % n == 0
end

function Random:pick(list)
  return list[self:number(#list)]
end

--- Seconds, most of them short: from 50 microseconds to `max`, every power of two as often as any other.
function Random:seconds(max)
  return 50e-6 * (max / 50e-6) ^ (self:next() / 4294967296)
end

return M
