-- moonring.http.response.fields: the fields of a response: those of the call that sends it, and those set before. Internal.

local errors = require "moonring.errors"
local codec = require "moonring.http.codec"
local core = require "moonring.http.response.core"

local Response, unanswered = core.Response, core.unanswered

local M = {
  PLAIN_TEXT = "text/plain; charset=utf-8",
}
local PLAIN_TEXT = M.PLAIN_TEXT

local function add(list, name, value)
  list[#list + 1] = name
  list[#list + 1] = value
end

local function add_all(list, name, value)
  if type(value) == "table" then
    for _, each in ipairs(value) do
      add(list, name, each)
    end
  else
    add(list, name, value)
  end
end

local function is_content_type(name)
  return name == "Content-Type" or type(name) == "string" and #name == 12 and name:lower() == "content-type"
end

-- One field of a call's: Content-Type has its own place in a response, the others become a list.
local function take(content_type, list, name, value)
  if is_content_type(name) then return value, list end
  list = list or {}
  add_all(list, name, value)
  return content_type, list
end

local function take_all(content_type, list, fields, name)
  for each, value in next, fields, name do
    content_type, list = take(content_type, list, each, value)
  end
  return content_type, list
end

-- The fields of a call. Up to three without a loop: one of few rounds would keep the server's from being compiled.
local function split_fields(fields, content_type)
  local list, name, value = nil, next(fields)
  if name == nil then return content_type, nil end
  content_type, list = take(content_type, list, name, value)
  name, value = next(fields, name)
  if name == nil then return content_type, list end
  content_type, list = take(content_type, list, name, value)
  name, value = next(fields, name)
  if name == nil then return content_type, list end
  content_type, list = take(content_type, list, name, value)
  if next(fields, name) == nil then return content_type, list end
  return take_all(content_type, list, fields, name)
end

-- Those of the call, and those that were set before and have none of their name among them. Names are taken in any case.
-- Vary is a list to which a handler adds what its answer depends on, whatever middleware has said.
local function join_fields(list, set)
  local given = {}
  for number = 1, #list, 2 do
    given[tostring(list[number]):lower()] = true
  end
  for number = 1, #set, 2 do
    local name = set[number]:lower()
    if not given[name] or name == "vary" then add(list, set[number], set[number + 1]) end
  end
  return list
end

-- Content type and list of the response to come. The list may be the exchange's own, and is not to be changed.
local function merge_fields(exchange, fields, default_type)
  local set = exchange.fields or nil
  local content_type = exchange.content_type or default_type or PLAIN_TEXT
  if fields == nil then return content_type, set end
  if type(fields) ~= "table" then
    errors.raise("argument", "response: the fields are a table of name = value, not a %s", type(fields))
  end
  local list
  content_type, list = split_fields(fields, content_type)
  if not set or not list then return content_type, list or set end
  return content_type, join_fields(list, set)
end

local function check_name(what, name)
  if type(name) ~= "string" or not codec.is_token(name) then
    errors.raise("argument", "response:%s: field name %q is not a token", what, tostring(name))
  end
end

local function remove_field(list, name)
  local kept, lower = {}, name:lower()
  for number = 1, #list, 2 do
    if list[number]:lower() ~= lower then add(kept, list[number], list[number + 1]) end
  end
  return kept
end

--- Sets the status of the response to come, where the call that sends it names none.
---@param status integer
---@return moonring.http.Response self
function Response:set_status(status)
  local exchange = unanswered(self, "set_status")
  exchange.plain, exchange.status = false, status
  return self
end

--- Sets a field of the response to come, in the place of any of that name; nil takes it away.
---@param name string
---@param value? string
---@return moonring.http.Response self
function Response:set_field(name, value)
  local exchange = unanswered(self, "set_field")
  check_name("set_field", name)
  exchange.plain = false
  if is_content_type(name) then
    exchange.content_type = value or false
    return self
  end
  exchange.fields = exchange.fields and remove_field(exchange.fields, name) or {}
  if value ~= nil then add(exchange.fields, name, value) end
  return self
end

--- Adds a field to the response to come, beside any of that name.
---@param name string
---@param value string
---@return moonring.http.Response self
function Response:add_field(name, value)
  local exchange = unanswered(self, "add_field")
  check_name("add_field", name)
  exchange.plain = false
  exchange.fields = exchange.fields or {}
  add(exchange.fields, name, value)
  return self
end

--- Sets a cookie with the response to come: see moonring.http.codec.cookie for the attributes.
---@param name string
---@param value string
---@param attributes? moonring.http.CookieAttributes
---@return moonring.http.Response self
function Response:set_cookie(name, value, attributes)
  return self:add_field("Set-Cookie", codec.format_cookie(name, value, attributes))
end

-- The fields of a response to come, when its own are a list that nobody may change. As above, they stand before set ones.
local function merge_list(exchange, list)
  local set = exchange.fields
  if not set then return list end
  local all = {}
  for number = 1, #list do
    all[number] = list[number]
  end
  return join_fields(all, set)
end

M.add_all, M.merge, M.merge_list = add_all, merge_fields, merge_list

return M
