local moonring = require "moonring"
local fs = require "moonring.fs"
local files = require "moonring.fs.file"
local buffer = require "moonring.buffer"
local iovec = require "moonring.iovec"
local memory = require "moonring.memory"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local held = require "spec.support.held"
local failures = require "spec.support.failures"

local code_of, raised = failures.code_of, failures.raised

local root

local function path_of(name)
  return root.path .. "/" .. name
end

-- The file's contents, told by another program.
local function contents(path)
  return process.shell("cat " .. process.quote(path))
end

local function open(scope, path, ...)
  return scope:own(assert(fs.open(path, ...)))
end

describe("a file", function()
  setup(function()
    root = assert(fs.temporary_directory())
  end)
  teardown(function()
    assert(root:close())
  end)

  it("carries strings, buffers of every zone, chains and iovecs, at its position and at offsets", function()
    moonring.scope(function(scope)
      local file = open(scope, path_of "kinds", "w+")
      local long = ("0123456789"):rep(5000)
      local zones = { buffer.wrap "wrapped ", buffer.wrap(require("ffi").new("char[4]", "cda "), 4) }
      for _, zone in ipairs { "native", "heap", "shared" } do
        zones[#zones + 1] = buffer.allocate(7, { zone = zone }):write(("%-7s"):format(zone)):reset_for_read()
      end
      local expected = "text " .. long .. "wrapped cda native heap   shared " .. "piece one and two"
      assert.is_true(file:write "text ")
      assert.is_true(file:write(long))
      for _, each in ipairs(zones) do
        assert.is_true(file:write(each))
        assert.equal(0, each:remaining())
      end
      local chain = buffer.chain():append "piece one"
      chain:append(buffer.allocate(4):write(" and"):reset_for_read()):append " two"
      assert.is_true(file:write(chain))
      assert.equal(0, chain:available())
      chain:close()
      assert.equal(expected, contents(path_of "kinds"))
      assert.equal(#expected, file.position)
      for _, zone in ipairs { "native", "heap", "shared" } do
        local into = buffer.allocate(20, { zone = zone }):skip(2)
        assert.equal(into, file:read(into, 3))
        assert.equal(20, into.position)
        assert.equal(expected:sub(4, 21), into:get_string(2, 18))
      end
      local bytes = require("ffi").new "uint8_t[8]"
      assert.equal(8, file:read(buffer.wrap(bytes, 8), 0).position)
      assert.equal(expected:sub(1, 8), require("ffi").string(bytes, 8))
      assert.equal(#expected, file.position) -- offsets don't move it
      file:seek(0)
      assert.equal("text ", file:read(5):to_string())
      assert.equal("01234", file:read(5):to_string())
      local list = { iovec.allocate(3), iovec.allocate(4) }
      assert.equal(7, file:read_iovecs(list, 5))
      assert.equal("012", require("ffi").string(list[1]:pointer(), 3))
      assert.equal("3456", require("ffi").string(list[2]:pointer(), 4))
      assert.is_true(file:write_iovecs(list, #expected))
      iovec.release_list(list)
      assert.equal(expected .. "0123456", contents(path_of "kinds"))
    end)
  end)

  it("ends with nil alone, and gives what is left before", function()
    moonring.scope(function(scope)
      assert(fs.write_file(path_of "short", "abc"))
      local file = open(scope, path_of "short")
      local into = buffer.allocate(10)
      assert.equal(3, file:read(into).position)
      assert.equal(10, into.limit)
      assert.equal(0, select("#", file:read(into)) - 1)
      assert.is_nil((file:read(into)))
      assert.is_nil((file:read(5)))
      assert.is_nil((file:read()))
      assert.equal(3, into.position)
      assert.is_nil((file:read(5, 100)))
      local parts = {}
      for chunk in file:seek(0):chunks() do
        parts[#parts + 1] = chunk:to_string()
      end
      assert.same({ "abc" }, parts)
    end)
  end)

  it("reads what is in memory without a turn of the loop, and not without end", function()
    assert(fs.write_file(path_of "hot", ("h"):rep(1048576)))
    moonring.scope(function(scope)
      local file, into = open(scope, path_of "hot"), buffer.allocate(1048576)
      moonring.sleep(0)
      local before = moonring.stats().turns
      for _ = 1, 3 do
        assert.equal(1048576, file:read(into:reset_for_write(), 0).position)
      end
      assert.equal(before, moonring.stats().turns)
      local others = 0
      local other = scope:spawn(function()
        while true do
          moonring.sleep(0)
          others = others + 1
        end
      end)
      for _ = 1, 3000 do
        assert.equal(16, #file:read(16, 5))
      end
      assert.is_true(others >= 5)
      other:cancel()
      into:release()
    end)
  end)

  it("reads at many offsets at once", function()
    local block = {}
    for i = 1, 1000 do
      block[i] = ("%07d\n"):format(i)
    end
    assert(fs.write_file(path_of "many", table.concat(block)))
    moonring.scope(function(scope)
      local file = open(scope, path_of "many")
      local done = 0
      for i = 1, 1000 do
        scope:spawn(function()
          assert.equal(block[i], file:read(8, (i - 1) * 8):to_string())
          done = done + 1
        end)
      end
      assert.is_true(eventually(function() return done == 1000 end))
      assert.equal(0, file.position)
    end)
  end)

  it("lends the buffer of read() until the next one; a slice keeps what it shows", function()
    assert(fs.write_file(path_of "lent", ("a"):rep(files.CHUNK) .. ("b"):rep(files.CHUNK)))
    moonring.scope(function(scope)
      local file = open(scope, path_of "lent")
      local kept = file:read():slice(10)
      assert.equal(("b"):rep(10), file:read():get_string(0, 10))
      assert.equal(("a"):rep(10), kept:to_string())
      kept:release()
    end)
  end)

  it("appends, whatever others do", function()
    moonring.scope(function(scope)
      local one, two = open(scope, path_of "log", "a"), open(scope, path_of "log", "a")
      assert(one:write "one ")
      assert(two:write "two ")
      assert(one:write "one")
      assert.equal("one two one", contents(path_of "log"))
    end)
  end)

  it("is cut, extended, reserved, punched and synced", function()
    moonring.scope(function(scope)
      local file = open(scope, path_of "cut", "w+")
      assert(file:write(("x"):rep(100000)))
      assert(file:truncate(10))
      assert(file:truncate(20))
      assert.equal(("x"):rep(10) .. ("\0"):rep(10), file:read(100, 0):to_string())
      assert(file:allocate(0, 1048576, "keep_size"))
      local status = assert(file:stat())
      assert.equal(20, status.size)
      assert.is_true(status.allocated >= 1048576)
      assert(file:allocate(0, 50000))
      assert.equal(50000, file:stat().size)
      assert(file:sync())
      assert(file:sync(true))
      assert(file:advise "sequential")
      assert(file:chmod(384))
      assert.equal(384, file:stat().permissions)
      assert(file:utimes(1000.5, 2000.25))
      status = file:stat()
      assert.equal(1000.5, status.accessed)
      assert.equal(2000.25, status.modified)
    end)
  end)

  it("read and written directly, past the page cache", function()
    moonring.scope(function(scope)
      local file, message, code = fs.open(path_of "direct", { read = true, write = true, create = true, direct = true })
      if code == "EINVAL" then return pending("no O_DIRECT here: " .. message) end
      scope:own(assert(file, message))
      local alignment = file:direct_alignment()
      assert.is_true(alignment >= 512)
      local block = buffer.allocate(2 * alignment, { alignment = alignment })
      block:write(("d"):rep(2 * alignment)):reset_for_read()
      assert(file:write(block, 0))
      local into = { iovec.allocate(alignment, alignment), iovec.allocate(alignment, alignment) }
      assert.equal(2 * alignment, file:read_iovecs(into, 0))
      assert.equal(("d"):rep(alignment), require("ffi").string(into[2]:pointer(), alignment))
      iovec.release_list(into)
      assert.equal("EINVAL", code_of(file:read(buffer.allocate(100), 1)))
    end)
  end)

  it("is locked by one owner at a time; who waits gets it when it is free, and may be cancelled", function()
    moonring.scope(function(scope)
      local one, two = open(scope, path_of "lock", "w"), open(scope, path_of "lock", "r+")
      assert.is_true(one:lock())
      assert.is_false(two:lock("exclusive", false))
      assert.equal("deadline", raised(moonring.timeout, 0.02, two.lock, two))
      local waiter = scope:spawn(function() return two:lock() end)
      moonring.sleep(0.01)
      assert.is_false(waiter:has_ended())
      one:close()
      assert.is_true(select(2, waiter:join()))
      assert.is_true(two:unlock())
    end)
  end)

  it("that is a FIFO goes both ways, and its open waits for the other side without holding others up", function()
    local path = path_of "fifo"
    assert.equal(0, (process.run("mkfifo " .. path)))
    moonring.scope(function(scope)
      local writer = scope:spawn(function()
        local file = open(scope, path, "w")
        assert(file:write "through the pipe")
        file:close()
      end)
      moonring.sleep(0.01)
      assert.is_false(writer:has_ended())
      local reader = open(scope, path)
      assert.is_false(reader.has_offsets)
      assert.equal("argument", raised(reader.seek, reader, 0))
      local text = ""
      for chunk in reader:chunks() do
        text = text .. chunk:to_string()
      end
      assert.equal("through the pipe", text)
      reader:close()
      assert.equal("deadline", raised(moonring.timeout, 0.02, fs.open, path, "r"))
      assert.is_true(eventually(held.settled)) -- the reader's side of this one has been closed
      moonring.sleep(0.01)
      assert.equal("deadline", raised(moonring.timeout, 0.02, fs.open, path, "w"))
    end)
  end)

  it("keeps memory of Lua's that the kernel fills or reads until it is done with it", function()
    assert.equal(0, (process.run("mkfifo " .. path_of "kept")))
    local before = memory.anchor_count()
    moonring.scope(function(scope)
      local file = open(scope, path_of "kept", "r+")
      assert.equal("deadline", raised(moonring.timeout, 0.02, function()
        local into = buffer.allocate(100, { zone = "heap" })
        scope:spawn(function()
          into:release()
          collectgarbage()
          assert.equal(before + 1, memory.anchor_count())
        end)
        file:read(into)
      end))
      assert.is_true(file:write "x") -- who was cancelled is in nobody's way
      assert.equal("x", file:read(5):to_string())
      assert.equal("deadline", raised(moonring.timeout, 0.02, file.write, file, ("long"):rep(50000))) -- a full pipe
    end)
    assert.is_true(eventually(function()
      memory.drop_anchors()
      return memory.anchor_count() == before
    end))
  end)

  it("forgotten is closed by its finalizer, and counted", function()
    local function collect()
      for _ = 1, 3 do
        collectgarbage()
      end
    end
    collect()
    local before = moonring.stats().forgotten
    assert(fs.open(path_of "short"))
    collect()
    assert.equal(before + 1, moonring.stats().forgotten)
  end)

  it("has the reading helpers of streams, which mix with every other use of the position, at every split", function()
    moonring.scope(function(scope)
      local parts = {}
      for i = 1, 9000 do
        parts[i] = ("line %d\n"):format(i)
      end
      local text = table.concat(parts) .. "and no end"
      assert(fs.write_file(path_of "helped", text))
      local file = open(scope, path_of "helped", "r+")
      local at = 0
      local function expect(found)
        assert.equal(text:sub(at + 1, at + #found), found)
        at = at + #found
      end
      local turn = 0
      while at < #text - 20000 do -- the file is longer than a chunk, which ends somewhere in this
        turn = turn + 1
        local kind = turn % 7
        if kind < 2 then
          expect(assert(file:read_line()) .. "\n")
        elseif kind == 2 then
          local piece = file:read(turn % 301 + 1)
          expect(piece:to_string())
          piece:release()
        elseif kind == 3 then
          expect(file:read_exactly(turn % 97))
        elseif kind == 4 then
          local into = buffer.allocate(turn % 89 + 1)
          assert.equal(into, file:read(into))
          expect(into:reset_for_read():to_string())
          into:release()
        elseif kind == 5 then
          assert.equal(text:sub(101, 110), file:read(10, 100):to_string()) -- no part in the position
          assert.is_true(file:skip(turn % 50))
          at = at + turn % 50
        elseif turn % 21 == 6 then
          -- Where the helpers have come to, and not behind what they hold.
          assert.is_true(file:write(text:sub(at + 1, at + 5)))
          at = at + 5
        end
      end
      assert.equal(text, contents(path_of "helped"))
      expect(file:read():to_string())
      file:seek(0)
      assert.equal("line 1", file:read_line())
      file:seek(5) -- what was read ahead is forgotten
      assert.equal("1", file:read_line())
      local first = iovec.allocate(6)
      assert.equal(6, file:read_iovecs { first })
      assert.equal("line 2", require("ffi").string(first.data, 6))
      first:release()
      local count, last = 0, nil
      file:seek(0)
      for line in file:lines() do
        count, last = count + 1, line
      end
      assert.equal(9001, count)
      assert.equal("and no end", last)
      file:seek(0)
      assert.equal(#text, #file:read_all())
      assert.is_nil(file:read_line())
      file:seek(0)
      assert.equal("line 1", fs.lines(file)())
      assert.equal("line 2", file:read_line()) -- lines has held nothing back
      assert.equal("EMSGSIZE", raised(file:lines(2)))
    end)
  end)

  it("that is a FIFO gives what helpers have left to every read", function()
    moonring.scope(function(scope)
      local path = path_of "fifo of lines"
      assert.equal(0, (process.run("mkfifo " .. process.quote(path))))
      local both = open(scope, path, "r+")
      assert.is_true(both:write "one\ntwo\nthree\nrest")
      assert.equal("one", both:read_line())
      local two = both:read(2)
      assert.equal("tw", two:to_string())
      two:release()
      assert.is_true(both:write "!") -- has no part in what was read
      assert.equal("o", both:read_line())
      assert.equal("argument", raised(both.read, both, 0))
      assert.equal("three", both:read_line())
      assert.equal("rest!", both:read_exactly(5))
    end)
    assert.is_true(eventually(held.settled))
  end)

  it("refuses misuse with nothing changed", function()
    moonring.scope(function(scope)
      local file = open(scope, path_of "misuse", "w+")
      assert(file:write "abc")
      assert.equal("argument", raised(fs.open, "a\0b"))
      assert.equal("argument", raised(fs.open, ""))
      assert.equal("argument", raised(fs.open, path_of "x", "rw"))
      assert.equal("argument", raised(fs.open, path_of "x", { rite = true }))
      assert.equal("argument", raised(fs.open, path_of "x", { create = true }))
      assert.equal("argument", raised(file.read, file, "text"))
      assert.equal("argument", raised(file.read, file, 0))
      assert.equal("argument", raised(file.read, file, 10, -1))
      assert.equal("argument", raised(file.read, file, 10, 0.5))
      assert.equal("overflow", raised(file.read, file, buffer.allocate(0)))
      assert.equal("argument", raised(file.read, file, buffer.wrap "read-only"))
      assert.equal("argument", raised(file.write, file, 5))
      assert.equal("argument", raised(file.write_iovecs, file, {}))
      assert.equal("argument", raised(file.allocate, file, 0, 1, "all"))
      assert.equal("argument", raised(file.truncate, file, -1))
      local released = buffer.allocate(10)
      released:release()
      assert.equal("closed", raised(file.read, file, released))
      assert.equal("closed", raised(file.write, file, released))
      local writing = scope:spawn(function() file:write "d" end)
      scope:spawn(function() assert.equal("busy", raised(file.write, file, "x")) end)
      scope:spawn(function() assert.equal("busy", raised(file.read, file, 1)) end)
      writing:join()
      assert.equal(4, file.position)
      file:close()
      file:close()
      assert.equal("closed", raised(file.read, file))
      assert.equal("closed", raised(file.write, file, "x"))
      assert.equal("closed", raised(file.stat, file))
    end)
    assert.is_true(eventually(held.settled))
  end)

  it("cancelled at each of its waits leaves nothing behind: no call, no descriptor, no memory", function()
    collectgarbage()
    local iovecs = moonring.stats().memory.iovec_count
    local started = 0
    for waits = 1, 14 do
      pcall(moonring.scope, function(scope)
        local subject = scope:spawn(function()
          moonring.scope(function(inner)
            local file = open(inner, path_of "waits", "w+")
            file:write "some text"
            file:write(("long"):rep(10000))
            file:read(100, 0):release()
            file:sync()
            file:truncate(5)
            file:stat()
            file:lock()
            fs.copy(path_of "waits", path_of "waits copy")
            fs.write_file(path_of "waits", "atomic", { durable = true })
            fs.remove_tree(path_of "waits copy")
            started = started + 1
          end)
        end)
        for _ = 1, waits do
          moonring.sleep(0)
        end
        subject:cancel()
      end)
      assert.is_true(eventually(held.settled))
    end
    collectgarbage()
    assert.equal(iovecs, moonring.stats().memory.iovec_count)
    local left = {}
    for _, entry in ipairs(assert(fs.read_directory(root.path))) do
      if entry.name:find "^%.waits" then left[#left + 1] = entry.name end
    end
    assert.same({}, left)
  end)
end)
