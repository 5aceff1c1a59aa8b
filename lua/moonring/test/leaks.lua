-- moonring.test.leaks: what a test has left behind, and where it came from.
--
-- A snapshot is taken before a test and compared after it. What is on its way out (a connection that sends its rest,
-- a task that runs to its end) gets GRACE to be gone. The collector runs first, so what nobody reaches any more is no
-- leak, and compiled code is thrown away, because a trace keeps the closures that it runs, with all they refer to.
-- Places are noted from the moment that watch() is called: each connection, listener, datagram socket, file, child
-- process and timer with the line that asked for it.

local native = require "moonring.native"
local moonring = require "moonring"
local inspect = require "moonring.inspect"
local loop = require "moonring.loop"
local clock = require "moonring.clock"
local net = require "moonring.net"
local connection = require "moonring.net.connection"

local C, ffi = native.C, native.ffi

local M = {
  GRACE = 1, -- seconds
  FLUSH_AFTER = 0.1, -- of them; compiling again costs the next tests something
}

-- Places ---------------------------------------------------------------------------------------------------------------

local own_prefix = debug.getinfo(1, "S").source:gsub("test/leaks%.lua$", "")
-- By object, and for timers by what they wake: the line that asked for it.
local objects = setmetatable({}, { __mode = "k" })
local timers = setmetatable({}, { __mode = "k" })

-- The innermost line outside of moonring's own modules.
local function place()
  for level = 3, 60 do
    local info = debug.getinfo(level, "Sl")
    if not info then return "?" end
    if info.currentline > 0 and info.source:sub(1, #own_prefix) ~= own_prefix then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return "?"
end

local watching = false

-- Has what the function of a module makes noted.
local function note_made(module, name)
  local make = module[name]
  module[name] = function(...)
    local made, message, code = make(...)
    if made then objects[made] = place() end
    return made, message, code
  end
end

--- Notes the places of what is made from now on.
function M.watch()
  if watching then return end
  watching = true
  note_made(connection, "new")
  note_made(require "moonring.net.listener", "new")
  note_made(net, "datagram")
  note_made(require "moonring.process", "spawn")
  note_made(require "moonring.fs.file", "new")
  local start = clock.start
  function clock.start(seconds, object)
    timers[object] = place()
    return start(seconds, object)
  end
end

-- Snapshots ------------------------------------------------------------------------------------------------------------

local DESCRIPTORS_MAX = 65536
local numbers_of_descriptors = ffi.new("int32_t[?]", DESCRIPTORS_MAX)

-- What each open descriptor is, by number.
local function descriptors()
  local found, text = {}, ffi.new "char[512]"
  for i = 0, C.mr_descriptors(numbers_of_descriptors, DESCRIPTORS_MAX) - 1 do
    local number = numbers_of_descriptors[i]
    found[number] = C.mr_descriptor_name(number, text, 512) == 0 and ffi.string(text) or "?"
  end
  return found
end

local function tasks_by_id()
  local found = {}
  local function add(reports)
    for _, report in ipairs(reports) do
      found[report.id] = report
      add(report.children)
    end
  end
  add(inspect.tasks())
  return found
end

local statistics = ffi.new "mr_loop_statistics"

local function numbers()
  C.mr_loop_statistics_get(loop.handle(), statistics)
  return {
    timers = tonumber(statistics.timers),
    connections = tonumber(statistics.connections),
    listeners = tonumber(statistics.listeners),
    processes = tonumber(statistics.processes),
    bytes = tonumber(statistics.memory.iovec_bytes) - tonumber(statistics.receive_ring_bytes),
    descriptors = C.mr_descriptors(numbers_of_descriptors, DESCRIPTORS_MAX),
  }
end

local function keys_of(of)
  local found = {}
  for key in pairs(of) do found[key] = true end
  return found
end

local function open_objects()
  local found = setmetatable({}, { __mode = "k" })
  for object in pairs(objects) do
    if rawget(object, "slot") or type(rawget(object, "descriptor")) == "number" then found[object] = true end
  end
  return found
end

--- What there is now.
---@return table snapshot
function M.snapshot()
  collectgarbage()
  return { numbers = numbers(), tasks = keys_of(tasks_by_id()), timers = keys_of(loop.sleepers), objects = open_objects(),
    descriptors = descriptors() }
end

local function new_tasks(before)
  local found = {}
  for id, report in pairs(tasks_by_id()) do
    if not before.tasks[id] then found[#found + 1] = report end
  end
  table.sort(found, function(left, right) return left.id < right.id end)
  return found
end

local function is_clean(before)
  if #new_tasks(before) > 0 then return false end
  local now = numbers()
  for name, count in pairs(before.numbers) do
    if now[name] > count then return false end
  end
  return true
end

local function describe_tasks(lines, before)
  for _, report in ipairs(new_tasks(before)) do
    lines[#lines + 1] = ("task %d %s, spawned at %s, %s"):format(report.id, report.name, report.spawned_at or "?",
      report.waiting_on and "waits for " .. report.waiting_on or "is " .. report.state)
  end
end

local function describe_objects(lines, before, now)
  local counts = {} -- by kind
  for object in pairs(open_objects()) do
    if not before.objects[object] then
      lines[#lines + 1] = ("%s, made at %s"):format(tostring(object), objects[object])
      local kind = getmetatable(object).__name
      counts[kind] = (counts[kind] or 0) + 1
    end
  end
  local all = now.connections - before.numbers.connections + now.listeners - before.numbers.listeners
  local known = (counts["moonring.Connection"] or 0) + (counts["moonring.Listener"] or 0)
  if all > known then
    lines[#lines + 1] = ("%d connection(s) that nobody holds: closing, or not accepted"):format(all - known)
  end
  local children = now.processes - before.numbers.processes - (counts["moonring.Process"] or 0)
  if children > 0 then lines[#lines + 1] = ("%d child process(es) that nobody holds"):format(children) end
end

local function describe(before)
  local lines, now = {}, numbers()
  describe_tasks(lines, before)
  describe_objects(lines, before, now)
  if now.timers > before.numbers.timers then
    for timer, object in pairs(loop.sleepers) do
      if not before.timers[timer] then lines[#lines + 1] = "a timer, started at " .. (timers[object] or "?") end
    end
  end
  if now.descriptors > before.numbers.descriptors then
    for number, what in pairs(descriptors()) do
      if before.descriptors[number] ~= what then lines[#lines + 1] = ("descriptor %d, %s"):format(number, what) end
    end
  end
  if now.bytes > before.numbers.bytes then
    lines[#lines + 1] = ("%d bytes of native memory%s"):format(now.bytes - before.numbers.bytes,
      C.mr_trace_enabled() ~= 0 and "" or "; --trace=iovec tells at the end where they were made")
  end
  return lines
end

-- What moonring keeps for the next use is nobody's leak.
local function forget_kept()
  local client = package.loaded["moonring.http.client"]
  if client then client.forget() end
end

--- What has been left since the snapshot, one line each; nil when nothing has.
---@param before table
---@return string[]?
function M.left(before)
  forget_kept()
  local started, is_flushed = C.mr_clock_now(), false
  collectgarbage()
  while not is_clean(before) do
    local passed = C.mr_clock_now() - started
    if not is_flushed and passed > M.FLUSH_AFTER then
      is_flushed = true
      jit.flush()
    elseif passed > M.GRACE then
      local lines = describe(before)
      return #lines > 0 and lines or nil
    end
    moonring.sleep(0.005)
    collectgarbage()
  end
end

return M
