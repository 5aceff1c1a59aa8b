-- Reads a stream of messages with the codec, as a server or a client does that gets it in pieces, and writes down
-- what it made of it. The transcript must be the same for every way of cutting the same bytes: specs and the fuzzer
-- compare them.

local codec = require "moonring.http.codec"
local multipart = require "moonring.http.codec.multipart"
local native = require "moonring.native"

local ffi = native.ffi

local M = {}

-- The C library's memory, exactly as long as the text: the sanitizer knows where it ends.
pcall(ffi.cdef, "void *malloc(size_t size); void free(void *memory);")

local function allocate(text)
  local memory = ffi.gc(ffi.cast("uint8_t *", ffi.C.malloc(math.max(#text, 1))), ffi.C.free)
  ffi.copy(memory, text, #text)
  return memory
end

-- What a connection's extend does: the remaining bytes and the new piece in one run, at an address of its own.
local function gather(self, piece)
  local rest = ffi.string(self.buffer.data_ + self.buffer.position_, self.buffer.limit_ - self.buffer.position_)
  local text = rest .. piece
  self.memory = allocate(text)
  self.buffer = ffi.new "mr_buffer"
  self.buffer.data_ = self.memory
  self.buffer.limit_, self.buffer.capacity_ = #text, #text
end

local function note(self, ...)
  self.lines[#self.lines + 1] = table.concat({ ... }, " ")
end

local function describe_head(self)
  local head = self.head
  note(self, "head", head:part(0), head:part(1), tostring(head.status), tostring(head.minor_version),
    tostring(head.keep_alive), tostring(head.has_body), tostring(head.content_length), tostring(head.is_chunked),
    tostring(head.is_until_close), tostring(head.expect_continue), tostring(head.upgrade))
  for name, value in head:fields() do
    note(self, " ", name, value)
  end
end

local function end_body(self)
  note(self, "body", table.concat(self.content))
  for _, text in ipairs(self.body.trailers or {}) do
    note(self, "  trailer", text)
  end
  self.content = {}
  self.state = self.head.upgrade and self.kind == "response" and "upgraded" or "head"
end

local function refuse(self, status, message)
  note(self, "body so far", table.concat(self.content))
  note(self, "refused", tostring(status), tostring(message))
  self.state = "refused"
end

-- One step; false when more bytes are needed.
local function step(self)
  if self.state == "head" then
    if self.buffer.position_ == self.buffer.limit_ then return false end
    local done, status, message
    if self.kind == "response" then
      done, status, message = codec.read_response(self.buffer, self.head, self.method, self.limits)
    else
      done, status, message = codec.read_request(self.buffer, self.head, self.limits)
    end
    if done == nil then return false end
    if not done then
      refuse(self, status, message)
    else
      describe_head(self)
      self.body:begin(self.head, self.limits)
      self.state = "body"
    end
    return true
  elseif self.state == "body" then
    local count, at, message = self.body:next(self.buffer)
    if count == nil then return false end
    if not count then
      refuse(self, at, message)
    elseif count == 0 then
      end_body(self)
    else
      assert(at + count <= self.buffer.limit_ and at >= 0, "content outside of the buffer")
      self.content[#self.content + 1] = ffi.string(self.buffer.data_ + at, count)
    end
    return true
  end
  return false
end

--- Reads pieces (a list of strings) as "request" or "response" messages. Returns the transcript.
---@param kind string
---@param pieces string[]
---@param limits? table
---@param method? string that responses answer
---@return string
function M.of(kind, pieces, limits, method)
  local self = { kind = kind, lines = {}, content = {}, head = codec.new_head(kind == "response"), body = codec.new_body(),
    limits = limits, method = method or "GET", state = "head", buffer = ffi.new "mr_buffer" }
  for _, piece in ipairs(pieces) do
    gather(self, piece)
    while step(self) do end
  end
  if self.state == "body" then
    local complete = self.body:end_of_stream()
    note(self, "end of the stream, the body is", complete and "complete" or "cut", table.concat(self.content))
  else
    note(self, "end of the stream in", self.state)
    if self.state == "upgraded" then
      note(self, ffi.string(self.buffer.data_ + self.buffer.position_, self.buffer.limit_ - self.buffer.position_))
    end
  end
  return table.concat(self.lines, "\n")
end

-- A piece of content at an address of its own.
local function buffer_of(piece)
  local memory = allocate(piece)
  local buffer = ffi.new "mr_buffer"
  buffer.data_, buffer.limit_, buffer.capacity_ = memory, #piece, #piece
  return buffer, memory
end

--- The same for the parts of a multipart body whose boundary is "B".
---@param pieces string[]
---@param limits? table
---@return string
function M.of_parts(pieces, limits)
  local parser = multipart.new("B", limits)
  local lines, content = {}, {}
  for _, piece in ipairs(pieces) do
    local buffer, memory = buffer_of(piece)
    while true do
      local event, first, second = parser:next(buffer)
      if event == "part" then
        lines[#lines + 1] = ("part %s %s %s %s"):format(tostring(first.name), tostring(first.filename),
          tostring(first.content_type), table.concat(first.fields, "\1"))
      elseif event == "data" then
        content[#content + 1] = second and ffi.string(memory + second, first) or first
      elseif event == "end" then
        lines[#lines + 1] = "end " .. table.concat(content)
        content = {}
      elseif event == false then
        lines[#lines + 1] = ("refused %d %s"):format(first, second)
        return table.concat(lines, "\n") -- how much of the last part's content came before that is no matter
      else
        if event == "done" then lines[#lines + 1] = "done" end
        break
      end
    end
    if parser:is_done() then break end
  end
  return table.concat(lines, "\n") .. "\n" .. table.concat(content)
end

--- Cuts text at the given offsets (in order, 0 to #text).
---@param text string
---@param offsets integer[]
---@return string[] pieces
function M.cut(text, offsets)
  local pieces, from = {}, 0
  for _, offset in ipairs(offsets) do
    if offset > from then
      pieces[#pieces + 1] = text:sub(from + 1, offset)
      from = offset
    end
  end
  pieces[#pieces + 1] = text:sub(from + 1)
  return pieces
end

--- Byte by byte.
---@param text string
---@return string[] pieces
function M.bytes(text)
  local pieces = {}
  for at = 1, #text do
    pieces[at] = text:sub(at, at)
  end
  return pieces
end

return M
