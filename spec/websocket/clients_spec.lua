-- WebSockets with other people's ends: node's ws package, and a browser.

local moonring = require "moonring"
local http = require "moonring.http"
local websocket = require "moonring.websocket"
local process = require "spec.support.process"

local PROGRAM = "env NODE_PATH=/usr/share/nodejs node spec/support/clients/websocket.js "

local ways = { ["plain"] = false, ["compressed"] = true, ["compressed with context"] = { context_takeover = true } }

describe("websocket and node's ws", function()
  for name, compress in pairs(ways) do
    it("agree, ws being the client, " .. name, function()
      moonring.scope(function(scope)
        local server = scope:own(assert(http.server { port = 0 }))
        local closed
        scope:spawn(function()
          server:serve(function(request, response)
            local socket = assert(websocket.upgrade(request, response,
              { compress = compress or nil, protocols = { "second" } }))
            for message, kind in socket:messages() do
              socket:send(message, kind)
            end
            closed = { socket.close_code, socket.close_reason }
          end)
        end)
        local child = process.start(scope, PROGRAM .. "client ws://127.0.0.1:" .. server.port .. "/")
        child:expect("echoed 14 pongs 1 closed 4001 enough protocol second extensions " ..
          (compress and "permessage%-deflate" or "\n"), 20)
        assert.same({ 4001, "enough" }, closed)
        server:close()
      end)
    end)
  end

  for name, compress in pairs(ways) do
    it("agree, ws being the server, " .. name, function()
      moonring.scope(function(scope)
        local child = process.start(scope, PROGRAM .. "server " .. (compress and "deflate" or "plain"))
        local port = child:expect("port (%d+)", 20)
        local socket = assert(websocket.connect("ws://127.0.0.1:" .. port, { compress = compress or nil }))
        assert.equal(compress and "permessage-deflate" or "", socket.extensions)
        for _, size in ipairs { 0, 1, 125, 126, 65535, 65536, 300000 } do
          local text = ("moonring "):rep(math.ceil(size / 9)):sub(1, size)
          for _, kind in ipairs { "text", "binary" } do
            assert(socket:send(text, kind))
            assert.same({ text, kind }, { socket:receive() })
          end
        end
        assert(socket:send "ping me")
        assert.equal("ping me", (socket:receive()))
        socket:close(4000, "done")
        assert.equal(4000, socket.close_code)
      end)
    end)
  end
end)

local has_chromium = os.execute("command -v chromium >/dev/null 2>&1") == 0
local with_chromium = has_chromium and it or pending

-- A page that says its part by itself: the chat's own, with a line typed into it.
local TYPING = [==[
<script>
  socket.onopen = () => {
    document.getElementById("line").value = "said by a browser"
    document.forms[0].requestSubmit()
  }
</script>]==]

describe("examples/websocket_chat.lua", function()
  local function start(scope)
    local child = process.start(scope, process.command("examples/websocket_chat.lua", "0"))
    return child:expect("localhost:(%d+)")
  end

  it("passes what one says on to all", function()
    moonring.scope(function(scope)
      local url = "ws://127.0.0.1:" .. start(scope) .. "/chat"
      local first, second = scope:own(assert(websocket.connect(url))), scope:own(assert(websocket.connect(url)))
      assert(second:send "one")
      assert.equal("one", (second:receive())) -- both are in the chat
      assert.equal("one", (first:receive()))
      assert(first:send "two")
      assert.equal("two", (second:receive()))
    end)
  end)

  with_chromium("works in a browser", function()
    moonring.scope(function(scope)
      local port = start(scope)
      local session = scope:own(http.session())
      local page = assert(session:get("http://127.0.0.1:" .. port .. "/")):body()
      -- The page from a server of ours, so that it types by itself; its WebSocket goes to the chat.
      local server = scope:own(assert(http.server { port = 0 }))
      scope:spawn(function()
        server:serve(function(_, response)
          response:send(200, page:gsub("location%.href%.replace%b()", '"ws://127.0.0.1:' .. port .. '/"') .. TYPING,
            { ["Content-Type"] = "text/html; charset=utf-8" })
        end)
      end)
      local other = scope:own(assert(websocket.connect("ws://127.0.0.1:" .. port .. "/chat")))
      local browser = process.start(scope, ("chromium --headless --no-sandbox --disable-gpu --disable-quic " ..
        "--no-first-run --disable-background-networking --disable-component-update --disable-sync " ..
        "--user-data-dir=$(mktemp -d) " ..
        "--virtual-time-budget=3000 --dump-dom http://127.0.0.1:%d/"):format(server.port))
      local heard = moonring.timeout(30, other.receive, other)
      assert.equal("said by a browser", heard)
      browser:expect("<li>said by a browser</li>", 30)
      server:close()
    end)
  end)
end)
