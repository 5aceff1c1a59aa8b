--- Cookies: reading what a client sends, writing Set-Cookie (RFC 6265bis).

local native = require "moonring.native"
local errors = require "moonring.errors"
local format = require "moonring.http.codec.format"

local C = native.C

local M = {}

-- Section 5.6: a user agent ignores a cookie whose name and value together are longer, and an attribute that is.
local PAIR_BYTES_MAX, ATTRIBUTE_BYTES_MAX = 4096, 1024

local function trim(text)
  return text:match "^[ \t]*(.-)[ \t]*$"
end

--- The cookies of a Cookie field. Of several with one name the first, which is the most specific, counts. Quotes around a
--- value are left off.
---@param text string
---@return table<string, string>
function M.parse(text)
  local cookies = {}
  for part in text:gmatch "[^;]+" do
    local name, value = part:match "^([^=]*)=(.*)$"
    if name then
      name, value = trim(name), trim(value)
      value = value:match '^"(.*)"$' or value
      if name ~= "" and cookies[name] == nil then cookies[name] = value end
    end
  end
  return cookies
end

local function misuse(text, ...)
  errors.raise("argument", "set_cookie: " .. text, ...)
end

-- cookie-octet: visible ASCII but for quote, comma, semicolon and backslash.
local function is_cookie_value(text)
  return text:find '[%c%s",;\\\128-\255]' == nil
end

local function check_attribute(name, value)
  if type(value) ~= "string" or value:find "[%c;]" or #value > ATTRIBUTE_BYTES_MAX then
    misuse("attribute %s is a string of at most %d bytes without \";\" and control characters, not %q", name,
      ATTRIBUTE_BYTES_MAX, tostring(value))
  end
  return value
end

local SAME_SITE = { strict = "Strict", lax = "Lax", none = "None" }
local KNOWN = { path = true, domain = true, max_age = true, expires = true, secure = true, http_only = true,
  same_site = true, partitioned = true }

---@class moonring.http.CookieAttributes
---@field path? string
---@field domain? string
---@field max_age? integer seconds; 0 or less deletes the cookie
---@field expires? number seconds since 1970
---@field secure? boolean
---@field http_only? boolean
---@field same_site? string "strict", "lax" or "none", which needs secure
---@field partitioned? boolean needs secure

-- Section 4.1.3: what the prefixes of a name promise. User agents compare them in any case.
local function check_prefix(name, attributes)
  local lower = name:lower()
  if (lower:find("__secure-", 1, true) == 1 or lower:find("__host-", 1, true) == 1) and not attributes.secure then
    misuse("the name %s needs the attribute secure", name)
  end
  if lower:find("__host-", 1, true) == 1 and (attributes.path ~= "/" or attributes.domain) then
    misuse("the name %s needs the path \"/\" and no domain", name)
  end
end

local function check_pair(name, value)
  if type(name) ~= "string" or not format.is_token(name) then misuse("name %q is not a token", tostring(name)) end
  if type(value) ~= "string" or not is_cookie_value(value) then
    misuse("the value of %s is not a string of visible ASCII without quotes, commas, semicolons and backslashes; "
      .. "percent-encode it", name)
  end
  if #name + #value > PAIR_BYTES_MAX then
    misuse("name and value of %s are longer than the %d bytes that browsers take", name, PAIR_BYTES_MAX)
  end
end

local function add_times(parts, attributes)
  if attributes.expires ~= nil then
    local expires = attributes.expires
    if type(expires) ~= "number" or expires ~= expires or math.abs(expires) > 253402300799 then
      misuse("expires is a number of seconds since 1970, not %s", tostring(expires))
    end
    parts[#parts + 1] = "; Expires=" .. format.date(expires)
  end
  if attributes.max_age ~= nil then
    local age = attributes.max_age
    if type(age) ~= "number" or age % 1 ~= 0 or math.abs(age) > 2 ^ 53 then
      misuse("max_age is a whole number of seconds, not %s", tostring(age))
    end
    parts[#parts + 1] = ("; Max-Age=%.0f"):format(age)
  end
end

--- The value of a Set-Cookie field. Raises "argument" for what would not be the cookie that was asked for.
---@param name string a token
---@param value string
---@param attributes? moonring.http.CookieAttributes
---@return string
function M.format(name, value, attributes)
  attributes = attributes or {}
  check_pair(name, value)
  for key in pairs(attributes) do
    if not KNOWN[key] then misuse("there is no attribute %s", tostring(key)) end
  end
  check_prefix(name, attributes)
  local parts = { name, "=", value }
  if attributes.path ~= nil then parts[#parts + 1] = "; Path=" .. check_attribute("path", attributes.path) end
  if attributes.domain ~= nil then
    local domain = check_attribute("domain", attributes.domain)
    if C.mr_scan_span(domain, #domain, C.MR_CLASS_NAME) ~= #domain then misuse("domain %q is not a host", domain) end
    parts[#parts + 1] = "; Domain=" .. domain
  end
  add_times(parts, attributes)
  local same_site = attributes.same_site and SAME_SITE[tostring(attributes.same_site):lower()]
  if attributes.same_site and not same_site then
    misuse("same_site is \"strict\", \"lax\" or \"none\", not %s", tostring(attributes.same_site))
  end
  if (same_site == "None" or attributes.partitioned) and not attributes.secure then
    misuse("same_site \"none\" and partitioned need secure")
  end
  if attributes.secure then parts[#parts + 1] = "; Secure" end
  if attributes.http_only then parts[#parts + 1] = "; HttpOnly" end
  if same_site then parts[#parts + 1] = "; SameSite=" .. same_site end
  if attributes.partitioned then parts[#parts + 1] = "; Partitioned" end
  return table.concat(parts)
end

return M
