local chunk = require "moonring.repl.chunk"

describe("a block", function()
  local incomplete = {
    "{7,", "1 +", "x = (", "for i = 1, 2 do", "function f(", "f{", "a.b:", "if a then b() else", "repeat", "[[abc",
    "x = [==[ ]]", "--[[ abc", "local function f()", "return function()",
  }
  for _, text in ipairs(incomplete) do
    it("goes on after " .. text, function()
      local fn, _, more = chunk.compile(text, "=repl")
      assert.is_nil(fn)
      assert.is_true(more)
    end)
  end

  local wrong = { "'abc", "x = \"abc", "x y", "1 2", "end", "goto x", ")" }
  for _, text in ipairs(wrong) do
    it("is wrong and doesn't go on: " .. text, function()
      local fn, message, more = chunk.compile(text, "=repl")
      assert.is_nil(fn)
      assert.is_string(message)
      assert.is_false(more)
    end)
  end

  it("is an expression where it can be", function()
    local fn, names = chunk.compile("1, 2", "=repl")
    assert.is_true(names.is_expression)
    assert.same({ n = 3, nil, 1, 2 }, (function(...) return { n = select("#", ...), ... } end)(fn()))
    assert.is_nil(select(2, chunk.compile("x = 1", "=repl")).is_expression)
  end)

  local released = {
    ["local a = 1"] = { "a" }, ["local a, b"] = { "a", "b" }, ["local function f() local x end"] = { "f" },
    ["do local a = 1 end"] = {}, ["if x then local a elseif y then local b else local c end"] = {},
    ["for i = 1, 2 do local a = i end local z"] = { "z" }, ["f(function() local a end)"] = {},
    ["repeat local a = 1 until a local b"] = { "b" }, ["while x do local a end local b, c = 1"] = { "b", "c" },
    ["x = 'local a' -- local b"] = {}, ["local a --[[ , ]] = 2"] = { "a" },
    ["t = { function() local q end } local r"] = { "r" },
  }
  for text, names in pairs(released) do
    it("releases the outermost locals of " .. text, function()
      local changed, found = chunk.release_locals(text)
      assert.same(names, found)
      assert.is_function(assert(loadstring(changed)))
      assert.equal(select(2, text:gsub("\n", "")), select(2, changed:gsub("\n", "")))
    end)
  end
end)
