---@meta moonring.stdio
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Output
local Output = {}

--- The number of the descriptor.
---@return integer
function Output:descriptor() end

--- Waits until at most `mark` bytes are left to go out (default: the low-water mark).
---@param mark? integer bytes
---@return true? ok
---@return string? message
---@return string? code
function Output:drain(mark) end

--- drain as an operation for moonring.select.
---@param mark? integer bytes
---@return moonring.Operation
function Output:drain_op(mark) end

--- Waits until all of it has gone out.
---@return true? ok
---@return string? message
---@return string? code
function Output:flush() end

--- When text is written: "no": at once, "line": with the end of a line, "full": when it is much, or with the turn.
---@param mode "no"|"line"|"full"
function Output:setvbuf(mode) end

--- Writes a string, or the remaining bytes of a buffer (copied; its position becomes its limit). Waits while too much is
--- left to go out.
---@param data string|number|moonring.Buffer
---@return true? ok
---@return string? message
---@return string? code
function Output:write(data) end

--- standard input, output and error.
--- 
--- In the executable print, io.write and the methods of io.stdout and io.stderr all write here (moonring.lua_io), so what
--- they write stays in the order in which it was written. Text is gathered: for a terminal until the end of a line,
--- otherwise until it is much or the loop's turn is over; standard error is never held back, and what standard output
--- holds goes before it. A pipe that is full or a terminal that is stopped doesn't hold the loop: the text queues, and a
--- task that goes on writing waits until some of it has gone out.
local module = {}

--- Gathered bytes at which they are written without waiting for the turn's end.
---@type any
module.GATHERED = nil

--- Bytes that wait to go out at which a task that writes waits.
---@type any
module.WRITE_HIGH = nil

--- Those at which it goes on.
---@type any
module.WRITE_LOW = nil

--- Standard error.
---@type moonring.Output
module.stderr = nil

--- Standard input as a connection. It is read from the first use of this on; what io.read finds after that is the rest.
---@return moonring.Connection
function module.stdin() end

--- Standard output.
---@type moonring.Output
module.stdout = nil

return module
