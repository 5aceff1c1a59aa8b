-- moonring.repl.lexer: Lua source as tokens, for what the REPL has to know of a text that isn't compiled yet.
--
-- A token is { kind, first, last } with kind "name", "keyword", "number", "string", "comment", "symbol". One that the text's
-- end cuts off has unfinished = true.

local M = {}

M.keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
    while]]):gmatch "%a+" do
  M.keywords[word] = true
end

-- The end of a long bracket that begins at `from` ("[[", "[==["); nil when none begins there, #text + 1 when it is
-- unfinished.
local function long_bracket(text, from)
  local level = text:match("^%[(=*)%[", from)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", from, true)
  return last or #text + 1
end

local function quoted(text, from)
  local quote, at = text:sub(from, from), from + 1
  while at <= #text do
    local character = text:sub(at, at)
    if character == quote then return at end
    if character == "\\" then
      if text:match("^z%s*", at + 1) then at = at + #text:match("^z%s*", at + 1) else at = at + 1 end
    elseif character == "\n" then
      return at - 1, true
    end
    at = at + 1
  end
  return #text, true
end

local function read(text, from)
  local character = text:sub(from, from)
  if character:find "[%a_\128-\255]" then
    local _, last = text:find("^[%w_\128-\255]*", from)
    return M.keywords[text:sub(from, last)] and "keyword" or "name", last
  elseif character:find "%d" or text:find("^%.%d", from) then
    local _, last = text:find("^[%w%.]*", from)
    while text:sub(last, last):find "[eEpP]" and text:find("^[+-]%d", last + 1) do
      last = select(2, text:find("^[+-][%w%.]*", last + 1))
    end
    return "number", last
  elseif character == '"' or character == "'" then
    return "string", quoted(text, from)
  elseif text:find("^%-%-", from) then
    local last = long_bracket(text, from + 2)
    if last then return "comment", math.min(last, #text), last > #text end
    return "comment", select(2, text:find("^[^\n]*", from))
  elseif character == "[" then
    local last = long_bracket(text, from)
    if last then return "string", math.min(last, #text), last > #text end
  end
  local longer = text:match("^%.%.%.?", from) or text:match("^[=~<>]=", from) or text:match("^::", from)
  return "symbol", from + #(longer or "x") - 1
end

--- Splits a text into tokens; white space is left out.
---@param text string
---@return table[]
function M.tokens(text)
  local tokens, at = {}, 1
  if text:sub(1, 1) == "#" then at = (text:find("\n", 1, true) or #text) + 1 end
  while true do
    at = text:find("%S", at)
    if not at then return tokens end
    local kind, last, unfinished = read(text, at)
    tokens[#tokens + 1] = { kind = kind, first = at, last = last, unfinished = unfinished or nil }
    at = last + 1
  end
end

return M
