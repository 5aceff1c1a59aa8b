-- A DNS server on 127.0.0.1 for specs, over UDP and TCP: answers are what a function of the spec says.

local moonring = require "moonring"
local buffer = require "moonring.buffer"
local net = require "moonring.net"
local codec = require "moonring.dns.codec"

local M = {}

local started = setmetatable({}, { __mode = "k" }) -- by scope: the tasks of its servers

-- The bytes of what a handler has returned: a message, or bytes as they are.
local function encoded(reply, max)
  if type(reply) == "string" then return reply end
  local made = codec.encode_new(reply, max)
  local text = made:to_string()
  made:release()
  return text
end

local function reply_to(server, query, transport, max)
  local name = query.questions[1].name:lower() .. " " .. query.questions[1].type
  server.asked[#server.asked + 1] = name
  server.counts[name] = (server.counts[name] or 0) + 1
  if transport == "tcp" then server.over_tcp = server.over_tcp + 1 end
  local reply = server.handler(query, codec.reply_to(query), transport)
  return reply and encoded(reply, max)
end

local function serve_tcp(server, connection)
  local chain = buffer.chain { max_bytes = 131072 }
  for piece in connection:chunks() do
    chain:append(piece)
    while chain:available() >= 2 and chain:available() >= 2 + chain:peek_u16() do
      local query = assert(codec.decode(chain:read_string(chain:read_u16())))
      local reply = reply_to(server, query, "tcp", 65535)
      if reply then connection:write(string.char(math.floor(#reply / 256), #reply % 256) .. reply) end
    end
  end
end

--- Starts a server in a scope. handler(query, reply, transport) gets the query and the beginning of an answer, and
--- returns a message, a string of bytes, or nil for no answer at all. `counts` says how often each "name TYPE" was
--- asked for.
function M.start(scope, handler)
  local server = { handler = handler, asked = {}, counts = {}, over_tcp = 0 }
  local socket, listener
  repeat -- a port that is free for both
    socket = assert(net.datagram { host = "127.0.0.1", port = 0 })
    listener = net.listen { port = socket.port }
    if not listener then socket:close() end
  until listener
  scope:own(listener) -- net.serve owns it only once it runs
  server.socket, server.address = scope:own(socket), "127.0.0.1:" .. socket.port
  local tasks = started[scope] or {}
  started[scope] = tasks
  tasks[#tasks + 1] = scope:spawn(net.serve, listener, function(connection)
    serve_tcp(server, connection)
  end):named "dns over tcp"
  tasks[#tasks + 1] = scope:spawn(function()
    for datagram, from in socket:datagrams() do
      local query = assert(codec.decode(datagram))
      local reply = reply_to(server, query, "udp", 512)
      if reply then socket:send(reply, from) end
    end
  end):named "dns over udp"
  return server
end

--- The handler of a zone: from "name TYPE" to a list of records without their name and type.
function M.zone(records, soa)
  return function(query, reply)
    local question = query.questions[1]
    local name, exists = question.name:lower(), false
    for key, list in pairs(records) do
      local owner, type = key:match("^(%S+) (%S+)$")
      if owner == name then
        exists = true
        if type == question.type or type == "CNAME" then
          for _, record in ipairs(list) do
            local copy = { name = owner, type = type, ttl = 60 }
            for field, value in pairs(record) do
              copy[field] = value
            end
            reply.answers[#reply.answers + 1] = copy
          end
        end
      end
    end
    if not exists then reply.rcode = "NXDOMAIN" end
    if not reply.answers[1] and soa then reply.authorities[1] = soa end
    return reply
  end
end

--- Runs body(scope, server) with a server, for 20 seconds at most. Servers that body starts in the scope end with it.
function M.with(handler, body)
  return moonring.scope(function(scope)
    scope:deadline(20)
    local server = M.start(scope, handler)
    local ok, failure = pcall(body, scope, server)
    for _, each in ipairs(started[scope]) do
      each:cancel()
    end
    if not ok then error(failure, 0) end
  end)
end

return M
