-- moonring.cache: values by key, for a time, and only so many: who was asked for least recently goes first.
--
-- Time is moonring.clock's. An entry that is too old is found so when somebody asks, or goes as the last of the line.
-- fetch has one task look for a value however many ask for it. That task may be cancelled or fail; then the next in line
-- looks, for a failure of one is none of the others'.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local failures = require "moonring.failure"
local clock = require "moonring.clock"
local event = require "moonring.event"

local HUGE = math.huge

---@class moonring.CacheOptions
---@field size? integer entries, default 1000
---@field ttl? number seconds that an entry is kept, default: until there are too many

---@class moonring.Cache
local Cache = { __name = "moonring.Cache" }
Cache.__index = Cache

local M = {}

local OPTIONS = { size = "number", ttl = "number" }

local function check_ttl(what, ttl)
  if type(ttl) == "number" and ttl == ttl and ttl > 0 then return end
  errors.raise("argument", "%s: a ttl is a number of seconds above 0, not %s", what, tostring(ttl))
end

--- Makes a cache.
---@param options? moonring.CacheOptions
---@return moonring.Cache
function M.new(options)
  options = errors.options("moonring.cache", options)
  errors.check_options("moonring.cache", options, OPTIONS)
  local size, ttl = options.size or 1000, options.ttl or HUGE
  if size < 1 or size ~= size then errors.raise("argument", "moonring.cache: size is at least 1, not %s", tostring(size)) end
  check_ttl("moonring.cache", ttl)
  local ring = {} -- the entries in a ring, the one that was asked for last behind this one
  ring.newer, ring.older = ring, ring
  return setmetatable({
    size = size, ttl = ttl, ring = ring, entries = {}, entry_count = 0, loading = {}, hits = 0, misses = 0, evicted = 0,
  }, Cache)
end

local function unlink(entry)
  entry.newer.older, entry.older.newer = entry.older, entry.newer
end

local function link(ring, entry)
  local newest = ring.older
  entry.newer, entry.older = ring, newest
  ring.older, newest.newer = entry, entry
end

local function remove(self, entry)
  unlink(entry)
  self.entries[entry.key] = nil
  self.entry_count = self.entry_count - 1
end

--- The value of a key, and how many seconds ago it was set.
---@param key any
---@return any? value nil when there is none, or it is too old
---@return number? age
function Cache:get(key)
  local entry = self.entries[key]
  if entry then
    local now = clock.now()
    if now < entry.expires then
      self.hits = self.hits + 1
      unlink(entry)
      link(self.ring, entry)
      return entry.value, now - entry.stored
    end
    remove(self, entry)
  end
  self.misses = self.misses + 1
  return nil
end

--- Keeps a value. nil takes the key out.
---@param key any not nil
---@param value any
---@param ttl? number seconds, default: the cache's
function Cache:set(key, value, ttl)
  if key == nil or key ~= key then errors.raise("argument", "cache:set: a key is needed, not %s", tostring(key)) end
  if ttl ~= nil then check_ttl("cache:set", ttl) end
  local entry, loading = self.entries[key], self.loading[key]
  if entry then remove(self, entry) end
  if loading then loading.is_void = true end -- what is looked for was asked for before this
  if value == nil then return end
  if self.entry_count >= self.size then
    remove(self, self.ring.newer) -- the oldest
    self.evicted = self.evicted + 1
  end
  local now = clock.now()
  entry = { key = key, value = value, stored = now, expires = now + (ttl or self.ttl) }
  self.entries[key] = entry
  self.entry_count = self.entry_count + 1
  link(self.ring, entry)
end

--- Takes a key out.
---@param key any
function Cache:delete(key)
  self:set(key, nil)
end

--- Takes all out.
function Cache:clear()
  local ring = self.ring
  ring.newer, ring.older = ring, ring
  self.entries, self.entry_count = {}, 0
  for _, loading in pairs(self.loading) do loading.is_void = true end
end

-- What comes after the look for a value: others may go on.
local function loaded(self, key, done, ok, value, ...)
  self.loading[key] = nil
  if ok and value ~= nil and not done.is_void then self:set(key, value, done.ttl) end
  done:set()
  if not ok then error(value, 0) end
  return value, ...
end

--- The value of a key; where there is none, what `load(key)` returns, which is kept. While one task waits in `load`
--- others that ask for the same key wait for its value: a popular key is looked for once. nil, message, code from `load` is
--- the answer to its own caller and isn't kept; the others then look themselves, one after the other, as they do when
--- `load` raises or its task is cancelled.
--- ```lua
--- local moonring, dns = require "moonring", require "moonring.dns"
---
--- local addresses = moonring.cache { size = 100, ttl = 60 }
--- local list, message = addresses:fetch("localhost", dns.resolve)
--- print(list and list[1], message)
--- ```
---@param key any not nil
---@param load fun(key: any): any, string?, string?
---@param ttl? number seconds, default: the cache's
---@return any? value
---@return string? message
---@return string? code
function Cache:fetch(key, load, ttl)
  if key == nil or key ~= key then errors.raise("argument", "cache:fetch: a key is needed, not %s", tostring(key)) end
  if type(load) ~= "function" then
    errors.raise("argument", "cache:fetch: a function that looks for the value is needed, not a %s", type(load))
  end
  if ttl ~= nil then check_ttl("cache:fetch", ttl) end
  while true do
    local value = self:get(key)
    if value ~= nil then return value end
    local other = self.loading[key]
    if not other then break end
    if other.task == scheduler.current() then
      errors.raise("busy", "cache:fetch: load asks for %s, which it is to give itself", tostring(key))
    end
    other:wait()
  end
  local done = event.new()
  done.ttl, done.task = ttl, scheduler.require_task "cache:fetch"
  self.loading[key] = done
  return loaded(self, key, done, xpcall(load, failures.record_traceback, key))
end

--- How many entries there are, those included that are too old and that nobody has asked for.
---@return integer
function Cache:count()
  return self.entry_count
end

--- Counters since the beginning, and how many entries there are.
---@return { hits: integer, misses: integer, evicted: integer, count: integer }
function Cache:statistics()
  return { hits = self.hits, misses = self.misses, evicted = self.evicted, count = self.entry_count }
end

function Cache:__tostring()
  return ("moonring.Cache(%d of %d)"):format(self.entry_count, self.size)
end

return M
