-- moonring.failure: errors on their way up through tasks: where they came from, and the last who hear of them.
--
-- An error object reaches its receiver untouched, so its traceback is kept beside it. A string can't be told from
-- another of the same text, so the task that raised it keeps that traceback.
--
-- A traceback is shown without what its reader can't change: the outermost frames, which are moonring's, and, when
-- moonring has raised the error by intent, the innermost ones too. One that has nothing else in it stays as it is when
-- something has gone wrong that nobody thought of, and is left out when the message was meant to say all.

local errors = require "moonring.errors"
local coroutines = require "moonring.coroutines"
local scheduler = require "moonring.scheduler"
local place = require "moonring.place"

local traceback, tracebacks = debug.traceback, coroutines.tracebacks
local current = scheduler.current
local SPAWNER, LINE = scheduler.SPAWNER, scheduler.LINE

local M = {}

--- The handler of every xpcall that a failure may leave by: notes the traceback and returns the failure as it is.
function M.record_traceback(failure)
  if type(failure) == "table" then
    if not tracebacks[failure] then tracebacks[failure] = traceback("", 2):sub(2) end
    return failure
  end
  local task = current()
  if task and task.is_rethrowing then
    task.is_rethrowing = nil
  elseif type(failure) == "string" and task then
    task.failure_traceback = traceback("", 2):sub(2)
  end
  return failure
end

local function kept_traceback(failure, task)
  if type(failure) == "table" then return tracebacks[failure] end
  return task and task.failure_traceback
end

-- How a frame of moonring's own looks in a traceback: "moonring/", or longer where modules come from files.
local OWN = debug.getinfo(1, "S").short_src:match "^(.*)failure%.lua$"

local function is_own(line)
  return line:find(OWN, 1, true) == 2 or line:find("\tmoonring.buffer.", 1, true) == 1
end

local function is_plumbing(line)
  return is_own(line) or line:find "^\t%[C%]: in function '[xp]?p?call'" ~= nil
end

-- Puts lines[first..last], the frames of one task, behind `text`, but those at its ends that are not the program's.
local function add_frames(text, lines, first, last, is_intended)
  local top, bottom = first, last
  while bottom >= top and is_plumbing(lines[bottom]) do bottom = bottom - 1 end
  if is_intended then
    while top <= bottom and (is_plumbing(lines[top]) or lines[top]:find "^\t%[C%]") do top = top + 1 end
  elseif lines[top] and lines[top]:find("\t[C]: in function 'error'", 1, true) then
    top = top + 1
  end
  if top > bottom then
    if is_intended then return end
    top, bottom = first, last
  end
  if top <= bottom then text[#text + 1] = "stack traceback:" end
  for i = top, bottom do text[#text + 1] = lines[i] end
end

local function shorten(trace, is_intended)
  local lines, text = {}, {}
  for line in trace:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local first
  for i, line in ipairs(lines) do
    local is_frame = line:byte() == 9
    if is_frame and not first then first = i end
    if first and not is_frame then
      add_frames(text, lines, first, i - 1, is_intended)
      first = nil
    end
    if not is_frame and line ~= "stack traceback:" then text[#text + 1] = line end
  end
  if first then add_frames(text, lines, first, #lines, is_intended) end
  return table.concat(text, "\n")
end

--- The traceback of an error that left a task, where one is known.
---@return string?
function M.traceback_of(failure, task)
  local trace = kept_traceback(failure, task)
  return trace and shorten(trace, errors.is(failure))
end

-- What a program throws may be anything. A table that doesn't say what it is shows what is in it.
local FIELDS_MAX = 8

local function fields_of(value)
  local parts = {}
  for key, field in pairs(value) do
    if #parts == FIELDS_MAX then
      parts[#parts + 1] = "..."
      break
    end
    local text = type(field) == "string" and ("%q"):format(field) or tostring(field)
    parts[#parts + 1] = tostring(key) .. " = " .. text
  end
  table.sort(parts)
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- What a report says of a failure.
---@return string
function M.text_of(failure)
  if type(failure) ~= "table" then return tostring(failure) end
  local class = getmetatable(failure)
  if class == nil then return "an error that is a table: " .. fields_of(failure) end
  local ok, text = pcall(tostring, failure)
  return ok and text or "an error that can't be shown: " .. tostring(text)
end

--- Raises a failure that has its traceback already.
function M.raise_again(task, failure)
  if type(failure) == "string" then task.is_rethrowing = true end
  error(failure, 0)
end

--- Makes a failure go on where its task was spawned, with `heir` as the task that has it now.
function M.inherit(failure, task, heir)
  local trace = kept_traceback(failure, task)
  if not trace then return end
  if task[SPAWNER] then trace = trace .. "\nspawned at " .. place.text(task[SPAWNER], task[LINE]) end
  if type(failure) == "table" then
    tracebacks[failure] = trace
  else
    heir.failure_traceback = trace
  end
end

--- Tells standard error of a failure that nobody receives.
---@param what string how it came about
function M.report(what, failure, task)
  local text = { ("moonring: %s: %s"):format(what, M.text_of(failure)) }
  local trace = M.traceback_of(failure, task)
  if trace and trace ~= "" then text[#text + 1] = trace end
  if task and task[SPAWNER] then text[#text + 1] = "spawned at " .. place.text(task[SPAWNER], task[LINE]) end
  io.stderr:write(table.concat(text, "\n"), "\n")
end

return M
