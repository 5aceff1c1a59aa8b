-- The server of scripts/bench/websocket: holds WebSockets, and once per second sends all of them the time. Prints what
-- it holds.

local moonring, http, websocket = require "moonring", require "moonring.http", require "moonring.websocket"

local sockets, count = {}, 0

local server = assert(http.server { port = tonumber(arg[1]) or 0 })
moonring.every(1, function()
  if count == 0 then return end
  local now = ("%020.0f"):format(moonring.now() * 1e9)
  local sent, skipped = websocket.broadcast(sockets, now)
  local stats = moonring.stats()
  io.stderr:write(("held %d sent %d skipped %d lua_bytes %.0f chunk_bytes %.0f slab_bytes %.0f\n"):format(count, sent,
    skipped, collectgarbage "count" * 1024, stats.memory.chunk_bytes, stats.memory.slab_bytes))
end)
print("port " .. server.port)
local function hold(socket)
  sockets[socket], count = socket, count + 1
  for _ in socket:messages() do end
  sockets[socket], count = nil, count - 1
end

server:serve(function(request, response) websocket.upgrade(request, response, nil, hold) end)
