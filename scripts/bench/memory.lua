-- The Lua half of scripts/bench/memory. Medians of several runs; "ratio" is to the line that the contract compares
-- with.

local native = require "moonring.native"
local moonring = require "moonring"
local iovec = require "moonring.iovec"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"

local C, ffi = native.C, native.ffi
ffi.cdef "void *malloc(size_t size); void free(void *block);"

local ROUNDS, RUNS = 2000000, 7

-- The things to compare take turns, so that a noisy machine is noisy for all of them.
local function measure(cases)
  for run = 1, RUNS do
    for _, case in ipairs(cases) do
      local rounds = case.rounds or ROUNDS
      local start = C.mr_clock_now()
      case.run(rounds)
      case[run] = (C.mr_clock_now() - start) / rounds * 1e9
    end
  end
  for _, case in ipairs(cases) do
    table.sort(case)
    case.median = case[math.ceil(RUNS / 2)]
    print(("Lua  %-34s %6.1f ns%s"):format(case.name, case.median, case.verdict and case.verdict(case.median) or ""))
  end
end

local m = memory.handle()
local malloc, free = ffi.C.malloc, ffi.C.free
local source, one, shared = iovec.allocate(4096), iovec.new(), iovec.allocate(4096, 0, true)

local empty = { name = "two empty FFI calls", run = function(rounds)
  for _ = 1, rounds do
    C.mr_abi()
    C.mr_abi()
  end
end }
local libc = { name = "malloc + free, 4 KiB", run = function(rounds)
  for _ = 1, rounds do
    free(malloc(4096))
  end
end }
local function against_libc(median)
  return ("   ratio to malloc + free %.2f (at most 1)"):format(median / libc.median)
end
local function against_empty(median)
  return ("   %.1f ns over the empty calls"):format(median - empty.median)
end

measure {
  empty,
  libc,
  { name = "mr_iovec_alloc + release, 4 KiB", verdict = against_libc, run = function(rounds)
    for _ = 1, rounds do
      C.mr_iovec_alloc(m, 4096, 0, 1, 0, one)
      C.mr_iovec_release(one)
    end
  end },
  { name = "iovec:allocate + release, 4 KiB", verdict = against_libc, run = function(rounds)
    for _ = 1, rounds do
      one:allocate(4096)
      one:release()
    end
  end },
  { name = "mr_iovec_clone + release, LOCAL", verdict = against_empty, run = function(rounds)
    for _ = 1, rounds do
      C.mr_iovec_clone(one, source)
      C.mr_iovec_release(one)
    end
  end },
  { name = "mr_iovec_clone + release, SHARED", verdict = against_empty, run = function(rounds)
    for _ = 1, rounds do
      C.mr_iovec_clone(one, shared)
      C.mr_iovec_release(one)
    end
  end },
  { name = "ffi.gc(malloc, free), freed by hand", rounds = 200000, run = function(rounds)
    for _ = 1, rounds do
      local block = ffi.gc(malloc(4096), free)
      free(ffi.gc(block, nil))
    end
  end },
  { name = "iovec.allocate + release, 4 KiB", rounds = 200000, run = function(rounds)
    for _ = 1, rounds do
      iovec.allocate(4096):release()
    end
  end },
  { name = "buffer.allocate + release, 4 KiB", rounds = 200000, run = function(rounds)
    for _ = 1, rounds do
      buffer.allocate(4096):release()
    end
  end },
  { name = "buffer.allocate of 64 KiB, forgotten", rounds = 5000, run = function(rounds)
    for _ = 1, rounds do
      buffer.allocate(65536)
    end
  end },
}
source:release()
shared:release()

-- What 10,000 holders of 16 bytes keep of 1 GiB of churn, one after each 100 KiB of it.
local function held_by_small_holders()
  collectgarbage()
  local before = moonring.stats().memory
  local HOLDERS, CHURN = 10000, { 100, 1500, 4096, 16384, 80000 }
  local kept, churn = ffi.new("mr_iovec[?]", HOLDERS), ffi.new("mr_iovec[?]", #CHURN)
  for i = 0, HOLDERS - 1 do
    for j = 1, #CHURN do
      C.mr_iovec_alloc(m, CHURN[j], 0, 1, 0, churn + j - 1)
    end
    C.mr_iovec_alloc(m, 16, 0, 1, 0, kept + i)
    C.mr_iovecs_release(churn, #CHURN)
  end
  local after = moonring.stats().memory
  C.mr_iovecs_release(kept, HOLDERS)
  print(("holders: %d of 16 bytes keep %.1f MiB of chunks, %.0f bytes each"):format(HOLDERS,
    (after.chunk_bytes - before.chunk_bytes) / 1048576, (after.chunk_bytes - before.chunk_bytes) / HOLDERS))
end
held_by_small_holders()
