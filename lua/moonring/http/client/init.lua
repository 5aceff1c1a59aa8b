--- moonring.http.client: requests, and sessions that keep connections for the next one.
--
-- A request is what its caller asked for (url, method, content), one or more exchanges that carry it out (redirects, a
-- second try where the server had closed an idle connection), and a response. Times are the caller's scope's business:
-- `moonring.timeout(5, http.request, url)`.

local errors = require "moonring.errors"
local clock = require "moonring.clock"
local net = require "moonring.net"
local codec = require "moonring.http.codec"
local urls = require "moonring.http.client.url"
local cookies = require "moonring.http.client.cookies"
local pools = require "moonring.http.client.pool"
local proxies = require "moonring.http.client.proxy"
local requests = require "moonring.http.client.request"
local exchanges = require "moonring.http.client.exchange"
local responses = require "moonring.http.client.response"

local M = {}

---@class moonring.http.SessionOptions
---@field base_url? string what relative URLs begin at
---@field headers? table<string, string> sent with every request that does not set them itself
---@field connections? integer to one server at most; default 16
---@field idle? number seconds that an unused connection is kept; default 60
---@field proxy? string URL of an HTTP proxy, with user and password where it wants them; "environment": what http_proxy and
--- no_proxy say
---@field no_proxy? string[] hosts that are asked directly: "example.org", with all below it, "host:8080", "127.0.0.1", "*"
---@field cookies? boolean keep what servers set, and send it back; default false
---@field user? string with password: basic authentication (RFC 7617), for the origin of base_url or of the first request
---@field password? string
---@field redirects? integer followed at the most; default 10
---@field max_bytes? integer of a content that is not streamed, decompressed; default 16 MiB
---@field limits? moonring.http.Limits of heads

---@class moonring.http.RequestOptions
---@field url? string
---@field method? string default GET, or POST with a body
---@field headers? table<string, string|string[]>
---@field query? table<string, any>|string[] added to the URL's own
---@field body? string|moonring.Buffer|fun(write: fun(data: string|moonring.Buffer): boolean) a function writes it piece
--- by piece; write waits for room, and returns false when the server wants no more
---@field content_length? integer of a body that a function writes; without it it goes in chunks
---@field form? table<string, any>|string[] the body, as application/x-www-form-urlencoded
---@field json? any the body, as JSON
---@field expect_continue? boolean ask before the body is sent
---@field stream? boolean the response's content is read by the caller, who closes the response
---@field decompress? boolean default true: gzip and deflate are asked for and undone
---@field redirects? integer default the session's
---@field max_bytes? integer default the session's
---@field user? string
---@field password? string

---@class moonring.http.Session
local Session = { __name = "moonring.http.Session" }
Session.__index = Session

local SESSION_DEFAULTS = { connections = 16, idle = 60, redirects = 10, max_bytes = responses.MAX_BYTES }
local SESSION_OPTIONS = { base_url = "string", headers = "table", connections = "number", idle = "number", proxy = "string",
  no_proxy = "table", cookies = "boolean", user = "string", password = "string", redirects = "number", max_bytes = "number",
  limits = "table" }
--- Makes a session. Close it, or let a scope own it.
---@param options? moonring.http.SessionOptions
---@return moonring.http.Session
function M.session(options)
  options = options or {}
  errors.check_options("http.session", options, SESSION_OPTIONS)
  local self = setmetatable({}, Session)
  for name, default in pairs(SESSION_DEFAULTS) do
    self[name] = options[name] or default
  end
  self.headers = options.headers or {}
  self.user, self.password = options.user, options.password
  self.base = options.base_url and requests.parse_url("http.session", options.base_url)
  self.proxy, self.no_proxy = proxies.read(options.proxy, options.no_proxy)
  self.jar = options.cookies and cookies.new() or nil
  local limits = {}
  for name, value in pairs(options.limits or {}) do
    limits[name] = value
  end
  limits.body_bytes = math.huge -- max_bytes bounds what is kept
  self.limits = codec.merge_limits("http.session", limits)
  self.pool = pools.new {
    size = self.connections,
    idle = self.idle,
    open = function(url) return net.connect { host = url.host, port = url.port } end,
  }
  return self
end

-- One exchange --------------------------------------------------------------------------------------------------------

-- The content of one exchange, as a source of parts for a response.
local Source = {}
Source.__index = Source

local function end_source(source)
  local exchange = source.exchange
  if not exchange then return end
  source.exchange = false
  source.trailers = exchange.body.trailers
  exchange:release()
  source.session.pool:release(source.key, exchange.connection, exchange:is_done())
end

function Source:read()
  local exchange = self.exchange
  if not exchange then return nil end
  local part, message, code = exchange:read()
  if not part then end_source(self) end
  return part, message, code
end

function Source:close()
  end_source(self)
end

local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true }

local function start(exchange, wire)
  local ok, message, code = exchange:send(wire)
  if not ok then return nil, message, code end
  return exchange:await_head()
end

-- Sends the request and waits for the head of its response. Result: the exchange and its key in the pool; nil, message,
-- code.
local function exchange_once(self, request, is_new)
  local proxy = self.proxy and not proxies.is_exempt(self.no_proxy, request.url) and self.proxy or nil
  local server = proxy or request.url
  local key = server.host .. ":" .. server.port
  local connection, was_used, code = self.pool:acquire(key, server, is_new)
  if not connection then return nil, was_used, code end
  local exchange = exchanges.new(connection, request.method, self.limits)
  local ok, done, message
  ok, done, message, code = pcall(start, exchange, requests.wire(self, request, proxy))
  if ok and done then return exchange, key end
  exchange:release()
  self.pool:release(key, connection, false)
  if not ok then error(done, 0) end
  -- RFC 9110 section 9.2.2: what is idempotent may be sent again when the server closed an idle connection at the same
  -- moment.
  if was_used and not exchange.heard and IDEMPOTENT[request.method] and type(request.body) ~= "function" then
    return exchange_once(self, request, true)
  end
  return nil, message, code
end

-- Redirects -----------------------------------------------------------------------------------------------------------

-- The values of all fields of that name.
local function field_all(exchange, name)
  local fields, out = exchange.fields, {}
  for i = 1, #fields, 2 do
    if fields[i]:lower() == name then out[#out + 1] = fields[i + 1] end
  end
  return out
end

local function location_of(exchange)
  return requests.REDIRECTS[exchange.status] and field_all(exchange, "location")[1]
end

local function keep_cookies(self, request, exchange)
  if not self.jar then return end
  for _, value in ipairs(field_all(exchange, "set-cookie")) do
    self.jar:store(request.url, value, clock.wall())
  end
end

-- Reads a small rest, so that the connection can be used again.
local DISCARD_MAX = 65536

local function discard(self, exchange, key)
  local source, size = setmetatable({ session = self, exchange = exchange, key = key }, Source), 0
  local ok, failure = pcall(function()
    while size <= DISCARD_MAX do
      local part = source:read()
      if not part then return end
      size = size + part:remaining()
    end
  end)
  source:close()
  if not ok then error(failure, 0) end
end

local function refuse_https(url)
  if url.scheme ~= "https" then return true end
  return nil, ("%s: https is not spoken yet"):format(urls.format(url)), "EPROTONOSUPPORT"
end

-- Follows redirects to the response that is to be handed out: exchange, key, request, number of redirects.
local function exchange_to_the_end(self, request, redirects_max)
  local count = 0
  while true do
    local ok, message, code = refuse_https(request.url)
    if not ok then return nil, message, code end
    local exchange, key
    exchange, key, code = exchange_once(self, request)
    if not exchange then return nil, ("%s %s: %s"):format(request.method, urls.format(request.url), key), code end
    keep_cookies(self, request, exchange)
    local location = redirects_max > 0 and location_of(exchange)
    local next_request = location and requests.redirected(request, exchange.status, location)
    if not next_request then return exchange, key, request, count end
    discard(self, exchange, key)
    count = count + 1
    if count > redirects_max then
      return nil, ("%s: more than %d redirects"):format(urls.format(request.url), redirects_max), "ELOOP"
    end
    request = next_request
  end
end

-- Requests ------------------------------------------------------------------------------------------------------------

local function respond(self, exchange, key, request, count)
  local source = setmetatable({ session = self, exchange = exchange, key = key }, Source)
  local codings = field_all(exchange, "content-encoding")
  local response = responses.new {
    status = exchange.status,
    reason = exchange.reason,
    version = exchange.version,
    fields = exchange.fields,
    url = urls.format(request.url),
    redirects = count,
    source = source,
    text = false,
  }
  if request.decompress and exchange.head.has_body then
    response.source, response.is_decompressed = responses.decode(source, table.concat(codings, ","))
  end
  return response
end

-- Reads all of the content, whatever happens meanwhile.
local function finish(response, max_bytes)
  local ok, text, message, code = pcall(response.body, response, max_bytes)
  response:close()
  if not ok then error(text, 0) end
  if not text then return nil, message, code end
  response.text = text
  return response
end

local function options_of(first, second)
  if type(first) == "table" and second == nil then return first end
  local options = { url = first }
  if type(first) ~= "string" then
    errors.raise("argument", "http.request: a URL or a table of options is needed, not a %s", type(first))
  end
  for name, value in pairs(second or {}) do
    options[name] = value
  end
  return options
end

--- Makes a request and waits for its response, whatever its status. Unless stream is set, the whole content is there when it
--- returns.
---@param url string|moonring.http.RequestOptions
---@param options? moonring.http.RequestOptions
---@return moonring.http.ClientResponse? response
---@return string? message
---@return string? code "ECONNREFUSED", "ECONNRESET", "EBADMSG": no HTTP, "EMSGSIZE", "ELOOP": too many redirects ...
function Session:request(url, options)
  if not self.pool then errors.raise("closed", "session:request: the session has been closed") end
  options = options_of(url, options)
  local request = requests.prepare(self, options)
  local exchange, key, final, count = exchange_to_the_end(self, request, options.redirects or self.redirects)
  if not exchange then return nil, key, final end
  local response = respond(self, exchange, key, final, count)
  if options.stream then return response end
  return finish(response, options.max_bytes or self.max_bytes)
end

for name, method in pairs { get = "GET", head = "HEAD", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE" } do
  Session[name] = function(self, url, options)
    options = options_of(url, options)
    options.method = method
    return self:request(options)
  end
end

--- Closes the idle connections, and those in use with the end of their responses.
function Session:close()
  if not self.pool then return end
  self.pool:close()
  self.pool = false
end

function Session:__tostring()
  if not self.pool then return "moonring.http.Session(closed)" end
  return ("moonring.http.Session(%d idle connections)"):format(self.pool:idle_count())
end

-- The session of those who have none.
local default_session

--- Session:request of a session that all of the process share.
---@param url string|moonring.http.RequestOptions
---@param options? moonring.http.RequestOptions
---@return moonring.http.ClientResponse? response
---@return string? message
---@return string? code
function M.request(url, options)
  default_session = default_session or M.session()
  return default_session:request(url, options)
end

--- Closes what that session keeps. Internal: after a test nothing of it is to be left.
function M.forget()
  if default_session then default_session:close() end
  default_session = nil
end

--- Opens a connection and asks the server to change to another protocol on it (RFC 9110 section 7.8). For protocols such as
--- WebSocket.
---@param url moonring.http.Url
---@param protocol string
---@param fields string[] name, value, name, value ...
---@return moonring.Connection? connection behind the head; its input buffer holds what has come with it
---@return string|moonring.http.ClientExchange message, or the exchange with the server's answer
---@return string? code
function M.upgrade(url, protocol, fields)
  local ok, message, code = refuse_https(url)
  if not ok then return nil, message, code end
  local connection
  connection, message, code = net.connect { host = url.host, port = url.port }
  if not connection then return nil, message, code end
  local exchange = exchanges.new(connection, "GET", codec.limits)
  local done
  ok, done, message, code = pcall(start, exchange, {
    method = "GET",
    target = url.target,
    host = urls.authority_of(url),
    fields = fields,
    upgrade = protocol,
  })
  if ok and done then return connection, exchange end
  connection:close(0)
  if not ok then error(done, 0) end
  return nil, message, code
end

M.parse_url = urls.parse

M.basic = requests.basic

return M
