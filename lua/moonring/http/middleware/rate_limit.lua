--- moonring.http.middleware.rate_limit: so many requests per second from one client, by a moonring.limiter. It counts in
--- this process alone.

local errors = require "moonring.errors"
local limiter = require "moonring.limiter"

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

--- Makes the middleware. Who asks too often gets 429, and is told when to come again.
---@param options moonring.http.RateLimitOptions
---@return function
function M.new(options)
  options = options or {}
  errors.check_options("http.rate_limit", options, OPTIONS)
  local per_second = check_number("per_second", options.per_second or 0)
  local limit = limiter.new {
    rate = per_second, burst = math.max(1, check_number("burst", options.burst or per_second * 10)),
    keys = math.max(1, check_number("clients", options.clients or 10000)),
  }
  local key_of = options.key or client_of
  return function(request, response, next)
    local key = key_of(request)
    if key == nil then return next(request, response) end
    local ok, wait = limit:try(key)
    if ok then return next(request, response) end
    return response:send(429, "Too Many Requests\n", { ["Retry-After"] = ("%d"):format(math.ceil(wait)) })
  end
end

return M
