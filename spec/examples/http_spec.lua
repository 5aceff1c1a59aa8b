local moonring = require "moonring"
local fs = require "moonring.fs"
local process = require "spec.support.process"

-- Starts an example on a free port and returns the process and a function that runs curl with a path and options.
local function start(scope, name, ...)
  local child = process.start(scope, process.command("examples/" .. name, ...))
  local port = tonumber((child:expect ":(%d+)\n"))
  return child, function(path, options)
    local command = ("curl -s -S --max-time 10 %s http://127.0.0.1:%d%s"):format(options or "", port, path)
    local status, output = process.run(command)
    assert(status == 0 or status == 28, output)
    return output
  end
end

describe("examples/http_api.lua", function()
  it("keeps notes for curl", function()
    moonring.scope(function(scope)
      local child, curl = start(scope, "http_api.lua", "0")
      local json = "-H 'Content-Type: application/json' -d "
      assert.is_truthy(curl("/notes", "-i " .. json .. process.quote '{"text":"buy milk"}')
        :find("^HTTP/1.1 201 Created\r\n.*\r\nLocation: /notes/1\r\n"))
      curl("/notes", json .. process.quote '{"text":"sell"}')
      assert.is_truthy(curl "/notes":find('"count":2', 1, true))
      assert.is_truthy(curl "/notes?contains=milk":find('"count":1', 1, true))
      assert.equal('{"text":"buy milk"}', curl "/notes/1")
      assert.is_truthy(curl("/notes", "-i " .. json .. "nonsense"):find("^HTTP/1.1 422 .*malformed JSON"))
      assert.is_truthy(curl("/notes", "-i -d x=y"):find("^HTTP/1.1 422 .*not JSON"))
      assert.is_truthy(curl("/notes/2", "-i -X DELETE"):find("^HTTP/1.1 204 "))
      assert.is_truthy(curl("/notes/2", "-i"):find("^HTTP/1.1 404 .*no such note"))
      curl("/notes/1", "-X DELETE")
      assert.is_truthy(curl "/notes?contains=milk":find('"notes":[]', 1, true))
      assert.is_truthy(curl("/elsewhere", "-i"):find("^HTTP/1.1 404 .*there is no \\/elsewhere"))
      assert.is_truthy(curl("/notes", "-i -X PUT"):find("^HTTP/1.1 405 .*Allow: GET, HEAD, OPTIONS, POST"))
      child:kill "TERM"
      assert.is_true(child:wait())
    end)
  end)
end)

describe("examples/sse_clock.lua", function()
  it("sends ticks until the client goes", function()
    moonring.scope(function(scope)
      local child, curl = start(scope, "sse_clock.lua", "0", "0.05")
      assert.is_truthy(curl "/":find("EventSource", 1, true))
      local ticks = curl("/ticks", "--max-time 0.5 -N -H 'Last-Event-ID: 6'")
      assert.is_truthy(ticks:find("event: tick\nid: 7\ndata: %d%d:%d%d:%d%d UTC\n\nevent: tick\nid: 8\n"), ticks)
      assert.is_truthy(curl "/":find("EventSource", 1, true))
      child:kill "TERM"
      assert.is_true(child:wait())
    end)
  end)
end)

describe("examples/http_static.lua", function()
  it("serves a directory", function()
    moonring.scope(function(scope)
      local directory = scope:own(assert(fs.temporary_directory()))
      assert(fs.write_file(directory.path .. "/a.css", "body {}"))
      local child, curl = start(scope, "http_static.lua", directory.path, "0")
      local answer = curl("/a.css", "-i")
      assert.is_truthy(answer:find("\r\nContent-Type: text/css; charset=utf-8\r\n", 1, true))
      assert.is_truthy(answer:find("\r\nCache-Control: max-age=60\r\n", 1, true))
      assert.is_truthy(answer:find "body {}$")
      assert.is_truthy(curl("/none", "-i"):find "^HTTP/1.1 404 ")
      child:kill "TERM"
      assert.is_true(child:wait())
      assert.equal(1, select(2, child:output():gsub("\n", "")), child:output()) -- nothing is said to be held at the end
    end)
  end)
end)

describe("examples/http_client.lua", function()
  it("gets what it can of many URLs, and says what it could not", function()
    moonring.scope(function(scope)
      local child = start(scope, "http_api.lua", "0")
      local url = "http://127.0.0.1:" .. child:output():match ":(%d+)\n"
      local client = process.command("examples/http_client.lua", "-3", url .. "/notes", url .. "/none", "nonsense",
        "http://127.0.0.1:1/", url .. "/notes")
      local status, output = process.run(client)
      assert.equal(1, status)
      assert.is_truthy(output:find("[########################################] 5 of 5, ", 1, true), output)
      assert.is_truthy(output:find "\n5 URLs, %d+ bytes, [%d.]+ s, 3 failed\n", output)
      for _, problem in ipairs { "/none: 404", "nonsense: .*no absolute URL", "127.0.0.1:1/: .*ECONNREFUSED" } do
        assert.is_truthy(output:find(problem), output)
      end
      status, output = process.run(("printf '%%s\\n' %s/notes %s/notes | %s"):format(url, url,
        process.command "examples/http_client.lua"))
      assert.equal(0, status)
      assert.is_truthy(output:find "\n2 URLs, %d+ bytes, [%d.]+ s, 0 failed\n", output)
    end)
  end)
end)

describe("the HTTP examples", function()
  it("say how they are used, and what is in their way", function()
    moonring.scope(function(scope)
      local child = start(scope, "http_api.lua", "0")
      local port = child:output():match ":(%d+)\n"
      for _, name in ipairs { "http_api.lua", "websocket_chat.lua", "sse_clock.lua", "http_static.lua" } do
        local directory = name == "http_static.lua" and "." or nil
        local function run(argument)
          return process.run(directory and process.command("examples/" .. name, directory, argument)
            or process.command("examples/" .. name, argument))
        end
        local status, output = run "eighty"
        assert.equal(1, status)
        assert.is_truthy(output:find("usage: " .. name, 1, true), output)
        status, output = run(port)
        assert.equal(1, status)
        assert.is_truthy(output:find("EADDRINUSE", 1, true) and output:find(port, 1, true), output)
      end
      local status, output = process.run(process.command("examples/http_static.lua", "/nonexistent", "0"))
      assert.equal(1, status)
      assert.is_truthy(output:find("/nonexistent", 1, true), output)
    end)
  end)

  it("end at once by SIGINT, with clients connected", function()
    moonring.scope(function(scope)
      local child, curl = start(scope, "http_api.lua", "0")
      local port = tonumber(child:output():match ":(%d+)\n")
      local client = scope:own(assert(require("moonring.net").connect { port = port }))
      assert.is_truthy(curl "/notes":find "count")
      child:kill "INT"
      assert.is_true(child:wait())
      assert.is_nil((client:read()))
    end)
  end)
end)
