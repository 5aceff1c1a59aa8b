-- The soak: many tasks do everything that there is, at random, under random deadlines and cancellations, for as long as it
-- is told. At its end the process holds what it has held at its start, or this says what is left, and fails.
--
--   moonring spec/soak/run.lua [seconds [seed [workers]]]
--
-- The same seed makes the same decisions; what comes first is the system's affair. --trace=iovec before the script's
-- name says where iovecs were made that are left.

local moonring = require "moonring"
local errors = require "moonring.errors"
local held = require "spec.support.held"
local randoms = require "spec.soak.random"
local worlds = require "spec.soak.world"

local seconds, seed, workers = tonumber(arg[1] or 600), tonumber(arg[2] or os.time()), tonumber(arg[3] or 48)

-- More than anything here takes on the slowest machine: what passes it hangs.
local HANGS = 60
local SETTLES = 20

local activities, names = {}, {}
for _, module in ipairs { "spec.soak.network", "spec.soak.system" } do
  for name, activity in pairs(require(module)) do
    activities[name] = activity
    names[#names + 1] = name
  end
end
table.sort(names)

-- What the world may do to an activity that does nothing wrong: peers leave, others remove files, servers don't answer.
local expected = {}
for name in ([[EOF ECONNRESET ECONNREFUSED EPIPE ENOENT EEXIST ENXIO ETIMEDOUT EAGAIN ENOTEMPTY EADDRINUSE
  NXDOMAIN NODATA SERVFAIL TIMEOUT UNREACHABLE REFUSED]]):gmatch "%u+" do
  expected[name] = true
end

local counts = {} -- by activity: how often it was completed, cut off, failed by the world
for _, name in ipairs(names) do
  counts[name] = { completed = 0, cut = 0, refused = 0 }
end
local faults = {}

local function note_fault(name, failure)
  if #faults < 20 then faults[#faults + 1] = ("%s: %s"):format(name, tostring(failure)) end
end

local function note(name, ok, failure)
  local count = counts[name]
  if ok then
    count.completed = count.completed + 1
  elseif errors.is(failure, "deadline") or errors.is(failure, "cancelled") then
    count.cut = count.cut + 1
  elseif errors.is(failure) and expected[failure.code] then
    count.refused = count.refused + 1
  else
    note_fault(name, failure)
  end
end

-- When an activity and its sibling fail together, the second failure is told on standard error, as it should be, and it
-- would fill the screen here.
local stderr, further = io.stderr, 0
io.stderr = setmetatable({ -- luacheck: ignore
  write = function(self, text, ...)
    if type(text) == "string" and text:find "^moonring: a further failure in a scope" and not text:find "WRONG" then
      further = further + 1
      return self
    end
    stderr:write(text, ...)
    return self
  end,
}, { __index = function(_, name) return stderr[name] end })

-- Time in which anything is done, or it hangs.
local function complete(name, world, random)
  local ok, failure = pcall(moonring.timeout, HANGS, moonring.scope, function(scope)
    return activities[name](world, scope, random)
  end)
  if not ok and errors.is(failure, "deadline") then note_fault(name, "it hangs: " .. tostring(failure)) end
  return ok, failure
end

local ways = {
  complete,
  function(name, world, random) -- a deadline
    return pcall(moonring.timeout, random:seconds(0.5), moonring.scope, function(scope)
      return activities[name](world, scope, random)
    end)
  end,
  function(name, world, random) -- cancelled from outside
    local task = moonring.spawn(pcall, moonring.scope, function(scope)
      return activities[name](world, scope, random)
    end)
    moonring.sleep(random:seconds(0.2))
    task:cancel()
    local ok, result, failure = task:join()
    if ok then return result, failure end
    return ok, result
  end,
  function(name, world, random) -- a sibling fails
    local reason = errors.new("cancelled", "the sibling has failed")
    return pcall(moonring.scope, function(scope)
      scope:spawn(function()
        moonring.sleep(random:seconds(0.1))
        error(reason, 0)
      end)
      return activities[name](world, scope, random)
    end)
  end,
}

local function work(number, world, finish)
  local random = randoms.new(seed * 1000 + number)
  while moonring.now() < finish do
    local name = random:pick(names)
    note(name, random:pick(ways)(name, world, random))
  end
end

local function soak(length)
  moonring.scope(function(scope)
    local world = worlds.start(scope, seed)
    local finish = moonring.now() + length
    moonring.scope(function(all)
      for number = 1, workers do
        all:spawn(work, number, world, finish):named("worker " .. number)
      end
    end)
    scope:cancel(errors.new("cancelled", "the soak is over"))
  end)
end

local function run(length)
  local ok, failure = pcall(soak, length)
  if not ok and not errors.is(failure, "cancelled") then note_fault("the soak itself", failure) end
end

print(("soak: %g seconds, seed %d, %d workers"):format(seconds, seed, workers))
-- What a process makes once and keeps (receive rings, helper threads, compiled code) is there before it is counted.
run(math.min(1, seconds / 10))
held.settle(held.take(), 2)
collectgarbage()
local before = held.take()
run(seconds)
local left = held.settle(before, SETTLES, worlds.made_at)

local total = { completed = 0, cut = 0, refused = 0 }
for _, name in ipairs(names) do
  local count = counts[name]
  print(("  %-20s completed %7d   cut off %7d   failed by the world %7d"):format(name, count.completed, count.cut,
    count.refused))
  for what, number in pairs(count) do
    total[what] = total[what] + number
  end
end
for _, name in ipairs(names) do
  local count = counts[name]
  if count.completed + count.refused == 0 and total.completed > 100 * #names then
    note_fault(name, "it was never completed")
  end
end
print(("soak: %d completed, %d cut off, %d failed by the world; %d failures came second"):format(total.completed, total.cut,
  total.refused, further))
for _, fault in ipairs(faults) do
  print("soak: fault: " .. fault)
end
for _, line in ipairs(left) do
  print("soak: left: " .. line)
end
if #left > 0 or #faults > 0 then
  print(("soak: failed; again with: scripts/soak %g %d %d"):format(seconds, seed, workers))
  os.exit(1)
end
print "soak: nothing is left"
