-- moonring.http.server: requests of one connection, one after the other, to a handler.
--
-- One flat loop: read a head from what is there, or get more, or wait for the next request. Between requests a
-- connection holds no buffer and none of the objects below; they belong to an exchange, which is taken from a pool
-- with the first byte of a request. Request and response are small handles on the exchange that carry its serial
-- number, so one that a handler keeps too long is told apart from its successor and raises "closed".

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local buffer = require "moonring.buffer"
local connections = require "moonring.net.connection"
local codec = require "moonring.http.codec"

local C, ffi = native.C, native.ffi
local read_head, write_response = codec.read_head, codec.write_response
local WRITE_HIGH = connections.WRITE_HIGH

local M = {
  -- Bytes of an unwanted body that are read and dropped to keep a connection; for a longer one it is closed.
  DISCARD_MAX = 262144,
  -- Seconds that a refused client has to stop sending before the connection is closed under it. Closing at once would
  -- make its system throw the answer away (RFC 9112 section 9.6).
  REFUSAL_LINGER = 2,
}

local PLAIN_TEXT = "text/plain; charset=utf-8"

-- Exchanges -----------------------------------------------------------------------------------------------------------

-- Handlers that don't wait need one exchange between them all: it is kept apart from the pool, where it is quickest
-- to get.
local spare
local idle_exchanges, IDLE_EXCHANGES_MAX = {}, 256

local function new_exchange()
  local exchange = table.remove(idle_exchanges)
  if exchange then return exchange end
  return {
    connection = false, -- whose request it is
    head = codec.new_head(),
    serial = 0, -- grows with each request: what handles are checked against
    body_left = 0, -- bytes of the body that nobody has read
    body_used = false, -- view or held are in use
    answered = false,
    broken = false, -- the connection can't go on
    wants_continue = false,
    view = buffer.new(), -- the part of the body that the handler reads
    held = ffi.new("mr_iovec"), -- keeps the head's bytes while the body is read
    head_held = false,
  }
end

-- Ends what handles and views of the request could still reach.
local function end_request(exchange)
  exchange.serial = exchange.serial + 1
  if exchange.body_used then
    exchange.body_used = false
    C.mr_buffer_release(exchange.view)
    if exchange.head_held then C.mr_iovec_release(exchange.held) end
    exchange.head_held = false
  end
end

local function give_exchange(exchange)
  if not spare then
    spare = exchange
  elseif #idle_exchanges < IDLE_EXCHANGES_MAX then
    idle_exchanges[#idle_exchanges + 1] = exchange
  end
end

-- The same for one whose request did not end as it should have.
local function drop_exchange(exchange)
  end_request(exchange)
  exchange.head:reset()
  exchange.body_left, exchange.wants_continue, exchange.broken = 0, false, false
  give_exchange(exchange)
end

local function live(handle, what)
  local exchange = handle[1]
  if exchange.serial ~= handle[2] then
    errors.raise("closed", "%s: the request has been answered and its handler has ended", what)
  end
  return exchange
end

-- Request -------------------------------------------------------------------------------------------------------------

---@class moonring.http.Request
---@field method string
---@field target string as sent
---@field path string the target up to the query
---@field query? string behind the first "?", as sent
---@field content_length integer bytes of the body
local Request = { __name = "moonring.http.Request" }

--- The value of the first field of that name, in any case; nil when there is none.
---@param name string
---@return string?
function Request:header(name)
  return live(self, "request:header").head:field(name)
end

--- Iterates over all header fields as sent: `for name, value in request:headers() do`.
function Request:headers()
  return live(self, "request:headers").head:fields()
end

-- The head's bytes lie in the buffer that the next read gives back; whoever reads on keeps them.
local function hold_head(exchange)
  if exchange.head_held then return end
  exchange.head_held = C.mr_iovec_clone(exchange.held, exchange.connection.input.memory_) == 0
end

local function read_body(exchange)
  local left = exchange.body_left
  if left == 0 then return nil end
  local connection = exchange.connection
  local input = connection.input
  if exchange.wants_continue then
    exchange.wants_continue = false
    connection:write(codec.continue)
  end
  exchange.body_used = true
  if input.position_ == input.limit_ then
    hold_head(exchange)
    local more, message, code = connection:read()
    if not more then
      exchange.broken = true
      return nil, message or "the client has left before the body was complete", code or "ECONNRESET"
    end
  end
  local position, limit = input.position_, input.limit_
  local stop = limit
  if limit - position > left then stop = position + left end
  C.mr_buffer_release(exchange.view)
  input.limit_ = stop
  C.mr_buffer_slice(exchange.view, input)
  input.limit_ = limit
  input.position_ = stop
  exchange.body_left = left - (stop - position)
  return exchange.view:reset_for_write()
end

--- Waits for the next part of the body. The buffer is lent until the next part is read or the handler ends.
---@return moonring.Buffer? part nil at the end of the body
---@return string? message when the client has left before it
---@return string? code
function Request:read()
  return read_body(live(self, "request:read"))
end

--- Iterates over the parts of the body.
function Request:chunks()
  return Request.read, self
end

--- The whole body, or what is left of it, as a string. Its length is bounded by the server's limit body_bytes.
---@return string? body
---@return string? message
---@return string? code
function Request:body()
  local exchange = live(self, "request:body")
  local parts = {}
  while exchange.body_left > 0 do
    local part, message, code = read_body(exchange)
    if not part then return nil, message, code end
    parts[#parts + 1] = part:to_string()
  end
  return table.concat(parts)
end

local computed = {
  method = function(head) return head:method() end,
  target = function(head) return head:target() end,
  path = function(head) return head:target():match("^[^?]*") end,
  query = function(head) return head:target():match("%?(.*)$") end,
  content_length = function(head) return head.content_length end,
}

function Request:__index(key)
  local method = Request[key]
  if method then return method end
  local compute = computed[key]
  if compute then return compute(live(self, "request." .. key).head) end
end

function Request:__tostring()
  if self[1].serial ~= self[2] then return "moonring.http.Request(ended)" end
  return ("moonring.http.Request(%s %s)"):format(self.method, self.target)
end

-- Response ------------------------------------------------------------------------------------------------------------

---@class moonring.http.Response
local Response = { __name = "moonring.http.Response" }
Response.__index = Response

-- Content-Type has its own place in a response; the other fields become a list. Field names are taken in any case.
local function split_fields(fields)
  local content_type, list = PLAIN_TEXT, {}
  for name, value in pairs(fields) do
    if type(name) == "string" and name:lower() == "content-type" then
      content_type = value
    else
      list[#list + 1] = name
      list[#list + 1] = value
    end
  end
  return content_type, list
end

local HEAD_FIRST_BYTE = 72 -- "H"

local function is_head_request(head)
  return head:base()[0] == HEAD_FIRST_BYTE and head:method() == "HEAD"
end

local function send(exchange, status, body, fields)
  local head = exchange.head
  -- A client that was not told to continue may or may not send the body: what follows can't be told apart.
  if exchange.wants_continue then head.keep_alive = false end
  local content_type, list = PLAIN_TEXT, nil
  if fields then content_type, list = split_fields(fields) end
  local queued, message, code = write_response(exchange.connection, status, content_type, body, head.keep_alive,
    is_head_request(head), list, head.minor_version)
  exchange.answered = true
  if not queued then
    exchange.broken = true
    return nil, message, code
  end
  if queued > WRITE_HIGH then return exchange.connection:drain() end
  return true
end

--- Sends the response: status, body and the length of it.
---@param status integer 200 to 999
---@param body? string
---@param fields? table<string, string> header fields; Content-Type is text/plain unless it is among them
---@return true? ok
---@return string? message
---@return string? code
function Response:send(status, body, fields)
  local exchange = live(self, "response:send")
  if exchange.answered then errors.raise("busy", "response:send: this request has been answered already") end
  return send(exchange, status, body or "", fields)
end

function Response:__tostring()
  if self[1].serial ~= self[2] then return "moonring.http.Response(ended)" end
  return ("moonring.http.Response(%s)"):format(self[1].answered and "sent" or "open")
end

-- The connection ------------------------------------------------------------------------------------------------------

local date_due = 0

-- Once per waiting for bytes rather than per request; a quarter of a second late at most.
local function keep_date(handle)
  local now = C.mr_loop_now(handle)
  if now >= date_due then
    date_due = now + 0.25
    codec.set_date(os.time())
  end
end

local function close_later(connection)
  require("moonring").sleep(M.REFUSAL_LINGER)
  connection:close(0)
end

local function discard_input(scope, connection)
  local closer = scope:spawn(close_later, connection)
  local ok = pcall(function()
    while connection:read() do end
  end)
  closer:cancel()
  return ok
end

-- Ends a connection whose client may still be sending: it gets the answer, and time to notice.
local function close_politely(connection)
  connection:shutdown()
  task.open_scope(discard_input, connection)
  connection:close()
end

local function refuse(exchange, status, message)
  exchange.head.keep_alive = false
  write_response(exchange.connection, status, PLAIN_TEXT, message .. "\n", false)
  close_politely(exchange.connection)
end

-- After the handler: whatever of the body it has not read is in the way of the next request. Whether the connection
-- goes on.
local function finish_request(exchange)
  if not exchange.answered then
    io.stderr:write(("moonring: the handler of %s %s has ended without a response\n"):format(exchange.head:method(),
      exchange.head:target()))
    send(exchange, 500, "Internal Server Error\n")
  end
  local keep = exchange.head.keep_alive and not exchange.broken
  if exchange.body_left > 0 and not exchange.broken then
    if not keep or exchange.body_left > M.DISCARD_MAX then
      end_request(exchange)
      close_politely(exchange.connection)
      return false
    end
    while exchange.body_left > 0 and read_body(exchange) do end
    keep = not exchange.broken
  end
  end_request(exchange)
  return keep
end

-- Serves until the connection ends (returns nothing) or a handler fails (raises). The exchange in progress is kept on
-- the connection for the next call.
local function serve(connection, handler, limits)
  local exchange = connection.exchange
  local input = connection:input_buffer()
  while true do
    if input.limit_ > input.position_ then
      local head = exchange.head
      local done, status, message = read_head(input, head, limits)
      if done then
        local serial = exchange.serial
        exchange.answered = false
        if head.content_length > 0 then
          exchange.body_left = head.content_length
          exchange.wants_continue = head.expect_continue
        end
        handler(setmetatable({ exchange, serial }, Request), setmetatable({ exchange, serial }, Response))
        if exchange.answered and head.keep_alive and exchange.body_left == 0 and not exchange.body_used then
          exchange.serial = serial + 1
        elseif not finish_request(exchange) then
          return
        end
      elseif done == nil then
        if not connection:extend(input, limits.head_bytes) then return end
      else
        return refuse(exchange, status, message)
      end
    else
      if exchange then
        connection.exchange = false
        give_exchange(exchange)
      end
      if not connection:next_input() then return end
      exchange = spare
      if exchange then spare = nil else exchange = new_exchange() end
      exchange.connection = connection
      connection.exchange = exchange
      keep_date(connection.handle)
    end
  end
end

-- A handler has failed: the client gets a 500 when nothing else has been sent. Whether the connection goes on.
local function recover(exchange, failure)
  local text = tostring(failure)
  io.stderr:write(("moonring: the handler of %s %s has failed: %s\n%s\n"):format(exchange.head:method(),
    exchange.head:target(), text, task.traceback_of(failure, task.current()) or ""))
  if not exchange.answered and not exchange.broken then send(exchange, 500, "Internal Server Error\n") end
  return exchange.answered and finish_request(exchange)
end

--- Serves one connection to its end.
---@param connection moonring.Connection
---@param handler function
---@param limits moonring.http.Limits
function M.run(connection, handler, limits)
  local ok, failure
  repeat
    ok, failure = xpcall(serve, task.record_traceback, connection, handler, limits)
    local goes_on = false
    if not ok and connection.exchange and connection.slot and not errors.is(failure, "cancelled") then
      goes_on = recover(connection.exchange, failure)
      ok = true -- reported
    end
  until not goes_on
  if connection.exchange then drop_exchange(connection.exchange) end
  if not ok then error(failure, 0) end
end

return M
