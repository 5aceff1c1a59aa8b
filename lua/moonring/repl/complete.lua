-- moonring.repl.complete: what may follow what was typed. Runs none of the user's code.
--
-- A path of names is followed through tables by raw access, and through __index where that is a table; functions and
-- metamethods are never called. Methods of cdata can't be listed by LuaJIT (its metatable is hidden), so the types that
-- have some are registered here (M.cdata).

local lexer = require "moonring.repl.lexer"

local M = {}

local STEPS_MAX = 100 -- through __index

--- Types of cdata with methods: { is = function(value), methods = function(): table, fields = names }.
M.cdata = {
  {
    is = function(value) return require("moonring.buffer").is(value) end,
    methods = function() return require("moonring.buffer.core").Buffer end,
    fields = { "position", "limit", "capacity", "is_open", "is_read_only", "zone" },
  },
  {
    is = function(value) return require("moonring.iovec").is(value) end,
    methods = function() return require("moonring.iovec").Iovec end,
    fields = { "length", "capacity" },
  },
  {
    is = function(value) return require("moonring.native").ffi.istype("mr_address", value) end,
    methods = function() return {} end,
    fields = { "family", "port" },
  },
}

local function cdata_type(value)
  if package.loaded["moonring.native"] == nil then return nil end
  for _, known in ipairs(M.cdata) do
    if known.is(value) then return known end
  end
end

-- The table that a missing field is looked for in; nil when that would take a function.
local function behind(value)
  local metatable = debug.getmetatable(value)
  local index = type(metatable) == "table" and rawget(metatable, "__index")
  return type(index) == "table" and index or nil
end

local function get(value, name)
  if type(value) == "cdata" then
    local known = cdata_type(value)
    return known and known.methods()[name] or nil
  end
  local steps = 0
  local at = type(value) == "table" and value or behind(value)
  while at and steps < STEPS_MAX do
    local found = rawget(at, name)
    if found ~= nil then return found end
    at, steps = behind(at), steps + 1
  end
end

local function add_keys(found, from, wanted)
  for key, value in next, from do
    if type(key) == "string" and key:find "^[%a_][%w_]*$" and not lexer.keywords[key] and wanted(value) then
      found[key] = true
    end
  end
end

local function any()
  return true
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local metatable = debug.getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__call") ~= nil
end

-- The names that may follow `value.` or `value:`.
local function fields_of(value, methods_only)
  local found, wanted = {}, methods_only and is_callable or any
  if type(value) == "cdata" then
    local known = cdata_type(value)
    if not known then return found end
    add_keys(found, known.methods(), wanted)
    if not methods_only then
      for _, name in ipairs(known.fields) do found[name] = true end
    end
    return found
  end
  local steps = 0
  local at = type(value) == "table" and value or behind(value)
  while at and steps < STEPS_MAX do
    add_keys(found, at, wanted)
    at, steps = behind(at), steps + 1
  end
  return found
end

local function sorted(names, prefix)
  local list = {}
  for name in pairs(names) do
    if name:sub(1, #prefix) == prefix then list[#list + 1] = name end
  end
  table.sort(list, function(left, right) -- what looks private comes last
    local left_private, right_private = left:find "^_" ~= nil, right:find "^_" ~= nil
    if left_private ~= right_private then return right_private end
    return left < right
  end)
  return list
end

local function module_names()
  local names = {}
  for _, from in ipairs { package.loaded, package.preload } do
    for name in next, from do
      if type(name) == "string" then names[name] = true end
    end
  end
  return names
end

-- What stands in a string or comment at the end of the text: nil, or the token.
local function open_token(text)
  local tokens = lexer.tokens(text)
  local last = tokens[#tokens]
  if not last or last.last < #text then return nil end
  if last.kind == "comment" then return last end
  if last.kind == "string" and last.unfinished then return last end
end

--- The candidates for the end of `before`, and the byte from which on they would stand.
---@param session moonring.repl.Session|table with lookup(name) and names()
---@param before string the text before the cursor
---@return integer start
---@return string[] candidates
function M.candidates(session, before)
  local command = before:match "^%s*:(%a*)$"
  if command then
    return #before - #command + 1, sorted(require("moonring.repl.commands").names(), command)
  end
  local topic = before:match "^%s*:help%s+([%w_.:]*)$"
  if topic then
    return #before - #topic + 1, sorted(require("moonring.repl.commands").topics(), topic)
  end
  before = before:gsub("^(%s*):time%f[%s]", "%1     ")
  local open = open_token(before)
  if open then
    local module = before:match "%f[%w_]require%s*%(?%s*[\"']([%w_.%-]*)$"
    if module then return #before - #module + 1, sorted(module_names(), module) end
    return #before + 1, {}
  end
  local path = before:match "[%a_][%w_.:]*$"
  if not path then return #before + 1, {} end
  -- What stands before it may make it the field of something that only running would tell, or a number.
  local preceding = before:sub(1, #before - #path)
  if preceding:find "[%w_.:]$" or preceding:find "%.%s+$" and not preceding:find "%.%.%s+$" then return #before + 1, {} end
  local container, separator, prefix = path:match "^(.*)([.:])([%w_]*)$"
  if not container then
    local names = session:names()
    for word in pairs(lexer.keywords) do names[word] = true end
    return #before - #path + 1, sorted(names, path)
  end
  if container:find "[.:]$" or container:find "[.:][.:]" then return #before + 1, {} end
  local value
  for name in container:gmatch "[^.:]+" do
    if value == nil then value = session:lookup(name) else value = get(value, name) end
    if value == nil then return #before + 1, {} end
  end
  return #before - #prefix + 1, sorted(fields_of(value, separator == ":"), prefix)
end

return M
