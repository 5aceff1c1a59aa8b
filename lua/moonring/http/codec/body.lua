--- The content behind a head, as a machine over buffers (RFC 9112 sections 6 and 7): fixed length, chunked, or until the end
--- of the stream. It hands on the bytes where they lie and copies none.
--
-- Framing between chunks is consumed as it comes, so a reader may drop a buffer as soon as its position has reached
-- the limit. Only trailer fields have to lie in one run: while next() returns nil with bytes left, more of them
-- belong behind those.

local native = require "moonring.native"
local limits_of = require "moonring.http.codec.limits"
local head_of = require "moonring.http.codec.head"

local C, ffi = native.C, native.ffi
local min = math.min

local M = {}

local CR, LF = 13, 10

---@class moonring.http.Body
---@field left number bytes of the content, or of the chunk, that have not been handed on
---@field received number bytes of the content that have been handed on
---@field trailers? string[] name, value, name, value ...; set at the end of a chunked body that had any
local Body = { __name = "moonring.http.Body" }
Body.__index = Body

local DONE, FIXED, CHUNKED, UNTIL_CLOSE, TRAILERS, TOO_LONG = "done", "fixed", "chunked", "until close", "trailers",
  "too long"

--- Makes a decoder, which serves one body after the other.
---@return moonring.http.Body
function M.new()
  return setmetatable({ state = DONE, left = 0, received = 0, chunked = false, trailer_head = false, limits = false,
    trailers = nil }, Body)
end

--- Begins the body that a head announces.
---@param head moonring.http.Head
---@param limits? moonring.http.Limits
---@return moonring.http.Body self
function Body:begin(head, limits)
  self.limits = limits or limits_of.defaults
  self.left, self.received, self.trailers = 0, 0, nil
  if not head.has_body then
    self.state = DONE
  elseif head.is_chunked then
    self.state = CHUNKED
    if not self.chunked then self.chunked = ffi.new "mr_chunked" end
    ffi.fill(self.chunked, ffi.sizeof "mr_chunked")
    self.chunked.extension_max = self.limits.chunk_extension_bytes
    if self.trailer_head then self.trailer_head:reset() end
  elseif head.is_until_close then
    self.state = UNTIL_CLOSE
  else
    self.state, self.left = FIXED, head.content_length
  end
  return self
end

--- Lowers the limit of this body; what has been handed on counts.
---@param max number bytes of content
function Body:limit(max)
  if max >= self.limits.body_bytes then return end
  local own = {}
  for name, value in pairs(self.limits) do
    own[name] = value
  end
  own.body_bytes = max
  self.limits = own
  if self.received + self.left > max then self.state = TOO_LONG end
end

--- Whether it is known to be over the limit before it has come.
---@return boolean
function Body:is_refused()
  return self.state == TOO_LONG
end

--- Whether all of it has been handed on.
---@return boolean
function Body:is_done()
  return self.state == DONE
end

local function refuse(self, status, message)
  self.state = DONE
  return false, status, message
end

local function refuse_long(self)
  return refuse(self, 413, limits_of.exceeded("body too long", self.limits, "body_bytes"))
end

-- The next run of at most self.left bytes.
local function take(self, buffer)
  local position = buffer.position_
  local count = min(buffer.limit_ - position, self.left)
  if count == 0 then return nil end
  self.left = self.left - count
  self.received = self.received + count
  buffer.position_ = position + count
  return count, position
end

-- RFC 9110 section 6.5.1: fields that are read before the content, so that they would come too late here. Those that frame
-- the message are an attack or a mistake that another reader might fall for.
local FRAMING = { ["content-length"] = true, ["transfer-encoding"] = true, ["host"] = true }
local TOO_LATE = {}
for name in ([[age authorization cache-control connection content-encoding content-range content-type cookie date expect
  expires if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location max-forwards pragma
  proxy-authenticate proxy-authorization proxy-connection range retry-after set-cookie te trailer upgrade vary via warning
  www-authenticate]]):gmatch "%S+" do
  TOO_LATE[name] = true
end

-- Keeps what may be kept. Result: the name of a field that frames the message, where there is one.
local function keep_trailers(self, head)
  local kept = {}
  for name, value in head:fields() do
    local lower = name:lower()
    if FRAMING[lower] then return name end
    if not TOO_LATE[lower] then
      kept[#kept + 1] = name
      kept[#kept + 1] = value
    end
  end
  if kept[1] then self.trailers = kept end
end

local trailer_failures = {
  [C.MR_SCAN_BAD_LINE] = { 400, "malformed trailer line" },
  [C.MR_SCAN_BAD_NAME] = { 400, "malformed trailer name" },
  [C.MR_SCAN_BAD_VALUE] = { 400, "control character in a trailer" },
  [C.MR_SCAN_TOO_MANY] = { 431, "too many trailers", "field_count" },
  [C.MR_SCAN_TOO_LONG] = { 431, "trailer line too long", "line_bytes" },
}

local function refuse_trailers(self, result)
  local failure = trailer_failures[result] or { 431, "trailers too long", "trailer_bytes" }
  local message = failure[2]
  if failure[3] then message = limits_of.exceeded(message, self.limits, failure[3]) end
  return refuse(self, failure[1], message)
end

local function scan_trailers(self, buffer)
  local limits, head = self.limits, self.trailer_head
  if not head then
    head = head_of.new(true)
    self.trailer_head = head
  end
  local index, position = head.index, buffer.position_
  local available = min(buffer.limit_ - position, limits.trailer_bytes)
  index.line_max, index.fields_max = limits.line_bytes, limits.field_count
  local result = C.mr_scan_fields(buffer.data_ + position, available, index)
  if result == 0 and available < limits.trailer_bytes then return nil end
  if result <= 0 then return refuse_trailers(self, result) end
  index.scanned = 0
  local faulty = keep_trailers(self, head)
  if faulty then return refuse(self, 400, faulty .. " among the trailers") end
  buffer.position_ = position + result
  self.state = DONE
  return 0
end

local function read_trailers(self, buffer)
  local position = buffer.position_
  local available = buffer.limit_ - position
  if available == 0 then return nil end
  -- Nearly always there are none.
  if available >= 2 and buffer.data_[position] == CR and buffer.data_[position + 1] == LF then
    buffer.position_ = position + 2
    self.state = DONE
    return 0
  end
  return scan_trailers(self, buffer)
end

local function next_chunk(self, buffer)
  local chunked = self.chunked
  local position = buffer.position_
  local taken = C.mr_scan_chunk(chunked, buffer.data_ + position, buffer.limit_ - position)
  if taken < 0 then
    if taken == C.MR_SCAN_BIG_CHUNK then return refuse_long(self) end
    if taken == C.MR_SCAN_LONG_EXTENSION then
      return refuse(self, 400, limits_of.exceeded("chunk extension too long", self.limits, "chunk_extension_bytes"))
    end
    if taken == C.MR_SCAN_MUCH_FRAMING then return refuse(self, 400, "long chunk lines around little content") end
    return refuse(self, 400, "malformed chunk")
  end
  buffer.position_ = position + taken
  local size = chunked.size
  if size < 0 then return nil end
  if size == 0 then
    self.state = TRAILERS
    return read_trailers(self, buffer)
  end
  if self.received + size > self.limits.body_bytes then return refuse_long(self) end
  self.left = size
  return take(self, buffer)
end

--- The next run of content in the buffer: its length, and the offset in the buffer where it lies; the buffer's position is
--- behind it afterwards. Call it until it returns nil, then again with more bytes behind the remaining ones.
---@param buffer ffi.cdata* mr_buffer with the received bytes in [position, limit)
---@return integer|boolean|nil count bytes; 0: the body is complete; nil: more bytes are needed; false: refuse and close
---@return integer? offset, or the status of the refusal
---@return string? message why it is refused
function Body:next(buffer)
  local state = self.state
  if state == FIXED then
    if self.left > 0 then return take(self, buffer) end
    self.state = DONE
    return 0
  elseif state == CHUNKED then
    if self.left > 0 then return take(self, buffer) end
    if buffer.limit_ == buffer.position_ then return nil end
    return next_chunk(self, buffer)
  elseif state == TRAILERS then
    return read_trailers(self, buffer)
  elseif state == UNTIL_CLOSE then
    if buffer.limit_ == buffer.position_ then return nil end
    self.left = self.limits.body_bytes - self.received
    if self.left == 0 then return refuse_long(self) end
    return take(self, buffer)
  elseif state == TOO_LONG then
    return refuse_long(self)
  end
  return 0
end

--- Makes a view of a run that next has told of.
---@param view ffi.cdata* mr_buffer, which is used again
---@param buffer ffi.cdata* mr_buffer that next was given
---@param offset integer
---@param count integer bytes
---@return ffi.cdata* view
function M.view_of(view, buffer, offset, count)
  C.mr_buffer_release(view)
  local position = buffer.position_
  buffer.position_ = offset
  C.mr_buffer_slice_part(view, buffer, count)
  buffer.position_ = position
  return view
end

--- Tells it that the stream has ended. Result: whether the body was complete with that.
---@return boolean
function Body:end_of_stream()
  local complete = self.state == DONE or self.state == UNTIL_CLOSE or self.state == FIXED and self.left == 0
  self.state = DONE
  return complete
end

return M
