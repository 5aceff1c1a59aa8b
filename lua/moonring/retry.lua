-- moonring.retry: doing something again that the world may let succeed later.
--
-- What is returned as nil, message, code is tried again; what is raised is not: misuse stays misuse, and a cancellation or
-- a deadline ends it as it ends everything. Pauses grow, and differ at random, so that many who have lost the same server
-- don't come back at the same moment.

local errors = require "moonring.errors"
local time = require "moonring.time"

---@class moonring.RetryOptions
---@field attempts? integer how many in all, default: until the scope's deadline
---@field first? number seconds of the first pause, default 0.1
---@field most? number seconds of the longest pause, default 30
---@field factor? number by which a pause is longer than the one before, default 2
---@field jitter? number share of a pause that is left to chance, 0 to 1, default 0.5
---@field codes? string[] the codes after which it is tried again, default: any
---@field on_failure? fun(attempt: integer, message: string?, code: string?, pause: number) told before each pause

local M = {}

local OPTIONS = {
  attempts = "number", first = "number", most = "number", factor = "number", jitter = "number", codes = "table",
  on_failure = "function",
}
local DEFAULTS = { attempts = math.huge, first = 0.1, most = 30, factor = 2, jitter = 0.5 }
local LEAST = { attempts = 1, first = 0, most = 0, factor = 1, jitter = 0 }

local function settings_of(options)
  if type(options) ~= "table" then
    errors.raise("argument", "moonring.retry: options such as { attempts = 5 } are needed, not a %s", type(options))
  end
  errors.check_options("moonring.retry", options, OPTIONS)
  local settings = {}
  for name, default in pairs(DEFAULTS) do
    local value = options[name] or default
    if value < LEAST[name] or value ~= value or name == "jitter" and value > 1 then
      errors.raise("argument", "moonring.retry: %s is %s%s, not %s", name, name == "jitter" and "from 0 to 1" or "at least ",
        name == "jitter" and "" or LEAST[name], tostring(value))
    end
    settings[name] = value
  end
  if options.codes then
    settings.codes = {}
    for _, code in ipairs(options.codes) do settings.codes[code] = true end
  end
  settings.on_failure = options.on_failure
  return settings
end

-- The pause before the next attempt, nil when there is none.
local function pause_after(settings, attempt, message, code)
  if attempt >= settings.attempts or settings.codes and not settings.codes[code] then return nil end
  local pause = math.min(settings.first * settings.factor ^ (attempt - 1), settings.most)
  pause = pause * (1 - settings.jitter * math.random())
  if settings.on_failure then settings.on_failure(attempt, message, code, pause) end
  return pause
end

local function pack(...)
  return { n = select("#", ...), ... }
end

--- See moonring.retry. Internal.
function M.retry(options, fn, ...)
  local settings = settings_of(options)
  errors.check_function("moonring.retry", fn)
  local attempt = 0
  while true do
    attempt = attempt + 1
    local results = pack(fn(...))
    local pause = not results[1] and pause_after(settings, attempt, results[2], results[3])
    if not pause then return unpack(results, 1, results.n) end
    time.sleep(pause)
  end
end

return M
