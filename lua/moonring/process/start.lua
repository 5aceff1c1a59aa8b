-- moonring.process.start: from the options of a spawn to a running child. Internal to moonring.process.
--
-- The options are checked before anything is opened, so misuse changes nothing; whatever was opened for a child that
-- could not be started is closed again.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local stdio = require "moonring.stdio"
local connection = require "moonring.net.connection"

local C, ffi = native.C, native.ffi

local M = {}

local option_names = {}
for name in ([[stdin stdout stderr descriptors environment extra directory search session process_group user group umask
    grace]]):gmatch "%S+" do
  option_names[name] = true
end

--- Raises misuse of the call `what`. Internal.
local function refuse(what, text, ...)
  errors.raise("argument", what .. ": " .. text, ...)
end

-- A string that C sees whole.
local function check_text(what, name, text)
  if type(text) == "number" then text = tostring(text) end
  if type(text) ~= "string" then refuse(what, "%s: a string is needed, not a %s", name, type(text)) end
  if text:find("\0", 1, true) then refuse(what, "%s holds a zero byte", name) end
  return text
end

-- Strings for C; `keep` holds what it points to.
local function string_array(strings, keep)
  local array = ffi.new("const char *[?]", #strings + 1)
  for i, text in ipairs(strings) do
    array[i - 1] = text
  end
  keep[#keep + 1] = strings
  keep[#keep + 1] = array
  return array
end

local function own_environment()
  local list, i = {}, 0
  local environment = C.mr_environment()
  while environment ~= nil and environment[i] ~= nil do
    list[#list + 1] = ffi.string(environment[i])
    i = i + 1
  end
  return list
end

local function add_variables(what, into, variables)
  for name, value in pairs(variables) do
    name = check_text(what, "the name of a variable", name)
    if name == "" or name:find("=", 1, true) then refuse(what, "%q is no name for a variable", name) end
    if value ~= false then into[#into + 1] = name .. "=" .. check_text(what, "the variable " .. name, value) end
  end
end

local function environment_of(what, options)
  if not options.environment and not options.extra then return nil end
  local list = {}
  if options.environment then
    add_variables(what, list, options.environment)
  else
    list = own_environment()
  end
  if options.extra then
    for i = #list, 1, -1 do
      if options.extra[list[i]:match "^([^=]*)="] ~= nil then table.remove(list, i) end
    end
    add_variables(what, list, options.extra)
  end
  return list
end

-- Opening and closing what becomes the child's descriptors ------------------------------------------------------------

local Plan = {} -- what a spawn has opened
Plan.__index = Plan

function Plan:opened(descriptor)
  self.temporary[#self.temporary + 1] = descriptor
  return descriptor
end

-- Closes what only the child needs.
function Plan:close()
  for _, descriptor in ipairs(self.temporary) do
    C.mr_descriptor_close_now(descriptor)
  end
  self.temporary = {}
end

function Plan:abandon()
  self:close()
  for _, stream in pairs(self.streams) do
    stream:close(0)
  end
end

local numbers = { [0] = "stdin", "stdout", "stderr" }

-- Returns the child's end, or nil, message, code.
local function open_pipe(plan, number)
  local ends = ffi.new "int32_t[2]"
  local name = numbers[number]
  local result = C.mr_pipe_open(ends)
  if result < 0 then return errors.world(result, ("process.spawn: a pipe for %s of '%s'"):format(name, plan.command)) end
  local theirs, ours = ends[0], ends[1]
  if number > 0 then
    theirs, ours = ours, theirs
  end
  plan:opened(theirs)
  local stream, message, code = connection.open(ours, { name = ("%s of %s"):format(name, plan.command) })
  if not stream then
    C.mr_descriptor_close_now(ours)
    return nil, message, code
  end
  plan.streams[name] = stream
  return theirs
end

local function open_null(plan, number)
  local result = C.mr_null_open(number > 0 and 1 or 0)
  if result < 0 then return errors.world(result, ("process.spawn: /dev/null for '%s'"):format(plan.command)) end
  return plan:opened(result)
end

-- The descriptor that `value` stands for.
local function descriptor_of(what, number, value)
  if type(value) == "number" then
    if value < 0 or value > 0x7fffffff or value % 1 ~= 0 then refuse(what, "descriptor %d: %s is none", number, value) end
    return value
  end
  local found
  if type(value) == "table" or type(value) == "cdata" then
    -- Connections and outputs have descriptor(), files the number in that field, moonring.descriptor's objects number().
    local ok, member = pcall(function() return value.descriptor or value.number end)
    if ok and member then found = type(member) == "function" and member(value) or member end
  end
  if type(found) ~= "number" or found < 0 then
    refuse(what, "descriptor %d: a descriptor's number or an open connection or file is needed, not %s", number,
      tostring(value))
  end
  return found
end

local function place(plan, number, value)
  local into = plan.descriptors
  local found, message, code
  if value == nil or value == "null" then
    found, message, code = open_null(plan, number)
  elseif value == "inherit" then
    found = number
  elseif value == "pipe" and number < 3 then
    found, message, code = open_pipe(plan, number)
  elseif value == "stdout" and number == 2 then
    found = into[1]
  else
    found = descriptor_of(plan.what, number, value)
  end
  if not found then return nil, message, code end
  into[number] = found
  return true
end

local function place_all(plan, options)
  for number = 0, 2 do
    local ok, message, code = place(plan, number, options[numbers[number]])
    if not ok then return nil, message, code end
  end
  for number, value in pairs(options.descriptors or {}) do
    local ok, message, code = place(plan, number, value)
    if not ok then return nil, message, code end
  end
  return true
end

local function count_descriptors(what, options)
  local count = 3
  for number in pairs(options.descriptors or {}) do
    if type(number) ~= "number" or number % 1 ~= 0 or number < 3 or number >= C.MR_SPAWN_DESCRIPTORS_MAX then
      refuse(what, "descriptors: numbers from 3 to %d are needed, not %s", C.MR_SPAWN_DESCRIPTORS_MAX - 1, tostring(number))
    end
    count = math.max(count, number + 1)
  end
  return count
end

-- Starting ------------------------------------------------------------------------------------------------------------

local function set_user(what, spawn, options, keep)
  if options.user ~= nil then
    local name = check_text(what, "user", options.user)
    local user = ffi.new "mr_user"
    local result = C.mr_user_find(name, user)
    if result < 0 then return errors.world(result, ("%s: look up the user '%s'"):format(what, name)) end
    spawn.user, spawn.group = user.user, user.group
    spawn.groups, spawn.group_count = user.groups, user.group_count
    keep[#keep + 1] = user
  end
  if options.group ~= nil then
    local name = check_text(what, "group", options.group)
    local group = ffi.new "uint32_t[1]"
    local result = C.mr_group_find(name, group)
    if result < 0 then return errors.world(result, ("%s: look up the group '%s'"):format(what, name)) end
    spawn.group = group[0]
  end
  return true
end

local function words_of(step, spawn, options)
  if step == C.MR_SPAWN_CLONE then return "make a process for" end
  if step == C.MR_SPAWN_SESSION then return "make a session for" end
  if step == C.MR_SPAWN_PROCESS_GROUP then return "set the process group of" end
  if step == C.MR_SPAWN_DESCRIPTOR then return "hand descriptors to" end
  if step == C.MR_SPAWN_GROUPS then return ("change to the group %.0f for"):format(tonumber(spawn.group)) end
  if step == C.MR_SPAWN_USER then return ("change to the user %.0f for"):format(tonumber(spawn.user)) end
  if step == C.MR_SPAWN_DIRECTORY then return ("change to the directory '%s' for"):format(options.directory) end
  return "start"
end

-- What an operator can do about it, where the errno's sentence doesn't say.
local function remedy_of(step, code, search)
  if step == C.MR_SPAWN_CLONE and code == "EAGAIN" then
    return "the limit of processes has been reached (ulimit -u, or pids.max of the control group)"
  elseif code == "EMFILE" then
    return "raise ulimit -n"
  elseif step == C.MR_SPAWN_EXECUTE and code == "E2BIG" then
    return "arguments and environment together are longer than a quarter of ulimit -s, or one of them than 128 KiB"
  elseif step == C.MR_SPAWN_EXECUTE and code == "ENOENT" and search then
    return "looked for in " .. (search == "" and "no directory" or search)
  elseif step == C.MR_SPAWN_EXECUTE and code == "ENOEXEC" then
    return "neither a program nor a script that begins with #!"
  end
end

local function spawn_failure(spawn, result, options, command, search)
  local step = spawn.failed_step
  local _, message, code = errors.world(result, ("process.spawn: %s '%s'"):format(words_of(step, spawn, options), command))
  local remedy = remedy_of(step, code, search)
  if remedy then message = ("%s (%s)"):format(message, remedy) end
  return nil, message, code
end

local function arguments_of(what, options)
  local arguments = {}
  for i, argument in ipairs(options) do
    arguments[i] = check_text(what, i == 1 and "the program" or "argument " .. (i - 1), argument)
  end
  if not arguments[1] or arguments[1] == "" then refuse(what, "the name of a program is needed") end
  return arguments
end

local function search_of(what, options, program)
  if program:find("/", 1, true) or options.search == false then return nil end
  if options.search == nil or options.search == true then return os.getenv "PATH" or "/usr/bin:/bin" end
  return check_text(what, "search", options.search)
end

local function start(plan, spawn, options, search)
  local ok, message, code = place_all(plan, options)
  if not ok then return nil, message, code end
  stdio.flush_now() -- what this process has written comes before what its child writes to the same place
  spawn.descriptors = plan.descriptors
  local result = C.mr_process_spawn(loop.handle(), spawn)
  if result < 0 then return spawn_failure(spawn, result, options, plan.command, search) end
  return result
end

--- Raises for options that are none, but for those whose names are keys of `further`.
function M.check_options(what, options, further)
  if type(options) ~= "table" then
    refuse(what, "a table of the program and its arguments is needed, not a %s", type(options))
  end
  for name in pairs(options) do
    if type(name) ~= "number" and not option_names[name] and not (further and further[name]) then
      errors.refuse_option(what, name, option_names, further or {})
    end
  end
end

--- A number that isn't negative, or the default.
function M.number_option(what, options, name, default)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < 0 then
    refuse(what, "%s: a number is needed, not %s", name, tostring(value))
  end
  return value
end

-- The program's start as C takes it.
local function describe(what, options, arguments, search, count, keep)
  local spawn = ffi.new "mr_spawn"
  spawn.program, spawn.search = arguments[1], search
  spawn.arguments = string_array(arguments, keep)
  local environment = environment_of(what, options)
  if environment then spawn.environment = string_array(environment, keep) end
  if options.directory ~= nil then spawn.directory = check_text(what, "directory", options.directory) end
  spawn.descriptor_count = count
  spawn.session = options.session and 1 or 0
  spawn.process_group = options.process_group == true and 0 or M.number_option(what, {
    process_group = options.process_group or nil }, "process_group", -1)
  spawn.umask = M.number_option(what, options, "umask", -1)
  spawn.user, spawn.group = -1, -1
  return spawn
end

--- Starts what the options describe.
---@param options moonring.SpawnOptions
---@return integer? slot of the child
---@return table|string streams of ours by the names of their descriptors; the message when there is no child
---@return string? code
function M.start(options)
  local what = "process.spawn"
  M.check_options(what, options)
  local arguments = arguments_of(what, options)
  local search = search_of(what, options, arguments[1])
  local count = count_descriptors(what, options)
  local keep = { arguments, search, options.directory }
  local spawn = describe(what, options, arguments, search, count, keep)
  local ok, message, code = set_user(what, spawn, options, keep)
  if not ok then return nil, message, code end
  local plan = setmetatable({ what = what, command = arguments[1], temporary = {}, streams = {}, keep = keep,
    descriptors = ffi.new("int32_t[?]", count) }, Plan)
  for number = 3, count - 1 do
    plan.descriptors[number] = -1
  end
  local raised, slot
  raised, slot, message, code = pcall(start, plan, spawn, options, search)
  if not raised or not slot then
    plan:abandon()
    if not raised then error(slot, 0) end
    return nil, message, code
  end
  plan:close()
  return slot, plan.streams
end

M.refuse, M.check_text, M.names = refuse, check_text, numbers

return M
