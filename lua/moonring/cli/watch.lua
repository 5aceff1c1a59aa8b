-- moonring --watch: starts the script again when one of its files changes.
--
-- The files are the script and the modules that it has loaded; their folders are watched, because editors replace
-- files. On a change the main task is cancelled, so that its scopes end in order, and the process replaces itself:
-- nothing of the old run is left, and its process id stays. A script that has ended, or failed, is started again by
-- the next change. Code that computes without ever waiting can't be told; it is ended by hand.

local errors = require "moonring.errors"
local task = require "moonring.task"
local loop = require "moonring.loop"
local signal = require "moonring.signal"

local M = {}

local SETTLE = 0.05 -- seconds in which an editor writes everything
local LOOK_AGAIN = 1 -- seconds after which modules that were loaded meanwhile are noticed

local relevant = { written = true, created = true, moved = true }

-- The files that the process is made of now, as keys.
local function files(script)
  local found = {}
  if script and script ~= "-" then found[script] = true end
  for name in pairs(package.loaded) do
    local path = not package.preload[name] and package.searchpath(name, package.path)
    if path then found[path] = true end
  end
  return found
end

local function wait_for_change(script)
  local moonring, fs = require "moonring", require "moonring.fs"
  local changed, folders = moonring.event(), {}
  local ok, failure = pcall(moonring.scope, function(scope)
    local function follow(folder)
      folders[folder] = true
      local watch = fs.watch(folder)
      if not watch then return end
      scope:spawn(function()
        for event in watch:changes() do
          local name = (event.path or ""):match "[^/]*$"
          local path = folder == "." and name or folder .. "/" .. name
          local known = files(script)
          if relevant[event.kind] and (known[path] or known["./" .. path]) then changed:set() end
        end
      end):named("watch of " .. folder)
    end
    while not changed:is_set() do
      for path in pairs(files(script)) do
        local folder = path:match "^(.*)/[^/]*$" or "."
        if not folders[folder] then follow(folder == "" and "/" or folder) end
      end
      moonring.select { changed = changed:wait_op(), again = moonring.sleep_op(LOOK_AGAIN) }
    end
    moonring.sleep(SETTLE)
    scope:close()
  end)
  moonring.shield(1, moonring.sleep, 0.02) -- the watches' own tasks end with the next turn
  if not ok then error(failure, 0) end
end

--- Adds what --watch does to the run of the main task.
---@param options table
---@param arguments string[]
function M.attach(options, arguments)
  local found, replace = pcall(require, "moonring.replace")
  if not found then errors.raise("argument", "--watch: only the moonring executable can start itself again") end
  local watcher

  function options.on_start(root)
    watcher = task.root(wait_for_change, options.script):named "watch"
    watcher.on_end = function()
      if not root:has_ended() then root:cancel(errors.new("cancelled", "cancelled: a file has changed")) end
    end
  end

  -- The main task has ended, its loop hasn't. Returns what replaces the process, nil when it shall end.
  function options.on_end(root, received, report)
    if received then
      watcher:cancel()
      loop.run_until(watcher)
      return nil
    end
    if not watcher:has_ended() then
      local went_well, failure = root:outcome()
      if not went_well then report(failure, root) end
      io.stderr:write "moonring: the script has ended; it starts again when a file of it changes\n"
      local stopped
      local function stop(number)
        stopped = number
        watcher:cancel()
      end
      signal.handle("INT", stop, true)
      signal.handle("TERM", stop, true)
      loop.run_until(watcher)
      if stopped then return nil, stopped end
    end
    local ok, failure = watcher:outcome()
    if not ok and not errors.is(failure, "cancelled") then
      report(failure, watcher)
      return nil
    end
    return function()
      io.stderr:write "moonring: a file has changed; starting again\n"
      replace(arguments)
    end
  end
end

return M
