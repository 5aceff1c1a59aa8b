-- The names that what is typed sees, through a pipe.

local process = require "moonring.process"
local executable = require("spec.support.process").command():match "^'?([^' ]+)"

local function type_in(...)
  local status, output, problems = process.run { executable, "-i", input = table.concat({ ... }, "\n") .. "\n" }
  return output .. problems, status
end

describe("a REPL", function()
  it("has moonring's modules by their names, without a require", function()
    assert.equal("true\ntrue\ntrue\n", (type_in('moonring == require "moonring"', 'net == require "moonring.net"',
      "http.request ~= nil")))
  end)

  it("lets others have these names", function()
    assert.equal("5\n6\nnil\n", (type_in("net = 5", "net", "local fs = 6", "fs", "rawget(_G, 'http')")))
  end)
end)
