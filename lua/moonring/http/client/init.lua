--- moonring.http.client: requests, and sessions that keep connections for the next one.
--
-- A request is what its caller asked for (url, method, content), one or more exchanges that carry it out (redirects, a
-- second
-- try where the server had closed an idle connection), and a response. Times are the caller's scope's business:
-- `moonring.timeout(5, http.request, url)`.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local net = require "moonring.net"
local codec = require "moonring.http.codec"
local urls = require "moonring.http.client.url"
local pools = require "moonring.http.client.pool"
local exchanges = require "moonring.http.client.exchange"
local responses = require "moonring.http.client.response"

local M = {}

---@class moonring.http.SessionOptions
---@field base_url? string what relative URLs begin at
---@field headers? table<string, string> sent with every request that does not set them itself
---@field connections? integer to one server at most; default 16
---@field idle? number seconds that an unused connection is kept; default 60
---@field proxy? string URL of an HTTP proxy, with user and password where it wants them
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
  user = "string", password = "string", redirects = "number", max_bytes = "number", limits = "table" }
local REQUEST_OPTIONS = { url = "string", method = "string", headers = "table", query = "table", body = true,
  content_length = "number", form = "table", json = true, expect_continue = "boolean", stream = "boolean",
  decompress = "boolean", redirects = "number", max_bytes = "number", user = "string", password = "string" }

local function parse_url(what, text)
  local url, message = urls.parse(text)
  if not url then errors.raise("argument", "%s: %s", what, message) end
  return url
end

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
  self.base = options.base_url and parse_url("http.session", options.base_url)
  self.proxy = options.proxy and parse_url("http.session", options.proxy)
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

-- What is sent --------------------------------------------------------------------------------------------------------

local function base64(text)
  local view = buffer.wrap(text)
  local out = view:to_base64()
  view:release()
  return out
end

local function basic(user, password)
  return "Basic " .. base64(user .. ":" .. (password or ""))
end

-- The header fields as the codec wants them, with `names` as the set of their names in lower case.
local function flatten(...)
  local out, names = {}, {}
  for i = 1, select("#", ...) do
    local added = {}
    for name, value in pairs((select(i, ...))) do
      local lower = type(name) == "string" and name:lower() or name
      if not names[lower] then
        for _, each in ipairs(type(value) == "table" and value or { value }) do
          out[#out + 1] = name
          out[#out + 1] = type(each) == "number" and tostring(each) or each
        end
        added[lower] = true
      end
    end
    for name in pairs(added) do
      names[name] = true
    end
  end
  return out, names
end

-- The body of the options and its type.
local function content_of(options)
  local given = (options.body ~= nil and 1 or 0) + (options.form and 1 or 0) + (options.json ~= nil and 1 or 0)
  if given > 1 then errors.raise("argument", "http.request: only one of body, form and json can be given") end
  if options.form then return codec.format_pairs(options.form), "application/x-www-form-urlencoded" end
  if options.json ~= nil then return require("moonring.http.json").encode(options.json), "application/json" end
  local body = options.body
  if body ~= nil and type(body) ~= "string" and type(body) ~= "function" and not buffer.is(body) then
    errors.raise("argument", "http.request: the body is a string, a buffer or a function, not a %s", type(body))
  end
  if options.content_length and type(body) ~= "function" then
    errors.raise("argument", "http.request: content_length goes with a body that a function writes")
  end
  return body
end

local function with_query(target, query)
  if not query then return target end
  return target .. (target:find("?", 1, true) and "&" or "?") .. codec.format_pairs(query)
end

-- Everything about the request that stays the same over redirects.
local function prepare(self, options)
  errors.check_options("http.request", options, REQUEST_OPTIONS)
  local url
  if not options.url or not options.url:find "^%a[%w+.-]*:" then
    if not self.base then
      errors.raise("argument", "http.request: %s is no absolute URL, and the session has no base_url", tostring(options.url))
    end
    url = options.url and urls.resolve(self.base, options.url) or self.base
    url.user, url.password = self.base.user, self.base.password
  else
    url = parse_url("http.request", options.url)
  end
  url.target = with_query(url.target, options.query)
  local body, content_type = content_of(options)
  local fields, names = flatten(options.headers or {}, self.headers)
  local function add(name, value)
    if names[name:lower()] then return end
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  add("User-Agent", "moonring")
  add("Accept", "*/*")
  local decompress = options.decompress ~= false and not names["accept-encoding"]
  if decompress then add("Accept-Encoding", "gzip, deflate") end
  if content_type then add("Content-Type", content_type) end
  if options.expect_continue then add("Expect", "100-continue") end
  return {
    url = url,
    method = options.method or body and "POST" or "GET",
    fields = fields,
    names = names,
    body = body,
    content_length = options.content_length,
    expect_continue = options.expect_continue,
    decompress = decompress,
    user = options.user or url.user or self.user,
    password = options.user and options.password or url.user and url.password or self.password,
    origin = url,
  }
end

-- What goes out for one exchange.
local function wire_request(self, request)
  local url, body = request.url, request.body
  local fields = { unpack(request.fields) }
  if request.user and not request.names.authorization and urls.is_same_origin(url, request.origin) then
    fields[#fields + 1], fields[#fields + 2] = "Authorization", basic(request.user, request.password)
  end
  local target = url.target
  if self.proxy then
    target = urls.format(url)
    if self.proxy.user then
      fields[#fields + 1], fields[#fields + 2] = "Proxy-Authorization", basic(self.proxy.user, self.proxy.password)
    end
  end
  local is_stream = type(body) == "function"
  return {
    method = request.method,
    target = target,
    host = urls.authority_of(url),
    fields = fields,
    body = body,
    content_length = is_stream and request.content_length or not is_stream and body and #body or nil,
    chunked = is_stream and not request.content_length,
    expect_continue = request.expect_continue and body ~= nil,
  }
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
  local server = self.proxy or request.url
  local key = server.host .. ":" .. server.port
  local connection, was_used, code = self.pool:acquire(key, server, is_new)
  if not connection then return nil, was_used, code end
  local exchange = exchanges.new(connection, request.method, self.limits)
  local ok, done, message
  ok, done, message, code = pcall(start, exchange, wire_request(self, request))
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

-- Redirects (RFC 9110 section 15.4) --------------------------------------------------------------------------------------

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local CROSSING = { authorization = true, cookie = true, ["proxy-authorization"] = true }
local OF_CONTENT = { ["content-type"] = true, ["content-encoding"] = true, ["content-language"] = true,
  ["content-location"] = true, expect = true }

local function without(fields, unwanted)
  local out = {}
  for i = 1, #fields, 2 do
    if not unwanted[fields[i]:lower()] then out[#out + 1], out[#out + 2] = fields[i], fields[i + 1] end
  end
  return out
end

-- The request that a redirect asks for; nil when it can't be followed.
local function redirected(request, status, location)
  local url = urls.resolve(request.url, location)
  if not url then return nil end
  local next_request = setmetatable({ url = url }, { __index = request })
  local becomes_get = status == 303 and request.method ~= "HEAD"
    or (status == 301 or status == 302) and request.method == "POST"
  if becomes_get then
    next_request.method, next_request.body, next_request.expect_continue = "GET", false, false
    next_request.fields = without(request.fields, OF_CONTENT)
  elseif type(request.body) == "function" then
    return nil -- it can't be written twice
  end
  -- What was meant for one server is not told to another.
  if not urls.is_same_origin(url, request.url) then next_request.fields = without(next_request.fields, CROSSING) end
  return next_request
end

local function location_of(exchange)
  local fields = exchange.fields
  if not REDIRECTS[exchange.status] then return nil end
  for i = 1, #fields, 2 do
    if fields[i]:lower() == "location" then return fields[i + 1] end
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
    local location = redirects_max > 0 and location_of(exchange)
    local next_request = location and redirected(request, exchange.status, location)
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
  local coding
  for i = 1, #exchange.fields, 2 do
    if exchange.fields[i]:lower() == "content-encoding" then coding = exchange.fields[i + 1] end
  end
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
    response.source, response.is_decompressed = responses.decode(source, coding)
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
  local request = prepare(self, options)
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

--- The value of Authorization for a user and a password (RFC 7617).
M.basic = basic

return M
