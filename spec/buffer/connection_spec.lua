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

  -- Cancels a read of `made` that waits, as the end of a scope with a deadline would.
  local function cancel_a_read(scope, here, made)
    local reader = scope:spawn(function() here:read(made) end)
    moonring.sleep(0)
    assert.is_false(reader:has_ended())
    reader:cancel()
    assert.is_false((reader:join()))
  end

  it("lose no byte at any split, whatever is cancelled, released or repositioned in between", function()
    local text = "0123456789abcdef"
    for split = 1, #text - 1 do
      connected(function(scope, here, there)
        local made = buffer.allocate(#text)
        local function read_until(position)
          while made.position < position do
            assert.equal(made, here:read(made))
          end
          assert.equal(#text, made.limit)
        end
        there:write(text:sub(1, split))
        read_until(split)
        cancel_a_read(scope, here, made)
        assert.equal(split, made.position)
        -- The bytes come in the same moment as the cancellation: whoever gets them, they are not lost.
        local reader = scope:spawn(function() here:read(made) end)
        moonring.sleep(0)
        there:write(text:sub(split + 1))
        moonring.sleep(0)
        reader:cancel()
        reader:join()
        read_until(#text)
        assert.equal(text, made:reset_for_read():to_string())
      end)
    end
  end)

  it("leave memory alone whose scope has ended while a task waited to fill it", function()
    for _, zone in ipairs { "native", "heap", "shared", "scoped", "pooled" } do
      connected(function(scope, here, there)
        local pool = buffer.pool { size = 64 }
        local reader
        moonring.scope(function(inner)
          local made = zone == "scoped" and inner:allocate(64) or zone == "pooled" and inner:own(pool:acquire())
            or inner:own(buffer.allocate(64, { zone = zone }))
          reader = scope:spawn(function()
            raises("closed", here.read, here, made)
          end)
          moonring.sleep(0)
          assert.is_false(reader:has_ended())
        end)
        local other = zone == "pooled" and pool:acquire() or buffer.allocate(64)
        other:fill(120)
        there:write("for whoever reads next")
        assert.is_true((reader:join()))
        assert.equal("for whoever reads next", here:read():to_string())
        assert.equal(("x"):rep(64), other:seek(0):to_string())
        other:release()
        pool:close()
      end)
    end
  end)

  it("follow the position that the buffer has when the bytes come", function()
    connected(function(scope, here, there)
      local made = buffer.allocate(16):fill(46)
      local reader = scope:spawn(function() return here:read(made) end)
      moonring.sleep(0)
      made:seek(4):set_limit(9)
      there:write("abcdefgh")
      assert.is_true((reader:join()))
      assert.equal(9, made.position)
      assert.equal("....abcde.......", made:reset_for_write():to_string())
      assert.equal("fgh", here:read():to_string())
    end)
  end)

  it("go together in the order: allocate, read, reset for read, read a number", function()
    connected(function(_, here, there)
      there:write("\0\1\2\3payload")
      local made = buffer.allocate(65536)
      while made.position < 11 do
        here:read(made)
      end
      made:reset_for_read()
      assert.equal(0x00010203, made:read_i32())
      assert.equal("payload", made:read_string(7))
      made:release()
    end)
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
