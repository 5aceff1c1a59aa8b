-- Writes the reference: a page of docs/reference/ and a file of lua/types/ for each public module, from the comments of the
-- modules (scripts/annotations.lua).
--   luajit scripts/reference.lua write     run by scripts/reference, from the top folder
-- As a module (dofile) it has files(sources) and sources(), for the spec that compares.

local annotations = dofile "scripts/annotations.lua"

local M = {}

local NOTE = "Made by scripts/reference from the comments in lua/moonring; what is changed here is lost."

-- What is on each page: { module =, functions =, classes = { { class =, members = } } }, sorted.
local function sort_out(entries)
  local pages, by_class = {}, {}
  for _, name in ipairs(annotations.PUBLIC) do
    pages[name] = { name = name, functions = {}, classes = {} }
  end
  for _, entry in ipairs(entries) do
    if entry.kind == "class" and not entry.internal and not by_class[entry.name] then
      by_class[entry.name] = { class = entry, members = {} }
      table.insert(pages[entry.page].classes, by_class[entry.name])
    end
  end
  for _, entry in ipairs(entries) do
    local of = by_class[entry.name:match "^(.*):[^:]*$" or ""]
    local page = not entry.internal and pages[entry.page]
    if page and entry.kind == "module" then
      page.module = entry
    elseif page and of then
      of.members[#of.members + 1] = entry
    elseif page and entry.kind ~= "class" then
      table.insert(page.functions, entry)
    end
  end
  local function by_name(left, right) return left.name < right.name end
  for _, page in pairs(pages) do
    table.sort(page.functions, by_name)
    for _, of in ipairs(page.classes) do table.sort(of.members, by_name) end
    -- Objects before the tables of options.
    table.sort(page.classes, function(left, right)
      local one, other = #left.members > 0, #right.members > 0
      if one ~= other then return one end
      return left.class.name < right.class.name
    end)
  end
  return pages
end

-- Markdown -------------------------------------------------------------------------------------------------------------

-- A comment's text in Markdown: what is no code says nothing in its language.
local function prose(text)
  local out, rest = {}, text
  while rest ~= "" do
    local first, last = rest:find("```.-```")
    if not first then first, last = rest:find "`[^`\n]*`" else
      local inner_first, inner_last = rest:find "`[^`\n]+`"
      if inner_first and inner_first < first then first, last = inner_first, inner_last end
    end
    local plain = first and rest:sub(1, first - 1) or rest
    out[#out + 1] = plain:gsub("[*<>|_\\]", function(character)
      return (character == "_" or character == ">" or character == "|") and character or "\\" .. character
    end)
    out[#out + 1] = first and rest:sub(first, last) or ""
    rest = first and rest:sub(last + 1) or ""
  end
  return table.concat(out)
end

-- "moonring.net.connect" as scripts write it: net.connect; a method with the name of an object.
local function spoken(entry)
  local class, method = entry.name:match "([%w_]+):([%w_]+)$"
  local written = entry.signature and entry.signature:match "%(.*$" or ""
  if class then
    local object = class:gsub("%u", function(letter) return "_" .. letter:lower() end):gsub("^_", "")
    return object .. ":" .. method .. written
  end
  return (entry.name:match "([%w_]+%.[%w_]+)$" or entry.name) .. written
end

local function add_parameters(lines, entry)
  local list = {}
  for _, parameter in ipairs(entry.parameters or {}) do
    list[#list + 1] = ("- `%s`%s: `%s`%s"):format(parameter.name, parameter.optional and " (optional)" or "",
      parameter.type, parameter.text ~= "" and ", " .. prose(parameter.text) or "")
  end
  for i, result in ipairs(entry.returns or {}) do
    list[#list + 1] = ("- %s `%s`%s%s"):format(i == 1 and "returns" or "and", result.type,
      result.name and (" `%s`"):format(result.name) or "", result.text ~= "" and ", " .. prose(result.text) or "")
  end
  if #list > 0 then
    lines[#lines + 1] = ""
    for _, line in ipairs(list) do lines[#lines + 1] = line end
  end
end

local function add_entry(lines, entry, level)
  lines[#lines + 1] = ("\n%s `%s`"):format(("#"):rep(level), spoken(entry))
  if entry.kind == "field" and entry.type then lines[#lines + 1] = ("\nA value: `%s`."):format(entry.type) end
  if entry.text ~= "" then lines[#lines + 1] = "\n" .. prose(entry.text) end
  add_parameters(lines, entry)
end

-- Names that one comment stands for are written together.
local function add_all(lines, entries, level)
  local told = {}
  for _, entry in ipairs(entries) do
    local key = entry.each
    if not key then
      add_entry(lines, entry, level)
    elseif not told[key] then
      told[key] = true
      local names = {}
      for _, other in ipairs(entries) do
        if other.each == key then names[#names + 1] = "`" .. spoken(other) .. "`" end
      end
      add_entry(lines, entry, level)
      lines[#lines + 1] = "\nLikewise: " .. table.concat(names, ", ", 2) .. "."
    end
  end
end

local function add_class(lines, of)
  local class = of.class
  lines[#lines + 1] = "\n## " .. class.name
  if class.parents and class.parents ~= "" then
    lines[#lines + 1] = ("\nHas all that `%s` has."):format(class.parents)
  end
  if class.text ~= "" then lines[#lines + 1] = "\n" .. prose(class.text) end
  if #class.fields > 0 then lines[#lines + 1] = "" end
  for _, field in ipairs(class.fields) do
    lines[#lines + 1] = ("- `.%s`%s: `%s`%s"):format(field.name, field.optional and " (optional)" or "", field.type,
      (field.text or "") ~= "" and ", " .. prose(field.text) or "")
  end
  add_all(lines, of.members, 3)
end

local function page_text(page)
  local lines = { ("<!-- %s -->\n# %s"):format(NOTE, page.name) }
  if page.module and page.module.text ~= "" then
    lines[#lines + 1] = "\n" .. prose(page.module.text):gsub("^%l", string.upper)
  end
  if #page.functions > 0 then
    lines[#lines + 1] = "\n## Functions"
    add_all(lines, page.functions, 3)
  end
  for _, of in ipairs(page.classes) do add_class(lines, of) end
  return table.concat(lines, "\n") .. "\n"
end

local function index_text(pages)
  local lines = { ("<!-- %s -->\n# Reference\n"):format(NOTE),
    "One page for each module that scripts use. `:help NAME` shows the same at the [REPL](../repl.md); editors with the Lua",
    "language server take it from [lua/types](../../lua/types) (`workspace.library`).\n",
    "| module | what it is |", "|---|---|" }
  for _, name in ipairs(annotations.PUBLIC) do
    local text = pages[name].module and pages[name].module.text or ""
    local first = text:gsub("\n%s*\n.*$", ""):gsub("\n", " "):gsub("(%w%w)%. .*$", "%1")
    lines[#lines + 1] = ("| [%s](%s.md) | %s |"):format(name, name, prose(first):gsub("|", "\\|"))
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The language server ----------------------------------------------------------------------------------------------------

local function comment(lines, text)
  if text == "" then return end
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = "--- " .. line end
end

local function join(kind, name, text)
  local words = { kind }
  if name then words[2] = name end
  if text and text ~= "" then words[#words + 1] = text:gsub("\n", " ") end
  return table.concat(words, " "):gsub("%s+$", "")
end

local function optional(named)
  return named.name .. (named.optional and "?" or "")
end

local function stub(lines, entry, owner, separator)
  local name = entry.name:match "[.:]([%w_]+)$"
  lines[#lines + 1] = ""
  comment(lines, entry.text)
  if not entry.signature then
    lines[#lines + 1] = "---@type " .. (entry.type or "any")
    lines[#lines + 1] = ("%s.%s = nil"):format(owner, name)
    return
  end
  local written = {}
  for parameter in entry.signature:match("%((.*)%)"):gmatch "[^,]+" do
    written[#written + 1] = parameter:gsub(":.*", ""):gsub("[%s?]", "")
  end
  for _, parameter in ipairs(entry.parameters or {}) do
    lines[#lines + 1] = "---@param " .. join(optional(parameter), parameter.type, parameter.text)
  end
  for _, result in ipairs(entry.returns or {}) do
    lines[#lines + 1] = "---@return " .. join(result.type, result.name, result.text)
  end
  lines[#lines + 1] = ("function %s%s%s(%s) end"):format(owner, separator, name, table.concat(written, ", "))
end

local function types_text(page)
  local lines = { "---@meta " .. page.name, "-- " .. NOTE }
  for _, of in ipairs(page.classes) do
    local class = of.class
    lines[#lines + 1] = ""
    comment(lines, class.text)
    lines[#lines + 1] = "---@class " .. class.name .. (class.parents and class.parents ~= "" and ": " .. class.parents or "")
    for _, field in ipairs(class.fields) do
      lines[#lines + 1] = "---@field " .. join(optional(field), field.type, field.text)
    end
    local owner = class.name:match "([%w_]+)$"
    lines[#lines + 1] = ("local %s = {}"):format(owner)
    for _, member in ipairs(of.members) do stub(lines, member, owner, ":") end
  end
  lines[#lines + 1] = ""
  comment(lines, page.module and page.module.text or "")
  lines[#lines + 1] = "local module = {}"
  for _, entry in ipairs(page.functions) do stub(lines, entry, "module", ".") end
  lines[#lines + 1] = "\nreturn module"
  return table.concat(lines, "\n") .. "\n"
end

--- The files of the reference, by path, and the public names without a comment.
---@param sources table<string, string> by name of the module
---@return table<string, string> files
---@return string[] undocumented
function M.files(sources)
  local entries, missing = annotations.all(sources)
  local pages, files, undocumented = sort_out(entries), {}, {}
  for name, page in pairs(pages) do
    files["docs/reference/" .. name .. ".md"] = page_text(page)
    files["lua/types/" .. name .. ".lua"] = types_text(page)
  end
  files["docs/reference/README.md"] = index_text(pages)
  local classes = {}
  for _, entry in ipairs(entries) do
    if entry.kind == "class" and not entry.internal then classes[entry.name] = true end
  end
  local public = {}
  for _, name in ipairs(annotations.PUBLIC) do public[name] = true end
  for _, entry in ipairs(missing) do
    local class = entry.name:match "^(.*):"
    if class and classes[class] or not class and public[entry.module] then
      undocumented[#undocumented + 1] = ("%s (%s, line %d)"):format(entry.name, entry.module, entry.line)
    end
  end
  for _, entry in ipairs(entries) do
    if entry.page and not entry.internal and entry.kind ~= "class"
      and (entry.text or "") == "" then
      undocumented[#undocumented + 1] = ("%s (%s, line %d): no sentence"):format(entry.name, entry.module, entry.line)
    end
  end
  return files, undocumented
end

--- The sources of all modules below lua/.
---@return table<string, string>
function M.sources()
  local sources = {}
  local list = assert(io.popen "find lua/moonring -name '*.lua'")
  for path in list:lines() do
    local file = assert(io.open(path))
    sources[path:match("^lua/(.*)%.lua$"):gsub("/init$", ""):gsub("/", ".")] = file:read "*a"
    file:close()
  end
  list:close()
  return sources
end

local function main()
  local files, undocumented = M.files(M.sources())
  for path, text in pairs(files) do
    local file = assert(io.open(path, "w"))
    file:write(text)
    assert(file:close())
  end
  for _, what in ipairs(undocumented) do io.stderr:write("undocumented: ", what, "\n") end
  os.exit(#undocumented == 0 and 0 or 1)
end

if arg and arg[0] and arg[0]:find "reference%.lua$" and arg[1] == "write" then main() end

return M
