---@meta moonring.log
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Logger
---@field level string
local Logger = {}

--- Writes a line of the level "debug".
---@param message any its tostring
---@param fields? table<string, any>
function Logger:debug(message, fields) end

--- Writes a line of the level "error".
---@param message any its tostring: an error object says where it was raised
---@param fields? table<string, any>
function Logger:error(message, fields) end

--- Writes a line of the level "info".
---@param message any its tostring
---@param fields? table<string, any>
function Logger:info(message, fields) end

--- Opens the file of that path anew, after it has been renamed: `for _ in moonring.signal("HUP"):each() do
--- logger:reopen() end`. When that fails the old one stays in use.
---@return true? ok
---@return string? message
---@return string? code
function Logger:reopen() end

--- Changes the least level that is written, of this logger and those that `with` has made of it.
---@param level "debug"|"info"|"warning"|"error"|"off"
function Logger:set_level(level) end

--- Writes a line of the level "warning".
---@param message any its tostring
---@param fields? table<string, any>
function Logger:warning(message, fields) end

--- A logger whose lines have further fields: for a connection, say, or a request.
---@param fields table<string, any>
---@return moonring.Logger
function Logger:with(fields) end

---@class moonring.LogOptions
---@field level? "debug"|"info"|"warning"|"error"|"off" the least that is written, default: that of MOONRING_LOG, or "info"
---@field format? "text"|"json" default "text"
---@field path? string of a file that lines are put behind; default: standard error
---@field write? fun(line: string) what takes the lines, in the place of both
---@field fields? table<string, any> what every line has
local LogOptions = {}

--- what a service tells of itself: lines with a time, a level and fields.
local module = {}

--- Writes a line of the level "debug" to standard error.
---@param message any
---@param fields? table<string, any>
function module.debug(message, fields) end

--- Writes a line of the level "error" to standard error.
---@param message any
---@param fields? table<string, any>
function module.error(message, fields) end

--- Writes a line of the level "info" to standard error.
---@param message any
---@param fields? table<string, any>
function module.info(message, fields) end

--- The level that new loggers have: the environment's MOONRING_LOG, or "info".
---@return string
function module.level() end

--- Makes a logger of one's own.
--- ```lua
--- local log = require "moonring.log"
--- 
--- local audit = assert(log.new { path = "/dev/null", format = "json", fields = { service = "hello" } })
--- audit:info("signed in", { user = "moon" })
--- ```
---@param options? moonring.LogOptions
---@return moonring.Logger? logger
---@return string? message when the file can't be opened
---@return string? code
function module.new(options) end

--- The logger behind log.info and its like, to standard error.
---@return moonring.Logger
function module.standard() end

--- Writes a line of the level "warning" to standard error.
---@param message any
---@param fields? table<string, any>
function module.warning(message, fields) end

return module
