-- What the screen draws is looked at through a small terminal, which knows the few sequences that it uses.

local screens = require "moonring.repl.screen"
local editors = require "moonring.repl.editor"
local cells_of = require "moonring.repl.cells"

-- A terminal of `columns` times `rows`: rows of cells, the cursor, and what has scrolled away is forgotten.
local Terminal = {}
Terminal.__index = Terminal

local function new_terminal(columns, rows)
  local self = setmetatable({ columns = columns, rows = rows, lines = {}, row = 1, column = 0 }, Terminal)
  for i = 1, rows do self.lines[i] = {} end
  return self
end

function Terminal:line_feed()
  if self.row < self.rows then
    self.row = self.row + 1
    return
  end
  table.remove(self.lines, 1)
  self.lines[self.rows] = {}
end

function Terminal:put(cell)
  local width = cells_of.width(cell)
  assert(self.column + width <= self.columns, "the screen relies on the terminal's own wrapping")
  self.lines[self.row][self.column + 1] = cell
  if width == 2 then self.lines[self.row][self.column + 2] = "" end
  self.column = self.column + width
end

local sequences = {
  A = function(self, n) self.row = math.max(self.row - n, 1) end,
  B = function(self, n) self.row = math.min(self.row + n, self.rows) end,
  C = function(self, n) self.column = math.min(self.column + n, self.columns - 1) end,
  K = function(self)
    for i = self.column + 1, self.columns do self.lines[self.row][i] = nil end
  end,
  J = function(self)
    for i = self.column + 1, self.columns do self.lines[self.row][i] = nil end
    for i = self.row + 1, self.rows do self.lines[i] = {} end
  end,
  H = function(self) self.row, self.column = 1, 0 end,
  m = function() end,
}

function Terminal:write(bytes)
  local at = 1
  while at <= #bytes do
    local parameters, final, behind = bytes:match("^\27%[(%d*)(%a)()", at)
    if final then
      sequences[final](self, tonumber(parameters) or 1)
      at = behind
    elseif bytes:sub(at, at) == "\r" then
      self.column, at = 0, at + 1
    elseif bytes:sub(at, at) == "\n" then
      self:line_feed()
      at = at + 1
    else
      local stop = bytes:find("[\27\r\n]", at) or #bytes + 1
      for _, cell in ipairs(cells_of.split(bytes:sub(at, stop - 1))) do self:put(cell) end
      at = stop
    end
  end
end

function Terminal:text()
  local lines = {}
  for i, line in ipairs(self.lines) do
    local parts = {}
    for column = 1, self.columns do parts[column] = line[column] or " " end
    lines[i] = table.concat(parts):gsub("%s+$", "")
  end
  return (table.concat(lines, "\n"):gsub("\n+$", ""))
end

local function setup(columns, rows)
  local terminal = new_terminal(columns, rows or 10)
  local screen = screens.new { columns = columns, rows = rows or 10 }
  local editor = editors.new { is_complete = function() return false end }
  local function draw() terminal:write(screen:draw(editor:view(), "> ", ">> ")) end
  local function typed(bytes)
    for _, event in ipairs(editor:feed(bytes)) do
      if event.kind == "complete" then editor:completions(event.serial, #event.before + 1, { "aa", "ab", "ac" }) end
    end
    draw()
  end
  draw()
  return terminal, screen, editor, typed, draw
end

describe("the screen", function()
  it("wraps lines that are wider than the terminal, and puts the cursor there", function()
    local terminal, _, _, typed = setup(10)
    typed "12345678"
    assert.equal("> 12345678", terminal:text())
    assert.same({ 2, 0 }, { terminal.row, terminal.column })
    typed "9abc"
    assert.equal("> 12345678\n9abc", terminal:text())
    typed "\1X"
    assert.equal("> X1234567\n89abc", terminal:text())
    assert.same({ 1, 3 }, { terminal.row, terminal.column })
  end)

  it("never cuts a wide character in two", function()
    local terminal, _, _, typed = setup(9)
    typed "123456日本語"
    assert.equal("> 123456\n日本語", terminal:text())
    typed "\2"
    assert.equal(4, terminal.column)
  end)

  it("draws blocks with their own prompts", function()
    local terminal, _, _, typed = setup(20)
    typed "one\rtwo\rthree"
    assert.equal("> one\n>> two\n>> three", terminal:text())
    typed "\27[A\5!"
    assert.equal("> one\n>> two!\n>> three", terminal:text())
    typed "\1\11\11"
    assert.equal("> one\n>> three", terminal:text())
  end)

  it("puts output above the line, whole and in pieces", function()
    local terminal, screen, _, typed, draw = setup(20)
    typed "typed"
    terminal:write(screen:above "first\n")
    draw()
    terminal:write(screen:above "par")
    draw()
    assert.equal("first\npar\n> typed", terminal:text())
    terminal:write(screen:above "tial\nnext\n")
    draw()
    assert.equal("first\npartial\nnext\n> typed", terminal:text())
    typed "!"
    assert.equal("first\npartial\nnext\n> typed!", terminal:text())
  end)

  it("scrolls at the bottom", function()
    local terminal, screen, _, typed, draw = setup(10, 4)
    for i = 1, 6 do
      terminal:write(screen:above("line " .. i .. "\n"))
      draw()
    end
    typed "12345678abc"
    assert.equal("line 5\nline 6\n> 12345678\nabc", terminal:text())
  end)

  it("shows a block that is taller than the terminal around the cursor", function()
    local terminal, _, _, typed = setup(10, 3)
    typed "a\rb\rc\rd\re"
    assert.equal(">> c\n>> d\n>> e", terminal:text())
    typed "\27[A\27[A\27[A\27[A"
    assert.equal("> a\n>> b\n>> c", terminal:text())
  end)

  it("shows the choices below, and takes them away", function()
    local terminal, _, _, typed = setup(12)
    typed "x\t"
    assert.equal("> xa\naa  ab  ac", terminal:text())
    typed "\7"
    assert.equal("> xa", terminal:text())
  end)

  it("draws anew for another size", function()
    local terminal, screen, _, typed = setup(20)
    typed "12345678901234567"
    terminal:write(screen:resize(20, 10))
    assert.equal("", terminal:text())
    typed ""
    assert.equal("> 12345678901234567", terminal:text())
  end)

  it("shows what the editor holds after any keys, at any width", function()
    for seed = 1, 150 do
      math.randomseed(seed)
      local columns, rows = math.random(4, 30), math.random(3, 8)
      local terminal, screen, editor, typed, draw = setup(columns, rows)
      local words = { "a", "日", "e\204\129", "word ", "\r", "\127", "\1", "\5", "\2", "\6", "\27b", "\23", "\11", "\25",
        "\31", "\t", "\7", "\27[A", "\27[B", "\18", "\27[200~p\nq\27[201~" }
      for _ = 1, 60 do
        typed(words[math.random(#words)])
        if math.random(10) == 1 then
          terminal:write(screen:above(("out\n"):rep(math.random(0, 2)) .. "x\n"))
          draw()
        end
      end
      -- A fresh screen shows the same as the one that has drawn changes only.
      local other, fresh = new_terminal(columns, rows), screens.new { columns = columns, rows = rows }
      other:write(fresh:draw(editor:view(), "> ", ">> "))
      local wanted = other:text()
      local shown = terminal:text()
      assert.equal(wanted, shown:sub(-#wanted), "seed " .. seed)
      assert.equal(other.column, terminal.column, "seed " .. seed)
    end
  end)
end)
