-- moonring.http: HTTP servers.

local net = require "moonring.net"
local errors = require "moonring.errors"
local task = require "moonring.task"
local deadline = require "moonring.deadline"
local event = require "moonring.event"
local codec = require "moonring.http.codec"
local server = require "moonring.http.server"
local deadlines = require "moonring.http.deadlines"

local M = {}

---@class moonring.http.ServeOptions: moonring.ListenOptions
---@field listener? moonring.Listener what to listen on, in the place of host and port
---@field limits? moonring.http.Limits what is accepted; fields left out keep their default
---@field timeouts? moonring.http.Timeouts seconds that clients have; fields left out keep their default
---@field access_log? string|boolean|moonring.http.AccessLogOptions|fun(entry: moonring.http.LogEntry) a path, true for
--- standard output, a table with a path and a format, or a function
---@field trusted_proxies? string[] whose X-Forwarded-For and X-Forwarded-Proto count for request.client and request.scheme:
--- addresses, networks ("10.0.0.0/8"), and "unix"

---@class moonring.http.Server
---@field port integer
local Server = { __name = "moonring.http.Server" }
Server.__index = Server

-- The options that are HTTP's; the others are the listener's.
local OWN_OPTIONS = { listener = true, limits = true, timeouts = true, access_log = true, trusted_proxies = true }

local function listen(options)
  local rest = {}
  for name, value in pairs(options) do
    if not OWN_OPTIONS[name] then rest[name] = value end
  end
  return net.listen(rest)
end

--- Makes a server that listens already and serves once `serve` is called.
---@param options moonring.http.ServeOptions
---@return moonring.http.Server? server
---@return string? message
---@return string? code "EADDRINUSE" ...
function M.server(options)
  options = options or {}
  require("moonring.net.listener").check_options("http.server", options, OWN_OPTIONS)
  local timeouts = deadlines.merge_timeouts("http.server", options.timeouts)
  local limits = codec.merge_limits("http.server", options.limits)
  local proxies = options.trusted_proxies and require("moonring.http.forwarded").networks(options.trusted_proxies)
  local resources = {} -- as keys: what handlers hold that ends with the service
  local log, problem, log_code
  if options.access_log then
    log, problem, log_code = require("moonring.http.access_log").open(options.access_log, proxies ~= nil)
    if not log then return nil, problem, log_code end
    if problem then resources[{ close = problem }] = true end
  end
  local listener = options.listener
  if not listener then
    local message, code
    listener, message, code = listen(options)
    if not listener then return nil, message, code end
  end
  return setmetatable({
    listener = listener, port = listener.port, limits = limits, timeouts = timeouts, tick = deadlines.tick_of(timeouts),
    resources = resources,
    access_log = log or false, trusted_proxies = proxies or false, stopping = false, on_end = false,
    connections = 0, requests = 0, refused = 0, failed = 0, timed_out = 0,
  }, Server)
end

local function handler_of(what, handler)
  if type(handler) == "table" and type(handler.handler) == "function" then handler = handler:handler() end
  if type(handler) ~= "function" then
    errors.raise("argument", "%s: a handler function or a router is needed, not a %s", what, type(handler))
  end
  return handler
end

--- Serves until the server is stopped, its task is cancelled, or the listener fails, which raises.
---@param handler fun(request: moonring.http.Request, response: moonring.http.Response)|moonring.http.Router
function Server:serve(handler)
  handler = handler_of("server:serve", handler)
  local ok, failure = pcall(net.serve, self.listener, function(connection)
    return server.run(self, connection, handler)
  end)
  for resource in pairs(self.resources) do
    resource:close()
  end
  self.resources = {}
  if not ok then error(failure, 0) end
end

--- The address that it listens on.
---@return moonring.Address
function Server:address()
  return self.listener:address()
end

local function has_ended(self, own)
  return self.connections == (own and 1 or 0)
end

local function wait_for_end(self, own, ended)
  while not has_ended(self, own) do
    ended:wait()
    ended:reset()
  end
end

--- Ends the service in order: no new connections, idle ones are closed at once, requests in progress get their answer
--- and "Connection: close" with it. Waits for that, `seconds` at most (default 30), and cancels what is left then. A
--- handler that calls it is not waited for. serve returns when all have ended.
---@param seconds? number
---@return boolean finished whether nothing had to be cancelled
function Server:stop(seconds)
  seconds = seconds or 30
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    errors.raise("argument", "server:stop: a number of seconds is needed, not %s", tostring(seconds))
  end
  self.stopping = true
  self.listener:close()
  local own
  local me = task.current()
  for connection, owner in deadlines.of(self) do
    if owner == me then
      own = true
    elseif connection.on_stop then
      connection:on_stop()
    elseif connection.exchange then
      connection.exchange.head.keep_alive = false
    elseif not connection.is_upgraded then
      connection:close()
    end
  end
  local ended = event.new()
  self.on_end = function() ended:set() end
  local ok, failure = pcall(deadline.timeout, seconds, wait_for_end, self, own, ended)
  self.on_end = false
  if not ok and not errors.is(failure, "deadline") then error(failure, 0) end
  if has_ended(self, own) then return true end
  for _, owner in deadlines.of(self) do
    if owner ~= me then owner:cancel() end
  end
  return false
end

---@class moonring.http.Statistics
---@field connections integer open ones
---@field requests integer since the start
---@field refused integer heads that were no request
---@field failed integer handlers that raised, or ended without an answer
---@field timed_out integer requests that a timeout has ended

--- What it has done.
---@return moonring.http.Statistics
function Server:statistics()
  return { connections = self.connections, requests = self.requests, refused = self.refused, failed = self.failed,
    timed_out = self.timed_out }
end

--- Ends the service as cancelling it does: for scopes.
function Server:close()
  self.stopping = true
  self.listener:close()
  for _, owner in deadlines.of(self) do
    owner:cancel()
  end
end

function Server:__tostring()
  return ("moonring.http.Server(%s, %d connections)"):format(tostring(self.listener), self.connections)
end

--- Serves HTTP/1.1: `handler(request, response)` for each request, in the task of its connection. Returns as
--- net.serve does; a service that can't listen raises.
--- ```lua
--- local http = require "moonring.http"
---
--- local router = http.router()
--- router:get("/hello/{name}", function(request, response)
---   response:send(200, "Hello, " .. request.parameters.name .. "!\n")
--- end)
--- http.serve({ port = 8080 }, router)
--- ```
---@param where moonring.http.ServeOptions|moonring.Listener
---@param handler fun(request: moonring.http.Request, response: moonring.http.Response)|moonring.http.Router
---@param options? moonring.http.ServeOptions when `where` is a listener
function M.serve(where, handler, options)
  handler = handler_of("http.serve", handler)
  if type(where) ~= "table" then
    errors.raise("argument", "http.serve: a table of options such as { port = 8080 }, or a listener, is needed, not a %s",
      type(where))
  end
  local all = {}
  for name, value in pairs(options or (where.accept and {} or where)) do
    all[name] = value
  end
  if where.accept then all.listener = where end
  local self, message, code = M.server(all)
  if not self then errors.raise(code, "%s", message) end
  return self:serve(handler)
end

--- A router: see moonring.http.router.
---@return moonring.http.Router
function M.router()
  return require("moonring.http.router").new()
end

--- Makes a request and waits for its response: see moonring.http.client.
---@param url string|moonring.http.RequestOptions
---@param options? moonring.http.RequestOptions
---@return moonring.http.ClientResponse? response
---@return string? message
---@return string? code
function M.request(url, options)
  return require("moonring.http.client").request(url, options)
end

--- A session for requests that have connections, fields or a proxy in common: see moonring.http.client.
---@param options? moonring.http.SessionOptions
---@return moonring.http.Session
function M.session(options)
  return require("moonring.http.client").session(options)
end

--- A handler that answers with the files below a directory: see moonring.http.static.
---@param root string
---@param options? moonring.http.StaticOptions
---@return fun(request: moonring.http.Request, response: moonring.http.Response)
function M.static(root, options)
  return require("moonring.http.static").new(root, options)
end

--- Middleware that lets pages of other origins read answers: see moonring.http.middleware.cors.
---@param options moonring.http.CorsOptions
---@return function
function M.cors(options)
  return require("moonring.http.middleware.cors").new(options)
end

--- Middleware that asks for user and password: see moonring.http.middleware.basic_auth.
---@param options moonring.http.BasicAuthOptions
---@return function
function M.basic_auth(options)
  return require("moonring.http.middleware.basic_auth").new(options)
end

--- Middleware that compresses what handlers send: see moonring.http.middleware.compress.
---@param options? moonring.http.CompressOptions
---@return function
function M.compress(options)
  return require("moonring.http.middleware.compress").new(options)
end

--- Middleware that bounds how often a client may ask: see moonring.http.middleware.rate_limit.
---@param options moonring.http.RateLimitOptions
---@return function
function M.rate_limit(options)
  return require("moonring.http.middleware.rate_limit").new(options)
end

M.percent_decode, M.percent_encode = codec.percent_decode, codec.percent_encode
M.parse_pairs, M.format_pairs = codec.parse_pairs, codec.format_pairs
M.date = codec.date

return M
