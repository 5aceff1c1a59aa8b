-- Frames as bytes, made here by hand so that what reads them is not tested with what writes them.

local buffer = require "moonring.buffer"

local M = {}

local function length_bytes(length, form)
  form = form or length < 126 and 1 or length < 65536 and 2 or 8
  if form == 1 then return length, "" end
  if form == 2 then return 126, string.char(math.floor(length / 256), length % 256) end
  local text = ""
  for _ = 1, 8 do
    text = string.char(length % 256) .. text
    length = math.floor(length / 256)
  end
  return 127, text
end

local function mask(text, key)
  local out = {}
  for i = 1, #text do
    out[i] = string.char(bit.bxor(text:byte(i), key:byte((i - 1) % 4 + 1)))
  end
  return table.concat(out)
end

--- A frame. Fields: opcode, payload, fin (default true), rsv (bits 0x40, 0x20, 0x10), key (four bytes: masked), form
--- (bytes of the length: 1, 2 or 8), length (when it is not the payload's).
function M.frame(fields)
  local payload = fields.payload or ""
  local small, rest = length_bytes(fields.length or #payload, fields.form)
  local first = fields.opcode + (fields.fin == false and 0 or 128) + (fields.rsv or 0)
  if not fields.key then return string.char(first, small) .. rest .. payload end
  return string.char(first, small + 128) .. rest .. fields.key .. mask(payload, fields.key)
end

--- A writable buffer over a copy of the text.
function M.input(text)
  return buffer.allocate(math.max(#text, 1)):write(text):reset_for_read()
end

--- Feeds pieces to a reader of messages and closes it. take(what, detail, value) gets what it makes of them; a refusal is
--- put behind `out` and ends it. Returns out.
function M.feed(reader, pieces, out, take)
  for _, piece in ipairs(pieces) do
    local input = M.input(piece)
    local what, detail, value = reader:next(input)
    while what do
      take(what, detail, value)
      what, detail, value = reader:next(input)
    end
    input:release()
    if what == false then
      out[#out + 1] = ("refused %d: %s"):format(detail, value)
      break
    end
  end
  reader:close()
  return out
end

--- Calls fn(pieces) with the text in one piece, cut once at every place, and byte by byte.
function M.every_split(text, fn)
  fn { text }
  for at = 1, #text - 1 do
    fn { text:sub(1, at), text:sub(at + 1) }
  end
  local bytes = {}
  for at = 1, #text do
    bytes[at] = text:sub(at, at)
  end
  fn(bytes)
end

return M
