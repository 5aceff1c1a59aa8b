-- moonring.net.address: socket addresses.

local native = require "moonring.native"
local C, ffi = native.C, native.ffi

local M = {}

local address_type = ffi.typeof("mr_address")
local text = ffi.new("char[?]", C.MR_ADDRESS_TEXT_BYTES)

---@class moonring.Address
---@field host string the numeric address
---@field port integer

local function host_of(address)
  if C.mr_address_format(address, text) < 0 then return "?" end
  return ffi.string(text)
end

ffi.metatype(address_type, {
  __index = function(self, key)
    if key == "host" then return host_of(self) end
  end,
  __tostring = function(self)
    local host = host_of(self)
    return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, self.port)
  end,
})

-- Names that need no resolver.
local well_known = { localhost = "127.0.0.1", ["*"] = "0.0.0.0" }

--- Reads a numeric IPv4 or IPv6 address, "localhost", or "*" (every IPv4 address of this machine).
---@param host string
---@param port integer 0 to 65535
---@return moonring.Address? address nil when it is none of these
function M.parse(host, port)
  local address = address_type()
  if type(port) ~= "number" or port ~= math.floor(port) then return nil end
  if C.mr_address_parse(well_known[host] or host, port, address) < 0 then return nil end
  return address
end

--- An empty address, to be filled by C. Internal.
M.new = address_type

return M
