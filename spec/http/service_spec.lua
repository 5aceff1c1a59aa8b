-- Timeouts, the graceful end, logs and statistics of servers.

local moonring = require "moonring"
local http = require "moonring.http"
local net = require "moonring.net"
local with_stderr = require "spec.support.stderr"
local eventually = require "spec.support.eventually"
local support = require "spec.support.http"
local read_all = require("spec.support.stream").read_all

local with_server, get, ask, read_response = support.with_server, support.get, support.ask, support.read_response

local function hello(_, response)
  response:send(200, "hello")
end

describe("a timeout", function()
  it("closes a connection between requests without a word", function()
    with_server(hello, function(connect)
      local fresh, used = connect(), connect()
      used:write(get "/")
      assert.equal(200, (read_response(used)))
      assert.equal("", read_all(fresh))
      assert.equal("", read_all(used))
    end, { timeouts = { idle = 0.05 } })
  end)

  it("answers 408 to a head that does not come, however it trickles", function()
    with_server(hello, function(connect, server)
      local silent, trickling = connect(), connect()
      silent:write "GET / HT"
      local sender = moonring.spawn(function()
        for byte in get("/", ("X: y\r\n"):rep(50)):gmatch "." do
          if not trickling:write(byte) then return end
          moonring.sleep(0.01)
        end
      end)
      assert.is_truthy(read_all(silent):find("^HTTP/1.1 408 .*\r\nConnection: close\r\n"))
      assert.is_truthy(read_all(trickling):find("^HTTP/1.1 408 "))
      sender:cancel()
      assert.equal(2, server:statistics().timed_out)
    end, { timeouts = { head = 0.06 } })
  end)

  it("of the body raises in its handler and is answered for it", function()
    local code
    with_server(function(request)
      local ok, failure = pcall(request.body, request)
      code = not ok and failure.code
      error(failure, 0)
    end, function(connect)
      local client = connect()
      client:write "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
      assert.is_truthy(read_all(client):find("^HTTP/1.1 408 "))
    end, { timeouts = { body = 0.05 } })
    assert.equal("deadline", code)
  end)

  it("of the whole request ends a body that keeps trickling", function()
    with_server(function(request, response)
      request:body()
      response:send(200)
    end, function(connect)
      local client = connect()
      client:write "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
      local sender = moonring.spawn(function()
        while client:write "x" do
          moonring.sleep(0.01)
        end
      end)
      assert.is_truthy(read_all(client):find("^HTTP/1.1 408 "))
      sender:cancel()
    end, { timeouts = { body = 10, request = 0.08 } })
  end)

  it("ends a response that its client does not take, but not one that it takes slowly", function()
    local ended = {}
    with_server(function(request, response)
      local ok = true
      for _ = 1, request.path == "/slow" and 12 or 1000 do
        ok = response:write(("x"):rep(100000))
        if not ok then break end
      end
      ended[request.path] = ok or false
    end, function(connect, server)
      local stalled, slow = connect(), connect()
      stalled:write(get "/stalled")
      slow:write(get("/slow", "Connection: close\r\n"))
      assert.is_truthy(eventually(function() return server:statistics().timed_out == 1 end))
      local size = 0
      for buffer in slow:chunks() do
        size = size + buffer:remaining()
      end
      assert.is_true(size > 12 * 100000)
    end, { timeouts = { write = 0.3 } })
    assert.is_nil(ended["/stalled"]) -- it was cancelled where it waited
    assert.is_true(ended["/slow"])
  end)

  it("does not touch a handler that takes its time", function()
    with_server(function(_, response)
      moonring.sleep(0.15)
      response:send(200, "slow")
    end, function(connect)
      local status, body = ask(connect, get "/")
      assert.equal(200, status)
      assert.equal("slow", body)
    end, { timeouts = { idle = 0.02, head = 0.02, body = 0.02, request = 0.02, write = 0.02 } })
  end)

  it("that there is none of, or that is no time, is refused", function()
    for _, timeouts in ipairs { { sleep = 1 }, { idle = 0 }, { head = "1" }, { body = 0 / 0 } } do
      local ok, failure = pcall(http.server, { timeouts = timeouts })
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)
end)

it("no connection stays watched, whatever ended it", function()
  local deadlines = require "moonring.http.deadlines"
  local before = deadlines.count()
  with_stderr(function()
    moonring.scope(function(scope)
      local server = assert(http.server { timeouts = { head = 0.05, body = 0.05 } })
      local serving = scope:spawn(server.serve, server, function(request, response)
        if request.path == "/fail" then error "on purpose" end
        if request.path == "/wait" then moonring.sleep(10) end
        request:body()
        response:send(200)
      end)
      for _, text in ipairs { get "/", get "/fail", get "/wait", "nonsense\r\n\r\n", "GET / HT", "",
        "POST /fail HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\nabc" } do
        scope:own(assert(net.connect { port = server.port })):write(text)
      end
      moonring.sleep(0.02)
      assert.equal(before + 8, deadlines.count())
      moonring.sleep(0.15) -- some of them are being refused now, and their clients don't go
      serving:cancel()
      serving:join()
    end)
  end)
  assert.equal(before, deadlines.count())
end)

describe("server:stop", function()
  it("lets requests in progress end, closes idle connections, and takes no new ones", function()
    moonring.scope(function(scope)
      local server = assert(http.server {})
      local serving = scope:spawn(server.serve, server, function(request, response)
        if request.path == "/slow" then moonring.sleep(0.1) end
        response:send(200, "done")
      end)
      local idle, busy = scope:own(assert(net.connect { port = server.port })),
        scope:own(assert(net.connect { port = server.port }))
      idle:write(get "/")
      read_response(idle)
      busy:write(get "/slow")
      moonring.sleep(0.02)
      local stopped = scope:spawn(function() return server:stop(5) end)
      moonring.sleep(0.01)
      assert.equal("", read_all(idle))
      local _, _, code = net.connect { port = server.port }
      assert.equal("ECONNREFUSED", code)
      local text = read_all(busy)
      assert.is_truthy(text:find("\r\nConnection: close\r\n", 1, true))
      assert.is_truthy(text:find("done$"))
      assert.same({ true, true }, { stopped:join() })
      assert.same({ true }, { serving:join() })
    end)
  end)

  it("cancels what takes longer than it was given", function()
    moonring.scope(function(scope)
      local server = assert(http.server {})
      local cancelled = false
      local serving = scope:spawn(server.serve, server, function()
        local _, failure = pcall(moonring.sleep, 10)
        cancelled = failure.code
        error(failure, 0)
      end)
      local client = scope:own(assert(net.connect { port = server.port }))
      client:write(get "/")
      moonring.sleep(0.02)
      assert.is_false(server:stop(0.05))
      assert.same({ true }, { serving:join() })
      assert.equal("cancelled", cancelled)
    end)
  end)

  it("may be called by a handler, which still answers", function()
    moonring.scope(function(scope)
      local server = assert(http.server {})
      local serving = scope:spawn(server.serve, server, function(_, response)
        response:send(200, tostring(server:stop(1)))
      end)
      local client = scope:own(assert(net.connect { port = server.port }))
      client:write(get "/")
      assert.is_truthy(read_all(client):find("true$"))
      serving:join()
    end)
  end)
end)

describe("http.server", function()
  it("tells what it has done", function()
    with_stderr(function()
      with_server(function(request, response)
        if request.path == "/fail" then error "on purpose" end
        response:send(200)
      end, function(connect, server)
        ask(connect, get "/")
        ask(connect, get "/fail")
        ask(connect, "nonsense\r\n\r\n")
        local statistics = server:statistics()
        assert.equal(1, statistics.refused)
        assert.equal(1, statistics.failed)
        assert.is_truthy(eventually(function() return server:statistics().requests == 2 end))
        assert.is_true(statistics.connections >= 2)
        assert.is_truthy(tostring(server):find("moonring.http.Server", 1, true))
      end)
    end)
  end)

  it("dates its answers by a clock that goes on", function()
    local parse_date = require("moonring.http.codec.conditions").parse_date
    with_server(hello, function(connect)
      local client = connect()
      local function date()
        client:write(get "/")
        local _, _, head = read_response(client)
        return parse_date(head:match "\r\nDate: ([^\r]+)\r\n")
      end
      local first = date()
      assert.is_true(math.abs(first - os.time()) < 30)
      assert.is_truthy(eventually(function() return date() > first end))
    end)
  end)

  it("returns what keeps it from listening", function()
    local listener = assert(net.listen {})
    local server, message, code = http.server { port = listener.port }
    assert.is_nil(server)
    assert.is_string(message)
    assert.equal("EADDRINUSE", code)
    listener:close()
  end)
end)

describe("the access log", function()
  it("calls a function with what was asked for and answered", function()
    local entries = {}
    with_server(function(request, response)
      if request.path == "/stream" then
        response:write "abc"
        response:write "def"
      elseif request.path == "/fail" then
        error "on purpose"
      elseif request.path ~= "/none" then
        response:send(201, "hello")
      end
    end, function(connect)
      with_stderr(function()
        for _, path in ipairs { "/a?b", "/stream", "/none", "/fail" } do
          ask(connect, get(path, "Connection: close\r\n"))
        end
      end)
    end, { access_log = function(entry)
      entries[#entries + 1] = ("%s %s %d %d"):format(entry.request.target, entry.peer, entry.status, entry.bytes)
      assert(entry.seconds >= 0)
    end })
    assert.same({ "/a?b 127.0.0.1 201 5", "/stream 127.0.0.1 200 6", "/none 127.0.0.1 500 22",
      "/fail 127.0.0.1 500 22" }, entries)
  end)

  it("writes lines of the common format, which a client can't break", function()
    local path = os.tmpname()
    with_server(hello, function(connect)
      ask(connect, get '/"\\\255?x')
      assert.is_truthy(eventually(function()
        local file = io.open(path)
        local text = file:read "*a"
        file:close()
        return text:find('^127%.0%.0%.1 %- %- %[%d%d/%u%l%l/%d%d%d%d:%d%d:%d%d:%d%d %+0000%] '
          .. '"GET /\\x22\\x5c\\xff%?x HTTP/1.1" 200 5\n$')
      end))
    end, { access_log = path })
    os.remove(path)
  end)

  it("has what was refused, cut short, asked for by HEAD, and where a handler failed too late", function()
    local entries = {}
    with_stderr(function()
      with_server(function(request, response)
        if request.path == "/late" then
          response:write "abc"
          error "on purpose"
        end
        request:body()
        response:send(request.path == "/none" and 204 or 200, "hello")
      end, function(connect)
        for _, text in ipairs {
          "nonsense\r\nmore\r\n\r\n",
          "GET /no-host HTTP/1.1\r\n\r\n",
          "\22\3\1\0\2",
          "GET /" .. ("x"):rep(9000) .. " HTTP/1.1\r\n",
          get("/late"),
          "HEAD /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
          get("/none", "Connection: close\r\n"),
          "GET /slow HT",
          "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        } do
          local client = connect()
          client:write(text)
          read_all(client)
        end
      end, { timeouts = { head = 0.05, body = 0.05 }, access_log = function(entry)
        entries[#entries + 1] = ("%s %d %d"):format(entry.line and entry.line:sub(1, 40) or entry.request.target,
          entry.status,
          entry.bytes)
        assert(not entry.line or #entry.line <= 256 and entry.seconds == 0)
      end })
    end)
    assert.same({ "nonsense 400 15", "GET /no-host HTTP/1.1 400 8", "\22\3\1\0\2 400 15",
      "GET /" .. ("x"):rep(35) .. " 414 45", "/late 200 3", "/head 200 0", "/none 204 0", "GET /slow HT 408 60",
      "/slow 408 60" }, entries)
  end)

  it("writes the combined format, or lines of the user's own making", function()
    local path = os.tmpname()
    local function log_of(format, fields, text)
      with_server(hello, function(connect)
        local client = connect()
        client:write(text or get("/", fields .. "Connection: close\r\n"))
        read_all(client)
      end, { access_log = { path = path, format = format } })
      local file = io.open(path)
      local content = file:read "*a"
      file:close()
      os.remove(path)
      return content
    end
    local combined = log_of("combined", 'Referer: http://a/"\r\nUser-Agent: b\\\255\r\n')
    assert.is_truthy(combined:find('"GET / HTTP/1.1" 200 5 "http://a/\\x22" "b\\x5c\\xff"\n$'), combined)
    assert.is_truthy(log_of("combined", ""):find('200 5 "%-" "%-"\n$'))
    assert.is_truthy(log_of("combined", "", "\1\2\r\n"):find('"\\x01\\x02" 400 15 "%-" "%-"\n$'))
    assert.equal("/ 200\n", log_of(function(entry) return entry.request.path .. " " .. entry.status end, ""))
    for _, wrong in ipairs { { format = "short" }, { format = 1 }, { file = "x" }, { path = 1 }, 7 } do
      local ok, failure = pcall(http.server, { port = 0, access_log = wrong })
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)

  it("has the client that a trusted proxy tells of", function()
    local seen
    with_server(hello, function(connect)
      ask(connect, get("/", "X-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n"))
    end, { trusted_proxies = { "127.0.0.1" }, access_log = function(entry) seen = entry.peer end })
    assert.equal("203.0.113.7", seen)
  end)

  it("that can't be opened is told", function()
    local server, message, code = http.server { access_log = "/nonexistent/log" }
    assert.is_nil(server)
    assert.is_truthy(message:find("/nonexistent/log", 1, true))
    assert.equal("ENOENT", code)
  end)
end)

it("clients that send a byte now and then don't keep the others from being served", function()
  with_server(hello, function(connect)
    local count = 300
    local slow = {}
    for number = 1, count do
      slow[number] = connect()
    end
    local text = get "/"
    local done = 0
    local others = moonring.spawn(function()
      local client = connect()
      for _ = 1, 200 do
        client:write(text)
        if read_response(client) == 200 then done = done + 1 end
      end
    end)
    for at = 1, #text do
      for number = 1, count do
        slow[number]:write(text:sub(at, at))
      end
      moonring.sleep(0)
    end
    others:join()
    assert.equal(200, done)
    for number = 1, count do
      assert.equal(200, (read_response(slow[number])))
    end
  end)
end)
