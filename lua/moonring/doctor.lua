-- moonring.doctor: whether services can run here, and how well: the kernel, io_uring and what of it is in use, limits,
-- libraries. Each finding is a line, what to change stands below it.
--
-- Levels: "ok"; "note", which costs speed or bounds what a service can do; "problem", with which none can run.

local native = require "moonring.native"
local loop = require "moonring.loop"
local task = require "moonring.task"
local deadline = require "moonring.deadline"

local C, ffi = native.C, native.ffi

local M = {}

local KERNEL_FLOOR = { 6, 1 }
local FILES_NEEDED, FILES_WANTED = 64, 4096
local MEMORY_NEEDED, MEMORY_WANTED = 33554432, 268435456
local BACKLOG = 4096 -- of a listener, unless it says otherwise
local PROCESSES_WANTED = 64
local LOCKED_WANTED = 8388608

---@class moonring.Finding
---@field level "ok"|"note"|"problem"
---@field subject string
---@field text string
---@field remedy? string

local Report = {}
Report.__index = Report

function Report:add(level, subject, text, remedy)
  self[#self + 1] = { level = level, subject = subject, text = text, remedy = remedy }
end

-- The first line of a file, nil when it can't be read.
local function line_of(path)
  local file = io.open(path)
  if not file then return nil end
  local line = file:read "*l"
  file:close()
  return line
end

local function text_of(path)
  local file = io.open(path)
  if not file then return "" end
  local text = file:read "*a"
  file:close()
  return text or ""
end

local function size_text(bytes)
  if bytes == math.huge then return "unlimited" end
  for _, unit in ipairs { { 1073741824, "GiB" }, { 1048576, "MiB" }, { 1024, "KiB" } } do
    if bytes >= unit[1] then return ("%.4g %s"):format(bytes / unit[1], unit[2]) end
  end
  return ("%d bytes"):format(bytes)
end

local function number_text(number)
  return number == math.huge and "unlimited" or ("%.0f"):format(number)
end

-- System and ring -----------------------------------------------------------------------------------------------------

local function check_kernel(report)
  local release = line_of "/proc/sys/kernel/osrelease"
  local major, minor = (release or ""):match "^(%d+)%.(%d+)"
  if not major then return report:add("note", "kernel", "its version can't be read (is /proc mounted?)") end
  major, minor = tonumber(major), tonumber(minor)
  if major < KERNEL_FLOOR[1] or major == KERNEL_FLOOR[1] and minor < KERNEL_FLOOR[2] then
    report:add("problem", "kernel", release .. " is too old", "run on Linux 6.1 or newer")
  else
    report:add("ok", "kernel", release)
  end
end

local function check_permission(report)
  local disabled = line_of "/proc/sys/kernel/io_uring_disabled"
  if disabled and disabled ~= "0" then
    local group = line_of "/proc/sys/kernel/io_uring_group" or "?"
    report:add("note", "kernel.io_uring_disabled",
      disabled == "1" and ("1: only privileged processes and those of group %s may use io_uring"):format(group)
        or disabled .. ": nobody may use io_uring",
      "sysctl -w kernel.io_uring_disabled=0" .. (disabled == "1" and ", or put this user into the group of "
        .. "kernel.io_uring_group" or ""))
  else
    report:add("ok", "kernel.io_uring_disabled", disabled or "not there (before Linux 6.6)")
  end
  local mode = text_of("/proc/self/status"):match "Seccomp:%s*(%d)"
  if mode == "2" then
    report:add("note", "seccomp", "this process runs under a filter, as in a container; what it takes away is seen below")
  else
    report:add("ok", "seccomp", mode == "1" and "strict" or "no filter")
  end
end

-- What was found of a feature, the kernel that has it, and what it is good for where it isn't there.
local function add_feature(report, is_there, subject, text, since, without)
  if is_there then return report:add("ok", subject, text) end
  report:add("note", subject, without, "run on Linux " .. since .. " or newer")
end

local function check_ring(report)
  local made, failure = pcall(loop.handle)
  if not made then
    local text, remedy = tostring(failure):match "^cannot start the event loop: (.-)\n%s*(.*)$"
    report:add("problem", "io_uring", text or tostring(failure), remedy)
    return false
  end
  local features = ffi.new "mr_loop_features"
  C.mr_loop_features_get(loop.handle(), features)
  report:add("ok", "io_uring", ("%d submissions, %d completions, %s"):format(features.submission_entries,
    features.completion_entries, features.last_operation >= 0 and features.last_operation + 1 .. " operations known"
    or "operations not told"))
  if features.deferred ~= 0 then
    report:add("ok", "completions", "deferred: worked off in the loop's one system call a turn")
  else
    report:add("note", "completions", features.cooperative ~= 0 and "cooperative: worked off between system calls"
      or "the kernel interrupts the loop for each",
      "what refuses IORING_SETUP_DEFER_TASKRUN here is no Linux 6.1 as released")
  end
  add_feature(report, features.direct_submissions ~= 0, "submissions", "without an index array", "6.6",
    "through an index array: one more cache line for each operation")
  if features.registered ~= 0 then
    report:add("ok", "ring descriptor", "registered")
  else
    report:add("note", "ring descriptor", "not registered: each turn looks it up")
  end
  add_feature(report, features.incremental ~= 0, "receive buffers", "incremental, as tried out: filled bit by bit", "6.12",
    "one receive each, 4096 bytes: more memory for small messages (incremental ones failed their trial)")
  add_feature(report, features.multishot_reads ~= 0, "reads of pipes", "multishot, as tried out", "6.7",
    "one operation each, with memory of their own")
  return true
end

-- Bytes through a listener and a connection of our own: what a service does.
local function exchange()
  local net = require "moonring.net"
  return task.open_scope(function(scope)
    local listener, message = net.listen {}
    if not listener then return nil, message end
    scope:own(listener)
    local client
    client, message = net.connect { port = listener.port }
    if not client then return nil, message end
    scope:own(client)
    local served
    served, message = listener:accept()
    if not served then return nil, message end
    scope:own(served)
    client:write "moonring"
    local received
    received, message = served:read()
    if not received then return nil, message or "the connection has ended" end
    return received:read_string(received:remaining()) == "moonring", "other bytes came out than went in"
  end)
end

local function check_service(report)
  local root = task.root(function() return deadline.timeout(5, exchange) end)
  local ran, failure = pcall(loop.run_until, root)
  local ok, works, message = root:outcome()
  if not ran or not ok then
    return report:add("problem", "a service", tostring(ran and works or failure))
  end
  if works then
    report:add("ok", "a service", "listens, accepts, receives and sends on 127.0.0.1")
  else
    report:add("problem", "a service", message)
  end
end

-- Limits ----------------------------------------------------------------------------------------------------------------

-- By the names of /proc/self/limits: { soft, hard }.
local function read_limits()
  local limits = {}
  for line in text_of("/proc/self/limits"):gmatch "[^\n]+" do
    local name, soft, hard = line:match "^Max (.-)%s%s+(%S+)%s+(%S+)"
    if name and name ~= "" then
      limits[name] = { tonumber(soft) or math.huge, tonumber(hard) or math.huge }
    end
  end
  return limits
end

local function check_files(report, limits)
  local limit = limits["open files"]
  if not limit then
    return report:add("note", "open files", "the limit can't be read (is /proc mounted, is a descriptor left?)")
  end
  local text = ("%s, could be %s"):format(number_text(limit[1]), number_text(limit[2]))
  local remedy = "raise 'ulimit -n', or LimitNOFILE= of the service's unit; each connection is one"
  if limit[1] < FILES_NEEDED then
    report:add("problem", "open files", text .. ": too few for a service", remedy)
  elseif limit[1] < FILES_WANTED then
    report:add("note", "open files", text .. ": no more connections than that", remedy)
  else
    report:add("ok", "open files", text)
  end
end

local function check_locked(report, limits)
  local limit = limits["locked memory"]
  if not limit then return end
  if limit[1] < LOCKED_WANTED then
    report:add("note", "locked memory", size_text(limit[1]) .. ": rings may be refused where the kernel counts them",
      "raise 'ulimit -l' to 8192, or LimitMEMLOCK= of the service's unit")
  else
    report:add("ok", "locked memory", size_text(limit[1]))
  end
end

local function check_processes(report, limits)
  local limit = limits["processes"]
  if limit and limit[1] < PROCESSES_WANTED then
    report:add("note", "processes", number_text(limit[1]) .. " for this user: child processes and workers may be refused",
      "raise 'ulimit -u', or LimitNPROC= and TasksMax= of the service's unit")
  elseif limit then
    report:add("ok", "processes", number_text(limit[1]))
  end
end

-- The smallest value of a control group's file from this process's group up to the root, and where it was set.
local function group_limit(name)
  local path = text_of("/proc/self/cgroup"):match "0::([^\n]*)"
  local smallest, where = math.huge, nil
  while path do
    local directory = "/sys/fs/cgroup" .. (path == "/" and "" or path)
    local value = tonumber(line_of(directory .. "/" .. name) or "")
    if value and value < smallest then smallest, where = value, directory .. "/" .. name end
    if path == "/" or path == "" then break end
    path = path:match "^(.*)/[^/]*$"
    if path == "" then path = "/" end
  end
  return smallest, where
end

local function check_memory(report)
  local total = tonumber(text_of("/proc/meminfo"):match "MemTotal:%s*(%d+)" or "")
  local limit, where = group_limit "memory.max"
  local bytes = math.min(total and total * 1024 or math.huge, limit)
  local text = where and ("%s by the control group (%s)"):format(size_text(limit), where) or size_text(bytes)
  if bytes < MEMORY_NEEDED then
    report:add("problem", "memory", text .. ": too little",
      "raise the control group's memory.max, or MemoryMax= of the unit")
  elseif bytes < MEMORY_WANTED then
    report:add("note", "memory", text, "tell moonring with --memory-limit, so that it waits instead of being killed")
  else
    report:add("ok", "memory", text)
  end
  local tasks, place = group_limit "pids.max"
  if place then report:add("ok", "processes of the control group", ("%s (%s)"):format(number_text(tasks), place)) end
end

local function check_huge_pages(report)
  local mode = (line_of "/sys/kernel/mm/transparent_hugepage/enabled" or ""):match "%[(%w+)%]"
  local reserved = tonumber(text_of("/proc/meminfo"):match "HugePages_Total:%s*(%d+)" or "") or 0
  local text = ("transparent: %s, reserved: %d"):format(mode or "not there", reserved)
  if mode == "never" and reserved == 0 then
    report:add("note", "huge pages", text .. ": slabs are mapped page by page",
      "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled")
  else
    report:add("ok", "huge pages", text)
  end
end

local function check_network(report)
  local backlog = tonumber(line_of "/proc/sys/net/core/somaxconn" or "")
  if backlog and backlog < BACKLOG then
    report:add("note", "net.core.somaxconn", ("%d: listeners ask for %d"):format(backlog, BACKLOG),
      ("sysctl -w net.core.somaxconn=%d"):format(BACKLOG))
  elseif backlog then
    report:add("ok", "net.core.somaxconn", tostring(backlog))
  end
end

local function check_inotify(report)
  local watches = tonumber(line_of "/proc/sys/fs/inotify/max_user_watches" or "")
  local instances = tonumber(line_of "/proc/sys/fs/inotify/max_user_instances" or "")
  if not watches or not instances then
    return report:add("note", "inotify", "not there: files can't be watched")
  end
  local text = ("%d watches, %d instances for each user"):format(watches, instances)
  if watches < 8192 then
    report:add("note", "inotify", text, "sysctl -w fs.inotify.max_user_watches=65536, where large trees are watched")
  else
    report:add("ok", "inotify", text)
  end
end

local function check_clock(report)
  local source = line_of "/sys/devices/system/clocksource/clocksource0/current_clocksource"
  if source == "hpet" or source == "acpi_pm" or source == "jiffies" then
    report:add("note", "clock", source .. ": each turn of the loop reads it, and it is slow",
      "see why the kernel has given up the tsc (dmesg), or choose another clock source")
  elseif source then
    report:add("ok", "clock", source)
  end
end

-- Libraries -----------------------------------------------------------------------------------------------------------

-- The versions that the names of mapped libraries carry: "libz.so.1.2.13" is in the process, whatever was built against.
local function check_libraries(report, version)
  local found = {}
  for path in text_of("/proc/self/maps"):gmatch "(/%S+)" do
    local name, number = path:match "/lib([%w_%-]+)%.so%.([%d%.]+)$"
    if name then found[name] = number end
  end
  report:add("ok", "moonring", ("%s, interface %d"):format(version or "as a library", C.mr_abi()))
  local luajit = jit.version:gsub("^LuaJIT ", "")
  if jit.status() then
    report:add("ok", "LuaJIT", luajit)
  else
    report:add("note", "LuaJIT", luajit .. ", its compiler is off: Lua is interpreted")
  end
  for _, library in ipairs { { "uring", "liburing" }, { "z", "zlib" }, { "cares", "c-ares" }, { "ssl", "OpenSSL" } } do
    local number = found[library[1]]
    if number then report:add("ok", library[2], number) end
  end
end

--- Looks at everything. Returns the findings in their order, and whether services can run.
---@param version? string of the executable
---@return moonring.Finding[] findings
---@return boolean can_run
function M.examine(version)
  local report = setmetatable({}, Report)
  check_kernel(report)
  check_permission(report)
  local limits = read_limits()
  if check_ring(report) then check_service(report) end
  check_files(report, limits)
  check_locked(report, limits)
  check_processes(report, limits)
  check_memory(report)
  check_huge_pages(report)
  check_network(report)
  check_inotify(report)
  check_clock(report)
  check_libraries(report, version)
  local can_run = true
  for _, finding in ipairs(report) do
    if finding.level == "problem" then can_run = false end
  end
  return report, can_run
end

--- Prints what examine has found. Returns the exit status: 0 when services can run.
---@param version? string
---@return integer
function M.run(version)
  local findings, can_run = M.examine(version)
  local counts = { ok = 0, note = 0, problem = 0 }
  for _, finding in ipairs(findings) do
    counts[finding.level] = counts[finding.level] + 1
    print(("%-8s %-26s %s"):format(finding.level, finding.subject, finding.text))
    if finding.remedy then print(("%-8s %-26s -> %s"):format("", "", finding.remedy)) end
  end
  print(("services can%s run here (%d ok, %d note%s, %d problem%s)"):format(can_run and "" or "not", counts.ok, counts.note,
    counts.note == 1 and "" or "s", counts.problem, counts.problem == 1 and "" or "s"))
  loop.close()
  return can_run and 0 or 1
end

return M
