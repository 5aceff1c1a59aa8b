---@meta moonring.net.address
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Address
---@field kind string "ipv4", "ipv6" or "unix"
---@field host string? the numeric IP address, with its zone
---@field port integer 0 for a Unix socket
---@field path string? of a Unix socket; an abstract name begins with "@", a socket without a name has ""
local Address = {}

--- Whether it is the name of a Unix socket that no file stands for.
function Address:is_abstract() end

--- The same IP address with another port.
---@param port integer
---@return moonring.Address
function Address:with_port(port) end

--- socket addresses, read and printed.
--- 
--- An address is what one end of a connection is called: an IP address with a port, or the path or abstract name of a
--- Unix socket. What tostring prints, parse reads.
local module = {}

--- Whether a value is an address.
---@return boolean
function module.is(value) end

--- Reads an address: parse("127.0.0.1:80"), parse("[fe80::1%eth0]:80"), parse("unix:/path"), parse("unix:@name"), or
--- parse("::1", 80). A host is numeric, "localhost" (127.0.0.1) or "*" (every IPv4 address of this machine).
---@param where string
---@param port? integer 0 to 65535
---@return moonring.Address? address
---@return string? message
---@return string? code "EINVAL", "ENAMETOOLONG"
function module.parse(where, port) end

--- The address of a Unix socket: a path of at most 107 bytes, or an abstract name of at most 107 behind "@".
---@param path string
---@return moonring.Address? address
---@return string? message
---@return string? code "ENAMETOOLONG", "EINVAL"
function module.unix(path) end

return module
