-- moonring.http: HTTP servers.

local net = require "moonring.net"
local errors = require "moonring.errors"
local codec = require "moonring.http.codec"
local server = require "moonring.http.server"

local M = {}

---@class moonring.http.ServeOptions: moonring.ListenOptions
---@field limits? moonring.http.Limits what is accepted; fields left out keep their default

local function with_defaults(limits)
  if not limits then return codec.limits end
  local merged = {}
  for name, default in pairs(codec.limits) do
    merged[name] = limits[name] or default
  end
  for name in pairs(limits) do
    if not merged[name] then
      errors.raise("argument", "http.serve: there is no limit %s; limits are head_bytes, target_bytes and body_bytes",
        tostring(name))
    end
  end
  return merged
end

--- Serves HTTP/1.1: `handler(request, response)` for each request, in the task of its connection. Returns as
--- net.serve does.
---@param where moonring.http.ServeOptions|moonring.Listener
---@param handler fun(request: moonring.http.Request, response: moonring.http.Response)
---@param options? moonring.http.ServeOptions when `where` is a listener
function M.serve(where, handler, options)
  if type(handler) ~= "function" then
    errors.raise("argument", "http.serve: a handler function is needed, not a %s", type(handler))
  end
  local limits = with_defaults((options or where).limits)
  return net.serve(where, function(connection)
    return server.run(connection, handler, limits)
  end)
end

return M
