-- moonring.dns.cache: answers, for as long as they are valid. Internal.
--
-- Bounded by the number of answers; the oldest goes first. Time is moonring.clock's.

local clock = require "moonring.clock"

local Cache = {}
Cache.__index = Cache

local M = {}

--- A cache of up to `size` answers.
function M.new(size)
  return setmetatable({ size = size, count = 0, entries = {}, order = {}, first = 1, last = 0 }, Cache)
end

local function remove(self, entry)
  self.entries[entry.key] = nil
  self.order[entry.place] = nil
  self.count = self.count - 1
end

--- The answer under a key and its age in seconds; nil when there is none that is still valid.
function Cache:get(key)
  local entry = self.entries[key]
  if not entry then return nil end
  local now = clock.now()
  if now >= entry.expires then
    remove(self, entry)
    return nil
  end
  return entry.answer, now - entry.stored
end

local function remove_oldest(self)
  while not self.order[self.first] do
    self.first = self.first + 1
  end
  remove(self, self.order[self.first])
end

--- Keeps an answer for `seconds`.
function Cache:put(key, answer, seconds)
  if seconds <= 0 or self.size <= 0 then return end
  local known = self.entries[key]
  if known then remove(self, known) end
  if self.count >= self.size then remove_oldest(self) end
  if self.count == 0 then self.first, self.last = 1, 0 end
  local now = clock.now()
  self.last = self.last + 1
  local entry = { key = key, answer = answer, stored = now, expires = now + seconds, place = self.last }
  self.entries[key], self.order[self.last] = entry, entry
  self.count = self.count + 1
end

function Cache:clear()
  self.count, self.entries, self.order, self.first, self.last = 0, {}, {}, 1, 0
end

return M
