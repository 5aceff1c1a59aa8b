-- A scope around hot code must compile, and then make nothing: neither itself nor its buffer on Lua's heap.

local moonring = require "moonring"
local process = require "spec.support.process"

-- Runs `path(count)` when it is hot already, and prints what the compiler gave up meanwhile and the bytes that it made.
local prelude = [[
  local moonring = require "moonring"
  local function nothing() end
  local function use(scope, i) scope:allocate(64):write_u32(i) end
  local function nested(scope, i) moonring.scope(use, i) end
  local counts = {}
  local function measure(path)
    for _ = 1, 20 do path(200) end
    jit.attach(function(what) counts[what] = (counts[what] or 0) + 1 end, "trace")
    path(1000)
    counts = {}
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    path(10000)
    local made = (collectgarbage "count" - before) * 1024
    print(("aborts=%d flushes=%d bytes=%d"):format(counts.abort or 0, counts.flush or 0, made))
  end
]]

local function run(script)
  return moonring.scope(function(scope)
    local child = process.start(scope, process.command("-e", prelude .. script))
    local aborts, flushes, bytes = child:expect("aborts=(%d+) flushes=(%d+) bytes=(%d+)", 60)
    return tonumber(aborts), tonumber(flushes), tonumber(bytes)
  end)
end

local paths = {
  ["with nothing in it"] = "measure(function(count) for _ = 1, count do moonring.scope(nothing) end end)",
  ["with a buffer"] = "measure(function(count) for i = 1, count do moonring.scope(use, i) end end)",
  ["inside another"] = "measure(function(count) for i = 1, count do moonring.scope(nested, i) end end)",
  ["with a time"] = "measure(function(count) for _ = 1, count do moonring.timeout(60, nothing) end end)",
  ["with a buffer, after all that can happen to scopes in interpreted code"] = [=[
    local resource = { close = nothing }
    local kinds = {
      nothing,
      use,
      nested,
      function(scope) scope:own(resource) end,
      function(scope) scope:own(resource) scope:own(resource) scope:allocate(1) end,
      function(scope) scope:spawn(nothing) end,
      function(scope) scope:release(scope:allocate(8)):release() end,
      function() pcall(moonring.scope, error, "x") end,
      function() moonring.timeout(60, nothing) end,
      function() moonring.shield(60, nothing) end,
      function(scope) scope:close() end,
      function(scope) scope:deadline(60) end,
    }
    local function everything()
      for i = 1, 20000 do
        for _, kind in ipairs(kinds) do moonring.scope(kind, i) end
      end
    end
    jit.off(everything)
    everything()
    measure(function(count) for i = 1, count do moonring.scope(use, i) end end)
  ]=],
}

-- After interpreted code has used scopes in every way it is a matter of chance (LuaJIT's penalties for what it gave up are
-- random) which of its own traces a loop over moonring.scope runs through. One in three processes makes the handle, a small
-- table, or gives some traces up. So that one gets this bound, and there several processes may try for none.
local BY_CHANCE = "with a buffer, after all that can happen to scopes in interpreted code"
local INTERPRETED_BYTES = 10000 * 200
local TRIES = 10

describe("a scope", function()
  for name, script in pairs(paths) do
    it("stays compiled and makes nothing: " .. name, function()
      local aborts, flushes, bytes
      for _ = 1, name == BY_CHANCE and TRIES or 1 do
        aborts, flushes, bytes = run(script)
        assert.is_true(bytes < INTERPRETED_BYTES, bytes .. " bytes for 10000 scopes")
        if aborts == 0 and flushes == 0 and bytes < 10000 then return end
      end
      assert.same({ 0, 0 }, { aborts, flushes })
      assert.is_true(bytes < 10000, bytes .. " bytes for 10000 scopes")
    end)
  end
end)
