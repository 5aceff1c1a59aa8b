-- A chat over WebSockets, and the page for it. What one says goes to all; a slow reader holds up nobody.
--   moonring examples/websocket_chat.lua [port]     then open http://localhost:8080/
local http, websocket = require "moonring.http", require "moonring.websocket"

local port = tonumber(arg[1] or 8080) or error("usage: websocket_chat.lua [port]", 0)
local page = [==[
<!doctype html><meta charset="utf-8"><title>moonring chat</title>
<h1>Chat</h1><form><input id="line" autofocus autocomplete="off" placeholder="say something"></form><ul id="said"></ul>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "chat")
  const show = text => {
    const item = document.createElement("li")
    item.textContent = text
    document.getElementById("said").append(item)
  }
  socket.onmessage = event => show(event.data)
  socket.onclose = () => show("the chat is over: " + location.host + " does not answer")
  document.forms[0].onsubmit = event => {
    const line = document.getElementById("line")
    socket.send(line.value)
    line.value = ""
    event.preventDefault()
  }
</script>]==]

local sockets = {}

local function chat(socket)
  sockets[socket] = socket
  for line in socket:messages() do
    websocket.broadcast(sockets, line)
  end
  sockets[socket] = nil
end

local server = assert(http.server { port = port })
print("chat on http://localhost:" .. server.port .. "/")
server:serve(function(request, response)
  if request.path == "/chat" then
    return websocket.upgrade(request, response, { ping_interval = 30, max_message_bytes = 4096 }, chat)
  end
  response:send(200, page, { ["Content-Type"] = "text/html; charset=utf-8" })
end)
