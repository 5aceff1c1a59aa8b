local moonring, test = require "moonring", require "moonring.test"

local function code_of(fn, ...)
  local ok, failure = pcall(fn, ...)
  return not ok and failure.code or nil, failure
end

describe("a cache", function()
  it("keeps so many, and loses who was asked for least recently", function()
    local cache = moonring.cache { size = 2 }
    cache:set("a", 1)
    cache:set("b", false)
    assert.equal(1, (cache:get "a"))
    cache:set("c", 3)
    assert.is_nil(cache:get "b")
    assert.equal(1, (cache:get "a"))
    assert.equal(3, (cache:get "c"))
    assert.same({ hits = 3, misses = 1, evicted = 1, count = 2 }, cache:statistics())
    cache:set("c", false)
    assert.is_false((cache:get "c"))
    cache:delete "a"
    assert.is_nil(cache:get "a")
    cache:clear()
    assert.equal(0, cache:count())
    assert.is_nil(cache:get "c")
  end)

  it("behaves as a list does that is kept in order by hand", function()
    math.randomseed(7)
    local cache, model = moonring.cache { size = 5 }, {} -- the model: { key, value }, the newest last
    local function find(key)
      for i, each in ipairs(model) do
        if each[1] == key then return i end
      end
    end
    for step = 1, 5000 do
      local key = math.random(9)
      local i = find(key)
      local what = math.random(10)
      if what <= 5 then
        assert.equal(i and model[i][2], (cache:get(key)))
        if i then table.insert(model, table.remove(model, i)) end
      else
        if i then table.remove(model, i) end
        if what <= 9 then
          if #model == 5 then table.remove(model, 1) end
          table.insert(model, { key, step })
          cache:set(key, step)
        else
          cache:delete(key)
        end
      end
      assert.equal(#model, cache:count())
    end
  end)

  it("keeps a value for its time, and tells its age", function()
    test.virtual_clock(function()
      local cache = moonring.cache { ttl = 10 }
      cache:set("a", 1)
      cache:set("b", 2, 5)
      moonring.sleep(4)
      assert.same({ 1, 4 }, { cache:get "a" })
      moonring.sleep(1)
      assert.is_nil(cache:get "b")
      moonring.sleep(5)
      assert.is_nil(cache:get "a")
    end)
  end)

  it("refuses what is none of its options, nil as a key, and a ttl of nothing", function()
    local cache = moonring.cache()
    assert.equal("argument", (code_of(moonring.cache, { max = 3 })))
    assert.equal("argument", (code_of(moonring.cache, { size = 0 })))
    assert.equal("argument", (code_of(moonring.cache, { size = 0 / 0 })))
    assert.equal("argument", (code_of(moonring.cache, 5)))
    assert.equal("argument", (code_of(cache.set, cache, nil, 1)))
    assert.equal("argument", (code_of(cache.set, cache, 0 / 0, 1)))
    assert.equal("argument", (code_of(cache.set, cache, "a", 1, 0)))
    assert.equal("argument", (code_of(cache.fetch, cache, "a", 5)))
    assert.equal(0, cache:count())
  end)
end)

describe("cache:fetch", function()
  it("has one task look for a value that many want", function()
    local cache, calls, values = moonring.cache(), 0, {}
    moonring.scope(function(scope)
      for i = 1, 5 do
        scope:spawn(function()
          values[i] = cache:fetch("k", function(key)
            calls = calls + 1
            moonring.sleep(0)
            return key .. "!"
          end)
        end)
      end
    end)
    assert.same({ "k!", "k!", "k!", "k!", "k!" }, values)
    assert.equal(1, calls)
  end)

  it("doesn't keep a failure, and lets the next look who waited", function()
    local cache, calls = moonring.cache(), 0
    local function load()
      calls = calls + 1
      local mine = calls
      moonring.sleep(0)
      if mine == 1 then return nil, "not yet", "EAGAIN" end
      if mine == 2 then error "broken" end
      return mine
    end
    local results = {}
    moonring.scope(function(scope)
      for i = 1, 4 do
        scope:spawn(function() results[i] = { pcall(cache.fetch, cache, "k", load) } end)
      end
    end)
    assert.same({ true, nil, "not yet", "EAGAIN" }, results[1])
    assert.is_false(results[2][1])
    assert.same({ { true, 3 }, { true, 3 } }, { results[3], results[4] })
    assert.equal(3, calls)
  end)

  it("goes on when the task that looks is cancelled", function()
    local cache = moonring.cache()
    moonring.scope(function(scope)
      local first = scope:spawn(function() cache:fetch("k", function() moonring.sleep(60) end) end)
      local second = scope:spawn(function() return cache:fetch("k", function() return 2 end) end)
      moonring.sleep(0)
      first:cancel()
      assert.same({ true, 2 }, { second:join() })
    end)
  end)

  it("doesn't keep what was asked for before the key was set or deleted", function()
    local cache = moonring.cache()
    moonring.scope(function(scope)
      for change, expected in pairs { delete = false, clear = false, set = "new" } do
        local task = scope:spawn(function()
          return cache:fetch("k", function()
            moonring.sleep(0)
            return "old"
          end)
        end)
        moonring.sleep(0)
        cache[change](cache, "k", "new")
        assert.same({ true, "old" }, { task:join() })
        assert.equal(expected or nil, (cache:get "k"))
        cache:delete "k"
      end
    end)
  end)

  it("is refused in itself for the same key", function()
    local cache = moonring.cache()
    local code = code_of(cache.fetch, cache, "k", function() return cache:fetch("k", tostring) end)
    assert.equal("busy", code)
    assert.equal("k", (cache:fetch("k", tostring)))
  end)
end)

describe("a limiter", function()
  it("lets a burst through, then so many per second, for each key by itself", function()
    test.virtual_clock(function()
      local limiter = moonring.limiter { rate = 10, burst = 3 }
      local function passed(key)
        local count = 0
        while limiter:try(key) do count = count + 1 end
        return count
      end
      assert.equal(3, passed "a")
      assert.equal(3, passed "b")
      assert.equal(3, passed())
      moonring.sleep(0.2)
      assert.equal(2, passed "a")
      moonring.sleep(60)
      assert.equal(3, passed "a")
      local ok, seconds = limiter:try "a"
      assert.is_false(ok)
      assert.near(0.1, seconds, 1e-6)
      assert.near(0.3, select(2, limiter:try("a", 3)), 1e-6)
    end)
  end)

  it("has who waits wait his turn", function()
    test.virtual_clock(function()
      local limiter, order = moonring.limiter { rate = 2, burst = 1 }, {}
      moonring.scope(function(scope)
        for i = 1, 4 do
          scope:spawn(function()
            limiter:wait()
            order[#order + 1] = ("%d at %.1f"):format(i, moonring.now())
          end)
        end
      end)
      assert.same({ "1 at 0.0", "2 at 0.5", "3 at 1.0", "4 at 1.5" }, order)
    end)
  end)

  it("remembers so many keys and no more", function()
    local limiter = moonring.limiter { rate = 0.001, burst = 1, keys = 2 }
    for _, key in ipairs { 1, 2, 3 } do assert.is_true((limiter:try(key))) end
    assert.is_false((limiter:try(3)))
    assert.is_true((limiter:try(1))) -- has fallen out
  end)

  it("refuses what can't be", function()
    for _, options in ipairs { {}, { rate = 0 }, { rate = 0 / 0 }, { rate = 1, burst = 0.5 }, { rate = 1, brust = 2 }, 5 } do
      assert.equal("argument", (code_of(moonring.limiter, options)))
    end
    local limiter = moonring.limiter { rate = 1, burst = 2 }
    for _, count in ipairs { 0, 3, "x" } do
      assert.equal("argument", (code_of(limiter.try, limiter, nil, count)))
      assert.equal("argument", (code_of(limiter.wait, limiter, nil, count)))
    end
  end)
end)

describe("moonring.retry", function()
  local function failing(times)
    local count = 0
    return function(...)
      count = count + 1
      if count <= times then return nil, "no " .. count, "EAGAIN" end
      return count, ...
    end
  end

  it("tries until it succeeds, with pauses that grow", function()
    test.virtual_clock(function()
      local pauses = {}
      local options = { first = 1, most = 5, jitter = 0, on_failure = function(attempt, message, code, pause)
        pauses[#pauses + 1] = ("%d %s %s %g"):format(attempt, message, code, pause)
      end }
      assert.same({ 5, "x", nil, "y" }, { moonring.retry(options, failing(4), "x", nil, "y") })
      assert.same({ "1 no 1 EAGAIN 1", "2 no 2 EAGAIN 2", "3 no 3 EAGAIN 4", "4 no 4 EAGAIN 5" }, pauses)
      assert.near(12, moonring.now(), 1e-6)
    end)
  end)

  it("leaves part of a pause to chance", function()
    test.virtual_clock(function()
      moonring.retry({ first = 1, factor = 1, attempts = 50, jitter = 0.5, on_failure = function(_, _, _, pause)
        assert.is_true(pause > 0.5 and pause <= 1)
      end }, failing(100))
    end)
  end)

  it("gives up after so many attempts, and at once for another code", function()
    assert.same({ nil, "no 3", "EAGAIN" }, { moonring.retry({ attempts = 3, first = 0 }, failing(5)) })
    assert.same({ nil, "no 1", "EAGAIN" }, { moonring.retry({ codes = { "ECONNREFUSED" } }, failing(5)) })
    assert.same({ 2 }, { moonring.retry({ codes = { "EAGAIN" }, first = 0 }, failing(1)) })
  end)

  it("passes on what is raised, and ends with its scope's deadline", function()
    assert.matches("broken", select(2, pcall(moonring.retry, {}, function() error "broken" end)))
    test.virtual_clock(function()
      assert.equal("deadline", (code_of(moonring.timeout, 5, moonring.retry, {}, failing(math.huge))))
    end)
  end)

  it("refuses what can't be", function()
    for _, options in ipairs { { attempts = 0 }, { jitter = 2 }, { factor = 0.5 }, { first = -1 }, { atempts = 3 }, 5 } do
      assert.equal("argument", (code_of(moonring.retry, options, print)))
    end
    assert.equal("argument", (code_of(moonring.retry, {}, 5)))
  end)
end)
