--- moonring.http.middleware.rate_limit: so many requests per second from one client, by a bucket that fills as time
--- passes. It counts in this process alone.

local errors = require "moonring.errors"
local clock = require "moonring.clock"

local M = {}

---@class moonring.http.RateLimitOptions
---@field per_second number requests that a client may make for ever; 1/60 is one per minute
---@field burst? number so many at once after a pause; default: what 10 seconds bring, at least 1
--@field key? fun(request: moonring.http.Request): any whose requests count together; default the client's address; nil:
-- not counted
---@field clients? integer of so many is taken note; default 10000

local OPTIONS = { per_second = "number", burst = "number", key = "function", clients = "number" }

local function client_of(request)
  return request.client
end

local function check_number(name, value)
  if not (value > 0 and value < math.huge) then
    errors.raise("argument", "http.rate_limit: %s is a number above 0, not %s", name, tostring(value))
  end
  return value
end

-- Forgets whose bucket is full again, as if they had never come; and all where that leaves too many, rather than growing.
local function make_room(self, now)
  local count = 0
  for key, bucket in pairs(self.buckets) do
    if bucket.tokens + (now - bucket.at) * self.per_second >= self.burst then
      self.buckets[key] = nil
    else
      count = count + 1
    end
  end
  if count >= self.clients then
    self.buckets, count = {}, 0
  end
  self.count = count
end

-- Takes one from a client's bucket. Result: nil; or the seconds until there is one.
local function take(self, key)
  local now = clock.now()
  local bucket = self.buckets[key]
  if not bucket then
    if self.count >= self.clients then make_room(self, now) end
    bucket = { tokens = self.burst, at = now }
    self.buckets[key], self.count = bucket, self.count + 1
  end
  bucket.tokens = math.min(self.burst, bucket.tokens + (now - bucket.at) * self.per_second)
  bucket.at = now
  if bucket.tokens < 1 then return (1 - bucket.tokens) / self.per_second end
  bucket.tokens = bucket.tokens - 1
end

--- Makes the middleware. Who asks too often gets 429, and is told when to come again.
---@param options moonring.http.RateLimitOptions
---@return function
function M.new(options)
  options = options or {}
  errors.check_options("http.rate_limit", options, OPTIONS)
  local per_second = check_number("per_second", options.per_second or 0)
  local self = { per_second = per_second, burst = math.max(1, check_number("burst", options.burst or per_second * 10)),
    clients = check_number("clients", options.clients or 10000), buckets = {}, count = 0 }
  local key_of = options.key or client_of
  return function(request, response, next)
    local key = key_of(request)
    local wait = key ~= nil and take(self, key)
    if wait then return response:send(429, "Too Many Requests\n", { ["Retry-After"] = ("%d"):format(math.ceil(wait)) }) end
    return next(request, response)
  end
end

return M
