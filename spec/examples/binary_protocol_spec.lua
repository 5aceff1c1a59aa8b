local moonring = require "moonring"
local process = require "spec.support.process"

describe("examples/binary_protocol.lua", function()
  it("answers every request of its client", function()
    moonring.scope(function(scope)
      local server = process.start(scope, process.command("examples/binary_protocol.lua", "0"))
      local port = server:expect("serving on [%d.]+:(%d+)\n")
      local status, answer = process.run(process.command("examples/binary_protocol.lua", port, "moon", "ring", ""))
      assert.equal("1\tnoom\n2\tgnir\n3\t\n", answer)
      assert.equal(0, status)
    end)
  end)
end)
