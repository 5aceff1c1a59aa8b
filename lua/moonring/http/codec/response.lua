--- Reading responses: what a head means that a server has sent, and where the content behind it ends (RFC 9112 section 6.3).

local head_of = require "moonring.http.codec.head"
local limits_of = require "moonring.http.codec.limits"
local bit = require "bit"

local band = bit.band
local refuse, index_head = head_of.refuse, head_of.index

local M = {}

-- What a gateway says of an answer that it can't use; a client reports the message.
local BAD_GATEWAY = 502

-- The status line: minor version and status, or nil and what is wrong (RFC 9112 section 4).
local function read_status_line(head)
  local minor = head:part(0):match "^HTTP/1%.(%d)$"
  if not minor then return nil, "not a status line of HTTP/1.x" end
  local status = head:part(1):match "^[1-9]%d%d$"
  if not status then return nil, "malformed status" end
  return minor == "0" and 0 or 1, tonumber(status)
end

-- Nothing follows these, whatever their fields say.
local function is_bodiless(status, method)
  return method == "HEAD" or status < 200 or status == 204 or status == 304 or method == "CONNECT" and status < 300
end

-- How the content ends, noted in the head. Result: true, or nil and what is wrong.
local function read_body_framing(head, index, minor, limits)
  local has_length = band(index.seen, head_of.BIT_CONTENT_LENGTH) ~= 0
  if band(index.seen, head_of.BIT_TRANSFER_ENCODING) ~= 0 then
    if has_length then return nil, "Transfer-Encoding with Content-Length" end
    if minor == 0 then return nil, "Transfer-Encoding in HTTP/1.0" end
    if not head_of.transfer_coding(index) then return nil, "a transfer coding other than chunked" end
    head.is_chunked, head.has_body, head.content_length = true, true, nil
  elseif has_length then
    local length, problem = head_of.content_length(index)
    if not length then return nil, problem end
    if length > limits.body_bytes then return nil, limits_of.exceeded("body too long", limits, "body_bytes") end
    head.content_length, head.has_body = length, length > 0
  else
    head.is_until_close, head.has_body, head.content_length = true, true, nil
  end
  return true
end

--- Reads the head of the response that begins at the buffer's position, and moves the position behind it. Call it again
--- with the same head when there are more bytes. A head with a status below 200 other than 101 is followed by
--- another one. head.upgrade tells that the bytes behind it are no longer HTTP (101, and success of CONNECT).
---@param buffer ffi.cdata* mr_buffer with the received bytes in [position, limit)
---@param head moonring.http.Head
---@param method string of the request that it answers
---@param limits? moonring.http.Limits codec.limits when left out
---@return boolean? done true: read; nil: more bytes are needed; false: the response can't be used, close the connection
---@return integer? status that a gateway would answer with
---@return string? message why
function M.read(buffer, head, method, limits)
  limits = limits or limits_of.defaults
  local length, status, message = index_head(buffer, head, limits)
  if not length then return length, status and BAD_GATEWAY, message end
  local index = head.index
  index.scanned = 0 -- the next call begins a new head
  head:make_plain()
  head.is_plain = false

  local minor, code = read_status_line(head)
  if not minor then return refuse(head, BAD_GATEWAY, code) end
  head.minor_version, head.status = minor, code
  local bits = head_of.connection_bits(index)
  head.keep_alive = head_of.is_persistent(bits, minor)
  if is_bodiless(code, method) then
    head.upgrade = code == 101 or method == "CONNECT" and code >= 200 and code < 300
  else
    local ok, problem = read_body_framing(head, index, minor, limits)
    if not ok then return refuse(head, BAD_GATEWAY, problem) end
  end
  if head.upgrade or head.is_until_close then head.keep_alive = false end
  buffer.position_ = buffer.position_ + length
  return true
end

--- Whether the head is of an interim response, behind which another one comes (RFC 9110 section 15.2).
---@param head moonring.http.Head
---@return boolean
function M.is_interim(head)
  return head.status < 200 and head.status ~= 101
end

return M
