-- moonring.dns.names: domain names, on the wire and in presentation form. Internal; the codec's.
--
-- Limits of RFC 1035 section 2.3.4: 63 bytes for a label, 255 for a name with its length bytes.

local errors = require "moonring.errors"

local band, lshift = bit.band, bit.lshift

local M = {}

local LABEL_MAX, NAME_MAX = 63, 255
local POINTER_MAX = 16383
local JUMPS_MAX = 127 -- pointers in one name: it has no more labels that could follow them

-- A byte of a label as presentation form has it.
local shown = {}
for byte = 0, 255 do
  local char = string.char(byte)
  if char == "." or char == "\\" then
    shown[char] = "\\" .. char
  elseif byte <= 32 or byte >= 127 then
    shown[char] = ("\\%03d"):format(byte)
  end
end

local function show(label)
  return (label:gsub("[^%w_%-]", shown))
end

--- Reads the name at the reader's place, which moves behind it. Returns it, or nil and what is wrong.
function M.read(reader)
  local at, limit = reader.at, reader.limit
  local labels, count, length = {}, 0, 1
  local start = at -- of the part that is being read: pointers lead to before it
  local jumps = 0
  local behind -- where the reader goes on, once a pointer has been followed
  while true do
    if at >= limit then return nil, "it ends in a name" end
    local size = reader:u8(at)
    if size == 0 then break end
    local kind = band(size, 0xc0)
    if kind == 0xc0 then
      if at + 1 >= limit then return nil, "it ends in a compression pointer" end
      local to = lshift(band(size, 0x3f), 8) + reader:u8(at + 1)
      if to >= start then return nil, "a compression pointer doesn't point back" end
      jumps = jumps + 1
      if jumps > JUMPS_MAX then return nil, "a name has more pointers than it can have labels" end
      behind = behind or at + 2
      at, start = to, to
    elseif kind ~= 0 then
      return nil, "a label has an unknown type"
    else
      if limit - at - 1 < size then return nil, "it ends in a label" end
      length = length + 1 + size
      if length > NAME_MAX then return nil, "a name is longer than 255 bytes" end
      count = count + 1
      labels[count] = show(reader:bytes(at + 1, size))
      at = at + 1 + size
    end
  end
  reader.at = behind or at + 1
  if count == 0 then return "." end
  return table.concat(labels, ".")
end

--- The labels of a name in presentation form, as bytes. Returns nil and what is wrong for what is no name.
function M.labels(name)
  local labels = {}
  if name == "." or name == "" then return labels end
  local label, length, at = {}, 1, 1
  local function finish()
    local text = table.concat(label)
    if #text == 0 then return "an empty label" end
    if #text > LABEL_MAX then return ("a label of more than %d bytes"):format(LABEL_MAX) end
    length = length + 1 + #text
    if length > NAME_MAX then return ("more than %d bytes"):format(NAME_MAX) end
    labels[#labels + 1] = text
    label = {}
  end
  while at <= #name do
    local char = name:sub(at, at)
    if char == "." then
      local problem = finish()
      if problem then return nil, problem end
    elseif char == "\\" then
      local digits = name:match("^%d%d%d", at + 1)
      if digits and tonumber(digits) > 255 then return nil, "an escape above 255" end
      if not digits and at == #name then return nil, "a backslash at its end" end
      label[#label + 1] = digits and string.char(tonumber(digits)) or name:sub(at + 1, at + 1)
      at = at + (digits and 3 or 1)
    else
      label[#label + 1] = char
    end
    at = at + 1
  end
  if name:sub(-1) ~= "." or name:sub(-2) == "\\." then
    local problem = finish()
    if problem then return nil, problem end
  end
  return labels
end

--- Writes a name. may_point: parts that are in the message already are pointed at, as RFC 3597 section 4 allows for some
--- types.
function M.write(writer, name, may_point)
  local target = writer.target
  local labels, problem = nil, "no string"
  if type(name) == "string" then labels, problem = M.labels(name) end
  if not labels then errors.raise("argument", "dns.codec: %s is no name: it has %s", tostring(name), problem) end
  local suffixes = writer.suffixes
  for i = 1, #labels do
    local suffix = M.key(labels, i)
    local known = suffixes[suffix]
    if known and may_point then
      target:write_u16(0xc000 + known)
      return
    end
    local at = target.position - writer.start
    if not known and at <= POINTER_MAX then suffixes[suffix] = at end
    target:write_u8(#labels[i]):write(labels[i])
  end
  target:write_u8(0)
end

--- What the labels from `first` on are compared by: names differ in case without being different.
function M.key(labels, first)
  local parts = {}
  for i = first or 1, #labels do
    parts[#parts + 1] = show(labels[i]:lower())
  end
  return table.concat(parts, ".")
end

--- A name as it is compared and looked up: lower case, no dot at its end. Returns nil and what is wrong.
---@param name string
---@return string? key
---@return string? problem
function M.normal(name)
  local labels, problem = M.labels(name)
  if not labels then return nil, problem end
  if #labels == 0 then return "." end
  return M.key(labels)
end

return M
