-- The contract of iovecs, one case per row of its table. C functions are called as Lua's FFI sees them.

local native = require "moonring.native"
local moonring = require "moonring"
local iovec = require "moonring.iovec"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"
local net = require "moonring.net"
local eventually = require "spec.support.eventually"
local stands_still = require "spec.support.stands_still"

local C, ffi = native.C, native.ffi

pcall(ffi.cdef, "void __asan_init(void);")

local EINVAL, ENOMEM, ENOBUFS, ESTALE, EBUSY = -22, -12, -105, -116, -16
local KIB, MIB, GIB = 1024, 1048576, 1073741824
-- Trace mode parts neighbours by guard bytes and keeps what was released out of use for a while, up to so many bytes.
local TRACED = C.mr_trace_enabled() ~= 0
local GUARD = TRACED and 16 or 0
local QUARANTINE = TRACED and 8 * MIB or 0
local HALF_SECOND = 600000000 -- ns; a little more than the decay

--- Runs fn(memory) with a memory of its own and says that nothing of it was still held.
local function with_memory(limit, fn)
  local out = ffi.new("mr_memory *[1]")
  assert.equal(0, C.mr_memory_create(limit, out))
  local ok, failure = xpcall(fn, function(problem)
    return type(problem) == "string" and debug.traceback(problem, 2) or problem
  end, out[0])
  local held = tonumber(C.mr_memory_destroy(out[0]))
  if not ok then error(failure, 0) end
  assert.equal(0, held)
end

local function statistics(of)
  local out = ffi.new("mr_memory_statistics")
  C.mr_memory_statistics_get(of, out)
  local copy = {}
  for _, name in ipairs { "slab_count", "slab_bytes", "chunk_count", "chunk_bytes", "iovec_count", "iovec_bytes",
    "allocations", "lua_bytes", "leaks_caught", "refusals", "foreign_bytes", "stale_releases" } do
    copy[name] = tonumber(out[name])
  end
  return copy
end


local anchored = {}
local function new_iovecs(count)
  local bytes = ffi.new("uint8_t[?]", count * 32)
  anchored[#anchored + 1] = bytes
  return ffi.cast("mr_iovec *", bytes)
end

local function address(at)
  return tonumber(ffi.cast("uintptr_t", at))
end

local function is_zero(one)
  return one.data == nil and one.reference == nil and one.length == 0 and one.capacity == 0 and one.generation == 0
end

local function resident_bytes()
  local file = io.open("/proc/self/statm")
  local pages = tonumber(file:read("*l"):match("^%d+ (%d+)"))
  file:close()
  return pages * 4096
end

local function raises(code, fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(code, failure.code)
end

describe("iovecs", function()
  after_each(function()
    anchored = {}
  end)

  it("row 1: alloc and reserve of 0 bytes both give 0 iovecs and change nothing", function()
    with_memory(0, function(m)
      local out = new_iovecs(1)
      local before = statistics(m)
      assert.equal(0, C.mr_iovec_alloc(m, 0, 0, 1, 0, out))
      assert.is_true(is_zero(out[0]))
      assert.equal(0, C.mr_iovec_reserve(m, 0, 0, 1, out))
      assert.is_true(is_zero(out[0]))
      assert.same(before, statistics(m))
      assert.equal(0, C.mr_iovec_release(out))
    end)
  end)

  it("row 2: 10,000 allocs, clones, moves and releases leave what a count says (see iovec_properties_spec)", function()
    with_memory(0, function(m)
      local all, total = new_iovecs(10000), 0
      for i = 0, 9999 do
        local length = i * 7919 % 3000 + 1
        local kind = i % 3
        if kind == 0 or i < 3 then
          assert.equal(1, C.mr_iovec_alloc(m, length, 0, 1, 0, all + i))
          total = total + length
        elseif kind == 1 then
          assert.equal(0, C.mr_iovec_clone(all + i, all + i - 1))
          total = total + all[i].length
        else
          assert.equal(0, C.mr_iovec_move(all + i, all + i - 1))
        end
      end
      assert.equal(10000 - 3332, statistics(m).iovec_count)
      assert.equal(total, statistics(m).iovec_bytes)
      for i = 0, 9999 do
        assert.equal(i % 3 == 1 and i > 3 and ESTALE or 0, C.mr_iovec_release(all + i))
      end
      assert.equal(0, statistics(m).iovec_count)
      assert.equal(0, statistics(m).iovec_bytes)
    end)
  end)

  it("row 3: max_iovecs 0 gives -EINVAL, too few -ENOBUFS, with zeroed outputs and the state as before", function()
    with_memory(0, function(m)
      local out, first, second = new_iovecs(2), new_iovecs(1), new_iovecs(1)
      assert.equal(1, C.mr_iovec_alloc(m, 100, 0, 1, 0, first))
      local before = statistics(m)
      assert.equal(EINVAL, C.mr_iovec_alloc(m, 10, 0, 0, 0, out))
      ffi.fill(out, 64, 0xff)
      assert.equal(ENOBUFS, C.mr_iovec_alloc(m, 3 * C.MR_SLAB_BYTES, 0, 2, 0, out))
      assert.is_true(is_zero(out[0]) and is_zero(out[1]))
      ffi.fill(out, 64, 0xff)
      assert.equal(ENOBUFS, C.mr_iovec_reserve(m, C.MR_SLAB_BYTES + 1, 0, 1, out))
      assert.is_true(is_zero(out[0]))
      assert.same(before, statistics(m))
      assert.equal(1, C.mr_iovec_alloc(m, 100, 0, 1, 0, second))
      assert.equal(address(first.data) + 100 + GUARD, address(second.data))
      C.mr_iovec_release(first)
      C.mr_iovec_release(second)
    end)
  end)

  it("row 4: the tail of the chunk in use is taken first when several iovecs are allowed", function()
    with_memory(0, function(m)
      local first, rest = new_iovecs(1), new_iovecs(4)
      C.mr_iovec_alloc(m, 20000, 0, 1, 0, first)
      local count = C.mr_iovec_alloc(m, 60000, 0, 4, 0, rest)
      assert.equal(2, count)
      assert.equal(address(first.data) + 20000 + GUARD, address(rest[0].data))
      assert.equal(65536 - 20000 - 2 * GUARD, rest[0].length)
      assert.equal(60000, rest[0].length + rest[1].length)
      -- Also by a request that would be alone in its units, and not when the pieces would become too many.
      local long = new_iovecs(2)
      assert.equal(2, C.mr_iovec_alloc(m, 200000, 0, 2, 0, long))
      assert.equal(address(rest[1].data) + rest[1].length + GUARD, address(long[0].data))
      local slabs = new_iovecs(2)
      C.mr_iovec_alloc(m, 20000, 0, 1, 0, rest + 2)
      assert.equal(2, C.mr_iovec_alloc(m, 2 * C.MR_SLAB_BYTES, 0, 2, 0, slabs))
      C.mr_iovecs_release(slabs, 2)
      C.mr_iovecs_release(long, 2)
      C.mr_iovecs_release(rest, 4)
      C.mr_iovec_release(first)
    end)
  end)

  it("row 5: max_iovecs 1 gives one contiguous iovec up to a slab, or an error", function()
    with_memory(0, function(m)
      local out = new_iovecs(1)
      for _, length in ipairs { 1, 4096, 32768, 32769, 65536, 65537, 1000000, C.MR_SLAB_BYTES } do
        assert.equal(1, C.mr_iovec_alloc(m, length, 0, 1, 0, out))
        assert.equal(length, out.length)
        ffi.fill(out.data, length, 0x5a)
        assert.equal(0x5a, out.data[length - 1])
        C.mr_iovec_release(out)
      end
      assert.equal(ENOBUFS, C.mr_iovec_alloc(m, C.MR_SLAB_BYTES + 1, 0, 1, 0, out))
    end)
  end)

  it("row 6: lengths of 2^31 and 2^32-1 give -EINVAL, beyond the limit -ENOMEM", function()
    with_memory(16 * MIB, function(m)
      local out = new_iovecs(64)
      assert.equal(EINVAL, C.mr_iovec_alloc(m, 2147483648, 0, 64, 0, out))
      assert.equal(EINVAL, C.mr_iovec_alloc(m, 4294967295, 0, 64, 0, out))
      assert.equal(EINVAL, C.mr_iovec_reserve(m, 4294967295, 0, 64, out))
      assert.equal(ENOMEM, C.mr_iovec_alloc(m, 17 * MIB, 0, 64, 0, out))
      assert.is_true(is_zero(out[0]))
      local held = new_iovecs(1)
      C.mr_iovec_alloc(m, 10, 0, 1, 0, held)
      local before = statistics(m).iovec_count
      assert.equal(ENOMEM, C.mr_iovec_alloc(m, 16 * MIB, 0, 64, 0, out)) -- three slabs are free, four needed
      assert.is_true(is_zero(out[0]) and is_zero(out[3]))
      assert.equal(before, statistics(m).iovec_count)
      C.mr_iovec_release(held)
      raises("argument", iovec.allocate, 2147483648)
    end)
  end)

  it("row 7: the address is aligned, from 1 byte to 2 MiB", function()
    with_memory(0, function(m)
      local out, other = new_iovecs(1), new_iovecs(1)
      local alignment = 1
      while alignment <= 2 * MIB do
        for _, length in ipairs { 1, 100, 5000, 70000 } do
          C.mr_iovec_alloc(m, 3, 0, 1, 0, other) -- so that the next offset is odd
          assert.equal(1, C.mr_iovec_alloc(m, length, alignment, 1, 0, out))
          assert.equal(0, address(out.data) % alignment)
          C.mr_iovec_release(out)
          assert.equal(1, C.mr_iovec_reserve(m, length, alignment, 1, out))
          assert.equal(0, address(out.data) % alignment)
          C.mr_iovec_release(out)
          C.mr_iovec_release(other)
        end
        alignment = alignment * 2
      end
    end)
  end)

  it("row 8: an alignment of 24 gives -EINVAL", function()
    with_memory(0, function(m)
      local out = new_iovecs(1)
      assert.equal(EINVAL, C.mr_iovec_alloc(m, 10, 24, 1, 0, out))
      assert.equal(EINVAL, C.mr_iovec_reserve(m, 10, 24, 1, out))
      assert.equal(EINVAL, C.mr_iovec_alloc(m, 10, 4 * MIB, 1, 0, out))
      assert.equal(1, C.mr_iovec_reserve(m, 10, 0, 1, out))
      assert.equal(EINVAL, C.mr_iovec_commit(m, 24, out, 1))
      C.mr_iovec_release(out)
    end)
  end)

  it("row 9: reservations overlap neither each other nor allocations made before they are committed", function()
    with_memory(0, function(m)
      local all = new_iovecs(5)
      C.mr_iovec_reserve(m, 1000, 0, 1, all)
      C.mr_iovec_reserve(m, 1000, 0, 1, all + 1)
      C.mr_iovec_alloc(m, 1000, 0, 1, 0, all + 2)
      all[0].length, all[1].length = 500, 500
      assert.equal(1, C.mr_iovec_commit(m, 0, all, 1))
      C.mr_iovec_alloc(m, 1000, 0, 1, 0, all + 3)
      assert.equal(1, C.mr_iovec_commit(m, 0, all + 1, 1))
      C.mr_iovec_alloc(m, 1000, 0, 1, 0, all + 4)
      for i = 0, 4 do
        for j = 0, i - 1 do
          local a, b = address(all[i].data), address(all[j].data)
          assert.is_true(a + all[i].capacity <= b or b + all[j].capacity <= a)
        end
      end
      C.mr_iovecs_release(all, 5)
    end)
  end)

  it("row 10: after a commit of less than was reserved, the next alloc follows the committed end", function()
    with_memory(0, function(m)
      local one, next_one = new_iovecs(1), new_iovecs(1)
      C.mr_iovec_reserve(m, 4000, 0, 1, one)
      C.mr_iovec_set_length(one, 123)
      assert.equal(1, C.mr_iovec_commit(m, 0, one, 1))
      assert.equal(123, one.capacity)
      C.mr_iovec_alloc(m, 4000, 0, 1, 0, next_one)
      assert.equal(address(one.data) + 123 + GUARD, address(next_one.data))
      C.mr_iovec_release(one)
      C.mr_iovec_release(next_one)
      -- The same when the reservation went over into a fresh chunk of which nothing was used.
      local pieces = new_iovecs(2)
      C.mr_iovec_alloc(m, 32000, 0, 1, 0, one)
      assert.equal(2, C.mr_iovec_reserve(m, 60000, 0, 2, pieces))
      pieces[0].length, pieces[1].length = 100, 0
      assert.equal(1, C.mr_iovec_commit(m, 64, pieces, 2))
      C.mr_iovec_alloc(m, 9000, 0, 1, 0, next_one)
      local following = address(pieces[0].data) + 100
      if TRACED then -- the piece that was given back is in quarantine
        assert.is_true(address(next_one.data) >= following + GUARD)
      else
        assert.equal(math.ceil(following / 64) * 64, address(next_one.data))
      end
      C.mr_iovec_release(one)
      C.mr_iovec_release(next_one)
      C.mr_iovec_release(pieces)
    end)
  end)

  it("row 11: a commit of more than was reserved, a second one, and one of no reservation give -EINVAL", function()
    with_memory(0, function(m)
      local one = new_iovecs(2)
      C.mr_iovec_reserve(m, 100, 0, 1, one)
      one.length = 101
      assert.equal(EINVAL, C.mr_iovec_commit(m, 0, one, 1))
      one.length = 50
      assert.equal(1, C.mr_iovec_commit(m, 0, one, 1))
      assert.equal(EINVAL, C.mr_iovec_commit(m, 0, one, 1))
      C.mr_iovec_alloc(m, 100, 0, 1, 0, one + 1)
      assert.equal(EINVAL, C.mr_iovec_commit(m, 0, one + 1, 1))
      C.mr_iovecs_release(one, 2)
      -- All or nothing, also for one named twice.
      C.mr_iovec_reserve(m, 100, 0, 1, one)
      ffi.copy(one + 1, one, 32)
      assert.equal(EINVAL, C.mr_iovec_commit(m, 0, one, 2))
      assert.equal(EBUSY, C.mr_iovec_clone(new_iovecs(1), one))
      assert.equal(1, C.mr_iovec_commit(m, 0, one, 1))
      C.mr_iovec_release(one)
      local reserved = iovec.reserve(100)
      raises("argument", reserved.commit, reserved, 101)
      assert.equal(40, #reserved:commit(40))
      raises("argument", reserved.commit, reserved)
      reserved:release()
    end)
  end)

  it("row 12: the space of a reservation that is released without a commit is used again", function()
    with_memory(0, function(m)
      local keeper, one, again = new_iovecs(1), new_iovecs(1), new_iovecs(1)
      C.mr_iovec_alloc(m, 100, 0, 1, 0, keeper)
      C.mr_iovec_reserve(m, 300, 0, 1, one)
      local at = address(one.data)
      C.mr_iovec_release(one)
      C.mr_iovec_alloc(m, 300, 0, 1, 0, again)
      assert.equal(not TRACED, at == address(again.data))
      C.mr_iovec_release(again)
      C.mr_iovec_release(keeper)
    end)
  end)

  it("row 13: a clone keeps the bytes when the source is released; the last release recycles them", function()
    with_memory(0, function(m)
      local source, clone = new_iovecs(1), new_iovecs(1)
      C.mr_iovec_alloc(m, 5, 0, 1, 0, source)
      local at = address(source.data)
      ffi.copy(source.data, "hello", 5)
      assert.equal(0, C.mr_iovec_clone(clone, source))
      assert.equal(2, C.mr_iovec_holders(clone))
      C.mr_iovec_release(source)
      assert.equal("hello", ffi.string(clone.data, clone.length))
      assert.equal(1, C.mr_iovec_holders(clone))
      C.mr_iovec_alloc(m, 5, 0, 1, 0, source)
      assert.are_not.equal(at, address(source.data))
      C.mr_iovec_release(source)
      C.mr_iovec_release(clone)
      C.mr_iovec_alloc(m, 5, 0, 1, 0, source)
      assert.equal(not TRACED, at == address(source.data))
      C.mr_iovec_release(source)
    end)
  end)

  it("row 14: segments are checked without wrapping, and a refused one takes no reference", function()
    with_memory(0, function(m)
      local source, part = new_iovecs(1), new_iovecs(1)
      C.mr_iovec_alloc(m, 100, 0, 1, 0, source)
      for _, segment in ipairs { C.mr_iovec_clone_segment, C.mr_iovec_move_segment } do
        for _, bad in ipairs { { 60, 41 }, { 101, 0 }, { 4294967295, 2 }, { 2, 4294967295 }, { 4294967200, 100 } } do
          assert.equal(EINVAL, segment(part, source, bad[1], bad[2]))
          assert.equal(1, C.mr_iovec_holders(source))
          assert.equal(100, source.length)
        end
      end
      for _, good in ipairs { { 60, 40 }, { 100, 0 }, { 0, 0 }, { 0, 100 } } do
        assert.equal(0, C.mr_iovec_clone_segment(part, source, good[1], good[2]))
        assert.equal(address(source.data) + good[1], address(part.data))
        assert.equal(good[2], part.length)
        assert.equal(2, C.mr_iovec_holders(source))
        C.mr_iovec_release(part)
      end
      assert.equal(0, C.mr_iovec_move_segment(part, source, 60, 40))
      assert.equal(40, part.length)
      assert.equal(1, C.mr_iovec_holders(part))
      assert.equal(EINVAL, C.mr_iovec_clone(part, part))
      C.mr_iovec_release(part)
    end)
  end)

  it("row 15: move(x, x) does nothing", function()
    with_memory(0, function(m)
      local one = new_iovecs(1)
      C.mr_iovec_alloc(m, 10, 0, 1, 0, one)
      local before = ffi.string(one, 32)
      assert.equal(0, C.mr_iovec_move(one, one))
      assert.equal(before, ffi.string(one, 32))
      assert.equal(0, C.mr_iovec_release(one))
    end)
  end)

  it("row 16: release after move, a second release, use after release and stale copies give -ESTALE", function()
    with_memory(0, function(m)
      local one, other, copy, fresh = new_iovecs(1), new_iovecs(1), new_iovecs(1), new_iovecs(1)
      C.mr_iovec_alloc(m, 10, 0, 1, 0, one)
      ffi.copy(copy, one, 32)
      C.mr_iovec_move(other, one)
      assert.equal(ESTALE, C.mr_iovec_release(one))
      assert.equal(ESTALE, C.mr_iovec_release(copy))
      assert.equal(1, statistics(m).iovec_count)
      ffi.copy(copy, other, 32)
      assert.equal(0, C.mr_iovec_release(other))
      assert.equal(ESTALE, C.mr_iovec_release(other))
      C.mr_iovec_alloc(m, 10, 0, 1, 0, fresh) -- the record and the bytes have a new owner
      assert.equal(ESTALE, C.mr_iovec_clone(one, copy))
      assert.equal(ESTALE, C.mr_iovec_move(one, copy))
      assert.equal(ESTALE, C.mr_iovec_set_length(copy, 1))
      assert.is_true(C.mr_iovec_data(copy) == nil)
      assert.equal(0, C.mr_iovec_length(copy))
      assert.equal(ESTALE, C.mr_iovec_commit(m, 0, copy, 1))
      assert.equal(ESTALE, C.mr_iovec_release(copy))
      assert.equal(TRACED and 2 or 1, C.mr_iovec_holders(fresh)) -- the quarantine is one
      assert.equal(0, C.mr_iovec_release(fresh))
    end)
    local one = iovec.allocate(10)
    local moved = one:move()
    raises("closed", one.release, one)
    moved:release()
    for _, name in ipairs { "release", "clone", "move", "buffer", "pointer" } do
      raises("closed", moved[name], moved)
    end
    assert.matches("released", tostring(moved))
  end)

  it("row 17: set_length beyond the capacity gives -EINVAL and changes nothing", function()
    local one = iovec.allocate(10)
    assert.equal(EINVAL, C.mr_iovec_set_length(one, 11))
    assert.equal(10, one.length)
    assert.equal(3, #one:set_length(3))
    assert.equal(10, #one:set_length(10))
    raises("argument", one.set_length, one, 11)
    one:release()
  end)

  -- Rows 18 and 19 need threads: spec/runtime/iovec_threads.c, which its own spec builds and runs with ThreadSanitizer.
  it("row 18: a LOCAL iovec released on another thread goes home, all else is refused (iovec_threads_spec)", function()
    assert.is_truthy(io.open("spec/runtime/iovec_threads.c"))
  end)

  it("row 19: SHARED iovecs count across clones, and their memory comes home (threads: iovec_threads_spec)", function()
    with_memory(0, function(m)
      local one, clones = new_iovecs(1), new_iovecs(100)
      assert.equal(1, C.mr_iovec_alloc(m, 10, 0, 1, C.MR_IOVEC_SHARED, one))
      for i = 0, 99 do
        assert.equal(0, C.mr_iovec_clone(clones + i, i == 0 and one or clones + i - 1))
      end
      assert.equal(101, C.mr_iovec_holders(one))
      assert.equal(0, C.mr_iovec_release(one))
      assert.equal(ESTALE, C.mr_iovec_release(one))
      assert.equal(0, C.mr_iovecs_release(clones, 100))
      assert.equal(0, statistics(m).iovec_count)
      assert.equal(EINVAL, C.mr_iovec_alloc(m, 10, 0, 1, 64, one))
    end)
  end)

  it("row 20: 16 bytes kept for long pin no large chunks while 1 GiB churns", function()
    with_memory(0, function(m)
      local KEPT = 2048
      local kept, churn = new_iovecs(KEPT), new_iovecs(8)
      local churned, sizes, at = 0, { 64, 600, 4096, 9000, 20000, 65536, 200000 }, 0
      local peak = 0
      while churned < GIB do
        local count = 0
        for _, length in ipairs(sizes) do
          assert(C.mr_iovec_alloc(m, length, 0, 1, 0, churn + count) == 1)
          count, churned = count + 1, churned + length
        end
        if at < KEPT then
          assert(C.mr_iovec_alloc(m, 16, 0, 1, 0, kept + at) == 1)
          at = at + 1
        end
        C.mr_iovecs_release(churn, count)
        peak = math.max(peak, statistics(m).slab_bytes)
      end
      assert.equal(KEPT, at)
      -- 2048 holders beside the churn's own few chunks: 4 KiB each at the most.
      assert.is_true(statistics(m).chunk_bytes <= KEPT * 4 * KIB + MIB + QUARANTINE, "pinned: " .. statistics(m).chunk_bytes)
      assert.is_true(peak <= 16 * MIB + QUARANTINE, "peak: " .. peak)
      C.mr_iovecs_release(kept, KEPT)
    end)
  end)

  it("row 21: after a burst, idle slabs are returned and resident memory goes down", function()
    with_memory(0, function(m)
      local COUNT = 1024 -- of 64 KiB: 64 MiB
      local all, small = new_iovecs(COUNT), new_iovecs(1)
      local before = resident_bytes()
      C.mr_iovec_alloc(m, 16, 0, 1, 0, small)
      for i = 0, COUNT - 1 do
        C.mr_iovec_alloc(m, 65536, 0, 1, 0, all + i)
        ffi.fill(all[i].data, 65536, 1)
      end
      local burst = resident_bytes()
      assert.is_true(burst - before > 60 * MIB)
      C.mr_iovecs_release(all, COUNT)
      if TRACED then -- nothing goes home from the quarantine for being idle
        C.mr_iovec_release(small)
        return
      end
      assert.is_true(statistics(m).slab_bytes <= 24 * MIB, "beyond a few free slabs, they go at once")
      assert.is_true(tonumber(C.mr_memory_tick(m, 1)) > 0)
      local now = 1
      for _ = 1, 3 do
        now = now + HALF_SECOND
        C.mr_memory_tick(m, now)
      end
      assert.equal(1, statistics(m).slab_count) -- that of the 16 bytes, of which only their page stays
      -- A sanitizer keeps a shadow of an eighth.
      local sanitized = pcall(function() return ffi.C.__asan_init end)
      assert.is_true(resident_bytes() - before < (sanitized and 10 or 2) * MIB, "resident: " .. (resident_bytes() - before))
      C.mr_iovec_release(small)
      for _ = 1, 4 do
        now = now + HALF_SECOND
        C.mr_memory_tick(m, now)
      end
      assert.is_true(statistics(m).slab_count <= 1)
    end)
  end)

  it("row 21: what is in use at every look stays mapped", function()
    with_memory(0, function(m)
      local one, now = new_iovecs(1), 1
      C.mr_iovec_alloc(m, 65536, 0, 1, 0, one)
      ffi.fill(one.data, 65536, 7)
      for _ = 1, 6 do
        now = now + HALF_SECOND
        C.mr_memory_tick(m, now)
      end
      assert.equal(7, one.data[65535])
      C.mr_iovec_release(one)
    end)
  end)

  it("row 22: a memory that ends while held counts what is, and the last release frees it", function()
    local out = ffi.new("mr_memory *[1]")
    C.mr_memory_create(0, out)
    local held, clone = new_iovecs(2), new_iovecs(1)
    C.mr_iovec_alloc(out[0], 5, 0, 1, 0, held)
    C.mr_iovec_alloc(out[0], 5, 0, 1, C.MR_IOVEC_SHARED, held + 1)
    ffi.copy(held[0].data, "alive", 5)
    assert.equal(2, tonumber(C.mr_memory_destroy(out[0])))
    assert.equal("alive", ffi.string(held[0].data, 5))
    assert.equal(0, C.mr_iovec_clone(clone, held))
    assert.equal(0, C.mr_iovec_release(held))
    assert.equal(ESTALE, C.mr_iovec_release(held))
    assert.equal("alive", ffi.string(clone.data, 5))
    assert.equal(0, C.mr_iovec_release(clone))
    assert.equal(0, C.mr_iovec_release(held + 1))
  end)

  describe("row 23: memory that a send reads from lives until its completion:", function()
    local SIZE, TIMES = 4 * MIB, 8 -- together more than the kernel's socket buffers take

    -- Runs `body(connection, data)` as a task, where data has been queued and is in flight, because nobody reads;
    -- then reads all that comes and says that it is the bytes that were written, whatever has been done to the memory
    -- since.
    local function in_flight(body)
      local listener = assert(net.listen { host = "127.0.0.1", port = 0 })
      local peer
      moonring.scope(function(scope)
        scope:own(listener)
        local server = {}
        scope:spawn(function()
          server.connection = listener:accept()
        end)
        peer = assert(net.connect { host = "127.0.0.1", port = listener:address().port })
        while not server.connection do
          moonring.sleep(0)
        end
        local before = moonring.stats().memory.iovec_bytes
        body(server.connection)
        -- The operation has not completed, so its memory is not free, whoever has let go of it.
        assert.is_true(moonring.stats().memory.iovec_bytes >= before + SIZE)
        -- What would be handed out again if it were free is written over.
        local over = {}
        for i = 1, 4 do
          over[i] = buffer.allocate(SIZE)
          ffi.fill(over[i]:pointer(), SIZE, 0xdd)
        end
        local total = 0
        for data in peer:chunks() do
          local text = data:read_string()
          assert.is_nil(text:find("[^A]"))
          total = total + #text
        end
        peer:close()
        for i = 1, 4 do
          over[i]:release()
        end
        moonring.sleep(0.02)
        assert.is_true(moonring.stats().memory.iovec_bytes < before + SIZE)
        assert.is_true(total > 0)
      end)
    end

    local function write(connection, scope)
      local data = scope:allocate(SIZE)
      ffi.fill(data:pointer(), SIZE, 65)
      local sent = moonring.stats().bytes_sent
      for _ = 1, TIMES do
        -- Without waiting for room, so that the scope can end at once.
        assert(C.mr_connection_write_buffer(connection.handle, connection.slot, buffer.of(data:seek(0), "spec")) > 0)
      end
      assert(stands_still(function() return moonring.stats().bytes_sent end)) -- the kernel waits for room
      assert.is_true(moonring.stats().bytes_sent - sent < (TIMES - 1) * SIZE)
    end

    it("the scope ends", function()
      in_flight(function(connection)
        moonring.scope(function(scope)
          write(connection, scope)
        end)
        moonring.spawn(function()
          connection:close(5)
        end)
        moonring.sleep(0)
      end)
    end)

    it("the connection is closed", function()
      in_flight(function(connection)
        moonring.scope(function(scope)
          write(connection, scope)
          connection:close(0)
        end)
      end)
    end)

    it("the deadline passes", function()
      in_flight(function(connection)
        local ok, failure = pcall(moonring.scope, function(scope)
          scope:own(connection)
          write(connection, scope)
          scope:deadline(0.01)
          moonring.sleep(60)
        end)
        assert.is_false(ok)
        assert.equal("deadline", failure.code)
      end)
    end)

    it("the task is cancelled", function()
      in_flight(function(connection)
        local started
        local worker = moonring.spawn(function()
          moonring.scope(function(scope)
            scope:own(connection)
            write(connection, scope)
            started = true
            moonring.sleep(60)
          end)
        end)
        while not started do
          moonring.sleep(0.01)
        end
        worker:cancel()
        moonring.sleep(0)
        assert.is_true(worker:has_ended())
      end)
    end)

    it("the handler fails", function()
      in_flight(function(connection)
        local ok, failure = pcall(moonring.scope, function(scope)
          scope:own(connection)
          write(connection, scope)
          error("the handler's own", 0)
        end)
        assert.is_false(ok)
        assert.equal("the handler's own", failure)
      end)
    end)

    it("a received buffer outlives the connection that it came by", function()
      local kept
      moonring.scope(function(scope)
        local listener = scope:own(assert(net.listen { host = "127.0.0.1", port = 0 }))
        scope:spawn(function()
          local connection = scope:own(listener:accept())
          kept = connection:read():slice()
          connection:close(0)
        end)
        local peer = scope:own(assert(net.connect { host = "127.0.0.1", port = listener:address().port }))
        peer:write(("x"):rep(5000))
        while not kept do
          moonring.sleep(0.01)
        end
      end)
      assert.is_true(kept:remaining() > 0)
      assert.is_nil(kept:read_string():find("[^x]"))
      kept:release()
    end)
  end)

  it("row 24: statistics tell what is held, by whom, and what finalizers caught", function()
    collectgarbage()
    local before = moonring.stats().memory
    local one = buffer.allocate(50000) -- luacheck: ignore
    local two = iovec.allocate(1000)
    local now = moonring.stats()
    assert.equal(before.lua_bytes + 51000, now.memory.lua_bytes)
    assert.equal(before.iovec_count + 2, now.memory.iovec_count)
    assert.equal(before.iovec_bytes + 51000, now.memory.iovec_bytes)
    assert.equal(before.allocations + 2, now.memory.allocations)
    assert.is_true(now.memory.slab_bytes >= now.memory.chunk_bytes and now.memory.chunk_bytes >= now.memory.iovec_bytes)
    assert.is_true(now.memory.slab_bytes_peak >= now.memory.slab_bytes)
    assert.is_number(now.receive_ring_bytes)
    assert.matches("lua_bytes=%d", tostring(now))
    two:release()
    one = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    now = moonring.stats().memory
    assert.equal(before.lua_bytes, now.lua_bytes)
    assert.equal(before.leaks_caught + 1, now.leaks_caught)
  end)

  it("row 24: tostring shows address, length, capacity and references", function()
    local one = iovec.allocate(100)
    one:set_length(7)
    local other = one:clone()
    assert.matches("^moonring%.Iovec%(0x%x+ length=7 capacity=100 references=%d+%)$", tostring(one))
    one:release()
    other:release()
    assert.equal("moonring.Iovec(empty)", tostring(iovec.new()))
  end)

  it("row 25: at the limit, memory has to be let go of before there is more, and nothing dies of it", function()
    with_memory(8 * MIB, function(m)
      local all = new_iovecs(200)
      local count = 0
      while C.mr_iovec_alloc(m, 65536, 0, 1, 0, all + count) == 1 do
        count = count + 1
      end
      assert.equal(TRACED and 64 or 128, count) -- with its guard, each takes a second chunk
      assert.equal(ENOMEM, C.mr_iovec_alloc(m, 65536, 0, 1, 0, all + count))
      assert.is_true(is_zero(all[count]))
      assert.equal(2, statistics(m).refusals)
      C.mr_iovec_release(all)
      assert.equal(1, C.mr_iovec_alloc(m, 65536, 0, 1, 0, all))
      C.mr_iovecs_release(all, count)
    end)
  end)

  it("wraps memory of others, and tells when the last reference is gone", function()
    local text = ("wrapped "):rep(1000)
    local one = iovec.wrap(text)
    local before = memory.anchor_count()
    assert.equal(#text, #one)
    local view = one:buffer()
    one:release()
    assert.equal("wrapped ", view:read_string(8))
    raises("argument", view.write_u8, view, 1)
    moonring.sleep(0.001) -- a turn of the loop
    assert.equal(before, memory.anchor_count())
    view:release()
    moonring.sleep(0.001)
    assert.is_true(eventually(function() return memory.anchor_count() == before - 1 end))
    raises("argument", iovec.wrap, 17)
    raises("argument", iovec.wrap, "abc", 4)
  end)

  it("keeps a loop that allocates and forgets 64 KiB buffers below 64 MiB", function()
    collectgarbage()
    local before = resident_bytes()
    local peak = 0
    for i = 1, 4000 do -- 250 MiB
      local forgotten = buffer.allocate(65536)
      ffi.fill(forgotten:pointer(), 65536, i % 256)
      if i % 100 == 0 then peak = math.max(peak, resident_bytes() - before) end
    end
    assert.is_true(peak < 40 * MIB, "grown by " .. peak)
    collectgarbage()
  end)
end)
