--- moonring.http.middleware.basic_auth: user and password by the browser's own dialogue (RFC 7617). Both can be read by
--- whoever sees the connection, so it is for TLS, or for a network that is trusted.

local errors = require "moonring.errors"
local buffer = require "moonring.buffer"
local digest = require "moonring.digest"
local native = require "moonring.native"

local C = native.C

local M = {}

---@class moonring.http.BasicAuthOptions
---@field users? table<string, string> passwords by user
--@field check? fun(user: string, password: string, request: moonring.http.Request): any in the place of users: whether
-- they are
--- let in
---@field realm? string what the dialogue says; default "this server"

-- Digests are compared in the place of passwords, so that the time it takes tells nothing of how much was right.
local function is_same(left, right)
  return digest.digest("SHA256", left) == digest.digest("SHA256", right)
end

local function checker_of(options)
  if options.check then return options.check end
  if not options.users then errors.raise("argument", "http.basic_auth: users or check is needed") end
  return function(user, password)
    local wanted = options.users[user]
    -- An unknown user takes as long as a known one.
    return is_same(password, wanted or "") and wanted ~= nil
  end
end

local function decode(text)
  local room = buffer.allocate(math.max(#text, 1))
  local plain = room:write_base64(text) and room:reset_for_read():to_string()
  room:release()
  return plain
end

-- User and password of an Authorization field, or nil.
local function credentials(value)
  local encoded = value and value:match "^[bB][aA][sS][iI][cC] +([%w+/=]+)$"
  local text = encoded and decode(encoded)
  if text and text:find "[%z\1-\31\127]" then return nil end
  return (text or ""):match "^([^:]*):(.*)$"
end

--- Makes the middleware. `request.user` is who was let in.
---@param options moonring.http.BasicAuthOptions
---@return function
function M.new(options)
  options = options or {}
  errors.check_options("http.basic_auth", options, { users = "table", check = "function", realm = "string" })
  local realm = options.realm or "this server"
  if realm:find '["\\]' or C.mr_scan_span(realm, #realm, C.MR_CLASS_VALUE) ~= #realm then
    errors.raise("argument", "http.basic_auth: the realm is text without quotes and backslashes, not %q", realm)
  end
  local check, fields = checker_of(options), { ["WWW-Authenticate"] = ('Basic realm="%s", charset="UTF-8"'):format(realm) }
  return function(request, response, next)
    local user, password = credentials(request:header "authorization")
    if not user or not check(user, password, request) then return response:send(401, "Unauthorized\n", fields) end
    request.user = user
    return next(request, response)
  end
end

return M
