-- A DNS server for a zone of its own, over UDP and TCP.
--   moonring examples/dns_server.lua [port]       then: dig -p 5300 @127.0.0.1 www.moon.test
local moonring, net = require "moonring", require "moonring.net"
local buffer, codec = require "moonring.buffer", require "moonring.dns.codec"

local SOA = { name = "moon.test", type = "SOA", ttl = 60, primary = "ns.moon.test", mailbox = "admin.moon.test", serial = 1,
  refresh = 3600, retry = 600, expire = 86400, minimum = 30 }
local texts = {}
for i = 1, 40 do texts[i] = ("line %d of an answer that is too long for UDP"):format(i) end
local records = {
  SOA,
  { name = "moon.test", type = "NS", ttl = 60, target = "ns.moon.test" },
  { name = "moon.test", type = "MX", ttl = 60, preference = 10, exchange = "www.moon.test" },
  { name = "ns.moon.test", type = "A", ttl = 60, address = "127.0.0.1" },
  { name = "www.moon.test", type = "A", ttl = 60, address = "192.0.2.1" },
  { name = "www.moon.test", type = "AAAA", ttl = 60, address = "2001:db8::1" },
  { name = "alias.moon.test", type = "CNAME", ttl = 60, target = "www.moon.test" },
  { name = "long.moon.test", type = "TXT", ttl = 60, strings = texts },
}

-- Adds what there is under a name, and under what it is an alias of. Returns whether the name exists.
local function look_up(name, kind, answers)
  local exists = false
  for _, record in ipairs(records) do
    if record.name == name:lower() then
      exists = true
      if record.type == kind or kind == "ANY" then
        answers[#answers + 1] = record
      elseif record.type == "CNAME" then
        answers[#answers + 1] = record
        look_up(record.target, kind, answers)
      end
    end
  end
  return exists
end

-- The answer to a message as a buffer; nil for what is none of ours.
local function answer(message, max)
  local query = codec.decode(message)
  if not query or query.is_response then return nil end
  local reply, question = codec.reply_to(query), query.questions[1]
  reply.is_authoritative = true
  if query.opcode ~= 0 or not question then
    reply.rcode = "NOTIMP"
  elseif not ("." .. question.name:lower()):find("%.moon%.test$") then
    reply.rcode = "REFUSED"
  else
    if not look_up(question.name, question.type, reply.answers) then reply.rcode = "NXDOMAIN" end
    if not reply.answers[1] then reply.authorities[1] = SOA end
  end
  return codec.encode_new(reply, max or math.max(codec.UDP_BYTES, query.edns and math.min(query.edns.size, 1232) or 0))
end

local listener = assert(net.listen { port = tonumber(arg[1]) or 5300 })
local socket = assert(net.datagram { host = "127.0.0.1", port = listener.port, max_bytes = 4096 })
print("dns on " .. tostring(socket:address()))

moonring.spawn(net.serve, listener, function(connection) -- TCP: each message behind its length
  local chain = buffer.chain { max_bytes = 131072 }
  for piece in connection:chunks() do
    chain:append(piece)
    while chain:available() >= 2 and chain:available() >= 2 + chain:peek_u16() do
      local reply = answer(chain:read_string(chain:read_u16()), codec.MESSAGE_MAX)
      if not reply then return end
      connection:write(string.char(math.floor(reply.limit / 256), reply.limit % 256))
      connection:write(reply)
      reply:release()
    end
  end
end)

for message, from in socket:datagrams() do
  local reply = answer(message)
  if reply then
    socket:send(reply, from)
    reply:release()
  end
end
