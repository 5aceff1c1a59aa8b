--- moonring.http.client.request: what goes out: a request as its caller asked for it, the bytes of one exchange, and what
--- a redirect makes of it. Opens nothing.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local clock = require "moonring.clock"
local codec = require "moonring.http.codec"
local base64 = require "moonring.http.codec.base64"
local urls = require "moonring.http.client.url"

local M = {}

local REQUEST_OPTIONS = { url = "string", method = "string", headers = "table", query = "table", body = true,
  content_length = "number", form = "table", json = true, expect_continue = "boolean", stream = "boolean",
  decompress = "boolean", redirects = "number", max_bytes = "number", user = "string", password = "string" }

--- Takes a URL apart; raises "argument" for what is none.
---@param what string the public function it was given to
---@param text string
---@return moonring.http.Url
function M.parse_url(what, text)
  local url, message = urls.parse(text)
  if not url then errors.raise("argument", "%s: %s", what, message) end
  return url
end

--- The value of Authorization for a user and a password (RFC 7617).
---@param user string
---@param password? string
---@return string
function M.basic(user, password)
  return "Basic " .. base64(user .. ":" .. (password or ""))
end
local basic = M.basic

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

-- The URL of a request, which is its own to change: absolute, or relative to the session's.
local function url_of(session, text, query)
  local base, url = session.base, nil
  if text and text:find "^%a[%w+.-]*:" then
    url = M.parse_url("http.request", text)
  elseif not base then
    errors.raise("argument", "http.request: %s is no absolute URL, and the session has no base_url", tostring(text))
  else
    local message
    url, message = urls.resolve(base, text or "")
    if not url then errors.raise("argument", "http.request: %s", message) end
    if urls.is_same_origin(url, base) then url.user, url.password = base.user, base.password end
  end
  url.target = with_query(url.target, query)
  return url
end

-- User and password: the request's own, its URL's, or the session's where they are meant for that server.
local function credentials_of(session, options, url)
  if options.user then return options.user, options.password end
  if url.user then return url.user, url.password end
  if not session.user then return nil end
  session.origin = session.origin or session.base or url
  if urls.is_same_origin(url, session.origin) then return session.user, session.password end
end

-- Takes a field out of the list. Result: its value.
local function take_field(fields, names, name)
  if not names[name] then return nil end
  for i = 1, #fields, 2 do
    if tostring(fields[i]):lower() == name then
      table.remove(fields, i)
      return table.remove(fields, i)
    end
  end
end

--- Everything about a request that stays the same over redirects. Raises "argument" for what can't be sent.
---@param session moonring.http.Session
---@param options moonring.http.RequestOptions
---@return table request
function M.prepare(session, options)
  errors.check_options("http.request", options, REQUEST_OPTIONS)
  local url = url_of(session, options.url, options.query)
  local body, content_type = content_of(options)
  local fields, names = flatten(options.headers or {}, session.headers)
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
  local user, password = credentials_of(session, options, url)
  return {
    url = url,
    host = take_field(fields, names, "host"),
    method = options.method or body and "POST" or "GET",
    fields = fields,
    names = names,
    body = body,
    content_length = options.content_length,
    expect_continue = options.expect_continue,
    decompress = decompress,
    user = user,
    password = password,
    origin = url,
  }
end

--- What goes out for one exchange.
---@param session moonring.http.Session
---@param request table
---@param proxy? moonring.http.Url
---@return moonring.http.WireRequest
function M.wire(session, request, proxy)
  local url, body = request.url, request.body
  local fields = { unpack(request.fields) }
  local function add(name, value)
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  local is_at_origin = urls.is_same_origin(url, request.origin)
  if request.user and not request.names.authorization and is_at_origin then
    add("Authorization", basic(request.user, request.password))
  end
  local cookie = session.jar and not request.names.cookie and session.jar:field_for(url, clock.wall())
  if cookie then add("Cookie", cookie) end
  if proxy and proxy.user then add("Proxy-Authorization", basic(proxy.user, proxy.password)) end
  local is_stream = type(body) == "function"
  return {
    method = request.method,
    target = proxy and urls.format(url) or url.target,
    host = is_at_origin and request.host or urls.authority_of(url),
    fields = fields,
    body = body,
    content_length = is_stream and request.content_length or not is_stream and body and #body or nil,
    chunked = is_stream and not request.content_length,
    expect_continue = request.expect_continue and body ~= nil,
  }
end

-- Redirects (RFC 9110 section 15.4) ----------------------------------------------------------------------------------

M.REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
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

--- The request that a redirect asks for; nil when it can't be followed.
---@param request table
---@param status integer
---@param location string
---@return table? request
function M.redirected(request, status, location)
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

return M
