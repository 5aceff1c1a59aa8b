--- Writes the messages that format.write_response doesn't: heads whose content follows in pieces, requests, interim
--- responses, chunks and trailers. What would be another message than was asked for raises "argument" and writes
--- nothing.

local native = require "moonring.native"
local errors = require "moonring.errors"
local format = require "moonring.http.codec.format"
local reasons = require "moonring.http.codec.status"
local bit = require "bit"

local C, ffi = native.C, native.ffi
local copy = ffi.copy
local rshift, band = bit.rshift, bit.band

local M = {}

-- All of these are written with one reserve and one commit.
local function put(writable, text)
  local out, message, code = writable:reserve(#text)
  if out == nil then return nil, message, code end
  copy(out, text, #text)
  return writable:commit(#text)
end

local function check_length(what, length)
  if type(length) ~= "number" or not (length >= 0 and length <= 9007199254740991) or length % 1 ~= 0 then
    errors.raise("argument", "%s: a content length is a whole number from 0 to 2^53 - 1, not %s", what, tostring(length))
  end
end

-- The line that tells where the content ends: "" where nothing does but the end of the stream.
local function framing_line(what, length, chunked)
  if length ~= nil then
    check_length(what, length)
    return ("\r\nContent-Length: %.0f"):format(length)
  end
  return chunked and "\r\nTransfer-Encoding: chunked" or ""
end

---@class moonring.http.ResponseHead
---@field status integer 200 to 999, or 101
---@field content_type? string
---@field fields? string[] name, value, name, value ...
---@field content_length? number bytes that follow
---@field chunked? boolean they follow in chunks
---@field keep_alive? boolean
---@field minor_version? integer of the request
---@field upgrade? string the protocol of a 101

--- Writes the head of a response whose content is written after it. A 204 or 304 has none, whatever is asked for; one with
--- neither length nor chunks ends with the connection, so keep_alive must be false for it.
---@param writable moonring.http.Writable
---@param head moonring.http.ResponseHead
---@return any result of commit; or nil, message, code of a reserve that failed
function M.response_head(writable, head)
  local status = head.status
  if type(status) ~= "number" or (status < 200 and status ~= 101) or status > 999 or status % 1 ~= 0 then
    errors.raise("argument", "write_response_head: status %s is neither 101 nor the integer of a final response, 200 to 999",
      tostring(status))
  end
  local lines = { ("HTTP/1.1 %d %s"):format(status, reasons[status] or "") }
  if head.content_type then lines[2] = format.line("Content-Type", head.content_type) end
  if head.fields then lines[#lines + 1] = format.lines(head.fields) end
  if status == 101 then
    if type(head.upgrade) ~= "string" or not format.is_value(head.upgrade) or head.upgrade == "" then
      errors.raise("argument", "write_response_head: a 101 names its protocol in upgrade")
    end
    lines[#lines + 1] = "\r\nUpgrade: " .. head.upgrade .. "\r\nConnection: upgrade\r\n\r\n"
    return put(writable, table.concat(lines))
  end
  if not format.is_bodiless(status) then
    lines[#lines + 1] = framing_line("write_response_head", head.content_length, head.chunked)
  end
  lines[#lines + 1] = format.tail(head.keep_alive, head.minor_version)
  return put(writable, table.concat(lines))
end

--- Writes an interim response, such as 103 with Link fields (RFC 9110 section 15.2). Not for HTTP/1.0.
---@param writable moonring.http.Writable
---@param status integer 100, or 102 to 199
---@param fields? string[]
function M.interim(writable, status, fields)
  if type(status) ~= "number" or status < 100 or status > 199 or status == 101 or status % 1 ~= 0 then
    errors.raise("argument", "write_interim: status %s is not 100 nor 102 to 199", tostring(status))
  end
  local lines = fields and format.lines(fields) or ""
  return put(writable, ("HTTP/1.1 %d %s%s\r\n\r\n"):format(status, reasons[status] or "", lines))
end

---@class moonring.http.RequestHead
---@field method string
---@field target string in one of the four forms
---@field host string what Host says: the target's authority without user information
---@field fields? string[] name, value, name, value ...
---@field content_length? number bytes that follow; left out with chunked false: none follow
---@field chunked? boolean
---@field keep_alive? boolean default true
---@field upgrade? string the protocol that is asked for

local function is_all(text, class)
  return type(text) == "string" and C.mr_scan_span(text, #text, class) == #text
end

-- RFC 9110 section 8.6: "A user agent SHOULD send Content-Length in a request when the method defines a meaning for enclosed
-- content", also when there is none.
local HAS_CONTENT = { POST = true, PUT = true, PATCH = true }

local function check_request(request)
  if not (is_all(request.method, C.MR_CLASS_TOKEN) and request.method ~= "") then
    errors.raise("argument", "write_request: method %q is not a token", tostring(request.method))
  end
  if not (is_all(request.target, C.MR_CLASS_VISIBLE) and request.target ~= "") then
    errors.raise("argument", "write_request: target %q is empty or has spaces or control characters in it",
      tostring(request.target))
  end
  if type(request.host) ~= "string" or C.mr_scan_host(request.host, #request.host) == 0 then
    errors.raise("argument", "write_request: host %q is not a host and port", tostring(request.host))
  end
  local fields = request.fields or {}
  for number = 1, #fields, 2 do
    if type(fields[number]) == "string" and fields[number]:lower() == "host" then
      errors.raise("argument", "write_request: field Host is not the caller's to set: pass host")
    end
  end
end

--- Writes a request's head.
---@param writable moonring.http.Writable
---@param request moonring.http.RequestHead
---@return any result of commit; or nil, message, code of a reserve that failed
function M.request_head(writable, request)
  check_request(request)
  local lines = { request.method, " ", request.target, " HTTP/1.1\r\nHost: ", request.host }
  if request.fields then lines[#lines + 1] = format.lines(request.fields) end
  local length = request.content_length
  if length == nil and not request.chunked and HAS_CONTENT[request.method] then length = 0 end
  lines[#lines + 1] = framing_line("write_request", length, request.chunked)
  if request.upgrade then
    if not is_all(request.upgrade, C.MR_CLASS_VALUE) then
      errors.raise("argument", "write_request: upgrade is the name of a protocol")
    end
    lines[#lines + 1] = "\r\nUpgrade: " .. request.upgrade .. "\r\nConnection: upgrade"
  elseif request.keep_alive == false then
    lines[#lines + 1] = "\r\nConnection: close"
  end
  lines[#lines + 1] = "\r\n\r\n"
  return put(writable, table.concat(lines))
end

-- Chunks --------------------------------------------------------------------------------------------------------------

local HEX = "0123456789abcdef"

local function put_hexadecimal(out, value, digits)
  for place = digits - 1, 0, -1 do
    out[place] = HEX:byte(band(value, 15) + 1)
    value = rshift(value, 4)
  end
end

local function digits_of(value)
  local digits = 1
  while value >= 16 do
    value = rshift(value, 4)
    digits = digits + 1
  end
  return digits
end

--- Writes one chunk of a string. An empty one writes nothing: it would be the last.
---@param writable moonring.http.Writable
---@param text string
---@return any result of commit; or nil, message, code of a reserve that failed
function M.chunk(writable, text)
  local length = #text
  if length == 0 then return 0 end
  local digits = digits_of(length)
  local total = digits + length + 4
  local out, message, code = writable:reserve(total)
  if out == nil then return nil, message, code end
  put_hexadecimal(out, length, digits)
  out[digits], out[digits + 1] = 13, 10
  copy(out + digits + 2, text, length)
  out[total - 2], out[total - 1] = 13, 10
  return writable:commit(total)
end

--- The line before a chunk of so many bytes, which are then written by other means, "\r\n" behind them.
---@param length integer more than 0
---@return string
function M.chunk_line(length)
  return ("%x\r\n"):format(length)
end

--- Writes the end of a chunked body.
---@param writable moonring.http.Writable
---@param trailers? string[] name, value, name, value ...
---@return any result of commit; or nil, message, code of a reserve that failed
function M.last_chunk(writable, trailers)
  if not trailers or #trailers == 0 then return put(writable, "0\r\n\r\n") end
  return put(writable, "0" .. format.lines(trailers) .. "\r\n\r\n")
end

return M
