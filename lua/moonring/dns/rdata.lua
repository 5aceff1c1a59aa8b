-- moonring.dns.rdata: the data of the types of records, each with a reader and a writer. Internal; the codec's.
--
-- A reader gets the record to fill and the offset behind its data, and returns what is wrong. That a record's data is
-- exactly as long as it says is checked by the codec. Unknown types, and classes other than IN, keep their bytes in
-- `data` (RFC 3597), from which they are written again.

local errors = require "moonring.errors"
local native = require "moonring.native"
local names = require "moonring.dns.names"

local C, ffi = native.C, native.ffi

local M = {}

M.TYPES = { A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, MX = 15, TXT = 16, AAAA = 28, SRV = 33, OPT = 41, CAA = 257,
  ANY = 255 }
M.TYPE_NAMES = {}
for name, number in pairs(M.TYPES) do
  M.TYPE_NAMES[number] = name
end

local AF_INET, AF_INET6 = 2, 10
local CLASS_IN = 1
local scratch = ffi.new("mr_address")
local text = ffi.new("char[?]", C.MR_ADDRESS_TEXT_BYTES)

local readers, writers = {}, {}

local function refuse(record, what)
  errors.raise("argument", "dns.codec: a record of type %s needs %s", record.type, what)
end

local function number_of(record, field)
  local value = record[field]
  if type(value) ~= "number" then refuse(record, "the number " .. field) end
  return value
end

-- Names: a name within the data must end there, too.
local function read_name(reader, stop)
  local name, problem = names.read(reader)
  if name and reader.at > stop then return nil, "a name goes on behind its record" end
  return name, problem
end

local function address_type(family, bytes)
  return function(reader, record, stop)
    if stop - reader.at ~= bytes then return "an address has the wrong length" end
    scratch.family, scratch.scope = family, 0
    ffi.copy(scratch.bytes, reader.data + reader.at, bytes)
    C.mr_address_format(scratch, text)
    record.address = ffi.string(text)
    reader.at = stop
  end, function(writer, record)
    local address = record.address
    if type(address) ~= "string" or C.mr_address_parse(address, 0, scratch) < 0 or scratch.family ~= family
      or scratch.scope ~= 0 then
      refuse(record, "a numeric address, not " .. tostring(address))
    end
    writer.target:write(scratch.bytes, bytes)
  end
end

readers.A, writers.A = address_type(AF_INET, 4)
readers.AAAA, writers.AAAA = address_type(AF_INET6, 16)

local function read_target(reader, record, stop)
  local problem
  record.target, problem = read_name(reader, stop)
  return problem
end

local function write_target(writer, record)
  names.write(writer, record.target, true)
end

for _, name in ipairs { "NS", "CNAME", "PTR" } do
  readers[name], writers[name] = read_target, write_target
end

function readers.MX(reader, record, stop)
  if stop - reader.at < 3 then return "an MX record is cut" end
  record.preference = reader:u16(reader.at)
  reader.at = reader.at + 2
  local problem
  record.exchange, problem = read_name(reader, stop)
  return problem
end

function writers.MX(writer, record)
  writer.target:write_u16(number_of(record, "preference"))
  names.write(writer, record.exchange, true)
end

function readers.SRV(reader, record, stop)
  local at = reader.at
  if stop - at < 7 then return "an SRV record is cut" end
  record.priority, record.weight, record.port = reader:u16(at), reader:u16(at + 2), reader:u16(at + 4)
  reader.at = at + 6
  return read_target(reader, record, stop)
end

-- The target is not compressed (RFC 2782).
function writers.SRV(writer, record)
  writer.target:write_u16(number_of(record, "priority")):write_u16(number_of(record, "weight"))
    :write_u16(number_of(record, "port"))
  names.write(writer, record.target, false)
end

function readers.TXT(reader, record, stop)
  local strings = {}
  while reader.at < stop do
    local length = reader:u8(reader.at)
    if stop - reader.at - 1 < length then return "a text is longer than its record" end
    strings[#strings + 1] = reader:bytes(reader.at + 1, length)
    reader.at = reader.at + 1 + length
  end
  record.strings = strings
  record.text = table.concat(strings)
end

function writers.TXT(writer, record)
  local strings = record.strings
  if not strings then
    if type(record.text) ~= "string" then refuse(record, "strings, or a text") end
    strings = {}
    for at = 1, math.max(#record.text, 1), 255 do
      strings[#strings + 1] = record.text:sub(at, at + 254)
    end
  end
  for _, piece in ipairs(strings) do
    if type(piece) ~= "string" or #piece > 255 then refuse(record, "strings of up to 255 bytes") end
    writer.target:write_string_u8(piece)
  end
end

local soa_numbers = { "serial", "refresh", "retry", "expire", "minimum" }

function readers.SOA(reader, record, stop)
  local problem
  record.primary, problem = read_name(reader, stop)
  if problem then return problem end
  record.mailbox, problem = read_name(reader, stop)
  if problem then return problem end
  if stop - reader.at < 20 then return "an SOA record is cut" end
  for i, field in ipairs(soa_numbers) do
    record[field] = reader:u32(reader.at + (i - 1) * 4)
  end
  reader.at = reader.at + 20
end

function writers.SOA(writer, record)
  names.write(writer, record.primary, true)
  names.write(writer, record.mailbox, true)
  for _, field in ipairs(soa_numbers) do
    writer.target:write_u32(number_of(record, field))
  end
end

-- RFC 8659 section 4.1.
function readers.CAA(reader, record, stop)
  local at = reader.at
  if stop - at < 2 then return "a CAA record is cut" end
  local length = reader:u8(at + 1)
  if length == 0 or stop - at - 2 < length then return "a CAA record's tag is longer than the record" end
  record.is_critical = reader:u8(at) >= 128
  record.tag = reader:bytes(at + 2, length)
  record.value = reader:bytes(at + 2 + length, stop - at - 2 - length)
  reader.at = stop
end

function writers.CAA(writer, record)
  if type(record.tag) ~= "string" or #record.tag == 0 or type(record.value) ~= "string" then
    refuse(record, "a tag and a value")
  end
  writer.target:write_u8(record.is_critical and 128 or 0):write_string_u8(record.tag):write(record.value)
end

--- Fills record with its data, which ends before the offset `stop`. Returns what is wrong, nil when nothing is.
function M.read(reader, record, stop)
  local read = record.class == CLASS_IN and readers[record.type]
  if read then return read(reader, record, stop) end
  record.data = reader:bytes(reader.at, stop - reader.at)
  reader.at = stop
end

function M.write(writer, record)
  if type(record.data) == "string" then
    writer.target:write(record.data)
    return
  end
  local write = writers[record.type]
  if not write then refuse(record, "its data as a string") end
  write(writer, record)
end

return M
