--- moonring.http.middleware.cors: which pages of other origins may read answers (Fetch standard, "HTTP-CORS protocol").
--
-- A browser asks before anything that a plain form could not do: OPTIONS with Access-Control-Request-Method, a preflight.
-- It is answered here; all else goes on, with the fields that let the page see the answer. Refusing is the browser's
-- business.

local errors = require "moonring.errors"

local M = {}

---@class moonring.http.CorsOptions
--@field origins string[]|"*"|fun(origin: string, request: moonring.http.Request): boolean whose pages:
-- "https://example.org",
--- or all
---@field methods? string[] that they may use; default GET, HEAD, POST, PUT, PATCH and DELETE
---@field headers? string[] that they may send; default: what the browser asks for
---@field expose? string[] fields of the answer that they may read, besides the usual ones
---@field credentials? boolean with cookies and passwords; not with origins = "*"
---@field max_age? integer seconds that a browser need not ask again; default 600

local OPTIONS = { origins = true, methods = "table", headers = "table", expose = "table", credentials = "boolean",
  max_age = "number" }
local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" }

local function set_of(list)
  local set = {}
  for _, each in ipairs(list) do
    set[each] = true
  end
  return set
end

-- A function that judges origins.
local function judge_of(options)
  local origins = options.origins
  if origins == "*" then
    if options.credentials then
      errors.raise("argument",
        'http.cors: with credentials the origins are named, not "*": every page could read what is its '
        .. "visitor's alone")
    end
    return function() return true end
  end
  if type(origins) == "function" then return origins end
  if type(origins) ~= "table" then
    errors.raise("argument", 'http.cors: origins are a list, a function or "*", not %s', tostring(origins))
  end
  local set = set_of(origins)
  return function(origin) return set[origin] end
end

local function answer_preflight(self, request, response)
  response:set_field("Access-Control-Allow-Methods", self.methods)
  local headers = self.headers or request:header "access-control-request-headers"
  if headers then response:set_field("Access-Control-Allow-Headers", headers) end
  response:set_field("Access-Control-Max-Age", self.max_age)
  return response:send(204)
end

--- Makes the middleware. It belongs on the outermost router, which sees OPTIONS for all paths.
---@param options moonring.http.CorsOptions
---@return function
function M.new(options)
  options = options or {}
  errors.check_options("http.cors", options, OPTIONS)
  local is_allowed, is_for_all = judge_of(options), options.origins == "*"
  local self = { methods = table.concat(options.methods or METHODS, ", "),
    headers = options.headers and table.concat(options.headers, ", "), max_age = ("%d"):format(options.max_age or 600) }
  local expose = options.expose and table.concat(options.expose, ", ")
  return function(request, response, next)
    local origin = request:header "origin"
    if not is_for_all then response:add_field("Vary", "Origin") end -- the answer to another page is another one
    local allowed = origin and is_allowed(origin, request)
    if allowed then
      response:set_field("Access-Control-Allow-Origin", is_for_all and "*" or origin)
      if options.credentials then response:set_field("Access-Control-Allow-Credentials", "true") end
    end
    if origin and request.method == "OPTIONS" and request:header "access-control-request-method" then
      if not allowed then return response:send(204) end
      return answer_preflight(self, request, response)
    end
    if allowed and expose then response:set_field("Access-Control-Expose-Headers", expose) end
    return next(request, response)
  end
end

return M
