-- moonring.repl: typing Lua into a living process.
--
-- The loop runs while a person types. What is entered is a task and may wait; tasks that it starts go on behind the
-- prompt. The same session can be at a terminal (start) or behind a Unix socket (listen, `moonring attach`).

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local task = require "moonring.task"

local M = {}

local function local_backend(session)
  local complete = require "moonring.repl.complete"
  return {
    run = function(text) return session:run(text) end,
    cancel = function() return session:cancel() end,
    complete = function(before) return complete.candidates(session, before) end,
    computing = function() return session.running end,
  }
end

local function run_session(scope, options)
  local front, output = require "moonring.repl.front", require "moonring.repl.output"
  local colour = front.wants_colour()
  local session = require("moonring.repl.session").new(scope, {
    write = output.put, colour = colour, width = front.columns(),
  })
  for name, value in pairs(options.locals or {}) do
    session.declared[name], session.locals[name] = true, value
  end
  local ok = front.run {
    backend = local_backend(session), banner = options.banner,
    on_resize = function(columns) session.width = columns end,
  }
  local left = scope:count_children()
  if left > 0 and front.is_terminal() then
    output.raw(left == 1 and "1 task still runs; C-c ends it\n" or ("%d tasks still run; C-c ends them\n"):format(left))
  end
  scope:hand_over()
  return ok
end

---@class moonring.repl.StartOptions
---@field locals? table<string, any> names that what is typed sees beside the globals
---@field banner? string a line to begin with

--- Opens a REPL at the process's terminal and returns when the person leaves it (Ctrl-D); other tasks run meanwhile. Tasks
--- that were started at it go on as tasks of the caller's scope. Where standard input is no terminal, it is read line by
--- line without prompts.
---@param options? moonring.repl.StartOptions
---@return boolean ok whether the last block went well
function M.start(options)
  options = errors.options("repl.start", options)
  scheduler.require_task "repl.start"
  return task.open_scope(run_session, options)
end

--- Lets `moonring attach PATH` open REPLs inside this process, through a Unix socket that only its user can reach. A task of
--- the caller's scope serves them until it is cancelled. What a block prints goes to its terminal, all other output stays
--- here; a block is cancelled when its terminal goes away. A block that computes holds the loop like any other code.
---@param path string of the socket; one that a dead process has left there is replaced
---@return moonring.Task? task
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", ...
function M.listen(path)
  scheduler.require_task "repl.listen"
  return require("moonring.repl.remote").listen(path)
end

return M
