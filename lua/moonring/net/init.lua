-- moonring.net: servers and clients over TCP and Unix sockets, datagram sockets.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local operation = require "moonring.operation"
local loop = require "moonring.loop"
local address = require "moonring.net.address"
local connection = require "moonring.net.connection"
local datagram = require "moonring.net.datagram"
local options = require "moonring.net.options"
local dial = require "moonring.net.dial"
local waiters = require "moonring.waiters"

local C, ffi = native.C, native.ffi

local M = {}

---@class moonring.Listener
---@field port integer the port it listens on, also when 0 was asked for
local Listener = { __name = "moonring.Listener" }
Listener.__index = Listener

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

local function check_table(what, given)
  if type(given) ~= "table" then
    errors.raise("argument", "%s: a table of options is needed, not a %s", what, type(given))
  end
end

local function address_of_path(what, path)
  local where, message = address.unix(path)
  if not where then errors.raise("argument", "%s: %s", what, message) end
  return where
end

-- What the options name without asking anybody, or nil.
local function numeric(what, given)
  if given.address ~= nil then
    if address.is(given.address) then return given.address end
    errors.raise("argument", "%s: address is what net.address.parse returns, not %s", what, tostring(given.address))
  elseif given.path ~= nil then
    return address_of_path(what, given.path)
  end
  return (address.parse(given.host or "127.0.0.1", given.port or 0))
end

local function refuse_address(what, given)
  local host, port = given.host or "127.0.0.1", given.port or 0
  if not address.parse("127.0.0.1", port) then
    errors.raise("argument", "%s: the port is %s, not a number from 0 to 65535", what, tostring(port))
  end
  errors.raise("argument", "%s: the host is %s, not a numeric address (names are net.connect's and moonring.dns')", what,
    tostring(host))
end

--- Raises for options that are neither a listener's nor among `own`. Internal.
---@param own table<string, any>
function M.check_listen_options(what, given, own)
  check_table(what, given)
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

--- Listens for connections.
---@param given moonring.ListenOptions
---@return moonring.Listener? listener
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", ...
function M.listen(given)
  check_table("net.listen", given)
  local where = numeric("net.listen", given)
  if not where then refuse_address("net.listen", given) end
  local handle = loop.handle()
  local slot, message, code = listen_on(handle, where, given)
  if not slot then return nil, message, code end
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

-- Takes the wait of accept back.
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

--- Sets socket options, which what it accepts from then on inherits; see docs/networking.md.
---@param given moonring.SocketOptions
---@return true? ok
---@return string? message
---@return string? code
function Listener:set(given)
  if not self.slot then errors.raise("closed", "listener:set: the listener has been closed") end
  return options.set("listener:set", self, C.mr_listener_option_set, given)
end

--- Reads a socket option back, as the kernel has it.
---@param name string
function Listener:get(name)
  if not self.slot then errors.raise("closed", "listener:get: the listener has been closed") end
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
  io.stderr:write(("moonring: a connection's handler has failed: %s\n%s\n"):format(task.text_of(failure),
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

---@class moonring.ConnectOptions: moonring.SocketOptions
---@field host? string name or numeric address, default "127.0.0.1"
---@field port? integer
---@field path? string of a Unix socket, in place of host and port; "@name" for an abstract one
---@field address? moonring.Address in place of all of these
---@field source? string|moonring.Address numeric address to connect from, "host:port" or "host"
---@field descriptors? boolean over a Unix socket: receive_descriptor is going to be used

local connect_names = {
  host = true, port = true, path = true, address = true, source = true, descriptors = true,
}

local LOCALHOST = { "127.0.0.1", "::1" } -- RFC 6761 section 6.3; the order in which our own services listen

-- What moonring.dns finds: its resolve(name) returns addresses, or nil, message, code.
local function resolve(host)
  if host == "localhost" then return LOCALHOST end
  local ok, dns = pcall(require, "moonring.dns")
  if not ok then
    errors.raise("argument", "net.connect: %s is no numeric address, and there is no resolver for names", tostring(host))
  end
  return dns.resolve(host)
end

local function addresses_of(host, port)
  local found, message, code = resolve(host)
  if not found then return nil, message, code end
  local out = {}
  for i, each in ipairs(found) do
    out[i] = type(each) == "string" and address.parse(each, port) or each:with_port(port)
  end
  return out
end

local function is_port(port)
  return type(port) == "number" and port % 1 == 0 and port >= 0 and port <= 65535
end

local function source_of(given)
  local source = given.source
  if type(source) ~= "string" then return source end
  local parsed = address.parse(source, 0) or address.parse(source)
  if not parsed then errors.raise("argument", "net.connect: source '%s' is no numeric address", source) end
  return parsed
end

-- Most connects need none of the options.
local function needs_options(given)
  for name in pairs(given) do
    if name ~= "host" and name ~= "port" and name ~= "path" and name ~= "address" then return true end
  end
  return false
end

local function options_of(given)
  if not needs_options(given) then return nil end
  local out = {}
  for name, value in pairs(given) do
    out[name] = value
  end
  out.source = source_of(given)
  return out
end

--- Connects to a server. A host's name is resolved, and all of its addresses are tried as RFC 8305 has it. Deadline
--- and cancellation are the scope's.
--- ```lua
--- local moonring, net = require "moonring", require "moonring.net"
---
--- moonring.scope(function(scope)
---   scope:deadline(5)
---   local connection, message = net.connect { host = "localhost", port = 7007 }
---   if not connection then return print(message) end      -- "ECONNREFUSED: ..."
---   scope:own(connection)
---   connection:write "hello\n"
---   print(connection:read_line())
--- end)
--- ```
---@param given moonring.ConnectOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", ...
function M.connect(given)
  check_table("net.connect", given)
  local own = options_of(given)
  if given.host ~= "localhost" or given.path or given.address then
    local where = numeric("net.connect", given)
    if where then return connection.connect(where, own, connect_names) end
  end
  local host, port = given.host, given.port or 0
  if type(host) ~= "string" or not is_port(port) then refuse_address("net.connect", given) end
  local addresses, message, code = addresses_of(host, port)
  if not addresses then return nil, message, code end
  return dial.connect(addresses, ("%s:%d"):format(host, port), own, connect_names)
end

-- The attempt is a task's; the operation hands its outcome over, or cancels it. One that has connected by then returns
-- all the same, and nobody wants it any more: `wanted` is the case's as long as somebody does.
local function attempt(case, wanted, given)
  local made, message, code = M.connect(given)
  if case.selection.winner or case.wanted ~= wanted then
    if made then made:close(0) end
    return
  end
  waiters.deliver(case, { made, message, code })
end

local Connect = operation.class("moonring.Operation.Connect", {
  describe = function(self)
    local given = self.given
    return ("connect to %s"):format(tostring(given.address or given.path or given.host or given.port))
  end,
  try = function() return false end,
  block = function(self, case)
    local wanted = {}
    case.wanted = wanted
    case.attempt = task.spawn(attempt, case, wanted, self.given)
  end,
  withdraw = function(_, case)
    if case.attempt then case.attempt:cancel() end
    case.attempt, case.wanted = nil, nil
  end,
  finish = function(_, _, outcome) return unpack(outcome, 1, 3) end,
})

--- connect as an operation for moonring.select: when another one is done, the attempt is given up.
---@param given moonring.ConnectOptions
---@return moonring.Operation
function M.connect_op(given)
  check_table("net.connect_op", given)
  return setmetatable({ given = given }, Connect)
end

M.address = address
M.datagram = datagram.open

return M
