local moonring = require "moonring"
local net = require "moonring.net"
local http = require "moonring.http"
local websocket = require "moonring.websocket"
local errors = require "moonring.errors"
local handshake = require "moonring.websocket.handshake"
local wire = require "spec.websocket.wire"

-- Runs fn(url, scope) beside a server that makes WebSockets of requests and hands them to `serve`.
local function with_server(options, serve, fn)
  moonring.scope(function(scope)
    local server = scope:own(assert(http.server { port = 0 }))
    scope:spawn(function()
      server:serve(function(request, response)
        local socket = websocket.upgrade(request, response, options)
        if socket then serve(socket) end
      end)
    end)
    fn("ws://127.0.0.1:" .. server.port, scope)
    server:close()
  end)
end

local function echo(socket)
  for message, kind in socket:messages() do
    socket:send(message, kind)
  end
end

-- A request's bytes with some fields changed; false leaves one out.
local function request_bytes(changes)
  local fields = { Host = "x", Upgrade = "websocket", Connection = "keep-alive, Upgrade", ["Sec-WebSocket-Version"] = "13",
    ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==" }
  for name, value in pairs(changes) do
    fields[name] = value
  end
  local lines = { (changes.method or "GET") .. " / HTTP/" .. (changes.version or "1.1") }
  for name, value in pairs(fields) do
    if value and name ~= "method" and name ~= "version" then lines[#lines + 1] = name .. ": " .. value end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function exchange(url, bytes)
  local connection = assert(net.connect { port = tonumber(url:match ":(%d+)$") })
  connection:write(bytes)
  local text = ""
  for input in connection:chunks() do
    text = text .. input:read_string()
    if text:find "\r\n\r\n" then break end
  end
  return text, connection
end

describe("websocket.upgrade", function()
  it("answers as RFC 6455 section 1.3 shows", function()
    with_server({}, echo, function(url)
      local text, connection = exchange(url, request_bytes {})
      assert.truthy(text:find("^HTTP/1.1 101 "))
      assert.truthy(text:find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 1, true))
      assert.is_nil(text:find "Sec%-WebSocket%-Extensions")
      assert.is_nil(text:find "Sec%-WebSocket%-Protocol")
      connection:close(0)
    end)
  end)

  it("hands over to a function when the request is over, and goes away when the server stops", function()
    moonring.scope(function(scope)
      local server = scope:own(assert(http.server { port = 0 }))
      local seen = {}
      local serving = scope:spawn(function()
        server:serve(function(request, response)
          assert.is_true(websocket.upgrade(request, response, nil, function(socket)
            local ok = pcall(function() return request.path end)
            seen.request_is_over = not ok
            echo(socket)
            seen.code = socket.close_code
          end))
        end)
      end)
      local socket = assert(websocket.connect("ws://127.0.0.1:" .. server.port))
      assert(socket:send "hello")
      assert.equal("hello", (socket:receive()))
      assert.is_true(seen.request_is_over)
      local stopping = scope:spawn(server.stop, server, 5)
      assert.is_nil((socket:receive()))
      assert.same({ 1001, "going away" }, { socket.close_code, socket.close_reason })
      assert.same({ true, true }, { stopping:join() })
      assert(serving:join())
      assert.equal(1001, seen.code)
      socket:close()
    end)
  end)

  it("tells the place of an error in what serves it, and the server goes on", function()
    with_server({}, echo, function(url, scope)
      local server = scope:own(assert(http.server { port = 0 }))
      local stderr_of = require "spec.support.stderr"
      local text = stderr_of(function()
        scope:spawn(function()
          server:serve(function(request, response)
            websocket.upgrade(request, response, nil, function() error "broken here" end)
          end)
        end)
        local socket = assert(websocket.connect("ws://127.0.0.1:" .. server.port))
        assert.equal("ECONNRESET", select(3, socket:receive()))
        socket:close()
      end)
      assert.truthy(text:find "broken here")
      server:close()
      local other = assert(websocket.connect(url))
      other:close()
    end)
  end)

  it("takes frames that have come with the request", function()
    with_server({}, echo, function(url)
      local text, connection = exchange(url, request_bytes {} .. wire.frame { opcode = 1, payload = "early", key = "abcd" })
      text = text:match "\r\n\r\n(.*)$"
      while #text < 7 do
        text = text .. connection:read():read_string()
      end
      assert.equal(wire.frame { opcode = 1, payload = "early" }, text)
      connection:close(0)
    end)
  end)

  it("takes one that comes behind other requests, and nothing behind it for a request", function()
    moonring.scope(function(scope)
      local server, seen = scope:own(assert(http.server { port = 0 })), {}
      scope:spawn(function()
        server:serve(function(request, response)
          seen[#seen + 1] = request.method .. " " .. request.path
          if request.upgrades then return websocket.upgrade(request, response, {}, echo) end
          response:send(200, request:body())
        end)
      end)
      local plain = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
      local post = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
      local looks_like_one = wire.frame { opcode = 1, payload = plain, key = "\0\0\0\0" }
      local text = plain .. post .. request_bytes {} .. looks_like_one .. looks_like_one
      for at = 0, #text, 17 do -- cut anywhere
        seen = {}
        local connection = assert(net.connect { port = server.port })
        connection:write(text:sub(1, at))
        connection:flush()
        moonring.sleep(0)
        connection:write(text:sub(at + 1))
        local got = ""
        while select(2, got:gsub("\129" .. string.char(#plain) .. plain, "")) < 2 do
          got = got .. assert(connection:read()):read_string()
        end
        assert.is_truthy(got:find "^HTTP/1.1 200 .*HTTP/1.1 200 .*\r\n\r\nabcHTTP/1.1 101 ")
        assert.same({ "GET /a", "POST /b", "GET /" }, seen)
        connection:close(0)
      end
      server:close()
    end)
  end)

  for name, case in pairs {
    ["another method"] = { { method = "POST", ["Content-Length"] = "0" }, 405 },
    ["no Upgrade"] = { { Upgrade = false }, 426 },
    ["another protocol"] = { { Upgrade = "h2c" }, 426 },
    ["no Connection: Upgrade"] = { { Connection = "keep-alive" }, 400 },
    ["another version"] = { { ["Sec-WebSocket-Version"] = "8" }, 426 },
    ["HTTP/1.0"] = { { version = "1.0" }, 400 },
    ["a request with content"] = { { ["Content-Length"] = "3" }, 400 },
    ["a request with chunks"] = { { ["Transfer-Encoding"] = "chunked" }, 400 },
    ["versions in a list"] = { { ["Sec-WebSocket-Version"] = "13, 8" }, 426 },
    ["no version"] = { { ["Sec-WebSocket-Version"] = false }, 426 },
    ["a long key"] = { { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZSE=AAAA" }, 400 },
    ["two keys"] = { { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" },
      400 },
    ["no key"] = { { ["Sec-WebSocket-Key"] = false }, 400 },
    ["a short key"] = { { ["Sec-WebSocket-Key"] = "c2hvcnQ=" }, 400 },
    ["a key that is no base64"] = { { ["Sec-WebSocket-Key"] = "************************" }, 400 },
    ["a page of another origin"] = { { Origin = "https://evil.test" }, 403 },
    ["no origin where one is needed"] = { {}, 403 },
  } do
    it("refuses " .. name .. " with " .. case[2], function()
      with_server({ origins = { "https://good.test" } }, echo, function(url)
        local text, connection = exchange(url, request_bytes(case[1]))
        assert.equal(tostring(case[2]), text:match "^HTTP/1.1 (%d+)")
        if case[2] == 426 then
          assert.truthy(text:find "\r\nSec%-WebSocket%-Version: 13\r\n")
          assert.truthy(text:find "\r\nUpgrade: websocket\r\n")
        end
        connection:close(0)
      end)
    end)
  end

  it("asks a function about origins", function()
    local seen
    with_server({ origins = function(origin)
      seen = origin
      return true
    end }, echo, function(url)
      local socket = assert(websocket.connect(url, { headers = { Origin = "https://a.test" } }))
      assert.equal("https://a.test", seen)
      socket:close()
    end)
  end)

  it("raises options that are none", function()
    local failure
    with_server({}, function() end, function(url)
      for _, options in ipairs { { nothing = 1 }, { max_message_bytes = "1" }, { protocols = { "a b" } },
        { protocols = { "a", "a" } }, { compress = 1 }, { compress = { level = "1" } },
        { compress = { window_bits = 8 } } } do
        local ok
        ok, failure = pcall(websocket.connect, url, options)
        assert.is_false(ok)
        assert.is_true(errors.is(failure, "argument"))
      end
    end)
  end)
end)

describe("websocket.connect", function()
  it("opens a WebSocket, agrees on a protocol, and sends fields of its own", function()
    with_server({ protocols = { "b", "c" } }, echo, function(url)
      local socket = assert(websocket.connect(url, { protocols = { "a", "c", "b" } }))
      assert.equal("b", socket.protocol)
      assert(socket:send "hello")
      assert.equal("hello", (socket:receive()))
      socket:close()
      assert.equal(1000, socket.close_code)
      local none = assert(websocket.connect(url, { protocols = { "x" } }))
      assert.is_nil(none.protocol)
      none:close()
    end)
  end)

  for name, answer in pairs {
    ["a status other than 101"] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ["a wrong Sec-WebSocket-Accept"] =
      "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
    ["no Upgrade"] = "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n",
    ["no Connection"] = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: @\r\n\r\n",
    ["a protocol that was not offered"] =
      "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\n" ..
      "Sec-WebSocket-Protocol: z\r\n\r\n",
    ["an extension that was not offered"] =
      "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\n" ..
      "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
  } do
    it("fails with EPROTO for " .. name, function()
      moonring.scope(function(scope)
        local listener = scope:own(assert(net.listen { port = 0 }))
        scope:spawn(function()
          local connection = scope:own(listener:accept())
          local text = connection:read():read_string()
          local key = text:match "Sec%-WebSocket%-Key: (%S+)"
          connection:write((answer:gsub("@", handshake.accept_of(key))))
        end)
        local socket, message, code = websocket.connect("ws://127.0.0.1:" .. listener.port)
        assert.is_nil(socket)
        assert.equal("EPROTO", code, message)
      end)
    end)
  end

  it("names what can't be reached, and raises what is no URL", function()
    local socket, message, code = websocket.connect "ws://127.0.0.1:1/"
    assert.is_nil(socket)
    assert.equal("ECONNREFUSED", code)
    assert.truthy(message:find "ws://127.0.0.1:1/")
    assert.equal("EPROTONOSUPPORT", select(3, websocket.connect "wss://127.0.0.1/"))
    for _, url in ipairs { "http://x/", "x", "ws:/x", "ws://" } do
      assert.is_false((pcall(websocket.connect, url)))
    end
  end)
end)

describe("Sec-WebSocket-Extensions", function()
  it("are read and written", function()
    local function read(text)
      local list = handshake.parse_extensions(text)
      if not list then return nil end
      local out = {}
      for i, extension in ipairs(list) do
        out[i] = handshake.format_extension(extension)
      end
      return table.concat(out, ", ")
    end
    assert.equal("a", read "a")
    assert.equal("a, b; c; d=1; e=x", read ' a ,b;c ; d=1;e="x"')
    for _, bad in ipairs { "", ",", "a,", "a;", "a;b=", 'a;b="', 'a;b="c d"', "a b", "a;=1" } do
      assert.is_nil(read(bad), bad)
    end
  end)
end)
