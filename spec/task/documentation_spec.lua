-- Every snippet of docs/concurrency.md runs as it stands.

local process = require "spec.support.process"

local root = debug.getinfo(1, "S").source:match "^@(.*)spec/task/documentation_spec%.lua$"
local file = assert(io.open(root .. "docs/concurrency.md"))
local text = file:read "*a"
file:close()

describe("docs/concurrency.md", function()
  local count = 0
  for snippet in text:gmatch "```lua\n(.-)```" do
    count = count + 1
    it("runs: snippet " .. count, function()
      local status, output = process.run("timeout -s KILL 20 " .. process.command("-e", snippet))
      assert.equal(0, status, output)
      for expected in snippet:gmatch "%-%->%s*([^\n]+)" do
        assert.truthy(output:gsub("%s+", " "):find(expected:gsub("%s+", " "), 1, true), output)
      end
    end)
  end

  it("has snippets", function() assert.is_true(count >= 4) end)
end)
