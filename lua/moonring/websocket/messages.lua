-- moonring.websocket.messages: from frames to messages: decompression, UTF-8, limits. Opens no socket, never waits.
--
-- A message is given in parts: views of the received bytes, or blocks of decompressed ones. So a message of any length
-- takes no more memory than its parts do, and whoever wants it whole puts them together.

local native = require "moonring.native"
local buffer = require "moonring.buffer"
local frames = require "moonring.websocket.frames"

local C, ffi = native.C, native.ffi

local M = {}

local NOT_TEXT, TOO_BIG = 1007, 1009
local INFLATED_BYTES = 16384 -- of one decompressed part

--- Internal.
---@class moonring.websocket.MessageReader
local Reader = { __name = "moonring.websocket.MessageReader" }
Reader.__index = Reader

--- Internal.
---@class moonring.websocket.MessageOptions
---@field role "server"|"client"
---@field max_message_bytes? integer after decompression; default 1 MiB
---@field inflation? moonring.websocket.Inflation what was agreed on

--- Makes a reader for the messages of one connection.
---@param options moonring.websocket.MessageOptions
---@return moonring.websocket.MessageReader
function M.reader(options)
  local max = options.max_message_bytes or 1048576
  return setmetatable({
    frames = frames.reader {
      role = options.role,
      allow_compressed = options.inflation ~= nil,
      max_frame_bytes = not options.inflation and max or nil,
    },
    inflation = options.inflation,
    max = max,
    length = 0, -- bytes of the message so far
    cut = ffi.new("uint8_t[8]"), -- a character that is cut at the end of a part
    cut_length = 0,
    view = buffer.new(),
    source = false, -- compressed bytes that have not been decompressed
    is_tail = false, -- they are the end of the message
    block = false, -- where they are decompressed to
    failed = false,
  }, Reader)
end

local function fail(self, code, message)
  self.failed = { code, message }
  return false, code, message
end

-- Whether text goes on well-formed with these bytes; a character may be cut at their end.
local function is_text(self, data, length, is_last)
  local at, kept, cut = 0, self.cut_length, self.cut
  while kept > 0 and at < length do
    cut[kept] = data[at]
    kept, at = kept + 1, at + 1
    local size = C.mr_utf8_sequence(cut, kept)
    if size < 0 then return false end
    if size > 0 then kept = 0 end
  end
  if kept == 0 and at < length then
    at = at + C.mr_utf8_span(data + at, length - at)
    local left = length - at
    if left > 3 or left > 0 and C.mr_utf8_sequence(data + at, left) ~= 0 then return false end
    if left > 0 then ffi.copy(cut, data + at, left) end
    kept = left
  end
  self.cut_length = kept
  return not (is_last and kept > 0)
end

-- Gives a part of which the bytes are known.
local function give_part(self, part, data, length, is_last)
  self.length = self.length + length
  if self.length > self.max then
    return fail(self, TOO_BIG, ("a message of more than %.0f bytes"):format(self.max))
  end
  if self.frames.opcode == frames.TEXT and not is_text(self, data, length, is_last) then
    return fail(self, NOT_TEXT, "a text message that is not UTF-8")
  end
  if is_last then
    self.length = 0
    if self.inflation then self.inflation:end_message() end
  end
  return "part", part, is_last
end

-- Decompresses the next block of what is there. Result: as of next; nil when the source is used up.
local function inflate(self)
  local block = self.block
  if not block then
    block = buffer.allocate(INFLATED_BYTES)
    self.block = block
  end
  block:reset_for_write()
  while true do
    local source = self.source
    local ok, message = self.inflation:run(source, block)
    if not ok then return fail(self, NOT_TEXT, "a compressed message that can't be decompressed: " .. message) end
    if block:remaining() == 0 then break end
    if source:remaining() == 0 then -- otherwise a deflate stream has ended and another begins
      source:release()
      self.source = false
      if self.is_tail or not self.frames.is_last then break end
      self.source, self.is_tail = self.inflation.tail(), true
    end
  end
  local is_last = self.is_tail and not self.source
  if is_last then self.is_tail = false end
  block:reset_for_read()
  local length = block.limit_
  if length == 0 and not is_last then return nil end
  return give_part(self, block, block.data_, length, is_last)
end

-- A view of a span of the input, which ends with the next call.
local function view_of(self, input, offset, length)
  local view = self.view
  C.mr_buffer_release(view)
  local position, limit = input.position_, input.limit_
  input.position_, input.limit_ = offset, offset + length
  C.mr_buffer_slice(view, input)
  input.position_, input.limit_ = position, limit
  return view
end

--- Goes on with the remaining bytes of `input`, which may be written to. Results:
---   nil                           all is taken, more bytes are needed
---   "part", buffer, is_last       a part of a message, which may be empty when it is the last; lent until the next call
---   "control", opcode, payload    a Close, Ping or Pong
---   false, code, message          the peer has broken the protocol: what to close with
---@param input moonring.Buffer
---@return "part"|"control"|false|nil what
---@return any detail
---@return any value
function Reader:next(input)
  if self.failed then return false, self.failed[1], self.failed[2] end
  while true do
    if self.source then
      local what, detail, value = inflate(self)
      if what ~= nil then return what, detail, value end
    end
    local reader = self.frames
    local what, detail, value = reader:next(input)
    if what ~= "data" then return what, detail, value end
    if reader.is_first then self.cut_length = 0 end
    if reader.compressed then
      if value > 0 then
        local view = view_of(self, input, detail, value)
        self.source = view:slice()
      elseif reader.is_last then
        self.source, self.is_tail = self.inflation.tail(), true
      end
    elseif value > 0 or reader.is_last then
      return give_part(self, view_of(self, input, detail, value), input.data_ + detail, value, reader.is_last)
    end
  end
end

--- Whether the message that is being read is text.
---@return boolean
function Reader:is_text()
  return self.frames.opcode == frames.TEXT
end

--- Whether the stream may end here.
---@return boolean
function Reader:is_between()
  return not self.source and self.frames:is_between()
end

--- Lets go of all memory.
function Reader:close()
  C.mr_buffer_release(self.view)
  if self.source then self.source:release() end
  if self.block then self.block:release() end
  if self.inflation then self.inflation:close() end
  self.source, self.block = false, false
  self.failed = self.failed or { 1006, "closed" }
end

return M
