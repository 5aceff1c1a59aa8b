-- The kinds of buffer that every case runs on, and ways to run a case compiled and interpreted.

local buffer = require "moonring.buffer"
local errors = require "moonring.errors"
local moonring = require "moonring"
local native = require "moonring.native"

local C, ffi = native.C, native.ffi

local M = { list = {} }

-- A maker gives a buffer of #content bytes over the content, position 0, limit = capacity.
local function filled(made, content)
  return made:write(content):reset_for_read()
end

local function add(name, writable, with)
  M.list[#M.list + 1] = { name = name, writable = writable, with = with }
end

local makers = {
  { "native", true, function(content)
    return filled(buffer.allocate(#content), content)
  end },
  { "heap", true, function(content)
    return filled(buffer.allocate(#content, { zone = "heap" }), content)
  end },
  { "shared", true, function(content)
    return filled(buffer.allocate(#content, { zone = "shared" }), content)
  end },
  { "wrapped string", false, function(content)
    return buffer.wrap(content)
  end },
  { "wrapped cdata", true, function(content)
    local array = ffi.new("uint8_t[?]", #content + 1)
    ffi.copy(array, content, #content)
    return buffer.wrap(array, #content)
  end },
}

-- A slice's bytes lie inside those of a larger buffer.
local function inner(make, content)
  local outer = make("<<" .. content .. ">>")
  local part = outer:skip(2):slice(#content)
  outer:release()
  return part
end

for _, maker in ipairs(makers) do
  local name, writable, make = unpack(maker)
  add(name, writable, function(content, case, ...)
    local made = make(content)
    case(made, ...)
    made:release()
  end)
  add("a slice of " .. name, writable, function(content, case, ...)
    local made = inner(make, content)
    case(made, ...)
    made:release()
  end)
  add("a slice of a slice of " .. name, writable, function(content, case, ...)
    local made = inner(function(text)
      return inner(make, text)
    end, content)
    case(made, ...)
    made:release()
  end)
end

-- The pool is closed each time: what it keeps would count as memory in use for other specs.
add("pooled", true, function(content, case, ...)
  local pool = buffer.pool { size = 64, max_bytes = 4096 }
  pool:acquire(#content):fill(255):release()
  local made = filled(pool:acquire(#content), content)
  case(made, ...)
  made:release()
  pool:close()
end)

add("scoped", true, function(content, case, ...)
  moonring.scope(function(scope, ...)
    case(filled(scope:allocate(#content), content), ...)
  end, ...)
end)

-- In trace mode the methods are wrapped, each call looks for its line, and nothing is compiled.
M.traced = C.mr_trace_enabled() ~= 0

-- Runs `fn` often enough to be compiled, and once more in the interpreter.
function M.compiled_and_interpreted(fn, rounds)
  for _ = 1, M.traced and 1 or rounds or 80 do
    fn()
  end
  jit.off()
  jit.flush()
  local ok, failure = pcall(fn)
  jit.on()
  if not ok then error(failure, 0) end
end

-- Asserts that fn(...) raises an error object of that code.
function M.raises(code, fn, ...)
  local ok, failure = pcall(fn, ...)
  if ok then error(("it did not raise %q"):format(code), 2) end
  if not errors.is(failure, code) then
    error(("it raised %s (%s) and not %q"):format(tostring(failure), tostring(type(failure) == "table"
      and failure.code), code),
      2)
  end
  return failure
end

--- Runs a case on every kind, compiled and interpreted.
function M.on_every_kind(content, case)
  for _, kind in ipairs(M.list) do
    M.compiled_and_interpreted(function()
      kind.with(content, case, kind)
    end)
  end
end

return M
