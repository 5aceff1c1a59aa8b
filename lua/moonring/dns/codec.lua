-- moonring.dns.codec: DNS messages, read and written. Opens no socket and never waits.
--
-- A message is a table: the header's fields, and lists of questions and of records. Names are in presentation form
-- (RFC 1035 section 5.1) without the dot at the end, the root is "."; a dot or backslash inside a label is written with
-- a backslash, any other unusual byte as \DDD. Case is kept as it came.
--
-- What comes from the network is never trusted: every length is checked against the message before it is used, and a
-- compression pointer must point to before the name that it is in, so following them ends. Bytes behind the last record
-- are not looked at. What can't be read is returned as nil, message, "FORMERR".

local errors = require "moonring.errors"
local native = require "moonring.native"
local buffer = require "moonring.buffer"
local rdata = require "moonring.dns.rdata"
local names = require "moonring.dns.names"

local ffi = native.ffi
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift

local M = {
  HEADER_BYTES = 12, -- of every message
  MESSAGE_MAX = 65535, -- bytes of a message, over TCP
  UDP_BYTES = 512, -- what anybody takes over UDP (RFC 1035 section 4.2.1); EDNS tells of more
}

local TYPES, TYPE_NAMES = rdata.TYPES, rdata.TYPE_NAMES

--- Numbers of the types of records by name.
---@type table<string, integer>
M.TYPES = TYPES

local RCODES = { [0] = "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
  "NOTAUTH", "NOTZONE", [16] = "BADVERS" }
local RCODE_NUMBERS = {}
for number, name in pairs(RCODES) do
  RCODE_NUMBERS[name] = number
end

--- Names of the response codes by number.
---@type table<integer, string>
M.RCODES = RCODES

local OPT, CLASS_IN = TYPES.OPT, 1

local header = buffer.struct { { "id", "u16" }, { "flags", "u16" }, { "questions", "u16" }, { "answers", "u16" },
  { "authorities", "u16" }, { "additionals", "u16" } }

-- Bits of the header's flags: QR AA TC RD RA AD CD (RFC 1035 section 4.1.1, RFC 4035 section 3).
local FLAGS = { is_response = 0x8000, is_authoritative = 0x0400, is_truncated = 0x0200, recursion_desired = 0x0100,
  recursion_available = 0x0080, is_authentic = 0x0020, checking_disabled = 0x0010 }

---@class moonring.dns.Question
---@field name string
---@field type string "A", "MX" ..., or "TYPE123" for one that has no name here
---@field class integer 1 is IN

---@class moonring.dns.Record
---@field name string the owner
---@field type string
---@field class integer
---@field ttl integer seconds
---@field address? string A, AAAA
---@field target? string CNAME, NS, PTR, SRV
---@field exchange? string MX
---@field preference? integer MX
---@field priority? integer SRV
---@field weight? integer SRV
---@field port? integer SRV
---@field strings? string[] TXT, in their pieces; `text` is all of them together
---@field text? string TXT
---@field primary? string SOA, with mailbox, serial, refresh, retry, expire, minimum
---@field is_critical? boolean CAA, with tag and value
---@field data? string the bytes of a type that has no form here

---@class moonring.dns.Message
---@field id integer
---@field is_response boolean
---@field opcode integer 0 is a standard query
---@field rcode string "NOERROR", "NXDOMAIN" ..., or "RCODE23"
---@field is_authoritative boolean
---@field is_truncated boolean
---@field recursion_desired boolean
---@field recursion_available boolean
---@field is_authentic boolean
---@field checking_disabled boolean
---@field questions moonring.dns.Question[]
---@field answers moonring.dns.Record[]
---@field authorities moonring.dns.Record[]
---@field additionals moonring.dns.Record[] without the OPT record, which is `edns`
---@field edns? { size: integer, version: integer, wants_dnssec: boolean, options: { code: integer, data: string }[] }

-- Reading -------------------------------------------------------------------------------------------------------------

local function malformed(text, ...)
  return nil, "malformed DNS message: " .. text:format(...), "FORMERR"
end

local function type_name(number)
  return TYPE_NAMES[number] or "TYPE" .. number
end

local function read_question(reader)
  local name, problem = names.read(reader)
  if not name then return nil, problem end
  if reader.limit - reader.at < 4 then return nil, "it ends in a question" end
  local at = reader.at
  reader.at = at + 4
  return { name = name, type = type_name(reader:u16(at)), class = reader:u16(at + 2) }
end

-- TTLs with the highest bit set count as 0 (RFC 2181 section 8).
local function ttl_of(value)
  return value >= 0x80000000 and 0 or value
end

-- The OPT record, which is no record but a part of the header (RFC 6891 section 6.1).
local function read_edns(reader, class, ttl, stop)
  local options = {}
  while reader.at < stop do
    if stop - reader.at < 4 then return nil, "an EDNS option is cut" end
    local code, length = reader:u16(reader.at), reader:u16(reader.at + 2)
    if stop - reader.at - 4 < length then return nil, "an EDNS option is longer than its record" end
    options[#options + 1] = { code = code, data = reader:bytes(reader.at + 4, length) }
    reader.at = reader.at + 4 + length
  end
  return {
    size = class,
    version = band(math.floor(ttl / 65536), 255),
    wants_dnssec = band(ttl % 65536, 0x8000) ~= 0,
    options = options,
    rcode_high = math.floor(ttl / 16777216),
  }
end

local function read_record(reader)
  local name, problem = names.read(reader)
  if not name then return nil, problem end
  local at = reader.at
  if reader.limit - at < 10 then return nil, "it ends in a record" end
  local kind, class, ttl, length = reader:u16(at), reader:u16(at + 2), reader:u32(at + 4), reader:u16(at + 8)
  reader.at = at + 10
  local stop = reader.at + length
  if stop > reader.limit then return nil, "a record is longer than the message" end
  if kind == OPT then
    local edns, wrong = read_edns(reader, class, ttl, stop)
    return edns, wrong, true
  end
  local record = { name = name, type = type_name(kind), class = class, ttl = ttl_of(ttl) }
  local wrong = rdata.read(reader, record, stop)
  if wrong then return nil, wrong end
  if reader.at ~= stop then return nil, ("the data of a record of type %s has the wrong length"):format(record.type) end
  return record
end

-- Reads `count` records. Returns the list and the OPT record's content, or nil and what is wrong.
local function read_records(reader, count, edns)
  local list = {}
  for _ = 1, count do
    local record, problem, is_edns = read_record(reader)
    if not record then return nil, problem end
    if is_edns then
      if edns then return nil, "there are two OPT records" end
      edns = record
    else
      list[#list + 1] = record
    end
  end
  return list, edns
end

-- Bytes at absolute offsets of a message, whose bounds the caller has checked. It keeps the source, as data doesn't.
local Reader = {}
Reader.__index = Reader

function Reader:u8(at)
  return self.data[at]
end

function Reader:u16(at)
  return bor(lshift(self.data[at], 8), self.data[at + 1])
end

function Reader:u32(at)
  return self:u16(at) * 65536 + self:u16(at + 2)
end

function Reader:bytes(at, length)
  return ffi.string(self.data + at, length)
end

local function read_lists(reader, message, counts)
  local questions = {}
  for i = 1, counts.questions do
    local question, problem = read_question(reader)
    if not question then return problem end
    questions[i] = question
  end
  message.questions = questions
  local edns
  for _, section in ipairs { "answers", "authorities", "additionals" } do
    local list, found = read_records(reader, counts[section], edns)
    if not list then return found end
    message[section], edns = list, found
  end
  message.edns = edns
end

--- Reads a message: the remaining bytes of a buffer, whose position stays, or a string.
---@param source moonring.Buffer|string
---@return moonring.dns.Message? message
---@return string? problem
---@return string? code "FORMERR"
function M.decode(source)
  if type(source) == "string" then source = buffer.wrap(source) end
  if not buffer.is(source) then
    errors.raise("argument", "dns.codec.decode: a buffer or a string is needed, not a %s", type(source))
  end
  source = buffer.of(source, "dns.codec.decode")
  local length, start = source:remaining(), source.position
  if length < M.HEADER_BYTES then return malformed("%d bytes are less than its header", length) end
  local counts = header:read(source)
  source:seek(start)
  local flags = counts.flags
  local message = { id = counts.id, opcode = band(rshift(flags, 11), 15) }
  for name, bits in pairs(FLAGS) do
    message[name] = band(flags, bits) ~= 0
  end
  local reader = setmetatable({ source = source, data = source:pointer() + start, at = M.HEADER_BYTES, limit = length },
    Reader)
  local problem = read_lists(reader, message, counts)
  if problem then return malformed("%s", problem) end
  local rcode = band(flags, 15)
  if message.edns then
    rcode = rcode + message.edns.rcode_high * 16
    message.edns.rcode_high = nil
  end
  message.rcode = RCODES[rcode] or "RCODE" .. rcode
  return message
end

-- Writing -------------------------------------------------------------------------------------------------------------

local function type_number(name)
  local number = TYPES[name] or tonumber(tostring(name):match("^TYPE(%d+)$"))
  if not number or number > 65535 then errors.raise("argument", "dns.codec: there is no type %s", tostring(name)) end
  return number
end

--- The number of a type that is given by its name; "TYPE65280" for one without. Raises when there is none.
---@type fun(name: string): integer
M.type_number = type_number

local function rcode_number(name)
  local number = RCODE_NUMBERS[name or "NOERROR"] or tonumber(tostring(name):match("^RCODE(%d+)$"))
  if not number or number > 4095 then errors.raise("argument", "dns.codec: there is no rcode %s", tostring(name)) end
  return number
end

local function write_flags(message)
  local flags = bor(lshift(band(message.opcode or 0, 15), 11), band(rcode_number(message.rcode), 15))
  for name, bits in pairs(FLAGS) do
    if message[name] then flags = bor(flags, bits) end
  end
  return flags
end

local function write_question(writer, question)
  names.write(writer, question.name, true)
  writer.target:write_u16(type_number(question.type)):write_u16(question.class or CLASS_IN)
end

local function write_record(writer, record)
  local target = writer.target
  names.write(writer, record.name, true)
  target:write_u16(type_number(record.type)):write_u16(record.class or CLASS_IN):write_u32(record.ttl or 0)
  local length_at = target.position
  target:write_u16(0)
  rdata.write(writer, record)
  local length = target.position - length_at - 2
  if length > 65535 then errors.raise("argument", "dns.codec: the data of a record is longer than 65535 bytes") end
  target:set_u16(length_at, length)
end

local function write_edns(writer, edns, rcode)
  local target = writer.target
  target:write_u8(0):write_u16(OPT):write_u16(edns.size or 1232)
  target:write_u8(rshift(rcode, 4)):write_u8(edns.version or 0):write_u16(edns.wants_dnssec and 0x8000 or 0)
  local length_at = target.position
  target:write_u16(0)
  for _, option in ipairs(edns.options or {}) do
    target:write_u16(option.code):write_string_u16(option.data)
  end
  target:set_u16(length_at, target.position - length_at - 2)
end

-- Writes one thing, or nothing when there is no room for it. Returns whether it is there.
local function fits(writer, write, ...)
  local target = writer.target
  local before = target.position
  local ok, failure = pcall(write, writer, ...)
  if ok then return true end
  if not errors.is(failure, "overflow") then
    target:seek(before)
    error(failure, 0)
  end
  target:seek(before)
  writer:forget(before)
  return false
end

-- Where names are in the message, for compression: from each suffix, in lower case, to its offset.
local Writer = {}
Writer.__index = Writer

-- Forgets the names that begin at an offset of the buffer or behind it.
function Writer:forget(position)
  for suffix, at in pairs(self.suffixes) do
    if at >= position - self.start then self.suffixes[suffix] = nil end
  end
end

local function write_lists(writer, message, counts)
  for _, question in ipairs(message.questions or {}) do
    if not fits(writer, write_question, question) then return false end
    counts.questions = counts.questions + 1
  end
  for _, section in ipairs { "answers", "authorities", "additionals" } do
    for _, record in ipairs(message[section] or {}) do
      if not fits(writer, write_record, record) then
        -- What is not asked for may be left out without a word (RFC 2181 section 9).
        return section == "additionals"
      end
      counts[section] = counts[section] + 1
    end
  end
  return true
end

local function encode_into(message, target, start, room)
  local writer = setmetatable({ target = target, start = start, suffixes = {} }, Writer)
  local rcode = rcode_number(message.rcode)
  local edns = message.edns or (rcode > 15 and {})
  -- The OPT record comes last and is never left out: its room is taken first.
  local reserved = 0
  if edns then
    reserved = 11
    for _, option in ipairs(edns.options or {}) do
      reserved = reserved + 4 + #option.data
    end
  end
  if room < M.HEADER_BYTES + reserved then
    errors.raise("overflow", "dns.codec.encode: %d bytes of room are too few", room)
  end
  local counts = { id = message.id or 0, flags = write_flags(message), questions = 0, answers = 0, authorities = 0,
    additionals = 0 }
  target:set_limit(start + room - reserved)
  header:write(target, counts)
  local complete = write_lists(writer, message, counts)
  target:set_limit(start + room)
  if edns then
    write_edns(writer, edns, rcode)
    counts.additionals = counts.additionals + 1
  end
  if not complete then counts.flags = bor(counts.flags, FLAGS.is_truncated) end
  local stop = target.position
  target:seek(start)
  header:write(target, counts)
  target:seek(stop)
  return complete
end

--- Writes a message into a buffer at its position, which moves behind it. Absent fields have their usual values. What
--- doesn't fit into `max` bytes is left out, the last records first, and the message marked as truncated. Names are
--- compressed. Raises "argument" for what can't be written, with the buffer unchanged.
---@param message moonring.dns.Message
---@param target moonring.Buffer
---@param max? integer bytes, default: the buffer's remaining ones, 65535 at most
---@return boolean complete
function M.encode(message, target, max)
  local start, limit = target.position, target.limit
  local room = math.min(target:remaining(), max or M.MESSAGE_MAX, M.MESSAGE_MAX)
  local ok, result = pcall(encode_into, message, target, start, room)
  target:set_limit(limit)
  if ok then return result end
  target:seek(start)
  error(result, 0)
end

--- The same as a new buffer, ready to be read or sent.
---@param message moonring.dns.Message
---@param max? integer bytes, default 65535
---@return moonring.Buffer encoded
---@return boolean complete
function M.encode_new(message, max)
  local target = buffer.allocate(max or M.MESSAGE_MAX)
  local ok, complete = pcall(M.encode, message, target)
  if not ok then
    target:release()
    error(complete, 0)
  end
  return target:reset_for_read(), complete
end

--- The beginning of an answer to a query: its id, question and flags.
---@param query moonring.dns.Message
---@return moonring.dns.Message
function M.reply_to(query)
  return {
    id = query.id,
    opcode = query.opcode,
    is_response = true,
    recursion_desired = query.recursion_desired,
    questions = query.questions,
    answers = {},
    authorities = {},
    additionals = {},
    edns = query.edns and { size = 1232 },
  }
end

return M
