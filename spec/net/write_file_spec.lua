local moonring = require "moonring"
local net = require "moonring.net"
local fs = require "moonring.fs"
local errors = require "moonring.errors"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local stream = require "spec.support.stream"
local C = require("moonring.native").C

local read_all = stream.read_all

-- Three times what is queued at once, and more than a socket takes that nobody reads from.
local function make_content()
  local parts = {}
  for i = 1, 400000 do
    parts[i] = ("%08x"):format(i * 2654435761 % 4294967296)
  end
  return table.concat(parts) .. "end"
end
local BIG = make_content()

-- Runs body(scope, client, server, file, directory) with the two ends of a connection and a file of that content.
local function with_file(content, body)
  return moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen {}))
    local client = scope:own(assert(net.connect { port = listener.port }))
    local server = scope:own(assert(listener:accept()))
    local directory = scope:own(assert(fs.temporary_directory()))
    assert(fs.write_file(directory.path .. "/file", content))
    local file = scope:own(assert(fs.open(directory.path .. "/file")))
    return body(scope, client, server, file, directory.path)
  end)
end

local function from_files() return moonring.stats().bytes_from_files end

-- What reads make of the rest of a stream, in a task of its own: returns a function that waits for it.
local function reading(scope, connection)
  local reader = scope:spawn(read_all, connection)
  return function() return select(2, reader:join()) end
end

describe("a file that is written to a connection", function()
  it("arrives whole, without a copy of it in memory", function()
    with_file(BIG, function(scope, client, server, file)
      local received = reading(scope, server)
      local sent, copied = from_files(), moonring.stats().bytes_copied
      assert.is_true(client:write_file(file))
      client:close()
      assert.is_true(BIG == received())
      assert.equal(#BIG, from_files() - sent)
      assert.equal(copied, moonring.stats().bytes_copied)
    end)
  end)

  it("keeps its place among strings and buffers, at every length", function()
    with_file("0123456789", function(scope, client, server, file)
      local received = reading(scope, server)
      local expected = {}
      for offset = 0, 10 do
        for length = 0, 10 - offset do
          local text = ("<%d+%d:"):format(offset, length)
          assert.is_true(client:write(text))
          assert.is_true(client:write_file(file, offset, length))
          assert.is_true(client:write ">")
          expected[#expected + 1] = text .. ("0123456789"):sub(offset + 1, offset + length) .. ">"
          if length % 3 == 0 then moonring.sleep(0) end
        end
      end
      client:close()
      assert.equal(table.concat(expected), received())
    end)
  end)

  it("goes on where the socket had no room, with what is written behind it", function()
    with_file(BIG, function(scope, client, server, file)
      client:marks { write_high = 1e9, write_low = 0 }
      assert.is_true(client:write "head")
      for _ = 1, 4 do
        assert.is_true(client:write_file(file))
        assert.is_true(client:write "between")
      end
      assert.is_true(client:queued() > #BIG) -- nobody has read yet
      local received = reading(scope, server)
      assert.is_true(client:flush())
      client:shutdown()
      assert.is_true("head" .. (BIG .. "between"):rep(4) == received())
      assert.equal(0, client:queued())
    end)
  end)

  it("lets who waits for the queue to go out before it go on", function()
    with_file("0123456789", function(scope, client, server, file)
      local received = reading(scope, server)
      local writer = scope:spawn(function()
        client:write "before "
        return client:flush()
      end)
      scope:spawn(function() -- in the same turn: nothing is on its way yet
        assert.equal(7, client:queued())
        assert.is_true(client:write_file(file, 0, 10))
      end):join()
      assert.same({ true, true }, { writer:join() })
      client:close()
      assert.equal("before 0123456789", received())
    end)
  end)

  it("makes a writer wait while the peer reads nothing, and goes out behind a close", function()
    with_file(BIG, function(scope, client, server, file)
      local writer = scope:spawn(function()
        for _ = 1, 6 do assert(client:write_file(file)) end
        client:close()
        file:close() -- what is queued has a descriptor of its own
      end)
      moonring.sleep(0.05)
      assert.is_false(writer:has_ended())
      assert.equal(6 * #BIG, #read_all(server))
      writer:join()
    end)
  end)

  it("is the bytes of any file, also of one that is not in the page cache", function()
    with_file(BIG, function(scope, client, server, file, directory)
      local writable = scope:own(assert(fs.open(directory .. "/file", "r+")))
      assert(writable:sync())
      assert(writable:advise "dont_need")
      if C.mr_file_is_cached(file.descriptor, 0, #BIG) == 1 then return pending "pages stay in memory here" end
      local received = reading(scope, server)
      local sent = from_files()
      assert.is_true(client:write_file(file))
      client:close()
      assert.is_true(BIG == received())
      assert.is_true(from_files() - sent < #BIG) -- what was not there was read first
    end)
  end)

  it("goes through memory where sendfile has no use", function()
    with_file(BIG, function(scope, _, _, file)
      local sent = from_files()
      local path = os.tmpname()
      os.remove(path)
      local listener = scope:own(assert(net.listen { path = path }))
      local near = scope:own(assert(net.connect { path = path }))
      local far = scope:own(assert(listener:accept()))
      local received = reading(scope, far)
      assert.is_true(near:write_file(file, 3))
      near:close()
      assert.is_true(BIG:sub(4) == received())
      assert.equal(sent, from_files())
    end)
  end)

  it("is read from tmpfs, too", function()
    if not fs.stat "/dev/shm" then return pending "no tmpfs here" end
    with_file("", function(scope, client, server)
      local directory = scope:own(assert(fs.temporary_directory { directory = "/dev/shm" }))
      assert(fs.write_file(directory.path .. "/file", BIG))
      local file = scope:own(assert(fs.open(directory.path .. "/file")))
      local received = reading(scope, server)
      assert.is_true(client:write_file(file))
      client:close()
      assert.is_true(BIG == received())
    end)
  end)
end)

describe("a file that can't be written to a connection", function()
  it("to its end, because it is shorter, is told", function()
    with_file("0123456789", function(_, client, _, file)
      local ok, message, code = client:write_file(file, 5, 10)
      assert.is_nil(ok)
      assert.equal("ENODATA", code)
      assert.is_truthy(message:find("file", 1, true), message)
    end)
  end)

  it("because it has become shorter since it was queued, ends the stream", function()
    with_file(BIG, function(scope, client, server, file, directory)
      client:marks { write_high = 1e9, write_low = 0 }
      for _ = 1, 4 do assert.is_true(client:write_file(file)) end
      local writable = scope:own(assert(fs.open(directory .. "/file", "r+")))
      assert(writable:truncate(10))
      local drained = scope:spawn(function() return client:flush() end)
      for buffer in server:chunks() do
        if drained:has_ended() then break end
        buffer:skip(buffer:remaining())
      end
      local _, ok, _, code = drained:join()
      assert.is_nil(ok)
      assert.equal("ENODATA", code)
    end)
  end)

  it("because the peer has gone, is told, and the process lives", function()
    with_file(BIG, function(_, client, server, file)
      client:marks { write_high = 1e9, write_low = 0 }
      assert.is_true(client:write_file(file))
      server:close(0)
      local ok, message, code
      repeat
        ok, message, code = client:write_file(file)
        if ok then ok, message, code = client:flush() end
      until not ok
      assert.is_truthy(code == "ECONNRESET" or code == "EPIPE", message)
      ok, _, code = client:write_file(file)
      assert.is_nil(ok)
      assert.is_truthy(code == "ECONNRESET" or code == "EPIPE")
    end)
  end)

  it("for want of a descriptor, is told", function()
    local status, output = process.run("ulimit -n 24; LUA_PATH='./?.lua;;' " .. process.command("-e", [[
      local net, fs = require "moonring.net", require "moonring.fs"
      local listener = assert(net.listen {})
      local client = assert(net.connect { port = listener.port })
      local server = assert(listener:accept())
      local file = assert(fs.open "README.md")
      assert(client:write_file(file, 0, 10))
      local taken = {}
      repeat
        local more = fs.open "README.md"
        taken[#taken + 1] = more
      until not more
      local ok, message, code = client:write_file(file, 0, 10)
      print(ok, code)
      taken[1]:close()
      repeat
        require("moonring").sleep(0)
        ok = client:write_file(file, 0, 10)
      until ok
      print(ok)
      client:close()
      local text = ""
      for buffer in server:chunks() do text = text .. buffer:read_string() end
      print(#text)
    ]]))
    assert.equal("nil\tEMFILE\ntrue\n20\n", output)
    assert.equal(0, status)
  end)

  it("because the arguments are none, raises", function()
    with_file("x", function(_, client, _, file)
      for _, arguments in ipairs {
        {}, { "path" }, { file, -1 }, { file, 0.5 }, { file, 0, -1 }, { file, 0, "1" }, { file, 0 / 0 },
      } do
        local ok, failure = pcall(client.write_file, client, unpack(arguments, 1, 3))
        assert.is_false(ok)
        assert.equal("argument", failure.code)
      end
      file:close()
      local _, failure = pcall(client.write_file, client, file)
      assert.equal("closed", failure.code)
      client:close()
      _, failure = pcall(client.write_file, client, file)
      assert.equal("closed", failure.code)
    end)
  end)
end)

describe("a wait for a file to go out", function()
  it("ends with its cancellation, which tells what has become of the bytes", function()
    with_file(BIG, function(_, client, server, file)
      local ok, failure
      local before
      repeat -- until nothing more fits
        before = client:statistics()
        ok, failure = pcall(moonring.timeout, 0.05, client.write_file, client, file)
      until not ok
      assert.equal("deadline", failure.code)
      local after = client:statistics()
      local taken = after.sent - before.sent -- first of what had been queued before
      assert.equal(math.max(taken - before.queued, 0), failure.sent)
      assert.equal(after.queued - math.max(before.queued - taken, 0), failure.queued)
      assert.is_true(failure.queued > 0 and failure.sent + failure.queued <= #BIG)
      -- What is queued still goes out, and the connection is as sound as before.
      local queued = client:queued()
      moonring.scope(function(scope)
        scope:spawn(function() client:write "end" client:shutdown() end)
        local total = #read_all(server)
        assert.is_true(total > queued)
      end)
    end)
  end)

  it("ends with the connection, and nothing is left of it", function()
    with_file(BIG, function(scope, client, _, file)
      local writer = scope:spawn(function()
        return pcall(function() while true do assert(client:write_file(file)) end end)
      end)
      eventually(function() return client:queued() > 65536 end)
      client:close(0)
      local _, ok, failure = writer:join()
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "closed"), tostring(failure))
    end)
  end)
end)
