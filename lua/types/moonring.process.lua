---@meta moonring.process
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Process
---@field pid integer
---@field stdin? moonring.Connection what is written there is read by the process
---@field stdout? moonring.Connection
---@field stderr? moonring.Connection
---@field status? moonring.ProcessStatus once it has ended
local Process = {}

--- Ends it: closes its pipes, sends SIGTERM, and SIGKILL when it has not ended after `grace` seconds; waits for the end.
--- A process with a group or session of its own is ended with all of it. What a scope does with what it owns.
---@param grace? number seconds; 0 kills at once
function Process:close(grace) end

--- Lets it run on when the loop ends, and when this object is closed. Waiting for it and its pipes go on as before.
function Process:detach() end

--- Whether it has ended.
---@return boolean
function Process:has_ended() end

--- Sends it a signal. It reaches this process or nobody, however long that has ended.
---@param name? string|integer default "TERM"
---@return true? ok
---@return string? message
---@return string? code "ESRCH" once it has ended
function Process:kill(name) end

--- Sends a signal to everybody in its process group. For processes that were started with a group or session of their own.
---@param name? string|integer default "TERM"
---@return true? ok
---@return string? message
---@return string? code
function Process:kill_group(name) end

--- Waits for its end; any number of tasks may, and later ones get the same status. A process that is stopped has not
--- ended.
---@return moonring.ProcessStatus? status
---@return string? message
---@return string? code
function Process:wait() end

--- wait as an operation for moonring.select.
---@return moonring.Operation
function Process:wait_op() end

---@class moonring.ProcessStatus
---@field code? integer the exit status, unless a signal ended it
---@field signal? string the name of the signal that ended it
---@field ok boolean whether the exit status is 0
---@field core_dumped boolean
---@field user_seconds number of the processor
---@field system_seconds number
---@field memory_peak number bytes
---@field is_cut? boolean by run: not all of its output was kept
local ProcessStatus = {}

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
local SpawnOptions = {}

--- child processes.
--- 
--- A process is started with what is listed and nothing else: its descriptors 0, 1 and 2 are /dev/null unless the options
--- say otherwise, no other descriptor reaches it, and its signals act as after a login. The loop reaps every child when it
--- ends, whether anybody waits or not. A scope that owns a process ends it: SIGTERM, and SIGKILL after its grace.
local module = {}

--- Seconds between SIGTERM and SIGKILL when a process is closed.
---@type any
module.GRACE = nil

--- Bytes of each output that run keeps unless `max` says otherwise.
---@type any
module.MAX_OUTPUT = nil

--- A text as one word of a shell's command line, for commands that go elsewhere.
---@param text string
---@return string
function module.quote(text) end

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
function module.run(options) end

--- Runs a command of /bin/sh with further values as "$1", "$2" and so on: `process.shell('grep -c "$1" <"$2"', word, path)`.
--- They never become part of the command's text, so nothing in them is a matter of quoting. Results as of run.
---@param command string
---@param ... string
---@return moonring.ProcessStatus? status
---@return string? output
---@return string? errors
function module.shell(command, ...) end

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
function module.spawn(options) end

return module
