--- moonring.http.forwarded: who a request is from when it has come through proxies.
--
-- Anybody can send X-Forwarded-For, so it counts as far as those who have written it are trusted: from the connection's own
-- peer on, from the last entry to the first, up to the first address that no trusted proxy has.

local errors = require "moonring.errors"
local address = require "moonring.net.address"
local bit = require "bit"

local band, rshift = bit.band, bit.rshift

local M = {}

local LENGTHS = { ipv4 = 4, ipv6 = 16 }

-- The bytes of an IP address, those of an IPv4 address where it is mapped into IPv6: a list, or nil.
local function bytes_of(text)
  local parsed = address.parse(text, 0)
  if not parsed or not LENGTHS[parsed.kind] then return nil end
  local out = {}
  for at = 1, LENGTHS[parsed.kind] do
    out[at] = parsed.bytes[at - 1]
  end
  if #out == 4 then return out end
  for at = 1, 10 do
    if out[at] ~= 0 then return out end
  end
  if out[11] ~= 255 or out[12] ~= 255 then return out end
  return { out[13], out[14], out[15], out[16] }
end

local function parse_network(text)
  if text == "unix" then return "unix" end
  local host, bits = tostring(text):match "^([^/]+)/?(%d*)$"
  local bytes = type(text) == "string" and host and bytes_of(host)
  local most = bytes and #bytes * 8
  bits = bits ~= "" and tonumber(bits) or most
  if not bytes or bits > most or text:find "/$" then
    errors.raise("argument", 'http.server: trusted_proxies are addresses, networks such as "10.0.0.0/8", and "unix", not %s',
      tostring(text))
  end
  return { bytes = bytes, bits = bits }
end

--- Reads a list of those who are trusted. Raises "argument" for what is no address or network.
---@param list string[] addresses, networks "10.0.0.0/8", and "unix" for connections through Unix sockets
---@return table networks for client_of
function M.networks(list)
  local out = {}
  for number, text in ipairs(list) do
    out[number] = parse_network(text)
  end
  return out
end

local function is_within(bytes, network)
  if #bytes ~= #network.bytes then return false end
  local left = network.bits
  for at = 1, #bytes do
    if left <= 0 then return true end
    local mask = left >= 8 and 255 or 255 - rshift(255, left)
    if band(bytes[at], mask) ~= band(network.bytes[at], mask) then return false end
    left = left - 8
  end
  return true
end

local function is_trusted(networks, bytes)
  for _, network in ipairs(networks) do
    if network == bytes or bytes ~= "unix" and network ~= "unix" and is_within(bytes, network) then return true end
  end
  return false
end

-- An entry as some proxies write it: with a port, in brackets.
local function host_of(entry)
  return entry:match "^%[([^%]]+)%]" or entry:match "^([%d.]+):%d+$" or entry
end

--- Whether the connection's peer is trusted.
---@param networks table
---@param peer moonring.Address?
---@return boolean
function M.is_from_proxy(networks, peer)
  if not peer then return false end
  local bytes = peer.kind == "unix" and "unix" or bytes_of(peer.host)
  return bytes ~= nil and is_trusted(networks, bytes)
end

--- The client's address, when the connection's peer is trusted.
---@param networks table
---@param values string[] all X-Forwarded-For fields in their order
---@return string? host nil: none was told
function M.client_of(networks, values)
  local entries = {}
  for entry in table.concat(values, ","):gmatch "[^,%s]+" do
    entries[#entries + 1] = host_of(entry)
  end
  local found
  for number = #entries, 1, -1 do
    local bytes = bytes_of(entries[number])
    if not bytes then return found end -- nobody whom a proxy has seen: what is before it is worth nothing either
    found = entries[number]
    if not is_trusted(networks, bytes) then return found end
  end
  return found
end

return M
