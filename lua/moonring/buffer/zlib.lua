-- moonring.buffer.zlib: deflate in the formats zlib (RFC 1950), gzip (RFC 1952) and raw (RFC 1951), as streams and at
-- once.
--
-- Output is bounded: a stream's run stops when the target is full, and a decompressor gives max_bytes at most, because a
-- kilobyte of input can stand for a megabyte of zeros. What a stream is asked for beyond them is refused with "EMSGSIZE",
-- and so is everything after, until it is reset.
--
-- A protocol that compresses messages (WebSocket, RFC 7692) keeps one raw stream for each direction, ends each message
-- with a sync flush and either goes on, so that a message may refer to those before (context takeover), or resets. It
-- bounds each message by itself with allow.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local buffer = require "moonring.buffer"

local C, ffi = native.C, native.ffi

local M = {
  -- Bytes that inflate gives at most unless it is told otherwise.
  MAX_BYTES = 16777216,
}

local FORMATS = { zlib = C.MR_DEFLATE_ZLIB, gzip = C.MR_DEFLATE_GZIP, raw = C.MR_DEFLATE_RAW }
local FLUSHES = { sync = C.MR_DEFLATE_SYNC, full = C.MR_DEFLATE_FULL, finish = C.MR_DEFLATE_FINISH }
local FIRST_BYTES = 4096
local WINDOW_BITS = tonumber(C.MR_DEFLATE_WINDOW_BITS)
local CAPACITY_MAX = 2147483647

---@class moonring.InflateOptions
---@field format? "zlib"|"gzip"|"raw" default "zlib"
---@field max_bytes? integer of output in all; default 16 MiB
---@field window_bits? integer 8 to 15: not less than the compressor's; default 15

---@class moonring.DeflateOptions
---@field format? "zlib"|"gzip"|"raw" default "zlib"
---@field level? integer 0 (none) to 9 (best)
---@field window_bits? integer 9 to 15: how far back the output refers, and memory for it; default 15

local function check_max_bytes(what, max_bytes)
  if type(max_bytes) ~= "number" or max_bytes ~= max_bytes or max_bytes < 0 then
    errors.raise("argument", "%s: max_bytes is a number from 0 on, not %s", what, tostring(max_bytes))
  end
end

local function check_whole(what, name, value, from, to)
  if type(value) ~= "number" or not (value >= from and value <= to) or value % 1 ~= 0 then
    errors.raise("argument", "%s: %s is from %d to %d, not %s", what, name, from, to, tostring(value))
  end
end

local function create(what, inflate, options)
  options = errors.options(what, options)
  local format = FORMATS[options.format or "zlib"]
  if not format then
    errors.raise("argument", '%s: the format is "zlib", "gzip" or "raw", not %s', what, tostring(options.format))
  end
  if options.level ~= nil then check_whole(what, "the level", options.level, 0, 9) end
  local window_bits = options.window_bits or WINDOW_BITS
  check_whole(what, "window_bits", window_bits, inflate and 8 or 9, WINDOW_BITS)
  local max_bytes = options.max_bytes or M.MAX_BYTES
  check_max_bytes(what, max_bytes)
  local handle = C.mr_deflate_create(inflate and 1 or 0, format, options.level or -1, window_bits)
  if handle == nil then errors.raise("ENOMEM", "%s: no memory for a stream", what) end
  return {
    handle = ffi.gc(handle, C.mr_deflate_destroy),
    step = ffi.new("mr_deflate_step"),
    left = inflate and max_bytes or math.huge,
    max_bytes = max_bytes,
    ended = false,
    overrun = false,
  }
end

local function handle_of(self, what)
  if not self.handle then errors.raise("closed", "%s: the stream has been closed", what) end
  return self.handle
end

local function too_long(self, what)
  self.overrun = true
  return nil, ("%s: the output is longer than %.0f bytes"):format(what, self.max_bytes), "EMSGSIZE"
end

local one_byte = ffi.new("uint8_t[1]")

-- One step from source's remaining bytes to target's room. Moves both positions by what was taken and given. Result:
-- whether the stream has ended, and whether there may be more to be had from the same input.
local function step(self, what, source, target, flush)
  local handle = handle_of(self, what)
  local from, to = core.of(source, what), core.of(target, what)
  if not from or not to then errors.raise("argument", "%s: two buffers are needed, to read from and to write to", what) end
  local position, length = core.readable(from, what)
  local at = core.writable(to, what, 0)
  if self.overrun then return too_long(self, what) end
  local room, out = to.limit_ - at, to.data_ + at
  local is_over = room > 0 and self.left <= 0
  if is_over then
    room, out = 1, one_byte -- the bound is reached: is there anything behind it?
  elseif room > self.left then
    room = self.left
  end
  local result = C.mr_deflate_run(handle, from.data_ + position, length, out, room, flush, self.step)
  local consumed, produced = self.step.consumed, self.step.produced
  from.position_ = from.position_ + consumed
  if is_over and produced > 0 then return too_long(self, what) end
  to.position_ = to.position_ + produced
  self.left = self.left - produced
  if result < 0 then return errors.world(result, what) end
  self.ended = result == 1
  return self.ended, produced == room
end

-- Runs until the input is used up, into buffers of its own that double; returns them as one.
local function collect(self, what, source, flush)
  handle_of(self, what)
  local owned
  if type(source) == "string" then
    source = buffer.wrap(source)
    owned = source
  elseif not core.is(source) then
    errors.raise("argument", "%s: a string or a buffer is needed, not a %s", what, type(source))
  end
  local target = buffer.allocate(FIRST_BYTES)
  local ended, more, code
  while true do
    ended, more, code = step(self, what, source, target, flush)
    if ended ~= false or not more then break end
    if target:remaining() == 0 then
      if target.capacity == CAPACITY_MAX then
        ended, more, code = nil, what .. ": the output is longer than a buffer can be", "EMSGSIZE"
        break
      end
      local larger = buffer.allocate(math.min(target.capacity * 2, CAPACITY_MAX))
      larger:write(target:reset_for_read())
      target:release()
      target = larger
    end
  end
  if owned then owned:release() end
  if ended == nil then
    target:release()
    return nil, more, code
  end
  return target:reset_for_read()
end

---@class moonring.Inflater
---@field ended boolean whether the end of the compressed stream has come
local Inflater = { __name = "moonring.Inflater" }
Inflater.__index = Inflater

---@class moonring.Deflater
local Deflater = { __name = "moonring.Deflater" }
Deflater.__index = Deflater

--- A decompressor.
---@param options? moonring.InflateOptions
---@return moonring.Inflater
function M.inflater(options)
  return setmetatable(create("buffer.inflater", true, options), Inflater)
end

--- A compressor.
---@param options? moonring.DeflateOptions
---@return moonring.Deflater
function M.deflater(options)
  return setmetatable(create("buffer.deflater", false, options), Deflater)
end

--- Decompresses from one buffer to another until the input is used up or the target is full. What stands behind the end
--- of the stream is left in source.
---@param source moonring.Buffer
---@param target moonring.Buffer
---@return boolean? ended nil for input that is not of the format, or stands for more than max_bytes
---@return string? message
---@return string? code "EILSEQ", "EMSGSIZE"
function Inflater:run(source, target)
  local ended, message, code = step(self, "inflater:run", source, target, C.MR_DEFLATE_MORE)
  if ended == nil then return nil, message, code end
  return ended
end

--- Bounds what the stream gives from now on, for a stream that lasts longer than one message.
---@param max_bytes integer
function Inflater:allow(max_bytes)
  handle_of(self, "inflater:allow")
  check_max_bytes("inflater:allow", max_bytes)
  self.left, self.max_bytes = max_bytes, max_bytes
end

--- Makes the stream as new, max_bytes included: what follows is a stream of its own.
function Inflater:reset()
  C.mr_deflate_reset(handle_of(self, "inflater:reset"))
  self.ended, self.overrun, self.left = false, false, self.max_bytes
end

--- Decompresses all of a piece and returns the output as a buffer of the caller's.
---@param source string|moonring.Buffer
---@return moonring.Buffer? output
---@return string? message
---@return string? code "EILSEQ", or "EMSGSIZE" when the output would pass max_bytes
function Inflater:update(source)
  return collect(self, "inflater:update", source, C.MR_DEFLATE_MORE)
end

--- Compresses from one buffer to another until the input is used up or the target is full. With `finish` the input is
--- the last; call it again with room until it returns true.
---@param source moonring.Buffer
---@param target moonring.Buffer
---@param finish? boolean
---@return boolean? ended
---@return string? message
---@return string? code
function Deflater:run(source, target, finish)
  local flush = finish and C.MR_DEFLATE_FINISH or C.MR_DEFLATE_MORE
  local ended, message, code = step(self, "deflater:run", source, target, flush)
  if ended == nil then return nil, message, code end
  return ended
end

--- Compresses a piece and returns what there is of output as a buffer of the caller's. "sync" makes it hold all of the
--- input so far (its last bytes are then 00 00 ff ff), "full" makes also what follows readable without it, "finish" ends the
--- stream.
---@param source string|moonring.Buffer
---@param flush? "sync"|"full"|"finish"
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function Deflater:update(source, flush)
  local how = flush == nil and C.MR_DEFLATE_MORE or FLUSHES[flush]
  if not how then
    errors.raise("argument", 'deflater:update: the flush is "sync", "full" or "finish", not %s', tostring(flush))
  end
  return collect(self, "deflater:update", source, how)
end

--- Makes the stream as new: what follows is a stream of its own, and refers to nothing before.
function Deflater:reset()
  C.mr_deflate_reset(handle_of(self, "deflater:reset"))
  self.ended = false
end

--- Decompresses a whole stream.
---@param source string|moonring.Buffer
---@param options? moonring.InflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code "EILSEQ": not of the format, or cut; "EMSGSIZE": longer than max_bytes
function M.inflate(source, options)
  local stream = M.inflater(options)
  local output, message, code = stream:update(source)
  local ended = stream.ended
  stream:close()
  if output and not ended then
    output:release()
    return nil, "buffer.inflate: the input ends before the stream does", "EILSEQ"
  end
  return output, message, code
end

--- Compresses everything.
---@param source string|moonring.Buffer
---@param options? moonring.DeflateOptions
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function M.deflate(source, options)
  local stream = M.deflater(options)
  local output, message, code = stream:update(source, "finish")
  stream:close()
  return output, message, code
end

--- Frees the stream's memory; closing again does nothing.
function Inflater:close()
  if not self.handle then return end
  C.mr_deflate_destroy(ffi.gc(self.handle, nil))
  self.handle = false
end
Deflater.close = Inflater.close

return M
