-- Random programs run on a buffer and on a model of it in plain Lua: results, error codes, cursor and bytes must be the
-- same.
--   MOONRING_SEED=n repeats a run, MOONRING_MODEL_OPERATIONS=n sets the length of all programs together.

local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local errors = require "moonring.errors"
local ffi = require "ffi"

local SEED = tonumber(os.getenv "MOONRING_SEED") or os.time() % 1000000
local OPERATIONS = tonumber(os.getenv "MOONRING_MODEL_OPERATIONS") or 1000000
local PROGRAM = 1000 -- operations on one buffer
local CAPACITY = 48

local random, floor, char, concat = math.random, math.floor, string.char, table.concat

-- The model: bytes[0..capacity - 1], position, limit. An operation returns its result, or raises a code as a string.
local Model = {}
Model.__index = Model

local function new_model(content)
  local model = setmetatable({ position = 0, limit = #content, capacity = #content }, Model)
  for i = 1, #content do
    model[i - 1] = content:byte(i)
  end
  return model
end

function Model:text(from, to)
  local out = {}
  for i = from, to - 1 do
    out[#out + 1] = char(self[i])
  end
  return concat(out)
end

local function whole(value, max)
  return type(value) == "number" and value >= 0 and value <= max and value == floor(value)
end

local function check_length(length)
  if not whole(length, 2 ^ 32) then error("argument", 0) end
end

local sizes = { u8 = 1, i8 = 1, u16 = 2, i16 = 2, u24 = 3, u32 = 4, i32 = 4, u64 = 8, i64 = 8, f32 = 4, f64 = 8 }
local names = { "u8", "i8", "u16", "i16", "u24", "u32", "i32", "u64", "i64", "f32", "f64" }

local single, double = ffi.new("float[1]"), ffi.new("double[1]")

local function decode(name, bytes)
  local base = name:match("^%w+")
  if name:find("_le") then bytes = bytes:reverse() end
  if base == "f32" or base == "f64" then
    local out = base == "f32" and single or double
    ffi.copy(out, bytes:reverse(), #bytes)
    -- Which bits make a NaN is asked of the bytes: a foreign one must never become a Lua value.
    local first, second = bytes:byte(1, 2)
    local rest = bytes:sub(3):find("[^%z]") ~= nil
    if base == "f32" and first % 128 == 127 and second >= 128 and (second > 128 or rest) then return 0 / 0 end
    if base == "f64" and first % 128 == 127 and second >= 240 and (second > 240 or rest) then return 0 / 0 end
    return out[0]
  end
  local value = #bytes == 8 and 0ULL or 0
  for i = 1, #bytes do
    value = value * 256 + bytes:byte(i)
  end
  if base == "i64" then return ffi.cast("int64_t", value) end
  if base:sub(1, 1) == "i" and value >= 2 ^ (8 * #bytes - 1) then value = value - 2 ^ (8 * #bytes) end
  return value
end

local function encode(name, value)
  local base = name:match("^%w+")
  local size, out = sizes[base], {}
  if base == "f32" or base == "f64" then
    local raw = base == "f32" and single or double
    raw[0] = value
    out = ffi.string(raw, size):reverse()
  elseif size == 8 then
    local rest = ffi.cast("uint64_t", ffi.cast("int64_t", value)) -- of a negative double directly: undefined
    for i = 8, 1, -1 do
      out[i] = char(tonumber(rest % 256))
      rest = rest / 256
    end
    out = concat(out)
  else
    if value < 0 then value = value + 2 ^ (8 * size) end
    for i = size, 1, -1 do
      out[i] = char(value % 256)
      value = floor(value / 256)
    end
    out = concat(out)
  end
  return name:find("_le") and out:reverse() or out
end

local function fits(name, value)
  local base = name:match("^%w+")
  if base:sub(1, 1) == "f" then return type(value) == "number" end
  if type(value) ~= "number" or value ~= floor(value) then return false end
  if base == "u64" then return value >= 0 and value <= 2 ^ 53 end
  if base == "i64" then return value >= -2 ^ 53 and value <= 2 ^ 53 end
  local bits = 8 * sizes[base]
  if base:sub(1, 1) == "u" then return value >= 0 and value < 2 ^ bits end
  return value >= -2 ^ (bits - 1) and value < 2 ^ (bits - 1)
end

function Model:read(name)
  local size = sizes[name:match("^%w+")]
  if self.position + size > self.limit then error("underflow", 0) end
  self.position = self.position + size
  return decode(name, self:text(self.position - size, self.position))
end

function Model:get(name, offset)
  check_length(offset)
  local size = sizes[name:match("^%w+")]
  if offset + size > self.limit then error("underflow", 0) end
  return decode(name, self:text(offset, offset + size))
end

function Model:put(offset, bytes)
  for i = 1, #bytes do
    self[offset + i - 1] = bytes:byte(i)
  end
end

function Model:write(bytes)
  if self.position + #bytes > self.limit then error("overflow", 0) end
  if self.read_only then error("argument", 0) end
  self:put(self.position, bytes)
  self.position = self.position + #bytes
end

-- Values that are right, at the edges, and wrong.
local function random_value(name)
  local base = name:match("^%w+")
  local bits = 8 * sizes[base]
  local pick = random(12)
  if base:sub(1, 1) == "f" then
    return ({ 0, -0.5, 1e30, math.huge, -math.huge, 1e300, 0 / 0, 2 ^ -149 })[pick] or random()
  end
  if pick == 1 then return -1 end
  if pick == 2 then return 0.5 end
  if pick == 3 then return 2 ^ bits end
  if pick == 4 then return 2 ^ bits - 1 end
  if pick == 5 then return -2 ^ (bits - 1) end
  if pick == 6 then return 2 ^ (bits - 1) end
  if pick == 7 then return 0 / 0 end
  return floor(random() * 2 ^ math.min(bits - 1, 52))
end

local function random_length()
  local pick = random(14)
  return ({ -1, 0.5, 2 ^ 32, 2 ^ 32 + 1, 0 / 0 })[pick] or random(0, CAPACITY + 2)
end

local function random_bytes(most)
  local out = {}
  for i = 1, random(0, most) do
    out[i] = char(random(0, 255))
  end
  return concat(out)
end

-- Each gives a function of the buffer and one of the model; both return what is compared.
local operations = {}

for _, base in ipairs(names) do
  for _, name in ipairs { base, base .. "_le" } do
    operations[#operations + 1] = function()
      local method = "read_" .. name
      return function(made) return made[method](made) end, function(model) return model:read(name) end
    end
    operations[#operations + 1] = function()
      local method, offset = "get_" .. name, random_length()
      return function(made) return made[method](made, offset) end, function(model) return model:get(name, offset) end
    end
    operations[#operations + 1] = function()
      local method, value = "write_" .. name, random_value(name)
      return function(made) made[method](made, value) end, function(model)
        if not fits(name, value) then error("argument", 0) end
        model:write(encode(name, value))
      end
    end
    operations[#operations + 1] = function()
      local method, value, offset = "set_" .. name, random_value(name), random_length()
      return function(made) made[method](made, offset, value) end, function(model)
        if not fits(name, value) then error("argument", 0) end
        check_length(offset)
        local bytes = encode(name, value)
        if offset + #bytes > model.limit then error("overflow", 0) end
        if model.read_only then error("argument", 0) end
        model:put(offset, bytes)
      end
    end
  end
end

local function often(times, operation)
  for _ = 1, times do
    operations[#operations + 1] = operation
  end
end

often(6, function()
  local offset = random_length()
  return function(made) made:seek(offset) end, function(model)
    check_length(offset)
    if offset > model.limit then error("underflow", 0) end
    model.position = offset
  end
end)

often(3, function()
  local limit = random_length()
  return function(made) made:set_limit(limit) end, function(model)
    check_length(limit)
    if limit > model.capacity or limit < model.position then error("argument", 0) end
    model.limit = limit
  end
end)

often(4, function()
  return function(made) made:reset_for_write() end, function(model) model.position, model.limit = 0, model.capacity end
end)

often(2, function()
  return function(made) made:reset_for_read() end, function(model) model.limit, model.position = model.position, 0 end
end)

local function taking(method, read)
  return function()
    local count = random_length()
    return function(made) return read(made[method](made, count)) end, function(model)
      check_length(count)
      if count > model.limit - model.position then error("underflow", 0) end
      local text = model:text(model.position, model.position + count)
      if method ~= "slice" then model.position = model.position + count end
      return method ~= "skip" and text or nil
    end
  end
end

often(3, taking("skip", function() end))
often(3, taking("read_string", function(text) return text end))
local function text_of(view)
  local text = view:to_string()
  view:release()
  return text
end
often(3, taking("read_buffer", text_of))
often(3, taking("slice", text_of))

often(4, function()
  local bytes = random_bytes(12)
  local as_buffer = random(2) == 1
  return function(made)
    made:write(as_buffer and buffer.wrap(bytes) or bytes)
  end, function(model) model:write(bytes) end
end)

often(3, function()
  local at, count = random(0, CAPACITY), random(0, CAPACITY) -- from a view of the same bytes
  return function(made)
    local position, limit = made.position, made.limit
    made:reset_for_write()
    local view = made:seek(math.min(at, made.capacity)):slice(math.min(count, made.capacity - made.position))
    made:seek(position):set_limit(limit)
    local ok, failure = pcall(made.write, made, view)
    view:release()
    if not ok then error(failure, 0) end
  end, function(model)
    local from = math.min(at, model.capacity)
    model:write(model:text(from, from + math.min(count, model.capacity - from)))
  end
end)

often(2, function()
  local byte = random(0, 255)
  return function(made) made:fill(byte) end, function(model)
    if model.read_only then error("argument", 0) end
    for i = model.position, model.limit - 1 do
      model[i] = byte
    end
  end
end)

often(2, function()
  local key, offset = random_bytes(4), random(0, 9)
  return function(made) made:xor_mask(key, offset) end, function(model)
    if #key ~= 4 or model.read_only then error("argument", 0) end
    for i = 0, model.limit - model.position - 1 do
      local at = model.position + i
      model[at] = bit.bxor(model[at], key:byte((offset + i) % 4 + 1))
    end
  end
end)

often(2, function()
  local needle = random_bytes(2)
  return function(made) return made:index_of(needle) end, function(model)
    local at = model:text(model.position, model.limit):find(needle, 1, true)
    return at and at - 1
  end
end)

often(1, function()
  return function(made) made:compact() end, function(model)
    if model.read_only then error("argument", 0) end
    local rest = model:text(model.position, model.limit)
    model:put(0, rest)
    model.position, model.limit = #rest, model.capacity
  end
end)

local function code_of(failure)
  return errors.is(failure) and failure.code or tostring(failure)
end

local function same(a, b)
  return a == b and type(a) == type(b) or a ~= a and b ~= b and type(a) == type(b)
end

local function check_state(made, model, what)
  if made.position ~= model.position or made.limit ~= model.limit or made.capacity ~= model.capacity then
    error(("%s: %s, the model has position %d limit %d"):format(what, tostring(made), model.position, model.limit), 0)
  end
end

local function run_program(made, model, count, what)
  for i = 1, count do
    local pick = random(#operations)
    local on_buffer, on_model = operations[pick]()
    local ok, result = pcall(on_buffer, made)
    local model_ok, expected = pcall(on_model, model)
    if ok ~= model_ok or (ok and not same(result, expected)) or (not ok and code_of(result) ~= expected) then
      error(("%s, operation %d (kind %d): %s, the model says %s"):format(what, i, pick, ok and tostring(result)
        or code_of(result), tostring(expected)), 0)
    end
    check_state(made, model, what)
    if i % 50 == 0 or i == count then
      local position, limit = made.position, made.limit
      local all = made:reset_for_write():to_string()
      made:set_limit(limit):seek(position)
      if all ~= model:text(0, model.capacity) then error(what .. ": the bytes differ", 0) end
    end
  end
end

local function run_programs(kind, operation_count)
  for program = 1, math.ceil(operation_count / PROGRAM) do
    local content = {}
    for i = 1, CAPACITY do
      content[i] = char(random(0, 255))
    end
    content = concat(content)
    local model = new_model(content)
    model.read_only = not kind.writable or nil
    kind.with(content, function(made)
      model.read_only = made.is_read_only or nil
      run_program(made, model, PROGRAM, ("seed %d, %s, program %d"):format(SEED, kind.name, program))
    end)
  end
end

describe("a buffer and its model in plain Lua", function()
  io.write(("model: MOONRING_SEED=%d, %d operations\n"):format(SEED, OPERATIONS))
  for _, kind in ipairs(kinds.list) do
    it(("agree on random programs: %s"):format(kind.name), function()
      math.randomseed(SEED)
      run_programs(kind, OPERATIONS * 0.9 / #kinds.list)
      jit.off()
      jit.flush()
      local ok, failure = pcall(run_programs, kind, OPERATIONS * 0.1 / #kinds.list)
      jit.on()
      if not ok then error(failure, 0) end
    end)
  end
end)
