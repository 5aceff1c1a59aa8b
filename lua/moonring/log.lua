--- moonring.log: what a service tells of itself: lines with a time, a level and fields.
---
--- `log.info("listens", { port = 8080 })` writes `2026-11-26T09:00:00.000Z info listens port=8080` to standard error. A line
--- stays one line whatever is in it, so what a client sends can't forge another.

local errors = require "moonring.errors"
local clock = require "moonring.clock"

local floor, date = math.floor, os.date

---@class moonring.LogOptions
---@field level? "debug"|"info"|"warning"|"error"|"off" the least that is written, default: that of MOONRING_LOG, or "info"
---@field format? "text"|"json" default "text"
---@field path? string of a file that lines are put behind; default: standard error
---@field write? fun(line: string) what takes the lines, in the place of both
---@field fields? table<string, any> what every line has

---@class moonring.Logger
---@field level string
local Logger = { __name = "moonring.Logger" }
Logger.__index = Logger

local M = {}

local LEVELS = { debug = 1, info = 2, warning = 3, error = 4, off = 5 }
local OPTIONS = { level = "string", format = "string", path = "string", write = "function", fields = "table" }

local time_second, time_text

-- RFC 3339, in UTC, with milliseconds. The text of a second is kept.
local function time_now()
  local now = clock.wall()
  local second = floor(now)
  if second ~= time_second then
    time_second, time_text = second, date("!%Y-%m-%dT%H:%M:%S", second)
  end
  return ("%s.%03dZ"):format(time_text, floor((now - second) * 1000))
end

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape_byte(byte)
  return ESCAPES[byte] or ("\\x%02x"):format(byte:byte())
end

-- A value as it stands behind "name=".
local function quoted(value)
  local text = tostring(value)
  if text ~= "" and not text:find '[%c%s"=\\\127]' then return text end
  return '"' .. text:gsub('[%c"\\\127]', escape_byte) .. '"'
end

local function sorted_names(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return names
end

local formats = {}

function formats.text(level, message, fields)
  local parts = { time_now(), level, (message:gsub("[%c\127]", escape_byte)) }
  for _, name in ipairs(sorted_names(fields)) do
    parts[#parts + 1] = name:gsub('[%c%s"=\127]', "_") .. "=" .. quoted(fields[name])
  end
  return table.concat(parts, " ") .. "\n"
end

local function json_escape(byte)
  return ESCAPES[byte] or ("\\u%04x"):format(byte:byte())
end

-- What JSON has no form for is written as its text.
local function json_of(value)
  local kind = type(value)
  if kind == "boolean" then return tostring(value) end
  if kind == "number" and value == value and math.abs(value) < math.huge then return ("%.14g"):format(value) end
  return '"' .. tostring(value):gsub('[%c"\\\127]', json_escape) .. '"'
end

function formats.json(level, message, fields)
  local parts = { ('"time":"%s","level":"%s","message":%s'):format(time_now(), level, json_of(message)) }
  for _, name in ipairs(sorted_names(fields)) do
    parts[#parts + 1] = json_of(name) .. ":" .. json_of(fields[name])
  end
  return "{" .. table.concat(parts, ",") .. "}\n"
end

local function to_standard_error(line)
  io.stderr:write(line)
end

-- A file that lines are put behind, each with one write, so that several processes may share it. What it can't take goes
-- to standard error, with the reason in front when it is a new one.
local File = {}
File.__index = File

function File:open()
  local file, message, number = io.open(self.path, "a")
  if not file then return errors.world(number, "open the log " .. message:gsub(": [^:]*$", "")) end
  file:setvbuf "no"
  if self.file then self.file:close() end
  self.file, self.problem = file, false
  return true
end

function File:write(line)
  local ok, message = self.file:write(line)
  if ok then return end
  if self.problem ~= message then to_standard_error(("moonring: write to the log %s: %s\n"):format(self.path, message)) end
  self.problem = message
  to_standard_error(line)
end

local function check_level(what, level)
  if not LEVELS[level] then
    errors.raise("argument", "%s: a level is debug, info, warning, error or off, not %s", what, tostring(level))
  end
  return level
end

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
function M.new(options)
  options = errors.options("log.new", options)
  errors.check_options("log.new", options, OPTIONS)
  local format = formats[options.format or "text"]
  if not format then
    errors.raise("argument", 'log.new: the format is "text" or "json", not %s', tostring(options.format))
  end
  local self = setmetatable({
    level = check_level("log.new", options.level or M.level()), format = format, fields = options.fields or {},
    write_line = options.write or to_standard_error, file = false,
  }, Logger)
  if options.path and not options.write then
    local file = setmetatable({ path = options.path, file = false, problem = false }, File)
    local ok, message, code = file:open()
    if not ok then return nil, message, code end
    self.file, self.write_line = file, function(line) file:write(line) end
  end
  return self
end

local function merged(fields, more)
  if not more then return fields end
  local all = {}
  for name, value in pairs(fields) do all[name] = value end
  for name, value in pairs(more) do all[name] = value end
  return all
end

local function write(self, level, message, fields)
  if LEVELS[level] < LEVELS[self.level] then return end
  self.write_line(self.format(level, tostring(message), merged(self.fields, fields)))
end

--- Writes a line of the level "debug".
---@param message any its tostring
---@param fields? table<string, any>
function Logger:debug(message, fields)
  write(self, "debug", message, fields)
end

--- Writes a line of the level "info".
---@param message any its tostring
---@param fields? table<string, any>
function Logger:info(message, fields)
  write(self, "info", message, fields)
end

--- Writes a line of the level "warning".
---@param message any its tostring
---@param fields? table<string, any>
function Logger:warning(message, fields)
  write(self, "warning", message, fields)
end

--- Writes a line of the level "error".
---@param message any its tostring: an error object says where it was raised
---@param fields? table<string, any>
function Logger:error(message, fields)
  write(self, "error", message, fields)
end

--- Changes the least level that is written, of this logger and those that `with` has made of it.
---@param level "debug"|"info"|"warning"|"error"|"off"
function Logger:set_level(level)
  rawset(self.root or self, "level", check_level("logger:set_level", level))
end

local derived = {
  __index = function(self, name)
    if name == "level" then return rawget(self, "root").level end
    return Logger[name]
  end,
  __tostring = function(self) return tostring(self.root) end,
}

--- A logger whose lines have further fields: for a connection, say, or a request.
---@param fields table<string, any>
---@return moonring.Logger
function Logger:with(fields)
  return setmetatable({
    root = self.root or self, format = self.format, fields = merged(self.fields, fields), write_line = self.write_line,
    file = self.file,
  }, derived)
end

--- Opens the file of that path anew, after it has been renamed: `for _ in moonring.signal("HUP"):each() do
--- logger:reopen() end`. When that fails the old one stays in use.
---@return true? ok
---@return string? message
---@return string? code
function Logger:reopen()
  if not self.file then return true end
  return self.file:open()
end

function Logger:__tostring()
  return ("moonring.Logger(%s to %s)"):format(self.level, self.file and self.file.path or "standard error")
end

--- The level that new loggers have: the environment's MOONRING_LOG, or "info".
---@return string
function M.level()
  local level = os.getenv "MOONRING_LOG"
  return level and level ~= "" and check_level("MOONRING_LOG", level) or "info"
end

local standard

--- The logger behind log.info and its like, to standard error.
---@return moonring.Logger
function M.standard()
  standard = standard or M.new()
  return standard
end

--- Writes a line of the level "debug" to standard error.
---@param message any
---@param fields? table<string, any>
function M.debug(message, fields)
  write(M.standard(), "debug", message, fields)
end

--- Writes a line of the level "info" to standard error.
---@param message any
---@param fields? table<string, any>
function M.info(message, fields)
  write(M.standard(), "info", message, fields)
end

--- Writes a line of the level "warning" to standard error.
---@param message any
---@param fields? table<string, any>
function M.warning(message, fields)
  write(M.standard(), "warning", message, fields)
end

--- Writes a line of the level "error" to standard error.
---@param message any
---@param fields? table<string, any>
function M.error(message, fields)
  write(M.standard(), "error", message, fields)
end

return M
