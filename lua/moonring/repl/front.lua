-- moonring.repl.front: the terminal in front of a session, be that in this process or behind a socket.
--
-- While a person types, the terminal is raw and its bytes come through the ring; while a block runs it is as it was
-- found, so that the block may read it, and Ctrl-C is a signal either way. Where there is no terminal to edit on (a
-- pipe, TERM=dumb) the input is read line by line; without a terminal there are no prompts either.
--
-- What is in front of is a backend:
--   run(text): boolean              evaluates a block, waits for its end
--   cancel(): boolean               stops the block that runs
--   complete(before): integer, string[]   waits for nothing long
--   computing(): moonring.Task?     the task that an interruption is for
--   ended, stopped: boolean, moonring.Event   where there is another side that may go away

local native = require "moonring.native"
local errors = require "moonring.errors"
local clock = require "moonring.clock"
local operation = require "moonring.operation"
local signal = require "moonring.signal"
local stream = require "moonring.net.connection"
local editor = require "moonring.repl.editor"
local screens = require "moonring.repl.screen"
local history = require "moonring.repl.history"
local session = require "moonring.repl.session"
local output = require "moonring.repl.output"
local interrupt = require "moonring.repl.interrupt"

local C, ffi = native.C, native.ffi

local M = {}

local INPUT, OUTPUT = 0, 1
local PASTE_ON, PASTE_OFF = "\27[?2004h", "\27[?2004l"

--- Whether standard input and output are a terminal.
function M.is_terminal()
  return C.mr_terminal_is(INPUT) == 1 and C.mr_terminal_is(OUTPUT) == 1
end

local function can_edit()
  local term = os.getenv "TERM"
  return M.is_terminal() and term ~= nil and term ~= "" and term ~= "dumb"
end

--- Whether colours are wanted: on a terminal that has them, and not where NO_COLOR is set (no-color.org).
function M.wants_colour()
  local refused = os.getenv "NO_COLOR"
  return can_edit() and not (refused and refused ~= "")
end

local function measure()
  local size = ffi.new "mr_terminal_size"
  C.mr_terminal_measure(OUTPUT, size)
  return size.columns, size.rows
end

--- Columns of the terminal, 80 where there is none.
function M.columns()
  return (measure())
end

--- Internal.
---@class moonring.repl.Front
local Front = {}
Front.__index = Front

-- Nothing but the terminal may be what everybody waits for; that is no deadlock. So a timer is always armed.
local Heartbeat = {}
Heartbeat.__index = Heartbeat
local HEARTBEAT = 86400 -- seconds

function Heartbeat:expired()
  self.timer = clock.start(HEARTBEAT, self)
end

local function open_input()
  local input, message, code = stream.open(INPUT, { keep = true, name = "standard input" })
  if not input then errors.raise(code, "%s", message) end
  return input
end

-- Drawing --------------------------------------------------------------------------------------------------------------

function Front:paint(text)
  return self.colour and "\27[1m" .. text .. "\27[0m" or text
end

local function draw_bytes(self)
  return self.screen:draw(self.editor:view(), self:paint "> ", self:paint ">> ")
end

local function draw(self)
  output.raw(draw_bytes(self))
end

-- Output of the process, while the line is on the screen.
local function put_above(self, text)
  if not self.editing then return output.raw(text) end
  output.raw(self.screen:above(text) .. draw_bytes(self))
end

local function resize(self)
  local columns, rows = measure()
  if not self.screen then return end
  local bytes = self.screen:resize(columns, rows)
  if self.editing then output.raw(bytes .. draw_bytes(self)) end
  if self.on_resize then self.on_resize(columns) end
end

local function begin_editing(self)
  local result = C.mr_terminal_raw(INPUT)
  if result < 0 then
    local _, message, code = errors.world(result, "make the terminal raw")
    errors.raise(code, "%s", message)
  end
  self.input = open_input()
  self.editing = true
  output.raw(PASTE_ON)
  draw(self)
end

-- Keys that have come already stay with the editor.
local function end_editing(self)
  if not self.editing then return end
  self.editing = false
  local ok, some, buffer = pcall(function()
    return self.input:read_op():try()
  end)
  if ok and some and buffer then self.editor.held = self.editor.held .. buffer:to_string() end
  self.input:close(0)
  self.input = nil
  output.raw(PASTE_OFF)
  C.mr_terminal_restore()
end

-- Events of the editor --------------------------------------------------------------------------------------------------

local handlers = {}

-- The block stays on the screen as it was entered, without menu and search.
local function leave_on_screen(self, view)
  local plain = { cells = view.cells, cursor = #view.cells }
  output.raw(self.screen:draw(plain, self:paint "> ", self:paint ">> ") .. self.screen:finish())
end

function handlers.block(self, event)
  leave_on_screen(self, event.view)
  end_editing(self)
  local ok, message = self.history:add(event.text)
  if not ok then output.put("moonring: " .. message .. "\n") end
  self.backend.run(event.text)
  if not self.backend.ended then begin_editing(self) end
end

handlers["end"] = function(self)
  leave_on_screen(self, { cells = {} })
  self.ended = true
end

function handlers.interrupt(self, event)
  if event.empty then put_above(self, "C-d ends\n") end
end

function handlers.complete(self, event)
  local start, candidates = self.backend.complete(event.before)
  if not self.editor:completions(event.serial, start, candidates or {}) then output.raw "\a" end
end

function handlers.bell()
  output.raw "\a"
end

function handlers.clear(self)
  output.raw(self.screen:clear())
end

function handlers.suspend(self)
  output.raw(self.screen:finish() .. PASTE_OFF)
  self.input:close(0)
  C.mr_terminal_suspend()
  self.input = open_input()
  resize(self)
  output.raw(PASTE_ON)
end

local function handle(self, events)
  for _, event in ipairs(events) do
    handlers[event.kind](self, event)
    if self.ended or self.backend.ended then return end
  end
  if self.editing then draw(self) end
end

-- The signal: while a person types it is a key. Returns whether it was for the REPL: what is nothing to it is for those who
-- have subscribed to the signal, and without a person for what the program does with it.
local function interrupted(self)
  if self.editing then
    local text = self.editor:text()
    if text == "" and not self.editor.search and signal.is_taken "INT" then return false end
    if text ~= "" then
      output.raw(self.screen:draw({ cells = self.editor.cells, cursor = #self.editor.cells }, self:paint "> ",
        self:paint ">> ") .. "^C" .. self.screen:finish())
    end
    self.editor.events = {}
    handle(self, self.editor:feed "\3")
    return true
  end
  if not self.backend.cancel() then return M.is_terminal() and not signal.is_taken "INT" end
  output.raw "\n"
  return true
end

-- Reads keys until the person leaves. Returns whether that went well, which it did.
local function edit(self)
  begin_editing(self)
  while not self.ended and not self.backend.ended do
    if self.editor.held ~= "" then
      handle(self, self.editor:resume())
    else
      local stopped = self.backend.stopped
      local what, bytes, message = operation.select { bytes = self.input:read_op(), stopped = stopped and stopped:wait_op() }
      if what == "stopped" then
        output.raw(self.screen:finish())
        self.ended = true
      elseif not bytes then
        if message then output.put("moonring: " .. message .. "\n") end
        self.ended = true -- the terminal has gone
      else
        handle(self, self.editor:feed(bytes:to_string()))
      end
    end
  end
  return true
end

-- Without editing ----------------------------------------------------------------------------------------------------------

local function prompt(text)
  if M.is_terminal() then output.raw(text) end
end

-- Reads blocks line by line. Returns whether the last one went well.
local function read_lines(self)
  local rest, block, ok = "", "", true
  prompt "> "
  local input = open_input()
  local function enter(line)
    block = block == "" and line or block .. "\n" .. line
    if session.is_complete(block) then
      local text = block
      block = ""
      ok = self.backend.run(text)
    end
    if not self.backend.ended then prompt(block == "" and "> " or ">> ") end
  end
  local stopped = self.backend.stopped
  while not self.backend.ended do
    local _, bytes = operation.select { bytes = input:read_op(), stopped = stopped and stopped:wait_op() }
    if not bytes then break end
    rest = rest .. bytes:to_string()
    while not self.backend.ended do
      local line, behind = rest:match "^([^\n]*)\n(.*)$"
      if not line then break end
      rest = behind
      enter((line:gsub("\r$", "")))
    end
  end
  if (rest ~= "" or block ~= "") and not self.backend.ended then
    block = block .. (rest ~= "" and block ~= "" and "\n" or "") .. rest
    ok = self.backend.run(block)
  end
  input:close(0)
  return ok or M.is_terminal() -- a person knows; a script is told by the exit status
end

--- Internal.
---@class moonring.repl.FrontOptions
---@field backend table
---@field banner? string
---@field on_resize? fun(columns: integer)

-- Whatever ends the front, the terminal is as it was found.
local function leave(self, release, ok, ...)
  end_editing(self)
  output.release()
  release()
  if self.screen then signal.handle("WINCH", self.former_resize) end
  clock.stop(self.heartbeat.timer, self.heartbeat)
  M.active = false
  if not ok then error((...), 0) end
  return ...
end

--- Runs a front until the person leaves. Returns whether the last block went well.
---@param options moonring.repl.FrontOptions
---@return boolean ok
function M.run(options)
  if M.active then errors.raise("busy", "moonring.repl: a REPL sits at this terminal already") end
  M.active = true
  local self = setmetatable({
    backend = options.backend, on_resize = options.on_resize, colour = M.wants_colour(), editing = false, ended = false,
    heartbeat = setmetatable({}, Heartbeat),
  }, Front)
  self.heartbeat:expired()
  local release = interrupt.take(function() return interrupted(self) end, options.backend.computing, function()
    if not self.editing then output.raw "\n" end -- behind the ^C that the terminal shows
  end)
  local body = read_lines
  if can_edit() then
    body = edit
    local columns, rows = measure()
    self.screen = screens.new { columns = columns, rows = rows, colour = self.colour }
    self.history = history.new(history.default_path())
    self.editor = editor.new { history = self.history, is_complete = session.is_complete }
    self.former_resize = signal.handle("WINCH", function() resize(self) end)
    output.catch(function(text) put_above(self, text) end)
    if options.banner then output.raw(options.banner .. "\n") end
  end
  return leave(self, release, xpcall(body, require("moonring.task").record_traceback, self))
end

return M
