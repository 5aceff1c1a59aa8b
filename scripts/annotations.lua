-- Extracts the LuaCATS comments of Lua modules: what :help of the REPL shows, and what the reference is generated from.
-- What has such a comment ("---") is public, unless that says "Internal"; what has an ordinary one ("--") isn't.
--   luajit scripts/annotations.lua OUTPUT.lua {DIRECTORY MODULE.lua...}...
-- An argument that ends in ".lua" is a module below the last directory named. As a module (require or dofile) it returns
-- { module = function(name, text): entries, all = function(files) }.
--
-- An entry is a documented name: { name =, kind = "module"|"class"|"function"|"method"|"field", module =, line =,
-- text = lines before the tags, signature = "name(parameters)", parameters = { { name =, type =, text =, optional = }
-- }, returns = { { type =, name =, text = } }, fields = (of a class), internal = nobody outside of moonring uses it,
-- page = the public module that it is described with }. What is a function of another module under a name of its own is told
-- with the other's words.
--
-- "---@name Class:method(parameters)" says what a comment is about where no such line follows it. A comment with
-- "---@each T = u8 i8 ..." (or several of them) stands for as many names, which have these in the place of the word T;
-- `each` of theirs is the name as it was written.

local M = {
  -- The modules that scripts use. What other modules say of classes belongs to the nearest of these; their functions are
  -- nobody's but moonring's.
  PUBLIC = {
    "moonring", "moonring.buffer", "moonring.digest", "moonring.dns", "moonring.dns.codec", "moonring.doctor",
    "moonring.errors", "moonring.fs", "moonring.http", "moonring.http.codec", "moonring.http.json", "moonring.iovec",
    "moonring.log", "moonring.net", "moonring.net.address", "moonring.net.connection", "moonring.process", "moonring.repl",
    "moonring.stdio", "moonring.strict", "moonring.test", "moonring.trace", "moonring.websocket",
    "moonring.websocket.frames",
  },
}

local is_public = {}
for _, name in ipairs(M.PUBLIC) do is_public[name] = true end

local function trim(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

-- A type ends at the first space outside of brackets and quotes, unless a "|" or ":" or "," joins what follows.
local function split_type(text)
  local depth, at, quote = 0, 1, nil
  while at <= #text do
    local character = text:sub(at, at)
    if quote then
      if character == quote then quote = nil end
    elseif character == '"' then
      quote = character
    elseif character:find "[%(%[{<]" then
      depth = depth + 1
    elseif character:find "[%)%]}>]" then
      depth = depth - 1
    elseif character == " " and depth == 0 and not text:sub(1, at - 1):find "[|:,]$" and not text:find("^ *|", at) then
      break
    end
    at = at + 1
  end
  return text:sub(1, at - 1), trim(text:sub(at))
end

local tags = {}

function tags.param(entry, rest)
  local name, optional, more = rest:match "^([%w_.]+)(%??)%s*(.*)$"
  if not name then return end
  local kind, text = split_type(more)
  entry.parameters[#entry.parameters + 1] = { name = name, type = kind, text = text, optional = optional == "?" or nil }
end

tags["return"] = function(entry, rest)
  local kind, text = split_type(rest)
  local name, more = text:match "^([%a_.][%w_.]*)%s*(.*)$"
  entry.returns[#entry.returns + 1] = { type = kind, name = name, text = more or text }
end

function tags.field(entry, rest)
  local name, optional, more = rest:match "^([%w_%[%]]+)(%??)%s*(.*)$"
  if not name then return end
  local kind, text = split_type(more)
  entry.fields[#entry.fields + 1] = { name = name, type = kind, text = text, optional = optional == "?" or nil }
end

function tags.name(entry, rest)
  entry.explicit = rest
end

tags["type"] = function(entry, rest)
  entry.type = rest
end

function tags.each(entry, rest)
  local word, values = rest:match "^(%w+)%s*=%s*(.*)$"
  entry.word, entry.values = word, entry.values and entry.values .. " " .. values or values
end

function tags.class(entry, rest)
  entry.class, entry.parents = rest:match "^([%w_.]+)%s*:?%s*(.*)$"
end

local function new_entry(module, line)
  return { module = module, line = line, lines = {}, parameters = {}, returns = {}, fields = {} }
end

local function add_comment(entry, comment)
  local tag, rest = comment:match "^@(%a+)%s*(.*)$"
  if not tag then
    local last = entry.open
    if last then last.text = trim((last.text or "") .. " " .. trim(comment)) else entry.lines[#entry.lines + 1] = comment end
    return
  end
  local handler = tags[tag]
  if not handler then return end
  handler(entry, rest)
end

-- The public name of `variable.field` or `variable:method` in this module; nil when the variable isn't public.
local function public_name(context, variable, separator, field)
  if variable == context.exported then return context.module .. "." .. field end
  local class = context.classes[variable] or context.known(variable)
  if class then return class .. separator .. field end
end

-- What `expression` stands for, when it is a name of another module or of a class here.
local function alias_target(context, expression)
  local module, field = expression:match "^require%s*%(?[\"']([%w_.]+)[\"']%)?%.([%w_]+)$"
  if module then return module .. "." .. field end
  local variable, name = expression:match "^([%w_]+)%.([%w_]+)$"
  if not variable then return nil end
  if context.requires[variable] then return context.requires[variable] .. "." .. name end
  return public_name(context, variable, ":", name)
end

local function copy(entry)
  local made = {}
  for key, value in pairs(entry) do made[key] = value end
  return made
end

local function finish(context, entry, name, kind, written)
  entry.name, entry.kind = name, kind
  entry.text = trim(table.concat(entry.lines, "\n"))
  entry.lines, entry.open = nil, nil
  if entry.text:find "%f[%w]Internal[%.:]" then entry.internal = true end
  if written then
    entry.signature = name .. "(" .. written .. ")"
  elseif entry.type and entry.type:find "^fun%(" then
    entry.kind = "function"
    entry.signature = name .. entry.type:match "^fun(%b())"
  end
  context.by_name[name] = entry
  if not entry.values then
    context.entries[#context.entries + 1] = entry
    return
  end
  local word = "%f[%w]" .. entry.word .. "%f[%W]"
  for value in entry.values:gmatch "%S+" do
    local own = copy(entry)
    own.each, own.word, own.values = name, nil, nil
    -- An underscore counts as the end of the word in a name, not in a text.
    own.name = name:gsub(word, value)
    own.signature = entry.signature and entry.signature:gsub(word, value)
    own.text = entry.text:gsub(word, value)
    context.entries[#context.entries + 1] = own
    context.by_name[own.name] = own
  end
end

local function has_comment(entry)
  return #entry.lines + #entry.parameters + #entry.returns > 0 or entry.type ~= nil
end

-- What is written as `name = expression` in the module's table.
local function assigned(context, entry, name, expression)
  local target = alias_target(context, expression)
  if has_comment(entry) then
    entry.like = target
    local written = {}
    for _, parameter in ipairs(entry.parameters) do written[#written + 1] = parameter.name end
    local is_function = #entry.parameters + #entry.returns > 0
    finish(context, entry, name, is_function and "method" or "field", is_function and table.concat(written, ", ") or nil)
  elseif target then
    context.entries[#context.entries + 1] = { name = name, alias = target, module = context.module, line = entry.line }
  end
end

local function note_missing(context, entry, name)
  context.undocumented[#context.undocumented + 1] = { name = name, module = context.module, line = entry.line }
end

local function declare_function(context, entry, variable, separator, field, written)
  local name = public_name(context, variable, separator, field)
  if not name then return end
  if has_comment(entry) then
    finish(context, entry, name, separator == ":" and "method" or "function", written)
  elseif not context.by_name[name] and not field:find "^__" and not entry.plain then
    note_missing(context, entry, name)
  end
end

local function declaration(context, entry, line)
  if entry.explicit then line = "function " .. entry.explicit end
  local variable, separator, field, written = line:match "^function ([%w_]+)([.:])([%w_]+)%((.-)%)"
  if variable then return declare_function(context, entry, variable, separator, field, written) end
  -- A method that another module adds to a class.
  variable, field, written = line:match "^function [%w_]+%.(%u[%w_]*):([%w_]+)%((.-)%)"
  if variable then return declare_function(context, entry, variable, ":", field, written) end
  local names, expressions = line:match "^([%w_]+%.[%w_., ]+)%s+=%s+(.*)$"
  if not names then return end
  local values = {}
  for expression in (expressions .. ","):gmatch "%s*(.-)," do values[#values + 1] = expression end
  local i = 0
  for holder, own in names:gmatch "([%w_]+)%.([%w_]+)" do
    i = i + 1
    local is_class = context.classes[holder] or context.known(holder)
    local name = public_name(context, holder, is_class and ":" or ".", own)
    if name then assigned(context, copy(entry), name, values[i] or "") end
  end
end

-- A line of the module's table as it is made. Returns what is to be kept for the next one.
local function table_line(context, line, comments, number)
  local text = line:match "^  %-%-%-? ?(.*)$"
  if text then
    comments[#comments + 1] = text
    return comments
  end
  local name, expression = line:match "^  ([%a_][%w_]*) = (.*)$"
  if name then
    local own, behind = expression:match "^(.-),?%s*%-%- (.*)$"
    local entry = new_entry(context.module, number)
    for _, each in ipairs(comments) do add_comment(entry, each) end
    if behind then add_comment(entry, behind) end
    assigned(context, entry, context.module .. "." .. name, (own or expression):gsub(",$", ""))
  end
  return {}
end

--- The entries of one module. `undocumented` are its public functions without a comment.
---@param name string the module's
---@param text string its source
---@param known? table<string, string> classes of other modules, by the last part of their names
---@return table[] entries
---@return table[] undocumented
function M.module(name, text, known)
  local function find_known(variable)
    -- Not where a table of that name is made here.
    return known and not text:find("\nlocal " .. variable .. " = [{s]") and known[variable] or nil
  end
  local context = { known = find_known, module = name, entries = {}, by_name = {}, classes = {}, requires = {},
    undocumented = {} }
  context.exported = text:match "\nreturn ([%a_][%w_]*)%s*$" or text:match "\nreturn setmetatable%(([%a_][%w_]*),"
  local functions = text:match "\nreturn function%("
  -- Parameters on lines of their own are joined, and the number of lines stays.
  text = text:gsub("(\nfunction [%w_.:]+)(%b())", function(start, parameters)
    local joined, count = parameters:gsub("\n%s*", "")
    return start .. joined:gsub(",(%S)", ", %1") .. ("\n"):rep(count)
  end)
  local number, entry, head, plain = 0, nil, {}, false
  local in_table
  local in_head = true
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local comment = line:match "^%-%-%- ?(.*)$" or line:match "^%-%-%-(@.*)$"
    if number == 1 then comment = nil end
    if in_head and line:find "^%-%-" and not comment then
      head[#head + 1] = line:gsub("^%-%-%-? ?", "")
    elseif line ~= "" or #head > 0 then
      in_head = false
    end
    if in_table then
      in_table = not line:find "^}" and table_line(context, line, in_table, number)
    elseif line == "return {" or context.exported and line == "local " .. context.exported .. " = {" then
      in_table = {}
    elseif comment then
      entry = entry or new_entry(name, number)
      add_comment(entry, comment)
    elseif line:find "^%-%-" then
      plain = true
    else
      local variable, module = line:match "^local ([%w_]+)%s*=%s*require%s*%(?%s*[\"']([%w_.]+)[\"']"
      if variable then context.requires[variable] = module end
      entry = entry or new_entry(name, number)
      entry.line, entry.plain = number, plain or line:find "%) %-%- " ~= nil
      plain = false
      if entry.class then
        local holder = line:match "^local ([%w_]+)%s*=" or line:match "^([%w_.]+)%s*="
        if holder then context.classes[holder] = entry.class end
        local class = entry.class
        finish(context, entry, class, "class")
      elseif functions and line:find "^return function%(" and #entry.lines > 0 then
        finish(context, entry, name, "function", line:match "^return function%((.-)%)")
      else
        declaration(context, entry, line)
      end
      entry = nil
    end
  end
  -- "moonring.name: what it is" leads the file.
  local headline = table.concat(head, "\n"):gsub("^%s*" .. name:gsub("%p", "%%%0") .. ":%s*", "")
  table.insert(context.entries, 1, { name = name, kind = "module", module = name, line = 1, text = trim(headline),
    internal = headline:find "Internal" and true or nil })
  return context.entries, context.undocumented
end

-- The nearest public module that a module's name begins with.
local function page_of(module)
  while not is_public[module] do
    module = module:match "^(.*)%.[^.]*$"
    if not module then return nil end
  end
  return module
end

-- Decides what is internal, and what is described where.
local function assign(entries)
  local classes = {}
  for _, entry in ipairs(entries) do
    if entry.kind == "class" then classes[entry.name] = classes[entry.name] or entry end
  end
  for _, entry in ipairs(entries) do
    local class = classes[entry.name:match "^(.*):[^:]*$" or entry.name]
    if class then
      entry.page = page_of(class.module)
      if class.internal then entry.internal = true end
    elseif is_public[entry.module] then
      entry.page = entry.module
    else
      entry.internal = true
    end
  end
end

-- By name; a function that has the name of a module wins, for modules are told apart by their kind.
local function index_of(entries)
  local index = {}
  for _, entry in ipairs(entries) do
    if not (index[entry.name] and entry.kind == "module") then index[entry.name] = entry end
  end
  return index
end

local function follow(index, name)
  local entry, steps = index[name], 0
  while entry and entry.alias and steps < 8 do
    entry, steps = index[entry.alias], steps + 1
  end
  return entry
end

-- The same thing under another name: what an alias stands for, or what a comment leaves to the function it is like.
local function complete(index, entry)
  local target = entry.alias and follow(index, entry.alias) or entry.like and follow(index, entry.like)
  if not target or target == entry then return entry end
  local made = copy(target)
  for _, key in ipairs { "name", "module", "page", "line" } do made[key] = entry[key] end
  if entry.text and entry.text ~= "" then made.text = entry.text end
  for _, key in ipairs { "parameters", "returns" } do
    if entry[key] and #entry[key] > 0 then made[key] = entry[key] end
  end
  made.internal = entry.internal
  if made.signature then
    made.signature = entry.name .. made.signature:match "%(.*$"
    made.kind = "function"
  end
  return made
end

--- The entries of several modules: { [name] = text of the source }.
---@param sources table<string, string>
---@return table[] entries in the order of the names
---@return table[] undocumented
function M.all(sources)
  local names, entries, undocumented = {}, {}, {}
  local known = {}
  for name, text in pairs(sources) do
    names[#names + 1] = name
    for class in text:gmatch "\n%-%-%-@class (moonring%.[%w_.]+)" do known[class:match "[%w_]+$"] = class end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local found, missing = M.module(name, sources[name], known)
    for _, entry in ipairs(found) do entries[#entries + 1] = entry end
    for _, entry in ipairs(missing) do undocumented[#undocumented + 1] = entry end
  end
  assign(entries)
  local index, complete_ones = index_of(entries), {}
  for _, entry in ipairs(entries) do
    local made = complete(index, entry)
    if not made.alias then complete_ones[#complete_ones + 1] = made end
  end
  return complete_ones, undocumented
end

local function serialize(value, out)
  if type(value) == "table" then
    out[#out + 1] = "{"
    local length = #value
    for i = 1, length do
      serialize(value[i], out)
      out[#out + 1] = ","
    end
    local keys = {}
    for key in pairs(value) do
      if type(key) == "string" then keys[#keys + 1] = key end
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
      out[#out + 1] = ("[%q]="):format(key)
      serialize(value[key], out)
      out[#out + 1] = ","
    end
    out[#out + 1] = "}"
  else
    out[#out + 1] = type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or tostring(value)
  end
end

local function main(arguments)
  local root, sources = nil, {}
  for i = 2, #arguments do
    local argument = arguments[i]
    if not argument:find "%.lua$" then
      root = argument
    else
      local file = assert(io.open(root .. "/" .. argument))
      local name = argument:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
      sources[name] = file:read "*a"
      file:close()
    end
  end
  local out = {}
  serialize(M.all(sources), out)
  local output = assert(io.open(arguments[1], "w"))
  output:write("-- Generated by scripts/annotations.lua from the comments of the modules.\nreturn ", table.concat(out), "\n")
  assert(output:close())
end

if arg and arg[0] and arg[0]:find "annotations%.lua$" and arg[1] then main(arg) end

return M
