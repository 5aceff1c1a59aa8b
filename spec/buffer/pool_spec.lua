local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local moonring = require "moonring"

local raises = kinds.raises

describe("a pool", function()
  it("gives memory again at every size, counted", function()
    for _, size in ipairs { 1, 63, 64, 100, 4096, 65536, 100000 } do
      local pool = buffer.pool { size = 100, max_bytes = 1000000 }
      local first = pool:acquire(size)
      local address = first:pointer()
      assert.equal(size, first.capacity)
      first:release()
      local second = pool:acquire(size)
      assert.equal(address, second:pointer())
      local counters = pool:statistics()
      assert.equal("2 1 1 1 0", ("%d %d %d %d %d"):format(counters.acquired, counters.reused, counters.released,
        counters.in_use,
        counters.idle_count))
      second:release()
      pool:close()
    end
  end)

  it("never gives two owners, however often an old one releases, compiled and interpreted", function()
    local pool = buffer.pool { size = 64, max_bytes = 4096 }
    kinds.compiled_and_interpreted(function()
      for _ = 1, 30 do
        local old = pool:acquire()
        old:release()
        old:release()
        local new = pool:acquire()
        new:write_u32(7)
        old:release()
        old:close()
        local third = pool:acquire()
        assert(third:pointer() ~= new:pointer() and new:get_u32(0) == 7 and new ~= old)
        raises("closed", old.read_u8, old)
        raises("closed", old.pointer, old)
        raises("closed", function()
          return old.position
        end)
        assert(not old.is_open and new.is_open)
        third:release()
        new:release()
      end
    end, 3)
    assert.equal(0, pool:statistics().in_use)
  end)

  it("keeps up to max_bytes and frees the rest", function()
    local pool = buffer.pool { size = 100, max_bytes = 250 }
    local held = {}
    for i = 1, 5 do
      held[i] = pool:acquire()
    end
    for i = 1, 5 do
      held[i]:release()
    end
    assert.equal(2, pool:statistics().idle_count)
    assert.equal(200, pool:statistics().idle_bytes)
    pool:close()
    raises("closed", pool.acquire, pool)
    raises("closed", pool.statistics, pool)
  end)

  it("does not give memory that a slice or the chain still shows to a new owner", function()
    local pool = buffer.pool { size = 64 }
    local first = pool:acquire():write("mine"):reset_for_read()
    local view = first:slice()
    first:release()
    local second = pool:acquire():fill(0)
    assert.equal("mine", view:to_string())
    second:release()
    view:release()
  end)

  it("frees its memory when it is closed or forgotten, and buffers in use stay good", function()
    collectgarbage()
    collectgarbage()
    local before = moonring.stats().memory.iovec_count
    local lease
    do
      local pool = buffer.pool { size = 64 }
      lease = pool:acquire()
      pool:acquire():release()
    end
    collectgarbage()
    collectgarbage()
    assert.equal(7, lease:write_u8(7):get_u8(0))
    lease:release()
    lease:release()
    assert.equal(before, moonring.stats().memory.iovec_count)
  end)

  it("has buffers that work like any other in scopes, calls and errors", function()
    local pool = buffer.pool { size = 8 }
    local kept
    moonring.scope(function(scope)
      kept = scope:own(pool:acquire())
      kept:write("ab"):reset_for_read()
      local other = buffer.allocate(4):write(kept)
      assert.equal("ab", other:reset_for_read():to_string())
      assert.is_true(other:equals(kept) and buffer.is(kept) and kept:equals(other))
      assert.equal(2, #kept)
    end)
    raises("closed", kept.read_u8, kept)
    assert.equal(0, pool:statistics().in_use)
    for _, options in ipairs { {}, { size = 0 }, { size = -1 }, { size = 2 ^ 31 }, { size = 1, max_bytes = -1 },
      { size = "1" } } do
      raises("argument", buffer.pool, options)
    end
    raises("argument", buffer.pool)
    raises("argument", pool.acquire, pool, -1)
    raises("argument", pool.acquire, pool, 2 ^ 31)
    raises("argument", pool.acquire, pool, 0.5)
  end)

  it("allocates nothing on the Lua heap in a compiled loop", function()
    if kinds.traced then return pending "trace mode looks at every call, in Lua" end
    local pool = buffer.pool { size = 64, max_bytes = 4096 }
    local function work(rounds)
      for i = 1, rounds do
        local made = pool:acquire()
        made:write_u32(i)
        made:release()
      end
    end
    work(1000)
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    work(100000)
    local grown = collectgarbage "count" - before
    collectgarbage "restart"
    assert.is_true(grown < 16, grown .. " KiB")
  end)
end)
