--- moonring.http.multipart: the parts of a form with files, as a handler reads them.

local codec = require "moonring.http.codec.multipart"
local native = require "moonring.native"
local errors = require "moonring.errors"
local exchanges = require "moonring.http.exchange"

local ffi = native.ffi

local M = {}

---@class moonring.http.Part
---@field name? string of the form's field
---@field filename? string as the client has it: never a path to open
---@field content_type? string
---@field fields string[] all fields of the part: name, value, name, value ...
local Part = { __name = "moonring.http.Part" }
Part.__index = Part

-- The next event of the parser, with more of the body where it needs that. Results as of the parser, or "failed",
-- message, code.
local function next_event(reader)
  while true do
    if reader.buffer then
      local event, first, second = reader.parser:next(reader.buffer)
      if event then return event, first, second end
      if event == false then
        reader.failure = { second, first == 413 and "EMSGSIZE" or "EBADMSG" }
        exchanges.note_refusal(reader.exchange, first, second)
        return "failed"
      end
      reader.buffer = false
    end
    local buffer, message, code = reader.request:read()
    if not buffer then
      reader.failure = { message or "the body has ended before its closing delimiter", code or "EBADMSG" }
      return "failed"
    end
    reader.buffer = buffer
  end
end

local function current(part, what)
  local reader = part.reader
  if reader.part ~= part then errors.raise("closed", "part:%s: another part is being read already", what) end
  return reader
end

--- Waits for the next piece of the part's content.
---@return string? piece nil at its end
---@return string? message
---@return string? code "EMSGSIZE" over a limit, "EBADMSG"
function Part:read()
  local reader = current(self, "read")
  if reader.failure then return nil, reader.failure[1], reader.failure[2] end
  if self.ended then return nil end
  local event, first, second = next_event(reader)
  if event == "data" then
    if second then return ffi.string(reader.buffer.data_ + second, first) end
    return first
  end
  self.ended = true
  if event == "failed" then return nil, reader.failure[1], reader.failure[2] end
  return nil
end

--- Iterates over the pieces of its content.
function Part:chunks()
  return Part.read, self
end

--- All of its content, of at most `max` bytes.
---@param max? integer
---@return string? text
---@return string? message
---@return string? code
function Part:text(max)
  local pieces, size = {}, 0
  while true do
    local piece, message, code = self:read()
    if not piece then
      if message then return nil, message, code end
      return table.concat(pieces)
    end
    size = size + #piece
    if max and size > max then return nil, ("the part is longer than %d bytes"):format(max), "EMSGSIZE" end
    pieces[#pieces + 1] = piece
  end
end

function Part:__tostring()
  return ("moonring.http.Part(%s%s)"):format(tostring(self.name), self.filename and ", file " .. self.filename or "")
end

local function next_part(reader)
  local before = reader.part
  while before and not before.ended do
    before:read()
  end
  if reader.failure then return nil, reader.failure[1], reader.failure[2] end
  local event, part = next_event(reader)
  if event ~= "part" then
    reader.part = false
    if reader.failure then return nil, reader.failure[1], reader.failure[2] end
    return nil
  end
  part.reader, part.ended = reader, false
  reader.part = setmetatable(part, Part)
  return part
end

--- Iterates over the parts of a request's body. The iterator returns nil at the end, and nil, message, code for what
--- can't be read: so call it by itself where that matters.
---@param request moonring.http.Request
---@param boundary string
---@param limits? moonring.http.MultipartLimits
function M.parts(request, boundary, limits)
  local reader = { request = request, exchange = request[1], parser = codec.new(boundary, limits), buffer = false,
    part = false, failure = false }
  return function()
    return next_part(reader)
  end
end

return M
