local histories = require "moonring.repl.history"
local moonring = require "moonring"
local process = require "spec.support.process"

local function with_folder(body)
  local folder = os.tmpname()
  os.remove(folder)
  local ok, failure = pcall(body, folder .. "/deep/er/history")
  os.execute("rm -rf " .. folder)
  if not ok then error(failure, 0) end
end

describe("the history", function()
  it("keeps blocks over sessions, in a file and folders that are their owner's alone", function()
    with_folder(function(path)
      local history = histories.new(path)
      assert.is_true(history:add "one\ntwo \\n three")
      assert.is_true(history:add "last")
      local again = histories.new(path)
      assert.equal("last", again:get(1))
      assert.equal("one\ntwo \\n three", again:get(2))
      assert.equal(2, again:count())
      local _, modes = process.run(("stat -c %%a %s %s"):format(path, path:match "^(.*)/"))
      assert.equal("600\n700\n", modes)
    end)
  end)

  it("leaves out what is blank, begins with a space, or was just entered", function()
    local history = histories.new()
    for _, text in ipairs { "a", "a", "  ", "", " secret", "b", "a" } do history:add(text) end
    assert.equal(3, history:count())
  end)

  it("takes what several processes append, whole", function()
    with_folder(function(path)
      moonring.scope(function(scope)
        local children = {}
        for i = 1, 4 do
          children[i] = process.start(scope, process.command("-e", ([[
            local history = require("moonring.repl.history").new(%q)
            for n = 1, 200 do assert(history:add(("%d "):rep(100) .. n)) end
          ]]):format(path, i)))
        end
        for _, child in ipairs(children) do assert.is_true(child:wait(30)) end
      end)
      local count = 0
      for line in process.read_file(path):gmatch "([^\n]*)\n" do
        count = count + 1
        local digit = line:sub(1, 1)
        assert.is_truthy(line:find("^" .. (digit .. " "):rep(100) .. "%d+$"), line)
      end
      assert.equal(800, count)
    end)
  end)

  it("cuts the file to its last lines when it has grown too long", function()
    with_folder(function(path)
      local history = histories.new(path)
      local limit = histories.FILE_BYTES_MAX
      histories.FILE_BYTES_MAX = 2000
      for i = 1, 300 do history:add("entry number " .. i) end
      histories.FILE_BYTES_MAX = limit
      local text = process.read_file(path)
      assert.is_true(#text <= 2000)
      assert.is_truthy(text:find "entry number 300\n$")
      assert.is_truthy(text:find "^entry number %d+\n")
      local _, mode = process.run("stat -c %a " .. path)
      assert.equal("600\n", mode)
    end)
  end)

  it("tells once of a file that can't be written, and goes on without", function()
    local history = histories.new "/proc/nothing/history"
    local ok, message = history:add "a"
    assert.is_nil(ok)
    assert.is_truthy(message:find("write the history /proc/nothing/history: E", 1, true))
    assert.is_true(history:add "b")
    assert.equal(2, history:count())
  end)

  it("doesn't follow a link that somebody has put in its place", function()
    with_folder(function(path)
      histories.new(path):add "a"
      os.remove(path)
      os.execute(("ln -s /tmp/elsewhere.%s %s"):format(math.random(1e9), path))
      local ok, message = histories.new(path):add "b"
      assert.is_nil(ok)
      assert.is_truthy(message:find("ELOOP", 1, true))
    end)
  end)

  it("reads a damaged file as far as it can", function()
    with_folder(function(path)
      histories.new(path):add "good"
      local file = io.open(path, "a")
      file:write "\0\27[31mx\255\\q\nno line end"
      file:close()
      local history = histories.new(path)
      assert.equal("good", history:get(2))
      assert.equal("[31mx\239\191\189\\q", history:get(1))
    end)
  end)
end)
