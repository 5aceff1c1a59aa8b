-- A length-prefixed request/response protocol over TCP, with client and server: a message is an id, a kind and a body.
--   moonring examples/binary_protocol.lua [port]       serves
--   moonring examples/binary_protocol.lua port text... asks a server to turn each text round
local buffer = require "moonring.buffer"
local net = require "moonring.net"

local message = buffer.struct { { "id", "u32" }, { "kind", "u8" }, { "length", "u24" }, { "body", "bytes", "length" } }
local REQUEST, RESPONSE, BODY_MAX = 1, 2, 65536

-- Waits for the next message; nil at the end of the stream.
local function receive(connection, chain)
  while true do
    local received = message:try_read(chain)
    if received then return received end
    local piece = connection:read()
    if not piece then return nil end
    chain:append(piece)
  end
end

local function send(connection, id, kind, body)
  local out = buffer.allocate(message.size + #body)
  message:write(out, { id = id, kind = kind, body = body })
  local ok, failure = connection:write(out:reset_for_read())
  out:release()
  return ok, failure
end

if arg[2] then
  local connection, chain = assert(net.connect { port = tonumber(arg[1]) }), buffer.chain()
  for i = 2, #arg do send(connection, i - 1, REQUEST, arg[i]) end
  for _ = 2, #arg do
    local response = assert(receive(connection, chain), "the server has left")
    print(response.id, response.body)
  end
else
  local listener = assert(net.listen { port = tonumber(arg[1]) or 7009 })
  print("serving on " .. tostring(listener:address()))
  net.serve(listener, function(connection)
    local chain = buffer.chain { max_bytes = message.size + BODY_MAX + 65536 }
    for request in function() return receive(connection, chain) end do
      if request.kind == REQUEST then send(connection, request.id, RESPONSE, request.body:reverse()) end
    end
  end)
end
