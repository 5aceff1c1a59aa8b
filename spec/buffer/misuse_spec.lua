-- Every method with arguments that make no sense: it may raise an error object or return, and nothing else.

local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local core = require "moonring.buffer.core"
local errors = require "moonring.errors"
local ffi = require "ffi"

local SEED = tonumber(os.getenv "MOONRING_SEED") or os.time() % 1000000
local ROUNDS = 100

local arguments = {
  function() return nil end,
  function() return -1 end,
  function() return 0 end,
  function() return 1 end,
  function() return 3 end,
  function() return 0.5 end,
  function() return 0 / 0 end,
  function() return math.huge end,
  function() return 2 ^ 31 end,
  function() return 2 ^ 32 + 1 end,
  function() return "" end,
  function() return "abc" end,
  function() return "u16" end,
  function() return ("x"):rep(300) end,
  function() return true end,
  function() return {} end,
  function() return { 1, 2, "x" } end,
  function() return print end,
  function() return 5LL end,
  function() return -1LL end,
  function() return ffi.new("uint8_t[4]") end,
  function() return ffi.cast("uint8_t *", nil) end,
  function() return buffer.wrap("wrapped") end,
  function() return buffer.allocate(8) end,
  function()
    local released = buffer.allocate(8)
    released:release()
    return released
  end,
  function() return buffer.chain() end,
}

local function check(what, fn, ...)
  local ok, failure = pcall(fn, ...)
  if not ok and not errors.is(failure) then
    local given = {}
    for i = 1, select("#", ...) do
      given[i] = tostring((select(i, ...)))
    end
    error(("seed %d: %s(%s) raised %s"):format(SEED, what, table.concat(given, ", "), tostring(failure)), 0)
  end
end

local function random_argument()
  return arguments[math.random(#arguments)]()
end

local function misuse_methods(make, methods)
  local names = {}
  for name, method in pairs(methods) do
    if type(method) == "function" and not name:find("^__") then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    for _ = 1, ROUNDS / 10 do
      make(function(object)
        for _ = 1, 10 do
          check(name, methods[name] and object[name], object, random_argument(), random_argument(), random_argument())
        end
      end)
    end
  end
end

describe("misuse", function()
  for _, kind in ipairs(kinds.list) do
    it("raises error objects and nothing worse: " .. kind.name, function()
      math.randomseed(SEED)
      misuse_methods(function(case)
        kind.with("0123456789", case)
      end, core.Buffer)
    end)
  end

  it("of a chain raises error objects and nothing worse", function()
    math.randomseed(SEED)
    local internal = { pull = true, consume = true }
    local methods = {}
    for name, method in pairs(getmetatable(buffer.chain())) do
      if not internal[name] then methods[name] = method end
    end
    misuse_methods(function(case)
      case(buffer.chain({ max_bytes = 100 }):append("abc"):append("defg\r\n"))
    end, methods)
  end)

  it("of the module's functions raises error objects and nothing worse", function()
    math.randomseed(SEED)
    for _, name in ipairs {
      "allocate", "wrap", "open_shared", "chain", "pool", "struct", "inflater", "deflater", "inflate", "deflate",
      "utf8_decoder", "is",
    } do
      for _ = 1, ROUNDS do
        check("buffer." .. name, buffer[name], random_argument(), random_argument())
      end
    end
    local stream, record = buffer.inflater(), buffer.struct { { "n", "u8" }, { "text", "bytes", "n" } }
    local decoder, pool = buffer.utf8_decoder(), buffer.pool { size = 10 }
    for _ = 1, ROUNDS do
      check("inflater:update", stream.update, stream, random_argument())
      check("inflater:run", stream.run, stream, random_argument(), random_argument())
      check("struct:read", record.read, record, random_argument())
      check("struct:try_read", record.try_read, record, random_argument())
      check("struct:write", record.write, record, random_argument(), random_argument())
      check("struct:write", record.write, record, buffer.allocate(9), { n = random_argument(), text = random_argument() })
      check("decoder:decode", decoder.decode, decoder, random_argument())
      check("pool:acquire", function(size)
        pool:acquire(size):release()
      end, random_argument())
    end
  end)
end)
