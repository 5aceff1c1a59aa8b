-- moonring.repl.chunk: from what was typed to something that can run.
--
-- Locals. A block is a chunk of its own, so its `local` would end with it. Therefore a `local` on the outermost level of a
-- block is compiled as an assignment to a name of the session: names that were declared so live in a table of their own,
-- not among the globals, and are seen by everything that is typed later, closures included. `local print = print` works as
-- in Lua: the new local begins with what the name meant before. Lines stay as they were typed.

local lexer = require "moonring.repl.lexer"

local M = {}

local openers = { ["do"] = true, ["then"] = true, ["function"] = true, ["repeat"] = true }
local brackets = { ["("] = 1, ["{"] = 1, ["["] = 1, [")"] = -1, ["}"] = -1, ["]"] = -1 }

-- How the depth of blocks changes with a keyword. `elseif` and `else` continue the block of their `then`.
local function depth_change(word)
  if openers[word] then return 1 end
  if word == "end" or word == "until" or word == "elseif" then return -1 end
  return 0
end

-- The names of `local a, b` from token `i` on, and the last token of them; nil when it isn't that.
local function local_names(text, tokens, i)
  local names, last = {}, nil
  while tokens[i] and tokens[i].kind == "name" do
    names[#names + 1] = text:sub(tokens[i].first, tokens[i].last)
    last = i
    local comma = tokens[i + 1]
    if not comma or text:sub(comma.first, comma.last) ~= "," then break end
    i = i + 2
  end
  if last and tokens[last + 1] and text:sub(tokens[last + 1].first, tokens[last + 1].last) == "," then return nil end
  return last and names, last
end

--- Turns the outermost `local` statements into assignments. Returns the text and the names that they declare.
---@param text string
---@return string text
---@return string[] names
function M.release_locals(text)
  local tokens, all = {}, lexer.tokens(text)
  for _, token in ipairs(all) do
    if token.kind ~= "comment" then tokens[#tokens + 1] = token end
  end
  local depth, declared, edits = 0, {}, {}
  for i, token in ipairs(tokens) do
    local word = text:sub(token.first, token.last)
    if token.kind == "symbol" then
      depth = depth + (brackets[word] or 0)
    elseif token.kind == "keyword" and word == "local" and depth == 0 then
      local following = tokens[i + 1]
      local is_function = following and text:sub(following.first, following.last) == "function"
      local names, last = local_names(text, tokens, is_function and i + 2 or i + 1)
      if names then
        edits[#edits + 1] = { token.first, token.last, "     " }
        local after = tokens[last + 1]
        if not is_function and not (after and text:sub(after.first, after.last) == "=") then
          edits[#edits + 1] = { tokens[last].last + 1, tokens[last].last, "=nil " }
        end
        for _, name in ipairs(names) do declared[#declared + 1] = name end
      end
    elseif token.kind == "keyword" then
      depth = depth + depth_change(word)
    end
  end
  for i = #edits, 1, -1 do
    local edit = edits[i]
    text = text:sub(1, edit[1] - 1) .. edit[3] .. text:sub(edit[2] + 1)
  end
  return text, declared
end

-- A message that says that the text ended too early, and not inside a string that a line end has broken.
local function wants_more(message)
  return message:find "near '?<eof>'?$" ~= nil and not message:find("unfinished string", 1, true)
end

--- Compiles a block: as an expression, else as statements. Returns the function and the names that it declares (where
--- is_expression is set, its first value is to be dropped); or nil and what is wrong; or nil, that, and true when more
--- lines may make it right.
---@param text string
---@param name string of the chunk
---@return function? chunk
---@return string|string[] message_or_names
---@return boolean? incomplete
function M.compile(text, name)
  -- A long bracket that is open looks like an unfinished string to the compiler; only its kind of string may go on.
  local last = lexer.tokens(text)
  last = last[#last]
  local in_long = last and last.unfinished and not text:sub(last.first, last.first):find "[\"']"
  -- With a first value that nobody wants the last call is no tail call, and so keeps its place in tracebacks.
  local expression, expression_message = loadstring("return nil, " .. text, name)
  if expression then return expression, { is_expression = true } end
  local released, names = M.release_locals(text)
  local statements, message = loadstring(released, name)
  if statements then return statements, names end
  if in_long or wants_more(message) or wants_more(expression_message) then return nil, message, true end
  -- What begins like an expression is told as one only where the statement's complaint is about its very beginning.
  return nil, message, false
end

return M
