-- moonring.buffer.zlib: deflate in the formats zlib (RFC 1950), gzip (RFC 1952) and raw (RFC 1951), as streams and at
-- once.
--
-- Output is bounded: a stream's run stops when the target is full, and what makes its own buffers takes max_bytes,
-- because a kilobyte of input can stand for a megabyte of zeros.

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
local FIRST_BYTES = 4096

---@class moonring.InflateOptions
---@field format? "zlib"|"gzip"|"raw" default "zlib"
---@field max_bytes? integer of output in all; default 16 MiB

---@class moonring.DeflateOptions
---@field format? "zlib"|"gzip"|"raw" default "zlib"
---@field level? integer 0 (none) to 9 (best)

local function create(what, inflate, options)
  options = core.options(what, options)
  local format = FORMATS[options.format or "zlib"]
  if not format then
    errors.raise("argument", '%s: the format is "zlib", "gzip" or "raw", not %s', what, tostring(options.format))
  end
  local level = options.level or -1
  if type(level) ~= "number" or level < -1 or level > 9 or level % 1 ~= 0 then
    errors.raise("argument", "%s: the level is from 0 to 9, not %s", what, tostring(level))
  end
  local max_bytes = options.max_bytes or M.MAX_BYTES
  if type(max_bytes) ~= "number" or max_bytes ~= max_bytes or max_bytes < 0 then
    errors.raise("argument", "%s: max_bytes is a number from 0 on, not %s", what, tostring(max_bytes))
  end
  local handle = C.mr_deflate_create(inflate and 1 or 0, format, level)
  if handle == nil then errors.raise("ENOMEM", "%s: no memory for a stream", what) end
  return {
    handle = ffi.gc(handle, C.mr_deflate_destroy),
    step = ffi.new("mr_deflate_step"),
    left = inflate and max_bytes or math.huge,
    max_bytes = max_bytes,
    ended = false,
  }
end

local function handle_of(self, what)
  if not self.handle then errors.raise("closed", "%s: the stream has been closed", what) end
  return self.handle
end

-- One step from source's remaining bytes to target's room. Moves both positions by what was taken and given.
local function step(self, what, source, target, flush)
  local handle = handle_of(self, what)
  local from, to = core.of(source, what), core.of(target, what)
  if not from or not to then errors.raise("argument", "%s: two buffers are needed, to read from and to write to", what) end
  local position, length = core.readable(from, what)
  local at = core.writable(to, what, 0)
  local room = math.min(to.limit_ - at, self.left)
  local result = C.mr_deflate_run(handle, from.data_ + position, length, to.data_ + at, room, flush, self.step)
  local consumed, produced = self.step.consumed, self.step.produced
  from.position_ = from.position_ + consumed
  to.position_ = to.position_ + produced
  self.left = self.left - produced
  if result < 0 then return errors.world(result, what) end
  self.ended = result == 1
  return self.ended, produced, consumed
end

-- Runs until the input is used up, into buffers of its own that double; returns them as one.
local function collect(self, what, source, flush)
  local owned
  if type(source) == "string" then
    source = buffer.wrap(source)
    owned = source
  elseif not core.is(source) then
    errors.raise("argument", "%s: a string or a buffer is needed, not a %s", what, type(source))
  end
  local target = buffer.allocate(FIRST_BYTES)
  local failed, message, code
  while true do
    local ended, produced, consumed = step(self, what, source, target, flush)
    if ended == nil then
      failed, message, code = true, produced, consumed
      break
    end
    if ended or target:remaining() > 0 and self.left > 0 then break end
    if self.left <= 0 then
      -- The bound is reached: is there anything behind it?
      local rest = buffer.allocate(1)
      self.left = 1
      ended, produced, consumed = step(self, what, source, rest, flush)
      rest:release()
      self.left = 0
      if ended == nil then
        failed, message, code = true, produced, consumed
      elseif produced > 0 then
        failed, code = true, "EMSGSIZE"
        message = ("%s: the output is longer than %.0f bytes"):format(what, self.max_bytes)
      end
      break
    end
    local larger = buffer.allocate(math.min(target.capacity * 2, 2147483647))
    larger:write(target:reset_for_read())
    target:release()
    target = larger
  end
  if owned then owned:release() end
  if failed then
    target:release()
    return nil, message, code
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

--- Decompresses from one buffer to another until the input is used up, the target full or max_bytes reached.
---@param source moonring.Buffer
---@param target moonring.Buffer
---@return boolean? ended nil for input that is not of the format
---@return string? message
---@return string? code "EILSEQ"
function Inflater:run(source, target)
  local ended, message, code = step(self, "inflater:run", source, target, C.MR_DEFLATE_MORE)
  if ended == nil then return nil, message, code end
  return ended
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
--- input so far, "finish" ends the stream.
---@param source string|moonring.Buffer
---@param flush? "sync"|"finish"
---@return moonring.Buffer? output
---@return string? message
---@return string? code
function Deflater:update(source, flush)
  return collect(self, "deflater:update", source,
    flush == "finish" and C.MR_DEFLATE_FINISH or flush == "sync" and C.MR_DEFLATE_SYNC or C.MR_DEFLATE_MORE)
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
