-- moonring.net.datagram: datagram sockets, which is UDP over IPv4 and IPv6, and Unix datagram sockets.
--
-- Sending hands a datagram to the loop, which gives all those of a turn to the kernel together; it waits only while too
-- much is in flight. Receiving begins with the first receive and goes on by itself, into a queue of bounded length.
-- When the reader lags the kernel's own queue fills up and then drops, as datagrams may be; statistics() tells.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"
local address = require "moonring.net.address"
local endpoint = require "moonring.net.endpoint"
local options = require "moonring.net.datagram.options"

local C, ffi = native.C, native.ffi
local new_address, wait_in, check_free, run_in = address.new, endpoint.wait_in, endpoint.check_free, loop.run_in

local EAGAIN, ENOMEM = -11, -12

local M = {
  -- Bytes in flight on a socket, with 256 more for each datagram, at which a sender waits, and at which it goes on.
  SEND_HIGH = 262144,
  SEND_LOW = 65536,
}

-- The two sides, see moonring.net.endpoint.
local receiving = { tasks = {}, what = "receive", withdraw = C.mr_datagram_receive_withdraw }
local sending = { tasks = {}, what = "send", withdraw = C.mr_datagram_drain_withdraw }
local readers, writers = receiving.tasks, sending.tasks

loop.handlers[tonumber(C.MR_EVENT_DATAGRAM_READABLE)] = function(slot) run_in(readers, slot) end
loop.handlers[tonumber(C.MR_EVENT_DATAGRAM_WRITABLE)] = function(slot) run_in(writers, slot) end

---@class moonring.DatagramSocket
---@field port integer the port that it is bound to; 0 when it is not bound
local Socket = { __name = "moonring.DatagramSocket" }
Socket.__index = Socket
endpoint.mix(Socket, "datagram socket", { receiving, sending })

local function refuse_closed(what)
  endpoint.refuse_closed(Socket, what)
end

-- Opening -------------------------------------------------------------------------------------------------------------

local function doing(bound, peer)
  return "open a datagram socket" .. (bound and " on " .. tostring(bound) or "") ..
    (peer and " to " .. tostring(peer) or "")
end

--- Opens a datagram socket: bound where a host or a port is given, connected where `connect` is.
---@param given? moonring.DatagramOptions
---@return moonring.DatagramSocket? socket
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", "ENETUNREACH", ...
function M.open(given)
  local what = "net.datagram"
  given = options.check(what, given)
  local peer = given.connect and options.address_of(what, given.connect)
  local bound = options.bound_of(what, given, peer)
  local how, wanted = options.options_of(what, given), options.settings_of(what, given)
  local handle = loop.handle()
  local slot = C.mr_datagram_open(handle, options.family_of(what, given, bound, peer), bound, peer, how)
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
  check_free(self, readers, "receive")
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

local Receive = endpoint.operation("moonring.Operation.ReceiveDatagram", receiving, "receive", function(_, socket, slot)
  local from = new_address()
  local size = C.mr_datagram_receive(socket.handle, slot, socket.input, from)
  if size == EAGAIN then return false end
  return true, received(socket.input, from, size)
end)

--- receive as an operation for moonring.select: a datagram is taken only when it is the one that is done.
---@return moonring.Operation
function Socket:receive_op()
  return setmetatable({ endpoint = self }, Receive)
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
  if to ~= nil then to = options.address_of("datagram socket:send", to) end
  local result = hand_over(self, data, to)
  if result == ENOMEM then result = memory.try_again(hand_over, self, data, to) end
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
  local index = interface and options.interface_of("datagram socket:" .. what, interface) or 0
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
  local wanted = options.settings_of("datagram socket:set", { [name or false] = value })[1]
  if not wanted then errors.refuse_option("datagram socket:set", name, options.settable) end
  local result = C.mr_datagram_set(self.handle, self.slot, wanted[2], wanted[3])
  if result < 0 then return errors.world(result, ("set %s to %d"):format(wanted[1], wanted[3])) end
  return true
end

--- The address that it is bound to.
---@return moonring.Address? address
---@return string? message
---@return string? code
function Socket:address()
  return endpoint.address_by(self, C.mr_datagram_local, "address")
end

--- The peer that it is connected to.
function Socket:peer()
  return endpoint.address_by(self, C.mr_datagram_peer, "peer")
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
  endpoint.wake_all(self, slot)
end

function Socket:__tostring()
  if not self.slot then return "moonring.DatagramSocket(closed)" end
  local mine = tostring(self:address() or "?")
  if not self.peer_address then return ("moonring.DatagramSocket(%s)"):format(mine) end
  return ("moonring.DatagramSocket(%s peer=%s)"):format(mine, tostring(self.peer_address))
end

return M
