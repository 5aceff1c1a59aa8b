-- moonring.net.datagram.options: what datagram sockets are opened with, and told afterwards, as C takes it. Internal.

local native = require "moonring.native"
local errors = require "moonring.errors"
local address = require "moonring.net.address"

local C, ffi = native.C, native.ffi

local AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10

local M = {}

---@class moonring.DatagramOptions
---@field host? string numeric address to bind; "0.0.0.0" for all of IPv4, "::" for all of both families
---@field port? integer to bind; 0 (the default where a host is given) for any free one
---@field path? string of a Unix socket to bind, in place of host and port; "@name" for an abstract one
---@field connect? moonring.Address|{ host: string, port: integer }|{ path: string } the only peer
---@field family? 4|6|"unix" of a socket that is neither bound nor connected; default 4
---@field ipv6_only? boolean an IPv6 socket that takes no IPv4
---@field reuse_port? boolean SO_REUSEPORT: several sockets share what comes to the port
---@field reuse_address? boolean SO_REUSEADDR: several sockets on one port each get every multicast datagram
---@field broadcast? boolean may send to broadcast addresses
---@field ttl? integer hops of what is sent, 1 to 255
---@field multicast_ttl? integer hops of what is sent to a group, 0 (this machine) to 255; default 1
---@field multicast_loop? boolean whether this machine gets what it sends to a group; default true
---@field multicast_interface? string|integer name or index of the interface that it leaves by
---@field receive_buffer? integer bytes of the kernel's receive queue (SO_RCVBUF)
---@field send_buffer? integer bytes of the kernel's send queue (SO_SNDBUF)
---@field max_bytes? integer longest datagram that is received whole, 1 to 65536 (the default); smaller takes less memory
---@field queue? integer datagrams that wait here for their reader, default 256

local function refuse(what, text, ...)
  errors.raise("argument", what .. ": " .. text, ...)
end

local function check_integer(what, name, value, low, high)
  if type(value) ~= "number" or not (value >= low and value <= high) or value % 1 ~= 0 then
    refuse(what, "%s is a whole number from %d to %d, not %s", name, low, high, tostring(value))
  end
  return value
end

---- An address as the calls take it: one that moonring has given, or a table with host and port, or with a path.
function M.address_of(what, value)
  if address.is(value) then return value end
  local found, message
  if type(value) == "table" and type(value.path) == "string" then
    found, message = address.unix(value.path)
  elseif type(value) == "table" and type(value.host) == "string" then
    found = address.parse(value.host, value.port or -1)
  end
  if not found then
    refuse(what, "%s", message or
      "an address is needed: a moonring.Address, { host = numeric address, port = 0 to 65535 } or { path = }, not " ..
      (type(value) == "table" and "such a table" or tostring(value)))
  end
  return found
end

--- An interface's index, of that or of its name.
function M.interface_of(what, value)
  if type(value) ~= "string" then return check_integer(what, "an interface's index", value, 0, 2147483647) end
  local index = C.mr_interface_index(value)
  if index == 0 then refuse(what, "there is no interface %s", value) end
  return index
end

local settings = {
  { "broadcast", C.MR_DATAGRAM_BROADCAST, "flag" },
  { "ttl", C.MR_DATAGRAM_TTL, 1 },
  { "multicast_ttl", C.MR_DATAGRAM_MULTICAST_TTL, 0 },
  { "multicast_loop", C.MR_DATAGRAM_MULTICAST_LOOP, "flag" },
  { "multicast_interface", C.MR_DATAGRAM_MULTICAST_INTERFACE, "interface" },
}

local function setting_value(what, name, kind, value)
  if kind == "flag" then return value and 1 or 0 end
  if kind == "interface" then return M.interface_of(what, value) end
  return check_integer(what, name, value, kind, 255)
end

--- What is set once the socket is there: name, option and value of each.
function M.settings_of(what, options)
  local wanted = {}
  for _, setting in ipairs(settings) do
    local name, option, kind = setting[1], setting[2], setting[3]
    local value = options[name]
    if value ~= nil then wanted[#wanted + 1] = { name, option, setting_value(what, name, kind, value) } end
  end
  return wanted
end

local flags = {
  reuse_port = C.MR_DATAGRAM_REUSE_PORT,
  reuse_address = C.MR_DATAGRAM_REUSE_ADDRESS,
  ipv6_only = C.MR_DATAGRAM_IPV6_ONLY,
}

--- What the socket is made with.
function M.options_of(what, options)
  local out = ffi.new("mr_datagram_options")
  for name, flag in pairs(flags) do
    if options[name] then out.flags = out.flags + flag end
  end
  out.max_bytes = check_integer(what, "max_bytes", options.max_bytes or 65536, 1, 65536)
  out.queue = check_integer(what, "queue", options.queue or 256, 1, 1048576)
  out.receive_buffer = check_integer(what, "receive_buffer", options.receive_buffer or 0, 0, 1073741824)
  out.send_buffer = check_integer(what, "send_buffer", options.send_buffer or 0, 0, 1073741824)
  return out
end

-- All that net.datagram takes, as keys.
local known = {
  host = true, port = true, path = true, connect = true, family = true, max_bytes = true, queue = true,
  receive_buffer = true, send_buffer = true,
}
for name in pairs(flags) do known[name] = true end
--- Those that can be set later, as keys.
M.settable = {}
for _, setting in ipairs(settings) do known[setting[1]], M.settable[setting[1]] = true, true end

--- Raises "argument" for what is no table of options, or one that has others. An empty one for nil.
---@return table
function M.check(what, options)
  options = errors.options(what, options)
  errors.check_options(what, options, known)
  return options
end

local families = { [4] = AF_INET, [6] = AF_INET6, unix = AF_UNIX }

--- The address family of a socket that is to be bound to an address, or connected to one, if to any.
function M.family_of(what, options, bound, peer)
  local named = options.family
  local family = families[named or 4]
  if not family then refuse(what, 'the family is 4, 6 or "unix", not %s', tostring(named)) end
  local from = bound or peer
  return from and from.family or family
end

--- Where a socket is to be bound; nil: nowhere.
---@param peer? moonring.Address what it is going to be connected to
function M.bound_of(what, options, peer)
  if options.path then return M.address_of(what, options) end
  if not options.host and not options.port then return nil end
  return M.address_of(what, { host = options.host or (peer and peer.family == AF_INET6 and "::" or "0.0.0.0"),
    port = options.port or 0 })
end

return M
