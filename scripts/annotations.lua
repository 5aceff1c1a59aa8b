-- Extracts the LuaCATS comments of Lua modules: what :help of the REPL shows, and what the reference is generated from.
--   luajit scripts/annotations.lua OUTPUT.lua {DIRECTORY MODULE.lua...}...
-- An argument that ends in ".lua" is a module below the last directory named. As a module (require or dofile) it returns
-- { module = function(name, text): entries, all = function(files) }.
--
-- An entry is a documented name: { name =, kind = "module"|"class"|"function"|"method"|"field", module =, line =,
-- text = lines before the tags, signature = "name(parameters)", parameters = { { name =, type =, text =, optional = }
-- }, returns = { { type =, name =, text = } }, fields = (of a class), internal = the comment ends in "Internal." }.
-- An alias is { name =, alias = the name it stands for }.

local M = {}

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

tags["type"] = function(entry, rest)
  entry.type = rest
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
  local class = context.classes[variable]
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

local function finish(context, entry, name, kind, written)
  entry.name, entry.kind = name, kind
  entry.text = trim(table.concat(entry.lines, "\n"))
  entry.lines, entry.open = nil, nil
  if entry.text:find "Internal%.$" then entry.internal = true end
  if written then
    entry.signature = name .. "(" .. written .. ")"
  elseif entry.type and entry.type:find "^fun%(" then
    entry.kind = "function"
    entry.signature = name .. entry.type:match "^fun(%b())"
  end
  context.entries[#context.entries + 1] = entry
  context.by_name[name] = entry
end

local function declaration(context, entry, line)
  local variable, separator, field, written = line:match "^function ([%w_]+)([.:])([%w_]+)%((.-)%)"
  if variable then
    local name = public_name(context, variable, separator, field)
    if name and #entry.lines + #entry.parameters + #entry.returns > 0 then
      finish(context, entry, name, separator == ":" and "method" or "function", written)
    elseif name and not context.by_name[name] then
      context.undocumented[#context.undocumented + 1] = { name = name, module = context.module, line = entry.line }
    end
    return
  end
  -- A method that another module adds to a class of moonring.
  variable, field, written = line:match "^function [%w_]+%.(%u[%w_]*):([%w_]+)%((.-)%)"
  if variable then
    if #entry.lines > 0 then finish(context, entry, "moonring." .. variable .. ":" .. field, "method", written) end
    return
  end
  local expression
  variable, field, expression = line:match "^([%w_]+)%.([%w_]+)%s*=%s*(.-)$"
  if not variable then return end
  local name = public_name(context, variable, context.classes[variable] and ":" or ".", field)
  if not name then return end
  if #entry.lines + #entry.parameters + #entry.returns > 0 or entry.type then
    finish(context, entry, name, "field")
  else
    local target = alias_target(context, expression)
    if target then context.entries[#context.entries + 1] = { name = name, alias = target } end
  end
end

--- The entries of one module. `undocumented` are its public functions without a comment.
---@param name string the module's
---@param text string its source
---@return table[] entries
---@return table[] undocumented
function M.module(name, text)
  local context = { module = name, entries = {}, by_name = {}, classes = {}, requires = {}, undocumented = {} }
  context.exported = text:match "\nreturn ([%a_][%w_]*)%s*$" or text:match "\nreturn setmetatable%(([%a_][%w_]*),"
  local functions = text:match "\nreturn function%("
  local number, entry, head = 0, nil, {}
  local in_head = true
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local comment = line:match "^%-%-%- ?(.*)$" or line:match "^%-%-%-(@.*)$"
    if in_head and line:find "^%-%-" and not comment then
      head[#head + 1] = line:gsub("^%-%- ?", "")
    elseif line ~= "" or #head > 0 then
      in_head = false
    end
    if comment then
      entry = entry or new_entry(name, number)
      add_comment(entry, comment)
    elseif not line:find "^%-%-" then
      local variable, module = line:match "^local ([%w_]+)%s*=%s*require%s*%(?%s*[\"']([%w_.]+)[\"']"
      if variable then context.requires[variable] = module end
      entry = entry or new_entry(name, number)
      entry.line = number
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

--- The entries of several modules: { [name] = text of the source }.
---@param sources table<string, string>
---@return table[] entries in the order of the names
---@return table[] undocumented
function M.all(sources)
  local names, entries, undocumented = {}, {}, {}
  for name in pairs(sources) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local found, missing = M.module(name, sources[name])
    for _, entry in ipairs(found) do entries[#entries + 1] = entry end
    for _, entry in ipairs(missing) do undocumented[#undocumented + 1] = entry end
  end
  return entries, undocumented
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
