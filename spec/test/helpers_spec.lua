local moonring, net = require "moonring", require "moonring.net"
local test, errors = require "moonring.test", require "moonring.errors"

describe("moonring.test", function()
  it("finds a free port", function()
    local listener = assert(net.listen { port = test.free_port() })
    listener:close()
  end)

  it("connects pairs", function()
    moonring.scope(function(scope)
      local client, server = test.pair(scope)
      client:write "ping"
      assert.equal("ping", server:read():to_string())
      server:write "pong"
      assert.equal("pong", client:read():to_string())
    end)
  end)

  it("makes peers that send in pieces and keep what they got", function()
    moonring.scope(function(scope)
      local peer = test.peer(scope, { "one", 0.02, "two" })
      local client = scope:own(assert(net.connect { port = peer.port }))
      assert.equal("one", client:read():to_string())
      assert.equal("two", client:read():to_string())
      assert.is_nil(client:read())
      client:write "answer"
      client:close()
      assert.equal("answer", peer:received())
    end)
  end)

  it("waits for what comes about", function()
    local count = 0
    assert.equal(3, test.eventually(function()
      count = count + 1
      return count == 3 and count
    end))
    assert.is_false(test.eventually(function() return false end, 0.02))
  end)

  it("refuses deadlines that are none", function()
    for _, seconds in ipairs { 0, -1, "x", 0 / 0 } do
      local ok, failure = pcall(test.deadline, seconds)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "argument"))
    end
  end)
end)
