-- A real terminal for specs: a program in tmux, typed at and looked at.

local moonring = require "moonring"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"

local M = {}

local Terminal = {}
Terminal.__index = Terminal

local function read(command)
  local pipe = io.popen(command .. " 2>&1")
  local text = pipe:read "*a"
  pipe:close()
  return text
end

function Terminal:tmux(...)
  local words = { "tmux", "-S", self.socket }
  for i = 1, select("#", ...) do
    words[#words + 1] = process.quote((select(i, ...)))
  end
  return read(table.concat(words, " "))
end

--- Starts a shell command in a terminal of `columns` times `rows` (default 80 times 24); it stays to be looked at when the
--- program has ended. The scope ends it.
function M.start(scope, command, options)
  options = options or {}
  local self = setmetatable({ socket = os.tmpname() }, Terminal) -- which tmux puts its socket in the place of
  -- The shell around it keeps the exit status; a trap that does something is not inherited.
  self.status = os.tmpname()
  self:tmux("-f", "/dev/null", "new-session", "-d", "-x", tostring(options.columns or 80), "-y",
    tostring(options.rows or 24), "cat", ";", "set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g",
    "history-limit", "5000", ";", "respawn-pane", "-k", ("exec sh -c %s"):format(process.quote(
    ("trap : INT; export TERM=%s; %s; echo $? >%s"):format(options.term or "screen-256color", command, self.status))))
  return scope:own(self)
end

--- A REPL of this build, with a history of its own.
function M.repl(scope, arguments, options)
  options = options or {}
  local home = options.home or os.tmpname()
  os.remove(home)
  local self = M.start(scope, ("XDG_STATE_HOME=%s NO_COLOR=%s %s %s"):format(home, options.colour and "" or "1",
    process.command(), arguments or ""), options)
  self.home = home
  self.keeps_home = options.home ~= nil
  self:expect "> $"
  return self
end

--- What the terminal shows, without trailing blanks; with `scrolled` also what has scrolled away.
function Terminal:screen(scrolled)
  local text = self:tmux("capture-pane", "-p", unpack(scrolled and { "-S", "-" } or {}))
  return (text:gsub("[ ]+\n", "\n"):gsub("%s+$", ""))
end

--- Waits until the screen matches the pattern; raises after `seconds` (default 30). Returns the captures.
function Terminal:expect(pattern, seconds)
  local text
  local found = eventually(function()
    text = self:screen(true):gsub("[^\n]*Pane is dead[^\n]*", "") .. (pattern:find "> %$$" and " " or "")
    return text:find(pattern)
  end, seconds or 30)
  if not found then error(("no screen that matches %q, but:\n%s"):format(pattern, text), 2) end
  return text:match(pattern)
end

--- Types text as it is.
function Terminal:type(text)
  self:tmux("send-keys", "-l", "--", text)
end

--- Presses keys by tmux's names: "Enter", "C-c", "M-b", "Up".
function Terminal:press(...)
  self:tmux("send-keys", ...)
end

--- Types a line and enters it.
function Terminal:enter(text)
  self:type(text)
  self:press "Enter"
end

--- The cursor's column and row, from 0.
function Terminal:cursor()
  local column, row = self:tmux("display-message", "-p", "#{cursor_x} #{cursor_y}"):match "(%d+) (%d+)"
  return tonumber(column), tonumber(row)
end

--- Waits for the program's end. Returns its exit status (128 + the signal's number), nil when it is still running after
--- `seconds` (default 30).
function Terminal:wait(seconds)
  return eventually(function()
    local file = io.open(self.status)
    local status = file and file:read "*n"
    if file then file:close() end
    return status
  end, seconds or 30)
end

function Terminal:resize(columns, rows)
  self:tmux("resize-window", "-x", tostring(columns), "-y", tostring(rows))
end

function Terminal:close()
  self:tmux "kill-server"
  os.remove(self.socket)
  os.remove(self.status)
  if self.home and not self.keeps_home then os.execute("rm -rf " .. process.quote(self.home)) end
  moonring.sleep(0)
end

return M
