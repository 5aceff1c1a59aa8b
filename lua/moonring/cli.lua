-- moonring.cli: the command line of the executable.
--
-- A script, or the code of -e, runs as the main task; the process ends when that task and its children have ended.
-- Everything that specs may unload and reload is loaded here once, so that it stays.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local loop = require "moonring.loop"
local memory = require "moonring.memory"
local inspect = require "moonring.inspect"
local signal = require "moonring.signal"
require "moonring"
require "moonring.test"
require "moonring.net"
local stdio = require "moonring.stdio"
local iovec_trace = require "moonring.trace"

local C = native.C

local USAGE = [==[
usage: moonring [options] [script [args...]]
       moonring doctor   tells whether services can run here, and what to change
  -e code   run the code
  -v        print the version
  -h        print this help
  --trace=iovec   report misuse of memory, with the lines at fault (also: MOONRING_TRACE=iovec)
  --memory-limit=SIZE   bytes of native memory at the most, with K, M or G behind
  --leaks=WHAT    what to do about memory still held at the end: report (default), fail, ignore
  --        stop handling options
The script runs as a task: it may wait anywhere, and the process ends when its work ends.
]==]

local factors = { [""] = 1, K = 1024, M = 1048576, G = 1073741824 }

-- "64M" in bytes, or nil.
local function size_of(text)
  local digits, factor = text:match("^(%d+)([KMG]?)$")
  return digits and tonumber(digits) * factors[factor]
end

local leak_policies = { report = true, fail = true, ignore = true }

-- Splits the arguments as luajit does. Returns a table, or nil and a message.
local function parse(arguments)
  local options, i = { code = {} }, 1
  while arguments[i] do
    local argument = arguments[i]
    if argument == "--" then
      i = i + 1
      break
    elseif argument == "--trace=iovec" then
      options.trace = true
    elseif argument:find("^%-%-memory%-limit=") then
      options.memory_limit = size_of(argument:sub(16))
      if not options.memory_limit then return nil, "--memory-limit: a size such as 64M is needed" end
    elseif argument:find("^%-%-leaks=") then
      options.leaks = argument:sub(9)
      if not leak_policies[options.leaks] then
        return nil, ("--leaks: report, fail or ignore, not '%s'"):format(options.leaks)
      end
    elseif argument == "-v" or argument == "-h" then
      options[argument:sub(2)] = true
    elseif argument:sub(1, 2) == "-e" then
      local code = argument:sub(3)
      if code == "" then
        i = i + 1
        code = arguments[i]
      end
      if not code then return nil, "-e needs an argument" end
      options.code[#options.code + 1] = code
    elseif argument:sub(1, 1) == "-" then
      return nil, ("unknown option '%s'"):format(argument)
    else
      break
    end
    i = i + 1
  end
  options.script = arguments[i]
  options.script_index = i
  return options
end

-- The global `arg`: the script at 0, its arguments behind it, what came before at negative indices.
local function make_arg(arguments, script_index)
  local base = arguments[script_index] and script_index or 0
  local out = {}
  for i = 0, #arguments do
    out[i - base] = arguments[i]
  end
  return out
end

local function run_all(options, chunks, arguments)
  for _, chunk in ipairs(chunks) do
    chunk()
  end
  if not options.script then return end
  local chunk, message = loadfile(options.script)
  if not chunk then error(message, 0) end
  chunk(unpack(arguments, options.script_index + 1))
end

-- A nil error says that everything has been told already (busted ends a failed run so).
local function report(failure, root)
  if failure == nil then return end
  local text = tostring(failure)
  io.stderr:write("moonring: ", text, "\n")
  local trace = task.traceback_of(failure, root)
  if trace and trace ~= "" then io.stderr:write(trace, "\n") end
end

-- SIGUSR1 prints the tasks. SIGINT and SIGTERM cancel the main task; scopes end in order, and the process then ends by
-- that signal, as its parent expects. A second one doesn't wait for the first. A script that subscribes to one of them
-- has taken it over. When nobody reads its output any more the process ends in the same order, and then by SIGPIPE, as
-- programs do that don't ask.
local function watch_signals(root)
  local received
  local function stop(number)
    if received then C.mr_signal_die(number) end
    received = number
    root:cancel(errors.new("cancelled", "cancelled: the process was told to end by SIG" .. signal.name(number)))
  end
  signal.handle("INT", stop, true)
  signal.handle("TERM", stop, true)
  signal.handle("USR1", function() io.stderr:write(inspect.text()) end)
  function stdio.on_broken_pipe()
    local number = signal.number "PIPE"
    if not received and not signal.is_taken(number) and C.mr_signal_is_ignored(number) == 0 then stop(number) end
  end
  return function()
    return received
  end
end

-- Ends the loop. Memory that is held beyond it is told; what nobody reaches any more is collected first, so that it
-- counts as caught by its finalizer and not as held. Returns whether the process shall fail for it.
local function end_loop(policy)
  if not loop.started then return false end
  memory.handle()
  if memory.held() > 0 then memory.collect() end
  local _, held = loop.close()
  if held == 0 or policy == "ignore" then return false end
  io.stderr:write(("moonring: %d iovec%s still held at the end%s\n"):format(held, held == 1 and " is" or "s are",
    C.mr_trace_enabled() ~= 0 and "" or "; --trace=iovec tells where they were made"))
  return policy == "fail"
end

-- Lets go out what was printed. Returns false when that can't be. Ends the process here when its reader has gone.
local function finish_output(seconds)
  local all_written, is_broken = stdio.finish(seconds)
  local number = signal.number "PIPE"
  if is_broken and C.mr_signal_is_ignored(number) == 0 and not signal.is_taken(number) then C.mr_signal_die(number) end
  return all_written
end

-- os.exit must not leave the kernel with operations on memory that is about to go.
local function guard_exit(policy)
  local exit = os.exit
  function os.exit(status, ...) -- luacheck: ignore
    local failed = end_loop(policy)
    if not finish_output() then failed = true end
    if failed and (status == nil or status == true or status == 0) then status = 1 end
    exit(status, ...)
  end
end

-- What a process that was told to end gives its reader to take the rest.
local END_SECONDS = 2

local function run_main(options, chunks, arguments)
  local root = task.root(run_all, options, chunks, arguments)
  root:named "main"
  guard_exit(options.leaks)
  local signal_received = watch_signals(root)
  loop.run_until(root)
  local received = signal_received()
  local ok, failure = root:outcome()
  local leaked = end_loop(options.leaks)
  if received and (ok or errors.is(failure, "cancelled")) then
    finish_output(END_SECONDS)
    C.mr_signal_die(received)
  end
  if ok then return leaked and 1 or 0 end
  report(failure, root)
  return 1
end

local function run(version, arguments)
  local options, message = parse(arguments)
  if not options then
    io.stderr:write("moonring: ", message, "\n", USAGE)
    return 1
  end
  if options.v then print(("moonring %s (%s, interface %d)"):format(version, jit.version, C.mr_abi())) end
  if options.h then io.write(USAGE) end
  if not options.script and #options.code == 0 then
    if options.v or options.h then return 0 end
    io.stderr:write("moonring: a script is needed\n", USAGE)
    return 1
  end
  if options.script == "doctor" and not options.code[1] then return require("moonring.doctor").run(version) end
  if options.trace then iovec_trace.enable() end
  if options.memory_limit then
    loop.options = native.ffi.new("mr_loop_options", { memory_limit_bytes = options.memory_limit })
  end
  local chunks = {}
  for i, code in ipairs(options.code) do
    local chunk
    chunk, message = loadstring(code, "=(command line)")
    if not chunk then
      io.stderr:write("moonring: ", message, "\n")
      return 1
    end
    chunks[i] = chunk
  end
  _G.arg = make_arg(arguments, options.script_index)
  local ok, status = xpcall(run_main, function(failure)
    return { failure = failure, trace = not errors.is(failure) and debug.traceback("", 2) or nil }
  end, options, chunks, arguments)
  if ok then return status end
  io.stderr:write("moonring: ", tostring(status.failure), "\n", status.trace or "")
  loop.close()
  return 1
end

--- Runs the command line. Returns the exit status.
---@param version string
---@param arguments string[] argv, from 0 on
---@return integer
return function(version, arguments)
  stdio.install()
  local status = run(version, arguments)
  if not finish_output() and status == 0 then return 1 end
  return status
end
