--- Conditional requests and ranges (RFC 9110 sections 13 and 14): decisions over fields, nothing else.

local format = require "moonring.http.codec.format"

local M = {}

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11,
  Dec = 12 }

-- Days from 1970-01-01 to a day of the proleptic Gregorian calendar.
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

--- Reads an HTTP date in any of the three forms that a recipient must take (RFC 9110 section 5.6.7).
---@param text string
---@return number? seconds since 1970
function M.parse_date(text)
  local day, month, year, hour, minute, second = text:match "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$"
  if not day then
    day, month, year, hour, minute, second = text:match "^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%d%d):(%d%d):(%d%d) GMT$"
    -- "a timestamp that appears to be more than 50 years in the future" is of the past; those who still send this form
    -- mean this century or the end of the last.
    if year then year = tonumber(year) + (tonumber(year) < 70 and 2000 or 1900) end
  end
  if not day then
    month, day, hour, minute, second, year = text:match "^%a%a%a (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d%d%d%d)$"
  end
  local number = month and MONTHS[month]
  day, year, hour, minute, second = tonumber(day), tonumber(year), tonumber(hour), tonumber(minute), tonumber(second)
  if not number or not day or day < 1 or day > 31 or hour > 23 or minute > 59 or second > 60 then return nil end
  return days_of(year, number, day) * 86400 + hour * 3600 + minute * 60 + second
end

--- Reads the date of a cookie, in whatever order and between whatever marks servers write it (RFC 6265bis section 5.1.1).
---@param text string
---@return number? seconds since 1970
function M.parse_cookie_date(text)
  local hour, minute, second, day, month, year
  for token in text:gmatch "[%w:]+" do
    local h, m, s = token:match "^(%d%d?):(%d%d?):(%d%d?)%D*$"
    local name = MONTHS[token:sub(1, 1):upper() .. token:sub(2, 3):lower()]
    if h and not hour then
      hour, minute, second = tonumber(h), tonumber(m), tonumber(s)
    elseif not day and token:find "^%d%d?%D*$" then
      day = tonumber(token:match "^%d+")
    elseif not month and name then
      month = name
    elseif not year and token:find "^%d%d%d?%d?%D*$" then
      year = tonumber(token:match "^%d+")
    end
  end
  if not (hour and day and month and year) then return nil end
  if year < 100 then year = year + (year < 70 and 2000 or 1900) end
  if day < 1 or day > 31 or year < 1601 or hour > 23 or minute > 59 or second > 59 then return nil end
  return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
end

-- Whether a list of entity tags names this one. Weak comparison takes W/ as nothing (RFC 9110 section 8.8.3.2).
local function lists(text, tag, is_weak)
  if text:match "^%s*%*%s*$" then return true end
  local bare = tag:gsub("^W/", "")
  for prefix, each in text:gmatch '(W?/?)("[^"]*")' do
    if each == bare and (is_weak or prefix == "" and bare == tag) then return true end
  end
  return false
end

--- What a request's preconditions make of a representation (RFC 9110 section 13.2.2).
---@param field fun(name: string): string? a request's field
---@param tag string its entity tag
---@param modified integer seconds since 1970
---@param method string
---@return integer? status 304 or 412, nil when the request is to be carried out
function M.precondition(field, tag, modified, method)
  local match = field "if-match"
  if match then
    if not lists(match, tag, false) then return 412 end
  else
    local since = field "if-unmodified-since"
    since = since and M.parse_date(since)
    if since and modified > since then return 412 end
  end
  local none, is_read = field "if-none-match", method == "GET" or method == "HEAD"
  if none then
    if lists(none, tag, true) then return is_read and 304 or 412 end
  elseif is_read then
    local since = field "if-modified-since"
    since = since and M.parse_date(since)
    if since and modified <= since then return 304 end
  end
end

--- Whether If-Range lets the ranges count: it names this representation, exactly (section 13.1.5).
function M.is_range_current(field, tag, modified)
  local value = field "if-range"
  if not value then return true end
  if value:find '"' then return value == tag and not tag:find "^W/" end
  return M.parse_date(value) == modified
end

-- More ranges than that are an attack, or better served by the whole.
local RANGES_MAX = 16
local DIGITS_MAX = 15

local function read_range(text, size)
  local first, last = text:match "^%s*(%d*)%-(%d*)%s*$"
  if not first or #first > DIGITS_MAX or #last > DIGITS_MAX or first == "" and last == "" then return nil, true end
  if first == "" then -- the last so many bytes
    local count = math.min(tonumber(last), size)
    if count == 0 then return nil end
    return { first = size - count, last = size - 1 }
  end
  first, last = tonumber(first), tonumber(last) or size - 1
  if last < first and text:find "%-%s*%d" then return nil, true end
  if first >= size then return nil end
  return { first = first, last = math.min(last, size - 1) }
end

--- The byte ranges that a Range field asks for of `size` bytes.
---@param text string
---@param size number
---@return table[]? ranges { first =, last = } as asked for; nil: the field is to be ignored; empty: 416
function M.parse_ranges(text, size)
  local set = text:match "^[bB][yY][tT][eE][sS]=(.+)$"
  if not set then return nil end
  local ranges, total, count = {}, 0, 0
  for part in set:gmatch "[^,]+" do
    count = count + 1
    local range, is_malformed = read_range(part, size)
    if is_malformed or count > RANGES_MAX then return nil end
    if range then
      ranges[#ranges + 1] = range
      total = total + range.last - range.first + 1
    end
  end
  -- Ranges that together are more than the whole overlap: the whole is less to send (section 14.2).
  if total > size then return nil end
  return ranges
end

--- Whether a client takes gzip (RFC 9110 section 12.5.3).
---@param text? string Accept-Encoding
---@return boolean
function M.accepts_gzip(text)
  if not text then return false end
  local any = false
  for part in text:lower():gmatch "[^,]+" do
    local coding, rest = part:match "^%s*([^;%s]+)%s*(.*)$"
    local refused = rest and rest:find "^;%s*q%s*=%s*0%.?0*%s*$" ~= nil
    if coding == "gzip" or coding == "x-gzip" then return not refused end
    if coding == "*" then any = not refused end
  end
  return any
end

M.format_date = format.date

return M
