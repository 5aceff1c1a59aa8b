-- moonring.buffer.struct: readers and writers of binary records, compiled to Lua from a list of their fields.
--
--   local header = buffer.struct { { "id", "u16" }, { "flags", "u8" }, { "length", "u24" }, { "body", "bytes",
-- "length" } }
--   local record = header:read(source)      -- { id = ..., flags = ..., length = ..., body = "..." }
--   header:write(target, { id = 1, flags = 0, body = "hello" })
--
-- A field is { name, type } with a number's type ("u16", "f64_le" ...); { name, "bytes", size } for a string and
-- { name, "buffer", size } for a view, where size is a number or the name of an earlier field; { name, "pad", size }
-- for bytes that are skipped, and written as 0; { name, "varint" } and { name, "varint_mqtt" } for numbers of variable
-- length. Each run of fields of fixed size takes one bounds check. Reading and writing are all or nothing. Bytes that are
-- there and are no such number are what the world sent: nil, a message and "EILSEQ" or "ERANGE".

local errors = require "moonring.errors"
local native = require "moonring.native"
local core = require "moonring.buffer.core"
local numbers = require "moonring.buffer.numbers"
local varints = require "moonring.buffer.text"

local M = {}

---@class moonring.Struct
---@field size integer bytes of the fields whose size is fixed
local Struct = { __name = "moonring.Struct" }
Struct.__index = Struct

local FIELDS_MAX = 50 -- a field takes up to two of the compiler's 200 local variables, and its type one of 60 upvalues

local function misuse(text, ...)
  errors.raise("argument", "buffer.struct: " .. text, ...)
end

local VARINTS = varints.varints
local BLOBS = { bytes = true, buffer = true, pad = true }

local function check_size(field, seen)
  local name, type_name, size = field[1], field[2], field[3]
  if type(size) == "string" then
    local source = seen[size]
    if type_name == "pad" or not source or not (source.raw or source.varint) then
      misuse("the size of %s names %s, which is no number before it", name, size)
    end
    if source.type:find("^[if]") then
      misuse("the size of %s is of the type %s; use one without a sign", name, source.type)
    end
    if source.sizes then misuse("%s is the size of %s and of %s", size, source.sizes, name) end
    source.sizes = name
  elseif type(size) ~= "number" or size < 0 or size > 2147483647 or size % 1 ~= 0 then
    misuse("the size of %s must be a number of bytes or the name of a field, not %s", name, tostring(size))
  end
end

-- The fields with what is known of them, checked.
local function analyse(fields)
  if type(fields) ~= "table" or #fields == 0 then misuse("a list of fields is needed") end
  if #fields > FIELDS_MAX then misuse("%d fields are more than %d", #fields, FIELDS_MAX) end
  local out, seen = {}, {}
  for i, field in ipairs(fields) do
    if type(field) ~= "table" or type(field[1]) ~= "string" then misuse("field %d must be { name, type }", i) end
    local name, type_name = field[1], field[2]
    if seen[name] then misuse("there are two fields %s", name) end
    local raw, varint = numbers.raw[type_name], VARINTS[type_name]
    if not raw and not varint and not BLOBS[type_name] then misuse("%s has no type %s", name, tostring(type_name)) end
    if BLOBS[type_name] then check_size(field, seen) end
    out[i] = { name = name, type = type_name, raw = raw, varint = varint, size = raw and raw.size or field[3], number = i }
    seen[name] = out[i]
  end
  return out, seen
end

-- Code generation -----------------------------------------------------------------------------------------------------

local function writer()
  local lines = {}
  return lines, function(text, ...)
    lines[#lines + 1] = select("#", ...) > 0 and text:format(...) or text
  end
end

-- Runs of fixed size, each ended by a field of variable size or the end.
local function runs_of(fields)
  local runs, run = {}, { size = 0 }
  for _, field in ipairs(fields) do
    if field.varint or type(field.size) == "string" then
      run.ended_by = field
      runs[#runs + 1] = run
      run = { size = 0 }
    else
      run[#run + 1] = { field = field, offset = run.size }
      run.size = run.size + field.size
    end
  end
  if run.size > 0 or #run > 0 or #runs == 0 then runs[#runs + 1] = run end
  return runs
end

local function prelude(emit, fields)
  emit "local core, raw, ffi_string, move, fill, unsized, varints = ..."
  emit "local load_varint, store_varint, check_varint = varints.load_varint, varints.store_varint, varints.check_varint"
  emit "local refuse, tonumber, check_open, type = core.refuse, tonumber, core.check_open, type"
  local done = {}
  for _, field in ipairs(fields) do
    if field.raw and not done[field.type] then
      done[field.type] = true
      emit("local load_%s, store_%s, check_%s = raw.%s.load, raw.%s.store, raw.%s.check", field.type, field.type, field.type,
        field.type, field.type, field.type)
    end
  end
end

local function load_run(emit, run, refuse)
  if run.size > 0 then
    emit("if limit - at < %d then %s end", run.size, refuse:format(run.size))
    for _, part in ipairs(run) do
      local field = part.field
      if field.raw then emit("local f%d = load_%s(data + (at + %d))", field.number, field.type, part.offset) end
      if not field.raw then emit("local f%d = at + %d", field.number, part.offset) end
    end
    emit("at = at + %d", run.size)
  else
    for _, part in ipairs(run) do -- of no bytes at all
      emit("local f%d = at", part.field.number)
    end
  end
end

local function length_of(field, seen)
  return type(field.size) == "string" and ("n%d"):format(seen[field.size].number) or tostring(field.size)
end

-- cut: what is done when the number goes on behind the limit.
local function load_varint(emit, field, cut)
  local number, varint = field.number, field.varint
  emit("local f%d, c%d, e%d = load_varint(%q, data + at, limit - at, %d, %s)", number, number, number,
    "struct: " .. field.name, varint.bytes_max, tostring(varint.minimal))
  emit("if not f%d then", number)
  emit("if c%d == 0 then %s end", number, cut)
  emit("return nil, c%d, e%d end", number, number)
  emit("at = at + c%d", number)
end

local function load_variable(emit, field, seen, refuse, cut)
  if field.varint then return load_varint(emit, field, cut) end
  local source = seen[field.size]
  emit("local n%d = tonumber(f%d)", source.number, source.number)
  emit("if n%d > limit - at then %s end", source.number, refuse:format(0):gsub("0", "n" .. source.number, 1))
  emit("local f%d = at", field.number)
  emit("at = at + n%d", source.number)
end

local function generate_read(emit, fields, seen, runs)
  local refuse = 'refuse(self, "struct:read", at - self.position_ + %s, "underflow")'
  local cut = refuse:format("limit - at + 1")
  emit "local function read(self, into)"
  emit "local at, limit, data = self.position_, self.limit_, self.data_"
  emit "if limit == 0 then check_open(self, 'struct:read') end"
  for _, run in ipairs(runs) do
    load_run(emit, run, refuse)
    if run.ended_by then load_variable(emit, run.ended_by, seen, refuse, cut) end
  end
  local values, sets = {}, {}
  for _, field in ipairs(fields) do
    local value = "f" .. field.number
    if field.type == "bytes" then
      value = ("ffi_string(data + f%d, %s)"):format(field.number, length_of(field, seen))
    elseif field.type == "buffer" then
      emit("self.position_ = f%d", field.number)
      emit("local v%d = self:slice(%s)", field.number, length_of(field, seen))
      value = "v" .. field.number
    end
    if field.type ~= "pad" then
      values[#values + 1] = ("[%q] = %s"):format(field.name, value)
      sets[#sets + 1] = ("into[%q] = %s"):format(field.name, value)
    end
  end
  emit "self.position_ = at"
  emit(("if not into then return { %s } end"):format(table.concat(values, ", ")))
  emit(table.concat(sets, "\n"))
  emit "return into"
  emit "end"
end

-- How many bytes the record takes that begins at data, as far as the `limit` bytes there tell: at least so many. nil, a
-- message and a code when it is none.
local function generate_measure(emit, seen, runs)
  emit "local function measure(data, limit)"
  emit "local at = 0"
  for _, run in ipairs(runs) do
    load_run(emit, run, "return at + %d")
    if run.ended_by then load_variable(emit, run.ended_by, seen, "return at + %d", "return limit + 1") end
  end
  emit "return at"
  emit "end"
end

local function check_field(emit, field, seen)
  local number, name = field.number, field.name
  if field.raw or field.varint then
    emit("local f%d = record[%q]", number, name)
    if field.sizes then
      emit("local given%d = f%d", number, number)
      emit("f%d = #record_%d", number, seen[field.sizes].number)
      emit("if given%d ~= nil and given%d ~= f%d then unsized(%q, given%d, f%d) end", number, number, number, name, number,
        number)
    end
    if field.varint then
      emit("local l%d = check_varint(%q, f%d, %.0f)", number, "struct:write: " .. name, number, field.varint.max)
    else
      emit("f%d = check_%s(f%d, %q)", number, field.type, number, "struct:write: " .. name)
    end
  elseif field.type ~= "pad" then
    emit("local p%d, l%d = core.operand(%q, record_%d)", number, number, "struct:write: " .. name, number)
    if type(field.size) == "number" then
      emit("if l%d ~= %d then unsized(%q, l%d, %d) end", number, field.size, name, number, field.size)
    end
  end
end

local function store_field(emit, field)
  local number = field.number
  if field.varint then
    emit("at = at + store_varint(f%d, data + at)", number)
  elseif field.raw then
    emit("store_%s(data + at, f%d)", field.type, number)
    emit("at = at + %d", field.size)
  elseif field.type == "pad" then
    emit("fill(data + at, 0, %d)", field.size)
    emit("at = at + %d", field.size)
  else
    emit("move(data + at, p%d, l%d)", number, number)
    emit("at = at + l%d", number)
  end
end

local function generate_write(emit, fields, seen, fixed)
  emit "local function write(self, record)"
  for _, field in ipairs(fields) do
    if field.type == "bytes" or field.type == "buffer" then
      emit("local record_%d = record[%q]", field.number, field.name)
      emit("if not core.is(record_%d) and type(record_%d) ~= 'string' then unsized(%q, record_%d) end", field.number,
        field.number, field.name, field.number)
    end
  end
  local total = tostring(fixed)
  for _, field in ipairs(fields) do
    check_field(emit, field, seen)
    if field.varint or type(field.size) == "string" then total = total .. " + l" .. field.number end
  end
  emit("local total = %s", total)
  emit "local at, data = core.writable(self, 'struct:write', total), self.data_"
  for _, field in ipairs(fields) do
    store_field(emit, field)
  end
  emit "self.position_ = at"
  emit "end"
end

local function unsized(name, given, wanted)
  if wanted == nil then
    errors.raise("argument", "struct:write: %s must be a string or a buffer, not %s", name, tostring(given))
  end
  errors.raise("argument", "struct:write: the size of %s is %s and must be %s", name, tostring(given), tostring(wanted))
end

--- Compiles a record's reader and writer.
---@param list table
---@return moonring.Struct
function M.compile(list)
  local fields, seen = analyse(list)
  local runs, fixed, varint_count = runs_of(fields), 0, 0
  for _, run in ipairs(runs) do
    fixed = fixed + run.size
    if run.ended_by and run.ended_by.varint then varint_count = varint_count + 1 end
  end
  if fixed + varint_count == 0 then misuse("a record has at least one byte of fixed size") end
  local lines, emit = writer()
  prelude(emit, fields)
  generate_read(emit, fields, seen, runs)
  generate_measure(emit, seen, runs)
  generate_write(emit, fields, seen, fixed)
  emit "return read, measure, write"
  local C, ffi = native.C, native.ffi
  local read, measure, write = assert(loadstring(table.concat(lines, "\n"), "=moonring.buffer.struct"))(core, numbers.raw,
    ffi.string, C.mr_bytes_move, C.mr_bytes_fill, unsized, varints)
  return setmetatable({
    size = fixed,
    first_run = runs[1].size + (runs[1].ended_by and runs[1].ended_by.varint and 1 or 0),
    read_fields = read,
    measure = measure,
    write_fields = write,
  }, Struct)
end

-- Use -----------------------------------------------------------------------------------------------------------------

local function buffer_of(value, what)
  local found = core.of(value, what)
  if not found then errors.raise("argument", "%s: a buffer is needed, not a %s", what, type(value)) end
  return found
end

local function is_chain(value)
  return type(value) == "table" and value.pull ~= nil
end

-- Whether the whole record is there, and then it lies in the chain's head, and how many bytes it needs. nil, a message and
-- a code when there is none.
local function gathered(self, chain)
  chain:available() -- raises when it is closed
  local needed = self.first_run
  while true do
    if needed > chain.bytes then
      if needed > chain.max_bytes then
        errors.raise("argument", "struct: a record of %.0f bytes can never be there, max_bytes of the chain is %.0f", needed,
          chain.max_bytes)
      end
      return false, needed
    end
    local head = chain:pull(needed)
    local measured, message, code = self.measure(head.data_ + head.position_, needed)
    if not measured then return nil, message, code end
    if measured == needed then return true, needed end
    needed = measured
  end
end

local function read_chain(self, chain, needed, into)
  local head = chain.head
  local position = head.position_
  local record = self.read_fields(head, into)
  head.position_ = position
  chain:consume(needed)
  return record
end

--- Reads a record from a buffer or a chain, into a new table unless `into` is given. Raises "underflow" when it is not
--- all there.
---@param source moonring.Buffer|moonring.Chain
---@param into? table
---@return table? record
---@return string? message
---@return string? code "EILSEQ" or "ERANGE": a number of variable length that is none
function Struct:read(source, into)
  if is_chain(source) then
    local ok, needed, code = gathered(self, source)
    if ok == nil then return nil, needed, code end
    if not ok then
      errors.raise("underflow", "struct:read: %.0f bytes are needed, the chain has %.0f", needed, source.bytes)
    end
    return read_chain(self, source, needed, into)
  end
  return self.read_fields(buffer_of(source, "struct:read"), into)
end

--- The same; nil when the record is not all there yet.
---@param source moonring.Buffer|moonring.Chain
---@param into? table
---@return table? record
---@return string? message
---@return string? code as of read
function Struct:try_read(source, into)
  if is_chain(source) then
    local ok, needed, code = gathered(self, source)
    if ok == nil then return nil, needed, code end
    if not ok then return nil end
    return read_chain(self, source, needed, into)
  end
  local from = buffer_of(source, "struct:try_read")
  local position, left = core.readable(from, "struct:try_read")
  local measured, message, code = self.measure(from.data_ + position, left)
  if not measured then return nil, message, code end
  if measured > left then return nil end
  return self.read_fields(from, into)
end

--- Writes a record. A number that is the size of another field may be left out; a wrong one raises "argument".
---@param target moonring.Buffer
---@param record table
---@return moonring.Buffer target
function Struct:write(target, record)
  if type(record) ~= "table" then errors.raise("argument", "struct:write: a table is needed, not a %s", type(record)) end
  self.write_fields(buffer_of(target, "struct:write"), record)
  return target
end

function Struct:__tostring()
  return ("moonring.Struct(%d bytes and more)"):format(self.size)
end

return M
