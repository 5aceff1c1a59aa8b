-- moonring.cli.options: what the command line says.
--
-- Loads nothing: every start pays for what this file needs.

local M = {}

--- The subcommands, each in a module moonring.cli.NAME that returns { usage =, run = function(arguments, version): status }.
M.commands = {
  attach = "opens a REPL inside a running service",
  doctor = "checks whether moonring can work here",
  new = "makes a service with its spec, to begin with",
  test = "runs busted's specs, which may wait",
}

M.USAGE = [==[
usage: moonring [options] [script [args...]]
       moonring attach SOCKET | doctor | new NAME | test [busted's arguments]
  -e code   run the code
  -l name   require the module
  -i        a REPL after the script
  -j cmd    control LuaJIT's compiler: on, off, flush, v, dump=...
  -O[opt]   control its optimizations
  -v        print the version
  -h        print this help
  --watch         start again when the script or a module of it changes
  --profile[=FILE]  write where the time goes, as folded stacks (default: profile.folded)
  --trace=iovec   report misuse of memory, with the lines at fault (also: MOONRING_TRACE=iovec)
  --memory-limit=SIZE   bytes of native memory at the most, with K, M or G behind
  --leaks=WHAT    what to do about memory still held at the end: report (default), fail, ignore
  --        stop handling options
  -         run standard input
The script runs as a task: it may wait anywhere, and the process ends when its work ends. Without a script: a REPL on a
terminal, otherwise standard input is run.
]==]

local factors = { [""] = 1, K = 1024, M = 1048576, G = 1073741824 }

-- "64M" in bytes, or nil.
local function size_of(text)
  local digits, factor = text:match "^(%d+)([KMG]?)$"
  return digits and tonumber(digits) * factors[factor]
end

local leak_policies = { report = true, fail = true, ignore = true }
local trace_kinds = { iovec = true }

-- Options with "--", by name: function(options, value). value is nil where none was given. Returns a message for a bad one.
local long = {}

function long.watch(options, value)
  if value then return "--watch takes no value" end
  options.watch = true
end

function long.profile(options, value)
  if value == "" then return "--profile: a file's name is needed behind the =" end
  options.profile = value or "profile.folded"
end

function long.trace(options, value)
  if not trace_kinds[value] then return ("--trace: iovec, not '%s'"):format(tostring(value)) end
  options.trace = value
end

long["memory-limit"] = function(options, value)
  options.memory_limit = value and size_of(value)
  if not options.memory_limit then return "--memory-limit: a size such as 64M is needed" end
end

function long.leaks(options, value)
  if not leak_policies[value] then return ("--leaks: report, fail or ignore, not '%s'"):format(tostring(value)) end
  options.leaks = value
end

--- The names of the options with "--", as keys.
M.long = long

local takes_value = { e = true, l = true, j = true }
local flags = { i = "interactive", v = "version", h = "help" }

-- One argument that begins with "-". Returns how many further arguments it took, or nil and a message.
local function parse_one(options, argument, following)
  local name, value = argument:match "^%-%-([%a%-]+)=?(.*)$"
  if name then
    local handler = long[name]
    if not handler then return nil, ("unknown option '%s'"):format(argument) end
    local message = handler(options, argument:find("=", 1, true) and value or nil)
    if message then return nil, message end
    return 0
  end
  local letter, rest = argument:match "^%-(%a)(.*)$"
  if flags[letter] and rest == "" then
    options[flags[letter]] = true
    return 0
  elseif letter == "O" then
    options.actions[#options.actions + 1] = { "O", rest }
    return 0
  elseif takes_value[letter] then
    local taken = 0
    if rest == "" then rest, taken = following, 1 end
    if not rest then return nil, ("-%s needs an argument"):format(letter) end
    options.actions[#options.actions + 1] = { letter, rest }
    return taken
  end
  return nil, ("unknown option '%s'"):format(argument)
end

--- Splits the arguments as luajit does. Returns a table, or nil and a message.
---@param arguments string[]
---@return table? options
---@return string? message
function M.parse(arguments)
  local options, i = { actions = {}, leaks = nil }, 1
  while arguments[i] do
    local argument = arguments[i]
    if argument == "--" then
      i = i + 1
      break
    end
    if argument == "-" or argument:sub(1, 1) ~= "-" then break end
    local taken, message = parse_one(options, argument, arguments[i + 1])
    if not taken then return nil, message end
    i = i + 1 + taken
  end
  options.script = arguments[i]
  options.script_index = i
  return options
end

return M
