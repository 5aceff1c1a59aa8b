-- The C loop through the same FFI that Lua uses: a second loop, turned by hand beside the one that runs the specs.

local native = require "moonring.native"
local moonring = require "moonring"
local net = require "moonring.net"
local buffer = require "moonring.buffer"
local fs = require "moonring.fs"
local loops = require "spec.support.loops"

local C, ffi = native.C, native.ffi
local new_loop, stats = loops.new, loops.statistics
local EAGAIN, EMSGSIZE, EPIPE, ENOENT = -11, -90, -32, -2

local function listen(loop)
  local address = ffi.new("mr_address")
  assert(C.mr_address_parse("127.0.0.1", 0, address) == 0)
  local listener = C.mr_listener_open(loop, address, nil)
  assert(listener >= 0)
  assert(C.mr_listener_address(loop, listener, address) == 0)
  return listener, address.port
end

-- Turns the loop beside the specs' own until `kind` has come, and returns that event's slot and result.
local function turn_until(loop, kind, seconds)
  local deadline = moonring.now() + (seconds or 30)
  while moonring.now() < deadline do
    local count = C.mr_loop_turn(loop, 0.001)
    assert(count >= 0)
    local events = C.mr_loop_events(loop)
    for i = 0, count - 1 do
      if events[i].kind == kind then return events[i].slot, events[i].result end
    end
    moonring.sleep(0)
  end
  error("the event has not come", 2)
end

-- Runs body(loop, slot of a connection, the client at its other end) and checks that the loop gives everything back.
local function with_connection(options, body)
  local loop = new_loop(options)
  moonring.scope(function(scope)
    local _, port = listen(loop)
    local client = scope:own(assert(net.connect { port = port }))
    local _, slot = turn_until(loop, C.MR_EVENT_ACCEPTED)
    body(loop, slot, client, port)
  end)
  assert.equal(0, C.mr_loop_destroy(loop, 5))
end

local function read(loop, slot, into)
  local count = C.mr_connection_read(loop, slot, into)
  if count == EAGAIN then
    turn_until(loop, C.MR_EVENT_READABLE)
    count = C.mr_connection_read(loop, slot, into)
  end
  return count
end

local function extend(loop, slot, into, max)
  local count = C.mr_connection_extend(loop, slot, into, max)
  if count == EAGAIN then
    turn_until(loop, C.MR_EVENT_READABLE)
    count = C.mr_connection_extend(loop, slot, into, max)
  end
  return count
end

for name, options in pairs {
  incremental = {},
  plain = { receive_plain = 1 },
  ["plain, with two buffers of 64 bytes"] = { receive_plain = 1, receive_buffers = 2, receive_buffer_bytes = 64 },
  ["incremental, with one buffer of 100 bytes"] = { receive_buffers = 1, receive_buffer_bytes = 100 },
} do
  describe("receiving, " .. name, function()
    it("gives every byte once and in order", function()
      with_connection(options, function(loop, slot, client)
        local text = {}
        for i = 1, 2000 do
          text[i] = ("%d,"):format(i)
        end
        text = table.concat(text)
        for at = 1, #text, 977 do
          assert.is_true(client:write(text:sub(at, at + 976)))
        end
        client:shutdown()
        local into, parts = buffer.new(), {}
        local count = read(loop, slot, into)
        while count > 0 do
          parts[#parts + 1] = into:to_string()
          assert.equal(count, #parts[#parts])
          count = read(loop, slot, into)
        end
        assert.equal(0, count)
        assert.equal(text, table.concat(parts))
      end)
    end)

    it("keeps what a handler holds while others receive", function()
      with_connection(options, function(loop, slot, client)
        local kept = {}
        for i = 1, 50 do
          assert.is_true(client:write(("message %04d"):format(i)))
          local into = buffer.new()
          assert.is_true(read(loop, slot, into) > 0)
          kept[i] = into
        end
        local all = {}
        for i = 1, 50 do
          all[i] = kept[i]:to_string()
        end
        local expected = {}
        for i = 1, 50 do
          expected[i] = ("message %04d"):format(i)
        end
        assert.equal(table.concat(expected), table.concat(all))
        for i = 1, 50 do
          kept[i]:release()
        end
      end)
    end)
  end)
end

describe("a loop", function()
  it("goes on receiving after it ran out of buffers, and counts it", function()
    with_connection({ receive_plain = 1, receive_buffers = 1, receive_buffer_bytes = 16 }, function(loop, slot, client)
      client:write(("x"):rep(1000))
      client:flush()
      local into, total = buffer.new(), 0
      while total < 1000 do
        total = total + read(loop, slot, into)
      end
      assert.equal(1000, total)
      assert.is_true(stats(loop).receive_refusals > 0)
    end)
  end)

  it("stops receiving from a peer whose reader lags, and goes on when it reads", function()
    with_connection(nil, function(loop, slot, client)
      moonring.scope(function(scope)
        local total = 32 * 1048576
        scope:spawn(function()
          client:write(("y"):rep(total))
          client:close()
        end)
        for _ = 1, 200 do
          C.mr_loop_turn(loop, 0.0005)
          moonring.sleep(0)
        end
        local unread = tonumber(stats(loop).bytes_received)
        assert.is_true(unread >= 262144 and unread < 2 * 1048576, "received " .. unread)
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

  it("glues small writes of one turn into one send", function()
    with_connection(nil, function(loop, slot, client)
      local before = tonumber(stats(loop).sends)
      for i = 1, 100 do
        assert.is_true(C.mr_connection_write_bytes(loop, slot, ("%02d"):format(i % 100), 2) >= 0)
      end
      C.mr_loop_turn(loop, 0.01)
      assert.equal(before + 1, tonumber(stats(loop).sends))
      local got = ""
      while #got < 200 do
        got = got .. client:read():to_string()
      end
      assert.equal("0102", got:sub(1, 4))
    end)
  end)

  it("sends more pieces than one message takes, in order", function()
    with_connection(nil, function(loop, slot, client)
      local expected = {}
      for i = 1, 500 do
        -- Pieces that don't lie side by side: every other allocation is kept away from the queue.
        local part = ffi.new("mr_buffer")
        assert(C.mr_buffer_allocate(C.mr_loop_memory(loop), part, 100, 0) == 0)
        part:write(("%04d"):format(i):rep(25)):reset_for_read()
        assert.is_true(C.mr_connection_write_buffer(loop, slot, part) >= 0)
        assert.equal(100, part.position)
        assert(C.mr_buffer_allocate(C.mr_loop_memory(loop), ffi.new("mr_buffer"), 64, 0) == 0)
        expected[i] = ("%04d"):format(i):rep(25)
      end
      local parts, got = {}, 0
      while got < 50000 do
        C.mr_loop_turn(loop, 0)
        moonring.sleep(0)
        if moonring.stats().bytes_received > 0 then
          local chunk = client:read()
          parts[#parts + 1] = chunk:to_string()
          got = got + #parts[#parts]
        end
      end
      assert.equal(table.concat(expected), table.concat(parts))
      assert.equal(0, tonumber(stats(loop).bytes_copied))
    end)
  end)

  it("queues the part of a reservation that was committed", function()
    with_connection(nil, function(loop, slot, client)
      for _, word in ipairs { "one ", "two ", "three" } do
        local room = C.mr_connection_reserve(loop, slot, 100)
        assert.is_true(room ~= nil)
        ffi.copy(room, word, #word)
        assert.is_true(C.mr_connection_commit(loop, slot, #word) > 0)
      end
      C.mr_loop_turn(loop, 0.01)
      local got = ""
      while #got < 13 do
        got = got .. client:read():to_string()
      end
      assert.equal("one two three", got)
      assert.equal(-22, tonumber(C.mr_connection_commit(loop, slot, 5))) -- nothing is reserved
      assert.is_true(C.mr_connection_reserve(loop, slot, 10) ~= nil)
      assert.equal(-22, tonumber(C.mr_connection_commit(loop, slot, 11)))
    end)
  end)

  it("gathers a message from pieces, up to the given length", function()
    with_connection(nil, function(loop, slot, client)
      local into, text = buffer.new(), ""
      client:write("a")
      assert.equal(1, read(loop, slot, into))
      for i = 1, 40 do
        client:write(("%03d"):format(i))
        local count = extend(loop, slot, into, 100)
        text = text .. ("%03d"):format(i)
        if #text + 1 > 100 then break end
        assert.equal(3, count)
        assert.equal("a" .. text, into:to_string())
      end
      assert.equal(100, into:remaining())
      assert.equal(EMSGSIZE, C.mr_connection_extend(loop, slot, into, 100))
      into:skip(100)
      assert.is_true(extend(loop, slot, into, 100) > 0)
      into:release()
    end)
  end)

  it("gives a number out again when its object is owed nothing and the turn is over, and never moves the others", function()
    local loop = new_loop()
    local ports, count = {}, 600 -- more than two blocks of slots
    for i = 0, count - 1 do
      local slot, port = listen(loop)
      assert.equal(i, slot)
      ports[slot] = port
    end
    for slot, port in pairs(ports) do
      local address = ffi.new("mr_address")
      assert.equal(0, C.mr_listener_address(loop, slot, address))
      assert.equal(port, address.port)
    end
    C.mr_listener_close(loop, 5)
    assert.equal(count, (listen(loop)))
    repeat C.mr_loop_turn(loop, 0.001) until stats(loop).listeners == count
    assert.equal(count + 1, (listen(loop)))
    C.mr_loop_turn(loop, 0)
    assert.equal(5, (listen(loop)))
    assert.equal(0, tonumber(stats(loop).stale))
    assert.equal(0, C.mr_loop_destroy(loop, 5))
  end)

  it("fires timers in order, never early, and not those that were stopped", function()
    local loop = new_loop()
    local start = C.mr_clock_now()
    local late = C.mr_timer_start(loop, 0.03)
    local early = C.mr_timer_start(loop, 0.01)
    local stopped = C.mr_timer_start(loop, 0.02)
    assert.equal(0, C.mr_timer_stop(loop, stopped))
    assert.equal(ENOENT, C.mr_timer_stop(loop, stopped))
    local fired = {} -- both may come in one turn when that is late
    while #fired < 2 do
      for i = 0, C.mr_loop_turn(loop, 1) - 1 do
        fired[#fired + 1] = C.mr_loop_events(loop)[i].slot
        assert.is_true(C.mr_clock_now() - start >= (#fired == 1 and 0.01 or 0.03))
      end
    end
    assert.same({ early, late }, fired)
    assert.equal(0, tonumber(stats(loop).timers))
    assert.equal(0, C.mr_loop_destroy(loop, 1))
  end)

  it("takes the event of a timer out of the array when it is stopped after it has fired", function()
    local loop = new_loop()
    local first, second = C.mr_timer_start(loop, 0), C.mr_timer_start(loop, 0)
    assert.equal(2, C.mr_loop_turn(loop, 1))
    assert.equal(first, C.mr_loop_events(loop)[0].slot)
    assert.equal(0, C.mr_timer_stop(loop, second))
    assert.equal(C.MR_EVENT_NONE, C.mr_loop_events(loop)[1].kind)
    -- The number of the one that has fired is not given out while its event is in the array.
    assert.are_not.equal(first, C.mr_timer_start(loop, 60))
    assert.equal(0, C.mr_loop_destroy(loop, 1))
  end)

  it("keeps a hundred thousand timers in order", function()
    local loop = new_loop()
    local delays, slots = {}, {}
    math.randomseed(7)
    for i = 1, 100000 do
      local delay = math.random() * 0.02
      local slot = C.mr_timer_start(loop, delay)
      delays[slot], slots[i] = delay, slot
    end
    local stopped = 0
    for i = 1, 100000, 3 do
      assert(C.mr_timer_stop(loop, slots[i]) == 0)
      delays[slots[i]] = nil
      stopped = stopped + 1
    end
    local fired, started = 0, C.mr_clock_now()
    while fired < 100000 - stopped and C.mr_clock_now() - started < 20 do
      local count = C.mr_loop_turn(loop, 1)
      for i = 0, count - 1 do
        local slot = C.mr_loop_events(loop)[i].slot
        assert(delays[slot], "a stopped timer has fired")
        delays[slot] = nil
        fired = fired + 1
      end
    end
    assert.equal(100000 - stopped, fired)
    assert.equal(0, C.mr_loop_destroy(loop, 1))
  end)

  it("gives a slot out again only when the kernel owes it nothing", function()
    local loop = new_loop()
    moonring.scope(function(scope)
      local _, port = listen(loop)
      local seen = {}
      for _ = 1, 200 do
        local client = scope:own(assert(net.connect { port = port }))
        local _, slot = turn_until(loop, C.MR_EVENT_ACCEPTED)
        seen[slot] = (seen[slot] or 0) + 1
        client:write("bytes on their way while it closes")
        C.mr_connection_close(loop, slot, 0)
        client:close()
      end
      local slots = 0
      for _ in pairs(seen) do
        slots = slots + 1
      end
      assert.is_true(slots < 50)
      assert.equal(0, tonumber(stats(loop).stale))
    end)
    assert.equal(0, C.mr_loop_destroy(loop, 5))
  end)

  it("ends with files queued and waiting for room, at every moment", function()
    moonring.scope(function(scope)
      local file = scope:own(assert(fs.temporary_file()))
      assert(file:truncate(8388608))
      for turns = 0, 4 do
        with_connection(nil, function(loop, slot, client)
          local queued
          for _ = 1, 8 do
            queued = C.mr_connection_write_file(loop, slot, file.descriptor, 0, 8388608)
            assert.is_true(queued > 0)
          end
          for _ = 1, turns do
            assert.is_true(C.mr_loop_turn(loop, 0) >= 0)
          end
          if turns == 3 then C.mr_connection_close(loop, slot, 10) end
          if turns > 2 then client:close(0) end -- a reset, in the middle
        end)
      end
    end)
  end)

  it("ends with everything in flight: accepts, receives, sends, connects, timers", function()
    local loop = new_loop()
    moonring.scope(function(scope)
      local _, port = listen(loop)
      local client = scope:own(assert(net.connect { port = port }))
      local _, slot = turn_until(loop, C.MR_EVENT_ACCEPTED)
      -- A send that can't end: nobody reads.
      local reader_stays_away = ("x"):rep(1048576)
      for _ = 1, 32 do
        C.mr_connection_write_bytes(loop, slot, reader_stays_away, #reader_stays_away)
      end
      C.mr_timer_start(loop, 60)
      local address = ffi.new("mr_address")
      C.mr_address_parse("127.0.0.1", port, address)
      assert.is_true(C.mr_connection_connect(loop, address, nil) >= 0)
      C.mr_loop_turn(loop, 0)
      assert.is_true(tonumber(stats(loop).operations) >= 3)
      assert.equal(0, C.mr_loop_destroy(loop, 5))
      assert.is_not_nil(client)
    end)
  end)

  it("keeps memory that outlives it usable", function()
    local loop = new_loop()
    local kept = ffi.new("mr_buffer")
    assert.equal(0, C.mr_buffer_allocate(C.mr_loop_memory(loop), kept, 1000, 0))
    kept:write("still here"):reset_for_read()
    assert.equal(0, C.mr_loop_destroy(loop, 1))
    assert.equal("still here", kept:to_string())
    kept:release()
  end)

  it("answers a write after shutdown and after close with EPIPE", function()
    with_connection(nil, function(loop, slot)
      assert.equal(0, C.mr_connection_shutdown(loop, slot))
      assert.equal(EPIPE, tonumber(C.mr_connection_write_bytes(loop, slot, "x", 1)))
      assert.is_true(C.mr_connection_reserve(loop, slot, 10) == nil)
      assert.equal(EPIPE, C.mr_connection_error(loop, slot))
    end)
  end)

  it("explains why a ring could not be made", function()
    local text = ffi.new("char[512]")
    for number, words in pairs { [1] = "io_uring", [38] = "6.1", [12] = "ulimit %-l", [24] = "ulimit %-n" } do
      C.mr_loop_explain(-number, text, 512)
      assert.is_truthy(ffi.string(text):find(words))
    end
    C.mr_loop_explain(-1, text, 10)
    assert.equal(9, #ffi.string(text))
  end)
end)

describe("an address", function()
  it("is read and written in both families", function()
    local address, text = ffi.new("mr_address"), ffi.new("char[?]", C.MR_ADDRESS_TEXT_BYTES)
    for _, host in ipairs { "127.0.0.1", "255.255.255.255", "::", "2001:db8::1", "fe80::1%lo" } do
      assert.equal(0, C.mr_address_parse(host, 80, address))
      assert.equal(0, C.mr_address_format(address, text))
      assert.equal(host, ffi.string(text))
    end
    for _, host in ipairs { "", "1.2.3", "1.2.3.4.5", "::g", "fe80::1%nowhere", ("1"):rep(100) } do
      assert.equal(-22, C.mr_address_parse(host, 80, address))
    end
    assert.equal(-22, C.mr_address_parse("127.0.0.1", 65536, address))
  end)
end)
