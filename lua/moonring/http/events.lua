--- moonring.http.events: server-sent events (WHATWG HTML, section 9.2), written to a response.

local errors = require "moonring.errors"

local M = {}

---@class moonring.http.Events
local Events = { __name = "moonring.http.Events" }
Events.__index = Events

--- Begins the stream. Fields are added to those that it needs.
---@param response moonring.http.Response
---@param fields? table<string, string|string[]>
function M.begin(response, fields)
  -- no-store: an event is for one moment; X-Accel-Buffering: nginx before us must not hold it back.
  local all = { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store", ["X-Accel-Buffering"] = "no" }
  for name, value in pairs(fields or {}) do
    all[name] = value
  end
  local ok, message, code = response:start(200, all)
  if not ok then return nil, message, code end
  return setmetatable({ response = response }, Events)
end

-- A field of one line. A line end in it would begin another field, and NUL makes an id void.
local function add_line(lines, name, value)
  value = tostring(value)
  if value:find "[\r\n%z]" then errors.raise("argument", "events:send: %s is one line without NUL, not %q", name, value) end
  lines[#lines + 1] = name .. ": " .. value
end

---@class moonring.http.Event
---@field data? string of any number of lines
---@field event? string its type
---@field id? string what a client that comes back tells in its field Last-Event-ID
---@field retry? integer milliseconds after which a client that has lost the connection comes back

--- Sends an event. Waits while the client lags.
---@param event moonring.http.Event|string the event, or its data alone
---@return true? ok
---@return string? message when the client has gone
---@return string? code
function Events:send(event)
  if type(event) == "string" then event = { data = event } end
  if type(event) ~= "table" then errors.raise("argument", "events:send: an event is a table, not a %s", type(event)) end
  local lines = {}
  if event.event ~= nil then add_line(lines, "event", event.event) end
  if event.id ~= nil then add_line(lines, "id", event.id) end
  if event.retry ~= nil then
    local retry = event.retry
    if type(retry) ~= "number" or not (retry >= 0 and retry < 2 ^ 53) or retry % 1 ~= 0 then
      errors.raise("argument", "events:send: retry is a whole number of milliseconds, not %s", tostring(retry))
    end
    lines[#lines + 1] = ("retry: %.0f"):format(retry)
  end
  if event.data ~= nil then
    -- Any of CR LF, CR and LF ends a line there.
    local data = tostring(event.data):gsub("\r\n?", "\n")
    for line in (data .. "\n"):gmatch "(.-)\n" do
      lines[#lines + 1] = "data: " .. line
    end
  end
  if not lines[1] then errors.raise("argument", "events:send: an event has data, event, id or retry") end
  return self.response:write(table.concat(lines, "\n") .. "\n\n")
end

--- Sends a comment, which clients ignore: now and then one keeps proxies from closing, and finds out whether the
--- client is there.
---@param text? string
---@return true? ok
---@return string? message
---@return string? code
function Events:comment(text)
  local lines = {}
  for line in ((text or ""):gsub("\r\n?", "\n") .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = ": " .. line
  end
  return self.response:write(table.concat(lines, "\n") .. "\n\n")
end

function Events:__tostring()
  return "moonring.http.Events(" .. tostring(self.response) .. ")"
end

return M
