--- A message's head: the index that the kernel makes of it, and what a codec has decided of its meaning.
--
-- The kernel finds and validates the lines of a head; it knows neither requests nor responses. A head keeps offsets
-- into the received bytes; the parts of its first line and its fields become strings when somebody asks, which must be
-- while those bytes are where they were.

local native = require "moonring.native"
local limits_of = require "moonring.http.codec.limits"
local bit = require "bit"

local C, ffi = native.C, native.ffi
local band, bor, lshift = bit.band, bit.bor, bit.lshift
local to_string = ffi.string

local M = {}

local known_fields = {
  ["host"] = C.MR_FIELD_HOST,
  ["connection"] = C.MR_FIELD_CONNECTION,
  ["content-length"] = C.MR_FIELD_CONTENT_LENGTH,
  ["transfer-encoding"] = C.MR_FIELD_TRANSFER_ENCODING,
  ["expect"] = C.MR_FIELD_EXPECT,
  ["upgrade"] = C.MR_FIELD_UPGRADE,
}

--- The head of a request or a response. Made once and used for one message after the other.
---@class moonring.http.Head
---@field index ffi.cdata* the mr_head that the kernel fills
---@field minor_version integer 1 for HTTP/1.1 and later, 0 for HTTP/1.0
---@field keep_alive boolean the connection may carry another message after this one
---@field has_body boolean there is content, or there may be
---@field content_length number? bytes of the content where the head tells, 0 when there is none
---@field is_chunked boolean the content ends with its last chunk
---@field is_until_close boolean it ends with the connection (responses only)
---@field expect_continue boolean the client waits for codec.continue before it sends the body
---@field upgrade boolean a request that offers an upgrade; a response behind which the connection is no longer HTTP
---@field status integer? of a response
---@field is_response boolean
---@field is_plain boolean Internal: everything above is as in a request with Host alone
---@field skipped_line boolean Internal: an empty line before this head has been passed over
local Head = {}
M.Head = Head

local head_metatable = { __index = Head, __name = "moonring.http.head" }

function head_metatable:__tostring()
  local index = self.index
  if index.part_length[2] == 0 then return "moonring.http.head (empty)" end
  return ("moonring.http.head (%s %s, %d fields)"):format(self:part(0), self:part(1), index.field_count)
end

--- Makes the decided part that of a request with Host alone, which nearly all are. Internal.
function Head:make_plain()
  self.minor_version = 1
  self.keep_alive = true
  self.has_body = false
  self.content_length = 0
  self.is_chunked = false
  self.is_until_close = false
  self.expect_continue = false
  self.upgrade = false
  self.status = nil
  self.is_plain = true
end

--- Makes an empty head, of requests or of responses.
---@param is_response? boolean
---@return moonring.http.Head
function M.new(is_response)
  return setmetatable({ index = ffi.new "mr_head", is_response = is_response or false }, head_metatable):reset()
end

--- Empties the head. Needed where a head that was not read to its end is given up; reading begins a new one by itself.
---@return moonring.http.Head self
function Head:reset()
  C.mr_head_reset(self.index)
  self:make_plain()
  self.keep_alive = false
  self.is_plain = false
  self.skipped_line = false
  return self
end

--- The head's first byte in the buffer it was read from; valid while that memory is held. A method, because a pointer
--- that is kept in a table costs an allocation.
---@return ffi.cdata* base const uint8_t *
function Head:base()
  return self.index.data
end

--- A part of the first line: method, target and version of a request; version, status and reason of a response.
---@param number integer 0 to 2
---@return string
function Head:part(number)
  local index = self.index
  return to_string(index.data + index.part[number], index.part_length[number])
end

--- The method as sent; methods are case-sensitive (RFC 9110 section 9.1). Any token, known or not.
---@return string
function Head:method()
  return self:part(0)
end

--- The request target as sent, in one of the four forms of RFC 9112 section 3.2.
---@return string
function Head:target()
  return self:part(1)
end

--- A response's reason phrase, often empty.
---@return string
function Head:reason()
  return self:part(2)
end

local function field_value(index, number)
  local field = index.fields[number]
  return to_string(index.data + field.value, field.value_length)
end
M.field_value = field_value

--- The value of the first field of that name, in any case.
---@param name string
---@return string? value nil when there is none; without the white space around it
function Head:field(name)
  local index = self.index
  local id = known_fields[name]
  if id then
    if band(index.seen, lshift(1, id)) == 0 then return nil end
    return field_value(index, index.first[id])
  end
  local number = C.mr_head_find(index, name, #name, 0)
  if number < 0 then return nil end
  return field_value(index, number)
end

--- The values of all fields of that name, in their order.
---@param name string
---@return string[] values empty when there is none
function Head:field_all(name)
  local index, values = self.index, {}
  local number = C.mr_head_find(index, name, #name, 0)
  while number >= 0 do
    values[#values + 1] = field_value(index, number)
    number = C.mr_head_find(index, name, #name, number + 1)
  end
  return values
end

--- Iterates over all fields in their order: `for name, value in head:fields() do`. Names as sent.
---@return fun(): string?, string?
function Head:fields()
  local index, number = self.index, -1
  return function()
    number = number + 1
    if number >= index.field_count then return nil end
    local field = index.fields[number]
    return to_string(index.data + field.name, field.name_length), field_value(index, number)
  end
end

--- Ends the reading of this head: it is refused. Result: false, status, message.
function M.refuse(head, status, message)
  head.keep_alive = false
  return false, status, message
end
local refuse = M.refuse

-- Indexing ------------------------------------------------------------------------------------------------------------

local CR, LF = 13, 10

local scan_failures = {
  [C.MR_SCAN_BAD_LINE] = "malformed line",
  [C.MR_SCAN_BAD_NAME] = "malformed field name",
  [C.MR_SCAN_BAD_VALUE] = "control character in a field value",
}

-- What a scan means that found no whole head: nil, or false, status, message. The first line is judged first, because
-- a head that trickles in is refused as soon as that is there.
local function judge_partial(head, result, available, limits)
  local index = head.index
  local has_line = index.scanned > 0
  if has_line and not head.is_response and index.part_length[1] > limits.target_bytes then
    return refuse(head, 414, limits_of.exceeded("target too long", limits, "target_bytes"))
  end
  local line_status = has_line and 431 or 414
  if result == C.MR_SCAN_TOO_MANY then
    return refuse(head, 431, limits_of.exceeded("too many header fields", limits, "field_count"))
  elseif result == C.MR_SCAN_TOO_LONG then
    return refuse(head, line_status, limits_of.exceeded("line too long", limits, "line_bytes"))
  elseif result < 0 then
    return refuse(head, 400, scan_failures[result])
  end
  if available < limits.head_bytes then return nil end
  return refuse(head, line_status, limits_of.exceeded("head too long", limits, "head_bytes"))
end

--- RFC 9112 section 2.2: a server SHOULD ignore at least one empty line before the request line. One it is. Result:
--- true when one was passed over, nil when that depends on the next byte, false when there is none.
local function skip_empty_line(buffer, head)
  local position = buffer.position_
  local available = buffer.limit_ - position
  if head.skipped_line or available == 0 or buffer.data_[position] ~= CR then return false end
  if available == 1 then return nil end
  if buffer.data_[position + 1] ~= LF then return false end
  buffer.position_ = position + 2
  head.skipped_line = true
  return true
end

--- The kernel's answer for the head at the buffer's position: its length, or nil (more bytes), or false, status,
--- message.
local function index_head(buffer, head, limits)
  local index = head.index
  local position = buffer.position_
  local available = buffer.limit_ - position
  -- The kernel never sees more than the limit, so the answer does not depend on how much has arrived behind it.
  if available > limits.head_bytes then available = limits.head_bytes end
  index.line_max = limits.line_bytes
  index.fields_max = limits.field_count
  local result = C.mr_scan_head(buffer.data_ + position, available, index)
  if result > 0 then return result end
  if result == C.MR_SCAN_BAD_LINE and index.scanned == 0 and not head.is_response then
    local skipped = skip_empty_line(buffer, head)
    if skipped then return index_head(buffer, head, limits) end
    if skipped == nil then return nil end
  end
  return judge_partial(head, result, available, limits)
end
M.index = index_head

-- What requests and responses have in common --------------------------------------------------------------------------

M.BIT_HOST = lshift(1, C.MR_FIELD_HOST)
M.BIT_CONNECTION = lshift(1, C.MR_FIELD_CONNECTION)
M.BIT_CONTENT_LENGTH = lshift(1, C.MR_FIELD_CONTENT_LENGTH)
M.BIT_TRANSFER_ENCODING = lshift(1, C.MR_FIELD_TRANSFER_ENCODING)
M.BIT_EXPECT = lshift(1, C.MR_FIELD_EXPECT)
M.BIT_UPGRADE = lshift(1, C.MR_FIELD_UPGRADE)

--- Bits of Connection's options.
M.CLOSE, M.KEEP_ALIVE, M.UPGRADE = 1, 2, 4
local option_bits = { ["close"] = M.CLOSE, ["keep-alive"] = M.KEEP_ALIVE, ["upgrade"] = M.UPGRADE }

-- Peers send few different Connection values, so each is taken apart once. Bounded: a hostile peer empties it, no more.
local CONNECTIONS_MAX, CONNECTION_VALUE_MAX = 64, 64
local connections, connection_count = {}, 0

local function parse_connection(value)
  local bits = 0
  for option in value:gmatch "[^,%s]+" do -- a list of tokens, RFC 9110 section 7.6.1
    bits = bor(bits, option_bits[option:lower()] or 0)
  end
  if #value <= CONNECTION_VALUE_MAX then
    if connection_count == CONNECTIONS_MAX then
      connections, connection_count = {}, 0
    end
    connections[value], connection_count = bits, connection_count + 1
  end
  return bits
end

local function further_bits(index, first, bits)
  for number = first + 1, index.field_count - 1 do
    if index.fields[number].id == C.MR_FIELD_CONNECTION then
      bits = bor(bits, parse_connection(field_value(index, number)))
    end
  end
  return bits
end

--- What all Connection fields of the head say together.
---@return integer bits
function M.connection_bits(index)
  if band(index.seen, M.BIT_CONNECTION) == 0 then return 0 end
  local first = index.first[C.MR_FIELD_CONNECTION]
  local value = field_value(index, first)
  local bits = connections[value] or parse_connection(value)
  if band(index.repeated, M.BIT_CONNECTION) ~= 0 then bits = further_bits(index, first, bits) end
  return bits
end

--- RFC 9112 section 9.3: close wins; otherwise 1.1 persists, and 1.0 with keep-alive only.
function M.is_persistent(bits, minor)
  return band(bits, M.CLOSE) == 0 and (minor == 1 or band(bits, M.KEEP_ALIVE) ~= 0)
end

--- The single Content-Length, or nil and why it is none.
function M.content_length(index)
  -- RFC 9112 section 6.3 lets identical repeats pass; two parties that disagree about which one counts are how
  -- requests are smuggled.
  if band(index.repeated, M.BIT_CONTENT_LENGTH) ~= 0 then return nil, "more than one Content-Length" end
  local field = index.fields[index.first[C.MR_FIELD_CONTENT_LENGTH]]
  local length = C.mr_scan_decimal(index.data + field.value, field.value_length)
  if length < 0 then return nil, "malformed Content-Length" end -- RFC 9110 section 8.6
  return length
end

--- Whether the transfer codings are chunked alone, the only one there is here: true, or nil, is_final, where is_final
--- tells that chunked was at least the last and only one of its kind, so that the body could be delimited.
function M.transfer_coding(index)
  local codings = {}
  for number = index.first[C.MR_FIELD_TRANSFER_ENCODING], index.field_count - 1 do
    if index.fields[number].id == C.MR_FIELD_TRANSFER_ENCODING then
      codings[#codings + 1] = field_value(index, number):lower()
    end
  end
  local list = table.concat(codings, ",")
  if list == "chunked" then return true end
  local before = list:match "^(.*),[ \t]*chunked$"
  if not before then return nil, false end
  for coding in before:gmatch "[^,%s]+" do
    if coding == "chunked" then return nil, false end
  end
  return nil, before:find "[^,%s]" ~= nil
end

return M
