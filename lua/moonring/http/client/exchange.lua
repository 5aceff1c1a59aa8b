--- moonring.http.client.exchange: one request and its response over one connection.
--
-- While the request's content goes out, the answer is listened for: a server that refuses it early is heard, and the rest of
-- the content is not sent.

local native = require "moonring.native"
local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local operation = require "moonring.operation"
local connections = require "moonring.net.connection"
local codec = require "moonring.http.codec"

local C = native.C

local M = {
  -- Seconds that a request with Expect: 100-continue waits for a word before it sends its content all the same (RFC
  -- 9110 section
  -- 10.1.1).
  CONTINUE_SECONDS = 1,
}

--- Internal.
---@class moonring.http.ClientExchange
---@field head moonring.http.Head of the response, once it has come
---@field fields string[] name, value, name, value ...
---@field is_reusable boolean whether the connection may carry another request once the body is done
---@field heard boolean whether a byte of the response has come
local Exchange = { __name = "moonring.http.ClientExchange" }
Exchange.__index = Exchange

--- Makes an exchange on a connection.
---@param connection moonring.Connection
---@param method string
---@param limits moonring.http.Limits
---@return moonring.http.ClientExchange
function M.new(connection, method, limits)
  return setmetatable({
    connection = connection,
    method = method,
    limits = limits,
    head = codec.new_head(true),
    body = codec.new_body(),
    fields = {},
    view = false,
    heard = false,
    has_head = false,
    is_reusable = false,
    sent_all = true,
    failure = false, -- message and code of a write that failed
  }, Exchange)
end

local function copy_fields(head)
  local out = {}
  for name, value in head:fields() do
    out[#out + 1] = name
    out[#out + 1] = value
  end
  return out
end

-- Makes what it can of the received bytes. Result: true when the final head is there, nil for more; or false, message, code.
local function read_head(self)
  local input = self.connection:input_buffer()
  while input.limit_ > input.position_ do
    self.heard = true
    local done, _, message = codec.read_response(input, self.head, self.method, self.limits)
    if done == nil then return nil end
    if not done then return false, "the response can't be used: " .. message, "EBADMSG" end
    if codec.is_interim(self.head) then
      if self.head.status == 100 then self.may_continue = true end
    else
      self.has_head = true
      self.status, self.reason = self.head.status, self.head:reason()
      self.version = self.head.minor_version == 0 and "1.0" or "1.1"
      self.fields = copy_fields(self.head)
      self.body:begin(self.head, self.limits)
      self.is_reusable = self.head.keep_alive and self.sent_all
      return true
    end
  end
  return nil
end

local function ended(self, message, code)
  local failure = self.failure
  if failure then return nil, failure[1], failure[2] end
  return nil, message or "the server has closed the connection before it answered", code or "ECONNRESET"
end

-- Waits for more bytes behind those that are left.
local function more_input(self, max)
  local connection = self.connection
  local input = connection:input_buffer()
  if input.limit_ > input.position_ then
    local more, message, code = connection:extend(input, max)
    if more == false then return nil, "the response's head is longer than the limit head_bytes", "EMSGSIZE" end
    return more, message, code
  end
  return connection:read()
end

--- Waits for the final head.
---@return true? ok
---@return string? message
---@return string? code
function Exchange:await_head()
  while not self.has_head do
    local done, message, code = read_head(self)
    if done == false then return nil, message, code end
    if not done then
      local more
      more, message, code = more_input(self, self.limits.head_bytes)
      if not more then return ended(self, message, code) end
    end
  end
  return true
end

-- Sending -------------------------------------------------------------------------------------------------------------

-- The connection takes no more. That the server has answered and closed is no failure of the request, so the answer is
-- looked for.
local function note_failure(self, message, code)
  self.failure, self.sent_all = { message, code }, false
  return false
end

-- Waits for room, and listens meanwhile. Result: whether to go on sending.
local function await_room(self)
  local connection = self.connection
  while connection:queued() > connections.WRITE_LOW do
    local name, result, message, code = operation.select { room = connection:drain_op(), answer = connection:read_op() }
    if name == "room" then
      if not result then return note_failure(self, message, code) end
      return true
    end
    if not result then
      return note_failure(self, message or "the server has closed the connection", code or "ECONNRESET")
    end
    local done, problem, problem_code = read_head(self)
    if done == false then return note_failure(self, problem, problem_code) end
    if done then
      self.sent_all, self.is_reusable = false, false
      return false
    end
    -- Half a head: the operation would let go of it.
    if connection:input_buffer().limit_ > connection:input_buffer().position_ then
      local ok
      ok, message, code = connection:drain()
      if not ok then return note_failure(self, message, code) end
      return true
    end
  end
  return true
end

-- One piece of the content as it is. Result: whether to go on.
local function send_piece(self, data)
  local queued, message, code = self.connection:queue(data)
  if not queued then return note_failure(self, message, code) end
  if queued > connections.WRITE_HIGH then return await_room(self) end
  return true
end

local PIECE_BYTES = 131072

local function send_string(self, text)
  for at = 1, #text, PIECE_BYTES do
    if not send_piece(self, #text <= PIECE_BYTES and text or text:sub(at, at + PIECE_BYTES - 1)) then return false end
  end
  return true
end

local function send_whole(self, data)
  if type(data) == "string" then return send_string(self, data) end
  local view = data:slice()
  local ok = send_piece(self, view)
  view:release()
  return ok
end

-- Content that a function writes piece by piece.
local function send_stream(self, write_content, content_length)
  local connection, left, stopped = self.connection, content_length, false
  local function write(data)
    if type(data) ~= "string" and not buffer.is(data) then
      errors.raise("argument", "http.request: body writes strings or buffers, not a %s", type(data))
    end
    local length = #data
    if left then
      left = left - length
      if left < 0 then errors.raise("argument", "http.request: the body is longer than its content_length") end
    end
    if stopped or length == 0 then return not stopped end
    local ok = true
    if not left then ok = send_piece(self, codec.chunk_line(length)) end
    ok = ok and send_whole(self, data)
    if ok and not left then ok = send_piece(self, "\r\n") end
    stopped = not ok
    return ok
  end
  write_content(write)
  if stopped then return false end
  if left and left > 0 then
    errors.raise("argument", "http.request: the body is %d bytes short of its content_length", left)
  end
  if left then return true end
  local ok, message, code = codec.write_last_chunk(connection)
  if not ok then return note_failure(self, message, code) end
  return true
end

-- Waits for "100 Continue", a final answer, or the time to be over. Result: whether to send the content.
local function await_continue(self)
  local connection = self.connection
  local name, result = operation.select { answer = connection:read_op(), late = operation.sleep_op(M.CONTINUE_SECONDS) }
  if name == "late" then return true end
  if not result then return true end -- the write will tell
  while true do
    local done, message, code = read_head(self)
    if done == false then return note_failure(self, message, code) end
    if done or self.may_continue then break end
    local more
    more, message, code = more_input(self, self.limits.head_bytes)
    if not more then return note_failure(self, message, code) end
  end
  if self.has_head then self.sent_all, self.is_reusable = false, false end
  return not self.has_head
end

--- Internal.
---@class moonring.http.WireRequest: moonring.http.RequestHead
---@field body? string|moonring.Buffer|function
---@field expect_continue? boolean

--- Sends a request. Result: true, also when the server has answered before all was sent; or nil, message, code.
---@param request moonring.http.WireRequest
function Exchange:send(request)
  local queued, message, code = codec.write_request(self.connection, request)
  if not queued then
    note_failure(self, message, code)
    return nil, message, code
  end
  local body = request.body
  if not body then return true end
  if request.expect_continue and not await_continue(self) then return true end
  if type(body) == "function" then
    send_stream(self, body, request.content_length)
  else
    send_whole(self, body)
  end
  return true
end

-- The content -----------------------------------------------------------------------------------------------------------

-- Waits for more of the content. Result: true; false at its end; nil, message, code.
local function more_content(self)
  local more, message, code = more_input(self, self.limits.trailer_bytes)
  if more then return true end
  self.is_reusable = false
  if not message and self.body:end_of_stream() then return false end
  return nil, message or "the server has closed the connection before the content was complete", code or "ECONNRESET"
end

--- Waits for the next part of the content as it lies in the connection's buffer. Lent until the next call.
---@return moonring.Buffer? part nil at the end
---@return string? message
---@return string? code
function Exchange:read()
  local body, input = self.body, self.connection:input_buffer()
  while true do
    local count, at, problem = body:next(input)
    if count == nil then
      local more, message, code = more_content(self)
      if not more then return nil, message, code end
    elseif not count then
      self.is_reusable = false
      return nil, "the response can't be used: " .. problem, at == 413 and "EMSGSIZE" or "EBADMSG"
    elseif count == 0 then
      return nil
    else
      self.view = self.view or buffer.new()
      return codec.view_of(self.view, input, at, count)
    end
  end
end

--- Whether the connection is free for another request: all has been sent and received, and nothing more has come.
---@return boolean
function Exchange:is_done()
  local input = self.connection.input
  return self.is_reusable and self.body:is_done() and not (input and input.limit_ > input.position_)
end

--- Lets go of what it holds of the connection's memory.
function Exchange:release()
  if self.view then C.mr_buffer_release(self.view) end
end

return M
