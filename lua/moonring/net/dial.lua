-- moonring.net.dial: one connection out of several addresses, by happy eyeballs (RFC 8305).
--
-- The addresses come in the order of preference. Families take turns, beginning with the first one's; an attempt begins
-- when the one before has failed or has had 250 ms; the first that connects wins, and the others are cancelled and
-- closed. A broken family costs a quarter of a second instead of a timeout.

local errors = require "moonring.errors"
local task = require "moonring.task"
local operation = require "moonring.operation"
local channel = require "moonring.channel"
local connections = require "moonring.net.connection"

local M = {
  ATTEMPT_DELAY = 0.25, -- seconds; RFC 8305 section 5, "Connection Attempt Delay"
}

--- Lets the families take turns, each in its own order (RFC 8305 section 4). Internal.
---@param addresses moonring.Address[]
---@return moonring.Address[]
function M.interleave(addresses)
  local groups, order = {}, {}
  for _, each in ipairs(addresses) do
    local group = groups[each.kind]
    if not group then
      group = {}
      groups[each.kind] = group
      order[#order + 1] = group
    end
    group[#group + 1] = each
  end
  local out = {}
  for i = 1, #addresses do
    for _, group in ipairs(order) do
      out[#out + 1] = group[i]
    end
  end
  return out
end

local function attempt(outcomes, peer, given, own)
  local connection, message, code = connections.connect(peer, given, own)
  outcomes:send { connection = connection, message = message, code = code } -- there is room: it doesn't wait
end

-- Connections that nobody has taken: of attempts that came second, or of a dial that was cancelled.
local Leftovers = {}
Leftovers.__index = Leftovers

function Leftovers:close()
  local outcome = self.outcomes:try_receive()
  while outcome do
    if outcome.connection then outcome.connection:close(0) end
    outcome = self.outcomes:try_receive()
  end
end

-- The next outcome, or nil when the attempt before has had its time.
local function await(outcomes, more)
  if not more then return outcomes:receive() end
  local name, outcome = operation.select { ended = outcomes:receive_op(), late = operation.sleep_op(M.ATTEMPT_DELAY) }
  return name == "ended" and outcome or nil
end

-- What all attempts together have failed with: the code is the preferred address's.
local function refuse(failures, what)
  local first = failures[1]
  if #failures == 1 then return nil, first.message, first.code end
  local messages = {}
  for i, each in ipairs(failures) do
    messages[i] = each.message
  end
  return nil, ("connect to %s: all %d addresses have failed: %s"):format(what, #failures, table.concat(messages, "; ")),
    first.code
end

-- `won` gets the connection as well: the scope may be cancelled while it waits for the other attempts, and then nobody
-- hears what this returns.
local function race(scope, won, addresses, what, given, own)
  local outcomes = channel.new(#addresses)
  scope:own(setmetatable({ outcomes = outcomes }, Leftovers))
  local attempts, failures, running = {}, {}, 0
  local next_one = 1
  while true do
    if addresses[next_one] then
      attempts[next_one] = scope:spawn(attempt, outcomes, addresses[next_one], given, own)
      next_one, running = next_one + 1, running + 1
    end
    local outcome = await(outcomes, addresses[next_one])
    while outcome do
      if outcome.connection then
        for _, each in ipairs(attempts) do
          each:cancel()
        end
        won.connection = outcome.connection
        return outcome.connection
      end
      running = running - 1
      failures[#failures + 1] = outcome
      if addresses[next_one] then break end -- a failure lets the next one begin at once
      if running == 0 then return refuse(failures, what) end
      outcome = await(outcomes, false)
    end
  end
end

--- Connects to one of several addresses. Deadline and cancellation are the scope's.
---@param addresses moonring.Address[] the preferred one first
---@param what string the name that they belong to, for errors
---@param given? table options, see moonring.net.connection, connect
---@param own? table<string, boolean>
---@return moonring.Connection? connection
---@return string? message
---@return string? code of the preferred address
function M.connect(addresses, what, given, own)
  if not addresses[1] then errors.raise("argument", "dial.connect: at least one address is needed") end
  if not addresses[2] then return connections.connect(addresses[1], given, own) end
  local won = {}
  local ok, connection, message, code = pcall(task.open_scope, race, won, M.interleave(addresses), what, given, own)
  if ok then return connection, message, code end
  if won.connection then won.connection:close(0) end
  error(connection, 0)
end

return M
