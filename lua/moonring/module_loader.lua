-- moonring.module_loader: require for modules whose main chunk waits.
--
-- LuaJIT can't yield inside the C function require. This one is Lua: it looks where require looks (package.loaded,
-- package.preload, package.path, then whatever other searchers there are), and runs the chunk as an ordinary call.

local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local event = require "moonring.event"

local M = {}

local loading = {} -- by name: the event of its end, while some task loads it

local function search(name)
  local message = {}
  for _, searcher in ipairs(package.loaders) do
    local loader, extra = searcher(name)
    if type(loader) == "function" then return loader, extra end
    if type(loader) == "string" then message[#message + 1] = loader end
  end
  errors.raise("argument", "%s", ("moonring.require: module '%s' not found:%s"):format(name, table.concat(message)))
end

local function finish(name, done, ok, ...)
  loading[name] = nil
  done:set()
  if not ok then error((...), 0) end
  local result = (...)
  if result ~= nil then package.loaded[name] = result end
  if package.loaded[name] == nil then package.loaded[name] = true end
  return package.loaded[name]
end

--- Loads a module like require; its main chunk may wait. Another task that asks for it meanwhile waits for the same
--- loading.
---@param name string
---@return any module
function M.require(name)
  local me = scheduler.require_task "moonring.require"
  while package.loaded[name] == nil and loading[name] do
    if loading[name].task == me then
      errors.raise("argument", "moonring.require: module '%s' requires itself, directly or through others", name)
    end
    loading[name]:wait()
  end
  if package.loaded[name] ~= nil then return package.loaded[name] end
  local loader, extra = search(name)
  local done = event.new()
  done.task = me
  loading[name] = done
  return finish(name, done, xpcall(loader, require("moonring.task").record_traceback, name, extra))
end

return M
