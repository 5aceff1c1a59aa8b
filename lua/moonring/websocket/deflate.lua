-- moonring.websocket.deflate: permessage-deflate (RFC 7692): what is agreed on, and the streams that do it.
--
-- By default no side keeps a window from one message to the next, so a connection between two messages holds no stream
-- at all: they are taken from a pool that all connections share.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"

local M = {
  NAME = "permessage-deflate",
}

local WINDOW_BITS_MAX = 15
local WINDOW_BITS_MIN = 9 -- zlib makes no raw stream of 8
local TAIL = "\0\0\255\255" -- what a sync flush ends with, and no message carries (section 7.2.1)
local IDLE_MAX = 32

---@class moonring.websocket.DeflateOptions
---@field context_takeover? boolean the windows stay from one message to the next: better compression, and some 300 KiB
--- for each connection; default false
---@field window_bits? integer 9 to 15, of both sides' windows; default 15
---@field level? integer 1 to 9, default zlib's
---@field min_bytes? integer shorter messages are sent as they are; default 128

--- Internal.
---@class moonring.websocket.DeflateAgreement
---@field server_no_context_takeover boolean
---@field client_no_context_takeover boolean
---@field server_max_window_bits integer
---@field client_max_window_bits integer

local defaults = { context_takeover = false, window_bits = WINDOW_BITS_MAX, level = -1, min_bytes = 128 }

--- Checks options and adds the defaults. `true` stands for all defaults.
---@param options moonring.websocket.DeflateOptions|true
---@return moonring.websocket.DeflateOptions
function M.options(options)
  local out = {}
  if options == true then options = out end
  if type(options) ~= "table" then
    errors.raise("argument", "websocket: compress is true or a table of options, not a %s", type(options))
  end
  for name, value in pairs(options) do
    local default = defaults[name]
    if default == nil then errors.raise("argument", "websocket: compress has no option %s", tostring(name)) end
    if type(value) ~= type(default) then
      errors.raise("argument", "websocket: compress.%s is a %s, not a %s", name, type(default), type(value))
    end
  end
  for name, default in pairs(defaults) do
    out[name] = options[name] == nil and default or options[name]
  end
  if out.window_bits < WINDOW_BITS_MIN or out.window_bits > WINDOW_BITS_MAX or out.window_bits % 1 ~= 0 then
    errors.raise("argument", "websocket: compress.window_bits is from 9 to 15, not %s", tostring(out.window_bits))
  end
  return out
end

local flags = { server_no_context_takeover = true, client_no_context_takeover = true }
local windows = { server_max_window_bits = true, client_max_window_bits = true }

-- The parameters of one offer or answer as a table; nil for what section 7.1 forbids.
local function read_parameters(extension, is_offer)
  local out = {}
  for _, parameter in ipairs(extension) do
    local name, value = parameter[1], parameter[2]
    if out[name] ~= nil then return nil end
    if flags[name] then
      if value ~= true then return nil end
      out[name] = true
    elseif windows[name] then
      if value == true then
        if not is_offer or name ~= "client_max_window_bits" then return nil end
        out[name] = WINDOW_BITS_MAX
      else
        if not value:find "^[1-9]%d?$" then return nil end
        local bits = tonumber(value)
        if bits < 8 or bits > WINDOW_BITS_MAX then return nil end
        out[name] = bits
      end
    else
      return nil
    end
  end
  return out
end

local function agree(offer, options)
  local server_bits = math.min(offer.server_max_window_bits or WINDOW_BITS_MAX, options.window_bits)
  if server_bits < WINDOW_BITS_MIN then return nil end -- can't be done with zlib: the next offer
  local fresh = not options.context_takeover
  local agreement = {
    server_no_context_takeover = offer.server_no_context_takeover or fresh,
    client_no_context_takeover = offer.client_no_context_takeover or fresh,
    server_max_window_bits = server_bits,
    client_max_window_bits = WINDOW_BITS_MAX,
  }
  local answer = { name = M.NAME }
  for _, name in ipairs { "server_no_context_takeover", "client_no_context_takeover" } do
    if agreement[name] then answer[#answer + 1] = { name, true } end
  end
  if offer.server_max_window_bits or server_bits < WINDOW_BITS_MAX then
    answer[#answer + 1] = { "server_max_window_bits", server_bits }
  end
  -- Only a client that has offered it may be told (section 7.1.2.2).
  if offer.client_max_window_bits then
    agreement.client_max_window_bits = math.min(offer.client_max_window_bits, options.window_bits)
    if agreement.client_max_window_bits < WINDOW_BITS_MAX then
      answer[#answer + 1] = { "client_max_window_bits", agreement.client_max_window_bits }
    end
  end
  return agreement, answer
end

--- The server's choice among the extensions that a client offers.
---@param offers table[] of handshake.parse_extensions
---@param options moonring.websocket.DeflateOptions
---@return moonring.websocket.DeflateAgreement? agreement nil when none is acceptable
---@return table? answer for handshake.format_extension
function M.accept(offers, options)
  for _, extension in ipairs(offers) do
    local offer = extension.name == M.NAME and read_parameters(extension, true)
    if offer then
      local agreement, answer = agree(offer, options)
      if agreement then return agreement, answer end
    end
  end
end

--- What a client offers.
---@param options moonring.websocket.DeflateOptions
---@return table extension
function M.offer(options)
  local extension = { name = M.NAME }
  if not options.context_takeover then
    extension[1] = { "server_no_context_takeover", true }
    extension[2] = { "client_no_context_takeover", true }
  end
  if options.window_bits < WINDOW_BITS_MAX then
    extension[#extension + 1] = { "server_max_window_bits", options.window_bits }
  end
  extension[#extension + 1] = { "client_max_window_bits", true }
  return extension
end

--- What a server's answer to that offer means; nil when it is no possible answer, which ends the connection.
---@param extension table
---@param options moonring.websocket.DeflateOptions
---@return moonring.websocket.DeflateAgreement?
function M.read_answer(extension, options)
  local answer = extension.name == M.NAME and read_parameters(extension, false)
  if not answer then return nil end
  local bits = answer.server_max_window_bits or WINDOW_BITS_MAX
  if bits > options.window_bits then return nil end -- section 7.1.2.1: it was asked for less
  if not options.context_takeover and not answer.server_no_context_takeover then return nil end
  return {
    server_no_context_takeover = answer.server_no_context_takeover or false,
    client_no_context_takeover = answer.client_no_context_takeover or not options.context_takeover,
    server_max_window_bits = bits,
    client_max_window_bits = math.min(answer.client_max_window_bits or WINDOW_BITS_MAX, options.window_bits),
  }
end

-- Streams -------------------------------------------------------------------------------------------------------------

local idle_inflaters, idle_deflaters = {}, {}

local function take(idle, make, key)
  local list = idle[key]
  local stream = list and table.remove(list)
  return stream or make()
end

local function give(idle, stream, key)
  local list = idle[key]
  if not list then
    list = {}
    idle[key] = list
  end
  if #list >= IDLE_MAX then return stream:close() end
  stream:reset()
  list[#list + 1] = stream
end

--- Internal.
---@class moonring.websocket.Inflation
local Inflation = {}
Inflation.__index = Inflation

--- The receiving half of an agreement.
---@param window_bits integer of the peer's compressor
---@param is_fresh boolean each message begins with an empty window
---@return moonring.websocket.Inflation
function M.inflation(window_bits, is_fresh)
  return setmetatable({ bits = math.max(window_bits, WINDOW_BITS_MIN), fresh = is_fresh, stream = false }, Inflation)
end

--- Decompresses from one buffer to another. Result: true; nil, message, code.
function Inflation:run(source, target)
  local stream = self.stream
  if not stream then
    stream = take(idle_inflaters, function()
      return buffer.inflater { format = "raw", window_bits = self.bits, max_bytes = math.huge }
    end, self.bits)
    self.stream = stream
  end
  local ended, message, code = stream:run(source, target)
  if ended == nil then return nil, message, code end
  -- A block with BFINAL set ends the stream (section 7.2.3.5); what follows begins a new one.
  if ended then stream:reset() end
  return true
end

--- A buffer over what belongs behind each message's bytes. The caller's.
function Inflation.tail()
  return buffer.wrap(TAIL)
end

--- To be called between two messages.
function Inflation:end_message()
  if self.fresh then self:close() end
end

--- Gives its stream back for others.
function Inflation:close()
  if self.stream then give(idle_inflaters, self.stream, self.bits) end
  self.stream = false
end

--- Internal.
---@class moonring.websocket.Deflation
local Deflation = {}
Deflation.__index = Deflation

--- The sending half of an agreement. nil when zlib can't make so small a window: then nothing is compressed.
---@param window_bits integer
---@param is_fresh boolean
---@param options moonring.websocket.DeflateOptions
---@return moonring.websocket.Deflation?
function M.deflation(window_bits, is_fresh, options)
  if window_bits < WINDOW_BITS_MIN then return nil end
  return setmetatable({
    bits = window_bits,
    fresh = is_fresh,
    level = options.level,
    min_bytes = options.min_bytes,
    key = window_bits * 16 + options.level,
    stream = false,
  }, Deflation)
end

--- Compresses a whole message. Returns a buffer of the caller's.
---@param data string|moonring.Buffer
---@return moonring.Buffer
function Deflation:compress(data)
  local stream = self.stream or take(idle_deflaters, function()
    return buffer.deflater { format = "raw", window_bits = self.bits, level = self.level >= 0 and self.level or nil }
  end, self.key)
  self.stream = stream
  local out, message, code = stream:update(data, "sync")
  if not out then errors.raise(code, "websocket: %s", message) end
  out:set_limit(out.limit - #TAIL)
  if self.fresh then self:close() end
  return out
end

--- Makes the next message begin with an empty window: after one that another stream has compressed.
function Deflation:forget()
  if self.stream then self.stream:reset() end
end

--- Gives its stream back for others.
function Deflation:close()
  if self.stream then give(idle_deflaters, self.stream, self.key) end
  self.stream = false
end

return M
