-- moonring.coroutines: coroutines of the user's own inside tasks, and the places where LuaJIT cannot yield.
--
-- A task is a coroutine, and its wait is a yield that must reach the scheduler also from a coroutine that the task
-- itself resumes. So a wait yields a mark of ours, and coroutine.resume and coroutine.wrap are replaced by versions
-- that hand the mark outward and what comes back inward; yields of the user's go where they always went. The
-- replacement happens when this module is loaded, which the executable does before any code of the user's.
--
-- Under some C functions LuaJIT cannot yield (require, table.sort, string.gsub ...). A wait there raises an error that
-- names the function and says what to do instead; it never disturbs the state of what was waited on.

local errors = require "moonring.errors"

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running, isyieldable = coroutine.running, coroutine.isyieldable
local getinfo, traceback = debug.getinfo, debug.traceback

local M = {
  -- The originals, for the scheduler.
  create = create,
  resume = resume,
  yield = yield,
}

-- What a wait yields, and nobody else has.
local WAIT = {}
M.WAIT = WAIT

-- By coroutine: the one that it resumed and that waits. Followed inward it leads to where a task waits.
local inside = setmetatable({}, { __mode = "k" })
-- The coroutines that wait, which only their task may resume.
local waiting = setmetatable({}, { __mode = "k" })

-- Tracebacks of error objects on their way up. Kept beside the object, which its receiver gets untouched.
local tracebacks = setmetatable({}, { __mode = "k" })
M.tracebacks = tracebacks

-- C functions that a yield passes through.
local transparent = {
  [pcall] = true, [xpcall] = true, [error] = true, [tostring] = true, [resume] = true, [yield] = true,
  [coroutine.wrap] = true, [getinfo] = true, [traceback] = true,
}

local remedies = {
  require = "load the module with moonring.require, or wait in a function of it that is called later",
  dofile = "use loadfile(path)() in its place",
  ["table.sort"] = "fetch what the comparison needs before sorting",
  ["string.gsub"] = "collect the matches with string.gmatch first, or loop with string.find",
}

local function name_of(func)
  for _, library in ipairs { "string", "table", "io", "os", "debug", "coroutine", "math", "bit", "jit", "package" } do
    for key, value in pairs(package.loaded[library] or {}) do
      if value == func then return library .. "." .. key end
    end
  end
  for key, value in pairs(_G) do
    if value == func then return key end
  end
end

local function function_in_the_way()
  for level = 2, 200 do
    local info = getinfo(level, "Snf")
    if not info then return nil end
    if info.what == "C" and not transparent[info.func] then
      return name_of(info.func) or info.name or "a C function", info.func
    end
  end
end

--- The error for a wait in the running coroutine where it can't yield.
local function refusal()
  local name = function_in_the_way()
  if not name then
    return errors.misuse("boundary", "cannot wait here: LuaJIT can't yield in a finalizer or a callback from C")
  end
  local remedy = remedies[name] or ("do what waits before or after %s, outside of what it calls back"):format(name)
  local message = "cannot wait inside %s: LuaJIT can't yield across this C function; %s"
  return errors.misuse("boundary", message:format(name, remedy))
end
M.refusal = refusal

-- `inner`, resumed by the running coroutine, waits: so does this one. Returns what `inner` gets: nothing, or an error.
local function wait_for(inner)
  local own = running()
  if not isyieldable() then return refusal() end
  inside[own], waiting[inner] = inner, true
  local refused = yield(WAIT)
  inside[own], waiting[inner] = nil, nil
  return refused
end

local function step(thread, ok, mark, ...)
  if ok and mark == WAIT then return step(thread, resume(thread, wait_for(thread))) end
  if not ok and type(mark) == "table" and not tracebacks[mark] then tracebacks[mark] = traceback(thread) end
  return ok, mark, ...
end

local function resume_own(thread, ...)
  if waiting[thread] then return false, "cannot resume a coroutine that waits inside its task" end
  return step(thread, resume(thread, ...))
end

local function unwrap(ok, ...)
  if ok then return ... end
  error((...), 2)
end

local function wrap_own(fn)
  local thread = create(fn)
  return function(...)
    return unwrap(resume_own(thread, ...))
  end
end

-- Set by the scheduler: the coroutine of the running task.
function M.task_coroutine()
end

local function yield_own(...)
  local own = running()
  if own and own == M.task_coroutine() then
    errors.raise("argument", "coroutine.yield: no coroutine of your own runs here; moonring.sleep(0) lets other tasks run")
  end
  return yield(...)
end

coroutine.resume, coroutine.wrap, coroutine.yield = resume_own, wrap_own, yield_own -- luacheck: ignore

--- The coroutine that this one resumed and that waits inside it; nil when there is none.
---@param thread thread
---@return thread?
function M.resumed_by(thread)
  return inside[thread]
end

--- The innermost of the coroutines that wait inside one another.
---@param thread thread
---@return thread
function M.innermost(thread)
  while inside[thread] do
    thread = inside[thread]
  end
  return thread
end

--- The traceback of a task's coroutine, the innermost coroutine first.
---@param thread thread
---@return string
function M.traceback(thread)
  local parts = {}
  while thread do
    table.insert(parts, 1, (traceback(thread)))
    thread = inside[thread]
  end
  return table.concat(parts, "\n")
end

return M
