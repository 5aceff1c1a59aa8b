-- A pool of worker processes that are fed with jobs over pipes: each line written to a worker is a job, each line that it
-- writes back is its result. A worker that dies fails the job it had, and another takes its place.
--   scripts/run examples/process_pool.lua [workers] [program args...]       jobs on stdin, results on stdout
--   seq 5 | scripts/run examples/process_pool.lua 2 sh -c 'while read n; do echo "$n squared is $((n * n))"; done'

local moonring, process = require "moonring", require "moonring.process"

local WORKERS = tonumber(arg[1]) or 4
local PROGRAM = #arg > 1 and { unpack(arg, 2) } or { "sh", "-c", 'while read -r job; do echo "$job done by $$"; done' }

local function start()
  return process.spawn { stdin = "pipe", stdout = "pipe", stderr = "inherit", grace = 1, unpack(PROGRAM) }
end

local function is_running(worker)
  return not worker:has_ended()
end

local pool = moonring.pool { open = start, size = WORKERS, check = is_running }

-- Returns the result, or nil and what became of the worker.
local function run(job)
  return pool:use(function(worker)
    worker.stdin:write(job .. "\n")
    local line = worker.stdout:read_line()
    if line then return line end
    return nil, tostring(worker:wait())
  end)
end

local places = moonring.semaphore(WORKERS) -- no more jobs are read than there are workers
for job in moonring.stdin:lines() do
  places:acquire()
  moonring.spawn(function()
    local result, failure = run(job)
    print(result or ("%s: the worker has ended with %s"):format(job, failure))
    places:release()
  end)
end
