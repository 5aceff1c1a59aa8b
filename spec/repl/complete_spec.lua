local complete = require "moonring.repl.complete"
local buffer, iovec = require "moonring.buffer", require "moonring.iovec"

local function refuse()
  error "completion has run code"
end

-- Candidates for a text in a session with these names.
local function candidates(before, names)
  local start, list = complete.candidates({
    lookup = function(_, name) return (names or {})[name] end,
    names = function()
      local out = {}
      for name in pairs(names or {}) do out[name] = true end
      return out
    end,
  }, before)
  return table.concat(list, " "), start
end

describe("completion", function()
  it("knows names, keywords and members", function()
    assert.equal("foo for", (candidates("x = fo", { foo = 1 })))
    local list, start = candidates("print(t.al", { t = { alpha = 1, alps = 2, beta = 3, ["no name"] = 4 } })
    assert.equal("alpha alps", list)
    assert.equal(9, start)
    assert.equal("beta", (candidates("a.b.c.b", { a = { b = { c = { beta = 1 } } } })))
  end)

  it("lists what can be called behind a colon", function()
    local t = setmetatable({ value = 1, run = print, object = setmetatable({}, { __call = refuse }) },
      { __index = { rest = print } })
    assert.equal("object rest run", (candidates("t:", { t = t })))
    assert.equal("object rest run value", (candidates("t.", { t = t })))
  end)

  it("knows methods of strings", function()
    assert.equal("rep reverse", (candidates("s:re", { s = "text" })))
  end)

  it("knows methods of cdata", function()
    local held = buffer.allocate(8)
    assert.equal("remaining", (candidates("b:rem", { b = held })))
    assert.equal("position", (candidates("b.posi", { b = held })))
    assert.equal("", (candidates("b:posi", { b = held })))
    local part = assert(iovec.allocate(8))
    assert.equal("clone clone_segment close commit", (candidates("i:c", { i = part })))
    held:release()
    part:release()
  end)

  it("runs no code of anybody's", function()
    local t = setmetatable({}, { __index = refuse, __tostring = refuse, __call = refuse, __len = refuse, __eq = refuse })
    assert.equal("", (candidates("t.a", { t = t })))
    assert.equal("", (candidates("t.a.b", { t = t })))
    local inherits = setmetatable({}, { __index = setmetatable({ seen = 1 }, { __index = refuse }) })
    assert.equal("seen", (candidates("t.s", { t = inherits })))
    assert.equal("", (candidates("f().", { f = refuse })))
    assert.equal("", (candidates("f{}.a", { f = refuse })))
    local circle = {}
    setmetatable(circle, { __index = circle })
    assert.equal("", (candidates("c.x", { c = circle })))
  end)

  it("is silent in strings, comments and numbers", function()
    for _, text in ipairs { "'t.", "\"pr", "-- pr", "--[[ pr", "x = 1.", "[[pr" } do
      assert.equal("", (candidates(text, { print = print, pr = 1 })))
    end
    assert.equal("print", (candidates("a .. pri", { print = print })))
  end)

  it("knows modules in require, commands, and what help knows", function()
    assert.is_truthy((candidates("require 'moonring.net")):find("moonring.net.address", 1, true))
    assert.is_truthy((candidates("local n = require(\"moonring.ht")):find("moonring.http", 1, true))
    assert.equal("tasks time", (candidates(":t")))
    assert.is_truthy((candidates(":help slee")):find "sleep")
    assert.equal("foo", (candidates(":time fo", { foo = 1 })):match "^foo")
  end)
end)
