---@meta moonring.trace
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

--- the Lua side of trace mode (runtime/memory/trace.h): tells C which line of Lua is at work.
--- 
--- When the mode is turned on, the methods of iovecs, buffers and connections are wrapped: each call notes the line
--- that made it before it goes on, and one that finds something closed has C report who closed it. Off, nothing is
--- wrapped.
local module = {}

--- Looks at all guard bytes and at all released memory now. Returns the faults found, which have been reported.
function module.check() end

--- Turns trace mode on for the rest of the process, as --trace=iovec does.
function module.enable() end

--- Writes reports to a file instead of stderr.
function module.output(path) end

--- Faults reported so far.
function module.reports() end

return module
