-- moonring.net: TCP servers and clients.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local operation = require "moonring.operation"
local loop = require "moonring.loop"
local address = require "moonring.net.address"
local connection = require "moonring.net.connection"

local C = native.C

local M = {}

---@class moonring.Listener
---@field port integer the port it listens on, also when 0 was asked for
local Listener = { __name = "moonring.Listener" }
Listener.__index = Listener

---@class moonring.ListenOptions
---@field host? string numeric address to bind, default "127.0.0.1"; "0.0.0.0" or "::" for all
---@field port? integer default 0: any free port
---@field backlog? integer connections that may wait to be accepted, default 4096
---@field reuse_port? boolean SO_REUSEPORT: several processes may listen on the same port

local function resolve(options, what)
  local host, port = options.host or "127.0.0.1", options.port or 0
  local where = address.parse(host, port)
  if not where then
    errors.raise("argument", "%s: %s port %s is not a numeric address and a port from 0 to 65535", what, tostring(host),
      tostring(port))
  end
  return where
end

--- Listens for TCP connections.
---@param options moonring.ListenOptions
---@return moonring.Listener? listener
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", ...
function M.listen(options)
  local where = resolve(options, "net.listen")
  local handle = loop.handle()
  local slot = C.mr_listener_open(handle, where, options.backlog or 0, options.reuse_port and C.MR_LISTEN_REUSE_PORT or 0)
  if slot < 0 then return errors.world(slot, "listen on " .. tostring(where)) end
  C.mr_listener_address(handle, slot, where)
  local self = setmetatable({
    handle = handle,
    slot = slot,
    port = where.port,
    bound = where,
    arrived = {}, -- slots accepted and not yet handed out, first to last
    first = 1,
    last = 0,
  }, Listener)
  loop.listeners[slot] = self
  return self
end

-- Called by the loop with the slot of a new connection, or with what has ended the listener.
function Listener:accepted(result)
  if result < 0 then
    self.failure = result
  elseif self.serving then
    task.start_owning(self.serving, connection.new(self.handle, result), self.handler)
    return
  else
    self.last = self.last + 1
    self.arrived[self.last] = result
  end
  local waiting = self.acceptor
  if waiting then
    self.acceptor = nil
    task.run(waiting)
  end
end

function Listener:withdraw()
  self.acceptor = nil
end

local function wait_on(self, what)
  if self.acceptor then
    errors.raise("busy", "%s: %s waits on this listener already", what, tostring(self.acceptor))
  end
  self.acceptor = task.current()
  task.wait(self)
end

--- Waits for the next connection, which is the caller's to close.
---@return moonring.Connection? connection
---@return string? message
---@return string? code
function Listener:accept()
  while true do
    if not self.slot then errors.raise("closed", "listener:accept: the listener has been closed") end
    local slot = self.arrived[self.first]
    if slot then
      self.arrived[self.first] = nil
      self.first = self.first + 1
      return connection.new(self.handle, slot, true)
    end
    if self.failure then return errors.world(self.failure, "accept on " .. tostring(self.bound)) end
    wait_on(self, "listener:accept")
  end
end

local Accept = operation.class("moonring.Operation.Accept", {
  describe = function(self) return "accept of " .. tostring(self.listener) end,
  try = function(self)
    local listener = self.listener
    if not listener.slot or listener.failure or listener.arrived[listener.first] then return true, listener:accept() end
    return false
  end,
  block = function(self, case)
    local listener = self.listener
    if listener.acceptor then
      errors.raise("busy", "listener:accept: %s waits on this listener already", tostring(listener.acceptor))
    end
    listener.acceptor = case.task
  end,
  withdraw = function(self, case)
    if self.listener.acceptor == case.task then self.listener.acceptor = nil end
  end,
})

--- accept as an operation for moonring.select.
---@return moonring.Operation
function Listener:accept_op()
  return setmetatable({ listener = self }, Accept)
end

--- The address that it is bound to.
---@return moonring.Address
function Listener:address()
  return self.bound
end

--- Stops listening. Connections that nobody has accepted yet are closed; the others are not touched. A net.serve on
--- it returns when its handlers have ended.
function Listener:close()
  local slot = self.slot
  if not slot then return end
  self.slot = false
  loop.listeners[slot] = nil
  for i = self.first, self.last do
    C.mr_connection_close(self.handle, self.arrived[i], 0)
  end
  self.arrived = {}
  C.mr_listener_close(self.handle, slot)
  local waiting = self.acceptor
  if waiting then
    self.acceptor = nil
    task.wake(waiting)
  end
end

function Listener:__tostring()
  return ("moonring.Listener(%s%s)"):format(tostring(self.bound), self.slot and "" or " closed")
end

-- What becomes of an error in one connection's handler: the others go on.
local function report(failure, failed)
  io.stderr:write(("moonring: a connection's handler has failed: %s\n%s\n"):format(tostring(failure),
    task.traceback_of(failure, failed) or ""))
end

local function serve_in(scope, listener, handler)
  scope:own(listener)
  scope:tell_failures(report)
  listener.serving, listener.handler = scope, handler
  while listener.last >= listener.first do
    local slot = listener.arrived[listener.first]
    listener.arrived[listener.first] = nil
    listener.first = listener.first + 1
    scope:spawn_owning(connection.new(listener.handle, slot), handler)
  end
  while listener.slot and not listener.failure do
    wait_on(listener, "net.serve")
  end
  listener.serving = nil
  if listener.failure then
    local _, message, code = errors.world(listener.failure, "accept on " .. tostring(listener.bound))
    errors.raise(code, "%s", message)
  end
end

--- Serves TCP connections: `handler(connection)` runs as a task of its own for each, and the connection is closed
--- when it ends, however it ends. An error in a handler is reported on standard error and ends that connection only.
--- Returns when the listener has been closed and all handlers have ended; cancelling the task stops them all. A
--- service that can't listen, or can't any longer, raises.
---@param where moonring.Listener|moonring.ListenOptions what to listen on
---@param handler fun(connection: moonring.Connection)
function M.serve(where, handler)
  if type(handler) ~= "function" then
    errors.raise("argument", "net.serve: a handler function is needed, not a %s", type(handler))
  end
  local listener = where
  if getmetatable(where) ~= Listener then
    local message, code
    listener, message, code = M.listen(where)
    if not listener then errors.raise(code, "%s", message) end
  end
  return task.open_scope(serve_in, listener, handler)
end

---@class moonring.ConnectOptions
---@field host? string numeric address or "localhost", default "127.0.0.1"
---@field port integer

--- Connects to a TCP server.
---@param options moonring.ConnectOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code "ECONNREFUSED", ...
function M.connect(options)
  return connection.connect(resolve(options, "net.connect"))
end

return M
