-- moonring.websocket.prepared: a message that goes to many: its frame is made once, and all connections send the same
-- memory.
--
-- Where compression has been agreed on, there is one compressed frame for each size of window, made when the first
-- connection asks for it. It refers to nothing before it, so it fits every connection; one that keeps its window from
-- message to message begins anew behind it.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local core = require "moonring.buffer.core"
local connections = require "moonring.net.connection"
local frames = require "moonring.websocket.frames"
local deflate = require "moonring.websocket.deflate"

local C = native.C

local M = {}

---@class moonring.websocket.Prepared
local Prepared = { __name = "moonring.websocket.Prepared" }
Prepared.__index = Prepared

local opcodes = { text = frames.TEXT, binary = frames.BINARY }

-- A server's frame as a buffer.
local function make_frame(first, from, length)
  local frame = buffer.allocate(frames.header_bytes(length, false) + length)
  local size = frames.put_header(frame.data_, first, length)
  frames.put_payload(frame.data_ + size, from, length)
  return frame
end

--- Makes a message that may be sent on any number of WebSockets, any number of times.
---@param data string|moonring.Buffer what remains of it is copied
---@param kind? "text"|"binary" default: text for a string, binary for a buffer
---@return moonring.websocket.Prepared
function M.new(data, kind)
  kind = kind or type(data) == "string" and "text" or "binary"
  local opcode = opcodes[kind]
  if not opcode then
    errors.raise("argument", 'websocket.prepare: the kind is "text" or "binary", not %s', tostring(kind))
  end
  local from, length = core.operand("websocket.prepare", data)
  if opcode == frames.TEXT and C.mr_utf8_span(from, length) ~= length then
    errors.raise("argument", 'websocket.prepare: the text is not UTF-8; use the kind "binary"')
  end
  return setmetatable({
    opcode = opcode,
    length = length,
    plain = make_frame(frames.first_byte(opcode, true), from, length),
    compressed = {}, -- by the compressor's key
  }, Prepared)
end

local function payload_of(self)
  return self.plain.data_ + (self.plain.capacity_ - self.length), self.length
end

local function compressed_frame(self, deflation)
  local frame = self.compressed[deflation.key]
  if frame then return frame end
  local view = self.plain:slice()
  view:seek(view.limit - self.length)
  local once = deflate.deflation(deflation.bits, true, deflation)
  local output = once:compress(view)
  view:release()
  frame = make_frame(frames.first_byte(self.opcode, true, true), output.data_, output:remaining())
  output:release()
  self.compressed[deflation.key] = frame
  return frame
end

--- Queues it without waiting. Returns the bytes queued on the connection. Internal: what a WebSocket's send calls.
function Prepared:queue_on(session)
  if not self.plain then errors.raise("closed", "websocket: the prepared message has been released") end
  if session.masks then return session:queue_masked(self.opcode, payload_of(self)) end
  local frame, deflation = self.plain, session.deflation
  if deflation and self.length >= deflation.min_bytes then
    frame = compressed_frame(self, deflation)
    deflation:forget()
  end
  local queued, message, code = session.connection:queue(frame)
  frame:seek(0)
  return queued, message, code
end

--- Lets go of its memory; what has been sent stays until it has gone out.
function Prepared:release()
  if not self.plain then return end
  self.plain:release()
  for _, frame in pairs(self.compressed) do
    frame:release()
  end
  self.plain, self.compressed = false, {}
end
Prepared.close = Prepared.release

function Prepared:__tostring()
  return ("moonring.websocket.Prepared(%d bytes%s)"):format(self.length, self.plain and "" or ", released")
end

--- Sends to many without waiting for any: who has more than `max_queued` bytes waiting is left out, so one slow reader
--- holds up nobody and takes no memory without bound.
---@param sockets table<any, moonring.WebSocket> a list, or any table whose values they are
---@param data string|moonring.Buffer|moonring.websocket.Prepared
---@param options? { kind?: "text"|"binary", max_queued?: integer, on_slow?: fun(socket: moonring.WebSocket) }
---@return integer sent to so many
---@return integer skipped so many were too slow or have ended
function M.broadcast(sockets, data, options)
  options = options or {}
  local prepared = data
  local is_ours = getmetatable(data) ~= Prepared
  if is_ours then prepared = M.new(data, options.kind) end
  local max_queued = options.max_queued or connections.WRITE_HIGH
  local sent, skipped, slow = 0, 0, nil
  for _, socket in pairs(sockets) do
    if socket:queued() > max_queued then
      skipped, slow = skipped + 1, slow or {}
      slow[#slow + 1] = socket
    elseif socket:try_send(prepared) then
      sent = sent + 1
    else
      skipped = skipped + 1
    end
  end
  if is_ours then prepared:release() end
  for _, socket in ipairs(slow and options.on_slow and slow or {}) do
    options.on_slow(socket)
  end
  return sent, skipped
end

M.Prepared = Prepared

return M
