local editors = require "moonring.repl.editor"
local histories = require "moonring.repl.history"

-- Feeds bytes and returns the editor, and the events as a list.
local function typed(bytes, options)
  local editor = editors.new(options)
  return editor, editor:feed(bytes)
end

-- The text with a bar where the cursor is.
local function shown(editor)
  return editor:text(1, editor.cursor) .. "|" .. editor:text(editor.cursor + 1)
end

local function kinds(events)
  local out = {}
  for i, event in ipairs(events) do out[i] = event.kind end
  return table.concat(out, " ")
end

local incomplete = { is_complete = function() return false end }

describe("the editor", function()
  local cases = {
    { "moves by characters, words and to the ends", "hello big world\27b\27b\2\2X\1Y\5Z", "YhellXo big worldZ|" },
    { "stays within the text", "ab\2\2\2\2\6\6\6\6c", "abc|" },
    { "deletes both ways", "abcdef\2\2\127\4", "abc|f" },
    { "kills to the end, yanks, and joins kills in a row", "one two three\27b\11\27\127\25", "one two three|" },
    { "kills to the beginning of the line", "abc def\27b\21", "|def" },
    { "kills words that end at spaces", "a b.c d\23\23", "a |" },
    { "kills words forward", "one two\1\27d\27d", "|" },
    { "yanks earlier kills with M-y", "one\21two\21\25\27y", "one|" },
    { "transposes", "ab\20", "ba|" },
    { "changes the case of words", "one two three\1\27u\27c\27l", "ONE Two three|" },
    { "undoes, typing as a whole", "abc\11\1\11\31", "|abc" },
    { "undoes a run of typing at once", "abc\31", "|" },
    { "inserts a paste as it is", "x\27[200~a\nb\27[201~", "xa\nb|" },
    { "joins combining characters with what they follow", "e\204\129x\2\127", "|x" },
    { "steps over wide characters as one", "日本\2X", "日X|本" },
    { "gives a line end by M-Enter", "a\27\rb", "a\nb|" },
    { "indents by Tab at the beginning of a line", "\tx", "  x|" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      assert.equal(case[3], shown((typed(case[2]))))
    end)
  end

  it("moves between the lines of a block", function()
    local editor = typed("first\rsecond\r3", incomplete)
    assert.equal("first\nsecond\n3|", shown(editor))
    editor:feed "\27[A"
    assert.equal("first\ns|econd\n3", shown(editor))
    editor:feed "\1X\5Y\27[A\1"
    assert.equal("|first\nXsecondY\n3", shown(editor))
    editor:feed "\11"
    assert.equal("|\nXsecondY\n3", shown(editor))
    editor:feed "\11"
    assert.equal("|XsecondY\n3", shown(editor))
  end)

  it("tells of blocks, interrupts, ends, suspends and clears", function()
    local editor, events = typed "abc\r"
    assert.equal("block", kinds(events))
    assert.equal("abc", events[1].text)
    assert.equal("interrupt suspend clear end", kinds(editor:feed "\3\26\12\4"))
    assert.is_true(editor:feed("\3")[1].empty)
    editor:feed "x"
    assert.is_false(editor:feed("\3")[1].empty)
    assert.equal("|", shown(editor))
  end)

  it("holds back what comes behind a block until it is asked for", function()
    local editor, events = typed "one\rtwo\rthree"
    assert.equal("block", kinds(events))
    events = editor:resume()
    assert.equal("two", events[1].text)
    assert.equal("", kinds(editor:resume()))
    assert.equal("three|", shown(editor))
  end)

  it("walks through the history and comes back to the draft", function()
    local history = histories.new()
    for _, text in ipairs { "old", "two\nlines", "new" } do history:add(text) end
    local editor = typed("draft", { history = history })
    editor:feed "\27[A"
    assert.equal("new|", shown(editor))
    editor:feed "\27[A"
    assert.equal("two\nlines|", shown(editor))
    editor:feed "\27[A\27[A"
    assert.equal("old|", shown(editor))
    assert.equal("bell", kinds(editor:feed "\27[A"))
    editor:feed "\27>"
    assert.equal("draft|", shown(editor))
  end)

  it("searches the history", function()
    local history = histories.new()
    for _, text in ipairs { "print 'a'", "x = 1", "print 'b'" } do history:add(text) end
    local editor = typed("draft\18pri", { history = history })
    assert.equal("|print 'b'", shown(editor))
    assert.equal("pri", editor:view().search.query)
    editor:feed "\18"
    assert.equal("|print 'a'", shown(editor))
    editor:feed "zz"
    assert.is_false(editor:view().search.found)
    editor:feed "\7"
    assert.equal("draft|", shown(editor))
    editor:feed "\18x =\5!"
    assert.equal("x = 1!|", shown(editor))
  end)

  describe("completion", function()
    local function complete(text, start, candidates, after)
      local editor, events = typed(text .. "\t")
      assert.equal("complete", kinds(events))
      editor:completions(events[1].serial, start, candidates)
      if after then editor:feed(after) end
      return shown(editor), editor
    end

    it("inserts the only candidate, or what all share", function()
      assert.equal("string.format|", (complete("string.fo", 8, { "format" })))
      assert.equal("x:set_|", (complete("x:s", 3, { "set_a", "set_b" })))
    end)

    it("offers a menu to go through, to accept and to leave", function()
      local text, editor = complete("re", 1, { "rep", "repeat", "reverse" })
      assert.equal("re|", text)
      assert.same({ "rep", "repeat", "reverse" }, editor:view().menu.items)
      editor:feed "\t\t"
      assert.equal("repeat|", shown(editor))
      editor:feed "\27[Z"
      assert.equal("rep|", shown(editor))
      editor:feed "\7"
      assert.equal("re|", shown(editor))
      assert.is_false(editor:view().menu)
      local _, other = complete("re", 1, { "rep", "repeat" }, "\t\t\r(")
      assert.equal("repeat(|", shown(other))
    end)

    it("is void when the text has changed meanwhile", function()
      local editor, events = typed "string.fo\t"
      editor:feed "x"
      assert.is_false(editor:completions(events[1].serial, 8, { "format" }))
      assert.equal("string.fox|", shown(editor))
    end)
  end)

  it("survives any bytes, with the cursor within the text", function()
    local history = histories.new()
    history:add "one\ntwo"
    for seed = 1, 100 do
      math.randomseed(seed)
      local editor = editors.new { history = history, is_complete = function(text) return #text % 2 == 0 end }
      for _ = 1, 300 do
        local byte = math.random(3) == 1 and math.random(0, 255) or math.random(0, 31)
        for _, event in ipairs(editor:feed(string.char(byte))) do
          if event.kind == "complete" then editor:completions(event.serial, #event.before + 1, { "aa", "ab" }) end
        end
        assert.is_true(editor.cursor >= 0 and editor.cursor <= #editor.cells)
      end
    end
  end)
end)
