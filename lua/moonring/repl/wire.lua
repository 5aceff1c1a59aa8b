-- moonring.repl.wire: what a REPL's terminal and a service say to each other over a socket. Opens nothing.
--
-- A frame is "KIND LENGTH\n" and that many bytes. From the terminal: hello (columns and colour), run (a block),
-- complete (the text before the cursor), cancel, columns. From the service: hello (who it is), output, done ("1" or
-- "0"), candidates (start, then a name on each line). Both ends are the same program and user, so there is one
-- version; a frame that is none ends the connection.

local M = {
  LENGTH_MAX = 16777216,
}

local HEADER_MAX = 40

--- A frame's bytes.
---@param kind string
---@param text? string
---@return string
function M.frame(kind, text)
  text = text or ""
  return ("%s %d\n%s"):format(kind, #text, text)
end

--- Internal.
---@class moonring.repl.Frames
local Frames = {}
Frames.__index = Frames

--- Makes a decoder.
---@return moonring.repl.Frames
function M.decoder()
  return setmetatable({ parts = {}, size = 0, need = 1 }, Frames)
end

--- Takes the next bytes. Returns the frames that they complete, { kind =, text = } each; nil and what is wrong for
--- bytes that are no frames.
---@param bytes string
---@return table[]? frames
---@return string? message
function Frames:feed(bytes)
  local parts = self.parts
  parts[#parts + 1] = bytes
  self.size = self.size + #bytes
  local frames = {}
  if self.size < self.need then return frames end
  local text, at = table.concat(parts), 1
  while true do
    local kind, length, from = text:match("^(%a+) (%d+)\n()", at)
    if not kind then
      if #text - at + 1 > HEADER_MAX or text:find("\n", at, true) then return nil, "what came is no frame of a REPL" end
      self.need = #text - at + 2
      break
    end
    length = tonumber(length)
    if length > M.LENGTH_MAX then
      return nil, ("a frame of %.0f bytes is longer than the %d that are allowed"):format(length, M.LENGTH_MAX)
    end
    if #text < from + length - 1 then
      self.need = from + length - at
      break
    end
    frames[#frames + 1] = { kind = kind, text = text:sub(from, from + length - 1) }
    at = from + length
  end
  self.parts = { text:sub(at) }
  self.size = #text - at + 1
  return frames
end

return M
