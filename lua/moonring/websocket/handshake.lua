-- moonring.websocket.handshake: what the two sides say before the first frame (RFC 6455 section 4), as functions over
-- header values. Opens no socket.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local digest = require "moonring.digest"
local base64 = require "moonring.http.codec.base64"

local M = {
  VERSION = "13",
}

local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" -- section 1.3
local KEY_BYTES = 16

--- A client's Sec-WebSocket-Key.
---@return string
function M.new_key()
  return base64(digest.random(KEY_BYTES))
end

--- The Sec-WebSocket-Accept for a key.
---@param key string
---@return string
function M.accept_of(key)
  return base64(digest.digest("SHA1", key .. GUID))
end

-- Whether a comma-separated list has the token, in any case.
local function has_token(value, token)
  for each in value:gmatch "[^,]+" do
    if each:match "^%s*(.-)%s*$":lower() == token then return true end
  end
  return false
end

local function is_key(value)
  local room = buffer.allocate(24)
  local ok = #value == 24 and room:write_base64(value) and room.position == KEY_BYTES
  room:release()
  return ok
end

-- Extensions (section 9.1) --------------------------------------------------------------------------------------------

local TOKEN = "^%s*([%w!#$%%&'*+.^_`|~-]+)%s*()"

local function parse_parameter(value, at)
  local name, behind = value:match(TOKEN, at)
  if not name then return nil end
  if value:sub(behind, behind) ~= "=" then return { name, true }, behind end
  local token, next_at = value:match(TOKEN, behind + 1)
  if not token then
    token, next_at = value:match('^%s*"([%w!#$%%&\'*+.^_`|~-]+)"%s*()', behind + 1)
  end
  if not token then return nil end
  return { name, token }, next_at
end

--- Reads a Sec-WebSocket-Extensions value: a list of { name = ..., { parameter, value or true }, ... }; nil when it is
--- malformed.
---@param value string
---@return table[]?
function M.parse_extensions(value)
  local out, at = {}, 1
  while true do
    local name, behind = value:match(TOKEN, at)
    if not name then return nil end
    local extension = { name = name }
    while value:sub(behind, behind) == ";" do
      local parameter
      parameter, behind = parse_parameter(value, behind + 1)
      if not parameter then return nil end
      extension[#extension + 1] = parameter
    end
    out[#out + 1] = extension
    if behind > #value then return out end
    if value:sub(behind, behind) ~= "," then return nil end
    at = behind + 1
  end
end

--- The opposite for one extension.
---@param extension table
---@return string
function M.format_extension(extension)
  local parts = { extension.name }
  for _, parameter in ipairs(extension) do
    parts[#parts + 1] = parameter[2] == true and parameter[1] or parameter[1] .. "=" .. tostring(parameter[2])
  end
  return table.concat(parts, "; ")
end

-- The server's side ---------------------------------------------------------------------------------------------------

--- Checks a request to open a WebSocket. `field(name)` gives all values of a field joined by commas, or nil.
---@param method string
---@param field fun(name: string): string?
---@return string? key
---@return integer? status what to answer instead: 400, 405 or 426
---@return string? message
function M.check_request(method, field)
  if method ~= "GET" then return nil, 405, "a WebSocket is opened by GET" end
  local upgrade, connection = field "upgrade", field "connection"
  if not upgrade or not has_token(upgrade, "websocket") then return nil, 426, "Upgrade: websocket is needed" end
  if not connection or not has_token(connection, "upgrade") then return nil, 400, "Connection: Upgrade is needed" end
  if field "sec-websocket-version" ~= M.VERSION then return nil, 426, "only version 13 is spoken here" end
  local key = field "sec-websocket-key"
  if not key or not is_key(key) then return nil, 400, "Sec-WebSocket-Key is missing or malformed" end
  return key
end

--- The first of the server's protocols that the client offers.
---@param offered? string the Sec-WebSocket-Protocol of the request
---@param protocols? string[] what the server speaks, the best first
---@return string?
function M.choose_protocol(offered, protocols)
  if not offered or not protocols then return nil end
  local seen = {}
  for each in offered:gmatch "[^,]+" do
    seen[each:match "^%s*(.-)%s*$"] = true
  end
  for _, protocol in ipairs(protocols) do
    if seen[protocol] then return protocol end
  end
end

-- The client's side ---------------------------------------------------------------------------------------------------

--- Checks the server's answer (section 4.1). Result: true and the chosen protocol, or nil, message, code.
---@param status integer
---@param field fun(name: string): string?
---@param key string what new_key gave
---@param protocols? string[] what was offered
---@return true? ok
---@return string? detail the protocol, or the message
---@return string? code "EPROTO"
function M.check_response(status, field, key, protocols)
  local function refuse(text, ...)
    return nil, ("websocket: " .. text):format(...), "EPROTO"
  end
  if status ~= 101 then return refuse("the server answers with status %d instead of 101", status) end
  local upgrade, connection = field "upgrade", field "connection"
  if not upgrade or upgrade:lower() ~= "websocket" then return refuse "the answer lacks Upgrade: websocket" end
  if not connection or not has_token(connection, "upgrade") then return refuse "the answer lacks Connection: Upgrade" end
  if field "sec-websocket-accept" ~= M.accept_of(key) then return refuse "Sec-WebSocket-Accept is wrong" end
  local chosen = field "sec-websocket-protocol"
  if not chosen then return true end
  for _, protocol in ipairs(protocols or {}) do
    if protocol == chosen then return true, chosen end
  end
  return refuse("the server has chosen the protocol %q, which was not offered", chosen)
end

--- Checks a list of protocol names, which are tokens and differ.
---@param protocols string[]
function M.check_protocols(protocols)
  local seen = {}
  for _, protocol in ipairs(protocols) do
    if type(protocol) ~= "string" or protocol:match(TOKEN .. "$") ~= protocol or seen[protocol] then
      errors.raise("argument", "websocket: protocols are different tokens; %s is not", tostring(protocol))
    end
    seen[protocol] = true
  end
end

return M
