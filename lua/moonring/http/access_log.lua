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
---@field bytes number of the response's content
---@field seconds number that the handler has taken
---@field peer string the client's address without its port

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

--- A line of the common log format, without its end.
---@param entry moonring.http.LogEntry
---@return string
function M.format(entry)
  local request = entry.request
  return ('%s - - [%s] "%s %s HTTP/%s" %d %.0f'):format(entry.peer, time_of(clock.wall()), escape(request.method),
    escape(request.target), request.version, entry.status, entry.bytes)
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

local function file_log(file)
  -- The finalizer writes what the end of the process would lose.
  local writer = { file = file, lines = {}, guard = newproxy(true) }
  getmetatable(writer.guard).__gc = function() pcall(flush, writer) end
  writers[writer] = true
  deadlines.on_tick = flush_all
  return function(entry)
    local lines = writer.lines
    lines[#lines + 1] = M.format(entry)
    if #lines >= M.LINES_MAX then flush(writer) end
  end, function()
    flush(writer)
    writers[writer], writer.file = nil, nil
    file:close()
  end
end

--- Makes what a server calls for each request: fn(connection, request, status, bytes, seconds). Internal.
---@param what string|boolean|function
---@return function? log
---@return string|function|nil message_or_finish what ends it, where it has a file of its own
---@return string? code
function M.open(what)
  local log, finish = what, nil
  if what == true then
    log = file_log(io.stdout)
  elseif type(what) == "string" then
    local file, message, number = io.open(what, "a")
    if not file then return errors.world(number, "open the access log " .. message:gsub(": [^:]*$", "")) end
    log, finish = file_log(file)
  elseif type(what) ~= "function" then
    errors.raise("argument", "access_log: a path, true or a function is needed, not a %s", type(what))
  end
  local function note(connection, request, status, bytes, seconds)
    log { request = request, status = status, bytes = bytes, seconds = seconds, peer = peer_of(connection) }
  end
  return note, finish
end

return M
