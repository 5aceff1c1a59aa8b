-- docs/tutorial.md, done as it says: what it has typed is typed, and the answers are those on the page.

local moonring, test = require "moonring", require "moonring.test"
local process = require "spec.support.process"

local PATIENCE = 30 -- seconds, also for a start with sanitizers

local function write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  assert(file:close())
end

-- The commands of a block: { command =, answer = }.
local function commands_of(block)
  local commands = {}
  for line in block:gmatch "[^\n]*\n" do
    local command = line:match "^%$ (.*)\n$"
    if command then
      commands[#commands + 1] = { command = command, answer = "" }
    else
      commands[#commands].answer = commands[#commands].answer .. line
    end
  end
  return commands
end

-- What differs from run to run: durations.
local function plain(text)
  return (text:gsub("%d+%.%d+ seconds", "N seconds"))
end

local steps = {}

function steps.sh()
  -- What builds and installs: not again here.
end

-- A change of a file: a whole module, what follows from `describe` on, or a line before the last.
function steps.lua(self, code)
  local name, text = code:match "^%-%- (%S+)\n(.*)$"
  local path = self.folder .. "/" .. name
  if text:find "\nreturn M\n$" then return write_file(path, text) end
  local before = process.read_file(path)
  if text:find "^describe" then return write_file(path, before:match "^(.*\n)describe" .. text) end
  write_file(path, before:match "^(.*\n)[^\n]+\n$" .. text .. before:match "[^\n]+\n$")
end

function steps.console(self, block)
  for _, each in ipairs(commands_of(block)) do
    local folder = each.command:match "^cd (%S+)$"
    if folder then
      self.folder = self.folder .. "/" .. folder
    elseif each.command:find "^moonring %-%-watch" then
      self.service = process.start(self.scope, self:shell("exec " .. each.command))
      self.service:expect(each.answer:gsub("%p", "%%%0"), PATIENCE)
    else
      local output
      test.eventually(function() -- the service may be about to start again
        local _
        _, output = process.run(self:shell(each.command))
        return plain(output) == plain(each.answer)
      end, PATIENCE)
      assert.equal(plain(each.answer), plain(output), each.command)
    end
    if each.command:find "^moonring new" then
      local path = self.folder .. "/hello/hello.lua"
      write_file(path, (process.read_file(path):gsub("8080", self.port)))
    end
  end
end

-- Typed at a REPL: lines behind ">" and the answers to them.
function steps.repl(self, block)
  local typed, answers = {}, {}
  for line in block:gsub("^%$ moonring\n", ""):gmatch "[^\n]+" do
    local input = line:match "^>+ (.*)$"
    if input then typed[#typed + 1] = input else answers[#answers + 1] = line end
  end
  write_file(self.folder .. "/typed", table.concat(typed, "\n") .. "\n")
  local status, output = process.run(self:shell "moonring -i <typed")
  assert.equal(table.concat(answers, "\n") .. "\n", output)
  assert.equal(0, status)
end

local function new_reader(scope, folder)
  local executable = process.command():match "^'?([^' ]+)"
  if executable:sub(1, 1) ~= "/" then executable = io.popen("pwd"):read "*l" .. "/" .. executable end
  write_file(folder .. "/.curlrc", "silent\n") -- as it is at a terminal
  return {
    scope = scope, folder = folder, port = tostring(test.free_port()),
    shell = function(self, command)
      return ("sh -c %s"):format(process.quote(("cd %s && export PATH=%s:$PATH CURL_HOME=%s && %s"):format(
        self.folder, executable:match "^(.*)/", folder, command)))
    end,
  }
end

it("the tutorial is true, step by step", function()
  local _, output = process.run "mktemp -d"
  local root = output:match "%S+"
  moonring.scope(function(scope)
    scope:own { close = function() os.execute("rm -rf " .. root) end }
    local reader = new_reader(scope, root)
    local count = 0
    for kind, block in process.read_file("docs/tutorial.md"):gmatch "```(%w+)\n(.-)```" do
      steps[kind](reader, block:gsub("8080", reader.port))
      count = count + 1
    end
    assert.is_true(count >= 12)
    reader.service:kill "INT"
    assert.is_true(reader.service:wait())
    assert.is_falsy(reader.service:output():find("held at the end", 1, true))
  end)
end)
