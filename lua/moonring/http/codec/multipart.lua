--- Parts of multipart/form-data (RFC 7578, RFC 2046 section 5.1) as a machine over the content's pieces. Opens
--- nothing, waits for nothing; data is handed on where it lies.
--
-- A delimiter is CR LF "--" boundary. A boundary has no CR, so a delimiter that begins but doesn't go on holds no
-- other beginning: what was held back of it is data, and known without having been kept. Only the head of a part is
-- gathered.

local native = require "moonring.native"
local errors = require "moonring.errors"
local head_of = require "moonring.http.codec.head"
local limits_of = require "moonring.http.codec.limits"
local parameters = require "moonring.http.codec.parameters"

local C, ffi = native.C, native.ffi
local min = math.min

local M = {}

---@class moonring.http.MultipartLimits
---@field part_count integer parts of one body
---@field part_head_bytes integer fields of one part, the empty line included
---@field part_bytes number content of one part
M.limits = { part_count = 1000, part_head_bytes = 8192, part_bytes = math.huge }

-- Fields that one part may have.
local PART_FIELDS_MAX = 32

---@class moonring.http.Multipart
local Multipart = { __name = "moonring.http.Multipart" }
Multipart.__index = Multipart

--- Limits of the user's own over the defaults.
function M.merge_limits(what, given)
  local merged = {}
  for name, value in pairs(M.limits) do
    merged[name] = value
  end
  for name, value in pairs(given or {}) do
    if not merged[name] then
      errors.raise("argument", "%s: there is no limit %s; limits are part_count, part_head_bytes and part_bytes", what,
        tostring(name))
    end
    if type(value) ~= "number" or value ~= value or value < 1 then
      errors.raise("argument", "%s: limit %s is a number from 1 on, not %s", what, name, tostring(value))
    end
    merged[name] = value
  end
  return merged
end

--- Whether a text may be a boundary (RFC 2046 section 5.1.1, taken generously).
---@param text any
---@return boolean
function M.is_boundary(text)
  return type(text) == "string" and #text >= 1 and #text <= 70 and not text:find "[%c\128-\255]"
end

--- Makes a parser for one body.
---@param boundary string as Content-Type names it: 1 to 70 characters
---@param limits? moonring.http.MultipartLimits
---@return moonring.http.Multipart
function M.new(boundary, limits)
  if not M.is_boundary(boundary) then
    errors.raise("argument", "multipart: a boundary is 1 to 70 visible characters, not %q", tostring(boundary))
  end
  return setmetatable({
    delimiter = "\r\n--" .. boundary,
    limits = M.merge_limits("multipart", limits),
    state = "preamble", -- then "delimiter", "head", "data", and "done"
    matched = 2, -- bytes of the delimiter that have been seen: the body begins as if behind a line's end
    at_start = false, -- those two are not of the content that is being read
    line = "", -- what has come behind a delimiter, up to its line's end
    text = "", -- of the part's head
    index = head_of.new(true),
    count = 0,
    bytes = 0,
  }, Multipart)
end

local function refuse(self, status, message)
  self.state = "refused"
  return false, status, message
end

local function over(self, what, name)
  return refuse(self, 413, limits_of.exceeded(what, self.limits, name))
end

-- Goes on with a delimiter that has begun. Results: whether it is there, and whether it turned out to be none.
local function go_on_matching(self, buffer)
  local delimiter, matched = self.delimiter, self.matched
  local data, position, limit = buffer.data_, buffer.position_, buffer.limit_
  while position < limit and matched < #delimiter and data[position] == delimiter:byte(matched + 1) do
    position, matched = position + 1, matched + 1
  end
  buffer.position_, self.matched = position, matched
  return matched == #delimiter, position < limit
end

-- The run of data before the delimiter, or before what may be its beginning. Results: its length, and how many bytes
-- that and the delimiter are together; self.matched tells how much of the delimiter there is.
local function data_before(self, buffer)
  local delimiter = self.delimiter
  local position = buffer.position_
  local count = buffer.limit_ - position
  local found = C.mr_bytes_find(buffer.data_ + position, count, delimiter, #delimiter)
  if found >= 0 then
    self.matched = #delimiter
    return found, found + #delimiter
  end
  -- Only the last bytes may begin one, from the last CR on.
  local tail = min(count, #delimiter - 1)
  for length = tail, 1, -1 do
    local from = position + count - length
    if buffer.data_[from] == 13 and ffi.string(buffer.data_ + from, length) == delimiter:sub(1, length) then
      self.matched = length
      return count - length, count
    end
  end
  self.matched = 0
  return count, count
end

local function take_data(self, count)
  self.bytes = self.bytes + count
  return self.bytes <= self.limits.part_bytes
end

local function next_data(self, buffer)
  local is_data = self.state == "data"
  if buffer.position_ == buffer.limit_ and self.matched < #self.delimiter then return nil end
  if self.matched > 0 and self.matched < #self.delimiter then
    local complete, refuted = go_on_matching(self, buffer)
    if not complete and not refuted then return nil end
    if not complete then
      -- At the start, the line's end before the delimiter was none of this content's.
      local held = self.delimiter:sub(self.at_start and 3 or 1, self.matched)
      self.matched, self.at_start = 0, false
      if not is_data or held == "" then return next_data(self, buffer) end
      if not take_data(self, #held) then return over(self, "part too long", "part_bytes") end
      return "data", held
    end
  elseif self.matched == 0 then
    local position = buffer.position_
    local count, taken = data_before(self, buffer)
    buffer.position_ = position + taken
    if count > 0 and is_data then
      if not take_data(self, count) then return over(self, "part too long", "part_bytes") end
      return "data", count, position
    end
    if self.matched < #self.delimiter then return nil end
  end
  self.state, self.matched, self.line, self.at_start = "delimiter", 0, "", false
  if is_data then return "end" end
  return self:next(buffer)
end

-- Behind a delimiter: "--" ends the body; white space and CR LF begin a part.
local PADDING_MAX = 64

local function next_delimiter(self, buffer)
  while buffer.position_ < buffer.limit_ do
    local byte = buffer.data_[buffer.position_]
    buffer.position_ = buffer.position_ + 1
    self.line = self.line .. string.char(byte)
    local line = self.line
    if line == "--" then
      self.state = "done"
      return "done"
    elseif line:find "^[ \t]*\r\n$" then
      if self.count >= self.limits.part_count then return over(self, "too many parts", "part_count") end
      self.count, self.bytes = self.count + 1, 0
      self.state, self.text = "head", ""
      self.index:reset()
      return self:next(buffer)
    elseif not (line == "-" or line:find "^[ \t]*\r?$") or #line > PADDING_MAX then
      return refuse(self, 400, "malformed multipart delimiter")
    end
  end
  return nil
end

-- As the WHATWG has browsers write names: %22, %0D and %0A stand for what would end them.
local function unescape(name)
  return name and (name:gsub("%%22", '"'):gsub("%%0[dD]", "\r"):gsub("%%0[aA]", "\n"))
end

local function read_part_head(self)
  local index, fields = self.index.index, {}
  index.fields_max, index.line_max = PART_FIELDS_MAX, 0
  local result = C.mr_scan_fields(self.text, #self.text, index)
  if result == 0 then return nil end
  if result < 0 then return false end
  for name, value in self.index:fields() do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  local part = { fields = fields, content_type = self.index:field "content-type" }
  local disposition, rest = (self.index:field "content-disposition" or ""):match "^([^;%s]*)(.*)$"
  disposition = disposition:lower()
  if disposition == "form-data" or disposition == "attachment" then
    local values = parameters.parse(rest)
    part.name = unescape(values.name)
    -- RFC 7578 section 4.2 has nobody send filename*; some do, alone.
    part.filename = unescape(values.filename) or parameters.extended(values["filename*"])
  end
  self.index:reset()
  return result, part
end

-- The head ends with an empty line; what is behind it in the buffer is data.
local function next_head(self, buffer)
  local position = buffer.position_
  local available = buffer.limit_ - position
  if available == 0 then return nil end
  local before = #self.text
  local taken = min(available, self.limits.part_head_bytes - before)
  self.text = self.text .. ffi.string(buffer.data_ + position, taken)
  local length, part = read_part_head(self)
  if length == false then return refuse(self, 400, "malformed head of a part") end
  if length == nil then
    if #self.text >= self.limits.part_head_bytes then
      return over(self, "head of a part too long", "part_head_bytes")
    end
    buffer.position_ = position + taken
    return nil
  end
  buffer.position_ = position + length - before
  -- A part without content ends right behind its head: the empty line's end is the delimiter's.
  self.state, self.matched, self.at_start = "data", 2, true
  return "part", part
end

--- What comes next in the buffer, whose position moves behind it:
---   "part", { name, filename, content_type, fields }   a part begins
---   "data", count, offset                              that many bytes of its content lie there in the buffer
---   "data", text                                       or these, which had to be waited for
---   "end"                                              the part is complete
---   "done"                                             the last one was; what follows is to be ignored
---   nil                                                more bytes are needed; the buffer is used up
---   false, status, message                             it is malformed, or over a limit
---@param buffer ffi.cdata* mr_buffer with the content in [position, limit)
function Multipart:next(buffer)
  local state = self.state
  if state == "data" or state == "preamble" then return next_data(self, buffer) end
  if state == "delimiter" then return next_delimiter(self, buffer) end
  if state == "head" then return next_head(self, buffer) end
  if state == "done" then
    buffer.position_ = buffer.limit_
    return "done"
  end
  return false, 400, "malformed multipart body"
end

--- Whether the closing delimiter has been seen.
---@return boolean
function Multipart:is_done()
  return self.state == "done"
end

return M
