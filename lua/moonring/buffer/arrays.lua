-- moonring.buffer.arrays: many numbers of one type at once, from and to Lua tables. One bounds check stands for all of
-- them, made before anything is allocated; writing checks every value before it stores the first.

local errors = require "moonring.errors"
local core = require "moonring.buffer.core"
local numbers = require "moonring.buffer.numbers"

local Buffer = core.Buffer

-- A loop of its own for each type, for the compiler.
local TEMPLATE = [==[
local load, store, check = ...
return function(at, count, into)
  for i = 1, count do
    into[i] = load(at + (i - 1) * SIZE)
  end
end, function(from, values, count, what)
  for i = 0, count - 1 do
    check(values[from + i], what)
  end
end, function(at, from, values, count)
  for i = 0, count - 1 do
    store(at + i * SIZE, CONVERT)
  end
end
]==]

local loops = {}

local function loops_of(what, name)
  local made = loops[name]
  if made then return made end
  local raw = numbers.raw[name]
  if not raw then errors.raise("argument", "%s: there is no type %s", what, tostring(name)) end
  local wide = name:find("64", 1, true) and name:find("^[ui]")
  local text = TEMPLATE:gsub("SIZE", tostring(raw.size)):gsub("CONVERT", wide and "check(values[from + i])"
    or "values[from + i]")
  made = { size = raw.size }
  made.load, made.check, made.store = assert(loadstring(text, "=moonring.buffer.arrays"))(raw.load, raw.store,
    raw.check)
  loops[name] = made
  return made
end

--- Reads `count` numbers of a type such as "u16" or "f64_le" into a table, a new one unless `into` is given.
---@param type_name string
---@param count integer
---@param into? table filled from 1 on
---@return table
function Buffer:read_array(type_name, count, into)
  local made = loops_of("read_array", type_name)
  core.check_length("read_array", count)
  if into ~= nil and type(into) ~= "table" then
    errors.raise("argument", "read_array: what is filled is a table, not a %s", type(into))
  end
  local position = core.readable(self, "read_array", count * made.size > core.LENGTH_MAX and core.LENGTH_MAX
    or count * made.size)
  if into == nil then into = {} end
  self.position_ = position + count * made.size
  made.load(self.data_ + position, count, into)
  return into
end

--- Writes the numbers values[from] to values[to] (default: all). All or nothing.
---@param type_name string
---@param values number[]
---@param from? integer default 1
---@param to? integer default #values
function Buffer:write_array(type_name, values, from, to)
  local made = loops_of("write_array", type_name)
  if type(values) ~= "table" then errors.raise("argument", "write_array: a table is needed, not a %s", type(values)) end
  if from == nil then from = 1 end
  if to == nil then to = #values end
  core.check_length("write_array", from)
  core.check_length("write_array", to)
  local count = to - from + 1
  if count < 0 then errors.raise("argument", "write_array: %.0f is behind %.0f", from, to) end
  local length = count * made.size
  local position = core.writable(self, "write_array", length)
  made.check(from, values, count, "write_array")
  self.position_ = position + length
  made.store(self.data_ + position, from, values, count)
  return self
end
