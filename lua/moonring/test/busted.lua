-- moonring.test.busted: busted inside a task.
--
-- busted is plain Lua and LuaJIT yields through all of it, so specs wait as any code does once the whole of busted runs in a
-- task. What this module adds is put in place when busted's runner is loaded, by whichever way (moonring test, busted
-- --lua=moonring, moonring /usr/bin/busted):
--
-- - All of moonring's modules are loaded before. busted forgets what a spec file has loaded, and a second copy of a module
--   that declares FFI types would not fit the first.
-- - busted makes ffi.typeof, ffi.cdef and ffi.metatype remember their results by their first argument only, which
--   mixes up ffi.typeof("struct { $ x; }", ...) of different types. Ours remembers what may be remembered (see
--   remember_types).
-- - Each test runs in a scope of its own with a deadline; a task of it that fails fails the test, with the same error
--   object.
-- - After each test, what it has left behind makes it fail (moonring.test.leaks).
-- - Coverage counts lines by a hook, which compiled code doesn't call: --coverage turns the compiler off.
-- - With --jobs files run in processes of their own (moonring.test.jobs), with --slowest what took long is listed.

local errors = require "moonring.errors"
local settings = require "moonring.test.settings"

local M = {}

-- Modules ------------------------------------------------------------------------------------------------------------------

-- What is no part of the runtime, or costs something when it is loaded.
local function is_left_out(name)
  return name:find "^moonring%.cli" or name == "moonring.trace" or name == "moonring.annotations"
end

local function load_runtime()
  local names = {}
  for name in pairs(package.preload) do
    if name:find "^moonring%f[.%z]" and not is_left_out(name) then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    pcall(require, name) -- one whose library is missing fails again, and tells, where it is used
  end
end

-- busted's patch of the FFI, with memories that tell apart what differs. A type that was given a metatable can't be given
-- another; a module that is loaded again gets its type with the metatable that forwards to the new one.
local function remember_types()
  local ffi = require "ffi"
  local typeof, cdef, metatype = ffi.typeof, ffi.cdef, ffi.metatype
  local types, declared, forwards = {}, {}, {}
  function ffi.typeof(declaration, ...) -- luacheck: ignore
    if type(declaration) ~= "string" or select("#", ...) > 0 then return typeof(declaration, ...) end
    local made = types[declaration]
    if not made then
      made = typeof(declaration)
      types[declaration] = made
    end
    return made
  end
  function ffi.cdef(text, ...) -- luacheck: ignore
    if declared[text] and select("#", ...) == 0 then return end
    cdef(text, ...)
    declared[text] = true
  end
  local names = { "__index", "__newindex", "__call", "__len", "__tostring", "__eq", "__lt", "__le", "__concat", "__add",
    "__sub", "__mul", "__div", "__mod", "__pow", "__unm", "__gc", "__pairs", "__ipairs", "__new" }
  function ffi.metatype(of, metatable) -- luacheck: ignore
    local made = typeof(of)
    local key = tostring(made)
    local known = forwards[key]
    if not known then
      forwards[key] = { first = metatable }
      return metatype(made, metatable)
    end
    -- The first table stays attached; its fields become those of the new one.
    for _, name in ipairs(names) do
      rawset(known.first, name, rawget(metatable, name))
    end
    return made
  end
end

-- Tests --------------------------------------------------------------------------------------------------------------------

local function pack(...)
  return { n = select("#", ...), ... }
end

local function title(busted, element)
  local names = { element.name }
  local parent = busted.context.parent(element)
  while parent and parent.descriptor ~= "file" do
    if parent.name then table.insert(names, 1, parent.name) end
    parent = busted.context.parent(parent)
  end
  return table.concat(names, " ")
end

-- Reports a failure of a test that its own code has not raised.
local function publish(safe, descriptor, element, failure)
  return safe(descriptor, function() error(failure, 0) end, element)
end

local function deadline_error(name, seconds)
  return errors.new("deadline", ("deadline: %s has taken more than %g s; moonring.test.deadline(seconds) gives it more\n%s")
    :format(name, seconds, require("moonring.inspect").text()))
end

-- A deadline that says what the test was waiting for.
local function limit(scope, name, seconds)
  local clock = require "moonring.clock"
  local timer = { scope = scope }
  function timer:expired()
    self.number = nil
    scope:cancel(deadline_error(name, seconds))
  end
  timer.number = clock.start(seconds, timer)
  return function()
    if timer.number then clock.stop(timer.number, timer) end
    timer.number = nil
  end
end

-- Waits for what a test that has gone well has started and not waited for, for a moment. Returns whether it has ended.
local function let_children_end(scope)
  local moonring, clock = require "moonring", require("moonring.native").C.mr_clock_now
  local until_time = clock() + require("moonring.test.leaks").GRACE
  while scope:count_children() > 0 and clock() < until_time do
    moonring.sleep(0.002)
  end
  return scope:count_children() == 0
end

local function run_test(busted, safe, descriptor, run, element)
  local moonring, leaks = require "moonring", require "moonring.test.leaks"
  local own = settings.begin()
  local name = title(busted, element)
  local before = settings.leaks ~= "ignore" and leaks.snapshot()
  local results, left
  local ok, failure = pcall(moonring.scope, function(scope)
    scope:tell_failures(function(child_failure)
      own.child_failure = own.child_failure or { child_failure }
      scope:cancel(child_failure)
    end)
    own.stop_deadline = limit(scope, name, own.deadline)
    function own.set_deadline(seconds)
      own.stop_deadline()
      own.stop_deadline = limit(scope, name, seconds)
    end
    results = pack(safe(descriptor, run, element))
    own.stop_deadline()
    local passed = results[1]:success()
    if passed and not scope:cancelled() and not let_children_end(scope) and before and not own.allow_leaks then
      left = leaks.left(before)
    end
    own.is_cut_short = (not passed or scope:count_children() > 0) and not scope:cancelled()
    if own.is_cut_short then scope:cancel() end
  end)
  if own.stop_deadline then own.stop_deadline() end
  settings.finish(own)
  if own.child_failure and results and results[1]:success() then ok, failure = false, own.child_failure[1] end
  if not ok and results and results[1]:success() and not (own.is_cut_short and errors.is(failure, "cancelled")) then
    return unpack(pack(publish(safe, descriptor, element, failure)))
  end
  if before and results and results[1]:success() and not own.allow_leaks then
    left = left or leaks.left(before)
    if left then
      local message = ("%s has left something behind:\n  %s"):format(name, table.concat(left, "\n  "))
      if settings.leaks == "report" then
        io.stderr:write(message, "\n")
      else
        return publish(safe, descriptor, element, errors.new("leak", message))
      end
    end
  end
  return unpack(results, 1, results.n)
end

-- before_each and the like: a deadline, but what they start lives on.
local function run_block(busted, safe, descriptor, run, element)
  local moonring = require "moonring"
  local results
  local ok, failure = pcall(moonring.scope, function(scope)
    local stop = limit(scope, ("%s of %s"):format(descriptor, title(busted, element)), settings.deadline)
    results = pack(safe(descriptor, run, element))
    stop()
    scope:hand_over()
  end)
  if not ok and results[1]:success() then return publish(safe, descriptor, element, failure) end
  return unpack(results, 1, results.n)
end

local bounded = {
  before_each = true, after_each = true, strict_setup = true, strict_teardown = true, lazy_setup = true,
  lazy_teardown = true, finally = true,
}

local function adapt(busted)
  local safe = busted.safe
  function busted.safe(descriptor, run, element)
    -- The executor of a test runs under the same name, around before_each and after_each.
    if descriptor == "it" and run == element.run then return run_test(busted, safe, descriptor, run, element) end
    if bounded[descriptor] then return run_block(busted, safe, descriptor, run, element) end
    return safe(descriptor, run, element)
  end
  if settings.slowest then require("moonring.test.slowest").watch(busted, settings.slowest) end
  return busted
end

-- Loading ------------------------------------------------------------------------------------------------------------------

-- The module of that name from package.path, past package.preload.
local function load_real(name)
  local path, message = package.searchpath(name, package.path)
  if not path then
    errors.raise("argument", "%s",
      "busted is not installed (Debian: apt-get install lua-busted; or luarocks install busted):" .. message)
  end
  return assert(loadfile(path))(name)
end

-- Has `adapt(module)` loaded in the place of one of busted's modules.
local function replace(name, adapt_module)
  package.preload[name] = function()
    return adapt_module(load_real(name))
  end
end

--- Loads busted's runner, adapted to run inside a task. Called by require "busted.runner".
---@param name string
---@return function runner
function M.load(name)
  package.preload[name] = nil
  for _, argument in ipairs(arg or {}) do
    if argument == "--coverage" or argument == "-c" then
      jit.off()
      jit.flush()
    end
  end
  load_runtime()
  if settings.leaks ~= "ignore" then require("moonring.test.leaks").watch() end
  replace("busted.core", function(real)
    return function() return adapt(real()) end
  end)
  if settings.jobs or settings.worker then require("moonring.test.jobs").install(replace) end
  package.preload["busted.luajit"] = function()
    return remember_types
  end
  return load_real(name)
end

return M
