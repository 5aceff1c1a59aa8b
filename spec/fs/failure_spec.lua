-- What the system refuses, made to happen: full disks, limits, permissions, errors of the device.

local moonring = require "moonring"
local fs = require "moonring.fs"
local buffer = require "moonring.buffer"
local process = require "spec.support.process"
local failures = require "spec.support.failures"

local code_of = failures.code_of

local root

local function is_root()
  return select(2, process.run "id -u") == "0\n"
end

-- Runs code in a child process under a shell's prefix such as "ulimit -n 20;". Returns its output.
local function run(prefix, code)
  local status, output = process.run(("cd %s && %s %s"):format(process.quote(root.path), prefix, process.command("-e",
    'local moonring, fs, buffer = require "moonring", require "moonring.fs", require "moonring.buffer"\n' .. code)))
  assert.equal(0, status, output)
  return output
end

-- The same with system calls that fail. (The leak checker does not work under strace.)
local function inject(call, how, code)
  return run(("ASAN_OPTIONS=detect_leaks=0 timeout 20 strace -qq -f -o /dev/null -e trace=%s -e inject=%s:%s"):format(call,
    call, how), code)
end

describe("fs meets", function()
  setup(function()
    root = assert(fs.temporary_directory())
  end)
  teardown(function()
    assert(root:close())
  end)

  it("a full disk: what fits is written and counted, the rest told", function()
    if not is_root() then return pending "mounting needs root" end
    local mount = root.path .. "/small"
    assert(fs.make_directory(mount))
    local status, output = process.run("mount -t tmpfs -o size=64k none " .. mount)
    if status ~= 0 then return pending("no mount here: " .. output) end
    local ok, problem = pcall(function()
      moonring.scope(function(scope)
        local file = scope:own(assert(fs.open(mount .. "/file", "w")))
        local source = buffer.allocate(100000):write(("x"):rep(100000)):reset_for_read()
        local result, message, code, written = file:write(source)
        assert.is_nil(result)
        assert.equal("ENOSPC", code)
        assert.matches("small/file", message)
        assert.equal(65536, written)
        assert.equal(65536, source.position)
        source:release()
        assert.equal(65536, file.position)
        assert.equal(65536, file:stat().size)
        assert.equal("ENOSPC", code_of(file:allocate(0, 1000000)))
        local _, _, string_code, string_written = file:write(("y"):rep(50000), 60000)
        assert.equal("ENOSPC", string_code)
        assert.equal(5536, string_written)
      end)
      -- An atomic write that fails leaves the old file, and nothing of its own.
      assert(fs.unlink(mount .. "/file"))
      assert(fs.write_file(mount .. "/kept", "old"))
      assert.equal("ENOSPC", code_of(fs.write_file(mount .. "/kept", ("z"):rep(100000))))
      moonring.sleep(0.05)
      local names = assert(fs.read_directory(mount))
      assert.equal(1, #names)
      assert.equal("old", fs.read_file(mount .. "/kept"):read_string())
      assert.equal("ENOSPC", code_of(fs.copy("/proc/self/exe", mount .. "/copy")))
      moonring.sleep(0.05)
      assert.equal(0, (process.run("mount -o remount,ro " .. mount)))
      assert.equal("EROFS", code_of(fs.open(mount .. "/new", "w")))
      assert.equal("EROFS", code_of(fs.unlink(mount .. "/kept")))
      assert.equal("EROFS", code_of(fs.write_file(mount .. "/kept", "x")))
      assert.is_false(fs.access(mount .. "/kept", "w"))
    end)
    moonring.sleep(0.05) -- closed files leave the mount
    assert.equal(0, (process.run("umount " .. mount .. " || { sleep 0.5; umount " .. mount .. "; }")))
    if not ok then error(problem, 0) end
  end)

  it("a disk that fails when what was written goes there: sync tells, close does not", function()
    if not is_root() or (process.run "command -v mke2fs") ~= 0 then return pending "needs root and mke2fs" end
    -- A disk of 16 MiB whose blocks are in a memory of 1 MiB. The mounts are the shell's own and end with it.
    local status, output = process.run("unshare -m sh -ec " .. process.quote([[
      cd ]] .. root.path .. [[; mkdir memory; mount -t tmpfs -o size=1200k none memory; cd memory
      truncate -s 16M image; mke2fs -q -F -t ext2 image; mkdir disk
      mount -o loop image disk || { echo no loop device; exit; }
      set +e; cd disk; ]] .. process.command("-e", [[
        local moonring, fs = require "moonring", require "moonring.fs"
        assert(fs.write_file("kept", "old", { durable = true }))
        local file = assert(fs.open("file", "w"))
        assert(file:write(("x"):rep(4000000))) -- into the page cache
        print(file:sync())
        print(file:write(("y"):rep(4000000), 0), (select(3, file:sync(true))))
        file:close()
        print((select(3, fs.write_file("kept", ("z"):rep(3000000), { durable = true }))), fs.read_file("kept"):read_string())
        moonring.sleep(0.01)
        for _, entry in ipairs(fs.read_directory ".") do assert(not entry.name:find "^%.kept", entry.name) end
      ]]) .. "\ncd ..; umount disk"))
    if output:find "no loop device" or output:find "unshare failed" then return pending(output) end
    assert.equal(0, status, output)
    -- The disk says EIO where it is its own tables that can't be written.
    assert.equal("nil\tsync file: ENOSPC: no space left on device\tENOSPC\ntrue\tENOSPC\nENOSPC\told\n",
      (output:gsub("EIO: input/output error", "ENOSPC: no space left on device"):gsub("EIO", "ENOSPC")))
  end)

  it("devices that fail", function()
    moonring.scope(function(scope)
      local full = scope:own(assert(fs.open("/dev/full", "r+")))
      assert.equal("ENOSPC", code_of(full:write "x"))
      local memory = scope:own(assert(fs.open "/proc/self/mem"))
      assert.equal("EIO", code_of(memory:read(10, 0)))
      assert.equal("EINVAL", code_of(scope:own(assert(fs.open "/proc/self/status")):sync()))
    end)
    assert.matches("EIO", inject("getdents64", "error=EIO", 'print(fs.read_directory ".")'))
    assert.matches("EIO: input/output error", inject("readlink", "error=EIO", 'print(fs.read_link "/proc/self/exe")'))
    assert.matches("EDQUOT", inject("fchmod", "error=EDQUOT", [[
      assert(fs.write_file("quota", "old"))
      print(fs.write_file("quota", "new"))
      moonring.sleep(0.05)
      assert(fs.read_file("quota"):read_string() == "old")
      for _, entry in ipairs(fs.read_directory ".") do assert(not entry.name:find "^%.quota", entry.name) end]]))
  end)

  it("permissions", function()
    local code = [[
      print((select(3, fs.open("/etc/shadow"))), (select(3, fs.open("/moonring-new", "w"))),
        (select(3, fs.make_directory "/root/x")), fs.access("/etc/shadow", "r"), (select(3, fs.chmod("/etc", 511))))]]
    local prefix = ""
    if is_root() then
      if (process.run "command -v setpriv") ~= 0 then return pending "setpriv is not here" end
      process.run("chmod 755 " .. root.path)
      prefix = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    end
    assert.equal("EACCES\tEACCES\tEACCES\tfalse\tEPERM\n", run(prefix, code))
  end)

  it("the limit of descriptors: told, and over when there are some again", function()
    assert.matches("EMFILE\tEMFILE\tEMFILE\tok", run("ulimit -n 20;", [[
      local list = {}
      while true do
        local file, message, code = fs.open "/dev/null"
        if not file then
          io.write(code, "\t", (select(3, fs.watch "/")), "\t")
          io.write((select(3, list[1]:chmod(511))), "\t") -- its helper needs a descriptor of its own
          break
        end
        list[#list + 1] = file
      end
      for _, file in ipairs(list) do file:close() end
      moonring.sleep(0.01)
      assert(fs.open "/dev/null")
      print "ok"]]))
  end)

  it("the limit of a file's size, without being ended by its signal", function()
    assert.matches("EFBIG\t4096\t4096", run("ulimit -f 8;", [[ -- in units of 512
      local file = fs.open("limited", "w")
      local ok, message, code, written = file:write(("x"):rep(20000))
      print(code, written, file:stat().size)]]))
  end)

  it("a reader that has gone, without being ended by its signal", function()
    assert.matches("EPIPE", run("mkfifo pipe;", [[
      moonring.scope(function(scope)
        local writing = scope:spawn(fs.open, "pipe", "w")
        scope:spawn(function() moonring.sleep(0.05) end)
        local _, reader = scope:spawn(function()
          local file
          local opening = scope:spawn(function() file = fs.open("pipe", { read = true, write = true }) end)
          opening:join()
          return file
        end):join()
        local _, writer = writing:join()
        reader:close()
        moonring.sleep(0.02)
        print(writer:write "x")
        writer:close()
      end)]]))
  end)

  it("interruptions by signals, which nobody notices", function()
    assert.matches("true\n$", run("", [[
      local file = assert(fs.open("interrupted", "w+"))
      moonring.scope(function(scope)
        local child = scope:spawn(function()
          for _ = 1, 50 do
            os.execute "kill -USR1 $PPID"
            moonring.sleep(0.001)
          end
        end)
        while not child:has_ended() do
          assert(file:write(("x"):rep(100000), 0))
          assert(#file:read(100000, 0) == 100000)
          assert(fs.read_link "/proc/self/exe")
        end
        print(true)
      end)]]))
    assert.equal("true\n", inject("getdents64", "error=EINTR:when=1+3", 'print(#fs.read_directory "/usr/bin" > 10)'))
  end)

  it("the end of the process with everything in flight, in bounded time", function()
    local output = run("mkfifo forever; timeout 20", [[
      local file = fs.open("flight", "w+")
      local task = require "moonring.task"
      for i = 1, 50 do
        task.root(function() file:write(("x"):rep(1000000), i * 1000000) end)
        task.root(function() fs.open("forever", "r") end)
        task.root(function() fs.open("forever", "w") end)
        task.root(function() fs.read_directory "/usr/bin" end)
        task.root(function() fs.write_file("whole", "text", { durable = true }) end)
        task.root(function() fs.watch "." moonring.sleep(100) end)
        task.root(function() file:lock() end)
      end
      moonring.sleep(0)
      print "over"
      os.exit(0)]])
    assert.matches("^over\n", output)
    assert.is_nil(output:find "held")
    assert.is_nil(output:find "Sanitizer")
  end)
end)
