-- moonring.dns.system: what the system's files say: hosts(5) and resolv.conf(5). Internal.

local address = require "moonring.net.address"
local names = require "moonring.dns.names"

local M = {}

-- Bounds of resolv.conf(5), and one of ours on servers.
local NDOTS_MAX, TIMEOUT_MAX, ATTEMPTS_MAX, SERVERS_MAX = 15, 30, 5, 8

local function words_of(line, comment)
  local words = {}
  for word in line:gsub(comment, ""):gmatch("%S+") do
    words[#words + 1] = word
  end
  return words
end

--- Reads a hosts file: from each name to its addresses, and from each address to its names, all in the order of the
--- file. Lines that make no sense are passed over.
---@param text string
---@return { addresses: table<string, moonring.Address[]>, names: table<string, string[]> }
function M.parse_hosts(text)
  local hosts = { addresses = {}, names = {} }
  for line in text:gmatch("[^\n]+") do
    local words = words_of(line, "#.*")
    local found = words[1] and address.parse(words[1], 0)
    if found and words[1]:find("[.:]") then -- "localhost" is no numeric address
      for i = 2, #words do
        local key = names.normal(words[i])
        if key then
          local addresses = hosts.addresses[key] or {}
          hosts.addresses[key] = addresses
          addresses[#addresses + 1] = found
          local known = hosts.names[found.host] or {}
          hosts.names[found.host] = known
          known[#known + 1] = words[i]
        end
      end
    end
  end
  return hosts
end

--- Reads "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353". Addresses with a zone are not for
--- servers.
---@param text string
---@return string? server with its port, the IPv6 address in brackets
function M.parse_server(text)
  local host, port = text:match("^%[(.*)%]:(%d+)$")
  if not host then host, port = text:match("^([%d.]+):(%d+)$") end
  if not host then host, port = text:match("^%[(.*)%]$") or text, "53" end
  local found = host:find("^[%x.:]+$") and address.parse(host, tonumber(port))
  if not found or found.port == 0 then return nil end
  return tostring(found)
end

local function bounded(text, low, high)
  local value = tonumber(text)
  return value and math.min(math.max(value, low), high)
end

local function read_option(configuration, option)
  local name, value = option:match("^(%a+):(%d+)$")
  if name == "ndots" then
    configuration.ndots = bounded(value, 0, NDOTS_MAX)
  elseif name == "timeout" then
    configuration.timeout = bounded(value, 1, TIMEOUT_MAX)
  elseif name == "attempts" then
    configuration.attempts = bounded(value, 1, ATTEMPTS_MAX)
  elseif option == "rotate" then
    configuration.rotate = true
  end
end

--- Reads a resolv.conf. Without a server, the one of this machine is taken.
---@param text string
function M.parse_resolv_conf(text)
  local configuration = { servers = {}, search = {}, ndots = 1, timeout = 5, attempts = 2, rotate = false }
  for line in text:gmatch("[^\n]+") do
    local words = words_of(line, "^%s*[#;].*")
    if words[1] == "nameserver" then
      local server = words[2] and M.parse_server(words[2]) -- with a port, too, as c-ares reads it
      if server and #configuration.servers < SERVERS_MAX then
        configuration.servers[#configuration.servers + 1] = server
      end
    elseif words[1] == "search" or words[1] == "domain" then -- the last of these lines counts
      configuration.search = {}
      for i = 2, words[1] == "domain" and math.min(#words, 2) or #words do
        local domain = names.normal(words[i])
        if domain and domain ~= "." then configuration.search[#configuration.search + 1] = domain end
      end
    elseif words[1] == "options" then
      for i = 2, #words do
        read_option(configuration, words[i])
      end
    end
  end
  if not configuration.servers[1] then configuration.servers[1] = "127.0.0.1:53" end
  return configuration
end

return M
