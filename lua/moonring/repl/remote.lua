-- moonring.repl.remote: sessions behind a Unix socket, inside a running service.
--
-- The socket's file is its owner's alone (mode 600), and the kernel is asked who has connected: nobody but the same
-- user and root gets a session. What a block prints with print goes to who has typed it, everything else that the
-- service writes stays with the service. When the connection ends, the block that runs is cancelled; tasks that
-- blocks have left behind go on.

local errors = require "moonring.errors"
local task = require "moonring.task"
local net = require "moonring.net"
local sessions = require "moonring.repl.session"
local complete = require "moonring.repl.complete"
local wire = require "moonring.repl.wire"

local M = {}

-- The effective user of this process.
local function own_user()
  local file = io.open "/proc/self/status"
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return tonumber(text:match "Uid:%s+%d+%s+(%d+)")
end

local function is_allowed(connection)
  local peer = connection:credentials()
  return peer ~= nil and (peer.uid == own_user() or peer.uid == 0)
end

--- Internal.
---@class moonring.repl.Remote
local Remote = {}
Remote.__index = Remote

function Remote:send(kind, text)
  if self.is_closed then return false end
  local ok, sent = pcall(self.connection.write, self.connection, wire.frame(kind, text))
  return ok and sent
end

-- What a session writes: to the terminal while there is one.
function Remote:write(text)
  if not self:send("output", text) then io.stderr:write(text) end
end

local handlers = {}

function handlers.hello(self, text)
  local columns, colour = text:match "^(%d+) (%a+)$"
  self.session.width = tonumber(columns) or 80
  self.session.colour = colour == "true"
  self:send("hello", self.name)
end

function handlers.columns(self, text)
  self.session.width = tonumber(text) or self.session.width
end

function handlers.run(self, text)
  if self.session.running then return end -- a terminal that doesn't wait for its answer
  self.scope:spawn(function()
    local ok = self.session:run(text)
    self:send("done", ok and "1" or "0")
  end):named "repl line"
end

function handlers.complete(self, text)
  local start, candidates = complete.candidates(self.session, text)
  self:send("candidates", start .. "\n" .. table.concat(candidates, "\n"))
end

function handlers.cancel(self)
  self.session:cancel()
end

local function read_frames(self)
  local decoder = wire.decoder()
  for buffer in self.connection:chunks() do
    local frames = decoder:feed(buffer:to_string())
    if not frames then return end
    for _, frame in ipairs(frames) do
      local handler = handlers[frame.kind]
      if not handler then return end
      handler(self, frame.text)
    end
  end
end

local function serve(connection, name)
  if not is_allowed(connection) then return connection:close(0) end
  task.open_scope(function(scope)
    local self = setmetatable({ connection = connection, scope = scope, name = name, is_closed = false }, Remote)
    self.session = sessions.new(scope, { write = function(text) self:write(text) end })
    local function print_there(...)
      local parts = { ... }
      for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
      self:write(table.concat(parts, "\t") .. "\n")
    end
    self.session.declared.print, self.session.locals.print = true, print_there
    read_frames(self)
    self.is_closed = true
    connection:close(0)
    self.session:cancel()
  end)
end

--- Serves sessions at a Unix socket. See moonring.repl.listen.
function M.listen(path)
  if type(path) ~= "string" or path == "" then
    errors.raise("argument", "repl.listen: a path is needed, not %s", tostring(path))
  end
  local listener, message, code = net.listen { path = path, mode = tonumber("600", 8), unlink_stale = true }
  if not listener then return nil, message, code end
  local name = ("%s, process %s"):format(arg and arg[0] or "moonring", io.open("/proc/self/stat"):read "*l":match "^%d+")
  -- The task owns the listener before it runs: it may be cancelled before.
  return task.innermost(task.current()):spawn_owning(listener, function()
    net.serve(listener, function(connection) serve(connection, name) end)
  end):named("repl at " .. path)
end

return M
