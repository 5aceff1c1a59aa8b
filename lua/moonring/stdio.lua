-- moonring.stdio: standard input, output and error.
--
-- In the executable print, io.write and the methods of io.stdout and io.stderr all write here (moonring.lua_io), so what
-- they write stays in the order in which it was written. Text is gathered: for a terminal until the end of a line,
-- otherwise until it is much or the loop's turn is over; standard error is never held back, and what standard output
-- holds goes before it. A pipe that is full or a terminal that is stopped doesn't hold the loop: the text queues, and a
-- task that goes on writing waits until some of it has gone out.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"
local loop = require "moonring.loop"

local C, ffi = native.C, native.ffi
local copy = ffi.copy
local current = scheduler.current
local bytes = ffi.typeof "const uint8_t *"

local M = {
  -- Bytes that wait to go out at which a task that writes waits.
  WRITE_HIGH = 262144,
  -- Those at which it goes on.
  WRITE_LOW = 65536,
  -- Gathered bytes at which they are written without waiting for the turn's end.
  GATHERED = 32768,
}

-- Bytes that may queue in a cancelled scope, where printing doesn't wait; then it raises the cancellation.
local CANCELLED_MAX = 4 * M.WRITE_HIGH

local EPIPE, EBADF, NEWLINE, TAB = -32, -9, 10, 9

---@class moonring.Output
local Output = { __name = "moonring.Output" }
Output.__index = Output

local outputs = {}

local function flush_turn()
  loop.before_turn = false
  local has_failed = false
  for descriptor = 1, 2 do
    if not outputs[descriptor]:try_flush() then has_failed = true end
  end
  return has_failed
end

local function new_output(descriptor, name)
  local state = C.mr_standard_open(descriptor)
  if state == nil then errors.raise("ENOMEM", "moonring.stdio: no memory for %s", name) end
  local mode = descriptor == 2 and "no" or C.mr_standard_is_terminal(descriptor) ~= 0 and "line" or "full"
  local self = setmetatable({ state = state, number = descriptor, name = name, mode = mode, failure = false,
    sink = false, queue = waiters.new("write to " .. name) }, Output)
  outputs[descriptor] = self
  return self
end

-- What has gone wrong is kept for the exit status. Returns nil, message, code.
function Output:failed(result)
  if result == EPIPE then loop.on_broken_pipe() end
  if not self.failure then self.failure = result end
  return errors.world(result, "write to " .. self.name)
end

-- Hands over what can be without waiting. Returns the bytes left, or nil, message, code.
function Output:try_flush()
  local left = C.mr_standard_flush(self.state, loop.started and loop.handle() or nil)
  if left < 0 then return self:failed(left) end
  return left
end

-- What is left goes on with the loop, which is made for it when a task writes. Outside of its life nothing would go on.
local function flush_at_once(self)
  local left, message, code = self:try_flush()
  if left and left > 0 and not loop.started then
    if current() and pcall(loop.handle) then return self:try_flush() end
    local result = C.mr_standard_finish(self.state, -1)
    if result < 0 then return self:failed(result) end
    return 0
  end
  return left, message, code
end

-- Whether the running task may wait here. Printing in a scope that has been cancelled still prints.
local function may_wait()
  local task = current()
  if not task then return false end
  local scope = task.scope or task
  return not scope.reason or scope.is_ending
end

local function left_of(self)
  return self.state.used - self.state.first
end

-- Waits until at most `mark` bytes are left.
local function wait_below(self, mark)
  while left_of(self) > mark do
    local left, message, code = self:try_flush()
    if not left then return nil, message, code end
    if left <= mark then break end
    self.state.awaited = 1
    self.queue:wait()
  end
  return true
end

-- Where LuaJIT can't yield, the text stays queued.
local function wait_where_possible(self, mark)
  if not may_wait() then
    -- What says goodbye is short. What prints on and on would never come to a wait that ends it.
    if left_of(self) >= CANCELLED_MAX and current() then scheduler.check() end
    return true
  end
  local ok, result, message, code = pcall(wait_below, self, mark)
  if ok then return result, message, code end
  if errors.is(result, "boundary") then return true end
  error(result, 0)
end

-- Adds bytes for which there may be no room. A task adds no more than the mark at once.
local function put_long(self, text)
  local state, length, at = self.state, #text, 0
  while at < length do
    if left_of(self) >= M.WRITE_HIGH then
      local ok, message, code = wait_where_possible(self, M.WRITE_LOW)
      if not ok then return nil, message, code end
    end
    local count = math.min(length - at, M.WRITE_HIGH)
    if C.mr_standard_room(state, count) < 0 then return errors.world(-12, "write to " .. self.name) end
    copy(state.data + state.used, ffi.cast(bytes, text) + at, count) -- the string itself is held until here
    state.used = state.used + count
    at = at + count
    local left, message, code = flush_at_once(self)
    if not left then return nil, message, code end
  end
  return true
end

-- Something has been added: it goes now, with the turn, or not yet.
local function added(self, has_line)
  local mode = self.mode
  if mode == "full" or mode == "line" and not has_line then
    if not loop.before_turn then loop.before_turn = flush_turn end
    return true
  end
  if mode == "no" and self ~= outputs[1] and left_of(outputs[1]) > 0 then outputs[1]:try_flush() end
  local left, message, code = flush_at_once(self)
  return left and true, message, code
end

-- Hands a text to who has the terminal, and waits like any writer for the terminal to take it.
local function put_caught(self, text)
  self.sink(text)
  local terminal = outputs[1]
  if left_of(terminal) < M.WRITE_HIGH then return true end
  return wait_where_possible(terminal, M.WRITE_LOW)
end

-- Adds a text.
local function put(self, text)
  if self.sink then return put_caught(self, text) end
  local state, length = self.state, #text
  local used = state.used
  if used + length > M.GATHERED then
    return put_long(self, text)
  end
  copy(state.data + used, text, length)
  state.used = used + length
  return added(self, self.mode == "line" and text:find("\n", 1, true))
end

-- Puts a text, or a number as tostring writes it, and one byte behind it where there is room. Returns whether there was.
local function put_with(self, text, byte)
  if self.sink then return false end
  local state = self.state
  local used = state.used
  if type(text) == "number" then
    if used + C.MR_STANDARD_NUMBER_BYTES + 1 > M.GATHERED then return false end
    used = used + C.mr_standard_number(state, text)
  else
    local length = #text
    if used + length + 1 > M.GATHERED then return false end
    copy(state.data + used, text, length)
    used = used + length
  end
  state.data[used] = byte
  state.used = used + 1
  return true
end

-- A line that has begun is ended before anybody else can write.
local function put_line(self, text)
  if put_with(self, text, NEWLINE) then return added(self, true) end
  return put(self, text .. "\n")
end

--- Writes a string, or the remaining bytes of a buffer (copied; its position becomes its limit). Waits while too much is
--- left to go out.
---@param data string|number|moonring.Buffer
---@return true? ok
---@return string? message
---@return string? code
function Output:write(data)
  if type(data) == "number" then data = tostring(data) end
  if type(data) == "string" then return put(self, data) end
  if not require("moonring.buffer").is(data) then
    errors.raise("argument", "%s:write: a string or a buffer is needed, not a %s", self.name, type(data))
  end
  return put(self, data:read_string(data:remaining()))
end

--- Writes past what catches the output, without waiting. Internal: for the REPL.
---@param text string
function Output:pass(text)
  local state, length = self.state, #text
  if C.mr_standard_room(state, length) < 0 then return errors.world(-12, "write to " .. self.name) end
  copy(state.data + state.used, text, length)
  state.used = state.used + length
  return flush_at_once(self)
end

--- Waits until at most `mark` bytes are left to go out (default: the low-water mark).
---@param mark? integer bytes
---@return true? ok
---@return string? message
---@return string? code
function Output:drain(mark)
  scheduler.require_task(self.name .. ":drain")
  scheduler.check()
  return wait_below(self, mark or M.WRITE_LOW)
end

--- Waits until all of it has gone out.
---@return true? ok
---@return string? message
---@return string? code
function Output:flush()
  return self:drain(0)
end

--- When text is written: "no": at once, "line": with the end of a line, "full": when it is much, or with the turn.
---@param mode "no"|"line"|"full"
function Output:setvbuf(mode)
  if mode ~= "no" and mode ~= "line" and mode ~= "full" then
    errors.raise("argument", "%s:setvbuf: \"no\", \"line\" or \"full\" is needed, not %s", self.name, tostring(mode))
  end
  self.mode = mode
  if mode ~= "full" then flush_at_once(self) end
end

--- The number of the descriptor.
---@return integer
function Output:descriptor()
  return self.number
end

function Output:__tostring()
  return ("moonring.Output(%s)"):format(self.name)
end

local Drain = operation.class("moonring.Operation.Output", {
  describe = function(self) return "drain of " .. self.output.name end,
  try = function(self)
    local left, message, code = self.output:try_flush()
    if not left then return true, nil, message, code end
    return left <= self.mark, true
  end,
  block = function(self, case)
    self.output.state.awaited = 1
    self.output.queue:add(case)
  end,
  withdraw = function(self, case) self.output.queue:remove(case) end,
})

--- drain as an operation for moonring.select.
---@param mark? integer bytes
---@return moonring.Operation
function Output:drain_op(mark)
  return setmetatable({ output = self, mark = mark or M.WRITE_LOW }, Drain)
end

-- Some of it has gone out, or writing has failed: those who wait look again.
function loop.on_output(descriptor, result)
  local output = outputs[descriptor]
  output.state.awaited = 0
  if result < 0 then
    C.mr_standard_error(output.state)
    output:failed(result)
  end
  output.queue:wake_to_retry()
end

--- Standard output.
---@type moonring.Output
M.stdout = new_output(1, "stdout")
--- Standard error.
---@type moonring.Output
M.stderr = new_output(2, "stderr")

local input

--- Standard input as a connection. It is read from the first use of this on; what io.read finds after that is the rest.
---@return moonring.Connection
function M.stdin()
  if not input then
    local message, code
    input, message, code = require("moonring.net.connection").open(0, { keep = true, name = "stdin" })
    if not input then errors.raise(code, "%s", message) end
  end
  return input
end

--- Hands over what can be without waiting: before somebody else writes to the same places. Internal.
function M.flush_now()
  M.stdout:try_flush()
  M.stderr:try_flush()
end

--- Hands what is written from now on to `sink(text)` in place of these descriptors, where they are terminals; nil ends that.
--- Internal: for the REPL, which has a line on the terminal.
---@param sink? fun(text: string)
function M.catch(sink)
  for descriptor = 1, 2 do
    local output = outputs[descriptor]
    output.sink = sink and C.mr_standard_is_terminal(descriptor) ~= 0 and sink or false
  end
end

-- What print and io are made of (moonring.lua_io) --------------------------------------------------------------------------

-- What io's functions return when writing has failed; their third result is the errno, which is told by its name here.
local function result_of(ok, message, code)
  if ok then return true end
  return nil, message, code
end

local function text_of(value, index)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return tostring(value) end
  error(("bad argument #%d to 'write' (string expected, got %s)"):format(index, value == nil and "no value" or kind), 3)
end

--- What io.write does. Internal.
function M.write_all(output, count, first, ...)
  if count == 1 then return result_of(put(output, text_of(first, 1))) end
  if count == 0 then return true end
  local parts = { first, ... }
  for i = 1, count do
    parts[i] = text_of(parts[i], i)
  end
  return result_of(put(output, table.concat(parts, "", 1, count)))
end

--- What file:flush does: it doesn't wait. Internal.
function M.flush_some(output)
  return result_of(flush_at_once(output))
end

local tostring = tostring

-- A number stays one as long as nobody has replaced tostring, which print asks as any script would.
local function shown(value)
  local to_string = _G.tostring
  if to_string == tostring and type(value) == "number" and value % 1 == 0 then return value end
  local text = to_string(value)
  if type(text) == "number" then return tostring(text) end
  if type(text) ~= "string" then error("'tostring' must return a string to 'print'", 0) end
  return text
end

--- What print does. Internal.
function M.print_to(output, count, first, ...)
  if count == 1 then
    put_line(output, shown(first))
    return
  elseif count == 2 then
    local left, right = shown(first), shown((...))
    if not put_with(output, left, TAB) then right = left .. "\t" .. right end
    put_line(output, right)
    return
  end
  local parts = { first, ... }
  for i = 1, count do
    parts[i] = shown(parts[i])
  end
  put_line(output, table.concat(parts, "\t", 1, count))
end

--- Writes what is left, after the loop's end: for as long as it takes, as every program does, or `seconds`. A failure of
--- standard output that nobody was told of is told on standard error. Returns nil when something could not be written, and
--- whether that is because its reader has gone. Internal.
---@param seconds? number
function M.finish(seconds)
  local all_written, is_broken = true, false
  for descriptor = 1, 2 do
    local output = outputs[descriptor]
    local result = C.mr_standard_finish(output.state, seconds or -1)
    if result == 0 then result = output.failure end
    if result and result ~= 0 and result ~= EBADF then
      all_written = nil
      is_broken = is_broken or result == EPIPE
      if descriptor == 1 and result ~= EPIPE then
        local _, message = errors.world(result, "moonring: write to " .. output.name)
        C.mr_standard_finish(M.stderr.state, 0)
        M.stderr.failure = false
        put(M.stderr, message .. "\n")
      end
    end
  end
  return all_written, is_broken
end

return M
