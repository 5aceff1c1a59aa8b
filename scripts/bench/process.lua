-- What the comparison needs to know of processes: start one on a core, read what it used, end it. Linux, plain LuaJIT.

local ffi = require("ffi")

ffi.cdef([[
  int fork(void);
  int execvp(const char *file, char *const argv[]);
  void _exit(int status);
  int kill(int pid, int signal);
  int waitpid(int pid, int *status, int options);
  int prctl(int option, unsigned long, unsigned long, unsigned long, unsigned long);
  int open(const char *path, int flags, int mode);
  int dup2(int from, int to);
  int usleep(unsigned microseconds);
]])

local C = ffi.C
local O_WRONLY_CREATE_TRUNCATE, WNOHANG, PR_SET_PDEATHSIG = 577, 1, 1
local SIGKILL, SIGTERM = 9, 15
local TICKS_PER_SECOND = 100 -- USER_HZ, which /proc shows on every architecture

local process = {}

function process.sleep(seconds)
  C.usleep(seconds * 1e6)
end

local function read(path)
  local file = io.open(path)
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- Starts `command` (a list) on `core`, its output in the file `log`. It dies with this process.
function process.start(command, core, log)
  local words = { "taskset", "-c", tostring(core) }
  for _, word in ipairs(command) do
    words[#words + 1] = tostring(word)
  end
  local arguments = ffi.new("char *[?]", #words + 1)
  for i, word in ipairs(words) do
    arguments[i - 1] = ffi.cast("char *", word) -- `words` keeps the strings alive
  end
  io.flush()
  local pid = C.fork()
  assert(pid >= 0, "fork failed")
  if pid == 0 then
    C.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    local output = C.open(log, O_WRONLY_CREATE_TRUNCATE, 420)
    C.dup2(output, 1)
    C.dup2(output, 2)
    C.execvp("taskset", arguments)
    C._exit(127)
  end
  return pid
end

-- True until the process has ended; reaps it then, after which waitpid fails and the answer stays false.
function process.is_running(pid)
  return C.waitpid(pid, nil, WNOHANG) == 0
end

-- The process and its descendants.
local function family(pid, list)
  list = list or {}
  list[#list + 1] = pid
  for child in (read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""):gmatch("%d+") do
    family(tonumber(child), list)
  end
  return list
end

-- Ends a process and its descendants: SIGTERM, and SIGKILL for what is left after 2 seconds.
function process.stop(pid)
  if not process.is_running(pid) then
    return
  end
  local members = family(pid)
  C.kill(pid, SIGTERM)
  for _ = 1, 200 do
    if not process.is_running(pid) then
      return
    end
    process.sleep(0.01)
  end
  for _, member in ipairs(members) do
    C.kill(member, SIGKILL)
  end
  C.waitpid(pid, nil, 0)
end

-- CPU seconds that a process and its descendants used so far: total, user, system. The total comes from the scheduler
-- in nanoseconds where the kernel has it; user and system only come in ticks of 10 ms, so they are its parts by
-- proportion.
function process.cpu(pid)
  local total, user, system = 0, 0, 0
  for _, member in ipairs(family(pid)) do
    local stat = read(("/proc/%d/stat"):format(member))
    if stat then
      local utime, stime = stat:match("^.*%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)")
      user, system = user + utime / TICKS_PER_SECOND, system + stime / TICKS_PER_SECOND
      local threads = io.popen(("cat /proc/%d/task/*/schedstat 2>/dev/null"):format(member))
      for line in threads:lines() do
        total = total + tonumber(line:match("^(%d+)")) / 1e9
      end
      threads:close()
    end
  end
  return total > 0 and total or user + system, user, system
end

-- The peak resident memory of a process and its descendants, in bytes.
function process.peak_memory(pid)
  local sum = 0
  for _, member in ipairs(family(pid)) do
    local kilobytes = (read(("/proc/%d/status"):format(member)) or ""):match("VmHWM:%s*(%d+)")
    sum = sum + (tonumber(kilobytes) or 0) * 1024
  end
  return sum
end

-- Does somebody listen on this TCP port?
function process.is_listening(port)
  local LISTEN = "0A"
  local pattern = (":%04X %%x+:%%x+ %s "):format(port, LISTEN)
  for _, path in ipairs({ "/proc/net/tcp", "/proc/net/tcp6" }) do
    if (read(path) or ""):find(pattern) then
      return true
    end
  end
  return false
end

process.read = read

return process
