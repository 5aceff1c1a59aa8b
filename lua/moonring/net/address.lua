-- moonring.net.address: socket addresses, read and printed.
--
-- An address is what one end of a connection is called: an IP address with a port, or the path or abstract name of a
-- Unix socket. What tostring prints, parse reads.

local native = require "moonring.native"
local errors = require "moonring.errors"
local C, ffi = native.C, native.ffi
local band = bit.band

local M = {}

local address_type = ffi.typeof("mr_address")
local text = ffi.new("char[?]", C.MR_ADDRESS_TEXT_BYTES)

local AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
local kinds = { [AF_UNIX] = "unix", [AF_INET] = "ipv4", [AF_INET6] = "ipv6" }

---@class moonring.Address
---@field kind string "ipv4", "ipv6" or "unix"
---@field host string? the numeric IP address, with its zone
---@field port integer 0 for a Unix socket
---@field path string? of a Unix socket; an abstract name begins with "@", a socket without a name has ""
local Address = {}

local function host_of(address)
  if C.mr_address_format(address, text) < 0 then return nil end
  return ffi.string(text)
end

local function path_of(address)
  if address.family ~= AF_UNIX then return nil end
  local path = ffi.string(address.bytes, address.length)
  if path:byte(1) == 0 then return "@" .. path:sub(2) end
  return path
end

local properties = {
  kind = function(self) return kinds[self.family] end,
  host = host_of,
  path = path_of,
}

local function has_scope(bits)
  bits = tonumber(bits)
  return function(self)
    return band(C.mr_address_scope(self), bits) ~= 0
  end
end

-- Whether it is one of a kind; an IPv4 address mapped into IPv6 (::ffff:127.0.0.1) is what the IPv4 address is.
Address.is_loopback = has_scope(C.MR_ADDRESS_LOOPBACK)
Address.is_unspecified = has_scope(C.MR_ADDRESS_UNSPECIFIED) -- 0.0.0.0 or ::
Address.is_link_local = has_scope(C.MR_ADDRESS_LINK_LOCAL)
Address.is_private = has_scope(C.MR_ADDRESS_PRIVATE) -- RFC 1918, RFC 4193
Address.is_multicast = has_scope(C.MR_ADDRESS_MULTICAST)

--- Whether it is the name of a Unix socket that no file stands for.
function Address:is_abstract()
  return self.family == AF_UNIX and self.length > 0 and self.bytes[0] == 0
end

--- The same IP address with another port.
---@param port integer
---@return moonring.Address
function Address:with_port(port)
  local other = address_type(self)
  other.port = port
  return other
end

ffi.metatype(address_type, {
  __index = function(self, key)
    local property = properties[key]
    if property then return property(self) end
    return Address[key]
  end,
  __eq = function(left, right)
    if not ffi.istype(address_type, left) or not ffi.istype(address_type, right) then return false end
    return C.mr_address_equal(left, right) ~= 0
  end,
  __tostring = function(self)
    local path = path_of(self)
    if path then return "unix:" .. path end
    local host = host_of(self) or "?"
    return (self.family == AF_INET6 and "[%s]:%d" or "%s:%d"):format(host, self.port)
  end,
})

-- Names that need no resolver.
local well_known = { localhost = "127.0.0.1", ["*"] = "0.0.0.0" }

local function refuse(what)
  return nil, ("EINVAL: %s is no address"):format(what), "EINVAL"
end

--- The address of a Unix socket: a path of at most 107 bytes, or an abstract name of at most 107 behind "@".
---@param path string
---@return moonring.Address? address
---@return string? message
---@return string? code "ENAMETOOLONG", "EINVAL"
function M.unix(path)
  if type(path) ~= "string" then errors.raise("argument", "address.unix: a path is needed, not a %s", type(path)) end
  local address = address_type()
  local raw = path:gsub("^@", "\0", 1)
  local result = C.mr_address_of_path(raw, #raw, address)
  if path == "@" then result = -22 end
  if result == 0 then return address end
  return errors.world(result, ("the path of a Unix socket, %d bytes of at most 107"):format(#path))
end

local function parse_ip(host, port)
  local address = address_type()
  if C.mr_address_parse(host, port, address) < 0 then return nil end
  return address
end

-- "1.2.3.4:80", "[::1]:80"
local function split(whole)
  local host, port = whole:match("^%[([^%]]*)%]:(%d+)$")
  if host then
    if not host:find(":", 1, true) then return nil end
    return host, tonumber(port)
  end
  host, port = whole:match("^([^:]*):(%d+)$")
  return host, tonumber(port)
end

--- Reads an address: parse("127.0.0.1:80"), parse("[fe80::1%eth0]:80"), parse("unix:/path"), parse("unix:@name"), or
--- parse("::1", 80). A host is numeric, "localhost" (127.0.0.1) or "*" (every IPv4 address of this machine).
---@param where string
---@param port? integer 0 to 65535
---@return moonring.Address? address
---@return string? message
---@return string? code "EINVAL", "ENAMETOOLONG"
function M.parse(where, port)
  if type(where) ~= "string" then return refuse(tostring(where)) end
  local host = where
  if port == nil then
    local path = where:match("^unix:(.*)$")
    if path then return M.unix(path) end
    host, port = split(where)
    if not host then return refuse(("'%s' (host:port, [host]:port or unix:path)"):format(where)) end
  elseif type(port) ~= "number" or port ~= math.floor(port) then
    return refuse(("'%s' with port %s"):format(where, tostring(port)))
  end
  if port < 0 or port > 65535 or host:find("\0", 1, true) then
    return refuse(("'%s' with port %.0f"):format(host, port))
  end
  local address = parse_ip(well_known[host] or host, port)
  if address then return address end
  return refuse(("'%s'"):format(where))
end

--- Whether a value is an address.
---@return boolean
function M.is(value)
  return ffi.istype(address_type, value)
end

local DEFAULT_HOST = "127.0.0.1"

--- The address that options name, by `address`, `path`, or `host` and `port`, without asking anybody; nil when that is none.
--- Internal.
---@param what string the public function
---@param given table
---@return moonring.Address?
function M.of_options(what, given)
  if given.address ~= nil then
    if M.is(given.address) then return given.address end
    errors.raise("argument", "%s: address is what net.address.parse returns, not %s", what, tostring(given.address))
  elseif given.path ~= nil then
    local where, message = M.unix(given.path)
    if not where then errors.raise("argument", "%s: %s", what, message) end
    return where
  end
  return (M.parse(given.host or DEFAULT_HOST, given.port or 0))
end

--- Raises that options name no address. Internal.
function M.refuse_options(what, given)
  local host, port = given.host or DEFAULT_HOST, given.port or 0
  if not M.parse(DEFAULT_HOST, port) then
    errors.raise("argument", "%s: the port is %s, not a number from 0 to 65535", what, tostring(port))
  end
  errors.raise("argument", "%s: the host is %s, not a numeric address (names are net.connect's and moonring.dns')", what,
    tostring(host))
end

--- An empty address, to be filled by C. Internal.
M.new = address_type

return M
