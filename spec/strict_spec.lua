-- In processes of their own: strictness is for the rest of a process's life.

local process = require "moonring.process"
local executable = require("spec.support.process").command():match "^'?([^' ]+)"

local function run(script)
  local status, output = process.run { executable, "-e", 'require("moonring.strict").on()', "-", input = script,
    stderr = "stdout" }
  return output, status
end

describe("moonring.strict", function()
  it("refuses to set a new global inside of a function, and names it and the line", function()
    local output, status = run "local function work()\n  counter = 1\nend\nwork()\n"
    assert.equal(1, status.code)
    assert.matches("^moonring: stdin:2: counter would be a new global, which all tasks share: write local counter", output)
  end)

  it("refuses to read one that nobody has set", function()
    local output = run "print(pcall(function() return cuonter end))"
    assert.matches("^false\tstdin:1: cuonter is a global that nobody has set", output)
  end)

  it("lets a main chunk declare, a function change, and rawset do what it likes", function()
    local output, status = run [[
      counter, later = 0, nil
      local function work() counter, later = counter + 1, "set" end
      work()
      rawset(_G, "raw", 1)
      print(counter, later, raw, rawget(_G, "unknown"))
    ]]
    assert.is_true(status.ok, output)
    assert.equal("1\tset\t1\tnil\n", output)
  end)

  it("leaves moonring's own modules alone, and what was in the way of _G's before", function()
    local output, status = run [[
      for _, name in ipairs { "net", "http", "http.client", "websocket", "fs", "dns", "process", "repl", "log", "test",
        "doctor", "trace", "digest", "buffer", "http.json", "cache", "limiter" } do
        require("moonring." .. name)
      end
      local http, moonring = require "moonring.http", require "moonring"
      local server = assert(http.server { port = 0 })
      moonring.spawn(server.serve, server, function(request, response) response:json(200, { path = request.path }) end)
      print(http.request("http://127.0.0.1:" .. server.port .. "/x"):json().path)
      server:close()
    ]]
    assert.is_true(status.ok, output)
    assert.equal("/x\n", output)
  end)
end)
