-- See scripts/bench/files. Each pair is measured in turns, and the best round of each counts: the noise of a shared
-- machine only adds.

local ffi = require "ffi"
local moonring = require "moonring"
local fs = require "moonring.fs"
local buffer = require "moonring.buffer"

ffi.cdef [[
  struct bench_time { long seconds, nanoseconds; };
  int clock_gettime(int, struct bench_time *);
  ssize_t pread(int, void *, size_t, int64_t);
]]

local ROUNDS = 12
local MIB = 1048576

local function microseconds(count, body)
  local start = moonring.now()
  for i = 1, count do
    body(i)
  end
  return (moonring.now() - start) / count * 1e6
end

local function compare(title, count, ours, theirs)
  local best, best_theirs = math.huge, math.huge
  for _ = 1, ROUNDS do
    best = math.min(best, microseconds(count, ours))
    best_theirs = math.min(best_theirs, microseconds(count, theirs))
  end
  print(("%-44s %9.2f us %9.2f us   %5.2f"):format(title, best, best_theirs, best / best_theirs))
end

local function measure_reads(directory)
  local path = directory .. "/hot"
  assert(fs.write_file(path, ("x"):rep(MIB)))
  moonring.scope(function(scope)
    local file = scope:own(assert(fs.open(path)))
    local into = buffer.allocate(MIB)
    local memory, descriptor = into:pointer(), file.descriptor
    print(("%-44s %12s %12s   ratio"):format("", "moonring", "pread"))
    for _, case in ipairs { { 4096, 4000 }, { 65536, 2000 }, { MIB, 200 } } do
      local size, count = case[1], case[2]
      local places = MIB / size
      compare(("read %d KiB, in the page cache"):format(size / 1024), count, function(i)
        into:reset_for_write():set_limit(size)
        file:read(into, i % places * size)
      end, function(i)
        ffi.C.pread(descriptor, memory, size, i % places * size)
      end)
    end
    into:release()

    compare("the whole of a 1 MiB file as a string", 100, function()
      local whole = fs.read_file(path)
      whole:read_string()
      whole:release()
    end, function()
      local plain = io.open(path)
      plain:read "*a"
      plain:close()
    end)
  end)
end

local THREAD_CLOCK = 3 -- CLOCK_THREAD_CPUTIME_ID
local time = ffi.new "struct bench_time"

-- Milliseconds that this thread has run, and that it has waited for a processor (proc(5), schedstat).
local function thread_times()
  local file = io.open "/proc/thread-self/schedstat"
  local _, waited = file:read("*n", "*n")
  file:close()
  ffi.C.clock_gettime(THREAD_CLOCK, time)
  return tonumber(time.seconds) * 1e3 + tonumber(time.nanoseconds) / 1e6, waited / 1e6
end

-- Turns of a task that only yields, so that the loop never sleeps, while others keep helpers and the kernel busy. What is
-- neither running nor waiting for a processor is the loop held up by a system call.
local function measure_turns(directory, count)
  local longest_run, longest_held, turns, calls = 0, 0, 0, 0
  moonring.scope(function(scope)
    local workers = {}
    local function work(fn)
      workers[#workers + 1] = scope:spawn(function()
        while true do
          fn()
          calls = calls + 1
        end
      end)
    end
    for _ = 1, count do
      work(function() assert(fs.read_directory "/usr/lib") end)
      work(function() assert(fs.real_path "/usr/lib") end)
      work(function() assert(fs.stat "/usr/lib") end)
      work(function() assert(fs.write_file(directory .. "/written", ("w"):rep(65536), { durable = true })) end)
      workers[#workers + 1] = scope:spawn(fs.open, directory .. "/fifo")
    end
    local last = moonring.now()
    local finish = last + 2
    local ran, waited = thread_times()
    while last < finish do
      moonring.sleep(0)
      local now = moonring.now()
      local ran_now, waited_now = thread_times()
      local wall, run, wait = (now - last) * 1000, ran_now - ran, waited_now - waited
      longest_run = math.max(longest_run, run)
      longest_held = math.max(longest_held, wall - run - wait)
      last, ran, waited = now, ran_now, waited_now
      turns = turns + 1
    end
    for _, worker in ipairs(workers) do
      worker:cancel()
    end
  end)
  print(("%3d tasks: %6d calls, %6d turns in 2 s; the longest turn ran %.1f ms, the longest was held up %.1f ms"):format(
    count * 5, calls, turns, longest_run, longest_held))
end

moonring.scope(function(scope)
  local directory = scope:own(assert(fs.temporary_directory { directory = arg[1] }))
  measure_reads(directory.path)
  os.execute("mkfifo " .. directory.path .. "/fifo")
  measure_turns(directory.path, 0) -- what the machine itself holds up
  measure_turns(directory.path, 20)
end)
