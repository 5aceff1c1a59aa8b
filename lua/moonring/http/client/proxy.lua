--- moonring.http.client.proxy: which requests of a session go through its proxy.

local requests = require "moonring.http.client.request"

local M = {}

local function split(text)
  local out = {}
  for each in (text or ""):gmatch "[^,%s]+" do
    out[#out + 1] = each
  end
  return out
end

--- The proxy of a session's options, and the hosts that it is not for. Of the environment only the lower-case http_proxy
--- counts: a CGI script's HTTP_PROXY is what a client has sent as its field Proxy.
---@param proxy? string a URL, or "environment"
---@param no_proxy? string[]
---@return moonring.http.Url? proxy
---@return string[] no_proxy
function M.read(proxy, no_proxy)
  no_proxy = no_proxy or {}
  if proxy == "environment" then
    proxy = os.getenv "http_proxy"
    if proxy == "" then proxy = nil end
    if not no_proxy[1] then no_proxy = split(os.getenv "no_proxy" or os.getenv "NO_PROXY") end
    if proxy and not proxy:find("://", 1, true) then proxy = "http://" .. proxy end
  end
  return proxy and requests.parse_url("http.session: proxy", proxy) or nil, no_proxy
end

--- Whether a URL is asked for directly.
---@param no_proxy string[]
---@param url moonring.http.Url
---@return boolean
function M.is_exempt(no_proxy, url)
  for _, entry in ipairs(no_proxy) do
    local host, port = entry:match "^%[?([^%]]-)%]?:(%d+)$"
    if not host or host:find(":", 1, true) and not entry:find("[", 1, true) then host, port = entry, nil end
    host = host:lower():gsub("^%*?%.", ""):gsub("^%[(.*)%]$", "%1")
    local is_host = entry == "*" or url.host == host or url.host:sub(-#host - 1) == "." .. host
    if is_host and (not port or tonumber(port) == url.port) then return true end
  end
  return false
end

return M
