---@meta moonring.test
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.test.Peer
---@field port integer where it listens
---@field task moonring.Task
local Peer = {}

--- Waits until the other side has ended its stream. Returns everything that it has sent.
---@return string
function Peer:received() end

--- what specs need.
--- 
--- `moonring test` runs them (moonring.cli.test): every block of a spec is part of a task and may wait, every test has
--- a deadline and is looked at for what it leaves behind.
local module = {}

--- Lets the test that runs leave behind what it likes.
function module.allow_leaks() end

--- Gives the test that runs `seconds` from now on, instead of the usual 10.
---@param seconds number
function module.deadline(seconds) end

--- Waits until `check()` returns something true, `seconds` at most. Returns what it returned last.
---@param check fun(): any
---@param seconds? number default 5
---@return any
function module.eventually(check, seconds) end

--- A TCP port of the loopback address that nobody listens on at this moment.
---@return integer port
function module.free_port() end

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
function module.pair(scope) end

--- A peer on the loopback that takes one connection and sends it the given pieces: strings are sent one by one, numbers
--- are pauses in seconds. Then it ends its half of the stream (`reset = true`: closes at once) and reads what comes. The
--- scope owns it.
---@param scope moonring.Scope
---@param pieces table
---@return moonring.test.Peer
function module.peer(scope, pieces) end

--- Runs `fn(...)` in a scope of its own under virtual time, which begins at 0, and returns what it returns. Sleeps,
--- deadlines, timers and moonring.now go by that time without knowing: it stands still while any task can run or the
--- kernel has something to tell, and then jumps to the next timer. Specs of hours take milliseconds, and the order of
--- things is the same in every run. Sleeps that began before go on in real time. Data under way between sockets may
--- arrive after a jump: use it for logic, not for networks.
---@param fn fun(scope: moonring.Scope, ...): ...
function module.virtual_clock(fn, ...) end

return module
