-- moonring.clock: what time it is, and who is told when it has passed.
--
-- Everything that sleeps, expires or measures asks here, so a spec can put a virtual clock in the place of the real
-- one and the code under test doesn't notice. Virtual time stands still while any task can run or the kernel has
-- something to tell, and then jumps to the next timer. Timers due at the same instant fire in the order of their
-- start.
--
-- A timer's object is told by expired(), from the scheduler. Real timers live in C (runtime/loop/timer.c) and have numbers
-- from 0 on, virtual ones live here and have negative numbers, so that one can be stopped whichever clock rules by
-- then.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local loop = require "moonring.loop"

local C = native.C
local sleepers = loop.sleepers

local M = {}

local virtual -- nil while time is real

-- Virtual time ---------------------------------------------------------------------------------------------------------

-- What virtual clocks show at first: the same for every run.
local VIRTUAL_WALL_START = 946684800 -- 2000-01-01 00:00:00 UTC

local serial = 0
local by_number = {} -- virtual timers that have not fired

local function is_before(left, right)
  if left.at == right.at then return left.serial < right.serial end
  return left.at < right.at
end

local function put(heap, place, timer)
  heap[place] = timer
  timer.place = place
end

local function rise(heap, place)
  local timer = heap[place]
  while place > 1 do
    local parent = (place - place % 2) / 2
    if not is_before(timer, heap[parent]) then break end
    put(heap, place, heap[parent])
    place = parent
  end
  put(heap, place, timer)
end

local function sink(heap, place)
  local timer, count = heap[place], #heap
  while place * 2 <= count do
    local child = place * 2
    if child < count and is_before(heap[child + 1], heap[child]) then child = child + 1 end
    if not is_before(heap[child], timer) then break end
    put(heap, place, heap[child])
    place = child
  end
  put(heap, place, timer)
end

local function remove(heap, place)
  local last = heap[#heap]
  heap[#heap] = nil
  if last.place ~= place then
    put(heap, place, last)
    rise(heap, place)
    sink(heap, last.place)
  end
end

local function start_virtual(seconds, object)
  serial = serial + 1
  seconds = math.max(seconds, 0)
  local at = virtual.now + seconds
  if at - virtual.now < seconds then at = at + at * 2 ^ -52 end -- rounded up: never early
  local timer = { at = at, serial = serial, object = object }
  by_number[-serial] = timer
  local heap = virtual.heap
  put(heap, #heap + 1, timer)
  rise(heap, #heap)
  return -serial
end

local function stop_virtual(number)
  local timer = by_number[number]
  if not timer then return end
  by_number[number] = nil
  if timer.real then
    M.stop(timer.real, timer)
  else
    remove(virtual.heap, timer.place)
  end
end

-- Called by the loop when nobody can run: goes on to the next timer and fires all that are due then.
local function advance()
  local own = virtual
  local heap = own.heap
  if not heap[1] or heap[1].at == math.huge then return false end
  virtual.now = math.max(virtual.now, heap[1].at)
  scheduler.set_turn_time(virtual.now)
  while virtual == own and heap[1] and heap[1].at <= own.now do -- who is told may end this clock
    local timer = heap[1]
    remove(heap, 1)
    by_number[-timer.serial] = nil
    timer.object:expired()
  end
  return true
end

-- A virtual timer that outlives its clock goes on in real time.
local Survivor = {}
Survivor.__index = Survivor
function Survivor:expired()
  by_number[-self.serial] = nil
  self.object:expired()
end

--- Makes time virtual. Internal; specs use moonring.test.virtual_clock.
function M.make_virtual()
  if virtual then errors.raise("busy", "virtual_clock: time is virtual already") end
  virtual = { now = 0, heap = {} }
  loop.advance_time = advance
end

--- Makes time real again.
function M.make_real()
  local heap, now = virtual.heap, virtual.now
  virtual = nil
  loop.advance_time = false
  for _, timer in ipairs(heap) do
    timer.real = M.start(timer.at - now, setmetatable(timer, Survivor))
  end
end

-- Both --------------------------------------------------------------------------------------------------------------------

--- Calls object:expired() from the scheduler `seconds` from now, never earlier. Returns the timer's number.
---@param seconds number
---@return integer
function M.start(seconds, object)
  if virtual then return start_virtual(seconds, object) end
  local timer = C.mr_timer_start(loop.handle(), seconds)
  if timer < 0 then
    local _, message, code = errors.world(timer, "start a timer")
    errors.raise(code, "%s", message)
  end
  sleepers[timer] = object
  return timer
end

--- Stops the timer that was started for this object: expired() will not be called. One that has fired is no matter,
--- although its number may be another's by now.
function M.stop(timer, object)
  if timer < 0 then return stop_virtual(timer) end
  if sleepers[timer] ~= object then return end
  sleepers[timer] = nil
  C.mr_timer_stop(loop.handle(), timer)
end

--- Monotonic time in seconds, for measuring durations.
---@return number
function M.now()
  if virtual then return virtual.now end
  return C.mr_clock_now()
end

--- Seconds since 1970 by the system's clock, which may jump.
---@return number
function M.wall()
  if virtual then return VIRTUAL_WALL_START + virtual.now end
  return C.mr_clock_wall()
end

return M
