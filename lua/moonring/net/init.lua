-- moonring.net: servers and clients over TCP and Unix sockets, datagram sockets.

local errors = require "moonring.errors"
local task = require "moonring.task"
local operation = require "moonring.operation"
local address = require "moonring.net.address"
local connection = require "moonring.net.connection"
local datagram = require "moonring.net.datagram"
local listener = require "moonring.net.listener"
local options = require "moonring.net.options"
local dial = require "moonring.net.dial"
local waiters = require "moonring.waiters"

local M = {}

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
  options.check_table("net.connect", given)
  local own = options_of(given)
  if given.host ~= "localhost" or given.path or given.address then
    local where = address.of_options("net.connect", given)
    if where then return connection.connect(where, own, connect_names) end
  end
  local host, port = given.host, given.port or 0
  if type(host) ~= "string" or not is_port(port) then address.refuse_options("net.connect", given) end
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
  options.check_table("net.connect_op", given)
  return setmetatable({ given = given }, Connect)
end

M.address = address
M.datagram = datagram.open
M.listen = listener.listen
M.serve = listener.serve

return M
