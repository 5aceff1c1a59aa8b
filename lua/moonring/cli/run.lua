-- moonring.cli.run: runs a function as the main task of the process, and ends the process in order.
--
-- The process ends when the main task and its children have ended. Everything a script does not use is not loaded.

local errors = require "moonring.errors"
local task = require "moonring.task"
local loop = require "moonring.loop"

local require = require -- scripts may have one of their own

local M = {}

-- A nil error says that everything has been told already (busted ends a failed run so).
local function report(failure, root)
  if failure == nil then return end
  io.stderr:write("moonring: ", task.text_of(failure), "\n")
  local trace = failure ~= loop.refusal and task.traceback_of(failure, root)
  if trace and trace ~= "" then io.stderr:write(trace, "\n") end
end

-- Whether the process is to die of SIGPIPE, as programs do that don't ask, when nobody reads its output any more.
local function dies_of_broken_pipe()
  local signal, C = require "moonring.signal", require("moonring.native").C
  local number = signal.number "PIPE"
  if signal.is_taken(number) or C.mr_signal_is_ignored(number) ~= 0 then return nil end
  return number
end

-- SIGUSR1 prints the tasks. SIGINT and SIGTERM cancel the main task; scopes end in order, and the process then ends by
-- that signal, as its parent expects. A second one doesn't wait for the first. A script that subscribes to one of them
-- has taken it over. When nobody reads its output any more the process ends in the same order, and then by SIGPIPE. Before
-- there is a loop, nothing waits, and signals do what they do to any program.
local function watch_signals(root)
  local received
  local function stop(number)
    if received then require("moonring.native").C.mr_signal_die(number) end
    received = number
    local name = require("moonring.signal").name(number)
    root:cancel(errors.new("cancelled", "cancelled: the process was told to end by SIG" .. name))
  end
  function loop.on_start()
    local signal = require "moonring.signal"
    signal.handle("INT", stop, true)
    signal.handle("TERM", stop, true)
    signal.handle("USR1", function() io.stderr:write(require("moonring.inspect").text()) end)
  end
  function loop.on_broken_pipe()
    local number = not received and dies_of_broken_pipe()
    if number then stop(number) end
  end
  return function()
    return received
  end
end

-- Ends the loop. Memory that is held beyond it is told; what nobody reaches any more is collected first, so that it
-- counts as caught by its finalizer and not as held. Returns whether the process shall fail for it.
local function end_loop(policy)
  if not loop.started then return false end
  if package.loaded["moonring.memory"] then
    local memory = require "moonring.memory"
    memory.handle()
    if memory.held() > 0 then
      jit.flush() -- a trace keeps the closures that it runs
      memory.collect()
    end
  end
  local _, held = loop.close()
  if held == 0 or policy == "ignore" then return false end
  local C = require("moonring.native").C
  io.stderr:write(("moonring: %d iovec%s still held at the end%s\n"):format(held, held == 1 and " is" or "s are",
    C.mr_trace_enabled() ~= 0 and "" or "; --trace=iovec tells where they were made"))
  return policy == "fail"
end

-- What a process that was told to end gives its reader to take the rest.
local END_SECONDS = 2

--- Lets go out what was printed. Returns false when that can't be. Ends the process here when its reader has gone.
---@param seconds? number
---@return boolean
function M.finish_output(seconds)
  local stdio = package.loaded["moonring.stdio"]
  if not stdio then return true end -- nothing has been printed
  local all_written, is_broken = stdio.finish(seconds)
  local number = is_broken and dies_of_broken_pipe()
  if number then require("moonring.native").C.mr_signal_die(number) end
  return all_written == true
end

-- os.exit must not leave the kernel with operations on memory that is about to go.
local function guard_exit(at_end)
  local exit = os.exit
  function os.exit(status, ...) -- luacheck: ignore
    local failed = at_end()
    if not M.finish_output() then failed = true end
    if failed and (status == nil or status == true or status == 0) then status = 1 end
    exit(status, ...)
  end
end

local function run_main(options, main, ...)
  local root = task.root(main, ...)
  root:named "main"
  local function at_end()
    if options.at_end then options.at_end() end
    return end_loop(options.leaks)
  end
  guard_exit(at_end)
  local signal_received = watch_signals(root)
  if options.on_start then options.on_start(root) end
  loop.run_until(root)
  local received = signal_received()
  local ok, result = root:outcome()
  local replace
  if options.on_end then
    local stopped
    replace, stopped = options.on_end(root, received, report)
    received = received or stopped
  end
  local leaked = at_end()
  if replace then
    M.finish_output(END_SECONDS)
    replace()
  end
  if received and (ok or errors.is(result, "cancelled")) then
    M.finish_output(END_SECONDS)
    require("moonring.native").C.mr_signal_die(received)
  end
  if ok then return (leaked or result == false) and 1 or 0 end
  report(result, root)
  return 1
end

--- Runs `main(...)` as the main task. Returns the exit status: 1 when it fails, or when what it returns first is false.
---@param options table what moonring.cli.options has parsed
---@param main function
---@return integer status
function M.main(options, main, ...)
  local ok, status = xpcall(run_main, function(failure)
    return { failure = failure, trace = not errors.is(failure) and debug.traceback("", 2) or nil }
  end, options, main, ...)
  if ok then return status end
  io.stderr:write("moonring: ", tostring(status.failure), "\n", status.trace or "")
  loop.close()
  return 1
end

--- Applies the options that are about the process.
---@param options table
function M.apply(options)
  -- What a script runs under busted must be there before busted is, see moonring.test.busted.
  package.preload["busted.runner"] = function(name)
    return require("moonring.test.busted").load(name)
  end
  if options.trace == "iovec" then require("moonring.trace").enable() end
  if options.memory_limit then
    loop.options = require("moonring.native").ffi.new("mr_loop_options", { memory_limit_bytes = options.memory_limit })
  end
end

-- Actions --------------------------------------------------------------------------------------------------------------

-- -j as luajit has it: on, off and flush of the jit library, or a module jit.NAME that is started.
local function control_compiler(text)
  local name, rest = text:match "^([^=]*)=?(.*)$"
  local fn = jit[name]
  if type(fn) == "function" then
    fn()
    return
  end
  local found, module = pcall(require, "jit." .. name)
  if not found or type(module) ~= "table" or not module.start then
    error(("-j: there is no jit.%s, nor a module of that name that can be started"):format(name), 0)
  end
  local arguments = {}
  for word in rest:gmatch "[^,]+" do arguments[#arguments + 1] = word end
  module.start(unpack(arguments))
end

local actions = {
  e = function(code)
    local chunk, message = loadstring(code, "=(command line)")
    if not chunk then errors.raise("argument", "%s", message) end
    chunk()
  end,
  l = function(name) require("moonring.module_loader").require(name) end,
  j = control_compiler,
  O = function(text)
    local arguments = {}
    for word in text:gmatch "[^,]+" do arguments[#arguments + 1] = word end
    require("jit.opt").start(unpack(arguments))
  end,
}

local function repl(version)
  return require("moonring.repl").start {
    banner = ("moonring %s, %s; :help tells what there is, C-d ends"):format(version, jit.version),
  }
end

local function is_terminal(descriptor)
  return require("moonring.native").C.mr_terminal_is(descriptor) == 1
end

-- What the script is: a file, standard input, or none.
local function load_script(options)
  if options.script and options.script ~= "-" then return loadfile(options.script) end
  return loadfile()
end

local function run_all(options, arguments)
  for _, action in ipairs(options.actions) do
    actions[action[1]](action[2])
  end
  local wanted = options.script or not (options.interactive or #options.actions > 0 or is_terminal(0))
  if wanted then
    local chunk, message = load_script(options)
    if not chunk then errors.raise("argument", "%s", message) end
    chunk(unpack(arguments, options.script_index + 1))
  end
  if options.interactive or not wanted and #options.actions == 0 then return repl(options.program_version) end
end

--- Runs what the command line asks for: code, a script, standard input, a REPL. Returns the exit status.
---@param options table
---@param arguments string[]
---@return integer status
function M.script(options, arguments)
  M.apply(options)
  local ok, failure = pcall(function()
    if options.profile then require("moonring.cli.profile").attach(options) end
    if options.watch then require("moonring.cli.watch").attach(options, arguments) end
  end)
  if not ok then
    io.stderr:write("moonring: ", tostring(failure), "\n")
    return 1
  end
  return M.main(options, run_all, options, arguments)
end

return M
