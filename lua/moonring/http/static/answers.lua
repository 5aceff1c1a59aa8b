--- moonring.http.static.answers: how a file becomes a response: whole, compressed, in ranges, or not at all because
-- the client has it.
--
-- What stays the same from request to request is made once for each file and kept with it: an *answer* is a form in
-- which it is sent, with its type, tag and fields. Internal.

local buffer = require "moonring.buffer"
local codec = require "moonring.http.codec"
local conditions = require "moonring.http.codec.conditions"
local media_types = require "moonring.http.media_types"
local responses = require "moonring.http.response"

local M = {}

-- What is compressed while its client waits, and holds the loop for that long.
local GZIP_MIN, GZIP_MAX, GZIP_LEVEL = 1024, 262144, 5

-- Fields --------------------------------------------------------------------------------------------------------------

local OWN = { ["content-type"] = true, ["last-modified"] = true, ["etag"] = true, ["accept-ranges"] = true,
  ["content-encoding"] = true, ["content-range"] = true }

-- The user's fields that are none of ours.
local function add_given(list, given)
  for name, value in pairs(given or {}) do
    if not OWN[tostring(name):lower()] then
      for _, each in ipairs(type(value) == "table" and value or { value }) do
        list[#list + 1] = name
        list[#list + 1] = each
      end
    end
  end
end

-- All fields of an answer but its type: name, value, name, value ... joined once for all responses.
local function fields_of(entry, options, tag, encoding, is_compressible)
  local list = { "Last-Modified", codec.date(entry.modified), "ETag", tag, "Accept-Ranges", "bytes" }
  local function add(name, value)
    list[#list + 1] = name
    list[#list + 1] = value
  end
  if encoding then add("Content-Encoding", encoding) end
  if options.gzip and is_compressible then add("Vary", "Accept-Encoding") end
  if options.cache_control then add("Cache-Control", options.cache_control) end
  add_given(list, options.fields)
  return codec.join_fields(list)
end

-- A copy with one field more.
local function with(list, name, value)
  local all = {}
  for number = 1, #list do
    all[number] = list[number]
  end
  all[#all + 1] = name
  all[#all + 1] = value
  return all
end

local function new_answer(entry, options, media_type, encoding, tag)
  local is_compressible = media_types.is_compressible(media_type)
  return { media_type = media_type, encoding = encoding, options = options, tag = tag, is_compressible = is_compressible,
    fields = fields_of(entry, options, tag, encoding, is_compressible) }
end

-- The answer of an entry as it is, which is the last one's unless another handler uses the same file.
local function answer_of(entry, options, media_type, encoding)
  local answer = entry.answer
  if answer and answer.options == options and answer.media_type == media_type and answer.encoding == encoding then
    return answer
  end
  answer = new_answer(entry, options, media_type, encoding, entry.tag)
  entry.answer = answer
  return answer
end

-- Content -------------------------------------------------------------------------------------------------------------

-- Writes bytes first .. last (from 0) of an entry.
local function write_range(cache, entry, response, first, last)
  local content = cache:content(entry)
  if not content then return response:write_file(entry.file, first, last - first + 1) end
  if type(content) == "string" then return response:write(content:sub(first + 1, last + 1)) end
  content:reset_for_write()
  content:set_limit(last + 1):seek(first)
  return response:write(content)
end

local function send_whole(cache, entry, response, answer)
  local size = entry.size
  local content = cache:content(entry)
  if type(content) == "string" then
    return responses.send_list(response, 200, content, answer.media_type, answer.fields)
  end
  local ok, message, code = responses.start_list(response, 200, answer.media_type, answer.fields, size)
  if not ok or size == 0 or response:is_head() then return ok, message, code end
  return write_range(cache, entry, response, 0, size - 1)
end

local function content_range(range, size)
  return ("bytes %.0f-%.0f/%.0f"):format(range.first, range.last, size)
end

local boundary_serial = 0

-- Several ranges: multipart/byteranges (RFC 9110 section 14.6).
local function send_ranges(cache, entry, response, answer, ranges)
  boundary_serial = boundary_serial + 1
  local boundary = ("moonring-%s-%d"):format(answer.tag:match "%x+", boundary_serial)
  local size = entry.size
  local heads, total = {}, 0
  for number, range in ipairs(ranges) do
    heads[number] = ("%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"):format(number > 1 and "\r\n" or "",
      boundary, answer.media_type, content_range(range, size))
    total = total + #heads[number] + range.last - range.first + 1
  end
  local close = "\r\n--" .. boundary .. "--\r\n"
  local ok, message, code = responses.start_list(response, 206, "multipart/byteranges; boundary=" .. boundary,
    answer.fields, total + #close)
  for number, range in ipairs(ranges) do
    if ok then ok, message, code = response:write(heads[number]) end
    if ok and not response:is_head() then
      ok, message, code = write_range(cache, entry, response, range.first, range.last)
    end
  end
  if ok then ok, message, code = response:write(close) end
  return ok, message, code
end

local function send_range(cache, entry, response, answer, range)
  local fields = with(answer.fields, "Content-Range", content_range(range, entry.size))
  local ok, message, code = responses.start_list(response, 206, answer.media_type, fields, range.last - range.first + 1)
  if not ok or response:is_head() then return ok, message, code end
  return write_range(cache, entry, response, range.first, range.last)
end

-- Answers with the ranges that are asked for; nothing when they are not to be looked at.
local function try_ranges(cache, entry, response, answer, field, text)
  if not conditions.is_range_current(field, answer.tag, entry.modified) then return end
  local ranges = conditions.parse_ranges(text, entry.size)
  if not ranges then return end
  if #ranges == 0 then
    return true, response:send(416, "", { ["Content-Range"] = ("bytes */%.0f"):format(entry.size) })
  elseif #ranges == 1 then
    return true, send_range(cache, entry, response, answer, ranges[1])
  end
  return true, send_ranges(cache, entry, response, answer, ranges)
end

-- Compression ---------------------------------------------------------------------------------------------------------

local function compress(content, size)
  if type(content) ~= "string" then
    content:reset_for_write()
    content:set_limit(size)
  end
  local output = buffer.deflate(content, { format = "gzip", level = GZIP_LEVEL })
  if not output then return false end
  local text = output:to_string() -- small, and the collector's: nothing has to end it
  output:release()
  return #text < size and text
end

-- The compressed form of an entry, made once: a string, or nil.
local function compressed(cache, entry)
  if entry.compressed == nil then
    local content = entry.size >= GZIP_MIN and entry.size <= GZIP_MAX and cache:content(entry)
    cache:keep_compressed(entry, content and compress(content, entry.size) or false)
  end
  return entry.compressed or nil
end

-- The answer by gzip: another representation, so another tag (RFC 9110 section 8.8.3.3).
local function compressed_answer(entry, answer)
  local made = answer.by_gzip
  if not made then
    made = new_answer(entry, answer.options, answer.media_type, "gzip", (answer.tag:gsub('"$', '-gzip"')))
    answer.by_gzip = made
  end
  return made
end

-- Sending -------------------------------------------------------------------------------------------------------------

--- Answers with an entry.
---@param cache table of moonring.http.static.files
---@param entry table which the caller holds
---@param options table of the handler or the call: fields, cache_control, gzip; the same table each time
---@param media_type string of the path that was asked for
---@param encoding? string of the file's content
function M.send(cache, entry, options, request, response, media_type, encoding)
  local answer = answer_of(entry, options, media_type, encoding)
  local function field(name) return request:header(name) end
  local range = field "range"
  local text
  if options.gzip and answer.is_compressible and not encoding and not range
      and conditions.accepts_gzip(field "accept-encoding") then
    text = compressed(cache, entry)
    if text then answer = compressed_answer(entry, answer) end
  end
  local status = conditions.precondition(field, answer.tag, entry.modified, request.method)
  if status then return responses.send_list(response, status, "", answer.media_type, answer.fields) end
  if text then return responses.send_list(response, 200, text, answer.media_type, answer.fields) end
  if range and request.method == "GET" then
    local done, ok, message, code = try_ranges(cache, entry, response, answer, field, range)
    if done then return ok, message, code end
  end
  return send_whole(cache, entry, response, answer)
end

return M
