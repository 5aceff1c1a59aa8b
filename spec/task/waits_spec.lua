-- Every kind of wait there is: how a cancellation ends it, and what becomes of the memory that the kernel was lent.

local moonring = require "moonring"
local net = require "moonring.net"
local native = require "moonring.native"
local task = require "moonring.task"
local eventually = require "spec.support.eventually"
local stands_still = require "spec.support.stands_still"

local ffi = native.ffi

ffi.cdef [[
int socket(int, int, int);
int bind(int, const void *, unsigned);
int listen(int, int);
int getsockname(int, void *, unsigned *);
int close(int);
]]

-- A listener that never accepts. The kernel answers one connection for it; the next one waits.
local function deaf_listener(scope)
  local AF_INET, SOCK_STREAM = 2, 1
  local descriptor = ffi.C.socket(AF_INET, SOCK_STREAM, 0)
  local address = ffi.new("uint8_t[16]", AF_INET, 0, 0, 0, 127, 0, 0, 1)
  assert(ffi.C.bind(descriptor, address, 16) == 0)
  assert(ffi.C.listen(descriptor, 0) == 0)
  local length = ffi.new("unsigned[1]", 16)
  assert(ffi.C.getsockname(descriptor, address, length) == 0)
  scope:own { close = function() ffi.C.close(descriptor) end }
  local port = address[2] * 256 + address[3]
  scope:own(assert(net.connect { port = port }))
  return port
end

local function fill(connection)
  local block = ("x"):rep(65536)
  while connection:write(block) do end
end

local function fill_with_buffers(connection)
  moonring.scope(function(scope)
    local buffer = scope:allocate(65536)
    buffer:fill(120)
    while true do
      connection:write(buffer:reset_for_write())
    end
  end)
end

-- Writes until neither the kernel nor the queue takes any more, and has not for some rounds: the machine may be busy.
local function fill_up(connection)
  local sent, rounds = nil, 0
  repeat
    local before = sent
    pcall(moonring.timeout, 0.02, fill, connection)
    sent = moonring.stats().bytes_sent
    rounds = sent == before and rounds + 1 or 0
  until rounds == 5
end

-- By name: a function that waits for ever. It gets the surroundings that make_world makes.
local kinds = {
  ["sleep"] = function() moonring.sleep(60) end,
  ["the beginning of a later task"] = function() moonring.after(60, print):join() end,
  ["receive of a channel"] = function() moonring.channel():receive() end,
  ["send to a channel"] = function() moonring.channel():send(1) end,
  ["acquire of a semaphore"] = function()
    local semaphore = moonring.semaphore()
    semaphore:acquire()
    semaphore:acquire()
  end,
  ["wait of an event"] = function() moonring.event():wait() end,
  ["acquire of a pool"] = function()
    local pool = moonring.pool { size = 1, open = function() return { close = function() end } end }
    pool:acquire()
    pool:acquire()
  end,
  ["opening in a pool"] = function()
    moonring.pool({ open = function() moonring.sleep(60) end }):acquire()
  end,
  ["join of a task"] = function(world) world.outside:join() end,
  ["read of a connection"] = function(world) world.client:read() end,
  ["read into a buffer"] = function(world)
    moonring.scope(function(scope) world.client:read(scope:allocate(4096)) end)
  end,
  ["a loop over chunks"] = function(world)
    for _ in world.client:chunks() do end
  end,
  ["write of strings"] = function(world) fill(world.client) end,
  ["write of buffers"] = function(world) fill_with_buffers(world.client) end,
  ["drain of a full connection"] = function(world) world.client:drain(0) end,
  ["flush of a full connection"] = function(world) world.client:flush() end,
  ["accept of a listener"] = function(world) world.listener:accept() end,
  ["a service"] = function(world) net.serve(world.listener, function(connection) connection:read() end) end,
  ["connect"] = function(world) net.connect { port = world.deaf_port } end,
  ["the end of a scope"] = function()
    moonring.scope(function(scope) scope:spawn(moonring.sleep, 60) end)
  end,
  ["the end of a task"] = function() moonring.spawn(moonring.sleep, 60) end,
  ["a coroutine of the user's own"] = function()
    coroutine.wrap(function() coroutine.wrap(moonring.sleep)(60) end)()
  end,
  ["select of every operation"] = function(world)
    local semaphore, channel = moonring.semaphore(), moonring.channel()
    semaphore:acquire()
    local pool = moonring.pool { size = 1, open = function() return { close = function() end } end }
    pool:acquire()
    moonring.select { moonring.sleep_op(60), channel:receive_op(), moonring.channel():send_op(1), semaphore:acquire_op(),
      moonring.event():wait_op(), pool:acquire_op(), world.outside:join_op(), world.client:read_op(),
      world.listener:accept_op() }
  end,
  ["select of a full connection"] = function(world) moonring.select { world.client:drain_op(0) } end,
}

local function make_world(scope, name)
  local world = { listener = scope:own(assert(net.listen {})) }
  world.client = scope:own(assert(net.connect { port = world.listener.port }))
  world.server = scope:own(assert(world.listener:accept()))
  world.outside = scope:spawn(moonring.sleep, 60)
  world.deaf_port = deaf_listener(scope)
  if name:find "full" then fill_up(world.client) end
  return world
end

-- What the runtime holds for others.
local function holdings()
  local statistics = moonring.stats()
  return { operations = statistics.operations, timers = statistics.timers, bytes = statistics.memory.iovec_bytes }
end

setup(function() moonring.sleep(0.001) end) -- the loop's own operation is counted from its first turn on

describe("every wait", function()
  for name, wait in pairs(kinds) do
    it("is ended within a turn by a cancellation and leaves nothing: " .. name, function()
      local before = holdings()
      moonring.scope(function(scope)
        local world = make_world(scope, name)
        local count, inside = task.count(), holdings()
        local ended_in -- the turn in which the wait has raised
        local child = scope:spawn(function()
          local ok, failure = pcall(wait, world)
          ended_in = moonring.stats().turns
          if not ok then error(failure, 0) end
        end)
        moonring.sleep(0.03)
        assert.is_false(child:has_ended())
        local turn = moonring.stats().turns
        child:cancel()
        local ok, failure = child:join()
        assert.is_false(ok)
        assert.equal("cancelled", failure.code)
        if name ~= "the end of a task" then -- whose function has returned before
          assert.is_true(ended_in - turn <= 1, ended_in - turn .. " turns")
        end
        assert.is_true(moonring.stats().turns - turn <= 2, "turns to the join: " .. moonring.stats().turns - turn)
        assert.equal(count, task.count())
        assert.equal(inside.timers, moonring.stats().timers)
        assert.is_true(world.server:write "still") -- the other side is there, and usable
        world.outside:cancel()
      end)
      eventually(function() return moonring.stats().operations <= before.operations end)
      local after = holdings()
      assert.equal(before.operations, after.operations)
      assert.equal(before.timers, after.timers)
    end)
  end
end)

describe("the memory of a wait that was cancelled", function()
  for _, name in ipairs { "write of strings", "write of buffers", "drain of a full connection", "flush of a full connection",
    "select of a full connection" } do
    it("is released only after the kernel's completion: " .. name, function()
      moonring.scope(function(scope)
        local world = make_world(scope, name)
        local child = scope:spawn(kinds[name], world)
        assert(stands_still(function() return moonring.stats().bytes_sent end)) -- so the kernel holds a send
        child:cancel()
        child:join()
        child = nil -- luacheck: ignore
        collectgarbage() -- no object of Lua's holds any of it
        local client = world.client
        local queued = native.C.mr_connection_queued(client.handle, client.slot)
        assert.is_true(queued > 0)
        local held = holdings()
        client:close(0)
        -- What the kernel has not been given goes at once. But from now on at every look: as long as the operation is owed,
        -- its memory is there.
        local looks, now = 0
        repeat
          now = holdings()
          looks = looks + 1
          if now.operations >= held.operations then
            assert.is_true(now.bytes > held.bytes - queued, "released at look " .. looks .. ", while the kernel has it")
          end
          moonring.sleep(0)
        until now.operations < held.operations or looks > 10000
        -- A receive and a send have come home: so there was one in flight. And its memory has.
        assert.is_true(eventually(function() return moonring.stats().operations <= held.operations - 2 end))
        world.server:close(0)
        assert.is_true(eventually(function() return moonring.stats().memory.iovec_bytes <= held.bytes - queued end))
        world.outside:cancel()
      end)
    end)
  end

  it("is released only after the kernel's completion: read into a buffer", function()
    moonring.scope(function(scope)
      local world = make_world(scope, "read")
      local child = scope:spawn(kinds["read into a buffer"], world)
      moonring.sleep(0.03)
      local ring_bytes = moonring.stats().receive_ring_bytes
      child:cancel()
      child:join()
      -- The caller's memory was never lent: the kernel has the ring's, and keeps it, and the bytes that come are not lost.
      assert.equal(ring_bytes, moonring.stats().receive_ring_bytes)
      world.server:write "late"
      assert.equal("late", world.client:read():to_string())
      world.outside:cancel()
    end)
  end)

  it("is released only after the kernel's completion: connect", function()
    moonring.scope(function(scope)
      local world = make_world(scope, "connect")
      local connections = moonring.stats().connections
      local child = scope:spawn(kinds.connect, world)
      moonring.sleep(0.03)
      assert.equal(connections + 1, moonring.stats().connections)
      local operations = moonring.stats().operations
      child:cancel()
      child:join()
      repeat
        local statistics = moonring.stats()
        -- The slot, with the address in it, is the kernel's until its completion has come.
        if statistics.operations >= operations then assert.equal(connections + 1, statistics.connections) end
        moonring.sleep(0)
      until statistics.connections == connections
      world.outside:cancel()
    end)
  end)
end)
