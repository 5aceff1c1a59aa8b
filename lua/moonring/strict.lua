--- moonring.strict: globals have to be declared, for a forgotten `local` is a variable that all tasks share.
---
--- After `require "moonring.strict"` (or `moonring -l moonring.strict`) reading a global that nobody has set raises, and so
--- does setting a new one inside of a function. A main chunk may set any, and so may C and rawset.

local errors = require "moonring.errors"

local M = {}

local getinfo = debug.getinfo
local class = getmetatable(_G) or {}
local index, newindex = class.__index, class.__newindex
local declared = {} -- that were set, if only to nil

local function look_further(globals, name)
  if type(index) == "function" then return index(globals, name) end
  if index then return index[name] end
end

function class.__index(globals, name)
  local value = look_further(globals, name)
  if value ~= nil or declared[name] then return value end
  errors.raise("undeclared", "%s is a global that nobody has set: a typing error, or a module that isn't required?",
    tostring(name))
end

function class.__newindex(globals, name, value)
  if not declared[name] then
    local info = getinfo(2, "S")
    if info and info.what ~= "main" and info.what ~= "C" then
      errors.raise("undeclared", "%s would be a new global, which all tasks share: write local %s, or set it in a main " ..
        "chunk", tostring(name), tostring(name))
    end
    declared[name] = true
  end
  if type(newindex) == "function" then return newindex(globals, name, value) end
  rawset(newindex or globals, name, value)
end

setmetatable(_G, class)

return M
