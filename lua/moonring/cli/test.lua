-- moonring test: busted's specs, run inside a task.
--
-- Arguments are busted's own, and two of ours before them; what is done with them is in moonring.test.busted.

local settings = require "moonring.test.settings"
local run = require "moonring.cli.run"

local M = {
  usage = "test [--deadline=SECONDS] [--leaks=fail|report|ignore] [busted's arguments]",
}

local policies = { fail = true, report = true, ignore = true }

-- Takes our options out of the arguments. Returns what is left for busted, or nil and a message.
local function take_options(arguments)
  local rest = { [0] = "busted", "--ignore-lua" } -- a .busted that names an interpreter has been heard already
  for _, argument in ipairs(arguments) do
    local seconds, policy = argument:match "^%-%-deadline=(.*)$", argument:match "^%-%-leaks=(.*)$"
    if seconds then
      settings.deadline = tonumber(seconds)
      if not settings.deadline or settings.deadline <= 0 then return nil, "--deadline: a number of seconds is needed" end
    elseif policy then
      if not policies[policy] then return nil, ("--leaks: fail, report or ignore, not '%s'"):format(policy) end
      settings.leaks = policy
    else
      rest[#rest + 1] = argument
    end
  end
  return rest
end

local function run_busted()
  -- busted takes its caller's source for the name of the program, and ends a failed run by a nil error when there is one.
  assert(loadstring("require 'busted.runner' { standalone = false }", "@busted"))()
end

--- Runs the specs. Returns the exit status.
---@param arguments string[]
---@return integer status
function M.run(arguments)
  local rest, message = take_options(arguments)
  if not rest then
    io.stderr:write("moonring test: ", message, "\nusage: moonring ", M.usage, "\n")
    return 1
  end
  _G.arg = rest
  return run.main({ leaks = "report" }, run_busted)
end

return M
