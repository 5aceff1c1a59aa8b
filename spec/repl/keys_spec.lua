local keys = require "moonring.repl.keys"

-- Events as short text: keys as <name>, text as it is, pastes in brackets.
local function show(events)
  local out = {}
  for i, event in ipairs(events) do
    out[i] = event.kind == "key" and "<" .. event.key .. ">" or event.kind == "paste" and "[" .. event.text .. "]"
      or event.text
  end
  return table.concat(out)
end

local function decode(...)
  local decoder, all = keys.decoder(), {}
  for i = 1, select("#", ...) do
    for _, event in ipairs(decoder:feed((select(i, ...)))) do all[#all + 1] = event end
  end
  return show(all)
end

local cases = {
  ["abc"] = "abc",
  ["a\1\5\r\n\t\127\8"] = "a<C-a><C-e><Enter><Enter><Tab><Backspace><Backspace>",
  ["\27[A\27[B\27OC\27OD"] = "<Up><Down><Right><Left>",
  ["\27[1;5C\27[1;3D\27[1;2Z"] = "<C-Right><M-Left><S-S-Tab>",
  ["\27[H\27[F\27[1~\27[4~\27[3~\27[3;5~"] = "<Home><End><Home><End><Delete><C-Delete>",
  ["\27b\27f\27\127\27\r\27<"] = "<M-b><M-f><M-Backspace><M-Enter><M-<>",
  ["\27[Z"] = "<S-Tab>",
  ["\27[?1;2c\27[200;1Rx"] = "x", -- a terminal's answers
  ["\27\27[A"] = "<Escape><Up>",
  ["é日😀"] = "é日😀",
  ["e\204\129"] = "e\204\129",
  ["\27[200~a\rb\r\nc\27[201~d"] = "[a\nb\nc]d",
  ["\27[200~x\27[20\27[201~"] = "[x[20]",
  ["\27[200~\1\2\127z\27[201~"] = "[z]",
  ["\27Ox"] = "<M-O>x",
}

describe("keys", function()
  for bytes, wanted in pairs(cases) do
    it("of " .. wanted .. " are the same however the bytes are cut", function()
      assert.equal(wanted, decode(bytes))
      for cut = 1, #bytes - 1 do
        assert.equal(wanted, decode(bytes:sub(1, cut), bytes:sub(cut + 1)))
        for second = cut + 1, #bytes - 1 do
          assert.equal(wanted, decode(bytes:sub(1, cut), bytes:sub(cut + 1, second), bytes:sub(second + 1)))
        end
      end
    end)
  end

  local invalid = {
    overlong = { "\192\175", 2 }, ["an overlong slash of three bytes"] = { "\224\128\175", 1 },
    ["a surrogate"] = { "\237\160\128", 1 }, ["too large"] = { "\244\144\128\128", 1 },
    ["a lone continuation"] = { "\128", 1 },
    ["cut off"] = { "\226\130", 1 }, ["never valid"] = { "\255", 1 },
  }
  for name, case in pairs(invalid) do
    it("make replacement characters of UTF-8 that is " .. name, function()
      local text = decode(case[1] .. "x")
      assert.equal(keys.REPLACEMENT:rep(case[2]) .. "x", text)
    end)
  end

  it("survive any bytes", function()
    for seed = 1, 200 do
      math.randomseed(seed)
      local bytes = {}
      for i = 1, 200 do bytes[i] = string.char(({ 27, 91, math.random(0, 255), 126, 50, 48 })[math.random(6)]) end
      local text = table.concat(bytes)
      local one, other = keys.decoder(), keys.decoder()
      local whole, pieces = one:feed(text), {}
      for i = 1, #text do
        for _, event in ipairs(other:feed(text:sub(i, i))) do pieces[#pieces + 1] = event end
      end
      assert.same(whole, pieces)
    end
  end)

  it("end a paste that has no end", function()
    local decoder = keys.decoder()
    local events = decoder:feed("\27[200~" .. ("x"):rep(keys.PASTE_BYTES_MAX) .. "abc")
    assert.equal(4, #events)
    assert.equal(keys.PASTE_BYTES_MAX, #events[1].text)
    assert.equal("c", events[4].text)
  end)
end)
