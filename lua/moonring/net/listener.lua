-- moonring.net.listener: listening for connections, over TCP and Unix sockets, and serving them.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local loop = require "moonring.loop"
local address = require "moonring.net.address"
local connection = require "moonring.net.connection"
local endpoint = require "moonring.net.endpoint"
local options = require "moonring.net.options"

local C, ffi = native.C, native.ffi
local wait_in = endpoint.wait_in

local M = {}

---@class moonring.Listener
---@field port integer the port it listens on, also when 0 was asked for
local Listener = { __name = "moonring.Listener" }
Listener.__index = Listener

-- Its one side, see moonring.net.endpoint. C keeps no account of who waits.
local accepting = { tasks = {}, what = "accept", withdraw = function() end }
local acceptors = accepting.tasks
endpoint.mix(Listener, "listener", { accepting })

local function refuse_closed(what)
  endpoint.refuse_closed(Listener, what)
end

---@class moonring.ListenOptions: moonring.SocketOptions
---@field host? string numeric address to bind, default "127.0.0.1"; "0.0.0.0" for all, "::" for all of both families
---@field port? integer default 0: any free port
---@field path? string of a Unix socket, in place of host and port; "@name" for an abstract one
---@field address? moonring.Address in place of all of these
---@field backlog? integer connections that may wait to be accepted, default 4096
---@field mode? integer permissions of the Unix socket's file, such as tonumber("660", 8); default: as umask has it
---@field unlink_stale? boolean removes a Unix socket's file at which nobody listens any more
---@field descriptors? boolean connections over a Unix socket: receive_descriptor is going to be used

local listen_names = {
  host = true, port = true, path = true, address = true, backlog = true, mode = true, unlink_stale = true,
  descriptors = true,
}

--- Raises "argument" for options that are neither a listener's nor keys of `own`. Internal.
---@param own table<string, any>
function M.check_options(what, given, own)
  options.check_table(what, given)
  options.check_names(what, given, listen_names, own)
end

local function listen_on(handle, where, given)
  local list, count = options.compile("net.listen", given, listen_names)
  local flags = (given.unlink_stale and C.MR_LISTEN_UNLINK_STALE or 0) +
    (given.descriptors and C.MR_LISTEN_TAKE_DESCRIPTORS or 0)
  local how = ffi.new("mr_listen", given.backlog or 0, flags, given.mode or 0, count, list)
  local slot = C.mr_listener_open(handle, where, how)
  if slot >= 0 then return slot end
  return errors.world(slot, options.explain("listen on " .. tostring(where), list, count))
end

--- Wraps a slot of the loop. Internal.
function M.new(handle, slot)
  local bound = address.new()
  C.mr_listener_address(handle, slot, bound)
  local self = setmetatable({
    handle = handle,
    slot = slot,
    port = bound.port,
    bound = bound,
    arrived = {}, -- slots accepted and not yet handed out, first to last
    first = 1,
    last = 0,
  }, Listener)
  loop.listeners[slot] = self
  return self
end

--- Listens for connections.
---@param given moonring.ListenOptions
---@return moonring.Listener? listener
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", ...
function M.listen(given)
  options.check_table("net.listen", given)
  local where = address.of_options("net.listen", given) or address.refuse_options("net.listen", given)
  local handle = loop.handle()
  local slot, message, code = listen_on(handle, where, given)
  if not slot then return nil, message, code end
  return M.new(handle, slot)
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
  loop.run_in(acceptors, self.slot)
end

local TELL_AGAIN = 60 -- seconds
local told_at = -math.huge

-- Called by the loop when accepting has failed for want of descriptors or memory. It is tried again ten times a second.
function Listener:short(failure)
  local now = C.mr_clock_now()
  if now - told_at < TELL_AGAIN then return end
  told_at = now
  local _, message, code = errors.world(failure, ("accept on %s"):format(tostring(self.bound)))
  local remedy = ""
  if code == "EMFILE" then
    remedy = (" The process may have %d open files (ulimit -n, LimitNOFILE of its service)."):format(C.mr_descriptor_limit())
  elseif code == "ENFILE" then
    remedy = " The system has no more open files to give (sysctl fs.file-max)."
  end
  io.stderr:write(("moonring: %s.%s Connections wait until there is room; this is not told again for a minute.\n"):format(
    message, remedy))
end

--- Waits for the next connection, which is the caller's to close.
---@return moonring.Connection? connection
---@return string? message
---@return string? code
function Listener:accept()
  while true do
    if not self.slot then refuse_closed("accept") end
    local slot = self.arrived[self.first]
    if slot then
      self.arrived[self.first] = nil
      self.first = self.first + 1
      return connection.new(self.handle, slot, true)
    end
    if self.failure then return errors.world(self.failure, "accept on " .. tostring(self.bound)) end
    wait_in(self, acceptors, "accept")
  end
end

local Accept = endpoint.operation("moonring.Operation.Accept", accepting, "accept", function(_, listener)
  if listener.failure or listener.arrived[listener.first] then return true, listener:accept() end
  return false
end)

--- accept as an operation for moonring.select.
---@return moonring.Operation
function Listener:accept_op()
  return setmetatable({ endpoint = self }, Accept)
end

--- Sets socket options, which what it accepts from then on inherits; see docs/networking.md.
---@param given moonring.SocketOptions
---@return true? ok
---@return string? message
---@return string? code
function Listener:set(given)
  if not self.slot then refuse_closed("set") end
  return options.set("listener:set", self, C.mr_listener_option_set, given)
end

--- Reads a socket option back, as the kernel has it.
---@param name string
function Listener:get(name)
  if not self.slot then refuse_closed("get") end
  return options.get("listener:get", self, C.mr_listener_option_get, name)
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
  endpoint.wake_all(self, slot)
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
    endpoint.note(listener, acceptors, "accept")
    task.wait(listener)
  end
  listener.serving = nil
  if listener.failure then
    local _, message, code = errors.world(listener.failure, "accept on " .. tostring(listener.bound))
    errors.raise(code, "%s", message)
  end
end

--- Serves connections: `handler(connection)` runs as a task of its own for each, and the connection is closed
--- when it ends, however it ends. An error in a handler is reported on standard error and ends that connection only.
--- Returns when the listener has been closed and all handlers have ended; cancelling the task stops them all. A
--- service that can't listen, or can't any longer, raises.
--- ```lua
--- local net = require "moonring.net"
---
--- net.serve({ port = 7007 }, function(connection)
---   for line in connection:lines() do
---     connection:write(line:upper() .. "\n")
---   end
--- end)
--- ```
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

return M
