-- moonring.cli: the command line of the executable.
--
-- A start costs what is loaded for it, so this file decides what that is: nothing of the runtime for -v and -h, the
-- tasks for a script, the loop when something first waits (moonring.loop), everything else when it is required.

-- What is loaded for a start runs once: compiling it costs more than it gains.
local compiles = jit.status()
jit.off()

local command_line = require "moonring.cli.options"
local lua_io = require "moonring.lua_io"

-- The global `arg`: the script at 0, its arguments behind it, what came before at negative indices.
local function make_arg(arguments, script_index)
  local base = arguments[script_index] and script_index or 0
  local out = {}
  for i = 0, #arguments do
    out[i - base] = arguments[i]
  end
  return out
end

local function fail(message, usage)
  io.stderr:write("moonring: ", message, "\n", usage or "")
  return 1
end

local function run_command(name, arguments, index, version)
  local found, command = pcall(require, "moonring.cli." .. name)
  if not found then return fail(("this build has no '%s': %s"):format(name, tostring(command))) end
  local own = { [0] = arguments[0] }
  for i = index + 1, #arguments do own[#own + 1] = arguments[i] end
  if own[1] == "--help" and command.usage and name ~= "test" then
    io.write("usage: moonring ", command.usage, "\n")
    return 0
  end
  return command.run(own, version)
end

local function run(version, arguments)
  local options, message = command_line.parse(arguments)
  if not options then return fail(message, command_line.USAGE) end
  options.program_version = version
  if options.version then
    local C = require("moonring.native").C
    print(("moonring %s (%s, interface %d)"):format(version, jit.version, C.mr_abi()))
  end
  if options.help then io.write(command_line.USAGE) end
  local asked = options.version or options.help
  if asked and not options.script and #options.actions == 0 and not options.interactive then return 0 end
  _G.arg = make_arg(arguments, options.script_index)
  local runner = require "moonring.cli.run"
  if compiles then jit.on() end
  if options.script and command_line.commands[options.script] then
    runner.apply(options)
    return run_command(options.script, arguments, options.script_index, version)
  end
  return runner.script(options, arguments)
end

--- Runs the command line. Returns the exit status.
---@param version string
---@param arguments string[] argv, from 0 on
---@return integer
return function(version, arguments)
  lua_io.install()
  local status = run(version, arguments)
  if not require("moonring.cli.run").finish_output() and status == 0 then return 1 end
  return status
end
