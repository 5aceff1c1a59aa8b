--- Writes HTTP/1.1 responses into a writable (RFC 9110 and 9112), and dates.
--
-- A response takes one reserve and one commit. What repeats is joined once and kept: all up to the length per status
-- and content type ("prefix"), extra fields per name and value ("line"), all behind them per second ("tail"). Putting
-- a response together is then three or four copies and a few digits, which compiles without a loop.

local native = require "moonring.native"
local errors = require "moonring.errors"
local reasons = require "moonring.http.codec.status"
local bit = require "bit"

local C, ffi = native.C, native.ffi
local copy = ffi.copy
local rshift = bit.rshift

local format = {}

local function misuse(text, ...)
  errors.raise("argument", "write_response: " .. text, ...)
end

-- Dates -------------------------------------------------------------------------------------------

local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

local date_second, date_text

--- An IMF-fixdate (RFC 9110 section 5.6.7), in English whatever the locale. The last one is kept.
---@param seconds number since 1970-01-01 00:00:00 UTC
---@return string date such as "Sun, 06 Nov 1994 08:49:37 GMT"
function format.date(seconds)
  seconds = math.floor(seconds)
  if seconds ~= date_second then
    local time = os.date("!*t", seconds)
    date_text = ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
      DAYS[time.wday],
      time.day,
      MONTHS[time.month],
      time.year,
      time.hour,
      time.min,
      time.sec
    )
    date_second = seconds
  end
  return date_text
end

-- All behind the length and the extra fields, by what becomes of the connection. Each begins with the CR LF of the
-- line before it.
local tail_persist, tail_keep_alive, tail_close

local function set_tails(date_line)
  tail_persist = date_line .. "\r\n\r\n"
  tail_keep_alive = date_line .. "\r\nConnection: keep-alive\r\n\r\n"
  tail_close = date_line .. "\r\nConnection: close\r\n\r\n"
end

set_tails ""

--- Sets the Date of the responses to come (RFC 9110 section 6.6.1): call it about once per second. Responses have no
--- Date before the first call, nor after one with nil, as a server without a clock sends them.
---@param seconds? number since 1970-01-01 00:00:00 UTC
function format.set_date(seconds)
  set_tails(seconds and "\r\nDate: " .. format.date(seconds) or "")
end

-- Writing -----------------------------------------------------------------------------------------

local function is_token(text)
  return #text > 0 and C.mr_scan_span(text, #text, C.MR_CLASS_TOKEN) == #text
end

local function is_value(text)
  return C.mr_scan_span(text, #text, C.MR_CLASS_VALUE) == #text
end

--- 204 and 304 end with their head, whatever it says (RFC 9112 section 6.3). A 204 MUST NOT have a Content-Length,
--- and for a 304 it would have to be that of the 200 (RFC 9110 section 8.6), which is not known here.
local function is_bodiless(status)
  return status == 204 or status == 304
end

local PREFIXES_MAX = 512 -- more than a service has pairs of status and type; a script that makes them up starts over
local prefixes, prefix_count = {}, 0
local last_status, last_type, last_prefix -- most responses are like the one before

local function make_prefix(status, content_type)
  if type(status) ~= "number" or status < 200 or status > 999 or status % 1 ~= 0 then
    misuse("status %s is not the integer of a final response, 200 to 999", tostring(status))
  end
  if content_type and (type(content_type) ~= "string" or not is_value(content_type)) then
    misuse("content type %q is not a field value: no control characters", tostring(content_type))
  end
  -- RFC 9112 section 4: the space before the reason stays where there is no reason.
  local prefix = ("HTTP/1.1 %d %s"):format(status, reasons[status] or "")
  if content_type then prefix = prefix .. "\r\nContent-Type: " .. content_type end
  if not is_bodiless(status) then prefix = prefix .. "\r\nContent-Length: " end

  if prefix_count == PREFIXES_MAX then
    prefixes, prefix_count = {}, 0
  end
  local key = content_type or false
  prefixes[key] = prefixes[key] or {}
  prefixes[key][status], prefix_count = prefix, prefix_count + 1
  return prefix
end

--- How many digits put_decimal writes; for lengths of Lua strings, below 10^12.
local function digit_count(n)
  if n < 100 then return n < 10 and 1 or 2 end
  if n < 10000 then return n < 1000 and 3 or 4 end
  if n < 1000000 then return n < 100000 and 5 or 6 end
  if n < 100000000 then return n < 10000000 and 7 or 8 end
  if n < 10000000000 then return n < 1000000000 and 9 or 10 end
  return n < 100000000000 and 11 or 12
end

-- Quotients by multiplication, exact in the ranges that occur: 5243 / 2^19 for n < 10000, 103 / 2^10 for n < 100.

local function put_four(out, n)
  local high = rshift(n * 5243, 19)
  local low = n - high * 100
  local high_ten, low_ten = rshift(high * 103, 10), rshift(low * 103, 10)
  out[0] = 48 + high_ten
  out[1] = 48 + high - high_ten * 10
  out[2] = 48 + low_ten
  out[3] = 48 + low - low_ten * 10
end

local function put_up_to_four(out, n, digits)
  if digits == 4 then return put_four(out, n) end
  local high = rshift(n * 5243, 19)
  local low = n - high * 100
  local low_ten = rshift(low * 103, 10)
  if digits == 3 then
    out[0] = 48 + high
    out[1] = 48 + low_ten
    out[2] = 48 + low - low_ten * 10
  elseif digits == 2 then
    out[0] = 48 + low_ten
    out[1] = 48 + low - low_ten * 10
  else
    out[0] = 48 + low
  end
end

--- Writes n with so many digits. Groups of four, without a loop: one of few rounds would keep the server's loop from
--- being compiled.
local function put_decimal(out, n, digits)
  if digits <= 4 then return put_up_to_four(out, n, digits) end
  local low = n % 10000
  local rest = (n - low) / 10000
  put_four(out + (digits - 4), low)
  if digits <= 8 then return put_up_to_four(out, rest, digits - 4) end
  low = rest % 10000
  put_four(out + (digits - 8), low)
  return put_up_to_four(out, (rest - low) / 10000, digits - 8)
end

local own_fields = {
  ["content-length"] = "it is the length of body",
  ["transfer-encoding"] = "the body's length decides that",
  ["connection"] = "pass keep_alive, or upgrade",
  ["date"] = "call set_date",
}

local function check_field(name, value)
  if type(name) ~= "string" or not is_token(name) then
    misuse("field name %q is not a token (RFC 9110 section 5.6.2)", tostring(name))
  end
  if type(value) ~= "string" or not is_value(value) then
    misuse("value of field %s is not a string free of CR, LF, NUL and other controls", name)
  end
  local remedy = own_fields[name:lower()]
  if remedy then misuse("field %s is not the caller's to set: %s", name, remedy) end
end

-- Extra fields are joined once per pair of name and value; a pair that is in here has been checked. Bounded like the
-- prefixes.
local LINES_MAX, LINE_BYTES_MAX = 512, 512
local lines, line_count = {}, 0

local function make_line(name, value)
  check_field(name, value)
  local line = "\r\n" .. name .. ": " .. value
  if #line <= LINE_BYTES_MAX then
    if line_count == LINES_MAX then
      lines, line_count = {}, 0
    end
    lines[name] = lines[name] or {}
    lines[name][value], line_count = line, line_count + 1
  end
  return line
end

local function line(name, value)
  local known = lines[name]
  return known and known[value] or make_line(name, value)
end

local function line_at(fields, number)
  return line(fields[number], fields[number + 1])
end

--- The lines of the extra fields, each with the CR LF before it. Up to three pairs without a loop, for the reason
--- given at put_decimal.
local function extra_lines(fields)
  local joined, count = fields.joined, #fields
  if joined then return joined end
  if count == 0 then return "" end
  if count == 2 then return line_at(fields, 1) end
  if count == 4 then return line_at(fields, 1) .. line_at(fields, 3) end
  if count == 6 then return line_at(fields, 1) .. line_at(fields, 3) .. line_at(fields, 5) end
  if count % 2 ~= 0 then misuse("extra_fields has %d entries: name and value come in pairs", count) end
  local all = {}
  for number = 1, count, 2 do
    all[#all + 1] = line_at(fields, number)
  end
  return table.concat(all)
end

format.lines, format.line = extra_lines, line

--- Joins the lines of a list of fields once for all responses that it is used in. It must not be changed any more.
---@param fields string[] name, value, name, value ...
---@return string[] fields
function format.join_fields(fields)
  fields.joined = extra_lines(fields)
  return fields
end

--- Whether a text is a token (RFC 9110 section 5.6.2), such as the name of a field or a method.
---@type fun(text: string): boolean
format.is_token = is_token

--- Whether a text may be the value of a field (RFC 9110 section 5.5).
---@type fun(text: string): boolean
format.is_value = is_value

--- Whether a response with this status ends with its head.
---@type fun(status: integer): boolean
format.is_bodiless = is_bodiless


--- The Date line and the end of the head, by what becomes of the connection. Internal.
function format.tail(keep_alive, minor_version)
  if not keep_alive then return tail_close end
  return minor_version == 0 and tail_keep_alive or tail_persist
end

---@class moonring.http.Writable
---@field reserve fun(self, length: integer): ffi.cdata*?, string?, string? room for the bytes; nil, message, code
---@field commit fun(self, length: integer): any queues the reserved bytes

--- Writes a whole response with one reserve and one commit. Raises code "argument", with nothing written, for a
--- status, content type or field that would not be the response that was asked for.
---@param writable moonring.http.Writable
---@param status integer 200 to 999; with 204 and 304 the body is not sent
---@param content_type? string
---@param body string
---@param keep_alive boolean false adds "Connection: close"; head.keep_alive unless the server wants to close
---@param head_only? boolean the request was a HEAD: Content-Length as for a GET, but no body
---@param extra_fields? string[] { name, value, name, value ... }
---@param minor_version? integer head.minor_version; 0 with keep_alive adds "Connection: keep-alive"
---@return any result of commit; or nil, message, code of a reserve that failed
function format.write_response(
  writable,
  status,
  content_type,
  body,
  keep_alive,
  head_only,
  extra_fields,
  minor_version
)
  if type(body) ~= "string" then misuse("body is a %s: pass a string", type(body)) end
  local prefix = last_prefix
  if status ~= last_status or content_type ~= last_type then
    local by_status = prefixes[content_type or false]
    prefix = by_status and by_status[status] or make_prefix(status, content_type)
    last_status, last_type, last_prefix = status, content_type, prefix
  end
  local extra = extra_fields and extra_lines(extra_fields) or ""
  local tail = tail_close
  if keep_alive then tail = minor_version == 0 and tail_keep_alive or tail_persist end

  local bodiless = is_bodiless(status)
  local body_length = #body
  local digits = bodiless and 0 or digit_count(body_length)
  local body_sent = (bodiless or head_only) and 0 or body_length
  local total = #prefix + digits + #extra + #tail + body_sent

  local out, message, code = writable:reserve(total)
  if out == nil then return nil, message, code end
  copy(out, prefix, #prefix)
  local at = #prefix
  if digits > 0 then
    put_decimal(out + at, body_length, digits)
    at = at + digits
  end
  if #extra > 0 then
    copy(out + at, extra, #extra)
    at = at + #extra
  end
  copy(out + at, tail, #tail)
  if body_sent > 0 then copy(out + at + #tail, body, body_sent) end
  return writable:commit(total)
end

return format
