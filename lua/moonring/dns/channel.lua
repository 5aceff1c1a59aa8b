-- moonring.dns.channel: questions to one list of servers, and who waits for their answers. Internal.
--
-- A lookup is a question in flight. Whoever asks for the same name and type meanwhile waits for the same lookup; when
-- the last of them has been cancelled the question is given up. Its answer is decoded once, by the event that brings it,
-- and handed to all.

local native = require "moonring.native"
local errors = require "moonring.errors"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"
local memory = require "moonring.memory"
local waiters = require "moonring.waiters"
local codec = require "moonring.dns.codec"

local C, ffi = native.C, native.ffi
local ENOMEM = -12
local RECORDS = tonumber(C.MR_ANSWER_RECORDS)

local M = {}

local channels = setmetatable({}, { __mode = "v" }) -- by slot

local Channel = {}
Channel.__index = Channel

--- Opens a channel to servers, as moonring.dns.system's parse_server gives them.
function M.open(configuration)
  local handle = loop.handle()
  local options = ffi.new("mr_resolver_options", {
    timeout = configuration.timeout,
    attempts = configuration.attempts,
    rotate = configuration.rotate and 1 or 0,
  })
  local slot = C.mr_resolver_open(handle, table.concat(configuration.servers, ","), options)
  if slot < 0 then
    local _, message, code = errors.world(slot, "open a resolver")
    errors.raise(code, "%s", message)
  end
  local self = setmetatable({ handle = handle, slot = slot, lookups = {}, count = 0 }, Channel)
  self.guard = ffi.gc(ffi.new("mr_guard"), C.mr_resolver_guard_release)
  C.mr_resolver_guard(handle, slot, self.guard)
  channels[slot] = self
  return self
end

-- Lookups -------------------------------------------------------------------------------------------------------------

local Lookup = {}
Lookup.__index = Lookup

function Lookup:__tostring()
  return ("the answer to %s %s"):format(self.name, self.type)
end

local function forget(lookup)
  local channel = lookup.channel
  channel.lookups[lookup.question] = nil
  channel.count = channel.count - 1
  lookup.on_end(lookup)
end

-- Called when a waiting task is cancelled.
function Lookup:withdraw(waiter)
  self.waiters:remove(waiter)
  if not self.question or not self.waiters:is_empty() then return end
  C.mr_resolver_abandon(self.channel.handle, self.question)
  forget(self)
  self.question = nil
  self.channel:close_when_idle()
end

--- Waits for the answer: a table with `answer` (mr_answer), and the `message` where there is one. Raises "closed".
function Lookup:wait()
  local answer = self.waiters:wait(self)
  if not answer then errors.raise("closed", "dns.query: the resolver has been closed") end
  return answer
end

local function deliver(lookup, answer)
  forget(lookup)
  lookup.question = nil
  lookup.waiters:wake_all(answer)
end

--- Asks. on_answer(lookup, answer) and on_end(lookup) are called from the scheduler, before anybody who waits goes on;
--- on_end also when the question has been given up.
function Channel:ask(name, type, on_answer, on_end)
  local number = codec.type_number(type)
  local question = C.mr_resolver_ask(self.handle, self.slot, name, number)
  if question == ENOMEM then
    question = memory.try_again(C.mr_resolver_ask, self.handle, self.slot, name, number)
  end
  if question < 0 then return nil end
  local lookup = setmetatable({ channel = self, question = question, name = name, type = type,
    waiters = waiters.new "dns.query", on_answer = on_answer, on_end = on_end }, Lookup)
  self.lookups[question] = lookup
  self.count = self.count + 1
  return lookup
end

local received = buffer.new()

local function answer_of(status)
  if not received.is_open then return { answer = status } end
  local message, problem = codec.decode(received)
  received:release()
  if not message then return { answer = tonumber(C.MR_ANSWER_BAD_RESPONSE), problem = problem } end
  return { answer = status, message = message }
end

loop.handlers[tonumber(C.MR_EVENT_RESOLVED)] = function(slot)
  local self = channels[slot]
  if not self or not self.slot then return end
  while true do
    local question = C.mr_resolver_next(self.handle, slot)
    if question < 0 then break end
    local status = C.mr_resolver_take(self.handle, question, received)
    local lookup = self.lookups[question]
    local answer = answer_of(status)
    if lookup then
      lookup.on_answer(lookup, answer)
      deliver(lookup, answer)
    end
  end
  self:close_when_idle()
end

-- The end -------------------------------------------------------------------------------------------------------------

--- No more is asked here: closes with the end of the last lookup.
function Channel:retire()
  self.is_retired = true
  self:close_when_idle()
end

function Channel:close_when_idle()
  if self.is_retired and self.count == 0 then self:close() end
end

--- Closes at once. Who waits gets the error "closed".
function Channel:close()
  local slot = self.slot
  if not slot then return end
  self.slot = false
  for _, lookup in pairs(self.lookups) do
    C.mr_resolver_abandon(self.handle, lookup.question)
    deliver(lookup, false)
  end
  self.guard.loop = nil
  channels[slot] = nil
  C.mr_resolver_close(self.handle, slot)
end

--- Whether it can be asked, in this life of the loop.
function Channel:is_open()
  return self.slot and self.handle == loop.handle() and not self.is_retired
end

M.RECORDS = RECORDS

return M
