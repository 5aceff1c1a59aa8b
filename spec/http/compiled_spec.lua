-- The path of a request must stay compiled: a lost trace costs tens of times more, and nothing else would tell.

local moonring = require "moonring"
local net = require "moonring.net"
local process = require "spec.support.process"

-- Counts the compiler's events in a child and tells them to whoever connects, then counts anew.
local counter = [[
  local moonring, net = require "moonring", require "moonring.net"
  local counts = {}
  jit.attach(function(what) counts[what] = (counts[what] or 0) + 1 end, "trace")
  local listener = assert(net.listen {})
  print("control on " .. tostring(listener:address()))
  moonring.spawn(net.serve, listener, function(connection)
    connection:write(("%d %d\n"):format(counts.abort or 0, counts.flush or 0))
    counts = {}
  end)
]]

local function ask(port)
  return moonring.scope(function(scope)
    local control = scope:own(assert(net.connect { port = port }))
    local text = control:read():to_string()
    return text:match("(%d+) (%d+)")
  end)
end

-- Sends `rounds` times `text`, which is `count` requests, on each of several connections at once.
local function load_with(port, rounds, text, count)
  moonring.scope(function(scope)
    for _ = 1, 8 do
      scope:spawn(function()
        local client = scope:own(assert(net.connect { port = port }))
        for _ = 1, rounds do
          client:write(text)
          local answers = ""
          while select(2, answers:gsub("Hello, World!", "")) < count do
            answers = answers .. client:read():to_string() -- an answer may be cut by a read
          end
        end
      end)
    end
  end)
end

-- Loads a server twice and checks that the second time nearly nothing was compiled anew: the control connection itself, and
-- connections that come and go, may still start a trace or two.
local function stays_compiled(script, request, count, aborts_max)
  moonring.scope(function(scope)
    local child = process.start(scope, process.command("-e", counter, script, "0"))
    local control = tonumber((child:expect("control on [%d.]+:(%d+)\n")))
    local port = tonumber((child:expect("http://[%d.]+:(%d+)\n")))
    load_with(port, 1500 / count, request, count)
    ask(control)
    load_with(port, 1500 / count, request, count)
    local aborts, flushes = ask(control)
    assert.is_true(tonumber(aborts) <= (aborts_max or 6), aborts .. " traces aborted")
    assert.equal(0, tonumber(flushes))
  end)
end

describe("examples/http_hello.lua", function()
  local request = "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"
  for name, case in pairs {
    ["one request at a time"] = { request, 1 },
    ["pipelined requests"] = { request:rep(16), 16 },
    ["requests as browsers send them"] = {
      "GET /index.html?a=b HTTP/1.1\r\nHost: localhost:8080\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0\r\n"
        .. "Accept: text/html,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n\r\n", 1,
    },
  } do
    it("stays compiled under " .. name, function()
      stays_compiled("examples/http_hello.lua", case[1], case[2])
    end)
  end
end)

it("a handler behind a router and middleware, with a query and fields, stays compiled", function()
  moonring.scope(function(scope)
    local directory = scope:own(assert(require("moonring.fs").temporary_directory()))
    local script = directory.path .. "/routed.lua"
    assert(require("moonring.fs").write_file(script, [[
      local http = require "moonring.http"
      local router = http.router()
      router:use(function(request, response, next) return next(request, response) end)
      router:get("/hello", function(request, response)
        response:send(200, "Hello, World!", { ["X-Agent"] = request:header "user-agent" })
      end)
      local server = assert(http.server {})
      print("listening on http://" .. tostring(server:address()))
      server:serve(router)
    ]]))
    -- A loop over the response's fields gave 14 and more, and three times the CPU time.
    stays_compiled(script, "GET /hello?a=b HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: spec\r\n\r\n", 1, 10)
  end)
end)
