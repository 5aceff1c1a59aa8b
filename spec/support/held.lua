-- What the process holds, and what it holds more than at an earlier moment, with the place where that was made as far as
-- it is known: for specs that ask whether something has left nothing behind, whatever others have left before.

local ffi = require "ffi"
local moonring = require "moonring"
local system = require "spec.support.system"

ffi.cdef [[
long readlink(const char *, char *, unsigned long);
]]

local M = {}

-- What is counted. The memory of the receive rings is the loop's own.
local NAMES = { "tasks", "operations", "calls", "connections", "listeners", "timers", "processes", "forgotten", "stale" }
local MEMORY_NAMES = { "iovec_bytes", "iovec_count", "chunk_bytes", "slab_bytes", "leaks_caught" }
local DESCRIPTORS = 4096

local path = ffi.new "char[512]"

-- What every open descriptor leads to.
local function descriptors()
  local found = {}
  for number = 0, DESCRIPTORS - 1 do
    if system.is_open(number) then
      local length = ffi.C.readlink("/proc/self/fd/" .. number, path, 512)
      found[number] = length > 0 and ffi.string(path, length) or "?"
    end
  end
  return found
end

-- The children of all threads of this process, with their command lines.
local function children()
  local found = {}
  local file = io.open "/proc/thread-self/children"
  if not file then return found end
  for pid in file:read("*a"):gmatch "%d+" do
    local command = io.open("/proc/" .. pid .. "/cmdline")
    found[tonumber(pid)] = command and command:read("*a"):gsub("%z", " ") or "?"
    if command then command:close() end
  end
  file:close()
  return found
end

--- Everything that is held now.
function M.take()
  local statistics = moonring.stats()
  local held = { descriptors = descriptors(), children = children() }
  for _, name in ipairs(NAMES) do
    held[name] = statistics[name]
  end
  for _, name in ipairs(MEMORY_NAMES) do
    held[name] = statistics.memory[name]
  end
  for _, name in ipairs { "iovec_bytes", "chunk_bytes" } do
    held[name] = held[name] - statistics.receive_ring_bytes
  end
  return held
end

local function describe_tasks(lines, reports, depth)
  for _, report in ipairs(reports) do
    lines[#lines + 1] = ("%stask %d %s, %s%s, spawned at %s"):format(("  "):rep(depth), report.id, report.name, report.state,
      report.waiting_on and " on " .. report.waiting_on or "", report.spawned_at or "the start")
    describe_tasks(lines, report.children, depth + 1)
  end
end

--- What is held now and was not then: a list of lines, empty when there is nothing. `made_at` may tell, by number, where
--- a descriptor was made.
---@param before table what take has returned
---@param made_at? table<integer, string>
---@return string[]
function M.more_than(before, made_at)
  local now, lines = M.take(), {}
  for _, names in ipairs { NAMES, MEMORY_NAMES } do
    for _, name in ipairs(names) do
      if now[name] > before[name] then
        lines[#lines + 1] = ("%s: %.0f more (%.0f, before %.0f)"):format(name, now[name] - before[name], now[name],
          before[name])
      end
    end
  end
  for number, what in pairs(now.descriptors) do
    if not before.descriptors[number] then
      lines[#lines + 1] = ("descriptor %d: %s, made %s"):format(number, what, made_at and made_at[number] or "?")
    end
  end
  for pid, command in pairs(now.children) do
    if not before.children[pid] then lines[#lines + 1] = ("child %d: %s"):format(pid, command) end
  end
  if now.tasks > before.tasks then describe_tasks(lines, moonring.tasks(), 1) end
  return lines
end

--- Waits until nothing is held that was not then, `seconds` at most (default 15), and returns what there still is. What
--- Lua has forgotten is collected meanwhile.
---@return string[]
function M.settle(before, seconds, made_at)
  local deadline = moonring.now() + (seconds or 15)
  while true do
    collectgarbage()
    moonring.sleep(0.005)
    local lines = M.more_than(before, made_at)
    if #lines == 0 or moonring.now() > deadline then return lines end
    moonring.sleep(0.02)
  end
end

--- Whether the kernel owes nothing but the read that wakes the loop, and no call is under way.
function M.settled()
  local statistics = moonring.stats()
  return statistics.calls == 0 and statistics.operations <= 1
end

return M
