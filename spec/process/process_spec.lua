local moonring = require "moonring"
local process = require "moonring.process"
local net = require "moonring.net"
local errors = require "moonring.errors"
local eventually = require "spec.support.eventually"
local support = require "spec.support.process"
local system = require "spec.support.system"

local ffi = require "ffi"
local failures = require "spec.support.failures"

local refused = failures.refused

ffi.cdef "int getpid(void); int dup(int);"

-- The states of this process's children: "S", "Z"...
local function children()
  local pid, states = ffi.C.getpid(), {}
  local pipe = io.popen("ps -o stat=,comm= --ppid " .. pid)
  for line in pipe:lines() do
    local state, command = line:match "^%s*(%S+)%s+(%S+)"
    if command ~= "sh" or state:sub(1, 1) == "Z" then states[#states + 1] = state:sub(1, 1) .. " " .. command end
  end
  pipe:close()
  return states
end

describe("process.run", function()
  it("gives status, output and errors", function()
    local status, output, complaints = process.run { "sh", "-c", "echo out; echo err >&2; exit 3" }
    assert.equal(3, status.code)
    assert.is_false(status.ok)
    assert.is_nil(status.signal)
    assert.equal("out\n", output)
    assert.equal("err\n", complaints)
    assert.equal("exit status 3", tostring(status))
    assert.is_true(status.memory_peak > 100000)
  end)

  it("tells which signal ended it", function()
    local status = process.run { "sh", "-c", "kill -9 $$" }
    assert.equal("KILL", status.signal)
    assert.is_nil(status.code)
    assert.is_false(status.ok)
    assert.equal("signal KILL", tostring(status))
  end)

  it("feeds input and reads both outputs at once, more of each than pipes hold", function()
    local input = ("0123456789abcde\n"):rep(200000)
    local status, output, complaints = process.run { "tee", "/dev/stderr", input = input }
    assert.is_true(status.ok)
    assert.is_true(output == input)
    assert.is_true(complaints == input)
  end)

  it("takes a program that does not read its input", function()
    local status, output = process.run { "echo", "done", input = ("x"):rep(1000000) }
    assert.is_true(status.ok)
    assert.equal("done\n", output)
  end)

  it("ends a program that writes more than is to be kept", function()
    local status, message, code = process.run { "yes", max = 1000 }
    assert.is_nil(status)
    assert.equal("EMSGSIZE", code)
    assert.equal("process.run: stdout of yes is more than 1000 bytes", message)
    assert.is_true(eventually(function() return #children() == 0 end))
  end)

  it("or drops the rest, and says so", function()
    local status, output = process.run { "sh", "-c", "yes | head -c 1000000", max = 1001, overflow = "cut" }
    assert.is_true(status.ok)
    assert.is_true(status.is_cut)
    assert.equal(1001, #output)
    status, output = process.run { "printf", "abc", max = 3, overflow = "cut" }
    assert.is_nil(status.is_cut)
    assert.equal("abc", output)
  end)

  it("is ended with its scope's deadline", function()
    local ok, failure = pcall(moonring.timeout, 0.05, process.run, { "sleep", "60" })
    assert.is_false(ok)
    assert.is_true(errors.is(failure, "deadline"))
    assert.same({}, children())
  end)

  it("gives arguments as they are", function()
    local arguments = { "a b", "", "*", "$HOME", "\\", "'\"", "\255\n" }
    local _, output = process.run { "printf", "[%s]", unpack(arguments) }
    assert.equal("[" .. table.concat(arguments, "][") .. "]", output)
  end)
end)

describe("process.shell", function()
  it("keeps values out of the command's text", function()
    local status, output = process.shell('printf "[%s]" "$1" "$2"', "$(echo no); '", "a b")
    assert.is_true(status.ok)
    assert.equal("[$(echo no); '][a b]", output)
  end)

  it("has a quote for commands that go elsewhere", function()
    local _, output = process.shell("printf '[%s]' " .. process.quote "it's $(no)")
    assert.equal("[it's $(no)]", output)
  end)
end)

describe("process.spawn", function()
  it("connects pipes in both directions", function()
    moonring.scope(function(scope)
      local cat = scope:own(assert(process.spawn { "cat", stdin = "pipe", stdout = "pipe" }))
      for _, text in ipairs { "one", "two" } do
        cat.stdin:write(text)
        assert.equal(text, cat.stdout:read():read_string())
      end
      cat.stdin:close()
      assert.is_nil((cat.stdout:read()))
      assert.is_true(cat:wait().ok)
      assert.is_nil(cat.stderr)
    end)
  end)

  it("hands over nothing that was not listed", function()
    local left_open = io.open("/dev/zero")
    local _, output = process.run { "sh", "-c", "ls -1 /proc/$$/fd; readlink /proc/$$/fd/0" }
    assert.equal("0\n1\n2\n/dev/null\n", output)
    left_open:close()
  end)

  it("starts it with no signal ignored, blocked or caught", function()
    local command = support.quote("trap '' HUP PIPE USR2; exec " .. support.command("-e", [[
      local process = require "moonring.process"
      io.write((select(2, process.run { "grep", "-E", "Sig(Ign|Blk|Cgt)", "/proc/self/status" })))
    ]]))
    local status, output = support.run("sh -c " .. command)
    assert.equal(0, status)
    assert.equal("SigBlk:\t" .. ("0"):rep(16), output:match "SigBlk:\t%x+")
    assert.equal("SigIgn:\t" .. ("0"):rep(16), output:match "SigIgn:\t%x+")
  end)

  it("sends errors to where the output goes", function()
    local _, output, complaints = process.run { "sh", "-c", "echo a; echo b >&2; echo c", stderr = "stdout" }
    assert.equal("a\nb\nc\n", output)
    assert.is_nil(complaints)
  end)

  it("takes descriptors, connections, and further descriptors by number", function()
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local served = scope:own(assert(listener:accept()))
      local status = process.run { "sh", "-c", "echo to you; echo three >&3", stdout = served,
        descriptors = { [3] = served } }
      assert.is_true(status.ok)
      served:shutdown()
      local parts = {}
      for buffer in client:chunks() do
        parts[#parts + 1] = buffer:read_string()
      end
      assert.equal("to you\nthree\n", table.concat(parts))
    end)
  end)

  it("writes into files", function()
    local fs = require "moonring.fs"
    local path = os.tmpname()
    moonring.scope(function(scope)
      local file = scope:own(assert(fs.open(path, "w")))
      assert.is_true(process.run({ "sh", "-c", "echo out; echo err >&2", stdout = file, stderr = "stdout" }).ok)
      local number = ffi.C.dup(file.descriptor)
      local descriptor = scope:own(require("moonring.descriptor").new(number))
      assert.is_true(process.run({ "echo", "more", stdout = descriptor }).ok)
      descriptor:close()
      refused("closed", "has been closed", process.run, { "true", stdout = descriptor })
    end)
    assert.equal("out\nerr\nmore\n", fs.read_file(path):read_string())
    os.remove(path)
  end)

  it("replaces the environment, or changes it", function()
    local _, output = process.run { "/usr/bin/env", environment = { A = 1, B = "two" } }
    local lines = {}
    for line in output:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    table.sort(lines)
    assert.same({ "A=1", "B=two" }, lines)
    _, output = process.run { "env", extra = { PATH = os.getenv "PATH", HOME = false, MOON = "ring" } }
    assert.is_truthy(output:find("MOON=ring\n", 1, true))
    assert.is_nil(output:find("\nHOME=", 1, true))
    assert.equal(1, select(2, ("\n" .. output):gsub("\nPATH=", "")))
  end)

  it("changes directory, mask, group and session", function()
    local _, output = process.run { "sh", "-c", "pwd; umask; ps -o pid=,pgid=,sid= $$", directory = "/", umask = 63,
      session = true }
    local directory, mask, pid, group, session = output:match "^(%S+)%s+(%S+)%s+(%d+)%s+(%d+)%s+(%d+)"
    assert.equal("/", directory)
    assert.equal("0077", mask)
    assert.equal(pid, group)
    assert.equal(pid, session)
  end)

  it("changes the user, with that user's groups", function()
    if ffi.C.getpid and select(2, process.run { "id", "-u" }) ~= "0\n" then return pending "needs root" end
    local _, output = process.run { "id", user = "nobody" }
    assert.is_truthy(output:find("^uid=65534%(nobody%) gid=65534%(nogroup%) groups=65534%(nogroup%)"), output)
    _, output = process.run { "id", "-g", user = 12345, group = 54321 }
    assert.equal("54321\n", output)
    local _, message, code = process.spawn { "id", user = "no such user" }
    assert.equal("ENOENT", code)
    assert.is_truthy(message:find("look up the user 'no such user'", 1, true))
  end)

  it("looks for programs in PATH, or elsewhere, or nowhere", function()
    local _, message, code = process.spawn { "true", search = "relative:/nonexistent" }
    assert.equal("ENOENT", code)
    assert.is_truthy(message:find("looked for in relative:/nonexistent", 1, true), message)
    assert.equal("ENOENT", select(3, process.spawn { "true", search = false }))
    assert.is_true(process.run({ "true", search = "/nonexistent:/usr/bin:/bin" }).ok)
    assert.is_true(process.run({ "./true", directory = "/bin" }).ok)
  end)

  it("tells precisely what failed", function()
    local directory = os.tmpname()
    local cases = {
      { "ENOENT", "process.spawn: start '/nonexistent/program'", { "/nonexistent/program" } },
      { "EACCES", "process.spawn: start '/etc/passwd'", { "/etc/passwd" } },
      { "ENOEXEC", "neither a program nor a script that begins with #!", { directory } },
      { "ENOENT", "change to the directory '/nonexistent' for 'true'", { "true", directory = "/nonexistent" } },
      { "ENOTDIR", "change to the directory '/etc/passwd' for 'true'", { "true", directory = "/etc/passwd" } },
      { "E2BIG", "one of them than 128 KiB", { "true", ("x"):rep(200000) } },
      { "EBADF", "hand descriptors to 'true'", { "true", stdin = 9999 } },
      { "ESRCH", "set the process group of 'true'", { "true", process_group = 2 ^ 22 - 2 } },
    }
    local file = io.open(directory, "w")
    file:write("\1\2\3")
    file:close()
    os.execute("chmod +x " .. directory)
    local before = system.count()
    for _, case in ipairs(cases) do
      local code, words, options = unpack(case)
      options.stdout = "pipe"
      local child, message, got = process.spawn(options)
      assert.is_nil(child)
      if code ~= "ESRCH" then assert.equal(code, got) end -- EPERM where that group is another session's
      assert.is_truthy(message:find(words, 1, true), message)
    end
    os.remove(directory)
    assert.is_true(eventually(function() return system.count() <= before end))
    assert.same({}, children())
  end)

  it("refuses what can't be meant", function()
    refused("argument", "a table of the program", process.spawn, "ls")
    refused("argument", "name of a program is needed", process.spawn, {})
    refused("argument", "there is no option 'stdot'", process.spawn, { "ls", stdot = "pipe" })
    refused("argument", "argument 1 holds a zero byte", process.spawn, { "ls", "a\0b" })
    refused("argument", "argument 1: a string is needed", process.spawn, { "ls", {} })
    refused("argument", "no name for a variable", process.spawn, { "ls", environment = { ["A=B"] = "c" } })
    refused("argument", "numbers from 3 to 63", process.spawn, { "ls", descriptors = { [2] = 1 } })
    refused("argument", "descriptor 1", process.spawn, { "ls", stdout = "pip" })
    refused("argument", "umask", process.spawn, { "ls", umask = "022" })
    refused("argument", "overflow", process.run, { "ls", overflow = "no" })
    local before = system.count()
    refused("argument", "descriptor 2", process.spawn, { "ls", stdin = "pipe", stdout = "pipe", stderr = {} })
    assert.is_true(eventually(function() return system.count() <= before end))
  end)

  for fault, words in pairs {
    ["clone:error=EAGAIN"] = "make a process for 'true': EAGAIN: .-limit of processes has been reached",
    ["clone:error=ENOMEM"] = "make a process for 'true': ENOMEM",
    ["pipe2:error=EMFILE"] = "a pipe for stdout of 'true': EMFILE",
    ["close_range:error=EPERM"] = "hand descriptors to 'true': EPERM",
    ["setsid:error=EPERM"] = "make a session for 'true': EPERM",
    ["setresuid:error=EAGAIN"] = "change to the user 12 for 'true': EAGAIN",
  } do
    it("returns the failure when " .. fault, function()
      local status, output = support.run_injected(fault, support.command("-e", [[
        local process = require "moonring.process"
        local child, message, code = process.spawn { "true", stdout = "pipe", session = true, user = 12 }
        print(child, message, code)
        print(require("moonring").stats().processes)
      ]]))
      assert.equal(0, status)
      assert.is_truthy(output:find("^nil\tprocess.spawn: " .. words), output)
      assert.is_truthy(output:find("\n0\n$"), output)
    end)
  end

  it("goes on without descriptors to spare", function()
    local status, output = support.run("ulimit -n 24; " .. support.command("-e", [[
      local process = require "moonring.process"
      local open = {}
      while true do
        local child, message, code = process.spawn { "cat", stdin = "pipe", stdout = "pipe" }
        if not child then print(code, #open > 0) break end
        open[#open + 1] = child
      end
      for _, child in ipairs(open) do child:close() end
      require("moonring").sleep(0.01)
      print((select(2, process.run { "echo", "fine" })))
    ]]))
    assert.equal(0, status)
    assert.equal("EMFILE\ttrue\nfine\n\n", output)
  end)
end)

describe("a process", function()
  it("gives its end to every task that waits, and to those who come later", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { "sh", "-c", "read x; exit 4", stdin = "pipe" }))
      local codes = {}
      for i = 1, 3 do
        scope:spawn(function() codes[i] = child:wait().code end)
      end
      moonring.sleep(0)
      assert.is_false(child:has_ended())
      child.stdin:close()
      assert.equal(4, child:wait().code)
      assert.is_true(child:has_ended())
      moonring.sleep(0)
      assert.same({ 4, 4, 4 }, codes)
      assert.equal(4, child:wait().code)
    end)
  end)

  it("can be waited for in a select, and the wait can be left", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { "sh", "-c", "read x", stdin = "pipe" }))
      assert.equal("late", (moonring.select { ended = child:wait_op(), late = moonring.sleep_op(0.01) }))
      local ok, failure = pcall(moonring.timeout, 0.01, child.wait, child)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "deadline"))
      child.stdin:close()
      local name, status = moonring.select { ended = child:wait_op(), late = moonring.sleep_op(5) }
      assert.equal("ended", name)
      assert.equal(1, status.code)
      name, status = moonring.select { ended = child:wait_op() }
      assert.equal("ended", name)
      assert.equal(1, status.code)
    end)
  end)

  it("takes signals, and none after its end", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { "sh", "-c",
        "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.01; done", stdout = "pipe" }))
      assert.equal("ready\n", child.stdout:read():read_string())
      assert.is_true(child:kill "USR1")
      assert.equal(5, child:wait().code)
      local ok, message, code = child:kill "TERM"
      assert.is_nil(ok)
      assert.equal("ESRCH", code)
      assert.is_truthy(message:find("send TERM to moonring.Process(sh, exit status 5)", 1, true), message)
      refused("argument", "a signal such as \"HUP\" is needed", child.kill, child, "NOSUCH")
      refused("argument", "has no group of its own", child.kill_group, child)
    end)
  end)

  it("has not ended when it is stopped", function()
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { "sleep", "60" }))
      child:kill "STOP"
      assert.equal("late", (moonring.select { ended = child:wait_op(), late = moonring.sleep_op(0.03) }))
      child:kill "CONT"
      assert.equal("late", (moonring.select { ended = child:wait_op(), late = moonring.sleep_op(0.03) }))
      child:kill "STOP"
      -- and its scope ends it all the same
    end)
    assert.same({}, children())
  end)

  it("is ended by its scope, in its grace", function()
    local child
    moonring.scope(function(scope)
      child = scope:own(assert(process.spawn { "sleep", "60" }))
    end)
    assert.equal("TERM", child.status.signal)
    assert.same({}, children())
  end)

  it("is killed by its scope when it ignores that, also when the scope was cancelled", function()
    local child
    local task = moonring.spawn(function()
      moonring.scope(function(scope)
        child = scope:own(assert(process.spawn { "sh", "-c", "trap '' TERM; echo; while :; do sleep 0.01; done",
          stdout = "pipe", grace = 0.05, process_group = true }))
        child.stdout:read()
        moonring.sleep(60)
      end)
    end)
    assert.is_truthy(eventually(function() return child end))
    moonring.sleep(0.05)
    task:cancel()
    task:join()
    assert.equal("KILL", child.status.signal)
    assert.same({}, children())
  end)

  it("is ended with all of its group", function()
    local marker = "33.25" .. support.own_pid
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { "sh", "-c",
        "sleep " .. marker .. " & sleep " .. marker .. " & echo; wait", stdout = "pipe", process_group = true }))
      child.stdout:read()
      assert.is_true(child:kill_group "TERM")
      assert.equal("TERM", child:wait().signal)
    end)
    moonring.scope(function(scope)
      local child = scope:own(assert(process.spawn { "sh", "-c",
        "trap '' TERM; (trap '' TERM; sleep " .. marker .. ") & echo; read x", stdin = "pipe", stdout = "pipe",
        process_group = true, grace = 0.05 }))
      child.stdout:read()
    end)
    assert.is_true(eventually(function()
      return process.run({ "pgrep", "-f", "^sleep " .. marker:gsub("%.", "[.]") }).code == 1
    end))
  end)

  it("is reaped when it has been forgotten, and leaves nothing", function()
    local before = system.count()
    for _ = 1, 20 do
      assert(process.spawn { "cat", stdin = "pipe", stdout = "pipe" })
    end
    collectgarbage()
    collectgarbage() -- which closes their pipes, so they end
    assert.is_true(eventually(function() return moonring.stats().processes == 0 end))
    assert.same({}, children())
    assert.is_true(eventually(function() return system.count() <= before end))
  end)

  it("comes and goes a thousand times without a trace", function()
    local before = system.count()
    local connections = moonring.stats().connections
    for i = 1, 1000 do
      local status = process.run { "true", stdout = i % 3 == 0 and "pipe" or "null", stderr = "null" }
      assert.is_true(status.ok)
    end
    assert.equal(0, moonring.stats().processes)
    assert.is_true(eventually(function() return system.count() <= before end))
    assert.is_true(eventually(function() return moonring.stats().connections == connections end))
    assert.same({}, children())
  end)

  it("loses its status to a wait of somebody else, and says so", function()
    ffi.cdef "int waitpid(int, int *, int);"
    local child = assert(process.spawn { "true" })
    ffi.C.waitpid(child.pid, nil, 0)
    local status, message, code = child:wait()
    assert.is_nil(status)
    assert.equal("ECHILD", code)
    assert.is_truthy(message:find("has been taken by somebody else", 1, true))
  end)

  it("has a status also where the parent's parent had ignored SIGCHLD", function()
    local code = "local process = require 'moonring.process' print(process.run { 'sh', '-c', 'exit 7' })"
    local status, output = support.run("perl -e '$SIG{CHLD} = \"IGNORE\"; exec @ARGV' -- " .. support.command("-e", code))
    assert.equal(0, status)
    assert.equal("exit status 7\t\t\n", output)
  end)
end)

describe("when the loop ends", function()
  local function run(code)
    local status, output = support.run("timeout -s KILL 20 " .. support.command("-e", code))
    return status, output
  end

  it("children that still run are told to end, and killed when they don't", function()
    local marker = "47.5" .. support.own_pid
    local status, output = run(([[
      local process = require "moonring.process"
      assert(process.spawn { "sleep", "%s" })
      local child = assert(process.spawn { "sh", "-c", "trap '' TERM; echo; while :; do sleep %s; done", stdout = "pipe",
        process_group = true })
      child.stdout:read()
      print "end"
    ]]):format(marker, marker))
    assert.equal(0, status)
    assert.equal("end\n", output)
    assert.equal(1, process.run({ "pgrep", "-f", "^sleep " .. marker:gsub("%.", "[.]") }).code)
  end)

  it("one that was detached runs on", function()
    local marker = "3.75" .. support.own_pid
    local status = run(([[
      local process = require "moonring.process"
      assert(process.spawn { "sleep", "%s" }):detach()
    ]]):format(marker))
    assert.equal(0, status)
    assert.equal(0, process.run({ "pkill", "-f", "^sleep " .. marker:gsub("%.", "[.]") }).code)
  end)

  it("by os.exit or an error, they end too", function()
    for _, ending in ipairs { "os.exit(3)", "error 'oh no'" } do
      local marker = "48.5" .. support.own_pid
      run(([[ require("moonring.process").spawn { "sleep", "%s" } %s ]]):format(marker, ending))
      assert.equal(1, process.run({ "pgrep", "-f", "^sleep " .. marker:gsub("%.", "[.]") }).code)
    end
  end)
end)
