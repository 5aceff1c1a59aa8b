--- moonring.http.multipart: the parts of a form with files, as a handler reads them.
--
-- Loops have no place for an error, and a form that was cut must not pass for a whole one. So iterating raises what can't be
-- read; next, read and text return it.

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
      if not message then
        message, code = "the body has ended before its closing delimiter", "EBADMSG"
        exchanges.note_refusal(reader.exchange, 400, message)
      end
      reader.failure = { message, code }
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

local function next_chunk(self)
  return exchanges.raise_failure(self:read())
end

--- Iterates over the pieces of its content. What can't be read is raised.
function Part:chunks()
  return next_chunk, self
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

---@class moonring.http.Parts
local Parts = { __name = "moonring.http.Parts" }
Parts.__index = Parts

--- Waits for the next part. What is left of the one before is passed over.
---@return moonring.http.Part? part nil at the end
---@return string? message
---@return string? code "EPROTOTYPE" when the content is no such form, "EBADMSG", "EMSGSIZE", "ECONNRESET"
function Parts:next()
  local before = self.part
  while before and not before.ended do
    before:read()
  end
  if self.failure then return nil, self.failure[1], self.failure[2] end
  local event, part = next_event(self)
  if event ~= "part" then
    self.part = false
    if self.failure then return nil, self.failure[1], self.failure[2] end
    return nil
  end
  part.reader, part.ended = self, false
  self.part = setmetatable(part, Part)
  return part
end

-- What a loop calls.
function Parts:__call()
  return exchanges.raise_failure(self:next())
end

--- The parts of a request's body. Internal: request:multipart.
---@param request moonring.http.Request
---@param boundary? string nil: the body is no such form, as the failure says
---@param limits? moonring.http.MultipartLimits
---@param failure? string[] message and code
---@return moonring.http.Parts
function M.parts(request, boundary, limits, failure)
  return setmetatable({ request = request, exchange = request[1], parser = boundary and codec.new(boundary, limits),
    buffer = false, part = false, failure = failure or false }, Parts)
end

M.is_boundary = codec.is_boundary

return M
