--- moonring.http.router: from a request's method and path to a handler.
--
-- A pattern is made of segments between slashes: text, `{name}` for any one segment that isn't empty, and at the end
-- `*name` for all that is left, which may be empty. Text goes before names, names before the rest. A path without names
-- in its pattern is found by one look into a table; the others by a tree of segments. Segments are decoded after the path
-- has been cut at its slashes, so an encoded slash stays inside of its segment, and nothing else is done to a path: "..",
-- "//" and "." are segments like others. A pattern without a route for the method is passed over: where GET /users/me and
-- DELETE /users/{id} are routes, DELETE /users/me is the second.
--
-- Middleware are functions (request, response, next): each calls next(request, response) or answers by itself. They
-- are joined to their routes' handlers when the first request is routed, so a request makes no closures.

local errors = require "moonring.errors"
local codec = require "moonring.http.codec"

local M = {}

---@class moonring.http.Router
local Router = { __name = "moonring.http.Router" }
Router.__index = Router

local function new_node()
  -- texts: by decoded segment; name: any segment; rest, route: by method, { handler, names }
  return { texts = {}, name = false, rest = false, route = false }
end

--- Makes a router.
---@return moonring.http.Router
function M.new()
  local shared = {
    static = {}, -- by path as sent: by method
    root = new_node(),
    missing = false, -- the user's handler where nothing matches
    entries = {}, -- all by-method tables, to be joined with their middleware
    is_compiled = false,
    plain = {}, -- middleware of everything, also of what is not found
  }
  return setmetatable({ shared = shared, prefix = "", middleware = shared.plain, parent = false }, Router)
end

local function misuse(text, ...)
  errors.raise("argument", "router: " .. text, ...)
end

local function check_function(what, fn)
  if type(fn) ~= "function" then misuse("%s: a function is needed, not a %s", what, type(fn)) end
end

-- The segments of a pattern: { { kind, text } ... }, and whether all are text.
local function parse_pattern(pattern)
  if type(pattern) ~= "string" or pattern:sub(1, 1) ~= "/" then
    misuse("a pattern begins with \"/\", %q does not", tostring(pattern))
  end
  local segments, is_static, seen = {}, true, {}
  for text in pattern:sub(2):gmatch "([^/]*)/?" do
    segments[#segments + 1] = text
  end
  -- The last match is the empty one behind everything; behind a slash it counts.
  if pattern:sub(-1) ~= "/" then segments[#segments] = nil end
  for number, text in ipairs(segments) do
    local name, rest = text:match "^{([%a_][%w_]*)}$", text:match "^%*([%a_][%w_]*)$"
    if rest and number < #segments then misuse("in %q, *%s is not the last segment", pattern, rest) end
    if not name and not rest and text:find "[{}*]" then
      misuse("in %q, segment %q is neither text nor {name} nor *name", pattern, text)
    end
    local either = name or rest
    if either then
      if seen[either] then misuse("in %q, the name %s stands twice", pattern, either) end
      seen[either], is_static = true, false
    end
    segments[number] = { kind = name and "name" or rest and "rest" or "text", text = either or text }
  end
  return segments, is_static
end

local function entry_at(shared, place, key, pattern)
  local entry = place[key]
  if not entry then
    entry = { pattern = pattern, by_method = {}, names = {} }
    place[key] = entry
    shared.entries[#shared.entries + 1] = entry
  end
  return entry
end

-- The entry of a pattern, made where there is none.
local function add_entry(shared, pattern)
  local segments, is_static = parse_pattern(pattern)
  if is_static then return entry_at(shared, shared.static, pattern, pattern) end
  local node, names = shared.root, {}
  for _, segment in ipairs(segments) do
    if segment.kind == "rest" then
      names[#names + 1] = segment.text
      local entry = entry_at(shared, node, "rest", pattern)
      return entry, names
    elseif segment.kind == "name" then
      names[#names + 1] = segment.text
      node.name = node.name or new_node()
      node = node.name
    else
      local text = codec.percent_decode(segment.text)
      node.texts[text] = node.texts[text] or new_node()
      node = node.texts[text]
    end
  end
  return entry_at(shared, node, "route", pattern), names
end

--- Adds a route. Middleware of its own may stand before the handler.
---@param method string
---@param pattern string
---@param ... function middleware, then the handler
---@return moonring.http.Router self
function Router:route(method, pattern, ...)
  if type(method) ~= "string" or not codec.is_token(method) then misuse("method %q is not a token", tostring(method)) end
  local count = select("#", ...)
  if count == 0 then misuse("%s %s: a handler is needed", method, tostring(pattern)) end
  for number = 1, count do
    check_function(method .. " " .. tostring(pattern), (select(number, ...)))
  end
  local shared = self.shared
  local whole = self.prefix .. pattern
  local entry, names = add_entry(shared, whole)
  if entry.by_method[method] then misuse("%s %s: there is a route of %s already", method, whole, entry.pattern) end
  entry.by_method[method] = { router = self, functions = { ... }, names = names or {} }
  shared.is_compiled = false
  return self
end

for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD" } do
  Router[method:lower()] = function(self, pattern, ...)
    return self:route(method, pattern, ...)
  end
end

--- Adds middleware to all routes of this router, those that are there already included. On the outermost router it is run
--- for what is not found, too.
---@param fn fun(request: moonring.http.Request, response: moonring.http.Response, next: function)
---@return moonring.http.Router self
function Router:use(fn)
  check_function("use", fn)
  self.middleware[#self.middleware + 1] = fn
  self.shared.is_compiled = false
  return self
end

--- A router for what lies below a prefix, with middleware of its own behind that of this one.
---@param prefix string begins with a slash and does not end with one
---@return moonring.http.Router
function Router:group(prefix)
  if type(prefix) ~= "string" or not prefix:find "^/.*[^/]$" then
    misuse("group: a prefix begins with \"/\" and does not end with it, %q is none", tostring(prefix))
  end
  return setmetatable({ shared = self.shared, prefix = self.prefix .. prefix, middleware = {}, parent = self }, Router)
end

--- Sets the handler of what no route matches; without one it is answered with 404.
---@param handler function
---@return moonring.http.Router self
function Router:missing(handler)
  check_function("missing", handler)
  self.shared.missing, self.shared.is_compiled = handler, false
  return self
end

-- Compiling -----------------------------------------------------------------------------------------------------------

-- One function that runs the middleware and then the handler.
local function join(middleware, handler)
  local following = handler
  for number = #middleware, 1, -1 do
    local fn, inner = middleware[number], following
    following = function(request, response)
      return fn(request, response, inner)
    end
  end
  return following
end

local function chain_of(router, functions)
  local all = {}
  local routers = {}
  while router do
    table.insert(routers, 1, router)
    router = router.parent
  end
  for _, each in ipairs(routers) do
    for _, fn in ipairs(each.middleware) do
      all[#all + 1] = fn
    end
  end
  for number = 1, #functions - 1 do
    all[#all + 1] = functions[number]
  end
  return join(all, functions[#functions])
end

local function not_found(_, response)
  response:send(404, "Not Found\n")
end

-- The methods that a path knows, for Allow (RFC 9110 section 10.2.1): those of all patterns that match it.
local function allow_of(entries)
  local methods = { OPTIONS = true }
  for _, entry in ipairs(entries) do
    for method in pairs(entry.by_method) do
      methods[method] = true
    end
  end
  if methods.GET then methods.HEAD = true end
  local list = {}
  for method in pairs(methods) do
    list[#list + 1] = method
  end
  table.sort(list)
  return table.concat(list, ", ")
end

local function compile_entry(entry)
  local compiled = {}
  for method, route in pairs(entry.by_method) do
    compiled[method] = { handler = chain_of(route.router, route.functions), names = route.names }
  end
  compiled.HEAD = compiled.HEAD or compiled.GET
  entry.compiled = compiled
end

-- Answers for a path whose patterns have no route for the method.
local function refuse_method(request, response)
  local allow = { Allow = allow_of(request.router_entries) }
  if request.method == "OPTIONS" then return response:send(204, "", allow) end
  return response:send(405, "Method Not Allowed\n", allow)
end

local function answer_options(_, response)
  response:send(204)
end

local function compile(shared)
  for _, entry in ipairs(shared.entries) do
    compile_entry(entry)
  end
  shared.not_found = join(shared.plain, shared.missing or not_found)
  shared.options = join(shared.plain, answer_options)
  shared.refuse_method = join(shared.plain, refuse_method)
  shared.is_compiled = true
end

-- Matching ------------------------------------------------------------------------------------------------------------

-- An entry that matches: whether it has a route for the method. One that hasn't is noted.
local function accepts(search, entry)
  if entry.compiled[search.method] then return true end
  search.others[#search.others + 1] = entry
  return false
end

-- Finds the entry below a node for the segments from that number on. What names stand for is put into values, as sent.
local function find(search, node, number, count)
  local segment = search.segments[number]
  if segment == nil then
    if node.route and accepts(search, node.route) then return node.route end
    return nil
  end
  local child = node.texts[codec.percent_decode(segment.text)]
  if child then
    local entry = find(search, child, number + 1, count)
    if entry then return entry end
  end
  if node.name and segment.text ~= "" then
    search.values[count + 1] = segment.text
    local entry = find(search, node.name, number + 1, count + 1)
    if entry then return entry end
  end
  if node.rest and accepts(search, node.rest) then
    search.values[count + 1] = search.path:sub(segment.from)
    return node.rest
  end
end

-- Deeper paths than any route are not taken apart to their end.
local SEGMENTS_MAX = 64

local function split(path)
  local segments, from = {}, 2
  while #segments < SEGMENTS_MAX do
    local slash = path:find("/", from, true)
    segments[#segments + 1] = { text = path:sub(from, (slash or 0) - 1), from = from }
    if not slash then break end
    from = slash + 1
  end
  return segments
end

-- A static entry that is asked for by its path, or by another spelling of it.
local function find_static(shared, path)
  local entry = shared.static[path]
  if entry or not path:find("%", 1, true) or path:find "%%2[fF]" then return entry end
  return shared.static[codec.percent_decode(path)]
end

local function run_with_values(request, response, route, values)
  local parameters = {}
  for number, name in ipairs(route.names) do
    parameters[name] = codec.percent_decode(values[number])
  end
  request.parameters = parameters
  return route.handler(request, response)
end

-- What isn't found by one look into the table of static paths.
local function run_unknown(shared, request, response, path, method)
  local search = { path = path, method = method, segments = false, values = {}, others = {} }
  local entry = find_static(shared, path)
  if entry and not accepts(search, entry) then entry = nil end
  if not entry and path:byte() == 47 then
    search.segments = split(path)
    entry = find(search, shared.root, 1, 0)
  end
  if entry then return run_with_values(request, response, entry.compiled[method], search.values) end
  if search.others[1] then
    request.router_entries = search.others
    return shared.refuse_method(request, response)
  end
  if path == "*" and method == "OPTIONS" then return shared.options(request, response) end
  return shared.not_found(request, response)
end

--- The router as a handler. http.serve takes the router itself, too.
---@return fun(request: moonring.http.Request, response: moonring.http.Response)
function Router:handler()
  local shared = self.shared
  return function(request, response)
    if not shared.is_compiled then compile(shared) end
    local path, method = request.path, request.method
    local entry = shared.static[path]
    local route = entry and entry.compiled[method]
    if route then return route.handler(request, response) end
    return run_unknown(shared, request, response, path, method)
  end
end

function Router:__tostring()
  return ("moonring.http.Router(%s, %d patterns)"):format(self.prefix == "" and "/" or self.prefix, #self.shared.entries)
end

return M
