--- moonring.http.session: the deadlines of connections.
--
-- A session is what a server knows of a connection. Slow clients are found by one timer for all: a wait notes its deadline in
-- the session, a number that is overwritten by the next wait, and a few times a second the sessions whose deadline has passed
-- are dealt with. So a request costs one store for its timeouts, and a deadline passes a quarter of its time late at most.

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
    if type(seconds) ~= "number" or not (seconds > 0) then
      errors.raise("argument", "%s: timeout %s is a number of seconds above 0, math.huge for none, not %s", what, name,
        tostring(seconds))
    end
    merged[name] = seconds
  end
  return merged
end

---@class moonring.http.Session
local Session = { __name = "moonring.http.Session" }
Session.__index = Session

local sessions, count, slots_end = {}, 0, 0 -- by connection slot
local ticker = { timer = false, seconds = TICK_MAX }

--- Makes a session for a connection and counts it.
function M.open(server, connection, task)
  local self = setmetatable({
    server = server, connection = connection, task = task,
    exchange = false, -- the request in progress
    deadline = turn_time() + server.timeouts.idle,
    phase = false, -- what it waits for while there is an exchange: "head", "body", "write"
    scope = false, -- in which it does that, and which a timeout cancels
    head_due = false, -- when the head in progress has to be there, however many waits that takes
    request_due = false, -- when the request in progress has to be there, once that is of interest
    timed_out = false, -- the phase that was cut short
    queued = 0, -- bytes that were queued when the wait for a write began
  }, Session)
  local slot = connection.slot
  sessions[slot] = self
  count = count + 1
  if slot >= slots_end then slots_end = slot + 1 end
  ticker:run(server.tick)
  return self
end

--- Ends it. `slot` is that of its connection, which may have been closed.
function M.close(session, slot)
  if sessions[slot] ~= session then return end
  sessions[slot] = nil
  count = count - 1
end

--- Iterates over the sessions of a server.
---@return fun(): moonring.http.Session?
function M.of(server)
  local slot = -1
  return function()
    while slot < slots_end do
      slot = slot + 1
      local session = sessions[slot]
      if session and session.server == server then return session end
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

local function deadline_of(self, phase)
  local timeouts, now = self.server.timeouts, turn_time()
  local deadline = now + timeouts[phase]
  if phase == "write" then
    local connection = self.connection
    if connection.slot then self.queued = C.mr_connection_queued(connection.handle, connection.slot) end
    return deadline
  end
  if phase == "head" then
    self.head_due = self.head_due or deadline
    deadline = self.head_due
  end
  self.request_due = self.request_due or now + timeouts.request
  return math.min(self.request_due, deadline)
end

local function wait_in(scope, self, fn, ...)
  self.scope = scope
  return fn(...)
end

local function end_wait(self, ...)
  self.phase = false
  return ...
end

--- Runs fn(...), which waits for the client: it has so much time for it as the timeout of that name, or an error of code
--- "deadline" is raised. A scope of its own is cancelled for that, so who catches the error can still answer.
---@param phase string "head", "body" or "write"
---@param fn function
function Session:wait(phase, fn, ...)
  self.deadline = deadline_of(self, phase)
  self.phase = phase
  return end_wait(self, task.open_scope(wait_in, self, fn, ...))
end

-- What becomes of a session whose deadline has passed ------------------------------------------------------------------------

local function describe(session, phase)
  return ("the client has taken longer than the timeout %s of %g s"):format(phase, session.server.timeouts[phase])
end

-- A client that takes little is slow; one that takes nothing is gone.
local function takes_bytes(session)
  local connection = session.connection
  local queued = C.mr_connection_queued(connection.handle, connection.slot)
  local takes = queued < session.queued
  session.queued = queued
  return takes
end

local function expire(session, now)
  local connection, phase = session.connection, session.phase
  if not connection.slot then return end
  if not session.exchange then
    session.timed_out = "idle"
    connection:close()
    return
  end
  if not phase then -- its handler is busy with something else
    session.deadline = math.huge
    return
  end
  if phase == "write" and takes_bytes(session) then
    session.deadline = now + session.server.timeouts.write
    return
  end
  session.timed_out = phase
  session.deadline = math.huge
  if phase ~= "write" and session.request_due and session.request_due <= now then phase = "request" end
  local exchange, message = session.exchange, describe(session, phase)
  exchange.plain, exchange.broken, exchange.body_open = false, true, false
  exchange.refusal = { 408, message }
  session.server.timed_out = session.server.timed_out + 1
  session.scope:cancel(errors.new("deadline", message))
end

local function sweep(now)
  for slot = 0, slots_end - 1 do
    local session = sessions[slot]
    if session and session.deadline <= now then expire(session, now) end
  end
end

-- The timer ------------------------------------------------------------------------------------------------------------------

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

function M.count()
  return count
end

return M
