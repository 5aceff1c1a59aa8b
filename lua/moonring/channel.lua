-- moonring.channel: values handed from task to task, in order, at most `capacity` of them under way.
--
-- A sender waits while the channel is full, a receiver while it is empty; with capacity 0 they meet. A value is given
-- to the longest waiting receiver and to no other, and one that has been taken is returned, whatever happens to its
-- receiver meanwhile. Closing lets receivers have what is in there, and then ends their iterations.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local waiters = require "moonring.waiters"
local operation = require "moonring.operation"

local DELIVERED = scheduler.DELIVERED

---@class moonring.Channel
local Channel = { __name = "moonring.Channel" }
Channel.__index = Channel

local M = { Channel = Channel }

--- Makes a channel.
---@param capacity? integer values that wait in it for a receiver, default 0
---@return moonring.Channel
function M.new(capacity)
  capacity = capacity or 0
  if type(capacity) ~= "number" or capacity ~= capacity or capacity < 0 then
    errors.raise("argument", "moonring.channel: a capacity from 0 on is needed, not %s", tostring(capacity))
  end
  return setmetatable({
    capacity = capacity,
    first = 1, -- of the values that wait, kept in the array part
    last = 0,
    is_closed = false,
    senders = waiters.new "channel:send",
    receivers = waiters.new "channel:receive",
  }, Channel)
end

-- A sender that has waited gets rid of its value.
local function take_from_sender(self)
  local sender = self.senders:peek()
  if not sender then return nil end
  local value = sender[DELIVERED]
  self.senders:wake_first(true)
  return value
end

local function refuse_closed()
  return nil, "channel:send: the channel has been closed", "closed"
end

-- Returns true, or nil and why, or false when it has to wait.
local function try_send(self, value)
  if self.is_closed then return nil end
  if self.receivers:wake_first(value) then return true end
  if self.last - self.first + 1 < self.capacity then
    local last = self.last + 1
    self.last = last
    self[last] = value
    return true
  end
  return false
end

-- Returns the value; nil when it is closed, and then true as the second result.
local function try_receive(self)
  local first = self.first
  if first <= self.last then
    local value = self[first]
    self[first] = nil
    self.first = first + 1
    local following = take_from_sender(self)
    if following ~= nil then
      self.last = self.last + 1
      self[self.last] = following
    elseif self.first > self.last then
      self.first, self.last = 1, 0
    end
    return value
  end
  local value = take_from_sender(self)
  if value == nil then return nil, self.is_closed end
  return value
end

local function check_value(value)
  if value == nil then errors.raise("argument", "channel:send: nil is what a closed channel gives; send another value") end
end

--- Hands a value in. Waits while the channel is full.
---@param value any not nil
---@return true? ok nil when the channel has been closed, before or while this waited
---@return string? message
---@return string? code "closed"
function Channel:send(value)
  check_value(value)
  scheduler.check()
  local sent = try_send(self, value)
  if sent == false then
    local me = scheduler.require_task "channel:send"
    me[DELIVERED] = value
    sent = self.senders:wait()
  end
  if not sent then return refuse_closed() end
  return true
end

--- Takes the next value. Waits while there is none.
---@return any? value nil when the channel has been closed and is empty
function Channel:receive()
  scheduler.check()
  local value, is_closed = try_receive(self)
  if value ~= nil or is_closed then return value end
  return self.receivers:wait()
end

--- Takes the next value if there is one. Never waits.
---@return any? value
---@return boolean is_open false when there will never be one again
function Channel:try_receive()
  local value, is_closed = try_receive(self)
  return value, not is_closed
end

--- Hands a value in if that is possible without waiting.
---@return boolean
function Channel:try_send(value)
  check_value(value)
  return try_send(self, value) == true
end

--- Iterates over the values until the channel is closed and empty: `for value in channel:values() do`.
function Channel:values()
  return Channel.receive, self
end

--- How many values wait in it.
---@return integer
function Channel:count()
  return self.last - self.first + 1
end

--- Takes no more values. Receivers get what is in there, and then nil; senders that wait fail with "closed". Closing
--- again does nothing.
function Channel:close()
  if self.is_closed then return end
  self.is_closed = true
  self.receivers:wake_all(nil)
  self.senders:wake_all(nil)
end

function Channel:__tostring()
  return ("moonring.Channel(%d of %s%s)"):format(self:count(), self.capacity, self.is_closed and ", closed" or "")
end

local Receive = operation.class("moonring.Operation.Receive", {
  describe = function() return "channel:receive" end,
  try = function(self)
    local value, is_closed = try_receive(self.channel)
    return value ~= nil or is_closed, value
  end,
  block = function(self, case) self.channel.receivers:add(case) end,
  withdraw = function(self, case) self.channel.receivers:remove(case) end,
})

local Send = operation.class("moonring.Operation.Send", {
  describe = function() return "channel:send" end,
  try = function(self)
    local sent = try_send(self.channel, self.value)
    if sent == nil then return true, refuse_closed() end
    return sent, sent
  end,
  block = function(self, case)
    case[DELIVERED] = self.value
    self.channel.senders:add(case)
  end,
  withdraw = function(self, case) self.channel.senders:remove(case) end,
  finish = function(_, _, sent)
    if not sent then return refuse_closed() end
    return true
  end,
})

--- receive as an operation for moonring.select.
---@return moonring.Operation
function Channel:receive_op()
  return setmetatable({ channel = self }, Receive)
end

--- send as an operation for moonring.select.
---@return moonring.Operation
function Channel:send_op(value)
  check_value(value)
  return setmetatable({ channel = self, value = value }, Send)
end

return M
