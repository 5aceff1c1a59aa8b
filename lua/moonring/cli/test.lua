-- moonring test: busted's specs, run inside a task.
--
-- Arguments are busted's own, and some of ours among them; what is done with them is in moonring.test.busted.

local settings = require "moonring.test.settings"
local run = require "moonring.cli.run"

local M = {
  usage = "test [--jobs[=N]] [--deadline=SECONDS] [--leaks=fail|report|ignore] [--slowest=N] [busted's arguments]",
}

local policies = { fail = true, report = true, ignore = true }

local function whole_number(text)
  local number = tonumber(text)
  return number and number >= 1 and number % 1 == 0 and number
end

-- Our options by name: function(value). value is nil where none was given. Returns a message for a bad one.
local own = {}

function own.jobs(value)
  settings.jobs = value and whole_number(value) or not value and require("moonring.test.jobs").processors()
  if not settings.jobs then return "--jobs: a number of processes is needed" end
end

function own.deadline(value)
  settings.deadline = tonumber(value)
  if not settings.deadline or settings.deadline <= 0 then return "--deadline: a number of seconds is needed" end
end

function own.leaks(value)
  if not policies[value] then return ("--leaks: fail, report or ignore, not '%s'"):format(tostring(value)) end
  settings.leaks = value
end

function own.slowest(value)
  settings.slowest = whole_number(value)
  if not settings.slowest then return "--slowest: how many is needed" end
end

function own.worker(value) -- only moonring.test.jobs gives it
  settings.worker = value
end

local for_workers = { deadline = true, leaks = true }

-- Takes our options out of the arguments. Returns what is left for busted, or nil and a message.
local function take_options(arguments)
  local rest = { [0] = "busted", "--ignore-lua" } -- a .busted that names an interpreter has been heard already
  local passed_on = {}
  for _, argument in ipairs(arguments) do
    local name, value = argument:match "^%-%-(%l+)=(.*)$"
    name = name or argument:match "^%-%-(%l+)$"
    local take = own[name]
    if take then
      local message = take(value)
      if message then return nil, message end
    else
      rest[#rest + 1] = argument
    end
    if not take or for_workers[name] then passed_on[#passed_on + 1] = argument end
  end
  settings.arguments = passed_on
  if settings.worker then settings.jobs, settings.slowest = false, false end
  return rest
end

-- The words between the program and busted's arguments, for workers.
local function own_words()
  local words, i = { arg[0] }, -1
  while arg[i - 1] do
    table.insert(words, 1, arg[i])
    i = i - 1
  end
  return words
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
  settings.command = own_words()
  _G.arg = rest
  return run.main({ leaks = "report" }, run_busted)
end

return M
