-- Child processes for specs: started through the shell, watched through a file, ended by their id.

local moonring = require "moonring"

local M = {}

local root = debug.getinfo(1, "S").source:match("^@(.*)spec/support/process%.lua$")
local executable = os.getenv("MOONRING") or root .. "build/moonring"
M.executable = executable

--- The number of this process: for names that other runs at the same time don't use.
M.own_pid = io.open("/proc/self/stat"):read "*n"

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end
M.quote = quote

--- The command line of this build's executable with arguments, quoted for a shell.
function M.command(...)
  local words = { quote(executable) }
  for i = 1, select("#", ...) do
    words[#words + 1] = quote((select(i, ...)))
  end
  return table.concat(words, " ")
end

-- The contents of a file, "" where there is none.
local function text_of(path)
  local file = io.open(path)
  if not file then return "" end
  local text = file:read("*a")
  file:close()
  return text
end

--- The contents of a file.
function M.read_file(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

--- Runs a shell command to its end. Returns exit status (128 + the signal's number when one ended it) and all output.
function M.run(command)
  local pipe = io.popen(("{ %s ; } 2>&1; echo \"status=$?\""):format(command))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*)status=(%d+)\n$")
  return tonumber(status), output
end

--- Runs a shell command that must go well. Returns its output.
function M.shell(command)
  local status, output = M.run(command)
  assert(status == 0, output)
  return output
end

--- Runs a command with a system call of it or of its children made to fail. The leak checker of the sanitizer build
--- can't run under a tracer.
function M.run_injected(fault, command)
  return M.run(("ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e inject=%s %s"):format(fault, command))
end

local Process = {}
Process.__index = Process

--- Starts a shell command in the background; it must not fork. The scope ends it.
function M.start(scope, command)
  local output = os.tmpname()
  local pipe = io.popen(("exec 3>&1; { exec %s; } > %s 2>&1 3>&- & echo $!"):format(command, output))
  local pid = tonumber(pipe:read("*l"))
  pipe:close()
  return scope:own(setmetatable({ pid = pid, path = output }, Process))
end

--- All that it has written so far.
function Process:output()
  return text_of(self.path)
end

--- Waits until its output matches the pattern and returns the captures; raises after `seconds` (default 30).
function Process:expect(pattern, seconds)
  local deadline = moonring.now() + (seconds or 30)
  while moonring.now() < deadline do
    local text = self:output()
    if text:find(pattern) then return text:match(pattern) end
    if not self:is_running() and not self:output():find(pattern) then break end
    moonring.sleep(0.01)
  end
  error(("no output that matches %q, but:\n%s"):format(pattern, self:output()), 2)
end

function Process:is_running()
  local stat = text_of("/proc/" .. self.pid .. "/stat")
  return stat ~= "" and stat:match("%) (%a)") ~= "Z"
end

function Process:kill(signal)
  os.execute(("kill -%s %d 2>/dev/null"):format(signal or "TERM", self.pid))
end

--- Waits for its end. Returns whether it came within `seconds` (default 30).
function Process:wait(seconds)
  local deadline = moonring.now() + (seconds or 30)
  while self:is_running() do
    if moonring.now() > deadline then return false end
    moonring.sleep(0.01)
  end
  return true
end

--- A figure from its /proc status, in KiB: "VmRSS", "VmHWM".
function Process:memory(name)
  return tonumber(text_of("/proc/" .. self.pid .. "/status"):match(name .. ":%s*(%d+)"))
end

function Process:close()
  if self:is_running() then
    self:kill("TERM")
    if not self:wait(5) then self:kill("KILL") end
  end
  os.remove(self.path)
end

return M
