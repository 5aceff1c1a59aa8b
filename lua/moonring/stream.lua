-- moonring.stream: reading by length, by delimiter and by line, for anything with a read().
--
-- A class gets these methods by mix(class). Its own read() gives what arrives, in pieces as they come; the helpers put
-- the pieces into a chain and take from its front what was asked for. What they have put there and nobody has taken yet
-- is the rest of the stream: while there is one, the object's read() (and what else the class reads with) gives that
-- first. It does so by fields of the object that stand before the class's methods, so a stream whose helpers are not
-- used, or have left no rest, reads as fast as ever.
--
-- No byte is lost. A helper that can't give what was asked for (the stream ended, it failed, the limit was passed, the
-- task was cancelled) leaves all of it to the next read.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local operation = require "moonring.operation"
local buffers = require "moonring.buffer"
local chain = require "moonring.buffer.chain"

local C = native.C

local M = {
  LINE_MAX = 65536, -- bytes of a line, or before a delimiter, unless the caller says otherwise
  ALL_MAX = 16777216, -- bytes of read_all
}

---@class moonring.Stream
local Stream = {}

local function refuse_busy(what, other)
  errors.raise("busy", "stream:%s: %s is reading this stream, and %s wants to; one task at a time", what, tostring(other),
    tostring(scheduler.current()))
end

-- What stands before the class's own methods while there is a rest. Each takes it from the chain `self.rest`, which is
-- not empty, and stands aside when it has become so.
local before = {}

local function stand_aside(self)
  for name in pairs(self.rest_methods) do
    self[name] = nil
  end
  self.has_rest = nil
end

local function check_alone(self, what)
  if self.filling then refuse_busy(what, self.filling) end
end

-- The rest's first slice becomes the buffer that is lent: the class's own, where it has one, so that its next read lets
-- go of it.
local function take_slice(self, what)
  check_alone(self, what)
  local rest = self.rest
  local head = rest.head
  local slice = rest:read_buffer(head.limit_ - head.position_)
  if not rest.head then stand_aside(self) end
  C.mr_trace_assign(slice.memory_, 0) -- the stream's, not the reading scope's
  if self.input_buffer then
    local input = self:input_buffer()
    C.mr_buffer_release(input)
    C.mr_buffer_move(input, slice)
    return input
  end
  if self.lent then self.lent:release() end
  self.lent = slice
  return slice
end

function before:read(target)
  if target == nil then return take_slice(self, "read") end
  check_alone(self, "read")
  if not buffers.is(target) then errors.raise("argument", "stream:read: a buffer is needed, not a %s", type(target)) end
  local to, rest = buffers.of(target, "stream:read"), self.rest
  buffers.check_writable(to, "stream:read", 1)
  local head = rest.head
  local slice = rest:read_buffer(math.min(to.limit_ - to.position_, head.limit_ - head.position_))
  to:write(slice)
  slice:release()
  if not rest.head then stand_aside(self) end
  return target
end

function before:next_input()
  return take_slice(self, "read")
end

function before:extend(input, max)
  check_alone(self, "extend")
  local rest, remaining = self.rest, input:remaining()
  if remaining >= max then return false end
  local count = math.min(rest.bytes, max - remaining)
  local joined, more = buffers.allocate(remaining + count), rest:read_buffer(count)
  joined:write(input)
  joined:write(more)
  joined:reset_for_read()
  more:release()
  C.mr_buffer_release(input)
  C.mr_buffer_move(input, joined)
  if not rest.head then stand_aside(self) end
  return true
end

-- Made while there is a rest, it may be done when there is none: then it is what the class's own is.
local Read = operation.class("moonring.Operation.ReadRest", {
  describe = function(self) return self.inner:describe() end,
  try = function(self)
    local stream = self.stream
    if stream.has_rest then return true, take_slice(stream, "read") end
    return self.inner:try()
  end,
  block = function(self, case) self.inner:block(case) end,
  withdraw = function(self, case) self.inner:withdraw(case) end,
})

function before:read_op()
  return setmetatable({ stream = self, inner = self.read_more_op(self) }, Read)
end

-- Puts what was read at the end of the rest.
local function keep(self, buffer)
  local rest = self.rest
  if not rest then
    rest = chain.new()
    self.rest = rest
  end
  rest:append(buffer)
  if rest.head and not self.has_rest then
    self.has_rest = true
    for name, method in pairs(self.rest_methods) do
      self[name] = method
    end
  end
end

-- Reads on. Returns true, or what read has returned.
local function fill(self)
  local rest = self.rest
  if rest then rest:compact() end -- a small rest would pin all of the buffer that it came in
  self.filling = scheduler.current()
  local ok, buffer, message, code = pcall(self.read_more, self)
  self.filling = nil
  if not ok then error(buffer, 0) end
  if not buffer then return nil, message, code end
  keep(self, buffer)
  return true
end

local function bytes_of(self)
  local rest = self.rest
  return rest and rest.bytes or 0
end

-- The stream has come to its end, or failed, before all was there. Nothing at all is an ordinary end.
local function ended(self, what, wanted, message, code)
  if code then return nil, message, code end
  local count = bytes_of(self)
  if count == 0 then return nil end
  return nil, ("EOF: %s: the stream ended after %.0f bytes, %s"):format(what, count, wanted), "EOF"
end

-- When a helper has taken from the rest.
local function taken(self, ...)
  if self.has_rest and not self.rest.head then stand_aside(self) end
  return ...
end

local function check_max(what, max, default)
  if max == nil then return default end
  if type(max) ~= "number" or max ~= max or max < 0 then
    errors.raise("argument", "stream:%s: the limit is a number of bytes, not %s", what, tostring(max))
  end
  return max
end

local function fill_up(self, target)
  while target:remaining() > 0 do
    if bytes_of(self) == 0 then
      local ok, message, code = fill(self)
      if not ok then
        if code then return nil, message, code end
        return nil, ("EOF: read_exactly: the stream ended, %d bytes are missing"):format(target:remaining()), "EOF"
      end
    end
    if bytes_of(self) > 0 then self:read(target) end
  end
  return target
end

--- Reads exactly `count` bytes. With a buffer of the caller's in its place, as many as remain in it, into it.
---@param count integer|moonring.Buffer
---@return string|moonring.Buffer|nil bytes nil alone when the stream ends before the first of them
---@return string? message
---@return string? code "EOF": it ended in between; what came stays to be read (but what is in the caller's buffer)
function Stream:read_exactly(count)
  check_alone(self, "read_exactly")
  if buffers.is(count) then return fill_up(self, buffers.of(count, "stream:read_exactly")) end
  if type(count) ~= "number" or count < 0 or count % 1 ~= 0 or count > 0x7fffffff then
    errors.raise("argument", "stream:read_exactly: a number of bytes or a buffer is needed, not %s", tostring(count))
  end
  while bytes_of(self) < count do
    local ok, message, code = fill(self)
    if not ok then return ended(self, "read_exactly", ("%.0f are needed"):format(count), message, code) end
  end
  if count == 0 then return "" end
  return taken(self, self.rest:read_string(count))
end

-- Asks take(chain, ...) until it has found what it looks for or says why it never will.
local function search(self, what, wanted, take, ...)
  check_alone(self, what)
  while true do
    local rest = self.rest
    if rest then
      local found, message, code = take(rest, ...)
      if found then return taken(self, found) end
      if code then return nil, (message:gsub("^chain:[%w_]+", code .. ": " .. what)), code end
    end
    local ok, message, code = fill(self)
    if not ok then return ended(self, what, wanted, message, code) end
  end
end

--- Reads up to the delimiter and returns what is before it; the delimiter is skipped.
---@param delimiter string
---@param max? integer bytes before it, default 65536
---@return string? text nil alone at the end of the stream
---@return string? message
---@return string? code "EMSGSIZE": it does not come within max bytes; "EOF": nor before the end of the stream
function Stream:read_until(delimiter, max)
  if type(delimiter) ~= "string" or delimiter == "" then
    errors.raise("argument", "stream:read_until: the delimiter is a string that is not empty, not %s", tostring(delimiter))
  end
  return search(self, "read_until", "the delimiter has not come", chain.Chain.try_read_until, delimiter,
    check_max("read_until", max, M.LINE_MAX))
end

--- Reads a line, which ends with LF; neither it nor a CR before it is returned. A last line without LF is none: the code
--- is "EOF" then, and read_all gives what there is of it.
---@param max? integer bytes of the line, default 65536
---@return string? line nil alone at the end of the stream
---@return string? message
---@return string? code "EMSGSIZE", "EOF"
function Stream:read_line(max)
  return search(self, "read_line", "the line has not ended", chain.Chain.try_read_line,
    check_max("read_line", max, M.LINE_MAX))
end

--- Iterates over the lines: `for line in connection:lines() do`. Ends with the stream, also when it fails.
---@param max? integer bytes of a line
function Stream:lines(max)
  return function() return (self:read_line(max)) end
end

--- Reads everything up to the end of the stream.
---@param max? integer bytes, default 16 MiB
---@return string? bytes "" when the stream is at its end already
---@return string? message
---@return string? code "EMSGSIZE": there is more; what came stays to be read
function Stream:read_all(max)
  check_alone(self, "read_all")
  max = check_max("read_all", max, M.ALL_MAX)
  while true do
    if bytes_of(self) > max then
      return nil, ("EMSGSIZE: read_all: the stream is longer than %.0f bytes"):format(max), "EMSGSIZE"
    end
    local ok, message, code = fill(self)
    if not ok then
      if code then return nil, message, code end
      local count = bytes_of(self)
      return count == 0 and "" or taken(self, self.rest:read_string(count))
    end
  end
end

--- Drops the next `count` bytes.
---@param count integer
---@return true? ok nil alone when the stream ends before the first of them
---@return string? message
---@return string? code "EOF": it ended in between
function Stream:skip(count)
  check_alone(self, "skip")
  if type(count) ~= "number" or count < 0 or count % 1 ~= 0 then
    errors.raise("argument", "stream:skip: a number of bytes is needed, not %s", tostring(count))
  end
  local left = count
  while left > 0 do
    local there = math.min(bytes_of(self), left)
    if there > 0 then
      self.rest:skip(there)
      left = left - there
      taken(self)
    else
      local ok, message, code = fill(self)
      if not ok then
        if code then return nil, message, code end
        if left == count then return nil end
        return nil, ("EOF: skip: the stream ended, %.0f of %.0f bytes are missing"):format(left, count), "EOF"
      end
    end
  end
  return true
end

--- Lets go of the rest, for the class's close.
function M.release(self)
  if self.has_rest then stand_aside(self) end
  if self.rest then self.rest:close() end
  if self.lent then self.lent:release() end
  self.rest, self.lent = nil, nil
end

--- Gives a class these methods. It has read(), which returns a buffer of what has arrived (its memory is taken over),
--- nil at the end, or nil, message, code; and its close calls release(object). read_op, and for protocols next_input
--- and extend, are looked after where the class has them. `own` are methods that stand before the class's while there
--- is a rest, in place of those from here.
---@param class table
---@param own? table<string, function>
function M.mix(class, own)
  for name, method in pairs(Stream) do
    class[name] = method
  end
  class.read_more, class.read_more_op = class.read, class.read_op
  class.rest_methods = {}
  for name, method in pairs(before) do
    if class[name] then class.rest_methods[name] = own and own[name] or method end
  end
end

--- Up to `count` bytes of the rest, as a buffer of the caller's; read() while there is a rest. For classes with methods
--- of their own there.
---@param count integer at least 1
function M.take(self, count)
  check_alone(self, "read")
  return taken(self, self.rest:read_buffer(math.min(count, self.rest.bytes)))
end

M.read_rest = before.read

return M
