-- What handlers can do with requests and responses beyond send.

local moonring = require "moonring"
local fs = require "moonring.fs"
local http = require "moonring.http"
local json = require "moonring.http.json"
local with_stderr = require "spec.support.stderr"
local eventually = require "spec.support.eventually"
local support = require "spec.support.http"
local read_all = require("spec.support.stream").read_all

local with_server, get, post, ask, read_response = support.with_server, support.get, support.post, support.ask,
  support.read_response

-- Runs handler for one request that closes its connection, and returns all that came back.
local function answer(handler, text, options)
  local all
  with_server(handler, function(connect)
    local client = connect()
    client:write(text or get("/", "Connection: close\r\n"))
    all = read_all(client)
  end, options)
  return all
end

local function codes(...)
  local list = {}
  for _, fn in ipairs { ... } do
    local ok, failure = pcall(fn)
    list[#list + 1] = ok and "no error" or type(failure) == "table" and failure.code or tostring(failure)
  end
  return list
end

describe("a response's fields", function()
  it("are set, replaced, taken away and added before it is sent", function()
    local text = answer(function(_, response)
      response:set_status(201):set_field("X-A", "1"):set_field("x-a", "2"):set_field("X-B", "3"):set_field("X-B", nil)
      response:add_field("Vary", "Accept"):add_field("Vary", "Cookie")
      response:send(nil, "made", { ["X-C"] = { "4", "5" } })
    end)
    assert.is_truthy(text:find("^HTTP/1.1 201 Created\r\n"))
    assert.is_truthy(text:find("\r\nx-a: 2\r\n", 1, true))
    assert.is_falsy(text:find("X-B", 1, true))
    assert.equal(2, select(2, text:gsub("\r\nVary: ", "")))
    assert.equal(2, select(2, text:gsub("\r\nX%-C: ", "")))
  end)

  it("do not reach the next request's response", function()
    with_server(function(request, response)
      if request.path == "/1" then response:set_field("X-A", "1"):set_status(404) end
      response:send(nil, "")
    end, function(connect)
      local client = connect()
      client:write(get "/1" .. get "/2")
      local status, _, head, rest = read_response(client)
      assert.equal(404, status)
      assert.is_truthy(head:find("X-A", 1, true))
      status, _, head = read_response(client, rest)
      assert.equal(200, status)
      assert.is_falsy(head:find("X-A", 1, true))
    end)
  end)

  it("can't be used to write lines of one's own", function()
    local found
    answer(function(_, response)
      found = codes(
        function() response:set_field("A\r\nB", "c") end,
        function() response:add_field("A B", "c") end,
        function() response:redirect "/\r\nX: y" end,
        function() response:set_cookie("a", "b\r\nX: y") end,
        function() response:set_cookie("a", "b", { path = "/; Domain=x" }) end,
        function() response:events { ["X"] = "a\nb" } end,
        function() response:inform(103, { Link = "a\r\n\r\nHTTP/1.1 200 OK" }) end,
        function() response:send(200, "", { ["Content-Length"] = "3" }) end,
        function() response:send(200, "", { ["Content-Type"] = "a\r\nb" }) end,
        function() response:send(200, "", "text/html") end,
        function() response:send(200, "", { 1 }) end,
        function() response:send(99, "") end,
        function() response:start("200") end,
        function() response:start(200, nil, -1) end,
        function() response:send(200, 7) end,
        function() response:write(7) end
      )
      response:send(200, "")
    end)
    for number = 1, 16 do
      assert.equal("argument", found[number], "number " .. number)
    end
  end)

  it("carry cookies", function()
    local text = answer(function(request, response)
      response:set_cookie("session", request.cookies.session .. "2", { path = "/", http_only = true, same_site = "lax",
        max_age = 60 })
      response:send(200, request.cookies.quoted)
    end, get("/", "Cookie: session=1; quoted=\"q\"\r\nCookie: session=9\r\nConnection: close\r\n"))
    assert.is_truthy(text:find("\r\nSet-Cookie: session=12; Path=/; Max-Age=60; HttpOnly; SameSite=Lax\r\n", 1, true), text)
    assert.is_truthy(text:find("\r\n\r\nq$"))
  end)
end)

describe("a response in pieces", function()
  it("goes out in chunks, with trailers", function()
    local text = answer(function(_, response)
      response:write "hello "
      response:write ""
      response:write "world"
      response:finish { ["X-Sum"] = "11" }
    end)
    assert.is_truthy(text:find("\r\nTransfer-Encoding: chunked\r\n", 1, true))
    assert.is_truthy(text:find("\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\nX%-Sum: 11\r\n\r\n$"))
  end)

  it("is ended by the end of its handler, and the connection goes on", function()
    with_server(function(request, response)
      response:start(200, { ["Content-Type"] = "text/css" })
      response:write(request.path)
    end, function(connect)
      local client = connect()
      client:write(get "/1" .. get("/2", "Connection: close\r\n"))
      local text = read_all(client)
      assert.is_truthy(text:find("2\r\n/1\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n.*2\r\n/2\r\n0\r\n\r\n$"), text)
    end)
  end)

  it("goes out by its length where that is known, and not beyond it", function()
    local found
    local text = answer(function(_, response)
      response:start(200, nil, 5)
      response:write "abc"
      found = codes(function() response:write "defg" end)
      response:write "de"
    end)
    assert.same({ "overflow" }, found)
    assert.is_truthy(text:find("\r\nContent-Length: 5\r\n", 1, true))
    assert.is_truthy(text:find("\r\n\r\nabcde$"))
  end)

  it("that is shorter than its length ends the connection", function()
    with_server(function(_, response)
      response:start(200, nil, 5)
      response:write "abc"
    end, function(connect)
      local client = connect()
      client:write(get "/" .. get "/never")
      assert.is_truthy(read_all(client):find("\r\n\r\nabc$"))
    end)
  end)

  it("goes to HTTP/1.0 until the connection closes", function()
    local text = answer(function(_, response)
      response:write "abc"
      response:write "def"
    end, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert.is_falsy(text:find("Transfer-Encoding", 1, true))
    assert.is_truthy(text:find("\r\nConnection: close\r\n\r\nabcdef$"))
  end)

  it("has no content for HEAD and 204", function()
    with_server(function(request, response)
      response:start(request.path == "/none" and 204 or 200)
      response:write "content"
    end, function(connect)
      local client = connect()
      client:write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" .. get "/none" .. get("/", "Connection: close\r\n"))
      local text = read_all(client)
      local heads = "^HTTP/1.1 200 .-\r\n\r\nHTTP/1.1 204 .-\r\n\r\nHTTP/1.1 200 .-\r\n\r\n"
      assert.is_truthy(text:find(heads .. "7\r\ncontent\r\n0"), text)
    end)
  end)

  it("hands buffers to the kernel without copying them", function()
    local total = 3 * 200000
    with_server(function(_, response)
      moonring.scope(function(scope)
        local buffer = scope:allocate(200000)
        for _ = 1, 3 do
          buffer:reset_for_write()
          response:write(buffer)
          response:flush()
        end
      end)
    end, function(connect)
      local client = connect()
      client:write(get("/", "Connection: close\r\n"))
      local size = 0
      for buffer in client:chunks() do
        size = size + buffer:remaining()
      end
      assert.is_true(size > total and size < total + 400)
    end)
  end)

  it("is bytes of files, by length and in chunks", function()
    moonring.scope(function(scope)
      local file = scope:own(assert(fs.temporary_file()))
      assert(file:write "0123456789")
      local failures
      local text = answer(function(_, response)
        response:start(200, nil, 8)
        assert.is_true(response:write_file(file, 2, 3))
        assert.is_true(response:write "-")
        failures = codes(function() response:write_file(file, 0, 5) end, function() response:write_file(file, 0) end,
          function() response:write_file("path", 0, 1) end, function() response:write_file(file, 0, 0 / 0) end,
          function() response:write_file(file, -1, 1) end)
        assert.is_true(response:write_file(file, 6, 3))
      end)
      assert.equal("234-678", text:match "\r\n\r\n(.*)")
      assert.same({ "overflow", "argument", "argument", "argument", "argument" }, failures)
      text = answer(function(_, response)
        assert.is_true(response:write_file(file, 0, 0))
        assert.is_true(response:write_file(file, 0, 10))
        assert.is_true(response:write_file(file, 9, 1))
      end)
      assert.equal("a\r\n0123456789\r\n1\r\n9\r\n0\r\n\r\n", text:match "\r\n\r\n(.*)")
      local message, code
      text = answer(function(_, response)
        response:start(200, nil, 20)
        local ok
        ok, message, code = response:write_file(file, 0, 20)
        assert.is_nil(ok)
      end)
      assert.equal("ENODATA", code, message)
      assert.equal("0123456789", text:match "\r\n\r\n(.*)") -- cut, so it does not pass for a whole one
    end)
  end)

  it("makes its handler wait while the client does not read", function()
    local written = 0
    with_server(function(_, response)
      for _ = 1, 200 do
        if not response:write(("x"):rep(100000)) then return end
        written = written + 1
      end
    end, function(connect)
      local client = connect()
      client:write(get "/")
      client:flush()
      assert.is_truthy(eventually(function()
        local before = written
        moonring.sleep(0.1)
        return before > 0 and written == before -- it has stopped
      end))
      assert.is_true(written < 200)
      local size = 0
      while size < 200 * 100000 do
        size = size + client:read():remaining()
      end
    end)
  end)

  it("of a string longer than the queue may be arrives whole", function()
    local big = ("0123456789"):rep(300000)
    with_server(function(request, response)
      if request.path == "/chunks" then response:write(big) else response:send(200, big) end
    end, function(connect)
      local status, body = ask(connect, get "/")
      assert.equal(200, status)
      assert.is_true(body == big)
      local client = connect()
      client:write(get("/chunks", "Connection: close\r\n"))
      local text = read_all(client):match("\r\n\r\n(.*)$")
      local content = {}
      local at = 1
      while true do
        local digits, stop = text:match("^(%x+)\r\n()", at)
        local size = tonumber(digits, 16)
        if size == 0 then break end
        content[#content + 1] = text:sub(stop, stop + size - 1)
        at = stop + size + 2
      end
      assert.is_true(table.concat(content) == big)
    end)
  end)

  it("is cut when its handler fails, so that it does not pass for a whole one", function()
    local text
    local errors = with_stderr(function()
      text = answer(function(_, response)
        response:write "half"
        response:flush()
        error "trouble in the middle"
      end)
    end)
    assert.is_truthy(errors:find("trouble in the middle", 1, true))
    assert.is_truthy(text:find("4\r\nhalf\r\n$"), text)
  end)

  it("raises when it is written after its end, or begun twice", function()
    local found
    answer(function(_, response)
      response:send(200, "x")
      found = codes(function() response:write "y" end, function() response:start(200) end,
        function() response:finish() end, function() response:set_field("A", "b") end,
        function() response:json(200, {}) end, function() response:upgrade "x" end)
    end)
    assert.same({ "closed", "busy", "closed", "busy", "busy", "busy" }, found)
  end)
end)

describe("response", function()
  it("redirects", function()
    local text = answer(function(_, response) response:redirect("/there?a=b", 308) end)
    assert.is_truthy(text:find("^HTTP/1.1 308 Permanent Redirect\r\n"))
    assert.is_truthy(text:find("\r\nLocation: /there?a=b\r\n", 1, true))
  end)

  it("sends JSON", function()
    local text = answer(function(_, response) response:json(200, { 1, "a", json.null }) end)
    assert.is_truthy(text:find("\r\nContent-Type: application/json\r\n", 1, true))
    assert.is_truthy(text:find('\r\n\r\n[1,"a",null]', 1, true))
    local found
    answer(function(_, response)
      local cycle = {}
      cycle[1] = cycle
      found = codes(function() response:json(200, print) end, function() response:json(200, cycle) end)
      response:send(200)
    end)
    assert.same({ "argument", "argument" }, found)
  end)

  it("sends a list as an array also when it is empty", function()
    local text = answer(function(_, response)
      response:json(200, { json.array {}, json.array { 1 }, {}, { list = json.array {} } })
    end)
    assert.equal('[[],[1],{},{"list":[]}]', text:match "\r\n\r\n(.*)$")
    assert.is_false((pcall(json.array, "no list")))
  end)

  it("informs before it is sent, but not a client of HTTP/1.0", function()
    local function handler(_, response)
      response:inform(103, { Link = "</a.css>; rel=preload" })
      response:send(200, "x")
    end
    local text = answer(handler)
    assert.is_truthy(text:find("^HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK"))
    assert.is_truthy(answer(handler, "GET / HTTP/1.0\r\n\r\n"):find("^HTTP/1.1 200"))
  end)

  it("sends events whose data has any line ends, and refuses fields of several lines", function()
    local found
    local text = answer(function(_, response)
      local events = response:events()
      events:send { data = "one\r\ntwo\rthree\n", event = "tick", id = "7", retry = 1000 }
      events:comment "still here"
      events:send "plain"
      found = codes(function() events:send { id = "a\nb", data = "" } end, function() events:send { retry = -1 } end,
        function() events:send {} end)
    end)
    assert.is_truthy(text:find("\r\nContent-Type: text/event-stream\r\n", 1, true))
    local tick = "event: tick\nid: 7\nretry: 1000\ndata: one\ndata: two\ndata: three\ndata: \n\n"
    assert.is_truthy(text:find(tick, 1, true), text)
    assert.is_truthy(text:find(": still here\n\n", 1, true))
    assert.is_truthy(text:find("data: plain\n\n", 1, true))
    assert.same({ "argument", "argument", "argument" }, found)
  end)

  it("hands the connection over with the bytes that came behind the request", function()
    with_server(function(request, response)
      assert(request.upgrades)
      local connection, unread = response:upgrade("echo", { ["X-A"] = "b" })
      if unread:remaining() > 0 then connection:write(unread:read_string()) end
      for buffer in connection:chunks() do
        connection:write(buffer)
      end
    end, function(connect)
      local client = connect()
      client:write(get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n") .. "early")
      client:flush()
      moonring.sleep(0.02)
      client:write " late"
      client:shutdown()
      local text = read_all(client)
      assert.is_truthy(text:find("^HTTP/1.1 101 Switching Protocols\r\n"))
      assert.is_truthy(text:find("\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nearly late$"), text)
    end)
  end)

  it("tunnels a CONNECT, and refuses to upgrade who has not asked", function()
    local found
    with_server(function(request, response)
      if request.method == "CONNECT" then
        local connection = response:upgrade()
        connection:write("to " .. request.target)
        return
      end
      found = codes(function() response:upgrade "x" end)
      response:send(200)
    end, function(connect)
      local client = connect()
      client:write "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
      local text = read_all(client)
      assert.is_truthy(text:find("^HTTP/1.1 200 OK\r\n.-\r\n\r\nto a.example:443$"), text)
      assert.is_falsy(text:find("Content-Length", 1, true))
      ask(connect, get "/")
      assert.same({ "argument" }, found)
    end)
  end)
end)

describe("request", function()
  it("gives path, query, parameters and host, of an absolute target too", function()
    local seen = {}
    with_server(function(request, response)
      seen[#seen + 1] = table.concat({ request.path, tostring(request.query), request.host,
        tostring(request:parameter "a"), table.concat(request:parameter_all "b", "+"), request.version }, " ")
      response:send(200)
    end, function(connect)
      ask(connect, get "/p%20q?a=1%26&b=x+y&b=&b")
      ask(connect, "GET http://other.example/abs?a=%zz HTTP/1.1\r\nHost: test\r\n\r\n")
      ask(connect, "GET http://other.example HTTP/1.1\r\nHost: test\r\n\r\n")
      ask(connect, "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n")
    end)
    assert.same({ "/p%20q a=1%26&b=x+y&b=&b test 1& x y++ 1.1", "/abs a=%zz other.example %zz  1.1",
      "/ nil other.example nil  1.1", "* nil test nil  1.1" }, seen)
  end)

  it("keeps what middleware puts on it", function()
    local body
    with_server(function(request, response)
      request.user = { name = "ada" }
      response:send(200, request.user.name .. tostring(request.nothing))
    end, function(connect)
      body = select(2, ask(connect, get "/"))
    end)
    assert.equal("adanil", body)
  end)

  it("is not told to continue behind the head of a response that was begun before", function()
    local text = answer(function(request, response)
      response:start(200)
      response:write(assert(request:body()))
    end, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert.is_truthy(text:find("\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n$"), text)
  end)

  it("gives fields that are repeated", function()
    local all, none
    with_server(function(request, response)
      all, none = request:header_all "x-a", request:header_all "x-b"
      response:send(200)
    end, function(connect)
      ask(connect, get("/", "X-A: 1\r\nx-a: 2\r\n"))
    end)
    assert.same({ "1", "2" }, all)
    assert.same({}, none)
  end)

  it("reads a chunked body and its trailers, at every split", function()
    with_server(function(request, response)
      local body = assert(request:body())
      response:send(200, body .. tostring(request:trailer "x-sum"))
    end, function(connect)
      local text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"
      support.assert_answer_at_every_split(connect, text, "hello world11")
    end)
  end)

  it("tells a handler that a chunked body is malformed or too long, and answers for one that says nothing", function()
    local seen = {}
    local function handler(request, response)
      local body, message, code = request:body()
      seen[#seen + 1] = tostring(code)
      if request.path == "/own" then response:send(422, message) end
      return body
    end
    local head = "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    local bad, long = "zz\r\n", "b\r\nhello world\r\n0\r\n\r\n"
    for text, status in pairs {
      [head:format "/" .. bad] = 400, [head:format "/" .. long] = 413, [head:format "/own" .. bad] = 422,
    } do
      local all = answer(handler, text .. get "/never", { limits = { body_bytes = 10 } })
      assert.equal(status, tonumber(all:match("^HTTP/1.1 (%d+)")))
      assert.equal(1, select(2, all:gsub("HTTP/1.1", "")))
    end
    table.sort(seen)
    assert.same({ "EBADMSG", "EBADMSG", "EMSGSIZE" }, seen)
  end)

  it("bounds a body that is read as a string", function()
    local text = answer(function(request, response)
      local body = request:body(4)
      if body then response:send(200, body) end
    end, post("/", "text/plain", "12345", "Connection: close\r\n"))
    assert.is_truthy(text:find("^HTTP/1.1 413"))
  end)

  it("reads forms", function()
    local text = answer(function(request, response)
      local values, list = request:form()
      response:send(200, values.a .. "|" .. values["b c"] .. "|" .. #list)
    end, post("/", "application/x-www-form-urlencoded; charset=utf-8", "a=1+2&b%20c=%C3%A9&a=3", "Connection: close\r\n"))
    assert.is_truthy(text:find("\r\n\r\n1 2|\195\169|6$"))
    text = answer(function(request) request:form() end, post("/", "text/plain", "a=1", "Connection: close\r\n"))
    assert.is_truthy(text:find("^HTTP/1.1 415"))
  end)

  it("reads JSON, and answers for what is none", function()
    local function handler(request, response)
      local value = request:json()
      if value ~= nil then response:json(200, { got = value.a, is_null = value.n == json.null }) end
    end
    local function with(content, content_type)
      return answer(handler, post("/", content_type or "application/json", content, "Connection: close\r\n"))
    end
    assert.is_truthy(with('{"a":[1,2],"n":null}'):find('"got":[1,2]', 1, true))
    assert.is_truthy(with('{"a":[1,2],"n":null}', "application/problem+json"):find('"is_null":true', 1, true))
    assert.is_truthy(with('{"a":'):find("^HTTP/1.1 400"))
    assert.is_truthy(with(("["):rep(1000) .. ("]"):rep(1000)):find("^HTTP/1.1 400"))
    assert.is_truthy(with("{}", "text/html"):find("^HTTP/1.1 415"))
    for _, text in ipairs { '{"a":"\255"}', '{"a":"\\ud800"}', '{"a":NaN}', '{"a":Infinity}', '{"a":0x1}', '{"a":01}',
      '{"a":1} x',
      '{"a":1,}', "{'a':1}", "", " ", "\239\187\191{}", '{"a":1}\0' } do
      assert.is_truthy(with(text):find("^HTTP/1.1 400"), text)
    end
    local deep = ("["):rep(json.DEPTH_MAX - 1)
    assert.is_truthy(with('{"a":' .. deep .. ("]"):rep(#deep) .. "}"):find("^HTTP/1.1 200"))
    assert.is_truthy(with('{"a":[' .. deep .. ("]"):rep(#deep) .. "]}"):find("^HTTP/1.1 400"))
  end)

  it("is refused with what is wrong with it when its handler hands that on as an error", function()
    local output = with_stderr(function()
      with_server(function(request, response)
        if request.path == "/json" then response:json(200, (assert(request:json()))) end
        if request.path == "/bug" then response:send(200, request:json().text) end
        if request.path == "/chunks" then
          for _ in request:chunks() do end -- luacheck: ignore
          response:send(200)
        end
      end, function(connect, server)
        local status, body = ask(connect, post("/json", "application/json", "{"))
        assert.equal(400, status)
        assert.is_truthy(body:find("malformed JSON", 1, true))
        assert.equal(415, (ask(connect, post("/json", "text/plain", "{}"))))
        local head = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert.equal(200, (ask(connect, head .. "1\r\na\r\n0\r\n\r\n")))
        assert.equal(400, (ask(connect, head .. "1\r\na\r\nx\r\n")))
        local leaving = connect() -- in the middle of its body: that is nobody's failure
        leaving:write(head .. "5\r\nab")
        leaving:shutdown()
        assert.equal("", read_all(leaving))
        assert.equal(0, server:statistics().failed)
        assert.equal(500, (ask(connect, post("/bug", "application/json", "{"))))
        assert.equal(1, server:statistics().failed)
      end)
    end)
    assert.equal(1, select(2, output:gsub("has failed", "")), output)
    assert.is_truthy(output:find("the handler of POST /bug has failed", 1, true), output)
  end)

  it("tells who has sent it, through proxies that are trusted", function()
    local function told(fields, options)
      local text = answer(function(request, response)
        assert(request.peer.port > 0)
        response:send(200, ("%s %s %s"):format(request.peer.host, request.client, request.scheme))
      end, get("/", fields .. "Connection: close\r\n"), options)
      return text:match "\r\n\r\n(.*)$"
    end
    local from = "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\n"
    local proxies = { trusted_proxies = { "127.0.0.0/8", "10.0.0.0/8" } }
    assert.equal("127.0.0.1 127.0.0.1 http", told(from)) -- nobody is trusted
    assert.equal("127.0.0.1 127.0.0.1 http", told(from, { trusted_proxies = { "192.168.0.1", "unix", "::1" } }))
    assert.equal("127.0.0.1 203.0.113.7 https", told(from, proxies))
    assert.equal("127.0.0.1 10.1.2.3 https", told(from, { trusted_proxies = { "127.0.0.1" } }))
    assert.equal("127.0.0.1 127.0.0.1 http", told("", proxies))
    assert.equal("127.0.0.1 127.0.0.1 http", told("X-Forwarded-For: unknown\r\nX-Forwarded-Proto: ftp\r\n", proxies))
    assert.equal("127.0.0.1 10.0.0.9 http", told("X-Forwarded-For: 1.2.3.4, who, 10.0.0.9\r\n", proxies))
    assert.equal("127.0.0.1 2001:db8::1 http", told("X-Forwarded-For: [2001:db8::1]:443, 10.0.0.9:80\r\n", proxies))
    assert.equal("127.0.0.1 9.9.9.9 http", told("X-Forwarded-For: 9.9.9.9, ::ffff:10.0.0.1\r\n", proxies))
    for _, network in ipairs { "10.0.0.0/33", "10.0.0.0/", "example.org", "::/129", 7, "" } do
      local ok, failure = pcall(http.server, { port = 0, trusted_proxies = { network } })
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)

  it("tells who has sent it through a proxy on a Unix socket", function()
    local net = require "moonring.net"
    moonring.scope(function(scope)
      local directory = scope:own(assert(fs.temporary_directory()))
      local path = directory.path .. "/socket"
      for _, proxies in ipairs { { "unix" }, { "127.0.0.1" } } do
        local server = scope:own(assert(http.server { path = path, trusted_proxies = proxies }))
        scope:spawn(server.serve, server, function(request, response)
          response:send(200, ("%s %s"):format(request.peer.kind, tostring(request.client)))
        end)
        local client = assert(net.connect { path = path })
        client:write(get("/", "X-Forwarded-For: 203.0.113.7\r\n"))
        local _, body = read_response(client)
        assert.equal(proxies[1] == "unix" and "unix 203.0.113.7" or "unix nil", body)
        client:close()
        server:close()
      end
    end)
  end)

  it("may be given less room than the server gives bodies", function()
    local function handler(request, response)
      request:limit_body(4)
      local body = request:body()
      if body then response:send(200, body) end
    end
    local function status_of(content, fields)
      return tonumber(answer(handler, ("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n%s"):format(fields,
        content))
        :match "^HTTP/1.1 (%d+)")
    end
    assert.equal(200, status_of("1234", "Content-Length: 4\r\n"))
    assert.equal(413, status_of("12345", "Content-Length: 5\r\n"))
    assert.equal(200, status_of("4\r\n1234\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n"))
    assert.equal(413, status_of("4\r\n1234\r\n1\r\n5\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n"))
    assert.equal(200, status_of("", "Content-Length: 0\r\n"))
    -- Who waits to be told is not told to go on.
    local text = answer(handler, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert.is_truthy(text:find "^HTTP/1.1 413 ")
  end)

  it("that could not be read has nothing to do with the next one", function()
    with_stderr(function()
      with_server(function(request, response)
        if request.path == "/1" then
          request:form()
          response:send(200)
        end
      end, function(connect)
        local client = connect()
        client:write(get "/1" .. get "/2")
        local status, _, _, rest = read_response(client)
        assert.equal(200, status)
        assert.equal(500, (read_response(client, rest))) -- and not 415
      end)
    end)
  end)

  it("raises closed for everything once its handler has ended", function()
    local kept_request, kept_response
    with_server(function(request, response)
      kept_request, kept_response = request, response
      response:send(200)
    end, function(connect)
      ask(connect, get "/?a=b")
      local found = codes(
        function() return kept_request.path end, function() return kept_request.cookies end,
        function() return kept_request:parameter "a" end, function() return kept_request:header_all "a" end,
        function() return kept_request:read() end, function() return kept_request:trailer "a" end,
        function() return kept_request:multipart() end, function() return kept_request:form() end,
        function() return kept_response:write "a" end, function() return kept_response:set_field("a", "b") end,
        function() return kept_response:flush() end, function() return kept_response:finish() end,
        function() return kept_response:events() end, function() return kept_response:upgrade() end
      )
      for number = 1, 14 do
        assert.equal("closed", found[number], "number " .. number)
      end
    end)
  end)
end)

describe("a multipart body", function()
  local function form(...)
    local parts = { "preamble that nobody reads" }
    for _, part in ipairs { ... } do
      parts[#parts + 1] = "\r\n--BOUND\r\n" .. part
    end
    return table.concat(parts) .. "\r\n--BOUND--\r\nepilogue"
  end

  it("is streamed part by part, and what is not read is passed over", function()
    local content = form(
      'Content-Disposition: form-data; name="text"\r\n\r\nhello',
      'Content-Disposition: form-data; name="skipped"; filename="a \\"b\\".bin"\r\nContent-Type: image/png\r\n\r\n'
        .. ("\r\n--BOUN"):rep(20000),
      'content-disposition: form-data; name="last"\r\n\r\n')
    local text = answer(function(request, response)
      local seen = {}
      for part in request:multipart() do
        local what = part.name .. "," .. tostring(part.filename) .. "," .. tostring(part.content_type)
        seen[#seen + 1] = what .. "," .. (part.name == "skipped" and "-" or part:text())
      end
      response:send(200, table.concat(seen, "|"))
    end, post("/", "multipart/form-data; boundary=BOUND", content, "Connection: close\r\n"))
    assert.equal('text,nil,nil,hello|skipped,a "b".bin,image/png,-|last,nil,nil,', text:match "\r\n\r\n(.*)$")
  end)

  it("is refused for what is malformed or over a limit", function()
    local function handler(request, response)
      local parts = request:multipart { part_count = 2, part_head_bytes = 100, part_bytes = 10 }
      while true do
        local part, _, code = parts:next()
        if code then return end
        if not part then break end
        local ok, _, read_code = part:text()
        if not ok then
          assert(read_code)
          return
        end
      end
      response:send(200)
    end
    local part = 'Content-Disposition: form-data; name="a"\r\n\r\nx'
    for content, status in pairs {
      [form(part, part)] = 200,
      [form(part, part, part)] = 413,
      [form(part .. ("x"):rep(10))] = 413,
      [form("A: " .. ("x"):rep(200) .. "\r\n\r\n")] = 413,
      [form("A : b\r\n\r\nx")] = 400,
      ["--BOUNDX\r\n\r\n"] = 400,
      ["\r\n--BOUND\r\n" .. part] = 400, -- it is cut
      ["nothing of the kind"] = 400,
    } do
      local text = answer(handler, post("/", "multipart/form-data; boundary=BOUND", content, "Connection: close\r\n"))
      assert.equal(status, tonumber(text:match("^HTTP/1.1 (%d+)")), content)
    end
  end)

  it("raises in a loop what can't be read, and that is the answer when nobody catches it", function()
    local function handler(request, response)
      for part in request:multipart { part_bytes = 10 } do
        for _ in part:chunks() do end -- luacheck: ignore
      end
      response:send(204)
    end
    local part = 'Content-Disposition: form-data; name="a"\r\n\r\n'
    local output = with_stderr(function()
      for _, case in ipairs {
        { 204, "multipart/form-data; boundary=BOUND", form(part .. "x") },
        { 204, 'Multipart/Form-Data; charset=utf-8; Boundary="BOUND"', form(part .. "x") },
        { 413, "multipart/form-data; boundary=BOUND", form(part .. ("x"):rep(11)) },
        { 400, "multipart/form-data; boundary=BOUND", "\r\n--BOUND\r\n" .. part .. "x" },
        { 415, "text/plain", form(part .. "x") },
        { 400, "multipart/form-data", form(part .. "x") },
        { 400, "multipart/form-data; xboundary=BOUND", form(part .. "x") },
        { 400, "multipart/form-data; boundary=" .. ("B"):rep(71), form(part .. "x") },
        { 400, 'multipart/form-data; boundary=""', form(part .. "x") },
      } do
        local text = answer(handler, post("/", case[2], case[3], "Connection: close\r\n"))
        assert.equal(case[1], tonumber(text:match("^HTTP/1.1 (%d+)")), case[2])
      end
    end)
    assert.equal("", output)
  end)

  it("has parts inside of parts, which are content like any other", function()
    local inner = "--inner\r\nContent-Type: text/plain\r\n\r\n1\r\n--inner--"
    local content = form('Content-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n'
      .. inner, 'Content-Disposition: form-data; name="b"\r\n\r\n--BOUN\r\n--BOUN')
    local text = answer(function(request, response)
      local seen = {}
      for part in request:multipart() do
        seen[#seen + 1] = part:text()
      end
      response:json(200, seen)
    end, post("/", "multipart/form-data; boundary=BOUND", content, "Connection: close\r\n"))
    assert.same({ inner, "--BOUN\r\n--BOUN" }, json.decode(text:match "\r\n\r\n(.*)$"))
  end)

  it("names its parts and files as browsers, curl and the RFC do", function()
    local cases = {
      ['name="a"; filename="b"'] = { "a", "b" },
      ["name=a; filename=b.txt"] = { "a", "b.txt" },
      ['NAME="a"; FileName="b"'] = { "a", "b" },
      ['name = "a" ;filename= "b" '] = { "a", "b" },
      ['filename="; name=evil; x="; name="real"'] = { "real", "; name=evil; x=" },
      ['filename="x\\"; name=evil; y="; name="real"'] = { "real", 'x"; name=evil; y=' },
      ['name="a"; filename="C:\\new\\file.txt"'] = { "a", "C:\\new\\file.txt" },
      ['name="a"; filename="ends in \\"'] = { "a", "ends in \\" },
      ['name="a"; filename="two \\\\ of them"'] = { "a", "two \\ of them" },
      ['name="a"; filename="b%22c%0D%0A.txt"'] = { "a", 'b"c\r\n.txt' },
      ['name="a"; filename="\195\169.txt"'] = { "a", "\195\169.txt" },
      ["name=\"a\"; filename*=UTF-8''%e2%82%ac%20rates"] = { "a", "\226\130\172 rates" },
      ["name=\"a\"; filename=\"plain\"; filename*=UTF-8''other"] = { "a", "plain" },
      ["name=\"a\"; filename*=iso-8859-1''x"] = { "a" },
      ['name="a"; name="b"'] = { "a" },
      ['name="a"; filename=""'] = { "a", "" },
      ['name=""'] = { "" },
      ['name="never closed'] = {},
      ["name"] = {},
      [";;; name=a ;; filename"] = { "a" },
    }
    local seen
    with_server(function(request, response)
      for part in request:multipart() do
        seen = { part.name, part.filename }
      end
      response:send(204)
    end, function(connect)
      for disposition, expected in pairs(cases) do
        local content = form("Content-Disposition: form-data; " .. disposition .. "\r\n\r\nx")
        assert.equal(204, (ask(connect, post("/", "multipart/form-data; boundary=BOUND", content))))
        assert.same(expected, seen, disposition)
      end
    end)
  end)
end)

it("nothing stays behind of requests that ended in every way", function()
  local before = moonring.stats()
  with_stderr(function()
    with_server(function(request, response)
      if request.path == "/body" then request:read() end
      if request.path == "/stream" then response:write "x" end
      if request.path == "/fail" then error "on purpose" end
      if request.path ~= "/none" then
        if request.path ~= "/stream" then response:send(200) end
      end
    end, function(connect)
      for _ = 1, 10 do
        for _, path in ipairs { "/body", "/stream", "/fail", "/none", "/" } do
          local client = connect()
          client:write(post(path, "text/plain", ("x"):rep(5000)):sub(1, 1000))
          client:flush()
          moonring.sleep(0)
          client:close()
        end
      end
      moonring.sleep(0.05)
    end)
  end)
  assert.is_truthy(eventually(function()
    local after = moonring.stats()
    return after.connections <= before.connections and after.tasks <= before.tasks
      and after.memory.iovec_bytes == after.receive_ring_bytes
  end))
end)
