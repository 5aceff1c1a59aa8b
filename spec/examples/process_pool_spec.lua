local moonring = require "moonring"
local process = require "moonring.process"
local executable = require("spec.support.process").executable

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
  table.sort(lines)
  return lines
end

describe("examples/process_pool.lua", function()
  it("gives every job to one of its workers", function()
    local status, output = process.run { executable, "examples/process_pool.lua", "3", "sh", "-c",
      'while read -r n; do echo "$$ $((n * n))"; done', input = table.concat({ 1, 2, 3, 4, 5, 6, 7, 8, 9 }, "\n") .. "\n" }
    assert.is_true(status.ok)
    local workers, results, count = {}, {}, 0
    for pid, result in output:gmatch "(%d+) (%d+)\n" do
      if not workers[pid] then
        workers[pid] = true
        count = count + 1
      end
      results[#results + 1] = tonumber(result)
    end
    table.sort(results)
    assert.same({ 1, 4, 9, 16, 25, 36, 49, 64, 81 }, results)
    assert.is_true(count >= 1 and count <= 3)
  end)

  it("replaces workers that die, and says whose job they had", function()
    local status, output = process.run { executable, "examples/process_pool.lua", "2", "sh", "-c",
      'while read -r n; do [ "$n" = 2 ] && exit 5; echo "done $n"; done', input = "1\n2\n3\n4\n" }
    assert.is_true(status.ok)
    assert.same({ "2: the worker has ended with exit status 5", "done 1", "done 3", "done 4" }, lines_of(output))
  end)

  it("ends its workers when it is told to end", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { executable, "examples/process_pool.lua", "1", "sh", "-c",
        "while read -r n; do echo $$; done", stdin = "pipe", stdout = "pipe" }))
      child.stdin:write "job\n"
      local pid = child.stdout:read_line()
      child:kill "TERM"
      assert.equal("TERM", child:wait().signal)
      assert.is_false(process.run({ "kill", "-0", pid }).ok)
    end)
  end)
end)
