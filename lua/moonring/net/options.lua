-- moonring.net.options: the options of sockets, one table for listeners, connecting and open connections.
--
-- A name stands for the same thing everywhere. Which of them a socket takes in its state the kernel decides, and its
-- refusal is told with the option's name.

local native = require "moonring.native"
local errors = require "moonring.errors"

local C, ffi = native.C, native.ffi

local M = {}

---@class moonring.SocketOptions
---@field nodelay? boolean
---@field keepalive? boolean
---@field keepalive_idle? integer seconds
---@field keepalive_interval? integer seconds
---@field keepalive_count? integer
---@field linger? integer|false seconds; 0: close resets
---@field send_buffer? integer bytes
---@field receive_buffer? integer bytes
---@field reuse_address? boolean
---@field reuse_port? boolean SO_REUSEPORT: several processes may listen on the same port
---@field fast_open? integer|boolean length of a listener's queue; true to connect
---@field defer_accept? integer seconds
---@field ipv6_only? boolean
---@field user_timeout? number seconds
---@field device? string name of a network interface

local function boolean(value)
  if type(value) == "boolean" then return value and 1 or 0 end
end

local function whole(value)
  if type(value) == "number" and value >= 0 and value <= 0x7fffffff and value % 1 == 0 then return value end
end

local function to_boolean(value)
  return value ~= 0
end

local function same(value)
  return value
end

-- An option's name in C, what its value must be (as errors say it), and the ways to the kernel's number and back.
local function option(name, wanted, write, read)
  return { number = tonumber(C["MR_OPTION_" .. name]), wanted = wanted, write = write, read = read }
end

local table_of = {
  nodelay = option("NODELAY", "true or false", boolean, to_boolean),
  keepalive = option("KEEPALIVE", "true or false", boolean, to_boolean),
  keepalive_idle = option("KEEPALIVE_IDLE", "whole seconds", whole, same),
  keepalive_interval = option("KEEPALIVE_INTERVAL", "whole seconds", whole, same),
  keepalive_count = option("KEEPALIVE_COUNT", "a count", whole, same),
  linger = option("LINGER", "whole seconds, or false", function(value)
    if value == false then return -1 end
    return whole(value)
  end, function(value) return value >= 0 and value end),
  send_buffer = option("SEND_BUFFER", "bytes", whole, same),
  receive_buffer = option("RECEIVE_BUFFER", "bytes", whole, same),
  reuse_address = option("REUSE_ADDRESS", "true or false", boolean, to_boolean),
  reuse_port = option("REUSE_PORT", "true or false", boolean, to_boolean),
  fast_open = option("FAST_OPEN", "the queue's length for a listener, true or false to connect", function(value)
    return boolean(value) or whole(value)
  end, same),
  defer_accept = option("DEFER_ACCEPT", "whole seconds", whole, same),
  ipv6_only = option("IPV6_ONLY", "true or false", boolean, to_boolean),
  user_timeout = option("USER_TIMEOUT", "seconds", function(value)
    if type(value) == "number" and value >= 0 and value <= 2147483 then return math.ceil(value * 1000) end
  end, function(value) return value / 1000 end),
  device = option("DEVICE", "the name of a network interface of this machine", function(value)
    if type(value) ~= "string" then return nil end
    local index = C.mr_interface_index(value)
    return index ~= 0 and index or nil
  end, same),
}

local names = {}
for name in pairs(table_of) do
  names[#names + 1] = name
end
table.sort(names)

local function number_of(what, name, value)
  local entry = table_of[name]
  local number = entry.write(value)
  if not number then
    errors.raise("argument", "%s: %s is %s, not %s", what, name, entry.wanted, tostring(value))
  end
  return number
end

local nothing = {}

--- Raises "argument" for options that are no table. Internal.
function M.check_table(what, given)
  if type(given) ~= "table" then
    errors.raise("argument", "%s: a table of options is needed, not a %s", what, type(given))
  end
end

--- Raises for names that are neither the socket's options nor keys of one of the tables. Internal.
---@param ... table<string, any>
function M.check_names(what, given, ...)
  for name in pairs(given) do
    local known = table_of[name]
    for i = 1, select("#", ...) do
      known = known or select(i, ...)[name]
    end
    if not known then errors.refuse_option(what, name, table_of, ...) end
  end
end

--- Checks a table of options, and makes the list for C of those that are the socket's. own: the names of the others
--- that `what` takes. Internal.
---@return ffi.cdata*? list nil when there are none
---@return integer count
function M.compile(what, given, own)
  own = own or nothing
  local count = 0
  M.check_names(what, given, own)
  for name in pairs(given) do
    if table_of[name] then count = count + 1 end
  end
  if count == 0 then return nil, 0 end
  local list, i = ffi.new("mr_option[?]", count), 0
  for _, name in ipairs(names) do -- the order is the same in every run
    if given[name] ~= nil then
      list[i].name, list[i].value = table_of[name].number, number_of(what, name, given[name])
      i = i + 1
    end
  end
  return list, count
end

--- What was tried, with the option that was refused, if one was. Internal.
function M.explain(doing, list, count)
  for i = 0, count - 1 do
    if list[i].error ~= 0 then
      for _, name in ipairs(names) do
        if table_of[name].number == list[i].name then return ("%s, option %s"):format(doing, name) end
      end
    end
  end
  return doing
end

--- Sets options by set(handle, slot, option, value). Result: true; nil, message, code with the option's name. Those
--- before it stay set. Internal.
function M.set(what, owner, set, given)
  M.check_table(what, given)
  local list, count = M.compile(what, given)
  for i = 0, count - 1 do
    list[i].error = set(owner.handle, owner.slot, list[i].name, list[i].value)
    if list[i].error < 0 then return errors.world(list[i].error, M.explain(what, list, count)) end
  end
  return true
end

local value = ffi.new("int32_t[1]")

--- Reads one back by get(handle, slot, option, value). Internal.
function M.get(what, owner, get, name)
  local entry = table_of[name]
  if not entry then errors.refuse_option(what, name, table_of) end
  local result = get(owner.handle, owner.slot, entry.number, value)
  if result < 0 then return errors.world(result, ("%s, option %s"):format(what, name)) end
  return entry.read(value[0])
end

return M
