-- Activities of the soak: connections, datagrams, names. Each gets the world, a scope that is its own, and a random, and
-- may be cut off anywhere. It raises an error with the world's code when the world fails it.

local moonring = require "moonring"
local net = require "moonring.net"
local dial = require "moonring.net.dial"
local descriptor = require "moonring.descriptor"
local system = require "spec.support.system"
local worlds = require "spec.soak.world"

local own, must, check = worlds.own, worlds.must, worlds.check

local M = {}

local function echo(connection, random)
  local bytes = worlds.some_bytes(random)
  must(connection:write("echo " .. #bytes .. "\n"))
  must(connection:write(bytes))
  check(must(connection:read_exactly(#bytes)) == bytes, "an echo of %d bytes has changed", #bytes)
end

local steps = {
  echo,
  echo,
  function(connection, random, scope)
    local count = random:number(100000)
    must(connection:write("push " .. count .. "\n"))
    local half = math.floor(count / 2)
    must(connection:skip(half))
    local rest = scope:allocate(count - half)
    must(connection:read_exactly(rest))
    check(rest:reset_for_read():to_string() == worlds.block:sub(half + 1, count), "what was pushed has changed")
  end,
  function(connection) must(connection:write "stall\n") end,
  function(connection) must(connection:write "reset\n") end,
  function(connection, random)
    must(connection:write("push " .. random:number(1000000) .. "\n"))
    return true -- nobody reads it
  end,
  function(connection) must(connection:write "half\n") end,
  function(connection) must(connection:write "leave\n") end,
  function(connection) must(connection:shutdown()) end,
  function(connection, random)
    moonring.select { read = connection:read_op(), late = moonring.sleep_op(random:seconds(0.1)) }
  end,
}

local function talk(connection, random, scope, further)
  for _ = 1, random:number(4) do
    if random:pick(steps)(connection, random, scope) == true then break end
    if further then further(connection, random, scope) end
  end
  if random:chance(3) then connection:close(random:chance(2) and 0 or nil) end
end

function M.tcp(world, scope, random)
  talk(own(scope, net.connect { port = world.lines.port }), random, scope)
end

local function pass_descriptor(connection, random, scope)
  if not random:chance(3) then return end
  must(connection:write "take\n")
  must(connection:send_descriptor(own(scope, descriptor.new(system.open("/dev/null", system.O_RDONLY))), "y\n"))
end

function M.unix(world, scope, random)
  talk(own(scope, net.connect { path = world.lines_path }), random, scope, pass_descriptor)
end

-- Both directions at once, without a copy on the other side; everything arrives, unless the mirror breaks off.
function M.mirror(world, scope, random)
  local connection = own(scope, net.connect { port = world.mirror.port })
  local bytes = worlds.some_bytes(random)
  scope:spawn(function()
    for at = 1, #bytes, 30000 do
      if not connection:write(bytes:sub(at, at + 29999)) then return end
      if random:chance(8) then moonring.sleep(random:seconds(0.01)) end
    end
    connection:shutdown()
  end)
  local back = must(connection:read_all())
  check(back == bytes:sub(1, #back), "what was mirrored has changed")
  if #back < #bytes then must(nil, "the mirror has left", "EOF") end
end

-- A listener and both of its sides come and go.
function M.listener(_, scope, random)
  local path = random:chance(2) and "@soak-" .. random:next() or nil
  local listener = own(scope, path and net.listen { path = path } or net.listen {})
  for _ = 1, random:number(5) do
    own(scope, net.connect(path and { path = path } or { port = listener.port }))
  end
  if random:chance(2) then own(scope, listener:accept()):write "x" end
  if random:chance(2) then listener:close() end
end

function M.refused(_, scope)
  own(scope, net.connect { address = worlds.refusing_address() })
end

function M.eyeballs(world, scope, random)
  local list = { world.deaf, worlds.refusing_address(), world.lines:address() }
  for i = #list, 2, -1 do
    local other = random:number(i)
    list[i], list[other] = list[other], list[i]
  end
  local connection = own(scope, dial.connect(list, "soak"))
  if connection:peer() == world.lines:address() then echo(connection, random) end
end

function M.connect_by_choice(world, scope, random)
  local name, connection, message, code = moonring.select {
    hole = net.connect_op { address = world.deaf },
    good = net.connect_op { port = world.lines.port },
    late = moonring.sleep_op(random:seconds(0.01)),
  }
  check(name ~= "hole" or connection == nil, "the deaf listener has answered")
  if name == "good" then echo(own(scope, connection, message, code), random) end
end

local names = { "good", "late", "silent", "broken", "none", "long", "local" }

function M.names(world, scope, random)
  local what = random:pick(names)
  local name = ("%s-%d.soak"):format(what, random:number(20))
  if random:chance(4) then world.resolver:clear_cache() end
  local list = must(world.resolver:resolve(name, { port = world.lines.port }))
  if what == "good" or what == "late" or what == "long" then
    check(#list >= 2 and list[1].port == world.lines.port, "%s has %d addresses", name, #list)
    if random:chance(2) then echo(own(scope, dial.connect({ list[#list], list[1] }, name)), random) end
  end
end

local function exchange_datagrams(socket, random, max)
  for _ = 1, random:number(6) do
    local bytes = worlds.some_bytes(random):sub(1, max)
    must(socket:send(bytes))
    local name, datagram, from, full = moonring.select { input = socket:receive_op(), late = moonring.sleep_op(0.02) }
    if name == "input" then
      if datagram == nil then must(nil, from, full) end
      local text = datagram:to_string()
      check(#text == 0 or worlds.block:find(text, 1, true), "a datagram of %d bytes has changed", #text)
    end
  end
  if random:chance(3) then must(socket:flush()) end
end

function M.udp(world, scope, random)
  exchange_datagrams(own(scope, net.datagram { connect = world.udp:address() }), random, random:chance(2) and 500 or 20000)
end

function M.unix_datagrams(world, scope, random)
  local path = ("%s/datagram-%d"):format(world.directory, random:next())
  exchange_datagrams(own(scope, net.datagram { path = path, connect = world.local_datagrams:address(), max_bytes = 2048 }),
    random, 1500)
end

return M
