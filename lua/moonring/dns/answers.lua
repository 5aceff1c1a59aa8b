-- moonring.dns.answers: what an answer of a server says about a question, and for how long that may be believed. Internal.

local native = require "moonring.native"
local names = require "moonring.dns.names"
local channels = require "moonring.dns.channel"

local C = native.C

local RECORDS, NO_DATA, NO_NAME = channels.RECORDS, tonumber(C.MR_ANSWER_NO_DATA), tonumber(C.MR_ANSWER_NO_NAME)
local BAD_RESPONSE = tonumber(C.MR_ANSWER_BAD_RESPONSE)

local TTL_MAX = 604800 -- a week (RFC 8767 section 4)
local NEGATIVE_TTL_MAX = 3600 -- RFC 2308 section 5 wants it short

local M = {
  CHAIN_MAX = 16, -- names in a chain of CNAMEs: longer ones are mistakes
}

-- The records of a type in a list, at the end of the chain of CNAMEs that begins with name. Returns them, the name at
-- that end, and the least TTL on the way.
local function pick(answers, name, type)
  local ttl = TTL_MAX
  for _ = 1, M.CHAIN_MAX do
    local found, alias = {}, nil
    for _, record in ipairs(answers) do
      if record.class == 1 and names.normal(record.name) == name then
        if record.type == type or type == "ANY" then
          found[#found + 1] = record
          ttl = math.min(ttl, record.ttl)
        elseif record.type == "CNAME" then
          alias = record
        end
      end
    end
    if found[1] or not alias then return found, name, ttl end
    ttl = math.min(ttl, alias.ttl)
    name = names.normal(alias.target)
  end
  return nil
end

-- How long it may be believed that there is nothing (RFC 2308 section 5); 0 without an SOA record.
local function negative_ttl(message)
  for _, record in ipairs(message and message.authorities or {}) do
    if record.type == "SOA" and record.minimum then
      return math.min(record.ttl, record.minimum, NEGATIVE_TTL_MAX), true
    end
  end
  return 0, false
end

--- What an answer says about a question, as the cache keeps it: `records`, or the `answer` that there are none, or the
--- name that has to be asked for (`alias`); and for how many seconds that is so.
function M.judge(answer, name, type)
  if answer.answer == NO_DATA or answer.answer == NO_NAME then
    return { answer = answer.answer }, (negative_ttl(answer.message))
  elseif answer.answer ~= RECORDS or not answer.message then
    return { answer = answer.answer ~= RECORDS and answer.answer or BAD_RESPONSE, problem = answer.problem }, 0
  end
  local records, last, ttl = pick(answer.message.answers, name, type)
  if not records then return { answer = BAD_RESPONSE, problem = "the chain of CNAMEs does not end" }, 0 end
  if records[1] then return { answer = RECORDS, records = records }, ttl end
  local negative, is_final = negative_ttl(answer.message)
  if is_final then return { answer = NO_DATA }, math.min(ttl, negative) end
  if last ~= name then return { answer = RECORDS, alias = last }, ttl end
  return { answer = NO_DATA }, 0
end

return M
