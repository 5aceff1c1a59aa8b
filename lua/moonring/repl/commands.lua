-- moonring.repl.commands: what begins with a colon.
--
-- Each is a function of the session and the rest of the line; it writes through session.write and returns whether it went
-- well. They run as a block does: in a task, and may wait.

local show = require "moonring.repl.show"

local M = {}

--- Internal.
---@class moonring.repl.Command
---@field usage string
---@field text string
---@field run fun(session: moonring.repl.Session, rest: string): boolean

---@type table<string, moonring.repl.Command>
local commands = {}

-- Help -----------------------------------------------------------------------------------------------------------------

local index -- name -> entry

local function entries()
  if index then return index end
  index = {}
  for _, entry in ipairs(require "moonring.annotations") do
    local known = index[entry.name]
    -- A module and a function in it may have one name (moonring.channel): both are kept.
    if known and known.kind == "module" and entry.kind ~= "module" then
      entry.module_entry = known
    end
    if not (known and entry.kind == "module") then index[entry.name] = entry else known.module_entry = entry end
  end
  return index
end

local function resolve(entry)
  local steps = 0
  while entry and entry.alias and steps < 8 do
    entry, steps = entries()[entry.alias], steps + 1
  end
  return entry
end

-- A name as a person writes it: moonring.sleep, net.connect, Connection:read, connection:read, sleep.
local function find(name)
  local all = entries()
  local exact = resolve(all[name]) or resolve(all["moonring." .. name])
  if exact then return { exact } end
  local lower, found, seen = name:lower(), {}, {}
  for full, entry in pairs(all) do
    local last = full:match "[.:]([%w_]+)$"
    if full:lower():sub(-#lower - 1):find("^[.:]" .. lower:gsub("%p", "%%%0") .. "$") or last == name then
      local resolved = resolve(entry)
      if resolved and not resolved.internal and not seen[resolved] then
        seen[resolved] = true
        found[#found + 1] = resolved
      end
    end
  end
  table.sort(found, function(left, right) return left.name < right.name end)
  return found
end

local function members(name)
  local list = {}
  for full, entry in pairs(entries()) do
    local rest = full:sub(1, #name + 1):find("^" .. name:gsub("%p", "%%%0") .. "[.:]$") and full:sub(#name + 2)
    local resolved = rest and rest:find "^[%w_]+$" and resolve(entry)
    if resolved and not resolved.internal then
      list[#list + 1] = full:sub(#name + 1, #name + 1) .. rest
    end
  end
  table.sort(list)
  return list
end

local function wrap(list, indent, width)
  local lines, line = {}, indent
  for _, item in ipairs(list) do
    if #line + #item + 2 > width and line ~= indent then
      lines[#lines + 1] = line
      line = indent
    end
    line = line .. item .. "  "
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function describe(session, entry)
  local lines = { session:paint("1", entry.signature or entry.name) }
  if entry.parents and entry.parents ~= "" then lines[1] = lines[1] .. ": " .. entry.parents end
  if entry.text ~= "" then -- examples are set in
    lines[#lines + 1] = entry.text:gsub("```lua\n(.-)\n```", function(code) return "  " .. code:gsub("\n", "\n  ") end)
  end
  for _, parameter in ipairs(entry.parameters or {}) do
    lines[#lines + 1] = ("  %s%s: %s  %s"):format(parameter.name, parameter.optional and "?" or "", parameter.type,
      parameter.text)
  end
  for _, result in ipairs(entry.returns or {}) do
    lines[#lines + 1] = ("  returns %s%s  %s"):format(result.type, result.name and " " .. result.name or "", result.text)
  end
  for _, field in ipairs(entry.fields or {}) do
    lines[#lines + 1] = ("  .%s%s: %s  %s"):format(field.name, field.optional and "?" or "", field.type, field.text)
  end
  if entry.kind == "module" or entry.kind == "class" then
    local list = members(entry.name)
    if #list > 0 then lines[#lines + 1] = wrap(list, "  ", session.width) end
  end
  for i, line in ipairs(lines) do
    lines[i] = line:gsub("%s+$", "")
  end
  return table.concat(lines, "\n") .. "\n"
end

local function overview(session)
  local lines = { "What is typed runs as a task: it may wait, and other tasks run meanwhile." }
  local list = {}
  for name in pairs(commands) do list[#list + 1] = name end
  table.sort(list)
  for _, name in ipairs(list) do
    lines[#lines + 1] = ("  %-16s %s"):format(commands[name].usage, commands[name].text)
  end
  lines[#lines + 1] = "Names: _ is the last value, _error the last error. `local` names stay for the session."
  lines[#lines + 1] = "Keys: Tab completes, C-r searches the history, C-c stops what runs, C-d ends."
  local modules = {}
  for name, entry in pairs(entries()) do
    local module = entry.kind == "module" and entry or entry.module_entry
    if module and not module.internal then modules[#modules + 1] = name end
  end
  table.sort(modules)
  lines[#lines + 1] = "Modules:"
  lines[#lines + 1] = wrap(modules, "  ", session.width)
  return table.concat(lines, "\n") .. "\n"
end

commands.help = {
  usage = ":help [name]", text = "this, or what a name is",
  run = function(session, name)
    if name == "" then
      session.write(overview(session))
      return true
    end
    local found = find((name:gsub("%(%)$", "")))
    for i = 1, math.min(#found, 8) do
      session.write((i > 1 and "\n" or "") .. describe(session, found[i]))
      if found[i].module_entry and found[i].module_entry ~= found[i] then
        session.write("\n" .. describe(session, found[i].module_entry))
      end
    end
    if #found > 8 then session.write(("... and %d more with that name\n"):format(#found - 8)) end
    if #found == 0 then session.write("nothing is known of " .. name .. "\n") end
    return #found > 0
  end,
}

-- Looking at the process -----------------------------------------------------------------------------------------------

commands.tasks = {
  usage = ":tasks", text = "what every task waits on",
  run = function(session)
    session.write(require("moonring.inspect").text())
    return true
  end,
}

commands.stats = {
  usage = ":stats", text = "the loop's counters",
  run = function(session)
    local statistics = require("moonring").stats()
    local plain = {}
    for name, value in pairs(statistics) do
      if type(value) == "number" then plain[name] = value end
    end
    session.write(show.text(plain, { colour = session.colour, width = session.width }) .. "\n")
    return true
  end,
}

commands.slabs = {
  usage = ":slabs", text = "native memory: slabs, chunks, iovecs",
  run = function(session)
    session.write(show.text(setmetatable(require("moonring").stats().memory, nil),
      { colour = session.colour, width = session.width }) .. "\n")
    return true
  end,
}

-- Running --------------------------------------------------------------------------------------------------------------

commands.time = {
  usage = ":time code", text = "how long it takes, and what it returns",
  run = function(session, text)
    local fn, found = session:compile(text)
    if not fn then
      session.write("error: " .. found .. "\n")
      return false
    end
    local clock = require "moonring.clock"
    local before, cpu = clock.now(), os.clock()
    local results = session:call(fn, found)
    local elapsed, computing = clock.now() - before, os.clock() - cpu
    session:show_values(results)
    session.write(("%.6f s, %.6f s of them computing\n"):format(elapsed, computing))
    return true
  end,
}

commands.load = {
  usage = ":load file", text = "runs a file",
  run = function(session, path)
    local fn, message = loadfile(path)
    if not fn then
      session.write("error: " .. message .. "\n")
      return false
    end
    setfenv(fn, session.environment)
    session:show_values(session:call(fn, {}))
    return true
  end,
}

local traces -- what the compiler has done since :jit was first asked

-- Keeps the newest of the compiler's events. Attached by the first :jit, for it costs something.
local function watch_compiler()
  if traces then return end
  traces = { stops = 0, aborts = {} }
  local _, vmdef = pcall(require, "jit.vmdef")
  jit.attach(function(what, _, func, _, code, reason)
    if what == "stop" then
      traces.stops = traces.stops + 1
    elseif what == "abort" then
      local message = type(vmdef) == "table" and vmdef.traceerr and vmdef.traceerr[code] or "error " .. tostring(code)
      if type(reason) == "number" and message:find "%%" then message = message:gsub("%%d", tostring(reason)) end
      local where = require("moonring.place").text(func)
      traces.aborts[#traces.aborts + 1] = where .. ": " .. message:gsub("%%s", tostring(reason))
      if #traces.aborts > 20 then table.remove(traces.aborts, 1) end
    end
  end, "trace")
end

commands.jit = {
  usage = ":jit [on|off]", text = "the compiler: what it did; whether it compiles what is typed",
  run = function(session, word)
    if word == "on" or word == "off" then
      session.compiled = word == "on"
    elseif word ~= "" then
      session.write(":jit takes on, off, or nothing\n")
      return false
    end
    local first = not traces
    watch_compiler()
    session.write(("the compiler is %s; what is typed is %s\n"):format(jit.status() and "on" or "off",
      session.compiled and "compiled: C-c can't interrupt its loops" or "interpreted (:jit on compiles it)"))
    if first then
      session.write "from now on, what it compiles is counted; :jit shows it\n"
      return true
    end
    session.write(("%d traces compiled since the last time, %d given up\n"):format(traces.stops, #traces.aborts))
    for _, abort in ipairs(traces.aborts) do session.write("  " .. abort .. "\n") end
    traces.stops, traces.aborts = 0, {}
    return true
  end,
}

-- The names, as keys, for completion.
function M.names()
  return commands
end

--- What :help knows, as keys.
function M.topics()
  local topics = {}
  for name, entry in pairs(entries()) do
    local resolved = resolve(entry)
    if resolved and not resolved.internal then
      topics[name] = true
      topics[name:gsub("^moonring%.", "")] = true
    end
  end
  return topics
end

--- Runs a command's line. Returns whether it went well.
---@param session moonring.repl.Session
---@param line string
---@return boolean ok
function M.run(session, line)
  local name, rest = line:match "^%s*:(%a*)%s*(.-)%s*$"
  local command = commands[name]
  if not command then
    session.write(("there is no command :%s; :help lists them\n"):format(name))
    return false
  end
  return command.run(session, rest)
end

return M
