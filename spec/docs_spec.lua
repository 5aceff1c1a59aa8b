-- Every snippet of README.md and docs/ runs. One that serves is cancelled after a moment; its port is replaced by a free
-- one, because something else may have the one that people read.

local moonring, test = require "moonring", require "moonring.test"
local read_file = require("spec.support.process").read_file

local MOMENT = 0.2 -- seconds

require("moonring.log").standard():set_level "off" -- what snippets log is for their readers

local function pages()
  local list = { "README.md" }
  local pipe = io.popen("ls docs/*.md docs/reference/*.md | grep -v docs/tutorial.md") -- that one has a spec of its own
  for path in pipe:lines() do
    list[#list + 1] = path
  end
  pipe:close()
  return list
end

-- Runs the chunk as a task, for a moment at most.
local function run(chunk)
  moonring.scope(function(scope)
    local snippet = scope:spawn(chunk)
    local deadline = moonring.now() + MOMENT
    while not snippet:has_ended() and moonring.now() < deadline do
      moonring.sleep(0.005)
    end
    snippet:cancel()
  end)
end

local total = 0
for _, path in ipairs(pages()) do
  local count = 0
  for code in read_file(path):gmatch("```lua\n(.-)```") do
    count, total = count + 1, total + 1
    local name = ("%s, snippet %d"):format(path, count)
    it(name .. ", runs", function()
      if code:find("moonring.stdin", 1, true) then test.allow_leaks() end -- it stays open for the next who reads it
      local chunk = assert(loadstring(code:gsub("port = %d+ }", "port = 0 }"), "=" .. name))
      setfenv(chunk, setmetatable({ print = function() end, arg = {} }, { __index = _G }))
      run(chunk)
    end)
  end
end

it("the documentation has snippets", function()
  assert.is_true(total >= 12)
end)
