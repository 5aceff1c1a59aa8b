local moonring = require "moonring"

local function failure_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return failure
end

describe("a coroutine of the user's own", function()
  it("may wait, three levels deep, and its yields go where they always went", function()
    local function numbers(from)
      return coroutine.wrap(function()
        for i = from, from + 2 do
          moonring.sleep(0.001)
          coroutine.yield(i, nil, "x")
        end
      end)
    end
    local outer = coroutine.wrap(function()
      local middle = coroutine.wrap(function()
        for i, nothing, x in numbers(5) do
          assert.is_nil(nothing)
          moonring.sleep(0)
          coroutine.yield(i .. x)
        end
      end)
      for text in middle do
        coroutine.yield(text .. "!")
      end
    end)
    local got = {}
    for text in outer do
      got[#got + 1] = text
    end
    assert.same({ "5x!", "6x!", "7x!" }, got)
  end)

  it("lets other tasks run while it waits", function()
    local log = {}
    moonring.scope(function(scope)
      for i = 1, 2 do
        scope:spawn(function()
          for step in coroutine.wrap(function()
            for step = 1, 3 do
              moonring.sleep(0)
              coroutine.yield(step)
            end
          end) do
            log[#log + 1] = i .. ":" .. step
          end
        end)
      end
    end)
    assert.same({ "1:1", "2:1", "1:2", "2:2", "1:3", "2:3" }, log)
  end)

  it("gets the cancellation, the innermost one first", function()
    local log = {}
    moonring.scope(function(scope)
      local child = scope:spawn(function()
        coroutine.wrap(function()
          local thread = coroutine.create(function()
            local ok, failure = pcall(moonring.sleep, 60)
            log[#log + 1] = ok or failure.code
            moonring.sleep(60)
          end)
          local ok, failure = coroutine.resume(thread)
          log[#log + 1] = ok or failure.code
          log[#log + 1] = coroutine.status(thread)
          moonring.sleep(60)
        end)()
      end)
      moonring.sleep(0)
      child:cancel()
    end)
    assert.same({ "cancelled", "cancelled", "dead" }, log)
  end)

  it("keeps resume, wrap, yield, status and running as they are", function()
    local thread = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b)
      local d, e = coroutine.yield(c * 2)
      return d, e
    end)
    assert.same({ true, 3 }, { coroutine.resume(thread, 1, 2) })
    assert.same({ true, 20 }, { coroutine.resume(thread, 10) })
    assert.same({ true, nil, "e", n = 3 }, { n = 3, coroutine.resume(thread, nil, "e") })
    assert.equal("dead", coroutine.status(thread))
    local ok, message = coroutine.resume(thread)
    assert.is_false(ok)
    assert.matches("dead coroutine", message)
    local failure = {}
    assert.equal(failure, failure_of(coroutine.wrap(function() error(failure) end)))
    assert.matches("coroutine_spec.lua:%d+: text", failure_of(function()
      local result = coroutine.wrap(function() error("text", 0) end)()
      return result
    end))
    assert.equal(coroutine.running(), coroutine.wrap(function(outer) return outer end)(coroutine.running()))
  end)

  it("can't be resumed by another task while it waits", function()
    moonring.scope(function(scope)
      local thread = coroutine.create(function() moonring.sleep(0.01) end)
      scope:spawn(coroutine.resume, thread)
      moonring.sleep(0)
      local ok, message = coroutine.resume(thread)
      assert.is_false(ok)
      assert.matches("waits inside its task", message)
    end)
  end)

  it("is asked for by a bare yield of a task", function()
    assert.equal("argument", failure_of(coroutine.yield).code)
  end)
end)

describe("a wait where LuaJIT can't yield", function()
  local function waits()
    moonring.sleep(0.001)
    return "x"
  end

  before_each(function()
    package.loaded["spec.waits"] = nil -- a failed require leaves its mark
    package.preload["spec.waits"] = function() moonring.sleep(0.001) end
  end)

  local places = {
    ["table.sort"] = function() table.sort({ 3, 1, 2 }, waits) end,
    ["string.gsub"] = function() string.gsub("abc", "b", waits) end,
    ["string.format"] = function() string.format("%s", setmetatable({}, { __tostring = waits })) end,
    ["require"] = function() require "spec.waits" end,
    ["load"] = function() assert(load(waits)) end,
  }
  for name, place in pairs(places) do
    it("raises an error that names " .. name, function()
      local timers = moonring.stats().timers
      local failure = failure_of(place)
      local text = tostring(failure)
      assert.matches("cannot wait inside " .. name:gsub("%.", "%%."), text)
      assert.equal(timers, moonring.stats().timers)
      moonring.sleep(0.002) -- the task waits as ever
    end)
  end

  it("says what to do instead", function()
    assert.matches("moonring%.require", tostring(failure_of(places.require)))
    assert.matches("before sorting", tostring(failure_of(places["table.sort"])))
  end)

  it("raises also in a coroutine that the C function's callback resumes", function()
    local failure = failure_of(function()
      table.sort({ 3, 1, 2 }, function() return coroutine.wrap(waits)() end)
    end)
    assert.matches("table%.sort", tostring(failure))
  end)

  it("raises in sleep(0), in a channel and at the end of a scope, and leaves nothing there", function()
    local channel = moonring.channel()
    for _, wait in ipairs {
      function() moonring.sleep(0) end,
      function() channel:receive() end,
      function() moonring.select { channel:receive_op(), moonring.sleep_op(60) } end,
      function() moonring.scope(function(scope) scope:spawn(moonring.sleep, 60) end) end,
    } do
      assert.matches("string%.gsub", tostring(failure_of(string.gsub, "a", "a", wait)))
    end
    assert.is_true(channel.receivers:is_empty())
    moonring.sleep(0)
  end)
end)

describe("moonring.require", function()
  after_each(function()
    for _, name in ipairs { "spec.waiting", "spec.failing", "spec.a", "spec.b" } do
      package.preload[name], package.loaded[name] = nil, nil
    end
  end)

  it("loads a module whose main chunk waits, once for all who ask", function()
    local loads = 0
    package.preload["spec.waiting"] = function(name)
      loads = loads + 1
      moonring.sleep(0.005)
      return { name = name }
    end
    moonring.scope(function(scope)
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = scope:spawn(moonring.require, "spec.waiting")
      end
      local module = moonring.require "spec.waiting"
      assert.equal("spec.waiting", module.name)
      for i = 1, 3 do
        assert.equal(module, select(2, tasks[i]:join()))
      end
    end)
    assert.equal(1, loads)
    assert.equal(package.loaded["spec.waiting"], require "spec.waiting")
  end)

  it("raises what the module raises, and can be asked again", function()
    package.preload["spec.failing"] = function() error("broken", 0) end
    assert.equal("broken", failure_of(moonring.require, "spec.failing"))
    assert.equal("broken", failure_of(moonring.require, "spec.failing"))
    assert.matches("not found", tostring(failure_of(moonring.require, "spec.nowhere")))
  end)

  it("refuses a module that requires itself", function()
    package.preload["spec.a"] = function() return moonring.require "spec.b" end
    package.preload["spec.b"] = function() return moonring.require "spec.a" end
    assert.matches("requires itself", tostring(failure_of(moonring.require, "spec.a")))
  end)
end)
