-- moonring.test: what specs need.
--
-- `moonring test` runs them (moonring.cli.test): every block of a spec is part of a task and may wait, every test has
-- a deadline and is looked at for what it leaves behind.

local errors = require "moonring.errors"
local task = require "moonring.task"
local clock = require "moonring.clock"
local operation = require "moonring.operation"
local settings = require "moonring.test.settings"

local M = {}

local function finish(ok, ...)
  clock.make_real()
  if not ok then error((...), 0) end
  return ...
end

--- Runs `fn(...)` in a scope of its own under virtual time, which begins at 0, and returns what it returns. Sleeps,
--- deadlines, timers and moonring.now go by that time without knowing: it stands still while any task can run or the
--- kernel has something to tell, and then jumps to the next timer. Specs of hours take milliseconds, and the order of
--- things is the same in every run. Sleeps that began before go on in real time. Data under way between sockets may
--- arrive after a jump: use it for logic, not for networks.
---@param fn fun(scope: moonring.Scope, ...): ...
function M.virtual_clock(fn, ...)
  clock.make_virtual()
  operation.restart_turns()
  return finish(xpcall(task.open_scope, task.record_traceback, fn, ...))
end

local function running_test(what)
  if not settings.current then errors.raise("argument", "%s: no test runs; call it within one", what) end
  return settings.current
end

--- Gives the test that runs `seconds` from now on, instead of the usual 10.
---@param seconds number
function M.deadline(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
    errors.raise("argument", "test.deadline: a number of seconds above 0 is needed, not %s", tostring(seconds))
  end
  running_test("test.deadline").set_deadline(seconds)
end

--- Lets the test that runs leave behind what it likes.
function M.allow_leaks()
  running_test("test.allow_leaks").allow_leaks = true
end

--- Waits until `check()` returns something true, `seconds` at most. Returns what it returned last.
---@param check fun(): any
---@param seconds? number default 5
---@return any
function M.eventually(check, seconds)
  local time = require "moonring.time"
  local deadline = clock.now() + (seconds or 5)
  local result = check()
  while not result and clock.now() < deadline do
    time.sleep(0.005)
    result = check()
  end
  return result
end

--- A TCP port of the loopback address that nobody listens on at this moment.
---@return integer port
function M.free_port()
  local net = require "moonring.net"
  local listener = assert(net.listen {})
  local port = listener.port
  listener:close()
  M.eventually(function() -- the kernel closes it with one of the next turns
    local connection, _, code = net.connect { port = port }
    if connection then connection:close(0) end
    return code == "ECONNREFUSED"
  end)
  return port
end

--- Two ends of one TCP connection, which the scope owns.
--- ```lua
--- local moonring, test = require "moonring", require "moonring.test"
---
--- moonring.scope(function(scope)
---   local client, server = test.pair(scope)
---   client:write "ping\n"
---   assert(server:read_line() == "ping")
--- end)
--- ```
---@param scope moonring.Scope
---@return moonring.Connection client
---@return moonring.Connection server
function M.pair(scope)
  local net = require "moonring.net"
  local listener = assert(net.listen {})
  local client = scope:own(assert(net.connect { port = listener.port }))
  local server = scope:own(assert(listener:accept()))
  listener:close()
  return client, server
end

---@class moonring.test.Peer
---@field port integer where it listens
---@field task moonring.Task
local Peer = { __name = "moonring.test.Peer" }
Peer.__index = Peer

local function send_pieces(peer, connection, pieces)
  for _, piece in ipairs(pieces) do
    if type(piece) == "number" then
      require("moonring.time").sleep(piece)
    elseif not connection:write(piece) or not connection:flush() then
      return
    end
  end
  if pieces.reset then return connection:close(0) end
  connection:shutdown()
  for buffer in connection:chunks() do
    peer.parts[#peer.parts + 1] = buffer:to_string()
  end
end

--- A peer on the loopback that takes one connection and sends it the given pieces: strings are sent one by one, numbers
--- are pauses in seconds. Then it ends its half of the stream (`reset = true`: closes at once) and reads what comes. The
--- scope owns it.
---@param scope moonring.Scope
---@param pieces table
---@return moonring.test.Peer
function M.peer(scope, pieces)
  local net = require "moonring.net"
  local listener = scope:own(assert(net.listen {}))
  local peer = setmetatable({ port = listener.port, parts = {} }, Peer)
  peer.task = scope:spawn(function()
    task.open_scope(function(inner)
      local connection = inner:own(assert(listener:accept()))
      listener:close()
      send_pieces(peer, connection, pieces)
    end)
  end):named "peer"
  return peer
end

--- Waits until the other side has ended its stream. Returns everything that it has sent.
---@return string
function Peer:received()
  self.task:join()
  return table.concat(self.parts)
end

return M
