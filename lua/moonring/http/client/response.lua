--- moonring.http.client.response: what a request has brought.
--
-- Usually all of it is there. With stream = true the content comes as it is read, and the response keeps its connection
-- until the content has been read to its end, or the response is closed.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"

local M = {}

---@class moonring.http.ClientResponse
---@field status integer
---@field reason string the server's phrase, often empty
---@field version string "1.1" or "1.0"
---@field ok boolean whether the status is from 200 to 299
---@field url string where it came from, after redirects
---@field redirects integer how many there were
local Response = { __name = "moonring.http.ClientResponse" }
Response.__index = Response

local DECODED_BYTES = 16384

--- Makes a response. `source` gives the parts of its content: read(), close() and trailers. Internal.
function M.new(fields)
  fields.ok = fields.status >= 200 and fields.status < 300
  return setmetatable(fields, Response)
end

--- The value of the first field of that name, in any case; nil when there is none.
---@param name string
---@return string?
function Response:header(name)
  return self:header_all(name)[1]
end

--- The values of all fields of that name, in their order.
---@param name string
---@return string[]
function Response:header_all(name)
  local fields, wanted, out = self.fields, name:lower(), {}
  for i = 1, #fields, 2 do
    if fields[i]:lower() == wanted then out[#out + 1] = fields[i + 1] end
  end
  return out
end

--- Iterates over all fields as sent: `for name, value in response:headers() do`.
function Response:headers()
  local fields, i = self.fields, -1
  return function()
    i = i + 2
    return fields[i], fields[i + 1]
  end
end

--- A trailer field's value, after the content has been read to its end.
---@param name string
---@return string?
function Response:trailer(name)
  local trailers = self.trailers or {}
  for i = 1, #trailers, 2 do
    if trailers[i]:lower() == name:lower() then return trailers[i + 1] end
  end
end

-- Content codings (RFC 9110 section 8.4.1) ------------------------------------------------------------------------------

local Decoded = {}
Decoded.__index = Decoded

local FORMATS = { gzip = "gzip", ["x-gzip"] = "gzip", deflate = "zlib" }

--- A source of decompressed parts over one of compressed ones; the source itself where the coding is not known or there is
--- none. Internal.
---@param coding? string the Content-Encoding
function M.decode(source, coding)
  local format = coding and FORMATS[coding:lower():match "^%s*(.-)%s*$"]
  if not format then return source, false end
  return setmetatable({
    source = source,
    inflater = buffer.inflater { format = format, max_bytes = math.huge },
    block = buffer.allocate(DECODED_BYTES),
    part = false, -- compressed bytes that are being decompressed
    ended = false,
  }, Decoded), true
end

local function next_compressed(self)
  local part, message, code = self.source:read()
  if part then
    self.part = part
    return true
  end
  if message then return nil, message, code end
  if self.ended then return false end
  return nil, "the response can't be used: its compressed content is cut", "EBADMSG"
end

function Decoded:read()
  local block = self.block
  block:reset_for_write()
  while block.position == 0 do
    if not self.part then
      local more, message, code = next_compressed(self)
      if not more then return nil, message, code end
    end
    local part = self.part
    if self.ended then -- RFC 1952 section 2.2: another member may follow
      self.inflater:reset()
      self.ended = false
    end
    local ended, message = self.inflater:run(part, block)
    if ended == nil then return nil, "the response can't be used: " .. message, "EBADMSG" end
    self.ended = ended
    if part:remaining() == 0 and block:remaining() > 0 then self.part = false end
  end
  return block:reset_for_read()
end

function Decoded:close()
  self.inflater:close()
  self.block:release()
  self.source:close()
end

-- The content -----------------------------------------------------------------------------------------------------------

--- Waits for the next part of the content. The buffer is lent until the next call.
---@return moonring.Buffer? part nil at the end
---@return string? message
---@return string? code
function Response:read()
  local text, source = self.text, self.source
  if text then
    if self.given then return nil end
    self.given = true
    return buffer.wrap(text)
  end
  if not source then
    if self.failure then return nil, self.failure[1], self.failure[2] end
    if self.is_closed then errors.raise("closed", "response:read: the response has been closed") end
    return nil
  end
  local part, message, code = source:read()
  if part then return part end
  self.trailers = source.trailers
  self.source = false
  source:close()
  if message then self.failure = { message, code } end
  return nil, message, code
end

local function next_part(self)
  local part, message, code = self:read()
  if message then error(errors.new(code, message), 0) end
  return part
end

--- Iterates over the parts of the content. What is cut or can't be read is raised, because a loop would end as if it were
--- whole.
function Response:chunks()
  return next_part, self
end

--- The content, or what is left of it, as a string; of a stream at most `max` bytes.
---@param max? integer bytes; default 16 MiB
---@return string? body
---@return string? message
---@return string? code "EMSGSIZE" when it is longer, and then the response is closed
function Response:body(max)
  if self.text then return self.text end
  max = max or M.MAX_BYTES
  local parts, size = {}, 0
  while true do
    local part, message, code = self:read()
    if not part then
      if message then return nil, message, code end
      return table.concat(parts)
    end
    size = size + part:remaining()
    if size > max then
      self:close()
      return nil, ("the response's content is longer than %.0f bytes"):format(max), "EMSGSIZE"
    end
    parts[#parts + 1] = part:to_string()
  end
end

M.MAX_BYTES = 16777216

--- The content as what its JSON says; null is moonring.http.json's null.
---@return any value
---@return string? message
---@return string? code "EBADMSG"
function Response:json()
  local text, message, code = self:body()
  if not text then return nil, message, code end
  local value
  value, message = require("moonring.http.json").decode(text)
  if value == nil then return nil, message, "EBADMSG" end
  return value
end

--- Gives a stream's connection up when its content has not been read to its end. Closing again does nothing.
function Response:close()
  local source = self.source
  self.is_closed = true
  if not source then return end
  self.source = false
  source:close()
end

function Response:__tostring()
  return ("moonring.http.ClientResponse(%d %s)"):format(self.status, self.url)
end

return M
