-- A short run of spec/soak; scripts/soak runs it for as long as one likes.

local process = require "spec.support.process"

local SECONDS = tonumber(os.getenv "SOAK_SECONDS" or 60)

describe("a soak", function()
  it("of everything at once, cut off at random, ends with nothing more than at its start", function()
    local command = "timeout -s KILL %d %s spec/soak/run.lua %g 1"
    local status, output = process.run(command:format(SECONDS + 90, process.command(), SECONDS))
    assert.equal(0, status, output)
    assert.is_truthy(output:find("nothing is left", 1, true), output)
    assert.is_nil(output:find("still held", 1, true), output)
  end)
end)
