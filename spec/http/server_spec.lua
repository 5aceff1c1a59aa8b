local moonring = require "moonring"
local http = require "moonring.http"
local net = require "moonring.net"
local with_stderr = require "spec.support.stderr"
local read_all = require("spec.support.stream").read_all
local held = require "spec.support.held"
local stands_still = require "spec.support.stands_still"
local support = require "spec.support.http"

local read_response, get = support.read_response, support.get

-- Runs body(connect, port) beside a server; connect() gives a raw connection to it.
local function with_server(handler, body, options)
  return moonring.scope(function(scope)
    local listener = assert(net.listen {})
    local server = scope:spawn(http.serve, listener, handler, options)
    body(function()
      return scope:own(assert(net.connect { port = listener.port }))
    end, listener.port)
    server:cancel()
  end)
end

local function hello(request, response)
  response:send(200, "hello " .. request.path)
end

describe("http.serve", function()
  it("answers requests one after the other on one connection", function()
    with_server(hello, function(connect)
      local client = connect()
      for i = 1, 5 do
        client:write(get("/" .. i))
        local status, body = read_response(client)
        assert.equal(200, status)
        assert.equal("hello /" .. i, body)
      end
    end)
  end)

  it("answers a request whatever the pieces it comes in", function()
    with_server(hello, function(connect)
      support.assert_answer_at_every_split(connect, get("/pieces", "Accept: */*\r\n"), "hello /pieces")
    end)
  end)

  it("answers a request that comes byte by byte", function()
    with_server(hello, function(connect)
      local client = connect()
      for byte in get("/slow"):gmatch(".") do
        client:write(byte)
        client:flush()
        moonring.sleep(0.0005)
      end
      assert.equal(200, (read_response(client)))
    end)
  end)

  it("answers pipelined requests in order, cut anywhere", function()
    with_server(hello, function(connect)
      local text = {}
      for i = 1, 40 do
        text[i] = get("/" .. i)
      end
      text = table.concat(text)
      for _, cut in ipairs { 1, 50, 777, #text - 1, #text } do
        local client = connect()
        client:write(text:sub(1, cut))
        client:flush()
        moonring.sleep(0.002)
        client:write(text:sub(cut + 1))
        local rest
        for i = 1, 40 do
          local status, body, _, more = read_response(client, rest)
          rest = more
          assert.equal(200, status)
          assert.equal("hello /" .. i, body)
        end
        assert.equal("", rest)
      end
    end)
  end)

  it("gives the handler method, target, path, query and fields", function()
    local seen
    with_server(function(req, response)
      seen = { req.method, req.target, req.path, req.query, req:header("x-one"), req:header("X-NONE"), req.content_length }
      response:send(204)
    end, function(connect)
      local client = connect()
      client:write("DELETE /a/b?c=d&e HTTP/1.1\r\nhost: x\r\nX-One: 1\r\n\r\n")
      assert.equal(204, (read_response(client)))
    end)
    assert.equal("DELETE /a/b?c=d&e /a/b c=d&e 1", table.concat({ seen[1], seen[2], seen[3], seen[4], seen[5] }, " "))
    assert.is_nil(seen[6])
    assert.equal(0, seen[7])
  end)

  it("sends status, fields and content type", function()
    with_server(function(_, response)
      response:send(404, "<p>", { ["content-type"] = "text/html", ["X-A"] = "b" })
    end, function(connect)
      local client = connect()
      client:write(get("/"))
      local status, body, head = read_response(client)
      assert.equal(404, status)
      assert.equal("<p>", body)
      assert.is_truthy(head:find("\r\nContent-Type: text/html\r\n", 1, true))
      assert.is_truthy(head:find("\r\nX-A: b\r\n", 1, true))
      assert.is_truthy(head:find("\r\nDate: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT\r\n"))
    end)
  end)

  it("sends no body in answer to HEAD", function()
    with_server(hello, function(connect)
      local client = connect()
      client:write("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" .. get("/y", "Connection: close\r\n"))
      local text = read_all(client)
      local bodiless = "^HTTP/1.1 200 OK\r\n.-Content%-Length: 8\r\n.-\r\n\r\n"
      assert.is_truthy(text:find(bodiless .. "HTTP/1.1 200 OK\r\n.-\r\n\r\nhello /y$"))
    end)
  end)

  it("closes after Connection: close, and after HTTP/1.0 without keep-alive", function()
    with_server(hello, function(connect)
      local client = connect()
      client:write(get("/", "Connection: close\r\n"))
      assert.is_truthy(read_all(client):find("\r\nConnection: close\r\n", 1, true))
      client = connect()
      client:write("GET / HTTP/1.0\r\n\r\n")
      assert.is_truthy(read_all(client):find("hello /$"))
      client = connect()
      client:write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      local _, _, head = read_response(client)
      assert.is_truthy(head:find("\r\nConnection: keep-alive\r\n", 1, true))
    end)
  end)

  describe("with a body", function()
    local function echo(req, response)
      local body, message = req:body()
      assert(body, message)
      response:send(200, body)
    end

    it("hands it to the handler whole, at every split", function()
      with_server(echo, function(connect)
        local text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
        support.assert_answer_at_every_split(connect, text, "hello world")
      end)
    end)

    it("keeps pipelined requests behind it apart from it", function()
      with_server(echo, function(connect)
        local client = connect()
        local one = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        client:write(one:rep(20))
        local rest
        for _ = 1, 20 do
          local status, body, _, more = read_response(client, rest)
          rest = more
          assert.equal(200, status)
          assert.equal("abc", body)
        end
      end)
    end)

    it("streams it in parts, and the head stays readable meanwhile", function()
      local total, path = 0, nil
      with_server(function(req, response)
        for part in req:chunks() do
          total = total + part:remaining()
          path = req.path
        end
        response:send(200, tostring(total))
      end, function(connect)
        local client = connect()
        local body = ("0123456789"):rep(80000)
        client:write("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: " .. #body .. "\r\n\r\n")
        client:flush()
        moonring.sleep(0.01)
        client:write(body)
        local status, text = read_response(client)
        assert.equal(200, status)
        assert.equal("800000", text)
      end)
      assert.equal(800000, total)
      assert.equal("/upload", path)
    end)

    it("drops what the handler did not read and goes on", function()
      with_server(hello, function(connect)
        local client = connect()
        client:write("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        client:write(("x"):rep(100000) .. get("/next"))
        local status, _, _, rest = read_response(client)
        assert.equal(200, status)
        local _, body = read_response(client, rest)
        assert.equal("hello /next", body)
      end)
    end)

    it("closes instead when that would be much", function()
      with_server(hello, function(connect)
        local client = connect()
        client:write("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(1000))
        assert.is_truthy(read_all(client):find("hello /p$"))
      end)
    end)

    it("says 100 Continue when the handler wants it", function()
      with_server(echo, function(connect)
        local client = connect()
        client:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert.equal("HTTP/1.1 100 Continue\r\n\r\n", client:read():to_string())
        client:write("ok")
        local status, body = read_response(client)
        assert.equal(200, status)
        assert.equal("ok", body)
      end)
    end)

    it("ends the connection when it was not asked for after all", function()
      with_server(hello, function(connect)
        local client = connect()
        client:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        local text = read_all(client)
        assert.is_truthy(text:find("^HTTP/1.1 200 OK"))
        assert.is_truthy(text:find("\r\nConnection: close\r\n", 1, true))
      end)
    end)

    it("tells the handler that the client has left in the middle", function()
      local body, message, code
      with_server(function(req, response)
        body, message, code = req:body()
        response:send(200, "nobody hears this")
      end, function(connect)
        local client = connect()
        client:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        client:flush()
        moonring.sleep(0.01)
        client:close()
        moonring.sleep(0.05)
      end)
      assert.is_nil(body)
      assert.is_string(message)
      assert.equal("ECONNRESET", code)
    end)
  end)

  describe("refuses", function()
    local refusals = {
      ["a line that is none"] = { 400, "GET\r\n\r\n" },
      ["a request without Host"] = { 400, "GET / HTTP/1.1\r\n\r\n" },
      ["a bare LF"] = { 400, "GET / HTTP/1.1\nHost: a\n\n" },
      ["conflicting lengths"] = { 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" },
      ["a body above the limit"] = { 413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" },
      ["a target above the limit"] = { 414, "GET /" .. ("a"):rep(9000) .. " HTTP/1.1\r\nHost: a\r\n\r\n" },
      ["a head above the limit"] = { 431, "GET / HTTP/1.1\r\nHost: a\r\nX: " .. ("a"):rep(20000) .. "\r\n\r\n" },
      ["more fields than a head may have"] = { 431, "GET / HTTP/1.1\r\nHost: a\r\n" .. ("X: y\r\n"):rep(200) .. "\r\n" },
      ["a transfer coding"] = { 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
      ["another major version"] = { 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n" },
    }
    for what, case in pairs(refusals) do
      it(what .. " with " .. case[1] .. ", and closes", function()
        with_server(hello, function(connect)
          local client = connect()
          client:write(case[2])
          local text = read_all(client)
          assert.equal(case[1], tonumber(text:match("^HTTP/1.1 (%d+) ")))
          assert.is_truthy(text:find("\r\nConnection: close\r\n", 1, true))
        end)
      end)
    end

    it("after the answers to the good requests before it", function()
      with_server(hello, function(connect)
        local client = connect()
        client:write(get("/good") .. "nonsense\r\n\r\n" .. get("/never"))
        local text = read_all(client)
        assert.is_truthy(text:find("hello /good", 1, true))
        assert.is_truthy(text:find("HTTP/1.1 400", 1, true))
        assert.is_falsy(text:find("hello /never", 1, true))
      end)
    end)

    it("by limits that the user sets", function()
      with_server(hello, function(connect)
        local client = connect()
        client:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        assert.is_truthy(read_all(client):find("^HTTP/1.1 413"))
        client = connect()
        client:write(get("/", "X: " .. ("a"):rep(300) .. "\r\n"))
        assert.is_truthy(read_all(client):find("^HTTP/1.1 431"))
      end, { limits = { body_bytes = 10, head_bytes = 200 } })
    end)

    it("a limit that there is none of", function()
      local ok, failure = pcall(http.serve, { limits = { speed = 1 } }, hello)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end)
  end)

  it("answers 500 and goes on when a handler fails, with the traceback on standard error", function()
    local text = with_stderr(function()
      with_server(function(req, response)
        if req.path == "/bad" then error("handler trouble") end
        hello(req, response)
      end, function(connect)
        local client = connect()
        client:write(get("/bad") .. get("/fine"))
        local status, _, _, rest = read_response(client)
        assert.equal(500, status)
        local _, body = read_response(client, rest)
        assert.equal("hello /fine", body)
      end)
    end)
    assert.is_truthy(text:find("the handler of GET /bad has failed", 1, true))
    assert.is_truthy(text:find("server_spec.lua", 1, true))
  end)

  it("answers 500 when a handler sends nothing", function()
    local text = with_stderr(function()
      with_server(function() end, function(connect)
        local client = connect()
        client:write(get("/"))
        assert.equal(500, (read_response(client)))
      end)
    end)
    assert.is_truthy(text:find("ended without a response", 1, true))
  end)

  it("keeps the answered response when the handler fails after it", function()
    with_stderr(function()
      with_server(function(_, response)
        response:send(200, "sent")
        error("late")
      end, function(connect)
        local client = connect()
        client:write(get("/") .. get("/"))
        local status, body, _, rest = read_response(client)
        assert.equal(200, status)
        assert.equal("sent", body)
        assert.equal(200, (read_response(client, rest)))
      end)
    end)
  end)

  it("raises when a request is answered twice, and for bad fields", function()
    local failures = {}
    with_server(function(_, response)
      local _, injected = pcall(response.send, response, 200, "", { A = "b\r\nSet-Cookie: c" })
      response:send(200, "once")
      local _, twice = pcall(response.send, response, 200, "twice")
      failures = { injected.code, twice.code }
    end, function(connect)
      local client = connect()
      client:write(get("/"))
      local status, body = read_response(client)
      assert.equal(200, status)
      assert.equal("once", body)
    end)
    assert.same({ "argument", "busy" }, failures)
  end)

  it("raises closed when request or response are used after the handler has ended", function()
    local kept_request, kept_response
    with_server(function(req, response)
      kept_request, kept_response = req, response
      response:send(200, "")
    end, function(connect)
      local client = connect()
      client:write(get("/"))
      read_response(client)
      for _, use in ipairs {
        function() return kept_request.method end,
        function() return kept_request:header("host") end,
        function() return kept_request:body() end,
        function() return kept_response:send(200, "again") end,
      } do
        local ok, failure = pcall(use)
        assert.is_false(ok)
        assert.equal("closed", failure.code)
      end
    end)
  end)

  it("raises closed also when a task of an earlier pipelined request uses them", function()
    local codes = {}
    with_server(function(req, response)
      if req.path == "/first" then
        moonring.spawn(function()
          for _, use in ipairs { function() return req.path end, function() return response:send(500, "mixed up") end } do
            local ok, failure = pcall(use)
            codes[#codes + 1] = ok or failure.code
          end
        end)
      else
        moonring.sleep(0.01)
      end
      hello(req, response)
    end, function(connect)
      local client = connect()
      client:write(get("/first") .. get("/second") .. get("/third"))
      local rest
      for _, path in ipairs { "/first", "/second", "/third" } do
        local status, body, _, more = read_response(client, rest)
        rest = more
        assert.equal(200, status)
        assert.equal("hello " .. path, body)
      end
    end)
    assert.same({ "closed", "closed" }, codes)
  end)

  it("lets a handler wait, and serves others meanwhile", function()
    with_server(function(req, response)
      if req.path == "/slow" then moonring.sleep(0.1) end
      hello(req, response)
    end, function(connect)
      local slow, quick = connect(), connect()
      slow:write(get("/slow"))
      moonring.sleep(0.01)
      local before = moonring.now()
      quick:write(get("/quick"))
      assert.equal(200, (read_response(quick)))
      assert.is_true(moonring.now() - before < 0.08)
      local _, body = read_response(slow)
      assert.equal("hello /slow", body)
    end)
  end)

  it("leaves nothing behind of clients that send half a request and go", function()
    local before = held.take()
    with_server(hello, function(connect)
      for cut = 1, 40 do
        local client = connect()
        client:write(get("/half"):sub(1, cut % 30 + 1))
        client:close()
      end
    end)
    assert.same({}, held.settle(before))
  end)

  it("makes a pipelining client that does not read wait, instead of queueing without end", function()
    local answered = 0
    with_server(function(_, response)
      answered = answered + 1
      response:send(200, ("x"):rep(100000))
    end, function(connect)
      local client = connect()
      client:write(get("/"):rep(2000))
      client:flush()
      assert.is_true((stands_still(function() return answered end) or 0) > 0)
      assert.is_true(answered < 1000)
      local rest
      for _ = 1, 2000 do
        local status, _, _, more = read_response(client, rest)
        rest = more
        assert.equal(200, status)
      end
    end)
  end)
end)
