--- moonring.http.client.pool: the open connections of a session, kept for the next request to the same server.
--
-- Each server has a bound on the connections to it, and whoever wants one more waits in line. The one given back last
-- is lent
-- first; one that the server has closed meanwhile, or on which something came that nobody has asked for, is not lent.

local clock = require "moonring.clock"
local semaphore = require "moonring.semaphore"

local M = {}

--- Internal.
---@class moonring.http.ConnectionPool
local Pool = { __name = "moonring.http.ConnectionPool" }
Pool.__index = Pool

--- Makes a pool. `open(url)` gives a new connection, or nil, message, code.
---@param options { open: function, size: integer, idle: number }
---@return moonring.http.ConnectionPool
function M.new(options)
  return setmetatable({
    open = options.open,
    size = options.size, -- connections to one server
    idle_seconds = options.idle,
    servers = {}, -- by key: { permits, idle = { { connection, since } ... } }
    timer = false,
    closed = false,
  }, Pool)
end

local function server_of(self, key)
  local server = self.servers[key]
  if not server then
    server = { permits = semaphore.new(self.size), idle = {} }
    server.permits.queue.what = "a connection to " .. key
    self.servers[key] = server
  end
  return server
end

-- A server that nobody uses or waits for is forgotten, so that a crawler's table doesn't grow with the web.
local function forget_unused(self, key, server)
  if not server.idle[1] and server.permits.free == self.size and server.permits:waiting() == 0 then
    self.servers[key] = nil
  end
end

-- Closes what has been idle for too long; returns when the next one is due.
local function close_expired(self, now)
  local due = math.huge
  for key, server in pairs(self.servers) do
    while server.idle[1] and now - server.idle[1].since >= self.idle_seconds do
      table.remove(server.idle, 1).connection:close(0)
    end
    if server.idle[1] then due = math.min(due, server.idle[1].since + self.idle_seconds) end
    forget_unused(self, key, server)
  end
  return due
end

local function arm(self, due, now)
  if self.timer or due == math.huge then return end
  self.timer = clock.start(due - now, self)
end

--- The timer, from the scheduler.
function Pool:expired()
  self.timer = false
  local now = clock.now()
  arm(self, close_expired(self, now), now)
end

local function take_idle(server)
  while true do
    local entry = table.remove(server.idle)
    if not entry then return nil end
    if entry.connection:is_quiet() then return entry.connection end
    entry.connection:close(0)
  end
end

--- Lends a connection to the server of that key.
---@param key string
---@param url moonring.http.Url what open gets
---@param is_new? boolean not one that was used before
---@return moonring.Connection? connection
---@return string|boolean? detail whether it was used before; or the message
---@return string? code
function Pool:acquire(key, url, is_new)
  local server = server_of(self, key)
  server.permits:acquire()
  local connection = not is_new and take_idle(server)
  if connection then return connection, true end
  local ok, message, code
  ok, connection, message, code = pcall(self.open, url)
  if ok and connection then return connection, false end
  server.permits:release()
  forget_unused(self, key, server)
  if not ok then error(connection, 0) end
  return nil, message, code
end

--- Takes a connection back; one that can't serve another request is closed.
---@param key string
---@param connection moonring.Connection
---@param is_reusable boolean
function Pool:release(key, connection, is_reusable)
  local server = self.servers[key]
  if is_reusable and connection.slot and not self.closed then
    local now = clock.now()
    if connection.input then connection.input:release() end -- an idle connection holds no memory
    server.idle[#server.idle + 1] = { connection = connection, since = now }
    arm(self, now + self.idle_seconds, now)
  else
    connection:close(0)
  end
  server.permits:release()
  forget_unused(self, key, server)
end

--- How many connections are idle, over all servers.
---@return integer
function Pool:idle_count()
  local count = 0
  for _, server in pairs(self.servers) do
    count = count + #server.idle
  end
  return count
end

--- Closes the idle ones, and the lent ones as they come back.
function Pool:close()
  self.closed = true
  if self.timer then clock.stop(self.timer, self) end
  self.timer = false
  for key, server in pairs(self.servers) do
    for _, entry in ipairs(server.idle) do
      entry.connection:close(0)
    end
    server.idle = {}
    forget_unused(self, key, server)
  end
end

return M
