-- moonring.net.connection.tuning: what can be set on a connection and seen of it: socket options, marks, statistics.

local native = require "moonring.native"
local errors = require "moonring.errors"
local options = require "moonring.net.options"
local core = require "moonring.net.connection.core"

local C, ffi = native.C, native.ffi
local Connection, refuse_closed = core.Connection, core.refuse_closed

--- Sets socket options: `connection:set { nodelay = false, keepalive = true, user_timeout = 30 }`. See docs/networking.md.
---@param given table<string, any>
---@return true? ok
---@return string? message names the option
---@return string? code "ENOPROTOOPT", "EOPNOTSUPP", "EINVAL", "EPERM", "ENOTSOCK"
function Connection:set(given)
  if not self.slot then refuse_closed("set") end
  return options.set("connection:set", self, C.mr_connection_option_set, given)
end

--- Reads a socket option back, as the kernel has it.
---@param name string
---@return any? value
---@return string? message
---@return string? code
function Connection:get(name)
  if not self.slot then refuse_closed("get") end
  return options.get("connection:get", self, C.mr_connection_option_get, name)
end

local mark_names = { "write_high", "write_low", "read_high", "read_low" }

local function check_marks(given)
  for name, value in pairs(given) do
    local known = false
    for _, each in ipairs(mark_names) do
      known = known or each == name
    end
    if not known then
      errors.raise("argument", "connection:marks: there is no mark '%s'; known are %s", tostring(name),
        table.concat(mark_names, ", "))
    elseif type(value) ~= "number" or not (value >= 0 and value <= 0x7fffffff) then
      errors.raise("argument", "connection:marks: %s is a number of bytes, not %s", name, tostring(value))
    end
  end
end

--- Sets what is given of these, in bytes, and returns all of them: `write_high`, the queued bytes from which on a
--- writer waits (default 262144), and `write_low`, at which it goes on (65536); `read_high`, the unread bytes at which
--- receiving stops (262144), and `read_low`, at which it goes on (65536).
---@param given? table<string, number>
---@return table<string, number>
function Connection:marks(given)
  if not self.slot then refuse_closed("marks") end
  local marks = {
    write_high = self.write_high,
    write_low = self.write_low,
    read_high = self.read_high or C.MR_READ_HIGH,
    read_low = self.read_low or C.MR_READ_LOW,
  }
  if given == nil then return marks end
  check_marks(given)
  for name, value in pairs(given) do
    marks[name] = math.floor(value)
  end
  if marks.write_low > marks.write_high or marks.read_low >= marks.read_high then
    errors.raise("argument", "connection:marks: the low mark must be below the high one: write %d, %d; read %d, %d",
      marks.write_low, marks.write_high, marks.read_low, marks.read_high)
  end
  for name, value in pairs(marks) do
    self[name] = value
  end
  C.mr_connection_read_marks(self.handle, self.slot, marks.read_high, marks.read_low)
  return marks
end

local statistics = ffi.new("mr_connection_statistics")

--- What has gone through it, in bytes: received and sent (by the kernel's account), queued (written, not yet sent), and
--- unread (received, not yet read).
---@return { received: number, sent: number, queued: number, unread: number }
function Connection:statistics()
  if not self.slot then refuse_closed("statistics") end
  C.mr_connection_statistics_get(self.handle, self.slot, statistics)
  local rest = self.rest
  return {
    received = statistics.received,
    sent = statistics.sent,
    queued = statistics.queued,
    unread = statistics.unread + (rest and rest.bytes or 0),
  }
end
