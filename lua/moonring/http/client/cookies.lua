--- moonring.http.client.cookies: the cookies of a session: which a server may set, and which it gets back (RFC 6265bis
--- sections 5.6 to 5.8).
--
-- There is no list here of the names under which anybody can register ("co.uk"), so a cookie may be set for all of such a
-- name; a session that visits sites which don't trust each other wants a jar for each.

local native = require "moonring.native"
local conditions = require "moonring.http.codec.conditions"

local C = native.C

local M = {
  PER_DOMAIN_MAX = 50, -- section 7.1 has user agents keep so many at least
  ALL_MAX = 3000,
}

local PAIR_BYTES_MAX, ATTRIBUTE_BYTES_MAX = 4096, 1024

--- Internal.
---@class moonring.http.CookieJar
local Jar = { __name = "moonring.http.CookieJar" }
Jar.__index = Jar

--- Makes an empty jar.
---@return moonring.http.CookieJar
function M.new()
  return setmetatable({ by_domain = {}, count = 0, serial = 0 }, Jar)
end

local function trim(text)
  return text:match "^[ \t]*(.-)[ \t]*$"
end

local function is_address(host)
  return host:find(":", 1, true) ~= nil or host:find "^%d+%.%d+%.%d+%.%d+$" ~= nil
end

-- Section 5.1.3.
local function domain_matches(host, domain)
  return host == domain or not is_address(host) and host:sub(-#domain - 1) == "." .. domain
end

local function path_of(url)
  return url.target:match "^[^?]*"
end

-- Section 5.1.4.
local function default_path(url)
  return path_of(url):match "^(/.*)/[^/]*$" or "/"
end

local function path_matches(path, of_cookie)
  if path == of_cookie then return true end
  return path:sub(1, #of_cookie) == of_cookie and (of_cookie:sub(-1) == "/" or path:sub(#of_cookie + 1,
    #of_cookie + 1) == "/")
end

-- A Set-Cookie field taken apart (section 5.6): name, value, attributes by lower-case name; nil where it is to be ignored.
local function parse(text)
  if C.mr_scan_span(text, #text, C.MR_CLASS_VALUE) ~= #text then return nil end
  local pair, rest = text:match "^([^;]*)(.*)$"
  local name, value = pair:match "^([^=]*)=(.*)$"
  if not name then name, value = "", pair end
  name, value = trim(name), trim(value)
  if #name + #value == 0 or #name + #value > PAIR_BYTES_MAX then return nil end
  local attributes = {}
  for part in rest:gmatch ";([^;]*)" do
    local key, content = part:match "^([^=]*)=?(.*)$"
    content = trim(content)
    if #content <= ATTRIBUTE_BYTES_MAX then attributes[trim(key):lower()] = content end
  end
  return name, value, attributes
end

-- When it ends: math.huge with the session; before now: it is to be deleted.
local function expiry_of(attributes, now)
  local age = attributes["max-age"]
  if age and age:find "^%-?%d+$" then
    local seconds = tonumber(age)
    return seconds <= 0 and -math.huge or now + seconds
  end
  local date = attributes.expires and conditions.parse_cookie_date(attributes.expires)
  return date or math.huge
end

-- The domain it is for, and whether it is for that host alone; nil where the host may not set it.
local function domain_of(attributes, host)
  local domain = (attributes.domain or ""):lower():gsub("^%.", "")
  if domain == "" or domain == host then return host, domain == "" or is_address(host) end
  if not domain:find(".", 1, true) or not domain_matches(host, domain) then return nil end
  return domain, false
end

local function remove(self, domain, key)
  local of_domain = self.by_domain[domain]
  if not of_domain or not of_domain.cookies[key] then return end
  of_domain.cookies[key] = nil
  of_domain.count, self.count = of_domain.count - 1, self.count - 1
  if of_domain.count == 0 then self.by_domain[domain] = nil end
end

-- Takes out those of a domain that have ended; where there are none, the one that has been there longest.
local function evict(self, domain, now)
  local oldest, oldest_key, count = nil, nil, self.count
  for key, cookie in pairs(self.by_domain[domain].cookies) do
    if cookie.expires <= now then
      remove(self, domain, key)
    elseif not oldest or cookie.serial < oldest then
      oldest, oldest_key = cookie.serial, key
    end
  end
  if self.count == count and oldest_key then remove(self, domain, oldest_key) end
end

local function put(self, domain, key, cookie, now)
  local before = self.by_domain[domain] and self.by_domain[domain].cookies[key]
  if before then cookie.serial = before.serial end -- its place among the others stays
  remove(self, domain, key)
  if cookie.expires <= now then return end
  if self.count >= M.ALL_MAX then evict(self, (next(self.by_domain)), now) end
  if self.by_domain[domain] and self.by_domain[domain].count >= M.PER_DOMAIN_MAX then evict(self, domain, now) end
  local of_domain = self.by_domain[domain] or { cookies = {}, count = 0 }
  self.by_domain[domain] = of_domain
  of_domain.cookies[key] = cookie
  of_domain.count, self.count = of_domain.count + 1, self.count + 1
end

-- Section 5.7: what only a safe connection may set.
local function needs_safety(name, attributes)
  local lower = name:lower()
  return attributes.secure ~= nil or lower:find("__secure-", 1, true) == 1 or lower:find("__host-", 1, true) == 1
end

--- Takes note of a Set-Cookie field of an answer. What may not be set, and what is malformed, is ignored.
---@param url moonring.http.Url of the request
---@param text string
---@param now number seconds since 1970
function Jar:store(url, text, now)
  local name, value, attributes = parse(text)
  if not name then return end
  local is_safe = url.scheme == "https"
  if needs_safety(name, attributes) and not (is_safe and attributes.secure) then return end
  local domain, is_host_only = domain_of(attributes, url.host)
  if not domain then return end
  local path = attributes.path
  if not path or path:sub(1, 1) ~= "/" then path = default_path(url) end
  if name:lower():find("__host-", 1, true) == 1 and not (is_host_only and path == "/") then return end
  self.serial = self.serial + 1
  put(self, domain, name .. ";" .. path .. ";" .. tostring(is_host_only), { name = name, value = value, path = path,
    is_host_only = is_host_only, secure = attributes.secure ~= nil, expires = expiry_of(attributes, now),
    serial = self.serial }, now)
end

local function collect(self, found, domain, url, now)
  local path = path_of(url)
  for _, cookie in pairs(self.by_domain[domain].cookies) do
    if cookie.expires > now and path_matches(path, cookie.path) and (not cookie.is_host_only or domain == url.host)
        and (not cookie.secure or url.scheme == "https") then
      found[#found + 1] = cookie
    end
  end
end

-- Section 5.8.3: longer paths first, then those that were set earlier.
local function goes_before(left, right)
  if #left.path ~= #right.path then return #left.path > #right.path end
  return left.serial < right.serial
end

--- The Cookie field for a request.
---@param url moonring.http.Url
---@param now number seconds since 1970
---@return string? field nil when there is none
function Jar:field_for(url, now)
  local found, domain = {}, url.host
  while domain do
    if self.by_domain[domain] then collect(self, found, domain, url, now) end
    domain = not is_address(url.host) and domain:match "^[^.]*%.(.+)$" or nil
  end
  if not found[1] then return nil end
  table.sort(found, goes_before)
  local parts = {}
  for number, cookie in ipairs(found) do
    parts[number] = cookie.name ~= "" and cookie.name .. "=" .. cookie.value or cookie.value
  end
  return table.concat(parts, "; ")
end

function Jar:__tostring()
  return ("moonring.http.CookieJar(%d)"):format(self.count)
end

return M
