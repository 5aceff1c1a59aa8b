---@meta moonring.dns
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.dns.Resolver
local Resolver = {}

--- Forgets all answers.
function Resolver:clear_cache() end

--- Closes the resolver. Who waits for an answer of it gets the error "closed".
function Resolver:close() end

--- Asks for the records of a type under a name. CNAMEs are followed.
--- "FORMERR", "NOTIMP", "ENOMEM"
---@param name string
---@param type? string "A" (the default), "AAAA", "CNAME", "MX", "SRV", "TXT", "PTR", "NS", "SOA", "CAA", "ANY", "TYPE123"
---@param options? moonring.dns.QueryOptions
---@return moonring.dns.Record[]? records each with its `ttl` of now
---@return string? message
---@return string? code "NXDOMAIN", "NODATA", "SERVFAIL", "REFUSED", "TIMEOUT", "UNREACHABLE", "BADNAME", "BADRESPONSE",
function Resolver:query(name, type, options) end

--- The addresses of a name, in the order in which they are to be tried (RFC 6724). A numeric address is its own;
--- "localhost" is this machine (RFC 6761); then the hosts file is asked, then the servers, for both families at once,
--- with the search domains.
---@param name string
---@param options? moonring.dns.ResolveOptions
---@return moonring.Address[]? addresses
---@return string? message
---@return string? code as query's
function Resolver:resolve(name, options) end

--- The names of an address: those of the hosts file, otherwise its PTR records.
---@param where string|moonring.Address
---@return string[]? names
---@return string? message
---@return string? code as query's
function Resolver:reverse(where) end

---@class moonring.dns.QueryOptions
---@field search? boolean try the search domains, too; default: the name as it is
local QueryOptions = {}

---@class moonring.dns.ResolveOptions
---@field family? 4|6 only addresses of this family
---@field port? integer that the addresses get, default 0
local ResolveOptions = {}

---@class moonring.dns.ResolverOptions
---@field servers? string[] "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:5353"; default: those of resolv.conf
---@field search? string[] domains that are tried behind a short name
---@field ndots? integer dots from which on a name is first tried as it is
---@field timeout? number seconds that the first attempt waits for a server
---@field attempts? integer rounds over the servers
---@field rotate? boolean begin with another server each time
---@field hosts? string|false path of the hosts file, default "/etc/hosts"; false: none
---@field resolv_conf? string its path, default "/etc/resolv.conf"
---@field cache? integer|false answers to be kept, default 4096; false: none
local ResolverOptions = {}

--- names, by the system's configuration or one's own.
--- 
--- dns.resolve, dns.query and dns.reverse are those of a resolver that is configured as this machine is; dns.resolver
--- makes others. dns.codec reads and writes messages, for servers and tools.
local module = {}

--- The resolver of this machine's configuration.
---@return moonring.dns.Resolver
function module.default() end

--- The records of a type under a name.
---@param name string
---@param type? string
---@param options? moonring.dns.QueryOptions
---@return moonring.dns.Record[]? records
---@return string? message
---@return string? code
function module.query(name, type, options) end

--- The addresses of a name, in the order in which they are to be tried: see moonring.dns.resolver.
---@param name string
---@param options? moonring.dns.ResolveOptions
---@return moonring.Address[]? addresses
---@return string? message
---@return string? code
function module.resolve(name, options) end

--- Makes a resolver of its own configuration, to be closed by its owner.
---@param options? moonring.dns.ResolverOptions
---@return moonring.dns.Resolver
function module.resolver(options) end

--- The names of an address.
---@param where string|moonring.Address
---@return string[]? names
---@return string? message
---@return string? code
function module.reverse(where) end

return module
