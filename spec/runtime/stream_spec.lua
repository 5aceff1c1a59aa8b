-- Streams over pipes in every way that the loop reads them: multishot into incremental or plain buffers, and, as on kernels
-- before 6.7, one read after the other into memory of their own.

local native = require "moonring.native"
local moonring = require "moonring"
local buffer = require "moonring.buffer"
local connections = require "moonring.net.connection"
local loops = require "spec.support.loops"
local system = require "spec.support.system"

local C, ffi = native.C, native.ffi
local EAGAIN = -11

-- Runs body(loop, slot of the pipe's reading end in a loop of its own, a connection that writes to it).
local function with_pipe(options, body)
  local loop = loops.new(options)
  moonring.scope(function(scope)
    local reader, writer = system.pipe()
    local slot = C.mr_stream_open(loop, reader, 0)
    assert(slot >= 0)
    body(loop, slot, scope:own(assert(connections.open(writer))))
  end)
  assert.equal(0, C.mr_loop_destroy(loop, 5)) -- with the read in flight
end

-- The next bytes, turning the loop for them.
local function read(loop, slot, into)
  local deadline = moonring.now() + 5
  while true do
    local count = C.mr_connection_read(loop, slot, into)
    if count ~= EAGAIN then return count end
    assert(moonring.now() < deadline, "nothing has come")
    assert(C.mr_loop_turn(loop, 0.001) >= 0)
    moonring.sleep(0)
  end
end

for name, options in pairs {
  ["multishot, incremental"] = {},
  ["multishot, plain"] = { receive_plain = 1 },
  ["multishot, plain, two small buffers"] = { receive_plain = 1, receive_buffers = 2, receive_buffer_bytes = 64 },
  ["one by one"] = { receive_plain = 2 },
} do
  describe("reading a pipe, " .. name, function()
    it("gives every byte once and in order, and the end", function()
      with_pipe(options, function(loop, slot, writer)
        local text = {}
        for i = 1, 5000 do
          text[i] = ("%d,"):format(i)
        end
        text = table.concat(text)
        moonring.spawn(function()
          for at = 1, #text, 977 do
            writer:write(text:sub(at, at + 976))
          end
          writer:close()
        end)
        local into, parts = buffer.new(), {}
        local count = read(loop, slot, into)
        while count > 0 do
          parts[#parts + 1] = into:to_string()
          count = read(loop, slot, into)
        end
        assert.equal(0, count)
        assert.equal(text, table.concat(parts))
      end)
    end)

    it("stops when nobody reads, and goes on", function()
      with_pipe(options, function(loop, slot, writer)
        C.mr_connection_read_marks(loop, slot, 1000, 100)
        local total = 500000
        local task = moonring.spawn(function()
          writer:write(("x"):rep(total))
          writer:close()
        end)
        for _ = 1, 50 do
          assert(C.mr_loop_turn(loop, 0) >= 0)
          moonring.sleep(0)
        end
        local seen = ffi.new("mr_connection_statistics")
        C.mr_connection_statistics_get(loop, slot, seen)
        assert.is_true(seen.unread >= 1000 and seen.unread <= 200000, seen.unread)
        assert.is_false(task:has_ended())
        local into, got = buffer.new(), 0
        local count = read(loop, slot, into)
        while count > 0 do
          got = got + count
          count = read(loop, slot, into)
        end
        assert.equal(total, got)
      end)
    end)
  end)
end

describe("a stream's read of its own", function()
  it("keeps what came and lets go of the rest of its memory", function()
    with_pipe({ receive_plain = 2 }, function(loop, slot, writer)
      writer:write "hello"
      local into = buffer.new()
      assert.equal(5, read(loop, slot, into))
      assert.equal("hello", into:to_string())
      into:release()
    end)
  end)

  it("waits for memory where there is none, and goes on when there is some", function()
    local options = { receive_plain = 2, receive_buffers = 2, receive_buffer_bytes = 64, memory_limit_bytes = 16777216 }
    local loop = loops.new(options)
    local held, count = ffi.new("mr_iovec[4096]"), 0
    while count < 4096 and C.mr_iovec_alloc(C.mr_loop_memory(loop), 32768, 0, 1, 0, held[count]) == 1 do
      count = count + 1
    end
    assert.is_true(count > 0 and count < 4096)
    local reader, writer = system.pipe()
    local slot = C.mr_stream_open(loop, reader, 0)
    moonring.scope(function(scope)
      local from = scope:own(assert(connections.open(writer)))
      from:write "late"
      from:flush()
      for _ = 1, 5 do
        assert(C.mr_loop_turn(loop, 0.001) >= 0)
      end
      local into = buffer.new()
      assert.equal(EAGAIN, slot < 0 and slot or C.mr_connection_read(loop, slot, into))
      for i = 0, count - 1 do
        C.mr_iovec_release(held[i])
      end
      assert.equal(4, read(loop, slot, into))
      assert.equal("late", into:to_string())
      into:release()
    end)
    assert.equal(0, C.mr_loop_destroy(loop, 5))
  end)
end)

describe("opening a stream", function()
  it("counts as a connection, and is given back by its close", function()
    with_pipe({}, function(loop, slot)
      assert.equal(1, tonumber(loops.statistics(loop).connections))
      C.mr_connection_close(loop, slot, 1)
      assert.equal(-9, C.mr_stream_open(loop, 1999, 0))
      for _ = 1, 5 do
        C.mr_loop_turn(loop, 0)
      end
      assert.equal(0, tonumber(loops.statistics(loop).connections))
    end)
  end)
end)
