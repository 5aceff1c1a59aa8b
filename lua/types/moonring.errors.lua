---@meta moonring.errors
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Error
---@field code string "argument", "closed", "busy", "underflow", "overflow", "cancelled", "deadline" or an errno's name
---@field message string what was tried, the numbers, and what to do
---@field place? string "file:line" of the program's code that asked for it; tostring puts it before the message
local Error = {}

--- how failure looks.
--- 
--- Misuse and cancellation are raised as error objects with a `code`; what the world does is returned as
--- nil, message, code, where code is the errno's name.
--- 
--- An error that is raised knows the line of the program that is to blame: the first one on the stack that is not
--- moonring's own. That costs some microseconds, as raising does anyway.
local module = {}

--- Whether a value is an error object, of the given code where one is given.
---@param value any
---@param code? string
---@return boolean
function module.is(value, code) end

--- Makes an error object.
---@param code string
---@param message string
---@return moonring.Error
function module.new(code, message) end

--- Raises an error object.
---@param code string
---@param message string a format for the values that follow, or the whole message
function module.raise(code, message, ...) end

--- What a function returns when the world has failed it.
---@param number integer errno, positive or negative
---@param doing? string what was tried, on what: put before the system's words
---@return nil
---@return string message
---@return string code
function module.world(number, doing) end

return module
