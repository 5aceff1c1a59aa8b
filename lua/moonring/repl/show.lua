-- moonring.repl.show: values as a person wants to see them.
--
-- Memory as hex and text with its position and limit, connections with peers and queues, tasks with what they wait on,
-- tables as Lua source with cycles cut and depth and width bounded. Looking changes nothing: fields are read raw, and of
-- metamethods only __tostring is called. How a type looks can be registered (M.types, M.cdata).

local native = require "moonring.native"
local errors = require "moonring.errors"
local place = require "moonring.place"
local lexer = require "moonring.repl.lexer"
local keys = require "moonring.repl.keys"
local cells = require "moonring.repl.cells"

local C, ffi = native.C, native.ffi

local M = {
  DEPTH = 4, -- of tables in tables
  ITEMS = 60, -- of a table
  STRING_BYTES = 400,
  LONG_STRING_BYTES = 4000, -- for a string that is the value itself
  DUMP_BYTES = 128, -- of a buffer
  ROW_BYTES = 16,
}

local colours = {
  string = "32", number = "33", boolean = "33", ["nil"] = "90", ["function"] = "36", userdata = "36", thread = "36",
  cdata = "36", key = "", note = "90", error = "31",
}

local function paint(state, kind, text)
  local colour = colours[kind]
  if not state.colour or not colour or colour == "" then return text end
  return "\27[" .. colour .. "m" .. text .. "\27[0m"
end

-- Strings --------------------------------------------------------------------------------------------------------------

local named_escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

local function escape(character)
  return named_escapes[character] or ("\\x%02x"):format(character:byte())
end

--- A string as Lua source on one line, cut after `bytes`. Bytes that are no UTF-8 are escaped.
---@param text string
---@param bytes integer
---@return string
function M.quote(text, bytes)
  local parts, total = {}, #text
  local cut = total > bytes and text:sub(1, bytes) or text
  for at, character in keys.characters(cut) do
    local valid = character == cut:sub(at, at + #character - 1)
    if not valid then
      parts[#parts + 1] = escape(cut:sub(at, at))
    elseif #character == 1 then
      parts[#parts + 1] = character:find '[%c"\\\127]' and escape(character) or character
    elseif C.mr_terminal_width(keys.decode(character)) < 0 then
      parts[#parts + 1] = character:gsub(".", escape)
    else
      parts[#parts + 1] = character
    end
  end
  local quoted = '"' .. table.concat(parts) .. '"'
  if total > bytes then quoted = ("%s... (%d bytes)"):format(quoted, total) end
  return quoted
end

-- Memory ---------------------------------------------------------------------------------------------------------------

--- Bytes as rows of offset, hex and text. `mark` is an offset that is shown with a bar before it.
---@param bytes string
---@param offset integer of the first byte
---@param mark? integer
---@return string
function M.dump(bytes, offset, mark)
  local rows = {}
  for from = 1, #bytes, M.ROW_BYTES do
    local row = bytes:sub(from, from + M.ROW_BYTES - 1)
    local hex = {}
    for i = 1, M.ROW_BYTES do
      local byte = row:byte(i)
      local bar = mark and mark == offset + from + i - 2 and "|" or i == 9 and "  " or " "
      if bar == "|" and i == 9 then bar = " |" end
      hex[i] = bar .. (byte and ("%02x"):format(byte) or "  ")
    end
    rows[#rows + 1] = ("  %08x %s  %s"):format(offset + from - 1, table.concat(hex), (row:gsub("[^\32-\126]", ".")))
  end
  return table.concat(rows, "\n")
end

local function show_memory(state, headline, bytes, offset, mark, more)
  if #bytes == 0 then return headline end
  local text = headline .. "\n" .. M.dump(bytes, offset, mark)
  if more > 0 then text = text .. "\n" .. paint(state, "note", ("  ... %d more bytes"):format(more)) end
  return text
end

local function show_buffer(state, value)
  if not value.is_open or state.depth > 0 then return tostring(value) end
  local position, limit = value.position, value.limit
  -- What is read next comes first, after a row of what was read before.
  local from = math.max(position - position % M.ROW_BYTES - M.ROW_BYTES, 0)
  local count = math.max(math.min(limit - from, M.DUMP_BYTES), 0)
  return show_memory(state, tostring(value), value:get_string(from, count), from, position > from and position or nil,
    limit - from - count)
end

local function show_iovec(state, value)
  if C.mr_iovec_holders(value) == 0 or state.depth > 0 then return tostring(value) end
  local count = math.min(value.length, M.DUMP_BYTES)
  return show_memory(state, tostring(value), count > 0 and ffi.string(value:pointer(), count) or "", 0, nil,
    value.length - count)
end

--- How cdata is shown: a list of { is = function(value), show = function(state, value) }.
M.cdata = {
  { is = function(value) return require("moonring.buffer").is(value) end, show = show_buffer },
  { is = function(value) return require("moonring.iovec").is(value) end, show = show_iovec },
}

-- Objects --------------------------------------------------------------------------------------------------------------

local function show_connection(state, value)
  local slot = rawget(value, "slot")
  if not slot or state.depth > 0 then return tostring(value) end
  local loop = require "moonring.loop"
  local lines = { tostring(value) }
  local queued = tonumber(C.mr_connection_queued(value.handle, slot))
  local ok, own = pcall(value.address, value)
  if ok and own and own.port and own.port > 0 then lines[#lines + 1] = "  local address " .. tostring(own) end
  lines[#lines + 1] = ("  %.0f bytes queued for sending"):format(queued)
  local input = rawget(value, "input")
  if input and input.is_open then lines[#lines + 1] = ("  %d bytes read and not yet used"):format(#input) end
  for what, tasks in pairs { reads = loop.readers, writes = loop.writers } do
    if tasks[slot] then lines[#lines + 1] = ("  %s %s"):format(tostring(tasks[slot]), what) end
  end
  local failure = C.mr_connection_error(value.handle, slot)
  if failure ~= 0 then lines[#lines + 1] = "  failed: " .. select(2, errors.world(failure)) end
  return table.concat(lines, "\n")
end

local function find_report(reports, id)
  for _, report in ipairs(reports) do
    if report.id == id then return report end
    local found = find_report(report.children, id)
    if found then return found end
  end
end

local function show_task(state, value)
  local text = tostring(value)
  if state.depth > 0 or value:has_ended() then
    if value:has_ended() then
      local ok, failure = value:outcome()
      if not ok then text = text .. ": " .. tostring(failure) end
    end
    return text
  end
  local report = find_report(require("moonring.inspect").tasks(), value.id)
  if not report then return text end
  local lines = { text }
  if report.waiting_on then
    lines[2] = ("  waits for %s since %.3f s"):format(report.waiting_on, report.waiting_seconds)
  end
  if report.cancelled then lines[#lines + 1] = "  " .. report.cancelled end
  if report.spawned_at then lines[#lines + 1] = "  spawned at " .. report.spawned_at end
  for line in report.traceback:gmatch "[^\n]+" do
    lines[#lines + 1] = "  " .. line:gsub("^%s+", "")
  end
  if #report.children > 0 then lines[#lines + 1] = ("  %d tasks in it"):format(#report.children) end
  return table.concat(lines, "\n")
end

--- How objects are shown, by the __name of their metatable: function(state, value).
M.types = {
  ["moonring.Connection"] = show_connection,
  ["moonring.Task"] = show_task,
}

--- An error's text: its message and code, or whatever it is.
---@param failure any
---@return string
function M.failure(failure)
  if errors.is(failure) then
    local message = tostring(failure)
    if message:find(failure.code, 1, true) then return message end
    return ("%s (%s)"):format(message, failure.code)
  end
  local metatable = debug.getmetatable(failure)
  if type(failure) == "string" or type(metatable) == "table" and rawget(metatable, "__tostring") then
    local ok, text = pcall(tostring, failure)
    if ok and type(text) == "string" then return text end
  end
  return M.text(failure)
end

-- Everything -----------------------------------------------------------------------------------------------------------

local show

local function is_name(key)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" and not lexer.keywords[key]
end

local order = { number = 1, string = 2, boolean = 3 }

local function by_key(left, right)
  local left_type, right_type = type(left), type(right)
  if left_type ~= right_type then return (order[left_type] or 4) < (order[right_type] or 4) end
  if left_type == "number" or left_type == "string" then return left < right end
  return tostring(left) < tostring(right)
end

-- The keys beside the sequence, in an order that a person expects, and how many there are in all.
local function other_keys(value, length)
  local list, count = {}, 0
  for key in next, value do
    if not (type(key) == "number" and key >= 1 and key <= length and key % 1 == 0) then
      count = count + 1
      if count <= 10000 then list[count] = key end
    end
  end
  table.sort(list, by_key)
  return list, count
end

local function sequence_length(value)
  local length = 0
  while rawget(value, length + 1) ~= nil do length = length + 1 end
  return length
end

local function table_parts(state, value)
  local parts, length = {}, sequence_length(value)
  local list, others = other_keys(value, length)
  for i = 1, math.min(length, M.ITEMS) do
    parts[i] = show(state, rawget(value, i))
  end
  local left = M.ITEMS - #parts
  for i = 1, math.min(#list, left) do
    local key = list[i]
    local name = is_name(key) and key or "[" .. show(state, key) .. "]"
    parts[#parts + 1] = name .. " = " .. show(state, rawget(value, key))
  end
  local missing = length + others - #parts
  if missing > 0 then parts[#parts + 1] = paint(state, "note", ("... %d more"):format(missing)) end
  return parts
end

local function name_of(metatable)
  local name = type(metatable) == "table" and rawget(metatable, "__name")
  return type(name) == "string" and name
end

local function show_table(state, value)
  local metatable = debug.getmetatable(value)
  local name = name_of(metatable)
  if errors.is(value) then
    local text = ("%s: %s"):format(value.code, value.message)
    return paint(state, "error", text)
  end
  if name and M.types[name] then
    local ok, text = pcall(M.types[name], state, value)
    if ok then return text end
  end
  if type(metatable) == "table" and rawget(metatable, "__tostring") then
    local ok, text = pcall(tostring, value)
    if ok and type(text) == "string" then return text end
  end
  if state.inside[value] then return paint(state, "note", "<cycle>") end
  if next(value) == nil then return (name and name .. " " or "") .. "{}" end
  if state.depth >= state.depth_max then return paint(state, "note", "{...}") end
  state.inside[value], state.depth = true, state.depth + 1
  local parts = table_parts(state, value)
  state.inside[value], state.depth = nil, state.depth - 1
  local prefix = name and name .. " " or ""
  local line = prefix .. "{ " .. table.concat(parts, ", ") .. " }"
  if not line:find "\n" and cells.text_width(line) + state.depth * 2 <= state.width then return line end
  local indent = ("  "):rep(state.depth + 1)
  return prefix .. "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(state.depth) .. "}"
end

local function show_function(value)
  local info = debug.getinfo(value, "S")
  if info.what == "C" then return (tostring(value):gsub("^function: ", "function: C ")) end
  return "function: " .. place.text(value)
end

local function show_cdata(state, value)
  for _, known in ipairs(M.cdata) do
    if known.is(value) then return known.show(state, value) end
  end
  local ok, text = pcall(tostring, value)
  return ok and type(text) == "string" and text or "cdata"
end

function show(state, value)
  local kind = type(value)
  if kind == "string" then
    return paint(state, kind, M.quote(value, state.depth == 0 and M.LONG_STRING_BYTES or M.STRING_BYTES))
  elseif kind == "table" then
    return show_table(state, value)
  elseif kind == "function" then
    return paint(state, kind, show_function(value))
  elseif kind == "cdata" then
    return paint(state, kind, show_cdata(state, value))
  elseif kind == "number" then
    local text = value % 1 == 0 and math.abs(value) < 2 ^ 53 and ("%.0f"):format(value) or ("%.14g"):format(value)
    if tonumber(text) ~= value and value == value then text = ("%.17g"):format(value) end
    return paint(state, kind, text)
  end
  local ok, text = pcall(tostring, value)
  return paint(state, kind, ok and type(text) == "string" and text or kind)
end

--- Internal.
---@class moonring.repl.ShowOptions
---@field colour? boolean
---@field width? integer columns, default 80
---@field depth? integer of tables in tables

--- A value as text, without a line end.
---@param value any
---@param options? moonring.repl.ShowOptions
---@return string
function M.text(value, options)
  options = options or {}
  return show({ colour = options.colour, width = options.width or 80, depth = 0, depth_max = options.depth or M.DEPTH,
    inside = {} }, value)
end

return M
