--- moonring.http.client.url: http URLs taken apart and put together (RFC 3986, RFC 9110 section 4.2).

local target = require "moonring.http.codec.target"

local M = {}

local DEFAULT_PORTS = { http = 80, https = 443 }

--- Internal.
---@class moonring.http.Url
---@field scheme string "http" or "https"
---@field host string without the brackets of an IPv6 address
---@field port integer
---@field target string path and query, as they are sent; never empty
---@field user? string decoded
---@field password? string decoded

-- The authority without user information, as Host and the absolute form have it.
local function authority_of(url)
  local host = url.host:find(":", 1, true) and "[" .. url.host .. "]" or url.host
  if url.port == DEFAULT_PORTS[url.scheme] then return host end
  return host .. ":" .. url.port
end
M.authority_of = authority_of

local function is_host(host)
  if host:find(":", 1, true) then return host:find "^[%x:.]+$" ~= nil end
  return host:find "^[%w%-._~]+$" ~= nil
end

-- host, port of "host:port", "[v6]:port" or either without a port.
local function split_authority(authority, scheme)
  local host, port = authority:match "^%[([^%]]*)%]:?(%d*)$"
  if not host then host, port = authority:match "^([^:%[%]]*):?(%d*)$" end
  if not host or not is_host(host) then return nil end
  if authority:find ":$" and port == "" then port = tostring(DEFAULT_PORTS[scheme]) end
  port = port == "" and DEFAULT_PORTS[scheme] or tonumber(port)
  if port < 1 or port > 65535 then return nil end
  return host:lower(), port
end

-- What may stand in a request target; spaces and what is no ASCII are encoded, so that a URL may be written as people do.
local function clean_target(text)
  text = text:gsub("#.*$", "")
  if text:sub(1, 1) ~= "/" then text = "/" .. text end
  return (text:gsub("[%c \127-\255\"<>\\^`{|}]", function(character) return ("%%%02X"):format(character:byte()) end))
end

--- Takes an absolute URL apart. Result: nil and what is wrong with it for anything else than http and https.
---@param text string
---@return moonring.http.Url?
---@return string? message
function M.parse(text)
  local scheme, rest = text:match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then return nil, ("%q is no absolute URL: http://host/path is needed"):format(text) end
  scheme = scheme:lower()
  if not DEFAULT_PORTS[scheme] then return nil, ("%q: the scheme %s is not spoken here"):format(text, scheme) end
  local authority, behind = rest:match "^([^/?#]*)(.*)$"
  -- Others read a backslash as a slash, and so another host.
  if authority:find "[%c \\\127]" then return nil, ("%q: malformed host or port"):format(text) end
  local information, plain = authority:match "^(.*)@([^@]*)$"
  local host, port = split_authority(plain or authority, scheme)
  if not host then return nil, ("%q: malformed host or port"):format(text) end
  local url = { scheme = scheme, host = host, port = port, target = clean_target(behind) }
  if information then
    local user, password = information:match "^([^:]*):?(.*)$"
    url.user, url.password = target.percent_decode(user), target.percent_decode(password)
  end
  return url
end

-- RFC 3986 section 5.2.4.
local function remove_dots(path)
  local out = {}
  local segments = {}
  for segment in path:gmatch "/([^/]*)" do
    segments[#segments + 1] = segment
  end
  for i, segment in ipairs(segments) do
    local is_last = i == #segments
    if segment == ".." then
      out[#out] = nil
      if is_last then out[#out + 1] = "" end
    elseif segment == "." then
      if is_last then out[#out + 1] = "" end
    else
      out[#out + 1] = segment
    end
  end
  return "/" .. table.concat(out, "/")
end

--- Resolves a reference, such as that of a Location field, against a URL (RFC 3986 section 5.2). Credentials are not
--- passed on.
---@param base moonring.http.Url
---@param reference string
---@return moonring.http.Url?
---@return string? message
function M.resolve(base, reference)
  if reference:find "^%a[%w+.-]*:" then return M.parse(reference) end
  if reference:find "^//" then return M.parse(base.scheme .. ":" .. reference) end
  local path, behind = reference:gsub("#.*$", ""):match "^([^?]*)(.*)$"
  local base_path, base_query = base.target:match "^([^?]*)(.*)$"
  if path == "" then
    path = base_path
    if behind == "" then behind = base_query end
  elseif path:sub(1, 1) ~= "/" then
    path = base_path:match "^(.*/)" .. path
  end
  return {
    scheme = base.scheme,
    host = base.host,
    port = base.port,
    target = clean_target(remove_dots(path) .. behind),
  }
end

--- Whether two URLs lead to the same server.
---@param left moonring.http.Url
---@param right moonring.http.Url
---@return boolean
function M.is_same_origin(left, right)
  return left.scheme == right.scheme and left.host == right.host and left.port == right.port
end

--- The text of a URL, without user information.
---@param url moonring.http.Url
---@return string
function M.format(url)
  return url.scheme .. "://" .. authority_of(url) .. url.target
end

return M
