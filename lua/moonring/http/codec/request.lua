--- Reading requests: what a head means that a client has sent (RFC 9110, RFC 9112).
--
-- All of this runs once per message in one flat loop of the server. So the common request takes no loop, creates no
-- string, table or closure, and whatever is rare is in a function of its own. Fields that the kernel sets are read
-- after the call, never kept across it.

local native = require "moonring.native"
local head_of = require "moonring.http.codec.head"
local limits_of = require "moonring.http.codec.limits"
local bit = require "bit"

local C, ffi = native.C, native.ffi
local band, bor = bit.band, bit.bor
local cast = ffi.cast
local refuse, index_head = head_of.refuse, head_of.index

local M = {}

local SLASH, COLON = 47, 58

local word_pointer = ffi.typeof "const int32_t *"

local function word(text)
  return cast(word_pointer, text)[0]
end

local WORD_GET, WORD_HTTP, WORD_1_1, WORD_1_0 = word "GET ", word "HTTP", word "/1.1", word "/1.0"
local WORD_CONNECT = word "CONN"

local BIT_HOST, BIT_CONTENT_LENGTH = head_of.BIT_HOST, head_of.BIT_CONTENT_LENGTH
local BIT_TRANSFER_ENCODING, BIT_EXPECT, BIT_UPGRADE = head_of.BIT_TRANSFER_ENCODING, head_of.BIT_EXPECT,
  head_of.BIT_UPGRADE

-- The fields that change how a request is read; one with Host alone of these is plain.
local FRAMING = bor(BIT_HOST, head_of.BIT_CONNECTION, BIT_CONTENT_LENGTH, BIT_TRANSFER_ENCODING, BIT_EXPECT)

local function is_host_valid(index)
  local field = index.fields[index.first[C.MR_FIELD_HOST]]
  return C.mr_scan_host(index.data + field.value, field.value_length) ~= 0
end

-- RFC 1945 section 7.2.2: without a length, a server can't tell where the content of these ends in HTTP/1.0.
local NEEDS_LENGTH = { POST = true, PUT = true, PATCH = true }

-- How the body ends, noted in the head. Result: true, or false, status, message.
local function read_body_framing(head, index, minor, limits)
  head.content_length, head.is_chunked, head.has_body = 0, false, false
  if band(index.seen, BIT_TRANSFER_ENCODING) ~= 0 then
    -- RFC 9112 section 6.1: the two together, and any in HTTP/1.0, are faulty framing.
    if band(index.seen, BIT_CONTENT_LENGTH) ~= 0 then
      return refuse(head, 400, "Transfer-Encoding with Content-Length")
    end
    if minor == 0 then return refuse(head, 400, "Transfer-Encoding in HTTP/1.0") end
    local chunked, is_final = head_of.transfer_coding(index)
    if not chunked then
      -- Section 6.3: without chunked as the last one, the length can't be told.
      if not is_final then return refuse(head, 400, "chunked is not the last and only transfer coding") end
      return refuse(head, 501, "no transfer coding but chunked is supported")
    end
    head.content_length, head.is_chunked, head.has_body = nil, true, true
    return true
  end
  if band(index.seen, BIT_CONTENT_LENGTH) == 0 then
    if minor == 0 and NEEDS_LENGTH[head:method()] then return refuse(head, 411, "a Content-Length is needed") end
    return true
  end
  local length, message = head_of.content_length(index)
  if not length then return refuse(head, 400, message) end
  if length > limits.body_bytes then
    return refuse(head, 413, limits_of.exceeded("body too long", limits, "body_bytes"))
  end
  head.content_length, head.has_body = length, length > 0
  return true
end

-- RFC 9110 section 10.1.1: nil, status, message for an expectation other than 100-continue.
local function read_expectation(head, index, minor)
  -- "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation."
  if band(index.seen, BIT_EXPECT) == 0 or minor == 0 then return false end
  local field = index.fields[index.first[C.MR_FIELD_EXPECT]]
  local data = index.data + field.value
  if
    band(index.repeated, BIT_EXPECT) ~= 0 or C.mr_scan_equal_fold(data, field.value_length, "100-continue", 12) == 0
  then
    return nil, 417, "unknown expectation"
  end
  return head.has_body -- it MAY be left unanswered where no content is announced
end

-- Everything about a request whose fields say more than Host. Result: true, or false, status, message.
local function read_framing(head, index, minor, limits)
  head.is_plain = false
  if band(index.repeated, BIT_HOST) ~= 0 then return refuse(head, 400, "more than one Host") end
  local host = band(index.seen, BIT_HOST) ~= 0
  -- RFC 9112 section 3.2: 400 for a missing one in HTTP/1.1, more than one, and an invalid one.
  if minor == 1 and not host then return refuse(head, 400, "no Host") end
  if host and not is_host_valid(index) then return refuse(head, 400, "malformed Host") end

  local done, status, message = read_body_framing(head, index, minor, limits)
  if not done then return false, status, message end
  local expect_continue
  expect_continue, status, message = read_expectation(head, index, minor)
  if expect_continue == nil then return refuse(head, status, message) end

  local bits = head_of.connection_bits(index)
  head.keep_alive = head_of.is_persistent(bits, minor)
  head.minor_version = minor
  head.expect_continue = expect_continue
  -- RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
  head.upgrade = minor == 1 and band(bits, head_of.UPGRADE) ~= 0 and band(index.seen, BIT_UPGRADE) ~= 0
  return true
end

-- With "Connection: keep-alive" besides, as browsers send it, a request is as plain as with Host alone.
local BROWSER = bor(BIT_HOST, head_of.BIT_CONNECTION)

-- The minor version, or nil, status, message, for what is neither "HTTP/1.1" nor "HTTP/1.0".
local function read_version(head, index)
  local words = cast(word_pointer, index.data + index.part[2])
  if index.part_length[2] == 8 and words[0] == WORD_HTTP and words[1] == WORD_1_0 then return 0 end
  local major = head:part(2):match "^HTTP/(%d)%.%d$" -- RFC 9112 section 2.3; case-sensitive
  if not major then return nil, 400, "malformed HTTP version" end
  if major ~= "1" then return nil, 505, "only HTTP/1.x is spoken here" end
  -- RFC 9110 section 6.2: a higher minor version is taken as the highest that we conform to.
  return 1
end

local function is_authority(text)
  return text ~= nil and text ~= "" and text:byte() ~= COLON and C.mr_scan_host(text, #text) ~= 0
end

-- Targets that do not begin with a slash (RFC 9112 sections 3.2.2 to 3.2.4).
local function is_target_valid(head)
  local method, target = head:part(0), head:part(1)
  if method == "CONNECT" then return is_authority(target) and target:find ":%d+$" ~= nil end
  if target == "*" then return method == "OPTIONS" end
  -- No user information: RFC 9110 section 4.2.4 has it treated as an error.
  return is_authority(target:match "^%a[%w+.-]*://([^/?]*)")
end

--- Reads the head of the request that begins at the buffer's position, and moves the position behind it. Call it
--- again with the same head when there are more bytes, wherever they then are, as long as they begin with the same
--- ones.
---@param buffer ffi.cdata* mr_buffer with the received bytes in [position, limit)
---@param head moonring.http.Head
---@param limits? moonring.http.Limits codec.limits when left out
---@return boolean? done true: read; nil: more bytes are needed; false: refuse the request and close the connection
---@return integer? status of the refusal
---@return string? message why, for a log or the refusal's body
function M.read(buffer, head, limits)
  limits = limits or limits_of.defaults
  local length, status, message = index_head(buffer, head, limits)
  if not length then return length, status, message end

  local index = head.index
  local data = index.data
  index.scanned = 0 -- the next call begins a new head
  head.skipped_line = false

  if index.part_length[1] > limits.target_bytes then
    return refuse(head, 414, limits_of.exceeded("target too long", limits, "target_bytes"))
  end
  local version = cast(word_pointer, data + index.part[2])
  local minor = 1
  if index.part_length[2] ~= 8 or version[0] ~= WORD_HTTP or version[1] ~= WORD_1_1 then
    minor, status, message = read_version(head, index)
    if not minor then return refuse(head, status, message) end
  end

  if cast(word_pointer, data)[0] ~= WORD_GET then
    local method_length = index.part_length[0]
    if C.mr_scan_span(data, method_length, C.MR_CLASS_TOKEN) ~= method_length then
      return refuse(head, 400, "malformed method") -- RFC 9110 section 9.1: a token
    end
    if cast(word_pointer, data)[0] == WORD_CONNECT and data[index.part[1]] == SLASH and head:method() == "CONNECT" then
      return refuse(head, 400, "malformed request target") -- RFC 9112 section 3.2.3: an authority, nothing else
    end
  end
  local is_origin_form = data[index.part[1]] == SLASH
  if not is_origin_form and not is_target_valid(head) then
    return refuse(head, 400, "malformed request target")
  end

  local framing = band(index.seen, FRAMING)
  if minor == 1 and (framing == BIT_HOST or framing == BROWSER) and band(index.repeated, BROWSER) == 0
      and (framing == BIT_HOST or head_of.connection_bits(index) == head_of.KEEP_ALIVE) then
    if not is_host_valid(index) then return refuse(head, 400, "malformed Host") end -- RFC 9112 section 3.2
    if not (head.is_plain and head.keep_alive) then head:make_plain() end
  else
    local done
    done, status, message = read_framing(head, index, minor, limits)
    if not done then return false, status, message end
  end
  -- What follows a CONNECT is for the tunnel, or for nobody.
  if not is_origin_form and head:method() == "CONNECT" then head.keep_alive = false end
  buffer.position_ = buffer.position_ + length
  return true
end

return M
