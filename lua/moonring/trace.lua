-- moonring.trace: the Lua side of trace mode (runtime/memory/trace.h): tells C which line of Lua is at work.
--
-- When the mode is turned on, the methods of iovecs, buffers and connections are wrapped: each call notes the line
-- that made it before it goes on, and one that finds something closed has C report who closed it. Off, nothing is
-- wrapped.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local scopes = require "moonring.scope"
local iovec = require "moonring.iovec"
local buffer = require "moonring.buffer"

local C = native.C

local M = {}

local FRAMES = 3 -- lines of Lua in a place, the innermost first
local scope_numbers, scope_serial = setmetatable({}, { __mode = "k" }), 0

local own_prefix = debug.getinfo(1, "S").source:gsub("trace%.lua$", "")

-- Whether a chunk is one of moonring's own modules, embedded or installed.
local function is_own(source)
  if source:sub(1, #own_prefix) ~= own_prefix then return false end
  local name = "moonring." .. source:sub(#own_prefix + 1):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  return name == "moonring.init" or package.loaded[name] ~= nil or package.preload[name] ~= nil
end

-- The line of the script, and who called it: frames of moonring's own modules are left out.
local function place()
  local frames, level = {}, 3
  while #frames < FRAMES do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.what ~= "C" and info.currentline > 0 and not is_own(info.source) then
      frames[#frames + 1] = ("%s:%d"):format(info.short_src, info.currentline)
    end
    level = level + 1
  end
  if #frames == 0 then return nil end
  return table.concat(frames, " < ")
end

local function scope_number(scope)
  local number = scope_numbers[scope]
  if not number then
    scope_serial = scope_serial + 1
    number = scope_serial
    scope_numbers[scope] = number
  end
  return number
end

local function enter()
  local running = task.current()
  C.mr_trace_scope(running and scope_number(task.innermost(running)) or 0)
  C.mr_trace_place(place())
end

local function memory_of(value)
  if buffer.is(value) then return value.memory_ end
  if iovec.is(value) then return value end
end

local function leave(what, arguments, ok, ...)
  if ok then
    C.mr_trace_place(nil)
    return ...
  end
  local failure = ...
  if errors.is(failure, "closed") then
    for i = 1, arguments.n do
      local held = memory_of(arguments[i])
      -- C has reported what it refused itself; a buffer is refused before C is asked.
      if held and buffer.is(arguments[i]) then C.mr_trace_use(held, what) end
    end
  end
  C.mr_trace_place(nil)
  error(failure, 0)
end

local function wrap(methods, name, what)
  local method = methods[name]
  local label = what .. name
  methods[name] = function(...)
    enter()
    return leave(label, { n = select("#", ...), ... }, pcall(method, ...))
  end
end

local function wrap_all(methods, what)
  local names = {}
  for name, method in pairs(methods) do
    if type(method) == "function" then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do
    wrap(methods, name, what)
  end
end

-- A scope that takes an iovec or buffer over, or a caller that gets one, owns it from then on.
local function assign(value, scope)
  local held = memory_of(value)
  if held then C.mr_trace_assign(held, scope and scope_number(scope) or 0) end
end

local function follow_scopes()
  for _, name in ipairs { "own", "allocate", "allocate_aligned" } do
    local method = scopes.Scope[name]
    scopes.Scope[name] = function(self, ...)
      local function follow(resource, ...)
        assign(resource, scopes.record_of(self, name))
        return resource, ...
      end
      return follow(method(self, ...))
    end
  end
  function scopes.on_end(record, ...)
    local parent = record.parent or record.outer or record.task
    for i = 1, select("#", ...) do
      assign(select(i, ...), parent)
    end
    local number = scope_numbers[record]
    if number then
      scope_numbers[record] = nil -- a frame is used again
      enter()
      C.mr_trace_scope_ended(number, "the scope that ended")
      C.mr_trace_place(nil)
    end
  end
end

local enabled = false

--- Turns trace mode on for the rest of the process, as --trace=iovec does.
function M.enable()
  C.mr_trace_enable(1)
  if enabled then return end
  enabled = true
  wrap_all(iovec.Iovec, "iovec:")
  wrap_all(buffer.Buffer, "buffer:")
  for _, name in ipairs { "allocate", "reserve", "allocate_list", "release_list", "wrap" } do
    wrap(iovec, name, "iovec.")
  end
  wrap(buffer, "allocate", "buffer.")
  local connection = package.loaded["moonring.net.connection"]
  if connection then
    wrap(connection.Connection, "write", "connection:")
    wrap(connection.Connection, "extend", "connection:")
  end
  follow_scopes()
end

--- Faults reported so far.
function M.reports()
  return tonumber(C.mr_trace_reports())
end

--- Looks at all guard bytes and at all released memory now. Returns the faults found, which have been reported.
function M.check()
  return C.mr_trace_check(require("moonring.memory").handle())
end

--- Writes reports to a file instead of stderr.
function M.output(path)
  local result = C.mr_trace_output(path)
  if result < 0 then return errors.world(result, "trace.output: " .. tostring(path)) end
  return true
end

if C.mr_trace_enabled() ~= 0 then M.enable() end

return M
