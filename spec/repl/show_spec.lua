local moonring = require "moonring"
local buffer, iovec, errors = require "moonring.buffer", require "moonring.iovec", require "moonring.errors"
local test = require "moonring.test"
local show = require "moonring.repl.show"

describe("values are shown", function()
  it("as Lua source, where they are plain", function()
    assert.equal("nil", show.text(nil))
    assert.equal("true", show.text(true))
    assert.equal("1000000", show.text(1e6))
    assert.equal("0.1", show.text(0.1))
    assert.equal("0.30000000000000004", show.text(0.1 + 0.2))
    assert.is_truthy(show.text(0 / 0):find "nan")
    assert.equal("{ 1, 2, x = 3 }", show.text { 1, 2, x = 3 })
    assert.equal('{ ["a b"] = 1, ["end"] = 3, [true] = 2 }', show.text { ["a b"] = 1, [true] = 2, ["end"] = 3 })
    assert.equal("{}", show.text {})
  end)

  it("as strings that are escaped, and read back the same", function()
    local text = "a\n\t\"\\\0\27é日\255\128"
    local shown = show.text(text)
    assert.equal(text, loadstring("return " .. shown)())
    assert.is_falsy(shown:find "%c")
    assert.is_truthy(shown:find("é日", 1, true))
  end)

  it("cut, where they are long", function()
    assert.is_truthy(show.text(("x"):rep(5000)):find '^"x+"%.%.%. %(5000 bytes%)$')
    local long = {}
    for i = 1, 1000 do long[i] = i end
    assert.is_truthy(show.text(long):find "%.%.%. 940 more")
    assert.equal("{ { { { {...} } } } }", show.text { { { { { 1 } } } } })
  end)

  it("with cycles cut", function()
    local t = { name = "t" }
    t.self = t
    t.list = { t }
    assert.equal('{ list = { <cycle> }, name = "t", self = <cycle> }', show.text(t))
    local shared = {}
    assert.equal("{ {}, {} }", show.text { shared, shared })
  end)

  it("whatever their metamethods do", function()
    local hostile = setmetatable({ 1 }, { __tostring = function() error "no" end, __index = error, __len = error })
    assert.equal("{ 1 }", show.text(hostile))
    assert.equal("named", show.text(setmetatable({}, { __tostring = function() return "named" end })))
  end)

  it("as hex and text for buffers, from before the position on", function()
    local held = buffer.wrap(("0123456789abcdef"):rep(4) .. "tail\n\0")
    held:seek(34)
    local text = show.text(held)
    assert.is_truthy(text:find("position=34 limit=70", 1, true))
    assert.is_truthy(text:find("\n  00000010 ", 1, true))
    assert.is_falsy(text:find("\n  00000000 ", 1, true))
    assert.is_truthy(text:find("00000020  30 31|32", 1, true))
    assert.is_truthy(text:find("tail..", 1, true))
    held:release()
    assert.equal("moonring.Buffer(released)", show.text(held))
  end)

  it("as bytes for iovecs", function()
    local part = assert(iovec.wrap "hello")
    assert.is_truthy(show.text(part):find "length=5.*68 65 6c 6c 6f.*hello")
    part:release()
    assert.is_truthy(show.text(part):find "released")
  end)

  it("with peers and queues for connections", function()
    moonring.scope(function(scope)
      local client = test.pair(scope)
      local text = show.text(client)
      assert.is_truthy(text:find "peer=127%.0%.0%.1:%d+%)\n  local address 127%.0%.0%.1:%d+\n  0 bytes queued")
    end)
  end)

  it("with what they wait on for tasks", function()
    moonring.scope(function(scope)
      local task = scope:spawn(moonring.sleep, 60):named "sleeper"
      moonring.sleep(0)
      assert.is_truthy(show.text(task):find
        "sleeper %(waiting%)\n  waits for sleep since 0%.%d+ s\n  spawned at [^\n]*show_spec")
      task:cancel()
    end)
  end)

  it("as code and message for errors", function()
    assert.equal("busy: too much", show.text(errors.new("busy", "too much")))
    assert.equal("too much (busy)", show.failure(errors.new("busy", "too much")))
    assert.equal("{ 1 }", show.failure { 1 })
  end)

  it("with colours only when they are wanted", function()
    assert.is_falsy(show.text({ "x", 1 }):find "\27")
    assert.is_truthy(show.text({ "x", 1 }, { colour = true }):find("\27[32m\"x\"\27[0m", 1, true))
  end)
end)
