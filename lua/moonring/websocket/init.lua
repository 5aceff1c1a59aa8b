-- moonring.websocket: WebSockets (RFC 6455), with compression (RFC 7692) where both sides want it.
--
-- A server changes an HTTP request into one with upgrade, a client opens one with connect; both get the same object.

local errors = require "moonring.errors"
local urls = require "moonring.http.client.url"
local handshake = require "moonring.websocket.handshake"
local deflate = require "moonring.websocket.deflate"
local session = require "moonring.websocket.session"
local prepared = require "moonring.websocket.prepared"

local M = {}

---@class moonring.websocket.Options
---@field protocols? string[] subprotocols: those spoken, the best first; or those offered
---@field compress? moonring.websocket.DeflateOptions|true agree on permessage-deflate where the other side can; default no
---@field max_message_bytes? integer of a received message; default 1 MiB
---@field ping_interval? number seconds of silence after which the peer is pinged, and as many later given up

---@class moonring.websocket.UpgradeOptions: moonring.websocket.Options
---@field origins? string[]|fun(origin: string?): boolean which pages may open one: their origins ("https://example.org"),
--- which browsers tell. Without it every page may
---@field headers? table<string, string> further fields of the answer

---@class moonring.websocket.ConnectOptions: moonring.websocket.Options
---@field headers? table<string, string> further fields of the request, such as Origin and Authorization

local COMMON = { protocols = "table", compress = true, max_message_bytes = "number", ping_interval = "number",
  headers = "table" }
local OF_UPGRADE = setmetatable({ origins = true }, { __index = COMMON })

local function check_options(what, options, known)
  errors.check_options(what, options, known)
  if options.protocols then handshake.check_protocols(options.protocols) end
  return options.compress and deflate.options(options.compress)
end

-- The value of a field, several of one name joined as a list.
local function joined(values)
  return values[1] and table.concat(values, ", ") or nil
end

-- The server's side ---------------------------------------------------------------------------------------------------

local function is_allowed(origins, origin)
  if not origins then return true end
  if type(origins) == "function" then return origins(origin) end
  for _, each in ipairs(origins) do
    if each == origin then return true end
  end
  return false
end

local UPGRADE_REQUIRED = { ["Sec-WebSocket-Version"] = handshake.VERSION, Upgrade = "websocket" } -- RFC 9110 section 15.5.22

local function refuse(response, status, message)
  response:send(status, message .. "\n", status == 426 and UPGRADE_REQUIRED or nil)
  return nil, "websocket: " .. message, "EPROTO"
end

local function agreement_for(compress, value)
  local offers = compress and value and handshake.parse_extensions(value)
  if offers then return deflate.accept(offers, compress) end
end

--- Makes a WebSocket of an HTTP request that asks for one. Anything else is answered with the right status, and then
--- nil, message, code are returned. The handler goes on with the WebSocket; when it ends the connection is closed.
---
--- With `serve` the handler returns at once, and serve(socket) goes on when the request is over and nothing of it is held
--- any more, which takes half the memory for a connection that lasts.
---@param request moonring.http.Request
---@param response moonring.http.Response
---@param options? moonring.websocket.UpgradeOptions
---@param serve? fun(socket: moonring.WebSocket)
---@return moonring.WebSocket|true|nil socket true with `serve`
---@return string? message
---@return string? code "EPROTO"
function M.upgrade(request, response, options, serve)
  options = options or {}
  local compress = check_options("websocket.upgrade", options, OF_UPGRADE)
  local function field(name)
    return joined(request:header_all(name))
  end
  local key, status, message = handshake.check_request(request.method, field)
  if not key then return refuse(response, status, message) end
  if not request.upgrades then return refuse(response, 400, "a WebSocket is opened by HTTP/1.1") end -- RFC 6455 section 4.1
  if request.content_length ~= 0 then return refuse(response, 400, "a request for a WebSocket has no content") end
  if not is_allowed(options.origins, request:header "origin") then
    return refuse(response, 403, "this page may not open a WebSocket here")
  end
  local agreement, answer = agreement_for(compress, field "sec-websocket-extensions")
  local protocol = handshake.choose_protocol(field "sec-websocket-protocol", options.protocols)
  local fields = {}
  for name, value in pairs(options.headers or {}) do
    fields[name] = value
  end
  fields["Sec-WebSocket-Accept"] = handshake.accept_of(key)
  fields["Sec-WebSocket-Protocol"] = protocol
  fields["Sec-WebSocket-Extensions"] = answer and handshake.format_extension(answer)
  local function open(connection, unread)
    return session.new(connection, {
      role = "server",
      protocol = protocol,
      agreement = agreement,
      compress = compress,
      max_message_bytes = options.max_message_bytes,
      ping_interval = options.ping_interval,
      rest = unread,
    })
  end
  if not serve then return open(response:upgrade("websocket", fields)) end
  response:upgrade("websocket", fields, function(connection, unread) return serve(open(connection, unread)) end)
  return true
end

-- The client's side ---------------------------------------------------------------------------------------------------

local function parse_url(text)
  local http_text, count = tostring(text):gsub("^[wW][sS]", "http", 1)
  local url, message
  if count == 1 then
    url, message = urls.parse(http_text)
  else
    message = ("%q is no WebSocket URL: ws://host/path is needed"):format(tostring(text))
  end
  if not url then errors.raise("argument", "websocket.connect: %s", message) end
  return url
end

-- Looks at the server's answer. Result: true, protocol, agreement; or nil, message, code.
local function check_answer(exchange, key, options, compress)
  local function field(name)
    local values = {}
    for i = 1, #exchange.fields, 2 do
      if exchange.fields[i]:lower() == name then values[#values + 1] = exchange.fields[i + 1] end
    end
    return joined(values)
  end
  local ok, protocol, code = handshake.check_response(exchange.status, field, key, options.protocols)
  if not ok then return nil, protocol, code end
  local value = field "sec-websocket-extensions"
  if not value then return true, protocol end
  local extensions = handshake.parse_extensions(value)
  local agreement = compress and extensions and not extensions[2] and deflate.read_answer(extensions[1], compress)
  if not agreement then
    return nil, ("websocket: the server has chosen extensions that were not offered: %s"):format(value), "EPROTO"
  end
  return true, protocol, agreement
end

local function request_fields(key, url, options, compress)
  local fields = { "Sec-WebSocket-Key", key, "Sec-WebSocket-Version", handshake.VERSION }
  local function add(name, value)
    if value then fields[#fields + 1], fields[#fields + 2] = name, value end
  end
  add("Sec-WebSocket-Protocol", options.protocols and table.concat(options.protocols, ", "))
  add("Sec-WebSocket-Extensions", compress and handshake.format_extension(deflate.offer(compress)))
  add("Authorization", url.user and require("moonring.http.client").basic(url.user, url.password))
  for name, value in pairs(options.headers or {}) do
    add(name, value)
  end
  return fields
end

--- Opens a WebSocket. It is the caller's to close: let a scope own it.
---@param url string ws://host/path
---@param options? moonring.websocket.ConnectOptions
---@return moonring.WebSocket? socket
---@return string? message
---@return string? code "ECONNREFUSED" ...; "EPROTO" when the server does not agree
function M.connect(url, options)
  options = options or {}
  local compress = check_options("websocket.connect", options, COMMON)
  local where, key = parse_url(url), handshake.new_key()
  local client = require "moonring.http.client"
  local connection, exchange, code = client.upgrade(where, "websocket", request_fields(key, where, options, compress))
  if not connection then return nil, ("websocket %s: %s"):format(url, exchange), code end
  local ok, protocol, agreement = check_answer(exchange, key, options, compress)
  if not ok then
    connection:close(0)
    return nil, protocol, agreement
  end
  return session.new(connection, {
    role = "client",
    protocol = protocol,
    agreement = agreement,
    compress = compress,
    max_message_bytes = options.max_message_bytes,
    ping_interval = options.ping_interval,
    rest = connection:input_buffer(),
  })
end

M.prepare = prepared.new
M.broadcast = prepared.broadcast

return M
