-- moonring.dns: names, by the system's configuration or one's own.
--
-- dns.resolve, dns.query and dns.reverse are those of a resolver that is configured as this machine is; dns.resolver
-- makes others. dns.codec reads and writes messages, for servers and tools.

local resolvers = require "moonring.dns.resolver"

local M = {
  codec = require "moonring.dns.codec",
}

--- Makes a resolver of its own configuration, to be closed by its owner.
---@type fun(options?: moonring.dns.ResolverOptions): moonring.dns.Resolver
M.resolver = resolvers.new

local default

--- The resolver of this machine's configuration.
---@return moonring.dns.Resolver
function M.default()
  default = default or resolvers.new()
  return default
end

--- The addresses of a name, in the order in which they are to be tried: see moonring.dns.resolver.
---@param name string
---@param options? moonring.dns.ResolveOptions
---@return moonring.Address[]? addresses
---@return string? message
---@return string? code
function M.resolve(name, options)
  return M.default():resolve(name, options)
end

--- The records of a type under a name.
---@param name string
---@param type? string
---@param options? moonring.dns.QueryOptions
---@return moonring.dns.Record[]? records
---@return string? message
---@return string? code
function M.query(name, type, options)
  return M.default():query(name, type, options)
end

--- The names of an address.
---@param where string|moonring.Address
---@return string[]? names
---@return string? message
---@return string? code
function M.reverse(where)
  return M.default():reverse(where)
end

return M
