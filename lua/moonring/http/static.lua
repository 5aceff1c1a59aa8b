--- moonring.http.static: files as responses.
--
-- A path is cut into segments, and each is judged after decoding: "..", ".", "", NUL, slashes that were encoded, and
-- names that begin with a dot lead nowhere. What has been opened is asked of the kernel by its descriptor, so a link
-- that leads out of the root is found whatever happens to names meanwhile.
--
-- Here are the paths; `static.files` keeps files open and small ones in memory, `static.answers` makes responses of them.

local errors = require "moonring.errors"
local fs = require "moonring.fs"
local codec = require "moonring.http.codec"
local conditions = require "moonring.http.codec.conditions"
local media_types = require "moonring.http.media_types"
local files = require "moonring.http.static.files"
local answers = require "moonring.http.static.answers"

local M = {}

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
---@field cache_file_bytes? integer of one file that stays there; default 256 KiB

local DEFAULTS = { index = "index.html", hidden = false, links = "inside", cache_control = false, fields = false,
  gzip = true, recheck = 1, cache_count = 256, cache_bytes = 33554432, cache_file_bytes = 262144 }

---@class moonring.http.FileOptions
---@field media_type? string in the place of that of the file's name
---@field fields? table<string, string> further fields
---@field cache_control? string
---@field gzip? boolean compress what gains by it; default false

local function check_options(what, options)
  local all = {}
  for name, default in pairs(DEFAULTS) do
    all[name] = default
  end
  for name, value in pairs(options or {}) do
    if DEFAULTS[name] == nil then errors.refuse_option(what, name, DEFAULTS) end
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

-- Paths ---------------------------------------------------------------------------------------------------------------

-- How many paths are remembered with what they lead to; then that starts over.
local PLACES_MAX = 1000

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

-- What a path leads to: the file's path, that of its compressed neighbour where there may be one, and the type.
local function place_of(root, path, options)
  local safe = safe_path(path, options)
  if not safe then return false end
  if safe:sub(-1) == "/" then safe = safe .. options.index end
  local media_type = media_types.of(safe)
  local has_neighbour = options.gzip and media_types.is_compressible(media_type)
  return { path = root .. safe, neighbour = has_neighbour and root .. safe .. ".gz", media_type = media_type }
end

-- place_of, which is asked once for each path.
local function new_places(root, options)
  local places, count = {}, 0
  return function(path)
    local place = places[path]
    if place == nil then
      place = place_of(root, path, options)
      if count >= PLACES_MAX then
        places, count = {}, 0
      end
      places[path], count = place, count + 1
    end
    return place
  end
end

-- Answers -------------------------------------------------------------------------------------------------------------

-- What the cache holds ends with the server that it was used by.
local function get_for(cache, request, path, root)
  request[1].server.resources[cache] = true
  return cache:get(path, root)
end

-- Answers with an entry and gives it back, cancelled or not.
local function send_entry(cache, entry, options, request, response, media_type, encoding)
  local ok, result, message, code = pcall(answers.send, cache, entry, options, request, response, media_type, encoding)
  cache:done(entry)
  if not ok then error(result, 0) end
  return result, message, code
end

local REFUSALS = { ENOENT = 404, ENOTDIR = 404, ENAMETOOLONG = 404, EACCES = 403, EPERM = 403, ELOOP = 403, EISDIR = 404 }

local function refuse(response, code)
  local status = REFUSALS[code] or 500
  return response:send(status, codec.reasons[status] .. "\n")
end

-- Serves the file of a place, or its compressed neighbour where there is one: true, or nil, message, code with nothing sent.
local function serve_place(cache, root, place, request, response)
  local encoding
  local entry, message, code
  local neighbour = place.neighbour
  if neighbour and not cache:is_missing(neighbour) and conditions.accepts_gzip(request:header "accept-encoding") then
    entry = get_for(cache, request, neighbour, root)
    if entry then encoding = "gzip" else cache:note_missing(neighbour) end
  end
  if not entry then entry, message, code = get_for(cache, request, place.path, root) end
  if not entry then return nil, message, code end
  send_entry(cache, entry, cache.options, request, response, place.media_type, encoding)
  return true
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
  local cache = files.new(all)
  local found, message, code = fs.real_path(root) -- links and all, as it is when the service starts
  if not found then errors.raise(code, "http.static: %s", message) end
  local inside, place_at = all.links == "inside" and found or nil, new_places(found, all)
  return function(request, response)
    local method = request.method
    if method ~= "GET" and method ~= "HEAD" then
      return response:send(405, "Method Not Allowed\n", { Allow = "GET, HEAD" })
    end
    local rest = request.parameters and request.parameters.path
    local place = place_at(rest and codec.percent_encode("/" .. rest, "/") or request.path)
    if not place then return refuse(response, "ENOENT") end
    local ok, _, problem = serve_place(cache, inside, place, request, response)
    if ok then return end
    if problem == "EISDIR" then return redirect_to_directory(request, response) end
    return refuse(response, problem)
  end
end

local own_cache
local NO_OPTIONS = {}

-- The options of one call as they are now: what is made of them is kept with the file.
local function fixed(options)
  if not options then return NO_OPTIONS end
  local all = {}
  for name, value in pairs(options) do
    all[name] = value
  end
  return all
end

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
  own_cache = own_cache or files.new(check_options "response:file")
  local entry, message, code = get_for(own_cache, request, path)
  if not entry then return nil, message, code end
  return send_entry(own_cache, entry, fixed(options), request, response,
    options and options.media_type or media_types.of(path))
end

return M
