--- moonring.http.static: files as responses.
--
-- A path is cut into segments, and each is judged after decoding: "..", ".", "", NUL, slashes that were encoded, and
-- names that begin with a dot lead nowhere. What has been opened is asked of the kernel by its descriptor, so a link
-- that leads out of the root is found whatever happens to names meanwhile.
--
-- Files that are asked for often stay open, and the small ones stay in native memory, from which they are sent
-- without being copied again; after a second the file is looked at anew. The others go through memory of their own
-- piece by piece. docs/performance.md tells why not sendfile.

local errors = require "moonring.errors"
local fs = require "moonring.fs"
local buffer = require "moonring.buffer"
local clock = require "moonring.clock"
local codec = require "moonring.http.codec"
local conditions = require "moonring.http.codec.conditions"
local media_types = require "moonring.http.media_types"

local M = {
  PIECE_BYTES = 131072, -- of a file that is not kept in memory
}

---@class moonring.http.StaticOptions
---@field index? string what a directory answers with; default "index.html"
---@field hidden? boolean serve names that begin with a dot
---@field links? "inside"|"any" whether links may lead out of the root; default "inside": they may not
---@field cache_control? string the field Cache-Control of files
---@field fields? table<string, string> further fields of files
---@field gzip? boolean compress what gains by it, and use FILE.gz where that is there; default true
---@field recheck? number seconds until a file is looked at anew; default 1
---@field cache_count? integer files that stay open; default 256
---@field cache_bytes? integer content that stays in memory; default 32 MiB
---@field cache_file_bytes? integer of one file that stays there; default 1 MiB

local DEFAULTS = { index = "index.html", hidden = false, links = "inside", cache_control = false, fields = false,
  gzip = true, recheck = 1, cache_count = 256, cache_bytes = 33554432, cache_file_bytes = 1048576 }

---@class moonring.http.FileOptions
---@field media_type? string in the place of that of the file's name
---@field fields? table<string, string> further fields
---@field cache_control? string
---@field gzip? boolean compress what gains by it; default false

-- What is compressed while its client waits, and holds the loop for that long.
local GZIP_MIN, GZIP_MAX, GZIP_LEVEL = 1024, 262144, 5

-- Files ---------------------------------------------------------------------------------------------------------------

local Cache = {}
Cache.__index = Cache

local function new_cache(options)
  return setmetatable({ options = options, entries = {}, count = 0, bytes = 0, used = 0 }, Cache)
end

local function release(cache, entry)
  if entry.users > 0 then return end
  if entry.gzip then
    cache.bytes = cache.bytes - #entry.gzip
    entry.gzip = false
  end
  if entry.content then
    cache.bytes = cache.bytes - entry.content.capacity
    entry.content:release()
    entry.content = false
  end
  entry.file:close()
end

-- Takes an entry out. It ends when nobody uses it any more.
local function forget(cache, path)
  local entry = cache.entries[path]
  cache.entries[path] = nil
  cache.count = cache.count - 1
  entry.is_kept = false
  release(cache, entry)
end

-- The file that was used least lately.
local function oldest(cache)
  local found, at
  for path, entry in pairs(cache.entries) do
    if not at or entry.used < at then found, at = path, entry.used end
  end
  return found
end

local function tag_of(status)
  return ('"%x-%x"'):format(status.modified * 1e6, status.size)
end

local function is_same(entry, status)
  local before = entry.status
  return before.size == status.size and before.modified == status.modified and before.inode == status.inode
    and before.device == status.device
end

-- Whether the open file lies below the root, links and all.
local function is_inside(root, file)
  local path = fs.read_link("/proc/self/fd/" .. file.descriptor)
  return path ~= nil and (root == "/" or path:sub(1, #root + 1) == root .. "/")
end

-- nil, message, code; or the entry, which the caller uses and gives back by Cache:done. A directory is "EISDIR".
local function open(path, root)
  local status, message, code = fs.stat(path) -- first: opening a device or a FIFO may do things
  if not status then return nil, message, code end
  if status.kind == "directory" then return nil, path .. " is a directory", "EISDIR" end
  if status.kind ~= "file" then return nil, path .. " is not a file", "EACCES" end
  local file
  file, message, code = fs.open(path)
  if not file then return nil, message, code end
  status, message, code = file:stat()
  if status and status.kind ~= "file" or root and not is_inside(root, file) then
    file:close()
    return nil, path .. " leads out of the root", "EACCES"
  end
  if not status then
    file:close()
    return nil, message, code
  end
  return { path = path, file = file, status = status, users = 0, used = 0, content = false, is_kept = false,
    checked = clock.now(), tag = tag_of(status), modified = math.floor(status.modified) }
end

local function keep(cache, path, entry)
  local options = cache.options
  if options.cache_count < 1 then return end
  if cache.entries[path] then forget(cache, path) end -- another task has opened it meanwhile
  while cache.count >= options.cache_count do
    forget(cache, oldest(cache))
  end
  cache.entries[path] = entry
  cache.count = cache.count + 1
  entry.is_kept = true
end

--- The entry of a path; the caller calls done with it.
function Cache:get(path, root)
  local entry = self.entries[path]
  self.used = self.used + 1
  if entry and clock.now() - entry.checked > self.options.recheck then
    entry.users = entry.users + 1
    local status = fs.stat(path)
    entry.users = entry.users - 1
    if status and is_same(entry, status) then
      entry.checked = clock.now()
    else
      if self.entries[path] == entry then forget(self, path) else release(self, entry) end
      entry = nil
    end
  end
  if not entry then
    local message, code
    entry, message, code = open(path, root)
    if not entry then return nil, message, code end
    keep(self, path, entry)
  end
  entry.used = self.used
  entry.users = entry.users + 1
  return entry
end

function Cache:done(entry)
  entry.users = entry.users - 1
  if not entry.is_kept then release(self, entry) end
end

--- Lets go of everything. It fills again when it is used again.
function Cache:close()
  for path in pairs(self.entries) do
    forget(self, path)
  end
end

-- What the cache holds ends with the server that it was used by.
local function get_for(cache, request, path, root)
  request[1].server.resources[cache] = true
  return cache:get(path, root)
end

-- Reads all of a file into one buffer. nil when it has changed or can't be read.
local function read_whole(entry)
  local size = entry.status.size
  local content = buffer.allocate(math.max(size, 1))
  content:set_limit(size)
  while content:remaining() > 0 do
    if not entry.file:read(content, content.position) then
      content:release()
      return nil
    end
  end
  return content
end

local function make_room(cache, size)
  while cache.bytes + size > cache.options.cache_bytes do
    local path = oldest(cache)
    if not path then return false end
    forget(cache, path)
  end
  return true
end

-- The entry's content in memory, where it may stay there.
local function content_of(cache, entry)
  if entry.content then return entry.content end
  local size = entry.status.size
  if not entry.is_kept or size > cache.options.cache_file_bytes or size == 0 then return nil end
  local content = read_whole(entry)
  if not content then return nil end
  -- Others may have come here while this waited.
  if entry.content or not make_room(cache, content.capacity) or not entry.is_kept then
    content:release()
    return entry.content or nil
  end
  cache.bytes = cache.bytes + content.capacity
  entry.content = content
  return content
end

-- Sending -------------------------------------------------------------------------------------------------------------

-- Writes bytes first .. last (from 0) of an entry.
local function write_range(cache, entry, response, first, last)
  local content = content_of(cache, entry)
  if content then
    content:reset_for_write()
    content:set_limit(last + 1):seek(first)
    return response:write(content)
  end
  local at = first
  while at <= last do
    local piece, message, code = entry.file:read(math.min(M.PIECE_BYTES, last - at + 1), at)
    if not piece then return nil, message or "the file has become shorter", code or "EPROTO" end
    at = at + piece:remaining()
    local ok
    ok, message, code = response:write(piece)
    piece:release()
    if not ok then return ok, message, code end
  end
  return true
end

local function send_whole(cache, entry, response, fields)
  local size = entry.status.size
  local ok, message, code = response:start(200, fields, size)
  if not ok or size == 0 or response:is_head() then return ok, message, code end
  return write_range(cache, entry, response, 0, size - 1)
end

local function content_range(range, size)
  return ("bytes %.0f-%.0f/%.0f"):format(range.first, range.last, size)
end

local boundary_serial = 0

-- Several ranges: multipart/byteranges (RFC 9110 section 14.6).
local function send_ranges(cache, entry, response, fields, ranges)
  boundary_serial = boundary_serial + 1
  local boundary = ("moonring-%s-%d"):format(entry.tag:match "%x+", boundary_serial)
  local media_type, size = fields["Content-Type"], entry.status.size
  local heads, total = {}, 0
  for number, range in ipairs(ranges) do
    heads[number] = ("%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"):format(number > 1 and "\r\n" or "",
      boundary, media_type, content_range(range, size))
    total = total + #heads[number] + range.last - range.first + 1
  end
  local close = "\r\n--" .. boundary .. "--\r\n"
  fields["Content-Type"] = "multipart/byteranges; boundary=" .. boundary
  local ok, message, code = response:start(206, fields, total + #close)
  for number, range in ipairs(ranges) do
    if ok then ok, message, code = response:write(heads[number]) end
    if ok and not response:is_head() then
      ok, message, code = write_range(cache, entry, response, range.first, range.last)
    end
  end
  if ok then ok, message, code = response:write(close) end
  return ok, message, code
end

local function send_range(cache, entry, response, fields, range)
  fields["Content-Range"] = content_range(range, entry.status.size)
  local ok, message, code = response:start(206, fields, range.last - range.first + 1)
  if not ok or response:is_head() then return ok, message, code end
  return write_range(cache, entry, response, range.first, range.last)
end

-- The compressed form of an entry, made once: a buffer, or nil.
local function compressed(cache, entry)
  if entry.gzip ~= nil then return entry.gzip or nil end
  local size = entry.status.size
  entry.gzip = false
  if size < GZIP_MIN or size > GZIP_MAX then return nil end
  local content = content_of(cache, entry)
  if not content then return nil end
  content:reset_for_write()
  content:set_limit(size)
  local output = buffer.deflate(content, { format = "gzip", level = GZIP_LEVEL })
  if not output then return nil end
  local text = output:to_string() -- small, and the collector's: nothing has to end it
  output:release()
  if #text >= size then return nil end
  entry.gzip = text
  cache.bytes = cache.bytes + #entry.gzip
  return entry.gzip
end

local function send_compressed(cache, entry, response, fields, field)
  local text = compressed(cache, entry)
  if not text then return nil end
  -- Another representation, so another tag (RFC 9110 section 8.8.3.3).
  local tag = entry.tag:gsub('"$', '-gzip"')
  local status = conditions.precondition(field, tag, entry.modified)
  fields["ETag"], fields["Content-Encoding"] = tag, "gzip"
  if status then return true, response:send(status, "", fields) end
  return true, response:send(200, text, fields)
end

local function fields_of(entry, options, media_type)
  local fields = {}
  for name, value in pairs(options.fields or {}) do
    fields[name] = value
  end
  fields["Content-Type"] = media_type
  fields["Last-Modified"] = codec.date(entry.modified)
  fields["ETag"] = entry.tag
  fields["Accept-Ranges"] = "bytes"
  if options.cache_control then fields["Cache-Control"] = options.cache_control end
  return fields
end

-- Answers with an entry. media_type is that of the path that was asked for; options are its fields, and whether to compress.
local function send(cache, entry, options, request, response, media_type, encoding)
  local fields = fields_of(entry, options, media_type)
  local function field(name) return request:header(name) end
  local range = field "range"
  if encoding then fields["Content-Encoding"] = encoding end
  if options.gzip and media_types.is_compressible(media_type) then
    fields["Vary"] = "Accept-Encoding"
    if not encoding and not range and conditions.accepts_gzip(field "accept-encoding") then
      local done, ok, message, code = send_compressed(cache, entry, response, fields, field)
      if done then return ok, message, code end
    end
  end
  local status = conditions.precondition(field, entry.tag, entry.modified)
  if status then return response:send(status, "", fields) end
  if range and request.method == "GET" and conditions.is_range_current(field, entry.tag, entry.modified) then
    local ranges = conditions.parse_ranges(range, entry.status.size)
    if ranges and #ranges == 0 then
      return response:send(416, "", { ["Content-Range"] = ("bytes */%.0f"):format(entry.status.size) })
    elseif ranges and #ranges == 1 then
      return send_range(cache, entry, response, fields, ranges[1])
    elseif ranges then
      return send_ranges(cache, entry, response, fields, ranges)
    end
  end
  return send_whole(cache, entry, response, fields)
end

local REFUSALS = { ENOENT = 404, ENOTDIR = 404, ENAMETOOLONG = 404, EACCES = 403, EPERM = 403, ELOOP = 403, EISDIR = 404 }

local function refuse(response, code)
  local status = REFUSALS[code] or 500
  return response:send(status, codec.reasons[status] .. "\n")
end

-- Serves the entry of a path, with its compressed neighbour where there is one. Cancelled or not, the entry is given back.
local function serve_path(cache, root, path, request, response)
  local media_type = media_types.of(path)
  local encoding
  local entry, message, code
  if cache.options.gzip and media_types.is_compressible(media_type)
      and conditions.accepts_gzip(request:header "accept-encoding") and not cache:is_missing(path .. ".gz") then
    entry, message, code = get_for(cache, request, path .. ".gz", root)
    if entry then encoding = "gzip" else cache:note_missing(path .. ".gz") end
  end
  if not entry then entry, message, code = get_for(cache, request, path, root) end
  if not entry then return nil, message, code end
  local ok, result, send_message, send_code = pcall(send, cache, entry, cache.options, request, response, media_type,
    encoding)
  cache:done(entry)
  if not ok then error(result, 0) end
  return true, result, send_message, send_code
end

-- That there is no compressed neighbour is remembered as long as a file is.
local MISSING_MAX = 1000

function Cache:is_missing(path)
  local at = self.missing and self.missing[path]
  return at and clock.now() - at <= self.options.recheck
end

function Cache:note_missing(path)
  if not self.missing or self.missing_count >= MISSING_MAX then
    self.missing, self.missing_count = {}, 0
  end
  self.missing[path], self.missing_count = clock.now(), self.missing_count + 1
end

-- Paths ---------------------------------------------------------------------------------------------------------------

-- A request's path below the root, or nil when it leads nowhere. It begins with a slash, and ends with one for a directory.
local function safe_path(path, options)
  if path:find "%%[2][fF]" or path:find "%%5[cC]" then return nil end
  local decoded = codec.percent_decode(path)
  if decoded:find "[%z\\]" then return nil end
  if decoded:sub(1, 1) ~= "/" then decoded = "/" .. decoded end
  for segment in decoded:sub(2):gmatch "([^/]*)/" do
    if segment == "" then return nil end -- "//": one file would have many names
  end
  for segment in decoded:gmatch "[^/]+" do
    if segment == "." or segment == ".." then return nil end
    -- RFC 8615 has the one name with a dot that is meant for clients.
    if segment:byte() == 46 and segment ~= ".well-known" and not options.hidden then return nil end
  end
  return decoded
end

local function check_options(what, options)
  local all = {}
  for name, default in pairs(DEFAULTS) do
    all[name] = default
  end
  for name, value in pairs(options or {}) do
    if DEFAULTS[name] == nil then errors.raise("argument", "%s: there is no option %s", what, tostring(name)) end
    all[name] = value
  end
  if all.links ~= "inside" and all.links ~= "any" then
    errors.raise("argument", '%s: links is "inside" or "any", not %s', what, tostring(all.links))
  end
  for _, name in ipairs { "recheck", "cache_count", "cache_bytes", "cache_file_bytes" } do
    if type(all[name]) ~= "number" or all[name] ~= all[name] or all[name] < 0 then
      errors.raise("argument", "%s: %s is a number from 0 on, not %s", what, name, tostring(all[name]))
    end
  end
  return all
end

local function redirect_to_directory(request, response)
  local target = request.path:gsub("^//+", "/") .. "/" -- "//host" would lead to another one
  if request.query then target = target .. "?" .. request.query end
  return response:redirect(target, 301)
end

--- A handler that answers with the files below a directory. On a route with a rest, `router:get("/files/*path",
--- handler)`, the rest is the path below the directory; otherwise the request's whole path is.
---@param root string
---@param options? moonring.http.StaticOptions
---@return fun(request: moonring.http.Request, response: moonring.http.Response)
function M.new(root, options)
  local all = check_options("http.static", options)
  if type(root) ~= "string" or root == "" or root:find "%z" then
    errors.raise("argument", "http.static: a directory's path is needed, not %s", tostring(root))
  end
  local cache = new_cache(all)
  local real_root, message, code = fs.real_path(root) -- links and all, as it is when the service starts
  if not real_root then errors.raise(code, "http.static: %s", message) end
  return function(request, response)
    local method = request.method
    if method ~= "GET" and method ~= "HEAD" then
      return response:send(405, "Method Not Allowed\n", { Allow = "GET, HEAD" })
    end
    local rest = request.parameters and request.parameters.path
    local path = safe_path(rest and codec.percent_encode("/" .. rest, "/") or request.path, all)
    if not path then return refuse(response, "ENOENT") end
    if path:sub(-1) == "/" then path = path .. all.index end
    local inside = all.links == "inside" and real_root or nil
    local ok, _, problem = serve_path(cache, inside, real_root .. path, request, response)
    if ok then return end
    if problem == "EISDIR" then return redirect_to_directory(request, response) end
    return refuse(response, problem)
  end
end

local own_cache

--- Answers with one file, whose path is the caller's: nothing of it is checked. Conditions and ranges count as ever.
--- Internal, for response:file.
---@param request moonring.http.Request
---@param response moonring.http.Response
---@param path string
---@param options? moonring.http.FileOptions
---@return true? ok
---@return string? message
---@return string? code "ENOENT" ...: nothing has been sent
function M.send_file(request, response, path, options)
  own_cache = own_cache or new_cache(check_options("response:file"))
  options = options or {}
  local entry, message, code = get_for(own_cache, request, path)
  if not entry then return nil, message, code end
  local ok, result, send_message, send_code = pcall(send, own_cache, entry, options, request, response,
    options.media_type or media_types.of(path))
  own_cache:done(entry)
  if not ok then error(result, 0) end
  return result, send_message, send_code
end

return M
