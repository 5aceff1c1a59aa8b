-- moonring.net.datagram: datagram sockets, which is UDP over IPv4 and IPv6, and Unix datagram sockets.
--
-- Sending hands a datagram to the loop, which gives all those of a turn to the kernel together; it waits only while too
-- much is in flight. Receiving begins with the first receive and goes on by itself, into a queue of bounded length.
-- When the reader lags the kernel's own queue fills up and then drops, as datagrams may be; statistics() tells.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local scheduler = require "moonring.scheduler"
local operation = require "moonring.operation"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"
local address = require "moonring.net.address"

local C, ffi = native.C, native.ffi
local current, wait = task.current, task.wait
local new_address = address.new

local EAGAIN, ENOMEM = -11, -12
local AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10

local M = {
  -- Bytes in flight on a socket, with 256 more for each datagram, at which a sender waits, and at which it goes on.
  SEND_HIGH = 262144,
  SEND_LOW = 65536,
}

-- By slot: the tasks that wait for a datagram, and for room.
local readers, writers = {}, {}

local function wake_in(waiting_tasks)
  return function(slot)
    local waiting = waiting_tasks[slot]
    if waiting then
      waiting_tasks[slot] = nil
      scheduler.run(waiting)
    end
  end
end

loop.handlers[tonumber(C.MR_EVENT_DATAGRAM_READABLE)] = wake_in(readers)
loop.handlers[tonumber(C.MR_EVENT_DATAGRAM_WRITABLE)] = wake_in(writers)

---@class moonring.DatagramSocket
---@field port integer the port that it is bound to; 0 when it is not bound
local Socket = { __name = "moonring.DatagramSocket" }
Socket.__index = Socket

-- Opening -------------------------------------------------------------------------------------------------------------

---@class moonring.DatagramOptions
---@field host? string numeric address to bind; "0.0.0.0" for all of IPv4, "::" for all of both families
---@field port? integer to bind; 0 (the default where a host is given) for any free one
---@field path? string of a Unix socket to bind, in place of host and port; "@name" for an abstract one
---@field connect? moonring.Address|{ host: string, port: integer }|{ path: string } the only peer
---@field family? 4|6|"unix" of a socket that is neither bound nor connected; default 4
---@field ipv6_only? boolean an IPv6 socket that takes no IPv4
---@field reuse_port? boolean SO_REUSEPORT: several sockets share what comes to the port
---@field reuse_address? boolean SO_REUSEADDR: several sockets on one port each get every multicast datagram
---@field broadcast? boolean may send to broadcast addresses
---@field ttl? integer hops of what is sent, 1 to 255
---@field multicast_ttl? integer hops of what is sent to a group, 0 (this machine) to 255; default 1
---@field multicast_loop? boolean whether this machine gets what it sends to a group; default true
---@field multicast_interface? string|integer name or index of the interface that it leaves by
---@field receive_buffer? integer bytes of the kernel's receive queue (SO_RCVBUF)
---@field send_buffer? integer bytes of the kernel's send queue (SO_SNDBUF)
---@field max_bytes? integer longest datagram that is received whole, 1 to 65536 (the default); smaller takes less memory
---@field queue? integer datagrams that wait here for their reader, default 256

local function refuse(what, text, ...)
  errors.raise("argument", what .. ": " .. text, ...)
end

local function check_integer(what, name, value, low, high)
  if type(value) ~= "number" or not (value >= low and value <= high) or value % 1 ~= 0 then
    refuse(what, "%s is a whole number from %d to %d, not %s", name, low, high, tostring(value))
  end
  return value
end

-- An address as the calls take it: one that moonring has given, or a table with host and port, or with a path.
local function address_of(what, value)
  if address.is(value) then return value end
  local found, message
  if type(value) == "table" and type(value.path) == "string" then
    found, message = address.unix(value.path)
  elseif type(value) == "table" and type(value.host) == "string" then
    found = address.parse(value.host, value.port or -1)
  end
  if not found then
    refuse(what, "%s", message or
      "an address is needed: a moonring.Address, { host = numeric address, port = 0 to 65535 } or { path = }")
  end
  return found
end

local function interface_of(what, value)
  if type(value) ~= "string" then return check_integer(what, "an interface's index", value, 0, 2147483647) end
  local index = C.mr_interface_index(value)
  if index == 0 then refuse(what, "there is no interface %s", value) end
  return index
end

local settings = {
  { "broadcast", C.MR_DATAGRAM_BROADCAST, "flag" },
  { "ttl", C.MR_DATAGRAM_TTL, 1 },
  { "multicast_ttl", C.MR_DATAGRAM_MULTICAST_TTL, 0 },
  { "multicast_loop", C.MR_DATAGRAM_MULTICAST_LOOP, "flag" },
  { "multicast_interface", C.MR_DATAGRAM_MULTICAST_INTERFACE, "interface" },
}

local function setting_value(what, name, kind, value)
  if kind == "flag" then return value and 1 or 0 end
  if kind == "interface" then return interface_of(what, value) end
  return check_integer(what, name, value, kind, 255)
end

-- What is set once the socket is there: name, option and value of each.
local function settings_of(what, options)
  local wanted = {}
  for _, setting in ipairs(settings) do
    local name, option, kind = setting[1], setting[2], setting[3]
    local value = options[name]
    if value ~= nil then wanted[#wanted + 1] = { name, option, setting_value(what, name, kind, value) } end
  end
  return wanted
end

local flags = {
  reuse_port = C.MR_DATAGRAM_REUSE_PORT,
  reuse_address = C.MR_DATAGRAM_REUSE_ADDRESS,
  ipv6_only = C.MR_DATAGRAM_IPV6_ONLY,
}

local function options_of(what, options)
  local out = ffi.new("mr_datagram_options")
  for name, flag in pairs(flags) do
    if options[name] then out.flags = out.flags + flag end
  end
  out.max_bytes = check_integer(what, "max_bytes", options.max_bytes or 65536, 1, 65536)
  out.queue = check_integer(what, "queue", options.queue or 256, 1, 1048576)
  out.receive_buffer = check_integer(what, "receive_buffer", options.receive_buffer or 0, 0, 1073741824)
  out.send_buffer = check_integer(what, "send_buffer", options.send_buffer or 0, 0, 1073741824)
  return out
end

-- All that net.datagram takes, as keys.
local known = {
  host = true, port = true, path = true, connect = true, family = true, max_bytes = true, queue = true,
  receive_buffer = true, send_buffer = true,
}
for name in pairs(flags) do known[name] = true end
for _, setting in ipairs(settings) do known[setting[1]] = true end

local families = { [4] = AF_INET, [6] = AF_INET6, unix = AF_UNIX }

local function family_of(what, options, bound, peer)
  local named = options.family
  local family = families[named or 4]
  if not family then refuse(what, 'the family is 4, 6 or "unix", not %s', tostring(named)) end
  local from = bound or peer
  return from and from.family or family
end

local function doing(bound, peer)
  return "open a datagram socket" .. (bound and " on " .. tostring(bound) or "") ..
    (peer and " to " .. tostring(peer) or "")
end

--- Opens a datagram socket: bound where a host or a port is given, connected where `connect` is.
---@param options? moonring.DatagramOptions
---@return moonring.DatagramSocket? socket
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", "ENETUNREACH", ...
function M.open(options)
  local what = "net.datagram"
  options = options or {}
  if type(options) ~= "table" then refuse(what, "the options are a table, not a %s", type(options)) end
  for name in pairs(options) do
    if not known[name] then errors.refuse_option(what, name, known) end
  end
  local peer = options.connect and address_of(what, options.connect)
  local bound
  if options.path then
    bound = address_of(what, options)
  elseif options.host or options.port then
    bound = address_of(what, { host = options.host or (peer and peer.family == AF_INET6 and "::" or "0.0.0.0"),
      port = options.port or 0 })
  end
  local c_options, wanted = options_of(what, options), settings_of(what, options)
  local handle = loop.handle()
  local slot = C.mr_datagram_open(handle, family_of(what, options, bound, peer), bound, peer, c_options)
  if slot < 0 then return errors.world(slot, doing(bound, peer)) end
  local self = setmetatable({ handle = handle, slot = slot, input = buffer.new(), port = 0, peer_address = peer or nil },
    Socket)
  self.guard = ffi.gc(ffi.new("mr_guard"), C.mr_datagram_guard_release)
  C.mr_datagram_guard(handle, slot, self.guard)
  for _, setting in ipairs(wanted) do
    local result = C.mr_datagram_set(handle, slot, setting[2], setting[3])
    if result < 0 then
      self:close()
      return errors.world(result, ("%s: set %s to %d"):format(what, setting[1], setting[3]))
    end
  end
  local mine = self:address()
  if mine then self.port = mine.port end
  return self
end

-- Waiting -------------------------------------------------------------------------------------------------------------

local function refuse_closed(what)
  errors.raise("closed", "datagram socket:%s: the socket has been closed", what)
end

-- Takes the task's wait back.
function Socket:withdraw(waiting)
  local slot = self.slot
  if not slot then return end
  if readers[slot] == waiting then
    readers[slot] = nil
    C.mr_datagram_receive_withdraw(self.handle, slot)
  elseif writers[slot] == waiting then
    writers[slot] = nil
    C.mr_datagram_drain_withdraw(self.handle, slot)
  end
end

local function refuse_busy(what, other)
  errors.raise("busy", "datagram socket:%s: %s is in %s of this socket already, and %s wants to; one task at a time", what,
    tostring(other), what, tostring(current()))
end

local function wait_in(self, waiting_tasks, what)
  local slot = self.slot
  local other = waiting_tasks[slot]
  if other then refuse_busy(what, other) end
  waiting_tasks[slot] = current()
  wait(self)
  if not self.slot then refuse_closed(what) end
end

-- For reports.
function Socket:describe_wait(waiting)
  local slot = self.slot
  local what = slot and readers[slot] == waiting and "receive" or "send"
  return ("%s of %s"):format(what, tostring(self))
end

-- Receiving -----------------------------------------------------------------------------------------------------------

local function received(input, from, size)
  if size < 0 then return errors.world(size, "receive") end
  if from.family == 0 then from = nil end
  if size > input.capacity_ then return input, from, size end
  return input, from
end

--- Waits for a datagram and returns it as a buffer, and its sender's address (nil for a Unix socket
--- without a name). The buffer is lent until the next receive
--- or the close of this socket; its slice or retain keeps the bytes longer. A datagram that is longer than max_bytes
--- was cut there; then, and only then, the third result is the length that it had.
---
--- A failure doesn't end the socket: "ECONNREFUSED", on a connected one, says that the peer's machine has refused an
--- earlier datagram.
---@return moonring.Buffer? datagram
---@return moonring.Address|string|nil from or the message of the failure
---@return integer|string? full_length or its code
function Socket:receive()
  local slot = self.slot
  if not slot then refuse_closed("receive") end
  local handle, input, from = self.handle, self.input, new_address()
  if readers[slot] then refuse_busy("receive", readers[slot]) end
  local size = C.mr_datagram_receive(handle, slot, input, from)
  while size == EAGAIN do
    wait_in(self, readers, "receive")
    size = C.mr_datagram_receive(handle, slot, input, from)
  end
  return received(input, from, size)
end

--- Iterates over what comes: `for datagram, from in socket:datagrams() do`. Ends with a failure.
function Socket:datagrams()
  return self.receive, self
end

local Receive = operation.class("moonring.Operation.ReceiveDatagram", {
  describe = function(self) return "receive of " .. tostring(self.socket) end,
  try = function(self)
    local socket = self.socket
    local slot = socket.slot
    if not slot then refuse_closed("receive") end
    if readers[slot] then return false end -- block tells who is in the way
    local from = new_address()
    local size = C.mr_datagram_receive(socket.handle, slot, socket.input, from)
    if size == EAGAIN then return false end
    return true, received(socket.input, from, size)
  end,
  block = function(self, case)
    local slot = self.socket.slot
    if not slot then return task.wake(case.task) end
    if readers[slot] then refuse_busy("receive", readers[slot]) end
    readers[slot] = case.task
  end,
  withdraw = function(self, case)
    local socket = self.socket
    local slot = socket.slot
    if slot and readers[slot] == case.task then
      readers[slot] = nil
      C.mr_datagram_receive_withdraw(socket.handle, slot)
    end
  end,
})

--- receive as an operation for moonring.select: a datagram is taken only when it is the one that is done.
---@return moonring.Operation
function Socket:receive_op()
  return setmetatable({ socket = self }, Receive)
end

-- Sending -------------------------------------------------------------------------------------------------------------

-- Waits until at most `mark` is in flight.
local function drain(self, mark, what)
  local result = C.mr_datagram_drain(self.handle, self.slot, mark)
  while result == EAGAIN do
    wait_in(self, writers, what)
    result = C.mr_datagram_drain(self.handle, self.slot, mark)
  end
end

local function hand_over(self, data, to)
  if type(data) == "string" then return C.mr_datagram_send_bytes(self.handle, self.slot, to, data, #data) end
  return C.mr_datagram_send_buffer(self.handle, self.slot, to, data)
end

local raised = {
  [-89] = "this socket is not connected: the receiver's address is needed", -- EDESTADDRREQ
  [-106] = "this socket is connected: it sends to its peer only, so no address can be given", -- EISCONN
}

local function send_failed(self, result, data, to)
  if raised[result] then errors.raise("argument", "datagram socket:send: %s", raised[result]) end
  return errors.world(result, ("send %d bytes to %s"):format(#data, tostring(to or self.peer_address)))
end

-- Sends one datagram. Returns what is in flight then, or nil, message, code.
local function send_one(self, data, to)
  if not self.slot then refuse_closed("send") end
  if type(data) ~= "string" then
    if not buffer.is(data) then
      errors.raise("argument", "datagram socket:send: a string or a buffer is needed, not a %s", type(data))
    end
    data = buffer.of(data, "datagram socket:send")
    data:remaining() -- raises "closed"
  end
  if to ~= nil then to = address_of("datagram socket:send", to) end
  local result = hand_over(self, data, to)
  if result == ENOMEM then -- what has been forgotten may be enough
    memory.collect()
    result = hand_over(self, data, to)
  end
  while result == EAGAIN do -- the kernel wants its completions to be taken first
    scheduler.yield()
    if not self.slot then refuse_closed("send") end
    result = hand_over(self, data, to)
  end
  if result < 0 then return send_failed(self, result, data, to) end
  return result
end

--- Sends a string (copied) or the remaining bytes of a buffer (of native memory not copied: they must not be changed any
--- more; position becomes limit) as one datagram, to the connected peer or to `to`. Waits while too much is in flight.
---
--- true says that the datagram is on its way to the kernel. What the kernel says of it is told by flush and, on a
--- connected socket, by the next send, which then has sent nothing: there "ECONNREFUSED" may also be the answer to an
--- earlier datagram. "EMSGSIZE": longer than a datagram can be.
---@param data string|moonring.Buffer
---@param to? moonring.Address|{ host: string, port: integer }
---@return true? ok
---@return string? message
---@return string? code
function Socket:send(data, to)
  local flying, message, code = send_one(self, data, to)
  if not flying then return nil, message, code end
  if flying > M.SEND_HIGH then drain(self, M.SEND_LOW, "send") end
  return true
end

--- Sends many datagrams, each a table { data, to }, with as few system calls as possible. Stops at the first that can't
--- be sent.
---@param datagrams { [1]: string|moonring.Buffer, [2]: moonring.Address? }[]
---@return true? ok
---@return string? message
---@return string? code
---@return integer? sent how many went before the one that failed
function Socket:send_many(datagrams)
  for i = 1, #datagrams do
    local ok, message, code = self:send(datagrams[i][1], datagrams[i][2])
    if not ok then return nil, message, code, i - 1 end
  end
  return true
end

--- Waits until the kernel has taken all that was sent. Returns the first failure since the last one that was told.
---@return true? ok
---@return string? message
---@return string? code "EMSGSIZE", "ENETUNREACH", "EPERM", "ENOBUFS", "ECONNREFUSED" ...
function Socket:flush()
  if not self.slot then refuse_closed("flush") end
  drain(self, 0, "send")
  local result = C.mr_datagram_failure(self.handle, self.slot)
  if result < 0 then return errors.world(result, "send") end
  return true
end

-- The rest ------------------------------------------------------------------------------------------------------------

local function membership(self, change, what, group, interface)
  if not self.slot then refuse_closed(what) end
  local at = type(group) == "string" and address.parse(group, 0)
  if not at then
    errors.raise("argument", "datagram socket:%s: a group's numeric address is needed, not %s", what, tostring(group))
  end
  local index = interface and interface_of("datagram socket:" .. what, interface) or 0
  local result = change(self.handle, self.slot, at, index)
  if result < 0 then return errors.world(result, ("%s group %s"):format(what, group)) end
  return true
end

--- Receives what is sent to a multicast group from now on.
---@param group string its numeric address
---@param interface? string|integer the name or index of the one to listen on; default: the one that the routes choose
---@return true? ok
---@return string? message
---@return string? code
function Socket:join(group, interface)
  return membership(self, C.mr_datagram_join, "join", group, interface)
end

--- Takes a join back.
function Socket:leave(group, interface)
  return membership(self, C.mr_datagram_leave, "leave", group, interface)
end

--- Changes an option that net.datagram takes: "broadcast", "ttl", "multicast_ttl", "multicast_loop" or
--- "multicast_interface".
---@param name string
---@param value boolean|integer|string
---@return true? ok
---@return string? message
---@return string? code
function Socket:set(name, value)
  if not self.slot then refuse_closed("set") end
  local wanted = settings_of("datagram socket:set", { [name or false] = value })[1]
  if not wanted then errors.raise("argument", "datagram socket:set: there is no option %s", tostring(name)) end
  local result = C.mr_datagram_set(self.handle, self.slot, wanted[2], wanted[3])
  if result < 0 then return errors.world(result, ("set %s to %d"):format(wanted[1], wanted[3])) end
  return true
end

local function address_by(self, get, what)
  if not self.slot then refuse_closed(what) end
  local found = new_address()
  local result = get(self.handle, self.slot, found)
  if result < 0 then return errors.world(result, what) end
  return found
end

--- The address that it is bound to.
---@return moonring.Address? address
---@return string? message
---@return string? code
function Socket:address()
  return address_by(self, C.mr_datagram_local, "address")
end

--- The peer that it is connected to.
function Socket:peer()
  return address_by(self, C.mr_datagram_peer, "peer")
end

local names = { "sent", "failed", "received", "cut", "dropped", "queued", "flying" }

--- Counters since its beginning: datagrams that the kernel has taken (`sent`) and refused (`failed`), that have come
--- (`received`), those of them that were longer than max_bytes (`cut`), what the kernel has `dropped` because its queue
--- was full; and of now: datagrams `queued` for the reader, bytes in flight (`flying`).
---@return table
function Socket:statistics()
  if not self.slot then refuse_closed("statistics") end
  local statistics, out = ffi.new("mr_datagram_statistics"), {}
  C.mr_datagram_statistics_get(self.handle, self.slot, statistics)
  for _, name in ipairs(names) do
    out[name] = tonumber(statistics[name])
  end
  return out
end

--- Closes the socket. What was sent still goes out, unless it waits for room (flush waits for that). Who waits in receive
--- or send of it gets the error "closed". Closing again does nothing.
function Socket:close()
  local slot = self.slot
  if not slot then return end
  self.slot = false
  self.guard.loop = nil
  self.input:release()
  C.mr_datagram_close(self.handle, slot)
  for _, waiting_tasks in ipairs { readers, writers } do
    local waiting = waiting_tasks[slot]
    if waiting then
      waiting_tasks[slot] = nil
      task.wake(waiting)
    end
  end
end

function Socket:__tostring()
  if not self.slot then return "moonring.DatagramSocket(closed)" end
  local mine = tostring(self:address() or "?")
  if not self.peer_address then return ("moonring.DatagramSocket(%s)"):format(mine) end
  return ("moonring.DatagramSocket(%s peer=%s)"):format(mine, tostring(self.peer_address))
end

return M
