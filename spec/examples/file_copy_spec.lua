local moonring = require "moonring"
local fs = require "moonring.fs"
local process = require "spec.support.process"

describe("examples/file_copy.lua", function()
  it("copies files of every length, and shows how far it is", function()
    moonring.scope(function(scope)
      local directory = scope:own(assert(fs.temporary_directory())).path
      local from, to = directory .. "/from", directory .. "/to"
      local block = {}
      for i = 1, 4096 do
        block[i] = ("%08x"):format(i * 2654435761 % 4294967296)
      end
      block = table.concat(block)
      for _, length in ipairs { 0, 1, 1048576, 20000001 } do
        local text = block:rep(math.ceil(length / #block)):sub(1, length)
        assert(fs.write_file(from, text))
        local status, output = process.run(process.command("examples/file_copy.lua", from, to))
        assert.equal(0, status, output)
        assert.matches("%[=+%] 100 %%", output)
        assert.matches(length .. " bytes copied\n$", output)
        local copy = assert(fs.read_file(to))
        assert.is_true(copy:read_string() == text)
        copy:release()
      end
      local status, output = process.run(process.command("examples/file_copy.lua", directory .. "/nothing", to))
      assert.equal(1, status)
      assert.matches("ENOENT", output)
    end)
  end)
end)
