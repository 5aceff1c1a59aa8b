---@meta moonring.repl
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.repl.StartOptions
---@field locals? table<string, any> names that what is typed sees beside the globals
---@field banner? string a line to begin with
local StartOptions = {}

--- typing Lua into a living process.
--- 
--- The loop runs while a person types. What is entered is a task and may wait; tasks that it starts go on behind the
--- prompt. The same session can be at a terminal (start) or behind a Unix socket (listen, `moonring attach`).
local module = {}

--- Lets `moonring attach PATH` open REPLs inside this process, through a Unix socket that only its user can reach. A task of
--- the caller's scope serves them until it is cancelled. What a block prints goes to its terminal, all other output stays
--- here; a block is cancelled when its terminal goes away. A block that computes holds the loop like any other code.
---@param path string of the socket; one that a dead process has left there is replaced
---@return moonring.Task? task
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", ...
function module.listen(path) end

--- Opens a REPL at the process's terminal and returns when the person leaves it (Ctrl-D); other tasks run meanwhile. Tasks
--- that were started at it go on as tasks of the caller's scope. Where standard input is no terminal, it is read line by
--- line without prompts.
---@param options? moonring.repl.StartOptions
---@return boolean ok whether the last block went well
function module.start(options) end

return module
