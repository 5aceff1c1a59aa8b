-- moonring.errors: how failure looks.
--
-- Misuse and cancellation are raised as error objects with a `code`; what the world does is returned as
-- nil, message, code, where code is the errno's name.
--
-- An error that is raised knows the line of the program that is to blame: the first one on the stack that is not
-- moonring's own. That costs some microseconds, as raising does anyway.

local native = require "moonring.native"
local C, ffi = native.C, native.ffi

local errors = {}

---@class moonring.Error
---@field code string "argument", "closed", "busy", "underflow", "overflow", "cancelled", "deadline" or an errno's name
---@field message string what was tried, the numbers, and what to do
---@field place? string "file:line" of the program's code that asked for it; tostring puts it before the message
local Error = { __name = "moonring.Error" }
Error.__index = Error

function Error:__tostring()
  local place = self.place
  return place and place .. ": " .. self.message or self.message
end

function Error.__concat(left, right)
  return tostring(left) .. tostring(right)
end

local getinfo = debug.getinfo
-- What the source names of moonring's own code begin with: its modules, and the Lua that they generate.
local OWN, GENERATED = getinfo(1, "S").source:match "^(.*)errors%.lua$", "=moonring."
local LEVELS_MAX = 50

local function is_own(source)
  return source:sub(1, #OWN) == OWN or source:sub(1, #GENERATED) == GENERATED
end

local function place_of_caller()
  for level = 3, LEVELS_MAX do
    local info = getinfo(level, "Sl")
    if not info then return nil end
    if info.currentline > 0 and not is_own(info.source) then return info.short_src .. ":" .. info.currentline end
  end
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
  error(errors.misuse(code, message), 0)
end

--- Makes an error object that names the line of the program that runs. Internal.
---@return moonring.Error
function errors.misuse(code, message)
  local failure = errors.new(code, message)
  failure.place = place_of_caller()
  return failure
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

-- How many letters have to be changed, put in or taken out, or neighbours exchanged, to make one word of the other.
local function distance(left, right)
  local before, last = {}, {}
  for j = 0, #right do last[j] = j end
  for i = 1, #left do
    local row = { [0] = i }
    for j = 1, #right do
      local same = left:byte(i) == right:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and left:byte(i) == right:byte(j - 1) and left:byte(i - 1) == right:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#right]
end

-- The name among `known` that was probably meant.
local function nearest(name, known)
  local best, least = nil, math.max(1, math.floor(#name / 3)) + 1
  for _, each in ipairs(known) do
    local far = distance(name, each)
    if far < least then best, least = each, far end
  end
  return best
end

--- Raises "argument" for an option that is not known: which are, and which of them was probably meant. Internal.
---@param what string the public function it was given to
---@param name any
---@param ... table with the known names as keys
function errors.refuse_option(what, name, ...)
  local known = {}
  for i = 1, select("#", ...) do
    for each in pairs((select(i, ...))) do
      if type(each) == "string" then known[#known + 1] = each end
    end
  end
  table.sort(known)
  local meant = type(name) == "string" and nearest(name, known)
  errors.raise("argument", "%s: there is no option '%s'%s; known are %s", what, tostring(name),
    meant and (", '%s' may be meant"):format(meant) or "", table.concat(known, ", "))
end

--- Raises "argument" for an option that is not known, or of another type. Internal.
---@param what string the public function they were given to
---@param options table
---@param known table<string, string|true> their types by name; true: whoever uses it checks it
function errors.check_options(what, options, known)
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then errors.refuse_option(what, name, known) end
    if kind ~= true and type(value) ~= kind then
      errors.raise("argument", "%s: %s is a %s, not a %s", what, name, kind, type(value))
    end
  end
end

--- What a function returns when the world has failed it.
---@param number integer errno, positive or negative
---@param doing? string what was tried, on what: put before the system's words
---@return nil
---@return string message
---@return string code
function errors.world(number, doing)
  local code = ffi.string(C.mr_error_name(number))
  local message = code .. ": " .. ffi.string(C.mr_error_text(number)):gsub("^%u%l", string.lower)
  if doing then message = doing .. ": " .. message end
  return nil, message, code
end

return errors
