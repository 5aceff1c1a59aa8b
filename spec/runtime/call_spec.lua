-- System calls as operations: their end, their cancellation at every moment, and what they hold meanwhile.

local moonring = require "moonring"
local native = require "moonring.native"
local buffer = require "moonring.buffer"
local errors = require "moonring.errors"
local call = require "moonring.call"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local settled = require("spec.support.held").settled
local system = require "spec.support.system"

local C, ffi = native.C, native.ffi
local HERE = C.MR_CALL_HERE
local RDONLY, WRONLY_CREATE = 0, 65

local directory

local function fifo(name)
  local path = directory .. "/" .. name
  process.shell("mkfifo " .. path)
  return path
end

local function open(path, flags)
  local handle = call.begin "open"
  return call.wait(C.mr_call_open(handle, HERE, path, flags, 384), "open", path)
end

local function close(descriptor)
  C.mr_descriptor_close(call.begin "close", descriptor)
end

describe("a call", function()
  setup(function()
    directory = process.shell("mktemp -d"):match "%S+"
  end)
  teardown(function()
    process.shell("rm -r " .. directory)
  end)

  it("gives the system call's result, data beside it, and its slot back", function()
    local path = directory .. "/file"
    local handle = call.begin "spec"
    local descriptor = open(path, WRONLY_CREATE)
    assert.is_true(descriptor > 2)
    assert.equal(5, call.wait(C.mr_call_write_bytes(handle, descriptor, 0, "hello", 5), "write"))
    close(descriptor)
    local slot = C.mr_call_stat(handle, HERE, path, 0)
    assert.equal(-115, C.mr_call_result(handle, slot)) -- EINPROGRESS
    assert.equal(0, call.wait_keeping(slot, "stat"))
    local status = ffi.new "mr_file_status"
    C.mr_call_status(handle, slot, status)
    call.finish(slot)
    assert.equal(5, status.size)
    assert.is_true(math.abs(status.modified - moonring.wall()) < 60)
    assert.equal(-2, open(directory .. "/nothing", RDONLY)) -- ENOENT
    assert.is_true(settled())
  end)

  it("that a helper makes gives the same", function()
    local handle = call.begin "spec"
    local slot = C.mr_call_real_path(handle, directory .. "/../" .. directory:match "[^/]+$" .. "/.")
    local length = call.wait_keeping(slot, "realpath")
    assert.equal(directory, ffi.string(C.mr_call_data(handle, slot), length))
    call.finish(slot)
    slot = C.mr_call_read_link(handle, directory)
    assert.equal(-22, call.wait_keeping(slot, "readlink")) -- EINVAL: it is no link
    call.finish(slot)
    assert.is_true(settled())
  end)

  it("is not begun in a scope that has been cancelled", function()
    local path = directory .. "/never"
    local ok, problem = pcall(moonring.scope, function(scope)
      scope:cancel()
      open(path, WRONLY_CREATE)
    end)
    assert.is_false(ok)
    assert.is_true(errors.is(problem, "cancelled"))
    assert.is_true(settled())
    assert.equal(-2, open(path, RDONLY))
  end)

  it("that is cancelled leaves at once, and an open that has succeeded by then closes its descriptor", function()
    local path = directory .. "/file"
    close(open(path, WRONLY_CREATE))
    moonring.sleep(0.01) -- a close goes with the next submission
    local before = system.count()
    for _ = 1, 20 do
      moonring.scope(function(scope)
        local task = scope:spawn(open, path, RDONLY)
        scope:spawn(function() task:cancel() end) -- after it has been submitted or even ended, before it is told
      end)
    end
    assert.is_true(eventually(function() return settled() and system.count() == before end)) -- closes go by the ring, too
  end)

  it("that opens a FIFO waits for the other side without holding a thread, and can be cancelled", function()
    local path = fifo "pair"
    assert.equal(-6, open(path, 1)) -- ENXIO: nobody reads
    moonring.sleep(0.01)
    local before = system.count()
    moonring.scope(function(scope)
      local openers = {}
      for i = 1, 40 do -- more than the kernel has threads for files
        openers[i] = scope:spawn(open, path, RDONLY)
      end
      moonring.sleep(0.02)
      close(open(directory .. "/file", WRONLY_CREATE)) -- goes on
      for i = 2, 40 do
        openers[i]:cancel()
      end
      process.shell(("echo hi > %s"):format(path))
      local _, descriptor = openers[1]:join()
      local into = buffer.allocate(10)
      assert.equal(3, call.wait(C.mr_call_read(call.begin "read", descriptor, -1, into), "read"))
      assert.equal("hi\n", into:get_string(0, 3))
      close(descriptor)
      into:release()
    end)
    assert.is_true(eventually(settled))
    moonring.sleep(0.01)
    assert.equal(before, system.count())
  end)

  it("holds the memory that the kernel writes until its completion, whatever becomes of task and buffer", function()
    local path = fifo "memory"
    local handle = call.begin "spec"
    local descriptor = open(path, 2) -- O_RDWR: a reader that never sees the end
    collectgarbage()
    local before = moonring.stats().memory.iovec_count
    local held
    for _, how in ipairs { "cancelled", "deadline", "released" } do
      pcall(moonring.scope, function(scope)
        local into = how == "released" and buffer.allocate(4096) or scope:own(buffer.allocate(4096))
        scope:spawn(function()
          call.wait(C.mr_call_read(handle, descriptor, -1, into), "read")
        end)
        moonring.sleep(0)
        if how == "released" then into:release() end
        held = moonring.stats().memory.iovec_count
        if how == "deadline" then
          scope:deadline(0.01)
          moonring.sleep(1)
        end
        scope:cancel()
      end)
      assert.is_true(held > before)
      -- What is allocated now is none of the memory that the kernel may still have.
      local others = {}
      for i = 1, 32 do
        others[i] = buffer.allocate(4096):write(("o"):rep(4096)):reset_for_read()
      end
      process.shell("printf lost > " .. path)
      moonring.sleep(0.01)
      for i = 1, 32 do
        assert.equal(("o"):rep(4096), others[i]:read_string())
        others[i]:release()
      end
      local rest = buffer.allocate(10) -- which nobody has read, unless the cancellation came too late
      pcall(moonring.timeout, 0.01, function()
        call.wait(C.mr_call_read(handle, descriptor, -1, rest), "read")
      end)
      rest:release()
      assert.is_true(eventually(settled))
      assert.equal(before, moonring.stats().memory.iovec_count)
    end
    -- What is written now reaches the next reader, and no memory of the earlier ones.
    local writer = open(path, 1)
    assert.equal(1, call.wait(C.mr_call_write_bytes(handle, writer, -1, "x", 1), "write"))
    local into = buffer.allocate(10)
    assert.equal(1, call.wait(C.mr_call_read(handle, descriptor, -1, into), "read"))
    into:release()
    close(writer)
    close(descriptor)
  end)

  it("finds its way when there are more of them than both queues hold", function()
    local path = directory .. "/file"
    moonring.scope(function(scope)
      local descriptor = open(path, WRONLY_CREATE)
      local handle = call.begin "spec"
      local slots = {}
      for i = 1, 40000 do
        slots[i] = C.mr_call_write_bytes(handle, descriptor, i, "x", 1)
        assert.is_true(slots[i] >= 0)
      end
      close(descriptor)
      for i = 1, 40000 do
        while C.mr_call_result(handle, slots[i]) == -115 do
          moonring.sleep(0)
        end
        assert.equal(1, C.mr_call_finish(handle, slots[i])) -- the close has not overtaken it
      end
      scope:cancel()
    end)
    assert.is_true(eventually(settled))
  end)

  it("of helpers: five hundred at once, and as many cancelled", function()
    moonring.scope(function(scope)
      local done = 0
      for i = 1, 1000 do
        local task = scope:spawn(function()
          local handle = call.begin "access"
          assert.equal(0, call.wait(C.mr_call_access(handle, directory, 0), "access"))
          done = done + 1
        end)
        if i % 2 == 0 then scope:spawn(function() task:cancel() end) end
      end
      assert.is_true(eventually(function() return done >= 500 end))
    end)
    assert.is_true(eventually(settled))
  end)

  it("misused doesn't harm: finished early, abandoned twice, of Lua's memory", function()
    local handle = call.begin "spec"
    local slot = C.mr_call_access(handle, directory, 0)
    assert.equal(-115, C.mr_call_finish(handle, slot))
    C.mr_call_abandon(handle, slot)
    C.mr_call_abandon(handle, slot)
    assert.equal(-22, C.mr_call_read(handle, 0, 0, buffer.allocate(10, { zone = "heap" })))
    assert.equal(-9, call.wait(C.mr_call_sync(handle, 12345, 0), "fsync"))
    assert.equal(-9, C.mr_call_directory(handle, 12345))
    assert.is_true(eventually(settled))
  end)
end)

describe("calls that take long", function()
  -- A child whose helpers' faccessat takes half a second longer. (The leak checker does not work under strace.)
  local function slow(code)
    local strace = "ASAN_OPTIONS=detect_leaks=0 timeout 20 strace -qq -f -o /dev/null -e trace=faccessat2 "
    return process.run(strace .. "-e inject=faccessat2:delay_enter=500000 " .. process.command("-e", [[
      local moonring, call, native = require "moonring", require "moonring.call", require "moonring.native"
      local C = native.C
      function access() return call.wait(C.mr_call_access(call.begin "access", "/", 0), "access") end
      ]] .. code))
  end

  it("leave the loop's turns short", function()
    local status, output = slow [[
      local longest, turns = 0, 0
      pcall(moonring.scope, function(scope)
        for _ = 1, 20 do scope:spawn(access) end
        local before = moonring.now()
        for _ = 1, 50 do
          moonring.sleep(0.01)
          turns = turns + 1
        end
        scope:cancel()
      end)
      print("turns", turns)
    ]]
    assert.equal(0, status, output)
    assert.matches("turns\t50", output)
  end)

  it("are left at once by who is cancelled", function()
    local status, output = slow [[
      local ok, problem = pcall(moonring.timeout, 0.05, access)
      print(ok, problem.code, moonring.stats().calls)
    ]]
    assert.equal(0, status, output)
    assert.matches("false\tdeadline\t1", output)
  end)

  it("are waited for at the end of the loop, and in flight they hold up nothing else", function()
    for _, ending in ipairs { "os.exit(3)", "error 'over'" } do
      local status, output = slow([[
        require("moonring.task").root(access)
        moonring.sleep(0.01)
        ]] .. ending)
      assert.equal(ending == "os.exit(3)" and 3 or 1, status, output)
      assert.is_nil(output:find "still held")
      assert.is_nil(output:find "Sanitizer")
    end
  end)
end)
