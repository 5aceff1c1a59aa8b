---@meta moonring.websocket.frames
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.websocket.FrameReader
---@field opcode integer of the message that is being read: TEXT or BINARY
---@field compressed boolean whether its first frame had RSV1 set (RFC 7692 section 6)
---@field is_first boolean the last piece began a message
---@field is_last boolean it ended one
local FrameReader = {}

--- Whether the stream may end here: no frame and no message is cut.
---@return boolean
function FrameReader:is_between() end

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
function FrameReader:next(input) end

---@class moonring.websocket.FrameOptions
---@field role "server"|"client" a server's peer masks its frames, a client's doesn't
---@field max_frame_bytes? integer of payload in one frame; default 2^53 - 1
---@field allow_compressed? boolean whether RSV1 has been negotiated
local FrameOptions = {}

--- WebSocket frames as bytes in, decisions out (RFC 6455 section 5): opens no socket, never
--- waits.
--- 
--- The reader takes whatever pieces arrive and gives the payload as spans of the very bytes it was given, unmasked where
--- they lie, so nothing is copied and no frame has to be there as a whole. Only a header or a control frame that is cut
--- is put aside, at most 125 bytes of it.
--- 
--- What it refuses it refuses for good: the answer is the code and the reason of the Close frame that ends the
--- connection (section 7.4.1).
local module = {}

--- The opcode of a binary message's first frame.
---@type any
module.BINARY = nil

--- The opcode of a Close frame.
---@type any
module.CLOSE = nil

--- The opcode of a frame that goes on with a message.
---@type any
module.CONTINUATION = nil

--- Section 5.5: a control frame's payload is at most this long.
---@type any
module.CONTROL_MAX = nil

--- The longest header: two bytes, eight of length, four of the mask.
---@type any
module.HEADER_MAX = nil

--- The opcode of a Ping.
---@type any
module.PING = nil

--- The opcode of a Pong.
---@type any
module.PONG = nil

--- The opcode of a text message's first frame.
---@type any
module.TEXT = nil

--- The payload of a Close frame.
---@param code? integer
---@param reason? string UTF-8, at most 123 bytes
---@return string
function module.close_payload(code, reason) end

--- The first byte of a frame.
---@param opcode integer
---@param is_last boolean whether it ends its message
---@param compressed? boolean
---@return integer
function module.first_byte(opcode, is_last, compressed) end

--- Bytes of the header for a payload of that length.
---@param length integer
---@param masked boolean
---@return integer
function module.header_bytes(length, masked) end

--- Whether a code may be sent in a Close frame.
function module.is_sendable(code) end

--- Reads a Close frame's payload. Returns the code (nil when there is none) and the reason; or false, code, message for
--- one that is malformed.
---@param payload string
---@return integer|false|nil code
---@return string|integer reason
---@return string? message
function module.parse_close(payload) end

--- Writes a frame's header.
---@param out ffi.cdata* uint8_t *, with room for header_bytes
---@param first integer FIN, reserved bits and opcode: see first_byte
---@param length integer of the payload, below 2^53
---@param key? ffi.cdata* uint8_t[4], for a client
---@return integer size of the header
function module.put_header(out, first, length, key) end

--- Copies a payload behind a header, masked when there is a key.
---@param out ffi.cdata* uint8_t *
---@param payload ffi.cdata* const uint8_t *
---@param length integer
---@param key? ffi.cdata*
---@param offset? integer bytes of the frame's payload before it
function module.put_payload(out, payload, length, key, offset) end

--- Makes a reader for the frames of one connection.
---@param options moonring.websocket.FrameOptions
---@return moonring.websocket.FrameReader
function module.reader(options) end

return module
