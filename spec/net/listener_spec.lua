local moonring, net = require "moonring", require "moonring.net"

describe("a listener", function()
  it("leaves the connection alone that was accepted in the turn in which it is closed", function()
    moonring.scope(function(scope)
      local listener = assert(net.listen {})
      local client = scope:own(assert(net.connect { port = listener.port }))
      local server = scope:own(assert(listener:accept()))
      listener:close()
      client:write "hello"
      client:close()
      assert.equal("hello", assert(server:read()):to_string())
    end)
  end)
end)
