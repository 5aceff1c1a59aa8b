--- HTTP/1.1 as bytes in, decisions out (RFC 9110 and 9112): opens no socket, never waits, has no clock.
--
-- Reading is two layers. `index_head` runs the C kernel that finds and validates the lines of a head; it knows
-- neither requests nor responses. `read_head` decides what a request's head means. A head keeps offsets into the
-- received bytes; method, target and fields become strings when somebody asks, which must be while those bytes are
-- where they were.
--
-- All of this runs once per message in one flat loop of the server. So the common request takes no loop, creates no
-- string, table or closure, and whatever is rare is in a function of its own. Fields that the kernel sets are read
-- after the call, never kept across it.
--
-- Responses are written by moonring.http.format, whose functions are offered here too.

local native = require "moonring.native"
local reasons = require "moonring.http.status"
local format = require "moonring.http.format"
local bit = require "bit"

local C, ffi = native.C, native.ffi
local band, bor, lshift = bit.band, bit.bor, bit.lshift
local cast, to_string = ffi.cast, ffi.string

local codec = {}

--- Reason phrases by status code.
---@type table<integer, string>
codec.reasons = reasons

codec.write_response = format.write_response
codec.set_date = format.set_date
codec.date = format.date

---@class moonring.http.Limits
---@field head_bytes integer from the request line to the empty line, both included
---@field target_bytes integer of the request target
---@field body_bytes integer largest Content-Length

--- What read_head accepts unless it is told otherwise.
---@type moonring.http.Limits
codec.limits = {
  head_bytes = 16384, -- what servers commonly take; also bounds what a client can make us hold for it
  target_bytes = 8192, -- RFC 9112 section 3 recommends at least 8000
  body_bytes = 1048576,
}

--- Answers `Expect: 100-continue` (RFC 9110 section 15.2.1).
codec.continue = "HTTP/1.1 100 Continue\r\n\r\n"

-- The head ----------------------------------------------------------------------------------------

local known_fields = {
  ["host"] = C.MR_FIELD_HOST,
  ["connection"] = C.MR_FIELD_CONNECTION,
  ["content-length"] = C.MR_FIELD_CONTENT_LENGTH,
  ["transfer-encoding"] = C.MR_FIELD_TRANSFER_ENCODING,
  ["expect"] = C.MR_FIELD_EXPECT,
  ["upgrade"] = C.MR_FIELD_UPGRADE,
}

--- A request's head. Made once and used for one request after the other.
---@class moonring.http.Head
---@field index ffi.cdata* the mr_head that the kernel fills
---@field keep_alive boolean the connection may carry another request after this one
---@field content_length number bytes of the body, 0 when there is none
---@field minor_version integer 1 for HTTP/1.1 and later, 0 for HTTP/1.0
---@field expect_continue boolean the client waits for codec.continue before it sends the body
---@field skipped_line boolean an empty line before this head has been passed over
local Head = {}

local head_metatable = { __index = Head, __name = "moonring.http.head" }

function head_metatable:__tostring()
  if self.index.part_length[2] == 0 then return "moonring.http.head (empty)" end
  return ("moonring.http.head (%s %s, %d fields)"):format(self:method(), self:target(), self.index.field_count)
end

--- Makes an empty head.
---@return moonring.http.Head
function codec.new_head()
  return setmetatable({ index = ffi.new "mr_head" }, head_metatable):reset()
end

--- Empties the head. Needed where a head that was not read to its end is given up; read_head begins a new one by
--- itself.
---@return moonring.http.Head self
function Head:reset()
  C.mr_head_reset(self.index)
  self.keep_alive = false
  self.content_length = 0
  self.minor_version = 1
  self.expect_continue = false
  self.skipped_line = false
  return self
end

--- The head's first byte in the buffer it was read from; valid while that memory is held. A method, because a pointer
--- that is kept in a table costs an allocation.
---@return ffi.cdata* base const uint8_t *
function Head:base()
  return self.index.data
end

local function part(index, number)
  return to_string(index.data + index.part[number], index.part_length[number])
end

--- The method as sent; methods are case-sensitive (RFC 9110 section 9.1). Any token, known or not.
---@return string
function Head:method()
  return part(self.index, 0)
end

--- The request target as sent, in one of the four forms of RFC 9112 section 3.2.
---@return string
function Head:target()
  return part(self.index, 1)
end

local function field_value(index, number)
  local field = index.fields[number]
  return to_string(index.data + field.value, field.value_length)
end

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

-- Reading -----------------------------------------------------------------------------------------

local CR, LF, SLASH = 13, 10, 47

local word_pointer = ffi.typeof "const int32_t *"

local function word(text)
  return cast(word_pointer, text)[0]
end

local WORD_GET, WORD_HTTP, WORD_1_1, WORD_1_0 = word "GET ", word "HTTP", word "/1.1", word "/1.0"

local BIT_HOST = lshift(1, C.MR_FIELD_HOST)
local BIT_CONNECTION = lshift(1, C.MR_FIELD_CONNECTION)
local BIT_CONTENT_LENGTH = lshift(1, C.MR_FIELD_CONTENT_LENGTH)
local BIT_TRANSFER_ENCODING = lshift(1, C.MR_FIELD_TRANSFER_ENCODING)
local BIT_EXPECT = lshift(1, C.MR_FIELD_EXPECT)

--- The fields that change how a request is read; one with Host alone of these is plain.
local FRAMING = bor(BIT_HOST, BIT_CONNECTION, BIT_CONTENT_LENGTH, BIT_TRANSFER_ENCODING, BIT_EXPECT)

local CLOSE, KEEP_ALIVE = 1, 2
local option_bits = { ["close"] = CLOSE, ["keep-alive"] = KEEP_ALIVE }

-- Clients send few different Connection values, so each is taken apart once. Bounded: a hostile client empties it, no
-- more.
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

local function connection_bits(index)
  if band(index.seen, BIT_CONNECTION) == 0 then return 0 end
  local first = index.first[C.MR_FIELD_CONNECTION]
  local value = field_value(index, first)
  local bits = connections[value] or parse_connection(value)
  if band(index.repeated, BIT_CONNECTION) ~= 0 then
    for number = first + 1, index.field_count - 1 do
      if index.fields[number].id == C.MR_FIELD_CONNECTION then
        bits = bor(bits, parse_connection(field_value(index, number)))
      end
    end
  end
  return bits
end

local function refuse(head, status, message)
  head.keep_alive = false
  return false, status, message
end

local function is_host_valid(index)
  local field = index.fields[index.first[C.MR_FIELD_HOST]]
  local length = field.value_length
  return C.mr_scan_span(index.data + field.value, length, C.MR_CLASS_HOST) == length
end

--- The body's length, or nil, status, message.
local function read_content_length(index, limits)
  if band(index.seen, BIT_CONTENT_LENGTH) == 0 then return 0 end
  -- RFC 9112 section 6.3 lets identical repeats pass; two parties that disagree about which one counts are how
  -- requests are smuggled.
  if band(index.repeated, BIT_CONTENT_LENGTH) ~= 0 then return nil, 400, "more than one Content-Length" end
  local field = index.fields[index.first[C.MR_FIELD_CONTENT_LENGTH]]
  local length = C.mr_scan_decimal(index.data + field.value, field.value_length)
  if length < 0 then return nil, 400, "malformed Content-Length" end -- RFC 9110 section 8.6
  if length > limits.body_bytes then return nil, 413, "body longer than the limit" end
  return length
end

--- RFC 9110 section 10.1.1: nil, status, message for an expectation other than 100-continue.
local function read_expectation(index, minor, content_length)
  -- "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation."
  if band(index.seen, BIT_EXPECT) == 0 or minor == 0 then return false end
  local field = index.fields[index.first[C.MR_FIELD_EXPECT]]
  local data = index.data + field.value
  if
    band(index.repeated, BIT_EXPECT) ~= 0 or C.mr_scan_equal_fold(data, field.value_length, "100-continue", 12) == 0
  then
    return nil, 417, "unknown expectation"
  end
  return content_length > 0 -- it MAY be left unanswered where no content is announced
end

--- Everything about a request whose fields say more than Host. Result: true, or false, status, message.
local function read_framing(head, index, minor, limits)
  if band(index.repeated, BIT_HOST) ~= 0 then return refuse(head, 400, "more than one Host") end
  local host = band(index.seen, BIT_HOST) ~= 0
  -- RFC 9112 section 3.2: 400 for a missing one in HTTP/1.1, more than one, and an invalid one.
  if minor == 1 and not host then return refuse(head, 400, "no Host") end
  if host and not is_host_valid(index) then return refuse(head, 400, "malformed Host") end

  if band(index.seen, BIT_TRANSFER_ENCODING) ~= 0 then
    -- RFC 9112 section 6.1: the two together, and any in HTTP/1.0, are faulty framing.
    if band(index.seen, BIT_CONTENT_LENGTH) ~= 0 then
      return refuse(head, 400, "Transfer-Encoding with Content-Length")
    end
    if minor == 0 then return refuse(head, 400, "Transfer-Encoding in HTTP/1.0") end
    return refuse(head, 501, "transfer codings are not supported")
  end

  local content_length, status, message = read_content_length(index, limits)
  if not content_length then return refuse(head, status, message) end
  local expect_continue
  expect_continue, status, message = read_expectation(index, minor, content_length)
  if expect_continue == nil then return refuse(head, status, message) end

  -- RFC 9112 section 9.3: close wins; otherwise 1.1 persists, and 1.0 with keep-alive only.
  local bits = connection_bits(index)
  head.keep_alive = band(bits, CLOSE) == 0 and (minor == 1 or band(bits, KEEP_ALIVE) ~= 0)
  head.content_length = content_length
  head.minor_version = minor
  head.expect_continue = expect_continue
  return true
end

--- The minor version, or nil, status, message, for what is neither "HTTP/1.1" nor "HTTP/1.0".
local function read_version(index)
  local words = cast(word_pointer, index.data + index.part[2])
  if index.part_length[2] == 8 and words[0] == WORD_HTTP and words[1] == WORD_1_0 then return 0 end
  local version = part(index, 2)
  local major = version:match "^HTTP/(%d)%.%d$" -- RFC 9112 section 2.3; case-sensitive
  if not major then return nil, 400, "malformed HTTP version" end
  if major ~= "1" then return nil, 505, "only HTTP/1.x is spoken here" end
  -- RFC 9110 section 6.2: a higher minor version is taken as the highest that we conform to.
  return 1
end

--- Targets that do not begin with a slash (RFC 9112 sections 3.2.2 to 3.2.4).
local function is_target_valid(index)
  local method, target = part(index, 0), part(index, 1)
  if method == "CONNECT" then return target:find "^[%w%-._~%%!$&'()*+,;=:%[%]]+:%d+$" ~= nil end
  if target == "*" then return method == "OPTIONS" end
  return target:find "^%a[%w+.-]*://[^/?#]" ~= nil
end

local scan_failures = {
  [C.MR_SCAN_BAD_LINE] = "malformed line",
  [C.MR_SCAN_BAD_NAME] = "malformed field name",
  [C.MR_SCAN_BAD_VALUE] = "control character in a field value",
}

--- What a scan means that found no whole head: nil, or false, status, message.
local function judge_partial(head, index, result, available, limits)
  if result == C.MR_SCAN_TOO_MANY then return refuse(head, 431, "too many header fields") end
  if result < 0 then return refuse(head, 400, scan_failures[result]) end
  local has_line = index.scanned > 0
  if has_line and index.part_length[1] > limits.target_bytes then return refuse(head, 414, "target too long") end
  if available < limits.head_bytes then return nil end
  if not has_line then return refuse(head, 414, "request line longer than the limit of the head") end
  return refuse(head, 431, "header fields longer than the limit")
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
  local result = C.mr_scan_head(buffer.data_ + position, available, index)
  if result > 0 then return result end
  if result == C.MR_SCAN_BAD_LINE and index.scanned == 0 then
    local skipped = skip_empty_line(buffer, head)
    if skipped then return index_head(buffer, head, limits) end
    if skipped == nil then return nil end
  end
  return judge_partial(head, index, result, available, limits)
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
function codec.read_head(buffer, head, limits)
  limits = limits or codec.limits
  local length, status, message = index_head(buffer, head, limits)
  if not length then return length, status, message end

  local index = head.index
  local data = index.data
  index.scanned = 0 -- the next call begins a new head
  head.skipped_line = false

  local version = cast(word_pointer, data + index.part[2])
  local minor = 1
  if index.part_length[2] ~= 8 or version[0] ~= WORD_HTTP or version[1] ~= WORD_1_1 then
    minor, status, message = read_version(index)
    if not minor then return refuse(head, status, message) end
  end

  if index.part_length[1] > limits.target_bytes then return refuse(head, 414, "target too long") end
  if cast(word_pointer, data)[0] ~= WORD_GET then
    local method_length = index.part_length[0]
    if C.mr_scan_span(data, method_length, C.MR_CLASS_TOKEN) ~= method_length then
      return refuse(head, 400, "malformed method") -- RFC 9110 section 9.1: a token
    end
  end
  if data[index.part[1]] ~= SLASH and not is_target_valid(index) then
    return refuse(head, 400, "malformed request target")
  end

  if minor == 1 and band(index.seen, FRAMING) == BIT_HOST and band(index.repeated, BIT_HOST) == 0 then
    if not is_host_valid(index) then return refuse(head, 400, "malformed Host") end -- RFC 9112 section 3.2
    head.keep_alive = true
    head.content_length = 0
    head.minor_version = 1
    head.expect_continue = false
  else
    local done
    done, status, message = read_framing(head, index, minor, limits)
    if not done then return false, status, message end
  end
  buffer.position_ = buffer.position_ + length
  return true
end

return codec
