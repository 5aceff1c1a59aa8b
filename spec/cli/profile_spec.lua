local process = require "spec.support.process"

local function profile(code, option)
  local path = os.tmpname()
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(code)
  file:close()
  local status, output = process.run(process.command((option or "--profile=") .. path, script))
  file = io.open(path)
  local text = file and file:read "*a" or ""
  if file then file:close() end
  os.remove(path)
  os.remove(script)
  return text, status, output
end

describe("moonring --profile", function()
  it("writes folded stacks, with the task first, for interpreted and compiled code", function()
    local text, status = profile [[
      local moonring = require "moonring"
      local function burn(seconds)
        local stop = os.clock() + seconds
        while os.clock() < stop do for i = 1, 10000 do local x = i * 2 end end
      end
      moonring.spawn(function() burn(0.2) end):named "worker one"
      moonring.spawn(function() coroutine.wrap(function() burn(0.1) end)() end):named "nested"
      burn(0.1)
    ]]
    assert.equal(0, status)
    local total = 0
    for line in text:gmatch "([^\n]*)\n" do
      local count = line:match "^[^ ]+ (%d+)$"
      assert.is_string(count, line)
      total = total + tonumber(count)
    end
    assert.is_true(total > 50)
    assert.is_truthy(text:find "\nworker_one;[^\n]*burn")
    assert.is_truthy(text:find "main;[^\n]*burn")
    assert.is_truthy(text:find "nested;[^\n]*burn")
  end)

  it("writes it also when the script fails or exits", function()
    local code = "local stop = os.clock() + 0.1 while os.clock() < stop do end "
    local text, status = profile(code .. "error 'x'")
    assert.equal(1, status)
    assert.is_truthy(text:find " %d+\n")
    text, status = profile(code .. "os.exit(3)")
    assert.equal(3, status)
    assert.is_truthy(text:find " %d+\n")
  end)

  it("says at once when the file can't be written", function()
    local _, status, output = profile("print 'never'", "--profile=/no/such/folder")
    assert.equal(1, status)
    assert.is_truthy(output:find("^moonring: %-%-profile: /no/such/folder"))
    assert.is_falsy(output:find("never", 1, true))
  end)
end)
