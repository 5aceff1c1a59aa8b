--- moonring.http.access_log: a line for each request in the common log format, or a call of the user's function.
--
-- Lines are gathered and written with the server's tick, half a second late at most, and at the end of the process.

local errors = require "moonring.errors"
local deadlines = require "moonring.http.deadlines"
local clock = require "moonring.clock"


local M = {
  -- Lines that are kept before they are written whatever the tick.
  LINES_MAX = 1000,
}

---@class moonring.http.LogEntry
---@field request moonring.http.Request
---@field status integer
---@field bytes number of the response's content that were sent
---@field seconds number from the head to the answer
---@field peer string the client's address without its port; where proxies are trusted, request.client
--@field line? string the beginning of what came in the place of a request, which was refused; of the request only that is
-- known

---@class moonring.http.AccessLogOptions
---@field path? string standard output when left out
---@field format? "common"|"combined"|fun(entry: moonring.http.LogEntry): string of a line, without its end; default "common"

local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

local time_second, time_text

-- In English whatever the locale, and in UTC. The last one is kept.
local function time_of(seconds)
  seconds = math.floor(seconds)
  if seconds ~= time_second then
    local time = os.date("!*t", seconds)
    time_text = ("%02d/%s/%04d:%02d:%02d:%02d +0000"):format(time.day, MONTHS[time.month], time.year, time.hour, time.min,
      time.sec)
    time_second = seconds
  end
  return time_text
end

local function peer_of(connection)
  local text = connection.peer_text
  if not text then
    local peer = connection.slot and connection:peer()
    text = peer and peer.host or "-"
    connection.peer_text = text
  end
  return text
end

local function escape_byte(byte)
  return ("\\x%02x"):format(byte:byte())
end

-- What a client sends must not end the quoted part or the line.
local function escape(text)
  if not text:find '[%c"\\\128-\255]' then return text end
  return (text:gsub('[%c"\\\128-\255]', escape_byte))
end

local function request_line(entry)
  if entry.line then return escape(entry.line) end
  local request = entry.request
  return ("%s %s HTTP/%s"):format(escape(request.method), escape(request.target), request.version)
end

local function quoted(value)
  return value and '"' .. escape(value) .. '"' or '"-"'
end

local formats = {}

--- A line of the common log format, without its end.
---@param entry moonring.http.LogEntry
---@return string
function formats.common(entry)
  return ('%s - - [%s] "%s" %d %.0f'):format(entry.peer, time_of(clock.wall()), request_line(entry), entry.status,
    entry.bytes)
end

--- The same with Referer and User-Agent.
---@param entry moonring.http.LogEntry
---@return string
function formats.combined(entry)
  local request = entry.request
  return ("%s %s %s"):format(formats.common(entry), quoted(not entry.line and request:header "referer"),
    quoted(not entry.line and request:header "user-agent"))
end

local writers = setmetatable({}, { __mode = "k" })

local function flush(writer)
  local count = #writer.lines
  if count == 0 or not writer.file then return end
  writer.lines[count + 1] = ""
  writer.file:write(table.concat(writer.lines, "\n"))
  writer.file:flush()
  writer.lines = {}
end

local function flush_all()
  for writer in pairs(writers) do
    flush(writer)
  end
end

local function file_log(file, format)
  -- The finalizer writes what the end of the process would lose.
  local writer = { file = file, lines = {}, guard = newproxy(true) }
  getmetatable(writer.guard).__gc = function() pcall(flush, writer) end
  writers[writer] = true
  deadlines.on_tick = flush_all
  return function(entry)
    local lines = writer.lines
    lines[#lines + 1] = format(entry)
    if #lines >= M.LINES_MAX then flush(writer) end
  end, function()
    flush(writer)
    writers[writer], writer.file = nil, nil
    if file ~= io.stdout then file:close() end
  end
end

local function options_of(what)
  if what == true then return {} end
  if type(what) == "string" then return { path = what } end
  if type(what) ~= "table" then
    errors.raise("argument", "access_log: a path, true, a table of options or a function is needed, not a %s", type(what))
  end
  errors.check_options("access_log", what, { path = "string", format = true })
  return what
end

local function format_of(format)
  if type(format) == "function" then return format end
  local known = formats[format or "common"]
  if not known then
    errors.raise("argument", 'access_log: the format is "common", "combined" or a function, not %s', tostring(format))
  end
  return known
end

local function open_file(what)
  local options = options_of(what)
  local format = format_of(options.format)
  if not options.path then return file_log(io.stdout, format) end
  local file, message, number = io.open(options.path, "a")
  if not file then return errors.world(number, "open the access log " .. message:gsub(": [^:]*$", "")) end
  return file_log(file, format)
end

--- Makes what a server calls for each answer: fn(connection, request, status, bytes, seconds, line). Internal.
---@param what string|boolean|moonring.http.AccessLogOptions|function
---@param trusts_proxies boolean
---@return function? log
---@return string|function|nil message_or_finish what ends it, where it has a file of its own
---@return string? code
function M.open(what, trusts_proxies)
  local log, finish, code = what
  if type(what) ~= "function" then
    log, finish, code = open_file(what)
    if not log then return nil, finish, code end
  end
  local function note(connection, request, status, bytes, seconds, line)
    log { request = request, status = status, bytes = bytes, seconds = seconds, line = line or nil,
      peer = trusts_proxies and not line and request.client or peer_of(connection) }
  end
  return note, finish
end

return M
