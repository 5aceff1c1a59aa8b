-- What connections, listeners and datagram sockets have in common: one task waits at each of their sides.

local moonring = require "moonring"
local net = require "moonring.net"

-- Each makes an object that has nothing to give, says how to wait for that, and lets something come.
local kinds = {
  {
    what = "connection:read",
    make = function(scope)
      local listener = scope:own(assert(net.listen {}))
      local client = scope:own(assert(net.connect { port = listener.port }))
      local server = scope:own(assert(listener:accept()))
      return server, function() client:write "something" end
    end,
    wait = function(connection) return connection:read() end,
    operation = function(connection) return connection:read_op() end,
  },
  {
    what = "datagram socket:receive",
    make = function(scope)
      local socket = scope:own(assert(net.datagram { host = "127.0.0.1" }))
      local sender = scope:own(assert(net.datagram {}))
      return socket, function() assert(sender:send("something", socket:address())) end
    end,
    wait = function(socket) return socket:receive() end,
    operation = function(socket) return socket:receive_op() end,
  },
  {
    what = "listener:accept",
    make = function(scope)
      local listener = scope:own(assert(net.listen {}))
      return listener, function() scope:own(assert(net.connect { port = listener.port })) end
    end,
    wait = function(listener)
      local connection = listener:accept()
      if connection then connection:close() end
      return connection
    end,
    operation = function(listener) return listener:accept_op() end,
  },
}

local function find(reports, name)
  for _, report in ipairs(reports) do
    local found = report.name == name and report or find(report.children, name)
    if found then return found end
  end
end

for _, kind in ipairs(kinds) do
  local method = kind.what:match "%a+$"

  -- Runs body(object, bring, waiter) while the task `waiter` waits for the object; it returns what pcall of that returns.
  local function with_waiter(body)
    moonring.scope(function(scope)
      local object, bring = kind.make(scope)
      local waiter = scope:spawn(function() return pcall(kind.wait, object) end)
      moonring.sleep(0)
      body(object, bring, waiter)
    end)
  end

  describe(kind.what, function()
    it("tells a second task who waits there already, and the first one gets what comes", function()
      with_waiter(function(object, bring, waiter)
        for _, wait in ipairs { kind.wait, function() return kind.operation(object):perform() end } do
          local ok, failure = pcall(wait, object)
          assert.is_false(ok)
          assert.equal("busy", failure.code)
          assert.matches("^" .. kind.what .. ": moonring%.Task " .. waiter.id, failure.message)
        end
        bring()
        local _, ok, found = waiter:join()
        assert.is_true(ok)
        assert.is_truthy(found)
      end)
    end)

    it("is free again when the task that waits is cancelled, and when a select is done otherwise", function()
      with_waiter(function(object, bring, waiter)
        waiter:cancel()
        local _, ok, failure = waiter:join()
        assert.is_false(ok)
        assert.equal("cancelled", failure.code)
        assert.equal("late", (moonring.select { found = kind.operation(object), late = moonring.sleep_op(0.01) }))
        bring()
        assert.is_truthy(moonring.timeout(5, kind.wait, object))
      end)
    end)

    it("raises \"closed\" in the task that waits when it is closed, and for who comes later", function()
      with_waiter(function(object, _, waiter)
        object:close()
        local _, ok, failure = waiter:join()
        assert.is_false(ok)
        assert.equal("closed", failure.code)
        ok, failure = pcall(kind.wait, object)
        assert.is_false(ok)
        assert.equal("closed", failure.code)
        ok, failure = pcall(kind.operation(object).perform, kind.operation(object))
        assert.is_false(ok)
        assert.equal("closed", failure.code)
      end)
    end)

    it("is what the tree of tasks says that the task waits on", function()
      with_waiter(function(object, bring, waiter)
        waiter:named "the one that waits"
        assert.equal(method .. " of " .. tostring(object), find(moonring.tasks(), "the one that waits").waiting_on)
        bring()
      end)
    end)
  end)
end
