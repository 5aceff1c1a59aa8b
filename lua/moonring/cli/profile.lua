-- moonring --profile: where the time goes, by LuaJIT's own profiler, which also sees compiled code.
--
-- The file has a line for each stack that was seen: its frames from the outermost on, divided by semicolons, and how many
-- milliseconds it was seen for; flame graphs are drawn from such lines. The first frame is the task.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"

local M = {}

local DEPTH = 100
local INTERVAL_MS = 1

local states = { G = "[collector]", J = "[compiler]" }

-- Semicolons divide frames, and a space comes before the count.
local function clean(text)
  return (text:gsub("[;%s]", "_"))
end

local function task_name()
  local task = scheduler.current()
  if not task then return "[loop]" end
  return task.name and clean(task.name) or require("moonring.place").text(task.fn)
end

--- Starts to profile. Returns a function that ends it and writes the file, and returns true, or nil and a message.
---@param path string
---@return fun(): true?, string? finish
function M.start(path)
  local profile = require "jit.profile"
  local stacks = {}
  profile.start("fi" .. INTERVAL_MS, function(thread, samples, state)
    local stack = task_name() .. ";" .. profile.dumpstack(thread, "pFZ;", -DEPTH)
    if states[state] then stack = stack .. ";" .. states[state] end
    stacks[stack] = (stacks[stack] or 0) + samples
  end)
  return function()
    profile.stop()
    local lines = {}
    for stack, samples in pairs(stacks) do
      lines[#lines + 1] = ("%s %d\n"):format(stack:gsub("%s", "_"), samples * INTERVAL_MS)
    end
    table.sort(lines)
    local file, message = io.open(path, "w")
    if not file then return nil, message end
    file:write(table.concat(lines))
    return file:close()
  end
end

--- Adds what --profile does to the run of the main task.
---@param options table
function M.attach(options)
  local file, message = io.open(options.profile, "w") -- told now rather than after a day
  if not file then errors.raise("argument", "--profile: %s", message) end
  file:close()
  local finish = M.start(options.profile)
  local before = options.at_end
  function options.at_end()
    if before then before() end
    if not finish then return end
    local ok, problem = finish()
    finish = nil
    if not ok then io.stderr:write("moonring: --profile: ", problem, "\n") end
  end
end

return M
