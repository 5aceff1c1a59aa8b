local moonring = require "moonring"
local net = require "moonring.net"
local http = require "moonring.http"
local buffer = require "moonring.buffer"
local errors = require "moonring.errors"
local urls = require "moonring.http.client.url"

-- Runs fn(url, session, scope) beside a server of ours.
local function with_server(handler, fn, options)
  return moonring.scope(function(scope)
    local server = scope:own(assert(http.server { port = 0 }))
    scope:spawn(function() server:serve(handler) end)
    local session = scope:own(http.session(options))
    fn("http://127.0.0.1:" .. server.port, session, scope, server)
    session:close()
    server:close()
  end)
end

-- The same with a server that reads a request's head and answers with given bytes, connection by connection. `log` gets
-- what it has read.
local function with_script(answers, fn, options)
  return moonring.scope(function(scope)
    local listener, log = scope:own(assert(net.listen { port = 0 })), {}
    scope:spawn(function()
      net.serve(listener, function(connection)
        local number = #log + 1
        log[number] = ""
        local answer = answers[number] or ""
        if type(answer) == "function" then return answer(connection, log, number) end
        for input in connection:chunks() do
          log[number] = log[number] .. input:read_string()
          if log[number]:find "\r\n\r\n" then break end
        end
        connection:write(answer)
      end)
    end)
    local session = scope:own(http.session(options))
    fn("http://127.0.0.1:" .. listener.port, session, log, scope)
    session:close()
    listener:close()
  end)
end

local function echo(request, response)
  response:send(200, request.method .. " " .. request.target .. "\n" .. (request:body() or ""))
end

describe("an HTTP request", function()
  it("brings a response", function()
    with_server(function(_, response) response:send(201, "made", { ["X-One"] = "1" }) end, function(url, session)
      local response = assert(session:request(url .. "/path"))
      assert.same({ 201, "Created", "1.1", true, "made", "1", url .. "/path" }, { response.status, response.reason,
        response.version, response.ok, response:body(), response:header "x-one", response.url })
      assert.equal("made", response:body()) -- again
      local seen = {}
      for name, value in response:headers() do
        seen[name:lower()] = value
      end
      assert.equal("1", seen["x-one"])
      assert.equal("4", seen["content-length"])
    end)
  end)

  it("sends every kind of content", function()
    with_server(echo, function(url, session)
      local function body_of(options)
        return assert(session:request(url, options)):body()
      end
      assert.equal("GET /\n", body_of {})
      assert.equal("POST /\ntext", body_of { body = "text" })
      local bytes = buffer.allocate(6):write("-data-"):reset_for_read()
      assert.equal("PUT /\ndata-", body_of { method = "PUT", body = bytes:skip(1) })
      assert.equal("POST /\na=1&b=%26", body_of { form = { a = 1, b = "&" } })
      assert.equal('POST /\n[1,"x"]', body_of { json = { 1, "x" } })
      assert.equal("GET /?q=a%20b", body_of { query = { q = "a b" } }:gsub("+", "%%20"):sub(1, -2))
      local long = ("0123456789"):rep(30000)
      assert.equal("POST /\n" .. long, body_of { body = function(write)
        for at = 1, #long, 7000 do
          write(long:sub(at, at + 6999))
        end
      end })
      assert.equal("POST /\nabcdef", body_of { content_length = 6, body = function(write)
        write "abc"
        write "def"
      end })
    end)
  end)

  it("raises what can't be sent", function()
    with_server(echo, function(url, session)
      for _, case in ipairs {
        { url, { body = 1 } }, { url, { body = "a", form = {} } }, { url, { nothing = 1 } }, { "no-url" }, { "ftp://host/" },
        { "http://" }, { "http://host:99999/" }, { "http://a b/" }, { url, { headers = { ["a b"] = "c" } } },
        { url, { headers = { a = "b\r\nc: d" } } }, { url, { method = "GET /" } }, { url, { headers = { Host = "x/y" } } },
        { url, { headers = { host = { "x", "y" } } } }, { "http://evil.test\\@good.test/" }, { "http://a b@good.test/" },
        { url, { headers = { ["Content-Length"] = "1" } } }, { url, { headers = { ["Transfer-Encoding"] = "chunked" } } },
        { url, { content_length = 3, body = function(write) write "four" end } },
        { url, { content_length = 5, body = function(write) write "four" end } },
      } do
        local ok, failure = pcall(session.request, session, case[1], case[2])
        assert.is_false(ok, tostring(case[1]))
        assert.is_true(errors.is(failure, "argument"), tostring(failure))
      end
      local ok, failure = pcall(session.request, session, url, { body = function() error("mine", 0) end })
      assert.same({ false, "mine" }, { ok, failure })
      assert.equal("GET /\n", session:request(url):body()) -- and goes on
    end)
  end)

  it("uses a connection again, also behind contents of every framing", function()
    local function handler(request, response)
      if request.path == "/chunked" then
        response:write "in "
        response:write "chunks"
      elseif request.path == "/none" then
        response:send(204)
      else
        response:send(200, request.path)
      end
    end
    with_server(handler, function(url, session)
      for _ = 1, 3 do
        for path, text in pairs { ["/chunked"] = "in chunks", ["/none"] = "", ["/plain"] = "/plain" } do
          assert.equal(text, session:request(url .. path):body())
        end
        assert.equal("", session:head(url .. "/plain"):body())
      end
      assert.equal(1, session.pool:idle_count())
    end)
  end)

  for _, case in ipairs {
    { "a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello" },
    { "chunks, extensions and trailers",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nHe\r\n3\r\nllo\r\n0\r\nX-T: v\r\n\r\n" },
    { "the end of the stream", "HTTP/1.0 200 OK\r\n\r\nHello" },
    { "interim responses before it",
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" ..
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello" },
  } do
    it("reads a response with " .. case[1] .. ", however it is cut", function()
      local whole, answers = case[2], {}
      for at = 1, #whole - 1 do
        answers[at] = function(connection)
          connection:read()
          connection:write(whole:sub(1, at))
          connection:flush()
          moonring.sleep(0)
          connection:write(whole:sub(at + 1))
        end
      end
      with_script(answers, function(url, session)
        for _ = 1, #answers do
          local response = assert(session:request(url))
          assert.equal("Hello", response:body())
          if whole:find "X%-T" then assert.equal("v", response:trailer "x-t") end
        end
      end, { idle = 0 })
    end)
  end

  for name, bytes in pairs {
    ["no HTTP"] = "hello\r\n\r\n",
    ["two lengths"] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ["a malformed chunk"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ["a compressed content that is none"] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
  } do
    it("fails with EBADMSG for " .. name, function()
      with_script({ bytes }, function(url, session)
        local response, message, code = session:request(url)
        assert.is_nil(response)
        assert.equal("EBADMSG", code, message)
        assert.equal(0, session.pool:idle_count())
      end)
    end)
  end

  for name, bytes in pairs {
    ["says nothing"] = "",
    ["stops in the head"] = "HTTP/1.1 200 OK\r\nContent-Le",
    ["stops in the content"] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHel",
    ["stops in a chunk"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHel",
  } do
    it("fails with ECONNRESET when the server " .. name, function()
      with_script({ bytes }, function(url, session)
        local response, message, code = session:request(url)
        assert.is_nil(response)
        assert.equal("ECONNRESET", code)
        assert.truthy(message:find "server has closed")
      end)
    end)
  end

  it("names what could not be reached", function()
    moonring.scope(function(scope)
      local listener = assert(net.listen { port = 0 })
      local port = listener.port
      listener:close()
      moonring.sleep(0.01)
      local session = scope:own(http.session())
      local url = ("http://127.0.0.1:%d/x"):format(port)
      local response, message, code = session:request(url)
      assert.is_nil(response)
      assert.equal("ECONNREFUSED", code)
      assert.truthy(message:find("GET " .. url, 1, true))
      assert.equal("EPROTONOSUPPORT", select(3, session:request "https://127.0.0.1/"))
    end)
  end)

  it("bounds the content, and what it decompresses to", function()
    local zeros = buffer.deflate(("\0"):rep(100000), { format = "gzip" })
    local packed = zeros:to_string()
    zeros:release()
    local function handler(request, response)
      if request.path == "/gzip" then return response:send(200, packed, { ["Content-Encoding"] = "gzip" }) end
      response:send(200, ("x"):rep(1000))
    end
    with_server(handler, function(url, session)
      assert.equal(1000, #session:request(url, { max_bytes = 1000 }):body())
      assert.equal("EMSGSIZE", select(3, session:request(url, { max_bytes = 999 })))
      assert.equal(("\0"):rep(100000), session:request(url .. "/gzip"):body())
      assert.equal("EMSGSIZE", select(3, session:request(url .. "/gzip", { max_bytes = 99999 })))
      assert.equal(packed, session:request(url .. "/gzip", { decompress = false }):body())
    end)
  end)
end)

describe("an HTTP session", function()
  it("tries again, once, when an idle connection turns out closed", function()
    local function once(connection, log, number)
      log[number] = connection:read():read_string()
      connection:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
      connection:read() -- the next request, which is not answered
    end
    with_script({ once, once, once }, function(url, session, log)
      assert.equal("ok", session:request(url):body())
      assert.equal("ok", session:request(url):body())
      assert.equal(2, #log)
      local response, _, code = session:request(url, { method = "POST", body = "not twice" })
      assert.is_nil(response)
      assert.equal("ECONNRESET", code)
    end)
  end)

  it("does not lend what the server has closed", function()
    with_script({ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2" },
      function(url, session)
        assert.equal("1", session:request(url):body())
        moonring.sleep(0.02)
        assert.equal("2", session:request(url, { method = "POST" }):body())
      end)
  end)

  it("bounds the connections to a server, and lets the others wait in line", function()
    local at_once, most = 0, 0
    local function handler(_, response)
      at_once = at_once + 1
      most = math.max(most, at_once)
      moonring.sleep(0.005)
      at_once = at_once - 1
      response:send(200, "ok")
    end
    with_server(handler, function(url, session)
      moonring.scope(function(inner)
        for _ = 1, 12 do
          inner:spawn(function() assert.equal("ok", session:request(url):body()) end)
        end
      end)
      assert.equal(3, most)
      assert.equal(3, session.pool:idle_count())
    end, { connections = 3 })
  end)

  it("closes what is idle for too long", function()
    with_server(echo, function(url, session)
      session:request(url)
      assert.equal(1, session.pool:idle_count())
      moonring.sleep(0.05)
      assert.equal(0, session.pool:idle_count())
    end, { idle = 0.02 })
  end)

  it("keeps nothing of a request that is cancelled, wherever it is", function()
    local function slow(request, response)
      if request.path == "/head" then moonring.sleep(10) end
      response:write "first"
      response:flush()
      moonring.sleep(10)
    end
    with_server(slow, function(url, session)
      for _, path in ipairs { "/head", "/content" } do
        local ok, failure = pcall(moonring.timeout, 0.03, session.request, session, url .. path)
        assert.is_false(ok)
        assert.is_true(errors.is(failure, "deadline"))
      end
      local ok = pcall(moonring.timeout, 0.03, session.request, session, url, { body = function(write)
        while write(("x"):rep(10000)) do
          moonring.sleep(0.001)
        end
      end })
      assert.is_false(ok)
      assert.equal(0, session.pool:idle_count())
      assert.is_nil(next(session.pool.servers))
    end, { connections = 1 })
  end)

  it("has a base URL, fields, credentials and methods by name", function()
    local function handler(request, response)
      response:send(200, ("%s %s %s %s"):format(request.method, request.target, request:header "x-a", request:header
        "authorization"))
    end
    with_server(handler, function(url, _, scope)
      local session = scope:own(http.session {
        base_url = url .. "/api/", headers = { ["X-A"] = "b" }, user = "u", password = "p",
      })
      assert.equal("GET /api/items b Basic dTpw", session:get("items"):body())
      assert.equal("DELETE /other c Basic dTpw", session:delete("/other", { headers = { ["X-A"] = "c" } }):body())
      assert.equal("POST /api/ b mine", session:post({ headers = { Authorization = "mine" } }):body())
      session:close()
      local ok, failure = pcall(session.get, session, "items")
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "closed"))
    end)
  end)

  it("leaves its base URL as it is, and sends the credentials of one server to no other", function()
    local function handler(request, response)
      response:send(200, request.target .. " " .. tostring(request:header "authorization"))
    end
    with_server(handler, function(other)
      with_server(handler, function(url, _, scope)
        local session = scope:own(http.session { base_url = url .. "/api?a=1", user = "u", password = "p" })
        for _ = 1, 2 do
          assert.equal("/api?a=1&b=2 Basic dTpw", session:get({ query = { b = 2 } }):body())
        end
        assert.equal("/x?b=2 Basic dTpw", session:get("x", { query = { b = 2 } }):body())
        assert.equal("/ nil", session:get(other):body())
        assert.equal("/ nil", session:get("//" .. other:sub(8)):body())
        assert.equal("/ Basic dTpw", session:get(url):body())
        assert.equal("/ Basic YTpi", session:get((other:gsub("//", "//a:b@"))):body())
        assert.equal("/ Basic YTpi", session:get(other, { user = "a", password = "b" }):body())
        local ok, failure = pcall(session.get, session, "//:0/")
        assert.is_false(ok)
        assert.is_true(errors.is(failure, "argument"))
        session:close()
        -- Without a base URL they are for the server that was asked first.
        session = scope:own(http.session { user = "u", password = "p" })
        assert.equal("/ Basic dTpw", session:get(url):body())
        assert.equal("/ nil", session:get(other):body())
        session:close()
      end)
    end)
  end)

  it("says the Host that it is told, to the server that was meant", function()
    with_server(function(request, response)
      response:send(200, request:header "host")
    end, function(other)
      with_server(function(request, response)
        if request.path == "/away" then return response:redirect(other .. "/") end
        if request.path == "/here" then return response:redirect "/" end
        response:send(200, request:header "host")
      end, function(url, session)
        local options = { headers = { host = "virtual.test:81" } }
        assert.equal("virtual.test:81", session:get(url, options):body())
        assert.equal("virtual.test:81", session:get(url .. "/here", options):body())
        assert.equal(other:sub(8), session:get(url .. "/away", options):body())
        assert.equal(url:sub(8), session:get(url):body())
      end)
    end)
  end)

  it("keeps cookies where it is told to, over redirects too", function()
    with_server(function(request, response)
      if request.path == "/login" then
        response:set_cookie("session", "s1", { path = "/", http_only = true })
        response:set_cookie("step", "1", { path = "/deep" })
        return response:redirect("/deep/welcome")
      elseif request.path == "/logout" then
        response:set_cookie("session", "", { path = "/", max_age = 0 })
      end
      response:send(200, request:header "cookie" or "none")
    end, function(url, plain, scope)
      local session = scope:own(http.session { cookies = true })
      assert.equal("none", session:get(url):body())
      assert.equal("step=1; session=s1", session:get(url .. "/login"):body())
      assert.equal("session=s1", session:get(url .. "/other"):body())
      assert.equal("own=1", session:get(url, { headers = { Cookie = "own=1" } }):body())
      session:get(url .. "/logout")
      assert.equal("none", session:get(url .. "/other"):body())
      session:close()
      plain:get(url .. "/login")
      assert.equal("none", plain:get(url):body())
    end)
  end)

  it("asks some hosts directly though it has a proxy", function()
    local proxy = require "moonring.http.client.proxy"
    local function exempt(list, url)
      return proxy.is_exempt(list, assert(urls.parse(url)))
    end
    local list = { "example.org", ".dotted.test", "*.starred.test", "port.test:8080", "127.0.0.1", "[::1]", "[::2]:81" }
    for url, expected in pairs {
      ["http://example.org/"] = true, ["http://a.EXAMPLE.org:81/"] = true, ["http://notexample.org/"] = false,
      ["http://dotted.test/"] = true, ["http://x.starred.test/"] = true, ["http://port.test/"] = false,
      ["http://port.test:8080/"] = true, ["http://127.0.0.1/"] = true, ["http://127.0.0.11/"] = false,
      ["http://[::1]/"] = true, ["http://[::2]/"] = false, ["http://[::2]:81/"] = true, ["http://elsewhere.test/"] = false,
    } do
      assert.equal(expected, exempt(list, url), url)
    end
    assert.is_true(exempt({ "*" }, "http://any.test/"))
    with_server(echo, function(url, _, scope)
      local session = scope:own(http.session { proxy = "http://127.0.0.1:1", no_proxy = { "127.0.0.1" } })
      assert.equal("GET /direct\n", session:get(url .. "/direct"):body())
      assert.equal("ECONNREFUSED", select(3, session:get "http://elsewhere.test/"))
      session:close()
    end)
  end)

  it("takes its proxy from the environment where it is told to", function()
    local process = require "spec.support.process"
    local script = [[
      local session = require("moonring.http").session { proxy = "environment" }
      print(session.proxy and session.proxy.host, session.proxy and session.proxy.port, table.concat(session.no_proxy, "|"))
    ]]
    local function run(environment)
      local _, output = process.run(("env -u http_proxy -u HTTP_PROXY -u no_proxy -u NO_PROXY %s %s"):format(environment,
        process.command("-e", script)))
      return output
    end
    assert.equal("nil\tnil\t\n", run "HTTP_PROXY=http://not.this.test:1")
    assert.equal("proxy.test\t3128\ta.test|b.test\n", run "http_proxy=http://proxy.test:3128 no_proxy='a.test, b.test'")
    assert.equal("proxy.test\t80\t*\n", run "http_proxy=proxy.test NO_PROXY='*'")
  end)

  it("goes through a proxy", function()
    with_script({ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }, function(url, _, log, scope)
      local session = scope:own(http.session { proxy = (url:gsub("//", "//me:secret@")) })
      assert.equal("ok", session:request("http://somewhere.test:81/a?b"):body())
      assert.truthy(log[1]:find("GET http://somewhere.test:81/a?b HTTP/1.1\r\nHost: somewhere.test:81\r\n", 1, true))
      assert.truthy(log[1]:find("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n", 1, true))
      session:close()
    end)
  end)
end)

describe("redirects of HTTP requests", function()
  for status, expected in pairs {
    [301] = "GET /to\n", [302] = "GET /to\n", [303] = "GET /to\n", [307] = "POST /to\nbody", [308] = "POST /to\nbody",
  } do
    it("are followed as " .. status .. " says", function()
      with_server(function(request, response)
        if request.path == "/from" then return response:redirect("/to", status) end
        echo(request, response)
      end, function(url, session)
        local response = session:request(url .. "/from", { body = "body" })
        assert.equal(expected, response:body())
        assert.equal(url .. "/to", response.url)
        assert.equal(1, response.redirects)
        assert.equal(1, session.pool:idle_count())
      end)
    end)
  end

  it("end with the bound on them", function()
    with_server(function(request, response)
      response:redirect("/" .. (tonumber(request.path:sub(2)) or 0) + 1, 302)
    end, function(url, session)
      assert.equal("ELOOP", select(3, session:request(url .. "/0", { redirects = 3 })))
      local response = session:request(url .. "/0", { redirects = 0 })
      assert.same({ 302, "/1" }, { response.status, response:header "location" })
    end)
  end)

  it("don't take credentials to another server", function()
    with_server(function(request, response)
      response:send(200, tostring(request:header "authorization") .. " " .. tostring(request:header "cookie"))
    end, function(other_url)
      with_server(function(_, response) response:redirect(other_url .. "/", 302) end, function(url, session)
        local response = session:request(url, { user = "u", password = "p", headers = { Cookie = "a=b" } })
        assert.equal("nil nil", response:body())
      end)
    end)
  end)

  it("are not followed where the content can't be sent again", function()
    with_server(function(request, response)
      request:body()
      response:redirect("/to", 307)
    end, function(url, session)
      assert.equal(307, session:request(url, { body = function(write) write "once" end }).status)
    end)
  end)
end)

describe("streams of HTTP requests", function()
  it("give the content as it comes, and the connection back at its end", function()
    local go_on
    with_server(function(_, response)
      response:write "first"
      response:flush()
      go_on:receive()
      response:write "second"
    end, function(url, session)
      go_on = moonring.channel()
      local response = assert(session:request(url, { stream = true }))
      assert.equal("first", response:read():to_string())
      assert.equal(0, session.pool:idle_count())
      go_on:send(true)
      assert.equal("second", response:read():to_string())
      assert.is_nil((response:read()))
      assert.equal(1, session.pool:idle_count())
    end)
  end)

  it("end with close, and then the connection does", function()
    with_server(function(_, response)
      while response:write(("x"):rep(10000)) do end
    end, function(url, session)
      local response = assert(session:request(url, { stream = true }))
      assert(response:read())
      response:close()
      response:close()
      local ok, failure = pcall(response.read, response)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "closed"))
      assert.is_nil(next(session.pool.servers))
    end)
  end)

  it("hear an early answer, and stop sending", function()
    local function answer_at_once(connection)
      connection:read()
      connection:write "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
      moonring.sleep(0.2) -- and reads no more
    end
    with_script({ answer_at_once }, function(url, session)
      local written = 0
      local response = assert(session:request(url, { body = function(write)
        while written < 1e9 and write(("x"):rep(100000)) do
          written = written + 100000
        end
      end }))
      assert.same({ 413, "big" }, { response.status, response:body() })
      assert.is_true(written < 1e8)
      assert.equal(0, session.pool:idle_count())
    end)
  end)

  it("wait for 100 Continue where they are told to, and don't send what is refused", function()
    local function ask(connection, log, number)
      log[number] = connection:read():read_string()
      if log[number]:find "/refused" then
        connection:write "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
        log[number] = log[number] .. (connection:read() or buffer.wrap ""):to_string()
      else
        connection:write "HTTP/1.1 100 Continue\r\n\r\n"
        log[number] = log[number] .. connection:read():to_string()
        connection:write "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
      end
    end
    with_script({ ask, ask }, function(url, session, log)
      assert.equal(200, session:request(url, { body = "content", expect_continue = true }).status)
      assert.truthy(log[1]:find "Expect: 100%-continue" and log[1]:find "content$")
      assert.equal(417, session:request(url .. "/refused", { body = "content", expect_continue = true }).status)
      assert.is_nil(log[2]:find "content$")
    end)
  end)
end)

describe("loops over contents", function()
  it("raise what is cut, and what can't be decompressed", function()
    for answer, code in pairs {
      ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] = "ECONNRESET",
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] = "ECONNRESET",
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx"] = "EBADMSG",
      ["HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"] = "EBADMSG",
    } do
      with_script({ answer }, function(url, session)
        local response = assert(session:get(url, { stream = true }))
        local ok, failure = pcall(function()
          for _ in response:chunks() do end -- luacheck: ignore
        end)
        response:close()
        assert.is_false(ok)
        assert.is_true(errors.is(failure, code), tostring(failure))
      end)
    end
  end)
end)

describe("a cookie jar", function()
  local cookies = require "moonring.http.client.cookies"
  local NOW = 1000000000

  -- What a jar sends to `asked` after `fields` were set by `setter`.
  local function sent(setter, fields, asked, later)
    local jar = cookies.new()
    for _, field in ipairs(type(fields) == "table" and fields or { fields }) do
      jar:store(assert(urls.parse(setter)), field, NOW)
    end
    return jar:field_for(assert(urls.parse(asked or setter)), NOW + (later or 0))
  end

  it("gives back what it may", function()
    for _, case in ipairs {
      { "http://a.test/", "x=1", nil, "x=1" },
      { "http://a.test/", " x = 1 ; Path=/", nil, "x=1" },
      { "http://a.test/", 'x="1, 2"', nil, 'x="1, 2"' },
      { "http://a.test/", "x=a=b", nil, "x=a=b" },
      { "http://a.test/", "alone", nil, "alone" },
      { "http://a.test/", "x=", nil, "x=" },
      { "http://a.test/", "=", nil, nil },
      { "http://a.test/", "", nil, nil },
      { "http://a.test/", "x=1\1", nil, nil },
      { "http://a.test/", "x=" .. ("y"):rep(4096), nil, nil },
      { "http://a.test/", { "x=1", "y=2", "x=3" }, nil, "x=3; y=2" },
      -- hosts
      { "http://a.test/", "x=1", "http://b.a.test/", nil },
      { "http://a.test/", "x=1", "http://a.test:81/", "x=1" },
      { "http://b.a.test/", "x=1; Domain=a.test", "http://c.a.test/", "x=1" },
      { "http://b.a.test/", "x=1; domain=.A.TEST", "http://a.test/", "x=1" },
      { "http://b.a.test/", "x=1; Domain=c.a.test", nil, nil },
      { "http://b.a.test/", "x=1; Domain=b.a.test.evil.test", nil, nil },
      { "http://bad-a.test/", "x=1; Domain=a.test", nil, nil },
      { "http://a.test/", "x=1; Domain=test", nil, nil },
      { "http://localhost/", "x=1; Domain=localhost", nil, "x=1" },
      { "http://127.0.0.1/", "x=1; Domain=0.0.1", nil, nil },
      { "http://127.0.0.1/", "x=1; Domain=127.0.0.1", nil, "x=1" },
      { "http://[::1]/", "x=1", nil, "x=1" },
      -- paths
      { "http://a.test/one/two", "x=1", "http://a.test/one/three", "x=1" },
      { "http://a.test/one/two", "x=1", "http://a.test/one", "x=1" },
      { "http://a.test/one/two", "x=1", "http://a.test/", nil },
      { "http://a.test/", "x=1; Path=/one", "http://a.test/one?q", "x=1" },
      { "http://a.test/", "x=1; Path=/one", "http://a.test/onemore", nil },
      { "http://a.test/", "x=1; Path=/one/", "http://a.test/one/two", "x=1" },
      { "http://a.test/", "x=1; Path=one", "http://a.test/two", "x=1" },
      { "http://a.test/", { "x=1", "y=2; Path=/one" }, "http://a.test/one", "y=2; x=1" },
      -- safety
      { "http://a.test/", "x=1; Secure", nil, nil },
      { "https://a.test/", "x=1; Secure", nil, "x=1" },
      { "https://a.test/", "x=1; Secure", "http://a.test/", nil },
      { "http://a.test/", "__Secure-x=1", nil, nil },
      { "https://a.test/", "__host-x=1; Secure; Path=/", nil, "__host-x=1" },
      { "https://a.test/", "__Host-x=1; Secure; Path=/; Domain=a.test", "https://a.test/", nil },
      { "https://a.test/", "__Host-x=1; Secure; Path=/a", "https://a.test/a", nil },
      -- time
      { "http://a.test/", "x=1; Max-Age=10", nil, "x=1" },
      { "http://a.test/", "x=1; Max-Age=10", nil, nil, 10 },
      { "http://a.test/", "x=1; Max-Age=0", nil, nil },
      { "http://a.test/", { "x=1", "x=2; Max-Age=-1" }, nil, nil },
      { "http://a.test/", "x=1; Max-Age=x", nil, "x=1" },
      { "http://a.test/", "x=1; Expires=Sun, 09 Sep 2001 01:46:41 GMT", nil, "x=1" },
      { "http://a.test/", "x=1; Expires=Sun, 09 Sep 2001 01:46:40 GMT", nil, nil },
      { "http://a.test/", "x=1; Expires=Sunday, 09-Sep-01 01:46:39 GMT", nil, nil },
      { "http://a.test/", "x=1; Expires=Thu Jan  1 00:00:01 1970", nil, nil },
      { "http://a.test/", "x=1; Expires=whenever", nil, "x=1" },
      { "http://a.test/", "x=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=5", nil, "x=1" },
    } do
      assert.equal(tostring(case[4]), tostring(sent(case[1], case[2], case[3], case[5])), tostring(case[2]) .. " "
        .. case[1])
    end
  end)

  it("holds no more than it may, and lets go of the oldest", function()
    local jar, url = cookies.new(), urls.parse "http://a.test/"
    for number = 1, 200 do
      jar:store(url, ("n%d=x"):format(number), NOW)
    end
    local _, count = jar:field_for(url, NOW):gsub("=", "")
    assert.equal(cookies.PER_DOMAIN_MAX, count)
    assert.is_truthy(jar:field_for(url, NOW):find("n200=x", 1, true))
    assert.is_falsy(jar:field_for(url, NOW):find("n1=x", 1, true))
    for number = 1, 2 * cookies.ALL_MAX do
      jar:store(urls.parse(("http://h%d.test/"):format(number)), "x=1", NOW)
    end
    assert.equal(("moonring.http.CookieJar(%d)"):format(cookies.ALL_MAX), tostring(jar))
    for number = 1, 2 * cookies.ALL_MAX do
      jar:store(urls.parse(("http://h%d.test/"):format(number)), "x=1; Max-Age=0", NOW)
    end
    assert.is_true(jar.count <= cookies.PER_DOMAIN_MAX)
  end)
end)

describe("URLs", function()
  it("are taken apart", function()
    for text, expected in pairs {
      ["http://host"] = { "http", "host", 80, "/" },
      ["HTTP://Host:81/a/b?c#d"] = { "http", "host", 81, "/a/b?c" },
      ["https://[::1]:8443?q"] = { "https", "::1", 8443, "/?q" },
      ["http://u%40:p%3Aw@host/ä b"] = { "http", "host", 80, "/%C3%A4%20b", "u@", "p:w" },
    } do
      local url = urls.parse(text)
      assert.same(expected, { url.scheme, url.host, url.port, url.target, url.user, url.password })
    end
    for _, text in ipairs { "", "host", "//host/", "http:/host", "http://:80/", "http://[::1/", "http://host:0/",
      "http://ho st/", "http://host:99999/", "http://a]b/" } do
      assert.is_nil((urls.parse(text)), text)
    end
  end)

  it("resolve references as in RFC 3986 section 5.4", function()
    local base = urls.parse "http://a/b/c/d;p?q"
    for reference, expected in pairs {
      ["g"] = "http://a/b/c/g", ["./g"] = "http://a/b/c/g", ["g/"] = "http://a/b/c/g/", ["/g"] = "http://a/g",
      ["//g"] = "http://g/", ["?y"] = "http://a/b/c/d;p?y", ["g?y"] = "http://a/b/c/g?y", ["#s"] = "http://a/b/c/d;p?q",
      ["g#s"] = "http://a/b/c/g", [";x"] = "http://a/b/c/;x", [""] = "http://a/b/c/d;p?q", ["."] = "http://a/b/c/",
      [".."] = "http://a/b/", ["../g"] = "http://a/b/g", ["../.."] = "http://a/", ["../../g"] = "http://a/g",
      ["../../../g"] = "http://a/g", ["/./g"] = "http://a/g", ["/../g"] = "http://a/g", ["g."] = "http://a/b/c/g.",
      ["..g"] = "http://a/b/c/..g", ["./../g"] = "http://a/b/g", ["g/../h"] = "http://a/b/c/h",
      ["http://h:1/x"] = "http://h:1/x",
    } do
      assert.equal(expected, urls.format(urls.resolve(base, reference)), reference)
    end
  end)
end)
