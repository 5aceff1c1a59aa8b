-- moonring.process: child processes.
--
-- A process is started with what is listed and nothing else: its descriptors 0, 1 and 2 are /dev/null unless the options
-- say otherwise, no other descriptor reaches it, and its signals act as after a login. The loop reaps every child when it
-- ends, whether anybody waits or not. A scope that owns a process ends it: SIGTERM, and SIGKILL after its grace.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"
local deadline = require "moonring.deadline"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"
local loop = require "moonring.loop"
local signal = require "moonring.signal"
local start = require "moonring.process.start"

local C, ffi = native.C, native.ffi
local check_options, number_option = start.check_options, start.number_option
local check_text, refuse = start.check_text, start.refuse

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

--- Starts a program: `process.spawn { "tar", "-c", path, stdout = "pipe" }`. This thread, and so the loop, stands still
--- until the kernel has loaded it, which doesn't depend on this process's size.
--- ```lua
--- local moonring, process = require "moonring", require "moonring.process"
---
--- moonring.scope(function(scope)
---   local child = scope:own(assert(process.spawn { "echo", "hello", stdout = "pipe" }))
---   assert(child.stdout:read_line() == "hello")
---   assert(child:wait().ok)
--- end)
--- ```
---@param options moonring.SpawnOptions
---@return moonring.Process? process
---@return string? message what was tried, and what came back
---@return string? code the errno's name
function M.spawn(options)
  check_options("process.spawn", options)
  local grace = number_option("process.spawn", options, "grace", M.GRACE)
  local slot, streams, code = start.start(options)
  if not slot then return nil, streams, code end
  local handle, command = loop.handle(), tostring(options[1])
  local self = setmetatable({
    handle = handle, slot = slot, pid = C.mr_process_pid(handle, slot), command = command, grace = grace,
    leads = options.session or options.process_group == true,
    stdin = streams.stdin, stdout = streams.stdout, stderr = streams.stderr,
    queue = waiters.new("the end of " .. command),
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
  self.queue:wake_all(true)
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
  for _, name in pairs(start.names) do
    if self[name] then self[name]:close(0) end
  end
  if not self.slot or self.detached then return end
  C.mr_process_end(self.handle, self.slot, grace)
  if not scheduler.current() then return end -- the loop goes on with it
  local ok, failure = pcall(deadline.shield, grace + M.GRACE, self.wait, self)
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
  local waiting = {}
  for name, reader in pairs(readers) do
    waiting[name] = reader and reader:join_op() or nil
  end
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
