-- moonring.errors: how failure looks.
--
-- Misuse and cancellation are raised as error objects with a `code`; what the world does is returned as
-- nil, message, code, where code is the errno's name.

local native = require "moonring.native"
local C, ffi = native.C, native.ffi

local errors = {}

---@class moonring.Error
---@field code string "argument", "closed", "busy", "underflow", "overflow", "cancelled", "deadline" or an errno's name
---@field message string what was tried, the numbers, and what to do
local Error = { __name = "moonring.Error" }
Error.__index = Error

function Error:__tostring()
  return self.message
end

--- Makes an error object.
---@param code string
---@param message string
---@return moonring.Error
function errors.new(code, message)
  return setmetatable({ code = code, message = message }, Error)
end

--- Raises an error object.
---@param code string
---@param message string a format for the values that follow, or the whole message
function errors.raise(code, message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  error(errors.new(code, message), 0)
end

--- Whether a value is an error object, of the given code where one is given.
---@param value any
---@param code? string
---@return boolean
function errors.is(value, code)
  return type(value) == "table" and getmetatable(value) == Error and (code == nil or value.code == code)
end

--- Raises "argument" for seconds that are no number. Internal.
---@param what string the public function that was given them
---@param seconds any
function errors.check_seconds(what, seconds)
  if type(seconds) ~= "number" or seconds ~= seconds then
    errors.raise("argument", "%s: a number of seconds is needed, not %s", what, tostring(seconds))
  end
end

--- Raises "argument" for what is no function. Internal.
---@param what string
---@param fn any
function errors.check_function(what, fn)
  if type(fn) ~= "function" then errors.raise("argument", "%s: a function is needed, not a %s", what, type(fn)) end
end

--- Raises "argument" for a number of bytes or an offset that isn't whole, or not exact as a Lua number. Internal.
---@param what string
---@param name string what it is, with its article
---@param value any
function errors.check_offset(what, name, value)
  if type(value) ~= "number" or value < 0 or value > 9007199254740992 or value % 1 ~= 0 then
    errors.raise("argument", "%s: %s is a whole number from 0 to 2^53, not %s", what, name, tostring(value))
  end
end

--- Options as a table: an empty one for nil. Raises "argument" for anything else. Internal.
---@param what string
---@param options any
---@return table
function errors.options(what, options)
  if options == nil then return {} end
  if type(options) ~= "table" then
    errors.raise("argument", "%s: the options are a table, not a %s", what, type(options))
  end
  return options
end

--- Raises "argument" for an option that is not known, or of another type. Internal.
---@param what string the public function they were given to
---@param options table
---@param known table<string, string|true> their types by name; true: whoever uses it checks it
function errors.check_options(what, options, known)
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then errors.raise("argument", "%s: there is no option %s", what, tostring(name)) end
    if kind ~= true and type(value) ~= kind then
      errors.raise("argument", "%s: %s is a %s, not a %s", what, name, kind, type(value))
    end
  end
end

--- What a function returns when the world has failed it.
---@param number integer errno, positive or negative
---@param doing? string what was tried, on what: put before the system's words
---@return nil, string message, string code
function errors.world(number, doing)
  local code = ffi.string(C.mr_error_name(number))
  local message = code .. ": " .. ffi.string(C.mr_error_text(number)):gsub("^%u%l", string.lower)
  if doing then message = doing .. ": " .. message end
  return nil, message, code
end

return errors
