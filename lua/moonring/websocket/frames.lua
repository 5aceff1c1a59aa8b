-- moonring.websocket.frames: WebSocket frames as bytes in, decisions out (RFC 6455 section 5): opens no socket, never
-- waits.
--
-- The reader takes whatever pieces arrive and gives the payload as spans of the very bytes it was given, unmasked where
-- they lie, so nothing is copied and no frame has to be there as a whole. Only a header or a control frame that is cut
-- is put aside, at most 125 bytes of it.
--
-- What it refuses it refuses for good: the answer is the code and the reason of the Close frame that ends the
-- connection (section 7.4.1).

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local copy, to_string = ffi.copy, ffi.string

local M = {
  CONTINUATION = 0, -- The opcode of a frame that goes on with a message.
  TEXT = 1, -- The opcode of a text message's first frame.
  BINARY = 2, -- The opcode of a binary message's first frame.
  CLOSE = 8, -- The opcode of a Close frame.
  PING = 9, -- The opcode of a Ping.
  PONG = 10, -- The opcode of a Pong.
  -- Section 5.5: a control frame's payload is at most this long.
  CONTROL_MAX = 125,
  -- The longest header: two bytes, eight of length, four of the mask.
  HEADER_MAX = 14,
}

local FIN, RSV1, RSV_OTHERS, OPCODE, CONTROL = 0x80, 0x40, 0x30, 0x0f, 0x08
local MASKED, LENGTH = 0x80, 0x7f
local LENGTH_16, LENGTH_64 = 126, 127
local PROTOCOL_ERROR, TOO_BIG = 1002, 1009

---@class moonring.websocket.FrameReader
---@field opcode integer of the message that is being read: TEXT or BINARY
---@field compressed boolean whether its first frame had RSV1 set (RFC 7692 section 6)
---@field is_first boolean the last piece began a message
---@field is_last boolean it ended one
local Reader = { __name = "moonring.websocket.FrameReader" }
Reader.__index = Reader

---@class moonring.websocket.FrameOptions
---@field role "server"|"client" a server's peer masks its frames, a client's doesn't
---@field max_frame_bytes? integer of payload in one frame; default 2^53 - 1
---@field allow_compressed? boolean whether RSV1 has been negotiated

--- Makes a reader for the frames of one connection.
---@param options moonring.websocket.FrameOptions
---@return moonring.websocket.FrameReader
function M.reader(options)
  local role = options.role
  if role ~= "server" and role ~= "client" then
    errors.raise("argument", 'websocket frames: the role is "server" or "client", not %s', tostring(role))
  end
  return setmetatable({
    masked = role == "server",
    max_frame_bytes = options.max_frame_bytes or 2 ^ 53 - 1,
    allow_compressed = options.allow_compressed or false,
    scratch = ffi.new("uint8_t[?]", M.CONTROL_MAX + 1), -- a cut header, or the payload of a control frame
    kept = 0, -- bytes in scratch
    key = ffi.new("uint8_t[4]"),
    in_frame = false, -- a header has been read and not all of its payload
    left = 0, -- bytes of the frame's payload that have not come
    taken = 0, -- bytes of it that have: where the mask goes on
    control = false, -- the opcode, when it is a control frame
    fin = false,
    in_message = false,
    opcode = 0,
    compressed = false,
    is_first = false,
    is_last = false,
    begins = false, -- the frame is the first of its message and no piece of it has been given
    failed = false,
  }, Reader)
end

local function fail(self, code, message)
  self.failed = { code, message }
  return false, code, message
end

-- How long the header is that begins with these two bytes.
local function header_length(second)
  local length = band(second, LENGTH)
  local size = 2
  if length == LENGTH_16 then size = 4 elseif length == LENGTH_64 then size = 10 end
  if second >= MASKED then size = size + 4 end
  return size
end

local function number_32(at, offset)
  return at[offset] * 16777216 + at[offset + 1] * 65536 + at[offset + 2] * 256 + at[offset + 3]
end

-- The payload's length; -1 for one that the shortest form would have held or that has its highest bit set (section
-- 5.2).
local function payload_length(at)
  local length = band(at[1], LENGTH)
  if length < LENGTH_16 then return length end
  if length == LENGTH_16 then
    length = at[2] * 256 + at[3]
    return length >= LENGTH_16 and length or -1
  end
  local high = number_32(at, 2)
  if high >= 2147483648 then return -1 end
  length = high * 4294967296 + number_32(at, 6)
  return length >= 65536 and length or -1
end

-- Decides on a control frame's first two bytes (section 5.5).
local function begin_control(self, opcode, first, length)
  if opcode > M.PONG then return fail(self, PROTOCOL_ERROR, ("reserved opcode %d"):format(opcode)) end
  if band(first, FIN) == 0 then return fail(self, PROTOCOL_ERROR, "fragmented control frame") end
  if band(first, RSV1) ~= 0 then return fail(self, PROTOCOL_ERROR, "reserved bit in a control frame") end
  if length > M.CONTROL_MAX then return fail(self, PROTOCOL_ERROR, "control frame of more than 125 bytes") end
  self.control = opcode
  return true
end

-- The same of a data frame (section 5.4).
local function begin_data(self, opcode, first, length)
  local rsv1 = band(first, RSV1) ~= 0
  if opcode == M.CONTINUATION then
    if not self.in_message then return fail(self, PROTOCOL_ERROR, "continuation of no message") end
    -- RFC 7692 section 6.1: only the first frame of a message tells.
    if rsv1 then return fail(self, PROTOCOL_ERROR, "reserved bit in a continuation") end
    self.begins = false
  else
    if opcode > M.BINARY then return fail(self, PROTOCOL_ERROR, ("reserved opcode %d"):format(opcode)) end
    if self.in_message then return fail(self, PROTOCOL_ERROR, "a message begins before the last one has ended") end
    if rsv1 and not self.allow_compressed then
      return fail(self, PROTOCOL_ERROR, "reserved bit without an extension that defines it")
    end
    self.opcode, self.compressed, self.in_message, self.begins = opcode, rsv1, true, true
  end
  if length > self.max_frame_bytes then
    return fail(self, TOO_BIG, ("a frame of more than %.0f bytes"):format(self.max_frame_bytes))
  end
  self.control = false
  return true
end

-- Takes a whole header at `at`.
local function begin_frame(self, at)
  local first, second = at[0], at[1]
  if band(first, RSV_OTHERS) ~= 0 then return fail(self, PROTOCOL_ERROR, "reserved bits") end
  if (second >= MASKED) ~= self.masked then
    -- Section 5.1: either way round the connection ends.
    return fail(self, PROTOCOL_ERROR, self.masked and "frame without a mask" or "masked frame from the server")
  end
  local length = payload_length(at)
  if length < 0 then return fail(self, PROTOCOL_ERROR, "malformed length") end
  local opcode = band(first, OPCODE)
  local begin = opcode >= CONTROL and begin_control or begin_data
  local ok, code, message = begin(self, opcode, first, length)
  if not ok then return false, code, message end
  if second >= MASKED then
    local size = header_length(second)
    local key = self.key
    key[0], key[1], key[2], key[3] = at[size - 4], at[size - 3], at[size - 2], at[size - 1]
  end
  self.fin = first >= FIN
  self.left, self.taken, self.in_frame = length, 0, true
  return true
end

-- Moves bytes of the input to scratch until it holds `wanted`. Whether it does.
local function keep(self, input, wanted)
  local kept = self.kept
  local position, limit = input.position_, input.limit_
  local count = wanted - kept
  if count > limit - position then count = limit - position end
  if count > 0 then
    copy(self.scratch + kept, input.data_ + position, count)
    input.position_ = position + count
    self.kept = kept + count
  end
  return self.kept == wanted
end

-- Reads a header, in one run or over several pieces. Result: true, nil for more, or false, code, message.
local function read_header(self, input)
  local position, limit = input.position_, input.limit_
  if self.kept == 0 and limit - position >= 2 then
    local at = input.data_ + position
    local size = header_length(at[1])
    if limit - position >= size then
      input.position_ = position + size
      return begin_frame(self, at)
    end
  end
  if not keep(self, input, math.max(self.kept, 2)) then return nil end
  if not keep(self, input, header_length(self.scratch[1])) then return nil end
  self.kept = 0
  return begin_frame(self, self.scratch)
end

-- Gathers a control frame's payload. Result: its opcode and payload, or nil for more.
local function read_control(self, input)
  local wanted = self.left
  if wanted > 0 and not keep(self, input, wanted) then return nil end
  self.kept, self.left, self.in_frame = 0, 0, false
  if self.masked then C.mr_bytes_xor(self.scratch, wanted, self.key, 0) end
  local payload = to_string(self.scratch, wanted)
  return "control", self.control, payload
end

-- Unmasks what is there of a data frame and passes over it. Result: its offset in the input and its length, or nil for more.
local function read_data(self, input)
  local position = input.position_
  local length = input.limit_ - position
  if length > self.left then length = self.left end
  if length == 0 and self.left > 0 then return nil end
  if self.masked and length > 0 then
    C.mr_bytes_xor(input.data_ + position, length, self.key, band(self.taken, 3))
  end
  input.position_ = position + length
  self.left = self.left - length
  self.taken = band(self.taken + length, 3)
  self.is_first, self.begins = self.begins, false
  self.is_last = self.left == 0 and self.fin
  if self.left == 0 then self.in_frame = false end
  if self.is_last then self.in_message = false end
  return "data", position, length
end

--- Goes on with the remaining bytes of `input`, which may be written to: payloads are unmasked in place. Results:
---   nil                          all is taken, more bytes are needed
---   "data", offset, length       a piece of a message at this offset of the input, unmasked; see is_first and is_last.
---                                May be empty. The position is behind it.
---   "control", opcode, payload   a Close, Ping or Pong
---   false, code, message         the peer has broken the protocol: what to close with. So it stays.
---@param input moonring.Buffer
---@return "data"|"control"|false|nil what
---@return integer? detail
---@return any? value
function Reader:next(input)
  if self.failed then return false, self.failed[1], self.failed[2] end
  if not self.in_frame then
    local ok, code, message = read_header(self, input)
    if not ok then return ok, code, message end
  end
  if self.control then return read_control(self, input) end
  return read_data(self, input)
end

--- Whether the stream may end here: no frame and no message is cut.
---@return boolean
function Reader:is_between()
  return not self.in_frame and not self.in_message and self.kept == 0
end

function Reader:__tostring()
  return ("moonring.websocket.FrameReader(%s)"):format(self.failed and self.failed[2] or self.in_message and "in a message"
    or "between messages")
end

-- Writing -------------------------------------------------------------------------------------------------------------

--- Bytes of the header for a payload of that length.
---@param length integer
---@param masked boolean
---@return integer
function M.header_bytes(length, masked)
  local size = 2
  if length >= 65536 then size = 10 elseif length >= LENGTH_16 then size = 4 end
  return masked and size + 4 or size
end

local function put_32(out, value)
  out[0] = band(rshift(value, 24), 255)
  out[1] = band(rshift(value, 16), 255)
  out[2] = band(rshift(value, 8), 255)
  out[3] = band(value, 255)
end

--- Writes a frame's header.
---@param out ffi.cdata* uint8_t *, with room for header_bytes
---@param first integer FIN, reserved bits and opcode: see first_byte
---@param length integer of the payload, below 2^53
---@param key? ffi.cdata* uint8_t[4], for a client
---@return integer size of the header
function M.put_header(out, first, length, key)
  local mark = key and MASKED or 0
  local size = 2
  out[0] = first
  if length < LENGTH_16 then
    out[1] = bor(mark, length)
  elseif length < 65536 then
    out[1] = bor(mark, LENGTH_16)
    out[2], out[3] = rshift(length, 8), band(length, 255)
    size = 4
  else
    out[1] = bor(mark, LENGTH_64)
    put_32(out + 2, math.floor(length / 4294967296))
    put_32(out + 6, length % 4294967296)
    size = 10
  end
  if key then
    copy(out + size, key, 4)
    size = size + 4
  end
  return size
end

--- The first byte of a frame.
---@param opcode integer
---@param is_last boolean whether it ends its message
---@param compressed? boolean
---@return integer
function M.first_byte(opcode, is_last, compressed)
  return bor(opcode, is_last and FIN or 0, compressed and RSV1 or 0)
end

--- Copies a payload behind a header, masked when there is a key.
---@param out ffi.cdata* uint8_t *
---@param payload ffi.cdata* const uint8_t *
---@param length integer
---@param key? ffi.cdata*
---@param offset? integer bytes of the frame's payload before it
function M.put_payload(out, payload, length, key, offset)
  C.mr_bytes_move(out, payload, length)
  if key then C.mr_bytes_xor(out, length, key, band(offset or 0, 3)) end
end

-- Close frames (section 5.5.1) ----------------------------------------------------------------------------------------

-- Section 7.4: what may stand in a Close frame. 1004 is reserved, 1005, 1006 and 1015 are for programs only.
local function is_sendable(code)
  return code >= 1000 and code <= 1014 and code ~= 1004 and code ~= 1005 and code ~= 1006 or code >= 3000 and code <= 4999
end

--- Whether a code may be sent in a Close frame.
---@type fun(code: integer): boolean
M.is_sendable = is_sendable

--- Reads a Close frame's payload. Returns the code (nil when there is none) and the reason; or false, code, message for
--- one that is malformed.
---@param payload string
---@return integer|false|nil code
---@return string|integer reason
---@return string? message
function M.parse_close(payload)
  if payload == "" then return nil, "" end
  if #payload == 1 then return false, PROTOCOL_ERROR, "Close with half a code" end
  local high, low = payload:byte(1, 2)
  local code = lshift(high, 8) + low
  if not is_sendable(code) then return false, PROTOCOL_ERROR, ("Close with code %d"):format(code) end
  local reason = payload:sub(3)
  if C.mr_utf8_span(ffi.cast(core.bytes, reason), #reason) ~= #reason then
    return false, 1007, "the reason of a Close is not UTF-8"
  end
  return code, reason
end

--- The payload of a Close frame.
---@param code? integer
---@param reason? string UTF-8, at most 123 bytes
---@return string
function M.close_payload(code, reason)
  if not code then return "" end
  if type(code) ~= "number" or code % 1 ~= 0 or not is_sendable(code) then
    errors.raise("argument", "websocket: %s is no code for a Close frame (RFC 6455 section 7.4); 1000 is a normal end",
      tostring(code))
  end
  reason = reason or ""
  if #reason > M.CONTROL_MAX - 2 then
    errors.raise("argument", "websocket: the reason of a Close has %d bytes, the most is %d", #reason, M.CONTROL_MAX - 2)
  end
  if C.mr_utf8_span(ffi.cast(core.bytes, reason), #reason) ~= #reason then
    errors.raise("argument", "websocket: the reason of a Close is not UTF-8")
  end
  return string.char(rshift(code, 8), band(code, 255)) .. reason
end

return M
