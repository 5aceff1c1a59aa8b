-- Middleware that comes with moonring.http.

local http = require "moonring.http"
local buffer = require "moonring.buffer"
local base64 = require "moonring.http.codec.base64"
local test = require "moonring.test"
local support = require "spec.support.http"
local read_all = require("spec.support.stream").read_all

local with_server = support.with_server

-- Asks a router with that middleware. Returns status, fields by name in lower case (several joined by "|"), and content.
local function ask(router, line, fields)
  local text
  with_server(router, function(connect)
    local client = connect()
    client:write(line .. " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" .. (fields or "") .. "\r\n")
    text = read_all(client)
  end)
  local head, body = text:match "^(.-\r\n)\r\n(.*)$"
  local found = {}
  for name, value in head:gmatch "\r\n([^:]+): ([^\r]*)" do
    name = name:lower()
    found[name] = found[name] and found[name] .. "|" .. value or value
  end
  return tonumber(head:match "^HTTP/1.1 (%d+)"), found, body
end

local function router_with(middleware)
  local router = http.router()
  router:use(middleware)
  router:get("/", function(request, response) response:send(200, "hello " .. (request.user or "you")) end)
  router:put("/", function(_, response) response:send(204) end)
  return router
end

local function refuses(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("argument", failure.code)
end

describe("http.cors", function()
  local ORIGIN = "Origin: https://good.test\r\n"
  local PREFLIGHT = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-token\r\n"

  it("lets the pages see that may, and no others", function()
    local router = router_with(http.cors { origins = { "https://good.test" }, expose = { "X-A", "X-B" },
      credentials = true })
    local status, fields, body = ask(router, "GET /", ORIGIN)
    assert.same({ 200, "hello you" }, { status, body })
    assert.equal("https://good.test", fields["access-control-allow-origin"])
    assert.equal("true", fields["access-control-allow-credentials"])
    assert.equal("X-A, X-B", fields["access-control-expose-headers"])
    assert.equal("Origin", fields.vary)
    for _, other in ipairs { "", "Origin: https://evil.test\r\n", "Origin: null\r\n",
      "Origin: https://good.test.evil.test\r\n" } do
      status, fields = ask(router, "GET /", other)
      assert.equal(200, status)
      assert.is_nil(fields["access-control-allow-origin"])
      assert.equal("Origin", fields.vary)
    end
  end)

  it("answers preflights, also for paths that have no OPTIONS", function()
    local router = router_with(http.cors { origins = { "https://good.test" }, max_age = 60 })
    local status, fields, body = ask(router, "OPTIONS /", ORIGIN .. PREFLIGHT)
    assert.same({ 204, "" }, { status, body })
    assert.equal("https://good.test", fields["access-control-allow-origin"])
    assert.equal("GET, HEAD, POST, PUT, PATCH, DELETE", fields["access-control-allow-methods"])
    assert.equal("x-token", fields["access-control-allow-headers"])
    assert.equal("60", fields["access-control-max-age"])
    status, fields = ask(router, "OPTIONS /", "Origin: https://evil.test\r\n" .. PREFLIGHT)
    assert.equal(204, status)
    assert.is_nil(fields["access-control-allow-origin"])
    assert.is_nil(fields["access-control-allow-methods"])
    status, fields = ask(router, "OPTIONS /", ORIGIN) -- no preflight
    assert.equal(204, status)
    assert.equal("GET, HEAD, OPTIONS, PUT", fields.allow)
  end)

  it("lets all see with an asterisk, and asks a function", function()
    local router = router_with(http.cors { origins = "*", methods = { "GET" }, headers = { "X-Own" } })
    local _, fields = ask(router, "OPTIONS /", ORIGIN .. PREFLIGHT)
    assert.equal("*", fields["access-control-allow-origin"])
    assert.equal("GET", fields["access-control-allow-methods"])
    assert.equal("X-Own", fields["access-control-allow-headers"])
    assert.is_nil(fields.vary)
    router = router_with(http.cors { origins = function(origin, request) return origin:find "%.test$"
      and request.path == "/" end })
    _, fields = ask(router, "GET /", ORIGIN)
    assert.equal("https://good.test", fields["access-control-allow-origin"])
    _, fields = ask(router, "GET /", "Origin: https://other.example\r\n")
    assert.is_nil(fields["access-control-allow-origin"])
  end)

  it("raises what would let everybody read everything, and options that are none", function()
    refuses(http.cors, { origins = "*", credentials = true })
    refuses(http.cors, { origins = "https://good.test" })
    refuses(http.cors)
    refuses(http.cors, { origins = "*", origin = {} })
  end)
end)

describe("http.basic_auth", function()
  it("lets in who has the password, and names them", function()
    local router = router_with(http.basic_auth { users = { ann = "s:cret", b = "" }, realm = "inside" })
    for user, password in pairs { ann = "s:cret", b = "" } do
      local status, _, body = ask(router, "GET /", "Authorization: Basic " .. base64(user .. ":" .. password) .. "\r\n")
      assert.same({ 200, "hello " .. user }, { status, body })
    end
    for _, value in ipairs { "", "Basic", "Basic ", "Basic ****", "Bearer " .. base64 "ann:s:cret", "Basic "
      .. base64 "ann:secret",
      "Basic " .. base64 "ann", "Basic " .. base64 "eve:", "Basic " .. base64 ":s:cret", "Basic " .. base64 "ann:s:cret\0",
      "Basic " .. base64 "ann:s:cret" .. " x" } do
      local status, fields = ask(router, "GET /", value ~= "" and "Authorization: " .. value .. "\r\n")
      assert.equal(401, status, value)
      assert.equal('Basic realm="inside", charset="UTF-8"', fields["www-authenticate"])
    end
  end)

  it("asks a function", function()
    local router = router_with(http.basic_auth { check = function(user, password, request)
      return user == password and request.method == "GET"
    end })
    assert.equal(200, (ask(router, "GET /", "authorization: basic " .. base64 "x:x" .. "\r\n")))
    assert.equal(401, (ask(router, "PUT /", "authorization: basic " .. base64 "x:x" .. "\r\n")))
  end)

  it("raises options that are none", function()
    refuses(http.basic_auth, {})
    refuses(http.basic_auth, { users = {}, realm = 'a "b"' })
    refuses(http.basic_auth, { users = {}, realm = "a\r\nb" })
    refuses(http.basic_auth, { users = {}, user = "x" })
  end)
end)

describe("http.compress", function()
  local LONG = ("the same again "):rep(200)
  local GZIP = "Accept-Encoding: gzip\r\n"

  local function plain(text)
    local input = buffer.wrap(text)
    local output = assert(buffer.inflate(input, { format = "gzip" }))
    local out = output:to_string()
    output:release()
    input:release()
    return out
  end

  local router = http.router()
  router:use(http.compress())
  router:get("/long", function(_, response) response:send(200, LONG) end)
  router:get("/short", function(_, response) response:send(200, "short") end)
  router:get("/json", function(_, response) response:json(200, { text = LONG }, { ETag = '"1"' }) end)
  router:get("/tagged", function(_, response) response:set_field("ETag", '"2"'):send(200, LONG, { Vary = "Cookie" }) end)
  router:get("/png", function(_, response) response:send(200, LONG, { ["content-type"] = "image/png" }) end)
  router:get("/done", function(_, response) response:send(200, LONG, { ["Content-Encoding"] = "br" }) end)
  router:get("/pieces", function(_, response)
    response:write(LONG)
    response:write(LONG)
  end)

  it("compresses what gains by it for who takes it", function()
    local status, fields, body = ask(router, "GET /long", GZIP)
    assert.equal(200, status)
    assert.equal("gzip", fields["content-encoding"])
    assert.equal("Accept-Encoding", fields.vary)
    assert.equal(#body, tonumber(fields["content-length"]))
    assert.is_true(#body < 200)
    assert.equal(LONG, plain(body))
    local _, of_head, nothing = ask(router, "HEAD /long", GZIP)
    assert.same({ fields["content-length"], "gzip", "" }, { of_head["content-length"], of_head["content-encoding"],
      nothing })
  end)

  it("makes strong tags weak, and keeps other fields", function()
    local _, fields, body = ask(router, "GET /json", GZIP)
    assert.same({ "gzip", "application/json", 'W/"1"' }, { fields["content-encoding"], fields["content-type"], fields.etag })
    assert.equal('{"text":"' .. LONG .. '"}', plain(body))
    _, fields = ask(router, "GET /tagged", GZIP)
    assert.same({ "gzip", 'W/"2"' }, { fields["content-encoding"], fields.etag })
    assert.is_truthy(fields.vary:find "Cookie" and fields.vary:find "Accept%-Encoding", fields.vary)
    _, fields = ask(router, "GET /tagged")
    assert.equal('"2"', fields.etag)
  end)

  it("leaves alone what is short, of another type, compressed already, in pieces, or for who takes none", function()
    for _, path in ipairs { "/short", "/png", "/done", "/pieces" } do
      local status, fields, body = ask(router, "GET " .. path, GZIP)
      assert.equal(200, status)
      assert.equal(path == "/done" and "br" or nil, fields["content-encoding"])
      assert.is_truthy(body:find(path == "/short" and "short" or LONG, 1, true))
    end
    for _, accepts in ipairs { "", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0, *\r\n" } do
      local _, fields, body = ask(router, "GET /long", accepts)
      assert.is_nil(fields["content-encoding"])
      assert.equal("Accept-Encoding", fields.vary)
      assert.equal(LONG, body)
    end
  end)

  it("raises options that are none", function()
    refuses(http.compress, { level = 10 })
    refuses(http.compress, { level = 1.5 })
    refuses(http.compress, { size = 1 })
  end)
end)

describe("http.rate_limit", function()
  -- Statuses of so many requests of a client, one after the other.
  local function statuses(middleware, client, count)
    local out, retry = {}, nil
    for number = 1, count do
      local response = { send = function(_, status, _, fields)
        out[number], retry = status, fields and fields["Retry-After"]
      end }
      middleware({ client = client }, response, function() out[number] = 200 end)
    end
    return table.concat(out, " "), retry
  end

  it("lets so many pass, then so many as time brings", function()
    test.virtual_clock(function()
      local moonring = require "moonring"
      local limit = http.rate_limit { per_second = 0.5, burst = 3 }
      assert.same({ "200 200 200 429 429", "2" }, { statuses(limit, "a", 5) })
      assert.equal("200 200 200 429", (statuses(limit, "b", 4))) -- another client
      moonring.sleep(2)
      assert.equal("200 429", (statuses(limit, "a", 2)))
      moonring.sleep(1000)
      assert.equal("200 200 200 429", (statuses(limit, "a", 4))) -- no more than the burst
    end)
  end)

  it("counts by the user's key, and not where that is nil", function()
    test.virtual_clock(function()
      local limit = http.rate_limit { per_second = 1, burst = 1,
        key = function(request) return request.client:match "^k" end }
      assert.equal("200 429", (statuses(limit, "k1", 2)))
      assert.equal("429", (statuses(limit, "k2", 1)))
      assert.equal("200 200 200", (statuses(limit, "x", 3)))
    end)
  end)

  it("takes note of so many clients only", function()
    test.virtual_clock(function()
      local moonring = require "moonring"
      local limit = http.rate_limit { per_second = 1, burst = 1, clients = 10 }
      for number = 1, 1000 do
        assert.equal("200", (statuses(limit, "client " .. number, 1)))
      end
      moonring.sleep(10)
      assert.equal("200 429", (statuses(limit, "client 1", 2)))
    end)
  end)

  it("is for addresses of connections, over the wire", function()
    local router = router_with(http.rate_limit { per_second = 1 / 3600, burst = 2 })
    assert.equal(200, (ask(router, "GET /")))
    assert.equal(200, (ask(router, "GET /")))
    local status, fields = ask(router, "GET /")
    assert.equal(429, status)
    assert.is_true(tonumber(fields["retry-after"]) > 3000)
  end)

  it("raises options that are none", function()
    refuses(http.rate_limit)
    refuses(http.rate_limit, { per_second = 0 })
    refuses(http.rate_limit, { per_second = 1, burst = -1 })
    refuses(http.rate_limit, { per_minute = 1 })
  end)
end)
