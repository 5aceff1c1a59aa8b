-- What the activities of the soak meet: servers that echo, stall, reset, half-close and leave, a listener that is deaf, a
-- server of names that forgets to answer, a directory. And what activities share: checking, and noting where things
-- were made.

local moonring = require "moonring"
local net = require "moonring.net"
local fs = require "moonring.fs"
local dns = require "moonring.dns"
local errors = require "moonring.errors"
local dns_server = require "spec.support.dns_server"
local system = require "spec.support.system"
local randoms = require "spec.soak.random"

local M = {
  -- Where descriptors were made, by number.
  made_at = {},
  -- What bytes are made of. No period that a lost piece could hide behind.
  block = nil,
}

local MAX_BYTES = 400000

do
  local random, parts = randoms.new(99), {}
  for i = 1, MAX_BYTES / 8 do
    parts[i] = ("%08x"):format(random:next())
  end
  M.block = table.concat(parts)
end

local function place()
  local level = 3
  local info = debug.getinfo(level, "Sl")
  return info and ("at %s:%d"):format(info.short_src, info.currentline) or "?"
end

local function number_of(object)
  local descriptor = type(object) == "table" and object.descriptor or nil
  if type(descriptor) == "function" then return object:descriptor() end
  if type(descriptor) == "number" then return descriptor end
end

--- The value that a call has given, which then belongs to the scope. Raises what the call has returned instead.
function M.own(scope, value, message, code)
  if value == nil then errors.raise(code or "EOF", "%s", message or "the end") end
  local number = number_of(value)
  if number then M.made_at[number] = place() end
  return scope:own(value)
end

--- The value, or an error with the code of what the world has done.
function M.must(value, message, code)
  if value == nil then errors.raise(code or "EOF", "%s", message or "the end") end
  return value
end

--- Raises what the soak is there to find.
function M.check(condition, what, ...)
  if not condition then error("WRONG: " .. what:format(...), 2) end
end

--- Bytes that `random` chooses: few, or many.
function M.some_bytes(random)
  local count = random:chance(4) and random:number(MAX_BYTES / 2) or random:number(2000)
  local first = random:number(MAX_BYTES / 2)
  return M.block:sub(first, first + count - 1)
end

-- Servers -------------------------------------------------------------------------------------------------------------

local function obey(connection, random, line)
  local what, count = line:match "^(%a+) ?(%d*)$"
  count = tonumber(count)
  if what == "echo" then
    connection:write(M.must(connection:read_exactly(count)))
  elseif what == "push" then
    connection:write(M.block:sub(1, count))
  elseif what == "stall" then
    moonring.sleep(random:seconds(0.3))
  elseif what == "reset" then
    connection:set { linger = 0 }
    return true
  elseif what == "half" then
    connection:shutdown()
  elseif what == "take" then
    M.must(connection:receive_descriptor()):close()
  elseif what == "leave" then
    return true
  end
end

-- Its own deadline cuts it off now and then, in whatever it does.
local function serve_lines(random)
  return function(connection)
    pcall(moonring.timeout, random:chance(3) and random:seconds(0.5) or 20, function()
      for line in connection:lines() do
        if obey(connection, random, line) then return end
      end
    end)
  end
end

-- Gives back what comes, without copying it.
local function serve_mirror(random)
  return function(connection)
    pcall(moonring.timeout, random:chance(4) and random:seconds(0.5) or 20, function()
      for piece in connection:chunks() do
        if not connection:write(piece) then return end
      end
      connection:shutdown()
      connection:flush()
    end)
  end
end

local function serve_datagrams(scope, socket, random)
  scope:spawn(function()
    for datagram, from in socket:datagrams() do
      if from and not random:chance(10) then socket:send(datagram, from) end
    end
  end):named "datagrams"
end

-- Answers some names, late; forgets others; cuts answers, so that they are asked for over TCP.
local function answer_names(random)
  return function(query, reply, transport)
    local question = query.questions[1]
    local what = question.name:lower():match "^(%a+)"
    if what == "silent" or random:chance(20) then return nil end
    if what == "late" then moonring.sleep(random:seconds(0.02)) end
    if what == "broken" then
      reply.rcode = "SERVFAIL"
    elseif what == "none" then
      reply.rcode = "NXDOMAIN"
    elseif question.type == "A" then
      local count = what == "long" and transport == "tcp" and 60 or 2
      if what == "long" and transport == "udp" then reply.truncated = true end
      for i = 1, count do
        reply.answers[i] = { name = question.name, type = "A", ttl = 1, address = "127.0.0." .. (i == 1 and 9 or i - 1) }
      end
    end
    return reply
  end
end

--- Starts everything in the scope.
---@param scope moonring.Scope
---@param seed integer
function M.start(scope, seed)
  local random = randoms.new(seed)
  local self = setmetatable({}, { __index = M })
  self.directory = M.own(scope, fs.temporary_directory()).path
  self.lines = M.own(scope, net.listen { backlog = 512 })
  self.lines_path = self.directory .. "/lines"
  self.local_lines = M.own(scope, net.listen { path = self.lines_path, descriptors = true })
  self.mirror = M.own(scope, net.listen { backlog = 512 })
  self.servers = {
    scope:spawn(net.serve, self.lines, serve_lines(random)):named "lines",
    scope:spawn(net.serve, self.local_lines, serve_lines(random)):named "local lines",
    scope:spawn(net.serve, self.mirror, serve_mirror(random)):named "mirror",
  }
  self.udp = M.own(scope, net.datagram { host = "127.0.0.1", port = 0 })
  serve_datagrams(scope, self.udp, random)
  self.local_datagrams = M.own(scope, net.datagram { path = self.directory .. "/datagrams", max_bytes = 2048 })
  serve_datagrams(scope, self.local_datagrams, random)
  local deaf, port = system.deaf_listener()
  scope:own { close = function() system.close(deaf) end }
  self.deaf = net.address.parse("127.0.0.1", port)
  M.own(scope, net.connect { port = port }) -- its queue is full now
  self.names = dns_server.start(scope, answer_names(random))
  self.resolver = scope:own(dns.resolver { servers = { self.names.address }, timeout = 0.05, attempts = 2, cache = 5,
    hosts = self.directory .. "/hosts" })
  return self
end

--- A listener that has been closed: what connects there is refused.
function M.refusing_address()
  local listener = M.must(net.listen {})
  local where = listener:address()
  listener:close()
  return where
end

return M
