-- moonring.repl.keys: from a terminal's bytes to keys. Opens nothing and never waits.
--
-- Bytes may come in any pieces: a sequence that is cut is finished by the next piece. ESC alone waits for the key it
-- belongs to, as in other Emacs-like editors, so no clock decides what was meant. What isn't UTF-8 becomes U+FFFD.
--
-- An event is a table: { kind = "text", text = <one character> }, { kind = "key", key = <name> } with names like "C-a",
-- "M-f", "Enter", "Up", "C-Left", or { kind = "paste", text = <all of it, lines ended by \n> }.

local M = {}

-- A paste that doesn't end (its end was lost) must not swallow all keys for ever.
M.PASTE_BYTES_MAX = 1048576

M.REPLACEMENT = "\239\191\189"

local controls = {
  [0] = "C-Space", [8] = "Backspace", [9] = "Tab", [10] = "Enter", [13] = "Enter", [27] = "Escape", [28] = "C-\\",
  [29] = "C-]", [30] = "C-^", [31] = "C-_", [127] = "Backspace",
}
for i = 1, 26 do
  controls[i] = controls[i] or "C-" .. string.char(96 + i)
end

local letters = { -- the final byte of CSI and SS3 sequences
  A = "Up", B = "Down", C = "Right", D = "Left", E = "Begin", F = "End", H = "Home", Z = "S-Tab", M = "Enter",
  P = "F1", Q = "F2", R = "F3", S = "F4",
}
local numbers = { -- the first parameter of CSI ... ~
  [1] = "Home", [2] = "Insert", [3] = "Delete", [4] = "End", [5] = "PageUp", [6] = "PageDown", [7] = "Home", [8] = "End",
}

-- xterm's modifier parameter is 1 + shift 1 + alt 2 + control 4.
local function with_modifiers(name, parameter)
  local bits = (tonumber(parameter) or 1) - 1
  if bits < 1 or bits > 7 or bits % 1 ~= 0 then return name end
  return (bits >= 4 and "C-" or "") .. (bits % 4 >= 2 and "M-" or "") .. (bits % 2 == 1 and "S-" or "") .. name
end

--- Internal.
---@class moonring.repl.Decoder
local Decoder = {}
Decoder.__index = Decoder

--- Makes a decoder.
---@return moonring.repl.Decoder
function M.decoder()
  return setmetatable({ state = "ground", sequence = "", character = "", missing = 0, pasted = false }, Decoder)
end

local function emit(self, kind, value)
  local events = self.events
  events[#events + 1] = kind == "key" and { kind = kind, key = value } or { kind = kind, text = value }
end

local function emit_paste(self)
  local text = table.concat(self.pasted):gsub("\r\n?", "\n")
  self.pasted = false
  emit(self, "paste", M.sanitize(text))
end

-- The smallest character that a sequence of this many bytes may stand for (RFC 3629, section 3: no overlong forms).
local smallest = { [2] = 0x80, [3] = 0x800, [4] = 0x10000 }

local function decode(character)
  local length = #character
  local code = character:byte(1) % (length == 1 and 128 or 2 ^ (7 - length))
  for i = 2, length do
    code = code * 64 + character:byte(i) % 64
  end
  return code
end
M.decode = decode

-- Bytes of the character that begins with this byte; nil when none does.
local function length_of(byte)
  if byte < 0x80 then return 1 end
  if byte >= 0xc2 and byte < 0xe0 then return 2 end
  if byte >= 0xe0 and byte < 0xf0 then return 3 end
  if byte >= 0xf0 and byte < 0xf5 then return 4 end
end

local function is_scalar(character)
  local code, length = decode(character), #character
  return code >= (smallest[length] or 0) and code <= 0x10ffff and not (code >= 0xd800 and code < 0xe000)
end

--- Iterates over the characters of a text: position and character. What isn't UTF-8 comes as U+FFFD, a byte each.
---@param text string
function M.characters(text)
  local position = 1
  return function()
    local at = position
    if at > #text then return nil end
    local length = length_of(text:byte(at))
    local character = length and text:sub(at, at + length - 1)
    if length and character:find("^.[\128-\191]*$") and #character == length and is_scalar(character) then
      position = at + length
      return at, character
    end
    position = at + 1
    return at, M.REPLACEMENT
  end
end

--- A text as the editor may hold it: valid UTF-8, tabs as spaces, no control characters but line ends.
---@param text string
---@return string
function M.sanitize(text)
  local parts = {}
  for _, character in M.characters(text) do
    if character == "\t" then character = "  " end
    if character == "\n" or character:byte() >= 32 and character ~= "\127" then parts[#parts + 1] = character end
  end
  return table.concat(parts)
end

local handlers = {}

-- A key that was preceded by ESC.
local function meta(self, name)
  self.state = "ground"
  emit(self, "key", "M-" .. name)
end

function handlers.ground(self, byte)
  if byte == 27 then
    self.state = "escape"
  elseif controls[byte] then
    emit(self, "key", controls[byte])
  elseif byte < 128 then
    emit(self, "text", string.char(byte))
  else
    local length = length_of(byte)
    if not length then return emit(self, "text", M.REPLACEMENT) end
    self.state, self.character, self.missing = "character", string.char(byte), length - 1
  end
end

function handlers.character(self, byte)
  if byte < 128 or byte >= 192 then -- it was cut: this byte begins something new
    self.state = "ground"
    emit(self, "text", M.REPLACEMENT)
    return handlers.ground(self, byte)
  end
  self.character = self.character .. string.char(byte)
  self.missing = self.missing - 1
  if self.missing > 0 then return end
  self.state = "ground"
  emit(self, "text", is_scalar(self.character) and self.character or M.REPLACEMENT)
end

function handlers.escape(self, byte)
  if byte == 91 then
    self.state, self.sequence = "csi", ""
  elseif byte == 79 then
    self.state = "ss3"
  elseif byte == 27 then
    emit(self, "key", "Escape") -- ESC ESC: the first stands alone
  elseif controls[byte] then
    meta(self, controls[byte])
  elseif byte < 128 then
    meta(self, string.char(byte))
  else
    self.state = "ground"
    emit(self, "key", "Escape")
    handlers.ground(self, byte)
  end
end

function handlers.ss3(self, byte)
  self.state = "ground"
  local name = letters[string.char(byte)]
  if name then emit(self, "key", name) else meta(self, "O") handlers.ground(self, byte) end
end

-- ECMA-48: parameters 0x30-0x3f, intermediates 0x20-0x2f, one final byte 0x40-0x7e.
function handlers.csi(self, byte)
  if byte >= 0x20 and byte < 0x40 and #self.sequence < 32 then
    self.sequence = self.sequence .. string.char(byte)
    return
  end
  self.state = "ground"
  if byte < 0x40 or byte > 0x7e then return handlers.ground(self, byte) end -- broken off
  local final, parameters = string.char(byte), self.sequence
  local first, second = parameters:match("^(%d*);?(%d*)$")
  if final == "~" and first == "200" then
    self.state, self.pasted, self.sequence = "paste", {}, ""
    self.paste_bytes = 0
  elseif final == "~" and numbers[tonumber(first)] then
    emit(self, "key", with_modifiers(numbers[tonumber(first)], second))
  elseif final ~= "~" and letters[final] and (first == "" or first == "1") then
    emit(self, "key", with_modifiers(letters[final], second))
  end -- others are nothing that this editor knows
end

local PASTE_END = "\27[201~"

-- `sequence` is how much of the end's mark has come.
function handlers.paste(self, byte)
  local wanted = #self.sequence + 1
  if PASTE_END:byte(wanted) == byte then
    self.sequence = PASTE_END:sub(1, wanted)
    if wanted < #PASTE_END then return end
    self.state = "ground"
    return emit_paste(self)
  end
  local pasted = self.pasted
  if self.sequence ~= "" then
    pasted[#pasted + 1] = self.sequence
    self.paste_bytes = self.paste_bytes + #self.sequence
    self.sequence = ""
    if byte == 27 then return handlers.paste(self, byte) end
  end
  pasted[#pasted + 1] = string.char(byte)
  self.paste_bytes = self.paste_bytes + 1
  if self.paste_bytes >= M.PASTE_BYTES_MAX then
    self.state = "ground"
    emit_paste(self)
  end
end

--- Takes the next bytes. Returns the events that they complete, in order.
---@param bytes string
---@return table[]
function Decoder:feed(bytes)
  local events = {}
  self.events = events
  for i = 1, #bytes do
    handlers[self.state](self, bytes:byte(i))
  end
  return events
end

return M
