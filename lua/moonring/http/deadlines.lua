--- moonring.http.deadlines: how long clients may take.
--
-- Slow clients are found by one timer for all: a wait notes its deadline, a number that is overwritten by the next
-- wait, and a few times a second the connections whose deadline has passed are dealt with. So a request costs one
-- store for its timeouts, and a deadline passes a quarter of its time late at most.
--
-- What is known of a connection stands in arrays by its slot, because ten thousand idle ones would be as many tables.

local errors = require "moonring.errors"
local task = require "moonring.task"
local scheduler = require "moonring.scheduler"
local clock = require "moonring.clock"
local native = require "moonring.native"
local codec = require "moonring.http.codec"

local C = native.C
local turn_time = scheduler.turn_time

local M = {}

local TICK_MAX, TICK_MIN = 0.5, 0.01 -- seconds; Date follows the tick, too

---@class moonring.http.Timeouts
---@field idle number seconds between requests, and before the first
---@field head number from a head's first byte to its last
---@field body number between two pieces of a body
---@field request number from a request's first byte to the last of its body
---@field write number in which a client takes nothing of what is sent to it

---@type moonring.http.Timeouts
M.timeouts = {
  idle = 60, -- longer than that of the proxies in front, which should close first, wants setting
  head = 10,
  body = 30,
  request = 300,
  write = 60,
}

--- The defaults with a user's own over them. Raises "argument" for a name or value that is none.
---@param what string
---@param given? table
---@return moonring.http.Timeouts
function M.merge_timeouts(what, given)
  local merged = {}
  for name, seconds in pairs(M.timeouts) do
    merged[name] = seconds
  end
  for name, seconds in pairs(given or {}) do
    if not merged[name] then
      errors.raise("argument", "%s: there is no timeout %s; timeouts are idle, head, body, request and write", what,
        tostring(name))
    end
    if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
      errors.raise("argument", "%s: timeout %s is a number of seconds above 0, math.huge for none, not %s", what, name,
        tostring(seconds))
    end
    merged[name] = seconds
  end
  return merged
end

local connections, servers, tasks = {}, {}, {}
local due = {} -- when the client has to have done what is waited for, monotonic seconds
M.due = due
local count, slots_end = 0, 0
local ticker = { timer = false, seconds = TICK_MAX }

--- Begins to watch a connection, which the server counts from now on.
---@param server moonring.http.Server
---@param connection moonring.Connection
---@param owner moonring.Task that serves it
function M.open(server, connection, owner)
  local slot = connection.slot
  connections[slot], servers[slot], tasks[slot] = connection, server, owner
  due[slot] = turn_time() + server.timeouts.idle
  count = count + 1
  if slot >= slots_end then slots_end = slot + 1 end
  ticker:run(server.tick)
end

--- Ends that. `slot` is the connection's, which may have been closed.
function M.close(connection, slot)
  if connections[slot] ~= connection then return end
  connections[slot], servers[slot], tasks[slot], due[slot] = false, false, false, math.huge
  count = count - 1
end

--- Iterates over the connections of a server and the tasks that serve them.
---@return fun(): moonring.Connection?, moonring.Task?
function M.of(server)
  local slot = -1
  return function()
    while slot < slots_end do
      slot = slot + 1
      if connections[slot] and servers[slot] == server then return connections[slot], tasks[slot] end
    end
  end
end

--- How long a server may take to notice that a timeout has passed.
---@param timeouts moonring.http.Timeouts
---@return number seconds
function M.tick_of(timeouts)
  local least = math.huge
  for _, seconds in pairs(timeouts) do
    least = math.min(least, seconds)
  end
  return math.max(TICK_MIN, math.min(TICK_MAX, least / 4))
end

local function deadline_of(exchange, phase)
  local timeouts, now = exchange.server.timeouts, turn_time()
  local deadline = now + timeouts[phase]
  if phase == "write" then
    local connection = exchange.connection
    if connection.slot then exchange.taken = C.mr_connection_sent(connection.handle, connection.slot) end
    return deadline
  end
  if phase == "head" then
    exchange.head_due = exchange.head_due or deadline
    deadline = exchange.head_due
  end
  exchange.request_due = exchange.request_due or now + timeouts.request
  return math.min(exchange.request_due, deadline)
end

local function wait_in(scope, exchange, fn, ...)
  exchange.scope = scope
  return fn(...)
end

local function end_wait(exchange, ...)
  exchange.phase, exchange.scope = false, false
  return ...
end

--- Runs fn(...), which waits for the client: it has so much time for it as the timeout of that name, or an error of code
--- "deadline" is raised. A scope of its own is cancelled for that, so who catches the error can still answer.
---@param exchange table the request in progress
---@param phase string "head", "body" or "write"
---@param fn function
function M.wait(exchange, phase, fn, ...)
  local slot = exchange.connection.slot
  if slot then due[slot] = deadline_of(exchange, phase) end
  exchange.phase = phase
  return end_wait(exchange, task.open_scope(wait_in, exchange, fn, ...))
end

-- What becomes of a client whose time is over -------------------------------------------------------------------------

-- A client that takes little is slow; one that takes nothing is gone.
local function takes_bytes(exchange, connection)
  local taken = C.mr_connection_sent(connection.handle, connection.slot)
  local takes = taken > exchange.taken
  exchange.taken = taken
  return takes
end

local function expire(slot, connection, now)
  if not connection.slot then return end
  local exchange = connection.exchange
  if not exchange then
    connection:close()
    return
  end
  local phase, server = exchange.phase, exchange.server
  if phase == "write" and takes_bytes(exchange, connection) then
    due[slot] = now + server.timeouts.write
    return
  end
  due[slot] = math.huge
  if not phase then return end -- its handler is busy with something else
  exchange.timed_out = phase
  if phase ~= "write" and exchange.request_due <= now then phase = "request" end
  local message = ("the client has taken longer than the timeout %s of %g s"):format(phase, server.timeouts[phase])
  exchange.plain, exchange.broken, exchange.body_open = false, true, false
  exchange.refusal = { 408, message } -- what the client is told where nothing has been sent
  server.timed_out = server.timed_out + 1
  exchange.scope:cancel(errors.new("deadline", message))
end

local function sweep(now)
  for slot = 0, slots_end - 1 do
    local connection = connections[slot]
    if connection and due[slot] <= now then expire(slot, connection, now) end
  end
end

-- The timer -----------------------------------------------------------------------------------------------------------

function ticker:run(seconds)
  if seconds < self.seconds then self.seconds = seconds end
  if self.timer and seconds >= self.armed_for then return end
  if self.timer then clock.stop(self.timer, self) end
  codec.set_date(clock.wall())
  self.armed_for = self.seconds
  self.timer = clock.start(self.seconds, self)
end

function ticker:expired()
  self.timer = false
  sweep(clock.now())
  if M.on_tick then M.on_tick() end
  codec.set_date(clock.wall())
  if count > 0 then
    self.armed_for = self.seconds
    self.timer = clock.start(self.seconds, self)
  else
    self.seconds, slots_end = TICK_MAX, 0
  end
end

--- Called with every tick: the access log's, to write what it has.
M.on_tick = false

--- How many connections are watched.
---@return integer
function M.count()
  return count
end

return M
