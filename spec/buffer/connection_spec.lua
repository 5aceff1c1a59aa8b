local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local moonring = require "moonring"
local net = require "moonring.net"

local raises = kinds.raises

-- Runs fn(scope, here, there) with the two ends of a connection.
local function connected(fn)
  moonring.scope(function(scope)
    local listener = scope:own(assert(net.listen {}))
    local here = scope:own(assert(net.connect { port = listener.port }))
    fn(scope, here, scope:own(assert(listener:accept())))
  end)
end

describe("a connection and a buffer of the caller's", function()
  it("read as much as is there and fits, and the position tells how much", function()
    for _, kind in ipairs(kinds.list) do
      if kind.writable then
        connected(function(_, here, there)
          kind.with("................", function(made)
            there:write("\0\0\1\2rest of it")
            made:set_limit(4)
            assert.equal(made, here:read(made))
            assert.equal(4, made.position)
            assert.equal(258, made:reset_for_read():read_i32())
            made:reset_for_write():skip(2)
            here:read(made)
            assert.equal("rest of it", made:set_limit(made.position):seek(2):to_string())
            there:shutdown()
            made:reset_for_write()
            assert.is_nil((here:read(made)))
            assert.equal(0, made.position)
          end)
        end)
      end
    end
  end)

  it("refuse what can't be read into, and what is released meanwhile", function()
    connected(function(scope, here, there)
      raises("argument", here.read, here, "x")
      raises("argument", here.read, here, buffer.wrap("abc"))
      raises("overflow", here.read, here, buffer.allocate(0))
      local made = buffer.allocate(10)
      local reader = scope:spawn(function()
        raises("closed", here.read, here, made)
      end)
      moonring.sleep(0)
      moonring.sleep(0)
      made:release()
      there:write("late")
      while not reader:has_ended() do
        moonring.sleep(0.001)
      end
      assert.equal("late", here:read():to_string())
      raises("closed", here.read, here, made)
    end)
  end)

  it("send every kind, also when it is released before the bytes have left", function()
    for _, kind in ipairs(kinds.list) do
      connected(function(_, here, there)
        kind.with("message", function(made)
          assert(here:write(made))
          assert.equal(7, made.position)
        end)
        here:shutdown()
        local got = {}
        for piece in there:chunks() do
          got[#got + 1] = piece:to_string()
        end
        assert.equal("message", table.concat(got))
      end)
    end
  end)

  it("send a pooled buffer whose memory the pool then leaves alone", function()
    local pool = buffer.pool { size = 8 }
    connected(function(_, here, there)
      local lease = pool:acquire():write("original"):reset_for_read()
      here:write(lease)
      lease:release()
      local other = pool:acquire():fill(120)
      local got = buffer.chain()
      while got:available() < 8 do
        got:append(there:read())
      end
      assert.equal("original", got:to_string())
      other:release()
    end)
  end)
end)
