local http = require "moonring.http"
local support = require "spec.support.http"

local with_server, get, ask = support.with_server, support.get, support.ask

-- Asks a router for "METHOD /path" and returns status and body of the answer, and its head.
local function route(router, line)
  local method, path = line:match "^(%S+) (%S+)$"
  local status, body, head
  with_server(router, function(connect)
    local client = connect()
    client:write(("%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):format(method, path))
    local text = require("spec.support.stream").read_all(client)
    head, body = text:match "^(.-\r\n\r\n)(.*)$"
    status = tonumber(head:match "^HTTP/1.1 (%d+)")
  end)
  return status, body, head
end

local function says(text)
  return function(request, response)
    local names = {}
    for name, value in pairs(request.parameters or {}) do
      names[#names + 1] = name .. "=" .. value
    end
    table.sort(names)
    response:send(200, text .. " " .. table.concat(names, ","))
  end
end

describe("a router", function()
  local router = http.router()
  router:get("/", says "root")
  router:get("/users", says "users")
  router:post("/users", says "new user")
  router:get("/users/{id}", says "user")
  router:get("/users/me", says "me")
  router:get("/users/{id}/posts/{post}", says "post")
  router:get("/users/{name}/{rest}", says "two")
  router:get("/files/*path", says "files")
  router:get("/caf\195\169", says "cafe")
  router:get("/slash/", says "slash")
  router:delete("/users/{other}", says "delete")

  local cases = {
    ["GET /"] = "root ",
    ["GET /users"] = "users ",
    ["POST /users"] = "new user ",
    ["GET /users?page=2"] = "users ",
    ["GET /users/7"] = "user id=7",
    ["GET /users/me"] = "me ",
    ["GET /users/7/posts/8"] = "post id=7,post=8",
    ["GET /users/7/posts"] = "two name=7,rest=posts",
    ["GET /users/7/x"] = "two name=7,rest=x",
    ["GET /users/a%2Fb%20c"] = "user id=a/b c",
    ["GET /files/"] = "files path=",
    ["GET /files/a/b//c"] = "files path=a/b//c",
    ["GET /files/../x"] = "files path=../x",
    ["GET /caf%C3%A9"] = "cafe ",
    ["GET /%75sers"] = "users ",
    ["GET /slash/"] = "slash ",
    ["DELETE /users/9"] = "delete other=9",
    ["GET http://elsewhere/users/7"] = "user id=7",
    ["DELETE /users/me"] = "delete other=me", -- the text has only a GET
  }
  for line, expected in pairs(cases) do
    it("takes " .. line, function()
      local status, body = route(router, line)
      assert.equal(200, status)
      assert.equal(expected, body)
    end)
  end

  for _, line in ipairs { "GET /nothing", "GET /users/", "GET /users/7/", "GET /slash", "GET //", "GET /users/7/posts/8/9",
    "GET /" .. ("a/"):rep(2000), "GET /users%2F7" } do
    it("finds nothing for " .. line:sub(1, 30), function()
      assert.equal(404, (route(router, line)))
    end)
  end

  it("answers HEAD where there is a GET, without content", function()
    local status, body, head = route(router, "HEAD /users/7")
    assert.equal(200, status)
    assert.equal("", body)
    assert.is_truthy(head:find("Content%-Length: 9\r\n"))
  end)

  it("answers other methods with 405 and those that there are", function()
    local status, _, head = route(router, "PATCH /users")
    assert.equal(405, status)
    assert.is_truthy(head:find("\r\nAllow: GET, HEAD, OPTIONS, POST\r\n", 1, true), head)
    status, _, head = route(router, "POST /users/me") -- of every pattern that matches
    assert.equal(405, status)
    assert.is_truthy(head:find("\r\nAllow: DELETE, GET, HEAD, OPTIONS\r\n", 1, true), head)
  end)

  it("passes patterns over that have no route for the method", function()
    local all = http.router()
    all:get("/a/b", says "text"):get("/a/{x}", says "name"):put("/{y}/b", says "other name"):post("/*rest", says "rest")
    for line, expected in pairs {
      ["GET /a/b"] = "text ", ["GET /a/c"] = "name x=c", ["PUT /a/b"] = "other name y=a", ["PUT /%61/b"] = "other name y=a",
      ["POST /a/b"] = "rest rest=a/b", ["POST /a/c"] = "rest rest=a/c",
    } do
      assert.equal(expected, select(2, route(all, line)), line)
    end
    local status, _, head = route(all, "DELETE /a/b")
    assert.equal(405, status)
    assert.is_truthy(head:find("\r\nAllow: GET, HEAD, OPTIONS, POST, PUT\r\n", 1, true), head)
    assert.equal(405, (route(all, "PUT /a/c")))
  end)

  it("tells middleware of what it refuses, too", function()
    local strict = http.router()
    strict:use(function(request, response, next)
      response:set_field("X-Seen", request.method)
      return next(request, response)
    end)
    strict:get("/a", says "a")
    for _, method in ipairs { "PUT", "OPTIONS" } do
      local _, _, head = route(strict, method .. " /a")
      assert.is_truthy(head:find("\r\nX-Seen: " .. method .. "\r\n", 1, true), head)
    end
  end)

  it("answers OPTIONS", function()
    local status, body, head = route(router, "OPTIONS /users/5")
    assert.equal(204, status)
    assert.equal("", body)
    assert.is_truthy(head:find("\r\nAllow: DELETE, GET, HEAD, OPTIONS\r\n", 1, true), head)
    assert.equal(204, (route(router, "OPTIONS *")))
  end)

  it("runs middleware in order, of the router, its groups and the route, and they may answer by themselves", function()
    local inner = http.router()
    local function mark(name)
      return function(request, response, next)
        request.marks = (request.marks or "") .. name
        next(request, response)
        request.marks = request.marks .. name:upper()
        if name == "a" then response:add_field("never", "too late") end
      end
    end
    local function marks(request, response)
      response:start(200)
      response:write(request.marks)
    end
    inner:use(function(request, response, next)
      response:set_field("X-Outer", "yes")
      return next(request, response)
    end)
    local group = inner:group "/admin"
    group:use(mark "b")
    group:get("/x", mark "c", mark "d", marks)
    group:get("/closed", function(_, response) response:send(403, "no") end, marks)
    local deeper = group:group "/deeper"
    deeper:use(mark "e")
    deeper:get("/{id}", marks)
    inner:missing(function(_, response) response:send(404, "mine") end)

    local _, body, head = route(inner, "GET /admin/x")
    assert.is_truthy(body:find("\r\nbcd\r\n", 1, true), body)
    assert.is_truthy(head:find("X-Outer: yes", 1, true))
    _, body = route(inner, "GET /admin/deeper/1")
    assert.is_truthy(body:find("\r\nbe\r\n", 1, true), body)
    local status
    status, body = route(inner, "GET /admin/closed")
    assert.equal(403, status)
    assert.equal("no", body)
    status, body, head = route(inner, "GET /none")
    assert.equal(404, status)
    assert.equal("mine", body)
    assert.is_truthy(head:find("X-Outer: yes", 1, true))
  end)

  it("takes routes that are added while it serves", function()
    local growing = http.router()
    with_server(growing, function(connect)
      assert.equal(404, (ask(connect, get "/new")))
      growing:get("/new", says "new")
      assert.equal(200, (ask(connect, get "/new")))
    end)
  end)

  it("refuses patterns, methods and functions that are none", function()
    for _, misuse in ipairs {
      function() http.router():get("users", says "") end,
      function() http.router():get("/{a}/{a}", says "") end,
      function() http.router():get("/*a/b", says "") end,
      function() http.router():get("/x{a}", says "") end,
      function() http.router():get("/{}", says "") end,
      function() http.router():get("/a") end,
      function() http.router():get("/a", "text") end,
      function() http.router():route("G T", "/a", says "") end,
      function() http.router():get("/a", says ""):get("/a", says "") end,
      function() http.router():get("/{a}", says ""):get("/{b}", says "") end,
      function() http.router():use(nil) end,
      function() http.router():group("/a/") end,
      function() http.router():missing() end,
    } do
      local ok, failure = pcall(misuse)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)
end)
