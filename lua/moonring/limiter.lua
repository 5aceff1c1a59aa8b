-- moonring.limiter: so many per second, for each key by itself.
--
-- The bucket of tokens in its other form, the generic cell rate algorithm: all that is kept of a key is the moment at
-- which its bucket will be full again. When that has passed there is nothing to remember, so the moments stand in a
-- cache whose entries expire then, and memory is bounded by its size. A key that falls out early begins with a full bucket.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local clock = require "moonring.clock"
local cache = require "moonring.cache"
local time = require "moonring.time"

---@class moonring.LimiterOptions
---@field rate number per second
---@field burst? number how many at once after a pause, default: the rate, and 1 at least
---@field keys? integer how many are remembered, default 10000

---@class moonring.Limiter
local Limiter = { __name = "moonring.Limiter" }
Limiter.__index = Limiter

local M = {}

local OPTIONS = { rate = "number", burst = "number", keys = "number" }
local ALL = {} -- the key where none is given

--- Makes a limiter.
---@param options moonring.LimiterOptions
---@return moonring.Limiter
function M.new(options)
  if type(options) ~= "table" then
    errors.raise("argument", "moonring.limiter: options such as { rate = 10 } are needed, not a %s", type(options))
  end
  errors.check_options("moonring.limiter", options, OPTIONS)
  local rate = options.rate
  if not (rate and rate > 0 and rate < math.huge) then
    errors.raise("argument", "moonring.limiter: rate is a number per second above 0, not %s", tostring(rate))
  end
  local burst = options.burst or math.max(rate, 1)
  if burst < 1 or burst ~= burst then
    errors.raise("argument", "moonring.limiter: burst is at least 1, not %s", tostring(burst))
  end
  return setmetatable({ interval = 1 / rate, burst = burst, full_at = cache.new { size = options.keys or 10000 } }, Limiter)
end

local function check_count(self, what, count)
  if type(count) == "number" and count > 0 and count <= self.burst then return end
  errors.raise("argument", "limiter:%s: a count above 0 and up to the burst, %g, is needed, not %s", what, self.burst,
    tostring(count))
end

-- Seconds until `count` may pass, 0 when they may now. `most`: they are taken when it is no longer than that.
local function take(self, key, count, most)
  if key == nil then key = ALL end
  local now = clock.now()
  local full_at = math.max(self.full_at:get(key) or now, now) + count * self.interval
  local seconds = math.max(full_at - now - self.burst * self.interval, 0)
  -- Sums of fractions are not exact: what is left of one may be less than a moment of the clock.
  if seconds < 1e-9 then seconds = 0 end
  if seconds <= most then self.full_at:set(key, full_at, full_at - now) end
  return seconds
end

--- Takes one, or `count`, if that is within the limit now. Never waits.
--- ```lua
--- local moonring = require "moonring"
---
--- local limiter = moonring.limiter { rate = 5, burst = 2 }
--- assert(limiter:try "192.0.2.1" and limiter:try "192.0.2.1")
--- local ok, seconds = limiter:try "192.0.2.1"
--- assert(not ok and seconds <= 0.2)
--- ```
---@param key? any whose limit it is, default: one for all
---@param count? number default 1
---@return boolean ok
---@return number seconds until there will be room, 0 when there was
function Limiter:try(key, count)
  count = count or 1
  check_count(self, "try", count)
  local seconds = take(self, key, count, 0)
  return seconds == 0, seconds
end

--- Takes one, or `count`, and waits until that is within the limit. Who waits has his place: later ones wait behind him.
--- A cancelled wait doesn't give back what it has taken.
---@param key? any
---@param count? number default 1
---@return number seconds that this has waited
function Limiter:wait(key, count)
  count = count or 1
  check_count(self, "wait", count)
  scheduler.check()
  local seconds = take(self, key, count, math.huge)
  if seconds > 0 then time.sleep(seconds) end
  return seconds
end

function Limiter:__tostring()
  return ("moonring.Limiter(%g per second, burst %g)"):format(1 / self.interval, self.burst)
end

return M
