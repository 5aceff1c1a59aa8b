--- moonring.http.request: what a handler sees of a request.
--
-- Method, target and fields are offsets into the received bytes until somebody asks. A handle is a table, so
-- middleware may set fields of its own on it: `request.user = ...`.

local errors = require "moonring.errors"
local codec = require "moonring.http.codec"
local parameters = require "moonring.http.codec.parameters"
local exchanges = require "moonring.http.exchange"
local forwarded = require "moonring.http.forwarded"

local live, read_body, note_refusal = exchanges.live, exchanges.read_body, exchanges.note_refusal

---@class moonring.http.Request
---@field method string
---@field target string as sent
---@field path string the target up to the query, as sent: percent-encoded
---@field query? string behind the first "?", as sent
---@field query_parameters table<string, string> of the query, decoded; of several with one name the first
---@field host? string the authority that is asked: Host, or that of an absolute target
---@field content_length? integer bytes of the body; nil when it comes in chunks
---@field version string "1.1" or "1.0"
---@field cookies table<string, string>
---@field peer? moonring.Address the other end of the connection: the client, or the proxy before it
---@field client? string the client's IP address: that of the peer, or what trusted proxies say; nil on a Unix socket
---@field scheme string "http", or what a trusted proxy says: "https"
---@field upgrades boolean the client offers to change to the protocol that its field Upgrade names
---@field parameters? table<string, string> of the route, set by a router
local Request = { __name = "moonring.http.Request" }

local M = { Request = Request }

--- The value of the first field of that name, in any case; nil when there is none.
---@param name string
---@return string?
function Request:header(name)
  return live(self, "request:header").head:field(name)
end

--- The values of all fields of that name, in their order.
---@param name string
---@return string[]
function Request:header_all(name)
  return live(self, "request:header_all").head:field_all(name)
end

--- Iterates over all header fields as sent: `for name, value in request:headers() do`.
function Request:headers()
  return live(self, "request:headers").head:fields()
end

-- The query's pairs, kept on the handle.
local function query_pairs(self)
  local list = rawget(self, "query_pairs")
  if not list then
    list = codec.parse_pairs(self.query or "") or {}
    rawset(self, "query_pairs", list)
  end
  return list
end

--- The first value of a name in the query, decoded.
---@param name string
---@return string?
function Request:parameter(name)
  return self.query_parameters[name]
end

--- All values of a name in the query, decoded.
---@param name string
---@return string[]
function Request:parameter_all(name)
  live(self, "request:parameter_all")
  return codec.values_of(query_pairs(self), name)
end

--- A trailer field's value, after a body has been read to its end.
---@param name string
---@return string?
function Request:trailer(name)
  local body = live(self, "request:trailer").body
  local trailers = body and body.trailers or {}
  for number = 1, #trailers, 2 do
    if trailers[number]:lower() == name:lower() then return trailers[number + 1] end
  end
end

--- Waits for the next part of the body. The buffer is lent until the next part is read or the handler ends.
---@return moonring.Buffer? part nil at the end of the body
---@return string? message when the client has left before it, or what it sends can't be read
---@return string? code "ECONNRESET", "EBADMSG", "EMSGSIZE" ...
function Request:read()
  return read_body(live(self, "request:read"))
end

--- Bounds the body of this request, below the server's limit body_bytes: for routes that take less, and before it is read.
--- What is longer is then told to whoever reads it, and answered with 413.
---@param max number bytes
---@return moonring.http.Request self
function Request:limit_body(max)
  local exchange = live(self, "request:limit_body")
  if type(max) ~= "number" or max ~= max or max < 0 then
    errors.raise("argument", "request:limit_body: a number of bytes is needed, not %s", tostring(max))
  end
  if exchange.body_open then exchange.body:limit(max) end
  return self
end

local function next_chunk(self)
  return exchanges.raise_failure(self:read())
end

--- Iterates over the parts of the body. A body that is cut or can't be read is raised, because a loop would end as if it
--- were whole; left alone, that becomes the answer: 400, 413.
function Request:chunks()
  return next_chunk, self
end

--- The whole body, or what is left of it, as a string, of at most `max` bytes (else the server's limit body_bytes).
---@param max? integer bytes
---@return string? body
---@return string? message
---@return string? code "EMSGSIZE" when it is longer
function Request:body(max)
  local exchange = live(self, "request:body")
  local parts, size = {}, 0
  while true do
    local part, message, code = read_body(exchange)
    if not part then
      if message then return nil, message, code end
      return table.concat(parts)
    end
    size = size + part:remaining()
    if max and size > max then
      message = ("body longer than %d bytes"):format(max)
      note_refusal(exchange, 413, message)
      return nil, message, "EMSGSIZE"
    end
    parts[#parts + 1] = part:to_string()
  end
end

-- The media type of the content, lower case, and its parameters as sent.
local function content_type(self)
  local value = self:header "content-type" or ""
  local media, rest = value:match "^%s*([^;%s]*)%s*(.*)$"
  return media:lower(), rest
end

local function unsupported(exchange, wanted, media)
  local message = ("the content is %s, not %s"):format(media == "" and "of no type" or media, wanted)
  note_refusal(exchange, 415, message)
  return nil, message, "EPROTOTYPE"
end

local function unreadable(exchange, message)
  note_refusal(exchange, 400, message)
  return nil, message, "EBADMSG"
end

--- The fields of a form (application/x-www-form-urlencoded), of at most `max` bytes: the first value of each name, and the
--- list of all pairs: name, value, name, value ...
---@param max? integer bytes
---@return table<string, string>? values
---@return string[]|string pairs or message
---@return string? code "EPROTOTYPE" when it is no form
function Request:form(max)
  local exchange = live(self, "request:form")
  local media = content_type(self)
  if media ~= "application/x-www-form-urlencoded" then return unsupported(exchange, "a form", media) end
  local text, message, code = self:body(max)
  if not text then return nil, message, code end
  local list, problem = codec.parse_pairs(text)
  if not list then return unreadable(exchange, problem) end
  return codec.first_values(list), list
end

--- The value of a JSON body of at most `max` bytes. null is moonring.http.json.null, inside of arrays and objects too.
---@param max? integer bytes
---@return any value nil where it can't be read; nothing valid is nil
---@return string? message
---@return string? code "EPROTOTYPE" when it is not JSON by its type, "EBADMSG" when it is malformed
function Request:json(max)
  local exchange = live(self, "request:json")
  local media = content_type(self)
  if media ~= "application/json" and not media:find("+json", 1, true) then return unsupported(exchange, "JSON", media) end
  local text, message, code = self:body(max)
  if not text then return nil, message, code end
  local value, problem = require("moonring.http.json").decode(text)
  if value == nil then return unreadable(exchange, problem) end
  return value
end

--- The parts of multipart/form-data: `for part in request:multipart() do`. Each part is to be read, or is passed over,
--- before the next one; see moonring.http.multipart. In a loop what can't be read is raised, and what is no such form,
--- too; left alone that becomes the answer: 400, 413, 415. `parts:next()` returns it.
---@param limits? moonring.http.MultipartLimits
---@return moonring.http.Parts
function Request:multipart(limits)
  local exchange = live(self, "request:multipart")
  local multipart = require "moonring.http.multipart"
  local media, rest = content_type(self)
  if media ~= "multipart/form-data" then
    return multipart.parts(self, nil, limits, { select(2, unsupported(exchange, "multipart/form-data", media)) })
  end
  local boundary = parameters.parse(rest).boundary
  if not multipart.is_boundary(boundary) then
    return multipart.parts(self, nil, limits, { select(2, unreadable(exchange, "the form has no valid boundary")) })
  end
  return multipart.parts(self, boundary, limits)
end

local computed = {
  method = function(head) return head:method() end,
  target = function(head) return head:target() end,
  path = function(head) return (codec.split_target(head:target())) end,
  query = function(head) return (select(2, codec.split_target(head:target()))) end,
  -- RFC 9112 section 3.2.2: the authority of an absolute target counts, whatever Host says.
  host = function(head) return select(3, codec.split_target(head:target())) or head:field "host" end,
  content_length = function(head) return head.content_length end,
  version = function(head) return head.minor_version == 1 and "1.1" or "1.0" end,
  upgrades = function(head) return head.upgrade end,
}

-- The server's networks of proxies, where the peer is in one.
local function trusted_networks(self)
  local networks = self[1].server.trusted_proxies
  return networks and forwarded.is_from_proxy(networks, self.peer) and networks
end

-- The same that are worth keeping on the handle.
local kept = {
  peer = function(self)
    local connection = self[1].connection
    return connection.slot and connection:peer() or nil
  end,
  client = function(self)
    local networks = trusted_networks(self)
    local client = networks and forwarded.client_of(networks, self:header_all "x-forwarded-for")
    return client or self.peer and self.peer.host
  end,
  scheme = function(self)
    local told = trusted_networks(self) and self:header "x-forwarded-proto"
    return told and told:lower() == "https" and "https" or "http"
  end,
  query_parameters = function(self) return codec.first_values(query_pairs(self)) end,
  cookies = function(self) return codec.parse_cookies(table.concat(self:header_all "cookie", "; ")) end,
}

function Request:__index(key)
  local method = Request[key]
  if method then return method end
  local compute = computed[key]
  if compute then return compute(live(self, "request." .. key).head) end
  compute = kept[key]
  if compute then
    live(self, "request." .. key)
    local value = compute(self)
    rawset(self, key, value)
    return value
  end
end

function Request:__tostring()
  if self[1].serial ~= self[2] then return "moonring.http.Request(ended)" end
  return ("moonring.http.Request(%s %s)"):format(self.method, self.target)
end

return M
