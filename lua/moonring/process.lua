-- moonring.process: child processes.
--
-- A process is started with what is listed and nothing else: its descriptors 0, 1 and 2 are /dev/null unless the options
-- say otherwise, no other descriptor reaches it, and its signals act as after a login. The loop reaps every child when it
-- ends, whether anybody waits or not. A scope that owns a process ends it: SIGTERM, and SIGKILL after its grace.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"
local loop = require "moonring.loop"
local signal = require "moonring.signal"
local stdio = require "moonring.stdio"
local connection = require "moonring.net.connection"

local C, ffi = native.C, native.ffi

local M = {
  -- Seconds between SIGTERM and SIGKILL when a process is closed.
  GRACE = 5,
  -- Bytes of each output that run keeps unless `max` says otherwise.
  MAX_OUTPUT = 16777216,
}

---@class moonring.ProcessStatus
---@field code? integer the exit status, unless a signal ended it
---@field signal? string the name of the signal that ended it
---@field ok boolean whether the exit status is 0
---@field core_dumped boolean
---@field user_seconds number of the processor
---@field system_seconds number
---@field memory_peak number bytes
---@field is_cut? boolean by run: not all of its output was kept
local Status = { __name = "moonring.ProcessStatus" }
Status.__index = Status

function Status:__tostring()
  if self.signal then return "signal " .. self.signal .. (self.core_dumped and " (core dumped)" or "") end
  return "exit status " .. self.code
end

---@class moonring.Process
---@field pid integer
---@field stdin? moonring.Connection what is written there is read by the process
---@field stdout? moonring.Connection
---@field stderr? moonring.Connection
---@field status? moonring.ProcessStatus once it has ended
local Process = { __name = "moonring.Process" }
Process.__index = Process

---@class moonring.SpawnOptions
---@field [integer] string the program, and its arguments
---@field stdin? any "null" (the default), "pipe", "inherit", a descriptor's number, or a connection or file
---@field stdout? any the same
---@field stderr? any the same, or "stdout" for the same place as stdout
---@field descriptors? table<integer, any> what becomes descriptor 3 and above; no pipes
---@field environment? table<string, string> all of its environment, instead of this process's
---@field extra? table<string, string|false> variables set in addition, or with false left out
---@field directory? string where it runs; a program's name with a slash is looked for from there
---@field search? boolean|string whether a name without a slash is looked for in PATH (the default), or where instead
---@field session? boolean a session of its own, without a terminal, and a process group with it
---@field process_group? boolean|integer true: one of its own, to which kill_group and close go; or that one
---@field user? string|integer whose rights it has, with the groups of that user
---@field group? string|integer
---@field umask? integer
---@field grace? number seconds between SIGTERM and SIGKILL when it is closed; default 5

local option_names = {}
for name in ([[stdin stdout stderr descriptors environment extra directory search session process_group user group umask
    grace]]):gmatch "%S+" do
  option_names[name] = true
end

local function refuse(what, text, ...)
  errors.raise("argument", what .. ": " .. text, ...)
end

-- A string that C sees whole.
local function check_text(what, name, text)
  if type(text) == "number" then text = tostring(text) end
  if type(text) ~= "string" then refuse(what, "%s: a string is needed, not a %s", name, type(text)) end
  if text:find("\0", 1, true) then refuse(what, "%s holds a zero byte", name) end
  return text
end

-- Strings for C; `keep` holds what it points to.
local function string_array(strings, keep)
  local array = ffi.new("const char *[?]", #strings + 1)
  for i, text in ipairs(strings) do
    array[i - 1] = text
  end
  keep[#keep + 1] = strings
  keep[#keep + 1] = array
  return array
end

local function own_environment()
  local list, i = {}, 0
  local environment = C.mr_environment()
  while environment ~= nil and environment[i] ~= nil do
    list[#list + 1] = ffi.string(environment[i])
    i = i + 1
  end
  return list
end

local function add_variables(what, into, variables)
  for name, value in pairs(variables) do
    name = check_text(what, "the name of a variable", name)
    if name == "" or name:find("=", 1, true) then refuse(what, "%q is no name for a variable", name) end
    if value ~= false then into[#into + 1] = name .. "=" .. check_text(what, "the variable " .. name, value) end
  end
end

local function environment_of(what, options)
  if not options.environment and not options.extra then return nil end
  local list = {}
  if options.environment then
    add_variables(what, list, options.environment)
  else
    list = own_environment()
  end
  if options.extra then
    for i = #list, 1, -1 do
      if options.extra[list[i]:match "^([^=]*)="] ~= nil then table.remove(list, i) end
    end
    add_variables(what, list, options.extra)
  end
  return list
end

-- Opening and closing what becomes the child's descriptors ------------------------------------------------------------

local Plan = {} -- what a spawn has opened
Plan.__index = Plan

function Plan:opened(descriptor)
  self.temporary[#self.temporary + 1] = descriptor
  return descriptor
end

-- Closes what only the child needs.
function Plan:close()
  for _, descriptor in ipairs(self.temporary) do
    C.mr_descriptor_close_now(descriptor)
  end
  self.temporary = {}
end

function Plan:abandon()
  self:close()
  for _, stream in pairs(self.streams) do
    stream:close(0)
  end
end

local numbers = { [0] = "stdin", "stdout", "stderr" }

-- Returns the child's end, or nil, message, code.
local function open_pipe(plan, number)
  local ends = ffi.new "int32_t[2]"
  local name = numbers[number]
  local result = C.mr_pipe_open(ends)
  if result < 0 then return errors.world(result, ("process.spawn: a pipe for %s of '%s'"):format(name, plan.command)) end
  local theirs, ours = ends[0], ends[1]
  if number > 0 then
    theirs, ours = ours, theirs
  end
  plan:opened(theirs)
  local stream, message, code = connection.open(ours, { name = ("%s of %s"):format(name, plan.command) })
  if not stream then
    C.mr_descriptor_close_now(ours)
    return nil, message, code
  end
  plan.streams[name] = stream
  return theirs
end

local function open_null(plan, number)
  local result = C.mr_null_open(number > 0 and 1 or 0)
  if result < 0 then return errors.world(result, ("process.spawn: /dev/null for '%s'"):format(plan.command)) end
  return plan:opened(result)
end

-- The descriptor that `value` stands for.
local function descriptor_of(what, number, value)
  if type(value) == "number" then
    if value < 0 or value > 0x7fffffff or value % 1 ~= 0 then refuse(what, "descriptor %d: %s is none", number, value) end
    return value
  end
  local found
  if type(value) == "table" or type(value) == "cdata" then
    local ok, method = pcall(function() return value.descriptor end)
    if ok and method then found = type(method) == "function" and method(value) or method end
  end
  if type(found) ~= "number" or found < 0 then
    refuse(what, "descriptor %d: a descriptor's number or an open connection or file is needed, not %s", number,
      tostring(value))
  end
  return found
end

local function place(plan, number, value)
  local into = plan.descriptors
  local found, message, code
  if value == nil or value == "null" then
    found, message, code = open_null(plan, number)
  elseif value == "inherit" then
    found = number
  elseif value == "pipe" and number < 3 then
    found, message, code = open_pipe(plan, number)
  elseif value == "stdout" and number == 2 then
    found = into[1]
  else
    found = descriptor_of(plan.what, number, value)
  end
  if not found then return nil, message, code end
  into[number] = found
  return true
end

local function place_all(plan, options)
  for number = 0, 2 do
    local ok, message, code = place(plan, number, options[numbers[number]])
    if not ok then return nil, message, code end
  end
  for number, value in pairs(options.descriptors or {}) do
    local ok, message, code = place(plan, number, value)
    if not ok then return nil, message, code end
  end
  return true
end

local function count_descriptors(what, options)
  local count = 3
  for number in pairs(options.descriptors or {}) do
    if type(number) ~= "number" or number % 1 ~= 0 or number < 3 or number >= C.MR_SPAWN_DESCRIPTORS_MAX then
      refuse(what, "descriptors: numbers from 3 to %d are needed, not %s", C.MR_SPAWN_DESCRIPTORS_MAX - 1, tostring(number))
    end
    count = math.max(count, number + 1)
  end
  return count
end

-- Starting ------------------------------------------------------------------------------------------------------------

local function set_user(what, spawn, options, keep)
  if options.user ~= nil then
    local name = check_text(what, "user", options.user)
    local user = ffi.new "mr_user"
    local result = C.mr_user_find(name, user)
    if result < 0 then return errors.world(result, ("%s: look up the user '%s'"):format(what, name)) end
    spawn.user, spawn.group = user.user, user.group
    spawn.groups, spawn.group_count = user.groups, user.group_count
    keep[#keep + 1] = user
  end
  if options.group ~= nil then
    local name = check_text(what, "group", options.group)
    local group = ffi.new "uint32_t[1]"
    local result = C.mr_group_find(name, group)
    if result < 0 then return errors.world(result, ("%s: look up the group '%s'"):format(what, name)) end
    spawn.group = group[0]
  end
  return true
end

local function words_of(step, spawn, options)
  if step == C.MR_SPAWN_CLONE then return "make a process for" end
  if step == C.MR_SPAWN_SESSION then return "make a session for" end
  if step == C.MR_SPAWN_PROCESS_GROUP then return "set the process group of" end
  if step == C.MR_SPAWN_DESCRIPTOR then return "hand descriptors to" end
  if step == C.MR_SPAWN_GROUPS then return ("change to the group %.0f for"):format(tonumber(spawn.group)) end
  if step == C.MR_SPAWN_USER then return ("change to the user %.0f for"):format(tonumber(spawn.user)) end
  if step == C.MR_SPAWN_DIRECTORY then return ("change to the directory '%s' for"):format(options.directory) end
  return "start"
end

-- What an operator can do about it, where the errno's sentence doesn't say.
local function remedy_of(step, code, search)
  if step == C.MR_SPAWN_CLONE and code == "EAGAIN" then
    return "the limit of processes has been reached (ulimit -u, or pids.max of the control group)"
  elseif code == "EMFILE" then
    return "raise ulimit -n"
  elseif step == C.MR_SPAWN_EXECUTE and code == "E2BIG" then
    return "arguments and environment together are longer than a quarter of ulimit -s, or one of them than 128 KiB"
  elseif step == C.MR_SPAWN_EXECUTE and code == "ENOENT" and search then
    return "looked for in " .. (search == "" and "no directory" or search)
  elseif step == C.MR_SPAWN_EXECUTE and code == "ENOEXEC" then
    return "neither a program nor a script that begins with #!"
  end
end

local function spawn_failure(spawn, result, options, command, search)
  local step = spawn.failed_step
  local _, message, code = errors.world(result, ("process.spawn: %s '%s'"):format(words_of(step, spawn, options), command))
  local remedy = remedy_of(step, code, search)
  if remedy then message = ("%s (%s)"):format(message, remedy) end
  return nil, message, code
end

local function arguments_of(what, options)
  local arguments = {}
  for i, argument in ipairs(options) do
    arguments[i] = check_text(what, i == 1 and "the program" or "argument " .. (i - 1), argument)
  end
  if not arguments[1] or arguments[1] == "" then refuse(what, "the name of a program is needed") end
  return arguments
end

local function search_of(what, options, program)
  if program:find("/", 1, true) or options.search == false then return nil end
  if options.search == nil or options.search == true then return os.getenv "PATH" or "/usr/bin:/bin" end
  return check_text(what, "search", options.search)
end

local function start(plan, spawn, options, search)
  local ok, message, code = place_all(plan, options)
  if not ok then return nil, message, code end
  stdio.flush_now() -- what this process has written comes before what its child writes to the same place
  spawn.descriptors = plan.descriptors
  local result = C.mr_process_spawn(loop.handle(), spawn)
  if result < 0 then return spawn_failure(spawn, result, options, plan.command, search) end
  return result
end

local function check_options(what, options, further)
  if type(options) ~= "table" then refuse(what, "a table of the program and its arguments is needed, not a %s", type(options)) end
  for name in pairs(options) do
    if type(name) ~= "number" and not option_names[name] and not (further and further[name]) then
      refuse(what, "there is no option '%s'", tostring(name))
    end
  end
end

local function number_option(what, options, name, default)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < 0 then
    refuse(what, "%s: a number is needed, not %s", name, tostring(value))
  end
  return value
end

-- The program's start as C takes it.
local function describe(what, options, arguments, search, count, keep)
  local spawn = ffi.new "mr_spawn"
  spawn.program, spawn.search = arguments[1], search
  spawn.arguments = string_array(arguments, keep)
  local environment = environment_of(what, options)
  if environment then spawn.environment = string_array(environment, keep) end
  if options.directory ~= nil then spawn.directory = check_text(what, "directory", options.directory) end
  spawn.descriptor_count = count
  spawn.session = options.session and 1 or 0
  spawn.process_group = options.process_group == true and 0 or number_option(what, {
    process_group = options.process_group or nil }, "process_group", -1)
  spawn.umask = number_option(what, options, "umask", -1)
  spawn.user, spawn.group = -1, -1
  return spawn
end

--- Starts a program: `process.spawn { "tar", "-c", path, stdout = "pipe" }`. This thread, and so the loop, stands still
--- until the kernel has loaded it, which doesn't depend on this process's size.
---@param options moonring.SpawnOptions
---@return moonring.Process? process
---@return string? message what was tried, and what came back
---@return string? code the errno's name
function M.spawn(options)
  local what = "process.spawn"
  check_options(what, options)
  local arguments = arguments_of(what, options)
  local search = search_of(what, options, arguments[1])
  local grace = number_option(what, options, "grace", M.GRACE)
  local count = count_descriptors(what, options)
  local keep = { arguments, search, options.directory }
  local spawn = describe(what, options, arguments, search, count, keep)
  local ok, message, code = set_user(what, spawn, options, keep)
  if not ok then return nil, message, code end
  local plan = setmetatable({ what = what, command = arguments[1], temporary = {}, streams = {}, keep = keep,
    descriptors = ffi.new("int32_t[?]", count) }, Plan)
  for number = 3, count - 1 do
    plan.descriptors[number] = -1
  end
  local raised, slot
  raised, slot, message, code = pcall(start, plan, spawn, options, search)
  if not raised or not slot then
    plan:abandon()
    if not raised then error(slot, 0) end
    return nil, message, code
  end
  plan:close()
  local handle = loop.handle()
  local self = setmetatable({
    handle = handle, slot = slot, pid = C.mr_process_pid(handle, slot), command = arguments[1], grace = grace,
    leads = options.session or options.process_group == true,
    stdin = plan.streams.stdin, stdout = plan.streams.stdout, stderr = plan.streams.stderr,
    queue = waiters.new(("the end of %s"):format(arguments[1])),
  }, Process)
  loop.processes[slot] = self
  return self
end

-- A running process ---------------------------------------------------------------------------------------------------

-- The loop has reaped it.
function Process:ended()
  local out = ffi.new "mr_process_status"
  local slot = self.slot
  if not slot or C.mr_process_status_get(self.handle, slot, out) ~= 0 then return end
  self.slot = false
  loop.processes[slot] = nil
  C.mr_process_release(self.handle, slot)
  if out.lost ~= 0 then
    self.lost = true
  else
    self.status = setmetatable({
      code = out.signal == 0 and out.code or nil, signal = out.signal ~= 0 and signal.name(out.signal) or nil,
      ok = out.code == 0, core_dumped = out.core_dumped ~= 0, user_seconds = out.user_seconds,
      system_seconds = out.system_seconds, memory_peak = out.memory_peak,
    }, Status)
  end
  while self.queue:wake_first(true) do end
end

local function outcome(self)
  if self.status then return self.status end
  return nil, ("process:wait: the status of %s has been taken by somebody else in this process"):format(tostring(self)),
    "ECHILD"
end

--- Waits for its end; any number of tasks may, and later ones get the same status. A process that is stopped has not
--- ended.
---@return moonring.ProcessStatus? status
---@return string? message
---@return string? code
function Process:wait()
  scheduler.check()
  if self.slot then self.queue:wait() end
  return outcome(self)
end

--- Whether it has ended.
---@return boolean
function Process:has_ended()
  return not self.slot
end

local function send(self, what, name, whole_group)
  local number = signal.number(name or "TERM", what)
  local result = self.slot and C.mr_process_signal(self.handle, self.slot, number, whole_group) or -3 -- ESRCH
  if result == 0 then return true end
  return errors.world(result, ("%s: send %s to %s"):format(what, signal.name(number), tostring(self)))
end

--- Sends it a signal. It reaches this process or nobody, however long that has ended.
---@param name? string|integer default "TERM"
---@return true? ok
---@return string? message
---@return string? code "ESRCH" once it has ended
function Process:kill(name)
  return send(self, "process:kill", name, 0)
end

--- Sends a signal to everybody in its process group. For processes that were started with a group or session of their own.
---@param name? string|integer default "TERM"
---@return true? ok
---@return string? message
---@return string? code
function Process:kill_group(name)
  if not self.leads then
    errors.raise("argument", "process:kill_group: %s has no group of its own; start it with process_group = true",
      tostring(self))
  end
  return send(self, "process:kill_group", name, 1)
end

--- Lets it run on when the loop ends, and when this object is closed. Waiting for it and its pipes go on as before.
function Process:detach()
  self.detached = true
  if self.slot then C.mr_process_detach(self.handle, self.slot) end
end

--- Ends it: closes its pipes, sends SIGTERM, and SIGKILL when it has not ended after `grace` seconds; waits for the end.
--- A process with a group or session of its own is ended with all of it. What a scope does with what it owns.
---@param grace? number seconds; 0 kills at once
function Process:close(grace)
  grace = grace or self.grace
  for _, name in pairs(numbers) do
    if self[name] then self[name]:close(0) end
  end
  if not self.slot or self.detached then return end
  C.mr_process_end(self.handle, self.slot, grace)
  if not scheduler.current() then return end -- the loop goes on with it
  local ok, failure = pcall(task.shield, grace + M.GRACE, self.wait, self)
  if not ok and not errors.is(failure, "boundary") then error(failure, 0) end
end

function Process:__tostring()
  return ("moonring.Process(%s, %s)"):format(self.command,
    self.status and tostring(self.status) or self.lost and "status lost" or "pid " .. self.pid)
end

local Wait = operation.class("moonring.Operation.Process", {
  describe = function(self) return "the end of " .. tostring(self.process) end,
  try = function(self)
    if self.process.slot then return false end
    return true, outcome(self.process)
  end,
  block = function(self, case) self.process.queue:add(case) end,
  withdraw = function(self, case) self.process.queue:remove(case) end,
  finish = function(self) return outcome(self.process) end,
})

--- wait as an operation for moonring.select.
---@return moonring.Operation
function Process:wait_op()
  return setmetatable({ process = self }, Wait)
end

-- Running to the end --------------------------------------------------------------------------------------------------

local run_names = { input = true, max = true, overflow = true }

local function feed(process, input)
  local stream = process.stdin
  stream:write(input) -- a program need not read all of its input
  stream:flush()
  stream:close()
end

-- Reads to the end and keeps up to `max` bytes. Returns the text and whether something was left out, or nil, message,
-- code. With `stop`, too much ends it.
local function collect(stream, max, stop)
  local parts, total, is_cut = {}, 0, false
  while true do
    local buffer, message, code = stream:read()
    if not buffer then
      if code then return nil, message, code end
      return table.concat(parts), is_cut
    end
    local room = max - total
    local count = math.min(buffer:remaining(), room)
    if count < buffer:remaining() then
      is_cut = true
      if stop then return nil, ("process.run: %s is more than %d bytes"):format(stream.name, max), "EMSGSIZE" end
    end
    if count > 0 then parts[#parts + 1] = buffer:read_string(count) end
    total = total + count
  end
end

local function finish(scope, process, options)
  local max = number_option("process.run", options, "max", M.MAX_OUTPUT)
  local readers = {}
  local feeder = process.stdin and scope:spawn(feed, process, options.input)
  for _, name in ipairs { "stdout", "stderr" } do
    local stream = process[name]
    readers[name] = stream and scope:spawn(collect, stream, max, options.overflow ~= "cut")
  end
  local texts, is_cut = {}, false
  -- The first that has too much ends the other, too; so they are looked at as they end.
  local waiting = { stdout = readers.stdout and readers.stdout:join_op(), stderr = readers.stderr and readers.stderr:join_op() }
  while next(waiting) do
    local name, ok, text, cut, code = operation.select(waiting)
    if ok and not text then
      for _, child in pairs { feeder or nil, readers.stdout or nil, readers.stderr or nil } do
        child:cancel()
      end
      return nil, cut, code
    end
    waiting[name] = nil
    texts[name], is_cut = text, is_cut or cut
  end
  local status, message, code = process:wait()
  if not status then return nil, message, code end
  status.is_cut = is_cut or nil
  return status, texts.stdout, texts.stderr
end

--- Runs a program to its end: `local status, output, errors = process.run { "sort", input = text }`. Its outputs are
--- captured unless the options send them elsewhere. Ends with the program and with its outputs, whichever is later.
---
--- Further options: `input`, a string or buffer that is written to its stdin meanwhile; `max`, the bytes of each output
--- that are kept (default 16 MiB); `overflow`: what more than that does, "error" (the default: the program is killed and
--- the code is "EMSGSIZE") or "cut" (the rest is read and dropped, and status.is_cut is set).
---@param options moonring.SpawnOptions
---@return moonring.ProcessStatus? status
---@return string? output what it wrote to stdout; the message when status is nil
---@return string? errors what it wrote to stderr; the errno's name when status is nil
function M.run(options)
  check_options("process.run", options, run_names)
  if options.overflow ~= nil and options.overflow ~= "cut" and options.overflow ~= "error" then
    refuse("process.run", "overflow: \"error\" or \"cut\" is needed, not %s", tostring(options.overflow))
  end
  scheduler.require_task "process.run"
  local own = {}
  for name, value in pairs(options) do
    if not run_names[name] then own[name] = value end
  end
  own.stdin = own.stdin or options.input and "pipe" or nil
  own.stdout, own.stderr = own.stdout or "pipe", own.stderr or "pipe"
  return task.open_scope(function(scope)
    local process, message, code = M.spawn(own)
    if not process then return nil, message, code end
    scope:own(process)
    return finish(scope, process, options)
  end)
end

--- Runs a command of /bin/sh with further values as "$1", "$2" and so on: `process.shell('grep -c "$1" <"$2"', word, path)`.
--- They never become part of the command's text, so nothing in them is a matter of quoting. Results as of run.
---@param command string
---@param ... string
---@return moonring.ProcessStatus? status
---@return string? output
---@return string? errors
function M.shell(command, ...)
  check_text("process.shell", "the command", command)
  return M.run { "/bin/sh", "-c", command, "sh", ... }
end

--- A text as one word of a shell's command line, for commands that go elsewhere.
---@param text string
---@return string
function M.quote(text)
  return "'" .. check_text("process.quote", "the text", text):gsub("'", "'\\''") .. "'"
end

return M
