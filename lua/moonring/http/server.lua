--- moonring.http.server: requests of one connection, one after the other, to a handler.
--
-- One flat loop: read a head from what is there, or get more, or wait for the next request. What happens in the usual
-- request stands in the loop; whatever is rare is in a function of its own and is found by few flags (exchange.plain,
-- head.is_plain).

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local scheduler = require "moonring.scheduler"
local codec = require "moonring.http.codec"
local exchanges = require "moonring.http.exchange"
local deadlines = require "moonring.http.deadlines"
local requests = require "moonring.http.request"
local responses = require "moonring.http.response"

local C, ffi = native.C, native.ffi
local read_request = codec.read_request
local Request, Response = requests.Request, responses.Response
local take_exchange, give_exchange = exchanges.take, exchanges.give
local turn_time = scheduler.turn_time
local due = deadlines.due
local send = responses.send

local M = {
  -- Bytes of an unwanted body that are read and dropped to keep a connection; for a longer one it is closed.
  DISCARD_MAX = 262144,
  -- Seconds that a refused client has to stop sending before the connection is closed under it. Closing at once would
  -- make its system throw the answer away (RFC 9112 section 9.6).
  REFUSAL_LINGER = 2,
  -- Bytes of a line that is no request, in the access log.
  LOGGED_LINE_MAX = 256,
}

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
  if connection.slot then due[connection.slot] = math.huge end -- it has a time of its own
  connection:shutdown()
  task.open_scope(discard_input, connection)
  connection:close()
end

-- Notes what was answered, where a log is kept. `line` is what has come in the place of a request.
local function log_request(exchange, request, line)
  local log = exchange.server.access_log
  if not log then return end
  request = request or setmetatable({ exchange, exchange.serial }, Request)
  local status, bytes = exchange.answered, exchange.sent
  if request.method == "HEAD" or codec.is_bodiless(status) then bytes = 0 end
  log(exchange.connection, request, status, bytes, line and 0 or C.mr_clock_now() - exchange.started, line)
end

-- What stands where a request should have begun, for a log: the start of its first line.
local function first_line(input)
  local length = math.min(input.limit_ - input.position_, M.LOGGED_LINE_MAX)
  return ffi.string(input.data_ + input.position_, length):match "^[^\r\n]*"
end

-- `input` is given where the head itself is at fault.
local function refuse(exchange, status, message, input)
  local server, connection = exchange.server, exchange.connection
  exchange.head.keep_alive = false
  server.refused = server.refused + 1
  local body = message .. "\n"
  codec.write_response(connection, status, responses.PLAIN_TEXT, body, false)
  exchange.answered, exchange.sent = status, #body
  log_request(exchange, nil, input and first_line(input))
  close_politely(connection)
end

-- The error's text for a log: what the request was, where that can still be told.
local function describe(exchange)
  local head = exchange.head
  return ("the handler of %s %s"):format(head:method(), head:target())
end

-- A handler has ended without an answer: the client hears what was wrong with its request, or that we are.
local function answer_instead(exchange)
  local refusal = exchange.refusal
  exchange.fields, exchange.content_type, exchange.status = false, false, false
  if refusal then
    send(exchange, refusal[1], refusal[2] .. "\n")
    return
  end
  if exchange.broken then return end
  exchange.server.failed = exchange.server.failed + 1
  io.stderr:write(("moonring: %s has ended without a response\n"):format(describe(exchange)))
  send(exchange, 500, "Internal Server Error\n")
end

-- Whatever of the body the handler has not read is in the way of the next request. Whether the connection goes on.
local function discard_body(exchange, keep)
  local left = exchange.body.left
  if keep and not exchange.wants_continue and left <= M.DISCARD_MAX then
    local received = exchange.body.received
    while exchange.body_open and exchange.body.received - received <= M.DISCARD_MAX do
      exchanges.read_body(exchange)
    end
    if not exchange.body_open then return not exchange.broken end
  end
  exchanges.finish(exchange)
  close_politely(exchange.connection)
  return false
end

-- After a handler that did more than send: whether the connection goes on; when not, what serves it from here on, if
-- anything does.
local function finish_request(exchange)
  exchange.phase = false
  local upgraded = exchange.upgraded
  if upgraded then
    exchanges.finish(exchange)
    return false, upgraded ~= true and upgraded
  end
  if not exchange.answered then answer_instead(exchange) end
  if responses.is_open(exchange) then responses.finish(exchange) end
  local keep = exchange.head.keep_alive and not exchange.broken
  if exchange.body_open and not exchange.broken then
    exchange.plain = false
    if not discard_body(exchange, keep) then return false end
  elseif exchange.refusal and not keep then
    exchanges.finish(exchange)
    close_politely(exchange.connection)
    return false
  end
  exchanges.finish(exchange)
  return keep
end

-- A part of a head is there: whether more came.
local function await_head(exchange, input, limits)
  local connection = exchange.connection
  exchange.plain = false -- what this wait notes ends with the request
  return deadlines.wait(exchange, "head", connection.extend, connection, input, limits.head_bytes)
end

-- With the handler's own handles, so that whatever it does is seen. Kept apart: the clock is read for each request.
local function handle_logged(exchange, handler, request, response)
  exchange.started = C.mr_clock_now()
  local serial = exchange.serial
  handler(request, response)
  if exchange.serial == serial then
    if not exchange.answered then answer_instead(exchange) end
    if responses.is_open(exchange) then responses.finish(exchange) end
    if exchange.answered then log_request(exchange, request) end
  end
end

-- Serves until the connection ends (returns nothing) or a handler fails (raises). The exchange in progress is kept on the
-- connection for the next call.
local function serve(server, connection, slot, handler)
  local limits, idle_seconds = server.limits, server.timeouts.idle
  local logs = server.access_log
  local exchange = connection.exchange
  local input = connection:input_buffer()
  while true do
    if input.limit_ > input.position_ then
      local head = exchange.head
      local done, status, message = read_request(input, head, limits)
      if done then
        local serial = exchange.serial
        exchange.answered = false
        if head.has_body then exchanges.begin_body(exchange, head, limits) end
        if server.stopping then head.keep_alive = false end
        server.requests = server.requests + 1
        local request = setmetatable({ exchange, serial }, Request)
        local response = setmetatable({ exchange, serial }, Response)
        if logs then
          handle_logged(exchange, handler, request, response)
        else
          handler(request, response)
        end
        if exchange.answered and exchange.plain and head.keep_alive then
          exchange.serial = serial + 1
        else
          local keep, continue = finish_request(exchange)
          if not keep then return continue end
        end
      elseif done == nil then
        if not await_head(exchange, input, limits) then return end
      else
        refuse(exchange, status, message, input)
        return
      end
    else
      if exchange then
        connection.exchange = false
        give_exchange(exchange)
        if server.stopping then return end
      end
      due[slot] = turn_time() + idle_seconds
      if not connection:next_input() then return end
      exchange = take_exchange()
      exchange.connection = connection
      exchange.server = server
      exchange.answered = false
      connection.exchange = exchange
    end
  end
end

local function report(exchange, failure)
  io.stderr:write(("moonring: %s has failed: %s\n%s\n"):format(describe(exchange), task.text_of(failure),
    task.traceback_of(failure, task.current()) or ""))
end

-- A timeout has cut the request short.
local function end_late(exchange)
  local connection = exchange.connection
  if not connection.slot then return end
  if exchange.answered then log_request(exchange) end
  if exchange.timed_out == "write" then
    connection:close(0) -- what is queued nobody takes, and it would pass for the whole of a response
  elseif exchange.answered then
    connection:close()
  else
    -- A head that did not come in time is no request either.
    refuse(exchange, exchange.refusal[1], exchange.refusal[2], exchange.timed_out == "head" and connection.input or nil)
  end
end

-- Whether a handler has failed by handing on what is wrong with its request's body: `assert(request:json())`.
local function is_clients(exchange, failure)
  local complaint = exchange.complaint
  return complaint and tostring(failure):find(complaint, 1, true) ~= nil
end

-- A handler has failed: the client gets a 500 when nothing has been sent, or hears what was wrong with its request. A
-- response that has been begun can't be told from a whole one unless the connection ends before its end. Whether the
-- connection goes on.
local function recover(exchange, failure)
  exchange.phase = false
  local is_ours = not is_clients(exchange, failure)
  if is_ours then
    exchange.server.failed = exchange.server.failed + 1
    report(exchange, failure)
  end
  if responses.is_open(exchange) then
    exchange.broken = true
    log_request(exchange)
    exchange.connection:close(0)
    return false
  end
  if not exchange.answered then
    exchange.fields, exchange.content_type, exchange.status = false, false, false
    if exchange.refusal and not is_ours then
      send(exchange, exchange.refusal[1], exchange.refusal[2] .. "\n")
    elseif not exchange.broken then
      send(exchange, 500, "Internal Server Error\n")
    end
  end
  if not exchange.answered then return false end
  log_request(exchange)
  return finish_request(exchange)
end

-- Serves on, after the handler has failed if it has.
local function go_on(server, connection, slot, handler, failed, failure)
  if failed then
    local exchange = connection.exchange
    exchange.recovering = true -- what fails now is not tried again
    if exchange.timed_out and errors.is(failure, "deadline") then
      end_late(exchange)
      return
    end
    if not recover(exchange, failure) then return end
    exchange.recovering = false
  end
  return serve(server, connection, slot, handler)
end

-- The connection speaks another protocol now, and nothing of HTTP is held for it. What it does is not timed here.
local function serve_on(connection, slot, continue)
  deadlines.due[slot] = math.huge
  connection.is_upgraded = true
  return xpcall(continue, task.record_traceback, connection, connection.input)
end

-- Whether an error is that of a handler, after which its connection may go on.
local function is_recoverable(connection, failure)
  local exchange = connection.exchange
  return exchange and connection.slot and not exchange.recovering and not errors.is(failure, "cancelled")
end

--- Serves one connection to its end.
---@param server moonring.http.Server
---@param connection moonring.Connection
---@param handler function
function M.run(server, connection, handler)
  local slot = connection.slot
  deadlines.open(server, connection, task.current())
  server.connections = server.connections + 1
  local ok, failure, failed -- where ok, failure is what serves the connection from here on
  repeat
    ok, failure = xpcall(go_on, task.record_traceback, server, connection, slot, handler, failed, failure)
    failed = not ok and is_recoverable(connection, failure)
  until not failed
  -- One that was idle is closed by a timeout, or by the end of the server.
  if not ok and not connection.exchange and errors.is(failure, "closed") then ok, failure = true, nil end
  if connection.exchange then
    exchanges.drop(connection.exchange)
    connection.exchange = false
  end
  if ok and failure then ok, failure = serve_on(connection, slot, failure) end
  deadlines.close(connection, slot)
  server.connections = server.connections - 1
  if server.on_end then server.on_end(server) end
  if not ok then error(failure, 0) end
end

return M
