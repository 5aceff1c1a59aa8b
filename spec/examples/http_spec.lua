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
