-- moonring.dns.resolver: names to addresses and records: hosts file, search domains, cache, servers.
--
-- What is known here is answered here: numeric addresses, "localhost" (RFC 6761), the hosts file, the cache. Everything
-- else is asked of the servers, each question once however many want to know. The system's files are looked at with
-- every use and read again when they have changed; new servers get a new channel, and the old one ends with its last
-- answer.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local address = require "moonring.net.address"
local codec = require "moonring.dns.codec"
local names = require "moonring.dns.names"
local system = require "moonring.dns.system"
local order = require "moonring.dns.order"
local caches = require "moonring.cache"
local channels = require "moonring.dns.channel"
local answers = require "moonring.dns.answers"
local watched_file = require "moonring.dns.watched_file"

local C, ffi = native.C, native.ffi

local AF_INET, AF_INET6 = 2, 10
local NO_DATA, NO_NAME = tonumber(C.MR_ANSWER_NO_DATA), tonumber(C.MR_ANSWER_NO_NAME)
local BAD_NAME, BAD_RESPONSE = tonumber(C.MR_ANSWER_BAD_NAME), tonumber(C.MR_ANSWER_BAD_RESPONSE)
local NO_MEMORY = tonumber(C.MR_ANSWER_NO_MEMORY)

local CHAIN_MAX = answers.CHAIN_MAX
local CACHE_SIZE = 4096 -- answers

local M = {}

---@class moonring.dns.Resolver
local Resolver = { __name = "moonring.dns.Resolver" }
Resolver.__index = Resolver

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

local function misuse(text, ...)
  errors.raise("argument", "dns.resolver: " .. text, ...)
end

local function check_number(options, name, low, high)
  local value = options[name]
  if value == nil then return nil end
  if type(value) ~= "number" or not (value >= low and value <= high) then
    misuse("%s is a number from %g to %g, not %s", name, low, high, tostring(value))
  end
  return value
end

-- What stands in the place of resolv.conf's. Absent fields are taken from there, or have its defaults.
local function check_servers(options)
  if not options.servers then return nil end
  local servers = {}
  for i, text in ipairs(options.servers) do
    servers[i] = type(text) == "string" and system.parse_server(text)
    if not servers[i] then misuse("%s is no numeric address of a server", tostring(text)) end
  end
  if not servers[1] then misuse("at least one server is needed") end
  return servers
end

-- false: answers are not kept.
local function new_cache(options)
  local size = options.cache ~= false and (check_number(options, "cache", 0, 1e7) or CACHE_SIZE)
  return size and size >= 1 and caches.new { size = size }
end

local function check_search(options)
  if not options.search then return nil end
  local search = {}
  for i, domain in ipairs(options.search) do
    search[i] = type(domain) == "string" and names.normal(domain)
    if not search[i] then misuse("%s is no domain", tostring(domain)) end
  end
  return search
end

--- Makes a resolver. It opens nothing before its first question.
---@param options? moonring.dns.ResolverOptions
---@return moonring.dns.Resolver
function M.new(options)
  options = errors.options("dns.resolver", options)
  local self = setmetatable({
    own = {
      servers = check_servers(options),
      search = check_search(options),
      ndots = check_number(options, "ndots", 0, 15),
      timeout = check_number(options, "timeout", 0.001, 3600),
      attempts = check_number(options, "attempts", 1, 100),
      rotate = options.rotate,
    },
    cache = new_cache(options),
    in_flight = {}, -- lookups by key
  }, Resolver)
  if options.hosts ~= false then
    self.hosts = watched_file.new(options.hosts or "/etc/hosts", system.parse_hosts)
  end
  if options.resolv_conf or not self.own.servers then
    self.resolv_conf = watched_file.new(options.resolv_conf or "/etc/resolv.conf", system.parse_resolv_conf)
  end
  return self
end

local function check_open(self)
  if self.is_closed then errors.raise("closed", "dns: the resolver has been closed") end
end

-- Looks at the system's files, which waits. What has been closed meanwhile is told as closed.
local function refresh(self, with_hosts)
  if with_hosts and self.hosts then self.hosts:get() end
  if self.resolv_conf then self.resolv_conf:get() end
  check_open(self)
end

-- What is configured by what was read last: made anew only when resolv.conf has been read anew.
local function configuration_of(self)
  local read = self.resolv_conf and self.resolv_conf.value or nil
  if self.configuration and self.read == read then return self.configuration end
  self.read = read
  local configuration = {}
  for name, value in pairs(read or system.parse_resolv_conf("")) do
    configuration[name] = value
  end
  for name, value in pairs(self.own) do
    configuration[name] = value
  end
  self.configuration = configuration
  if self.cache then self.cache:clear() end -- what other servers have said
  return configuration
end

local function channel_of(self)
  local configuration = configuration_of(self)
  local channel = self.channel
  if channel and channel:is_open() and channel.configuration == configuration then return channel end
  if channel and channel:is_open() then channel:retire() end
  self.in_flight = {} -- nobody joins a question to the old servers
  channel = channels.open(configuration)
  channel.configuration = configuration
  self.channel = channel
  return channel
end

-- Answers -------------------------------------------------------------------------------------------------------------

local function failed(answer, name, type, problem)
  local code = ffi.string(C.mr_answer_name(answer))
  local sentence = problem or ffi.string(C.mr_answer_text(answer))
  return nil, ("%s %s: %s: %s"):format(name, type, code, sentence), code
end

-- Asks for a name, which is in its normal form, and a type. Returns what answers.judge says, and its age in seconds.
local function look_up(self, name, type)
  local channel = channel_of(self)
  local key = name .. " " .. type
  if self.cache then
    local known, age = self.cache:get(key)
    if known then return known, age end
  end
  local in_flight = self.in_flight
  local lookup = in_flight[key]
  if not lookup then
    lookup = channel:ask(name, type, function(_, answer)
      local judged, seconds = answers.judge(answer, name, type)
      answer.judged = judged
      if self.cache and self.channel == channel and seconds > 0 then self.cache:set(key, judged, seconds) end
    end, function(ended)
      if in_flight[key] == ended then in_flight[key] = nil end
    end)
    if not lookup then return { answer = NO_MEMORY }, 0 end
    in_flight[key] = lookup
  end
  return lookup:wait().judged, 0
end

-- The same through aliases that the server has left to us. Returns the records as copies with what is left of their
-- TTLs; or nil and the answer.
local function records_of(self, name, type)
  for _ = 1, CHAIN_MAX do
    local judged, age = look_up(self, name, type)
    if judged.records then
      local copies = {}
      for i, record in ipairs(judged.records) do
        local copy = {}
        for field, value in pairs(record) do
          copy[field] = value
        end
        copy.ttl = math.max(0, math.floor(record.ttl - age))
        copies[i] = copy
      end
      return copies
    end
    if not judged.alias then return nil, judged.answer, judged.problem end
    name = judged.alias
  end
  return nil, BAD_RESPONSE, "the chain of CNAMEs does not end"
end

-- Names -----------------------------------------------------------------------------------------------------------------

-- Names that no server is asked for: RFC 6761 section 6.4, RFC 7686.
local function is_nobody(name)
  local top = name:match("[^.]*$")
  return top == "invalid" or top == "onion"
end

local function is_localhost(name)
  return name == "localhost" or name:sub(-10) == ".localhost"
end

-- The names to be tried for one, as resolv.conf(5) has it.
local function candidates(configuration, text, name)
  if text:sub(-1) == "." or not configuration.search[1] then return { name } end
  local _, dots = name:gsub("%.", "")
  local list = {}
  for _, domain in ipairs(configuration.search) do
    list[#list + 1] = names.normal(name .. "." .. domain)
  end
  table.insert(list, dots >= configuration.ndots and 1 or #list + 1, name)
  return list
end

local function check_name(what, name)
  if type(name) ~= "string" then errors.raise("argument", "%s: a name is needed, not a %s", what, type(name)) end
end

-- Tries names until one has what ask(name) wants. Returns that, or nil and the answer that tells most: that of the name
-- as it is, unless another says that it exists.
local function try_names(list, ask)
  local worst, problem
  for _, name in ipairs(list) do
    local found, answer, why = ask(name)
    if found then return found end
    if answer ~= NO_NAME and answer ~= NO_DATA then return nil, answer, why end
    if answer == NO_DATA or not worst then worst, problem = answer, why end
  end
  return nil, worst, problem
end

---@class moonring.dns.QueryOptions
---@field search? boolean try the search domains, too; default: the name as it is

--- Asks for the records of a type under a name. CNAMEs are followed.
---@param name string
---@param type? string "A" (the default), "AAAA", "CNAME", "MX", "SRV", "TXT", "PTR", "NS", "SOA", "CAA", "ANY", "TYPE123"
---@param options? moonring.dns.QueryOptions
---@return moonring.dns.Record[]? records each with its `ttl` of now
---@return string? message
---@return string? code "NXDOMAIN", "NODATA", "SERVFAIL", "REFUSED", "TIMEOUT", "UNREACHABLE", "BADNAME", "BADRESPONSE",
--- "FORMERR", "NOTIMP", "ENOMEM"
function Resolver:query(name, type, options)
  check_name("dns.query", name)
  check_open(self)
  type = type or "A"
  codec.type_number(type)
  local normal, problem = names.normal(name)
  if not normal then return failed(BAD_NAME, name, type, "it has " .. problem) end
  if is_nobody(normal) then return failed(NO_NAME, name, type) end
  refresh(self, false)
  local list = options and options.search and candidates(configuration_of(self), name, normal) or { normal }
  local records, answer, why = try_names(list, function(candidate)
    return records_of(self, candidate, type)
  end)
  if records then return records end
  return failed(answer, name, type, why)
end

local LOOPBACK = { address.parse("127.0.0.1", 0), address.parse("::1", 0) }
local FAMILIES = { [4] = AF_INET, [6] = AF_INET6 }

-- Those of a list that are of a family (nil: all), with the port.
local function of_family(list, family, port)
  local out = {}
  for _, found in ipairs(list or {}) do
    if not family or found.family == family then out[#out + 1] = found:with_port(port) end
  end
  return out[1] and out
end

local function addresses_from(records, port, out)
  for _, record in ipairs(records or {}) do
    out[#out + 1] = address.parse(record.address, port)
  end
end

-- Both families at once. Returns a list of addresses, or nil and the answer that tells most.
local function ask_both(self, name, port)
  local six, six_answer, six_problem, four, four_answer, four_problem
  task.open_scope(function(scope)
    scope:spawn(function()
      six, six_answer, six_problem = records_of(self, name, "AAAA")
    end):named("dns.resolve " .. name)
    four, four_answer, four_problem = records_of(self, name, "A")
  end)
  local list = {}
  addresses_from(six, port, list)
  addresses_from(four, port, list)
  if list[1] then return list end
  -- A failure tells more than "there is nothing", and "no such type" more than "no such name".
  if four_answer == NO_NAME or four_answer == NO_DATA and six_answer ~= NO_NAME then
    return nil, six_answer, six_problem
  end
  return nil, four_answer, four_problem
end

---@class moonring.dns.ResolveOptions
---@field family? 4|6 only addresses of this family
---@field port? integer that the addresses get, default 0

local function resolve_options(options)
  options = options or {}
  local family, port = options.family, options.port or 0
  if family ~= nil and not FAMILIES[family] then
    errors.raise("argument", "dns.resolve: the family is 4 or 6, not %s", tostring(family))
  end
  if type(port) ~= "number" or port < 0 or port > 65535 or port % 1 ~= 0 then
    errors.raise("argument", "dns.resolve: a port is a whole number from 0 to 65535, not %s", tostring(port))
  end
  return FAMILIES[family], port
end

--- The addresses of a name, in the order in which they are to be tried (RFC 6724). A numeric address is its own;
--- "localhost" is this machine (RFC 6761); then the hosts file is asked, then the servers, for both families at once,
--- with the search domains.
---@param name string
---@param options? moonring.dns.ResolveOptions
---@return moonring.Address[]? addresses
---@return string? message
---@return string? code as query's
function Resolver:resolve(name, options)
  check_name("dns.resolve", name)
  check_open(self)
  local family, port = resolve_options(options)
  local what = family == AF_INET and "A" or family == AF_INET6 and "AAAA" or "A and AAAA"
  local numeric = name:find("^[%d.]+$") or name:find(":", 1, true)
  if numeric then
    local found = address.parse(name, port)
    if not found then return failed(BAD_NAME, name, what) end
    if family and found.family ~= family then return failed(NO_DATA, name, what) end
    return { found }
  end
  local normal, problem = names.normal(name)
  if not normal then return failed(BAD_NAME, name, what, "it has " .. problem) end
  if is_localhost(normal) then return order.sort(of_family(LOOPBACK, family, port)) end
  if is_nobody(normal) or normal == "." then return failed(NO_NAME, name, what) end
  refresh(self, true)
  local known = self.hosts and of_family(self.hosts.value.addresses[normal], family, port)
  if known then return order.sort(known) end
  local list, answer, why = try_names(candidates(configuration_of(self), name, normal), function(candidate)
    if not family then return ask_both(self, candidate, port) end
    local records, answer, why = records_of(self, candidate, what)
    if not records then return nil, answer, why end
    local out = {}
    addresses_from(records, port, out)
    return out
  end)
  if list then return order.sort(list) end
  return failed(answer, name, what, why)
end

-- The name that an address's name is asked under (RFC 1035 section 3.5, RFC 3596 section 2.5).
local function reverse_name(where)
  local parts = {}
  if where.family == AF_INET then
    for i = 3, 0, -1 do
      parts[#parts + 1] = tostring(where.bytes[i])
    end
    return table.concat(parts, ".") .. ".in-addr.arpa"
  end
  for i = 15, 0, -1 do
    parts[#parts + 1] = ("%x.%x"):format(where.bytes[i] % 16, math.floor(where.bytes[i] / 16))
  end
  return table.concat(parts, ".") .. ".ip6.arpa"
end

--- The names of an address: those of the hosts file, otherwise its PTR records.
---@param where string|moonring.Address
---@return string[]? names
---@return string? message
---@return string? code as query's
function Resolver:reverse(where)
  check_open(self)
  local found = where
  if type(where) == "string" then found = address.parse(where, 0) end
  if not address.is(found) or found.kind == "unix" then
    errors.raise("argument", "dns.reverse: a numeric address is needed, not %s", tostring(where))
  end
  refresh(self, true)
  local known = self.hosts and self.hosts.value.names[found.host]
  if known then return { unpack(known) } end
  local records, answer, why = records_of(self, reverse_name(found), "PTR")
  if not records then return failed(answer, found.host, "PTR", why) end
  local list = {}
  for i, record in ipairs(records) do
    list[i] = record.target
  end
  return list
end

--- Forgets all answers.
function Resolver:clear_cache()
  if self.cache then self.cache:clear() end
end

--- Closes the resolver. Who waits for an answer of it gets the error "closed".
function Resolver:close()
  if self.is_closed then return end
  self.is_closed = true
  if self.channel then self.channel:close() end
  self:clear_cache()
end

function Resolver:__tostring()
  if self.is_closed then return "moonring.dns.Resolver(closed)" end
  return ("moonring.dns.Resolver(%s)"):format(table.concat(configuration_of(self).servers, " "))
end

return M
