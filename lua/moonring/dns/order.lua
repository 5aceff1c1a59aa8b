-- moonring.dns.order: in which order a name's addresses are tried: RFC 6724 section 6. Internal.
--
-- For each address the routes are asked which of our own it would be reached from. What can't be reached comes last;
-- then come equal scope, equal label, higher precedence, smaller scope, the longer common prefix (IPv6 only), and the
-- order that the servers gave.

local native = require "moonring.native"
local address = require "moonring.net.address"

local C = native.C
local bxor = bit.bxor

local M = {}

local AF_INET6 = 10
local LINK_LOCAL, SITE_LOCAL, GLOBAL = 2, 5, 14

-- The table of section 2.1: prefix, its bits, precedence, label. An IPv4 address stands for ::ffff:0:0/96.
local POLICY_IPV4 = { precedence = 35, label = 4 }
local policies = {}
for _, row in ipairs {
  { "::1", 128, 50, 0 }, { "::", 96, 1, 3 }, { "2001::", 32, 5, 5 }, { "2002::", 16, 30, 2 }, { "3ffe::", 16, 1, 12 },
  { "fec0::", 10, 1, 11 }, { "fc00::", 7, 3, 13 }, { "::", 0, 40, 1 },
} do
  policies[#policies + 1] = { prefix = address.parse(row[1], 0), bits = row[2], precedence = row[3], label = row[4] }
end

-- How many leading bits two IPv6 addresses have in common.
local function common_bits(left, right)
  for i = 0, 15 do
    local difference = bxor(left.bytes[i], right.bytes[i])
    if difference ~= 0 then
      local bits = i * 8
      while difference < 128 do
        bits, difference = bits + 1, difference * 2
      end
      return bits
    end
  end
  return 128
end

local function policy_of(where)
  if where.family ~= AF_INET6 then return POLICY_IPV4 end
  for _, policy in ipairs(policies) do
    if common_bits(where, policy.prefix) >= policy.bits then return policy end
  end
end

local function scope_of(where)
  local first, second = where.bytes[0], where.bytes[1]
  if where.family ~= AF_INET6 then
    return (first == 127 or first == 169 and second == 254) and LINK_LOCAL or GLOBAL
  end
  if first == 0xff then return second % 16 end
  if first == 0xfe and second >= 0x80 then return second < 0xc0 and LINK_LOCAL or SITE_LOCAL end
  return common_bits(where, policies[1].prefix) == 128 and LINK_LOCAL or GLOBAL
end

-- What an address is compared by.
local function judge(where, place)
  local source = address.new()
  local is_reachable = C.mr_address_source(where, source) == 0
  local policy, scope = policy_of(where), scope_of(where)
  return {
    address = where,
    place = place,
    is_reachable = is_reachable,
    has_scope = is_reachable and scope_of(source) == scope,
    has_label = is_reachable and policy_of(source).label == policy.label,
    precedence = policy.precedence,
    scope = scope,
    common = is_reachable and where.family == AF_INET6 and common_bits(where, source) or 0,
  }
end

local function comes_before(left, right)
  if left.is_reachable ~= right.is_reachable then return left.is_reachable end
  if left.has_scope ~= right.has_scope then return left.has_scope end
  if left.has_label ~= right.has_label then return left.has_label end
  if left.precedence ~= right.precedence then return left.precedence > right.precedence end
  if left.scope ~= right.scope then return left.scope < right.scope end
  if left.address.family == right.address.family and left.common ~= right.common then return left.common > right.common end
  return left.place < right.place
end

--- Puts addresses into the order in which they are to be tried.
---@param addresses moonring.Address[]
---@return moonring.Address[]
function M.sort(addresses)
  if #addresses < 2 then return addresses end
  local judged, sorted = {}, {}
  for i, where in ipairs(addresses) do
    judged[i] = judge(where, i)
  end
  table.sort(judged, comes_before)
  for i, each in ipairs(judged) do
    sorted[i] = each.address
  end
  return sorted
end

return M
