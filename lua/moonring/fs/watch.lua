-- moonring.fs.watch: what happens to files, by inotify(7).
--
-- A task of the watch's own reads the kernel's events and puts them into a channel, from which whoever iterates takes
-- them; when nobody does, the channel fills, and then the kernel's queue, which tells of its overflow when it is full.
--
-- A recursive watch is one for each directory. One that appears is watched, and then looked into, because something
-- may have been made in it before the watch was there; what this finds is told as created, and the kernel's own event
-- of the same, which may be on its way, is left out. A move within the tree changes the paths of all that is watched
-- below, one out of the tree ends these watches.

local native = require "moonring.native"
local errors = require "moonring.errors"
local task = require "moonring.task"
local deadline = require "moonring.deadline"
local loop = require "moonring.loop"
local buffer = require "moonring.buffer"
local channel = require "moonring.channel"
local scheduler = require "moonring.scheduler"
local call = require "moonring.call"
local common = require "moonring.fs.common"
local directory = require "moonring.fs.directory"

local C, ffi = native.C, native.ffi
local band = bit.band

local MODIFY, ATTRIBUTES, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
local CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
local UNMOUNT, OVERFLOW, IGNORED, IS_DIRECTORY = 0x2000, 0x4000, 0x8000, 0x40000000
local ONLY_DIRECTORY, DONT_FOLLOW, EXCLUDE_UNLINKED = 0x01000000, 0x02000000, 0x04000000
local MASK = MODIFY + ATTRIBUTES + CLOSE_WRITE + MOVED_FROM + MOVED_TO + CREATE + DELETE + DELETE_SELF + MOVE_SELF +
  EXCLUDE_UNLINKED
local POLLIN = 1

local M = {
  -- Events that wait for whoever iterates; the kernel keeps 16384 more (fs.inotify.max_queued_events).
  QUEUE = 1024,
  READ_BYTES = 65536,
  -- Seconds that the first half of a move waits for its second: both are queued by one rename, but a read may end between.
  PAIR_WAIT = 0.05,
}

---@class moonring.WatchEvent
---@field kind string "created", "changed" (each write), "written" (a writer has closed the file), "attributes", "removed",
---  "moved" (within what is watched; from and to elsewhere it is "removed" and "created"), "unmounted", "overflow" (events
---  are missing), "error" (with message and code: a directory could not be watched)
---@field path? string
---@field from? string of "moved": the earlier path
---@field is_directory boolean

---@class moonring.Watch
local Watch = { __name = "moonring.Watch" }
Watch.__index = Watch

local function explain(result, path)
  local _, message, code = errors.world(result, "watch " .. path)
  if code == "ENOSPC" then
    message = message .. "; the limit of watches is reached: raise it with 'sysctl fs.inotify.max_user_watches=...'"
  elseif code == "EMFILE" then
    message = message .. "; the limit of watchers may be reached: raise it with 'sysctl fs.inotify.max_user_instances=...'"
  end
  return nil, message, code
end

-- Watches one file or directory. Returns the kernel's number, or negative errno.
local function add(self, path, more)
  local handle = call.begin "fs.watch"
  return call.wait(C.mr_call_watch(handle, self.descriptor, path, MASK + more), "fs.watch", path)
end

local function tell(self, kind, path, is_directory, from)
  self.events:send { kind = kind, path = path, from = from, is_directory = is_directory or false }
end

local function tell_problem(self, path, result)
  local _, message, code = explain(result, path)
  -- Not sent, for nobody may be there yet to receive: of more than fit the rest is left out.
  self.events:try_send { kind = "error", path = path, message = message, code = code, is_directory = true }
end

-- Watches a directory and all below it. aloud: what is found in them is told.
local function add_tree(self, top, aloud)
  local pending = { top }
  while pending[1] do
    local path = table.remove(pending)
    local number = add(self, path, ONLY_DIRECTORY + DONT_FOLLOW)
    if number < 0 then
      if path == self.path then return number end
      if number ~= common.ENOENT and number ~= -20 then tell_problem(self, path, number) end -- ENOTDIR
    elseif not self.paths[number] then
      self.paths[number] = path
      local found = {}
      self.found[number] = found
      for _, entry in ipairs(directory.read(path) or {}) do
        local full = directory.join(path, entry.name)
        if aloud then
          found[entry.name] = true
          tell(self, "created", full, entry.kind == "directory")
        end
        if entry.kind == "directory" or not entry.kind then pending[#pending + 1] = full end
      end
    end
  end
  return 0
end

-- Changes the paths of all that is watched at or below `from`; with `to` false these watches end.
local function move_tree(self, from, to)
  for number, path in pairs(self.paths) do
    if path == from or path:sub(1, #from + 1) == from .. "/" then
      if to then
        self.paths[number] = to .. path:sub(#from + 1)
      else
        C.mr_watch_remove(self.descriptor, number)
        self.paths[number], self.found[number] = nil, nil -- what it has queued is of elsewhere
      end
    end
  end
end

local function is_watched(self, path)
  for _, each in pairs(self.paths) do
    if each == path then return true end
  end
  return false
end

-- The first half of a move has found no second one: the file has gone elsewhere.
local function let_leave(self)
  local held = self.held
  if not held then return end
  self.held = false
  if held.is_directory and self.recursive then move_tree(self, held.path, false) end
  tell(self, "removed", held.path, held.is_directory)
end

local function arrive(self, path, event, is_directory)
  local held = self.held
  if held and held.cookie == event.cookie then
    self.held = false
    if is_directory and self.recursive then
      move_tree(self, held.path, path)
      tell(self, "moved", path, true, held.path)
      if not is_watched(self, path) then add_tree(self, path, true) end
    else
      tell(self, "moved", path, is_directory, held.path)
    end
    return
  end
  let_leave(self)
  tell(self, "created", path, is_directory)
  if is_directory and self.recursive then add_tree(self, path, true) end
end

-- Whether the event tells what looking into a new directory has found already.
local function was_found(self, event)
  local found = self.found[event.watch]
  if not found or not found[event.name] then return false end
  if band(event.mask, DELETE + MOVED_FROM + CREATE) ~= 0 then found[event.name] = nil end
  return band(event.mask, CREATE) ~= 0
end

local function process_self(self, event, path)
  if band(event.mask, IGNORED) ~= 0 then
    self.paths[event.watch], self.found[event.watch] = nil, nil
    if path == self.path and not next(self.paths) then self.events:close() end
  elseif path == self.path then
    if band(event.mask, DELETE_SELF + MOVE_SELF) ~= 0 then tell(self, "removed", path, self.of_directory) end
    if band(event.mask, UNMOUNT) ~= 0 then tell(self, "unmounted", path, self.of_directory) end
  end
end

local function process(self, event)
  local mask = event.mask
  if band(mask, OVERFLOW) ~= 0 then
    let_leave(self)
    tell(self, "overflow")
    if self.recursive then add_tree(self, self.path, false) end -- there may be directories that nobody told of
    return
  end
  local path = self.paths[event.watch]
  if not path then return end -- of a watch that has ended
  if band(mask, MOVED_TO) == 0 then let_leave(self) end
  if band(mask, IGNORED + DELETE_SELF + MOVE_SELF + UNMOUNT) ~= 0 then return process_self(self, event, path) end
  local is_directory = band(mask, IS_DIRECTORY) ~= 0
  if event.name then
    path = directory.join(path, event.name)
    if was_found(self, event) then return end
  elseif path ~= self.path then
    return -- the directory above tells the same with a name
  end
  if band(mask, MOVED_FROM) ~= 0 then
    self.held = { cookie = event.cookie, path = path, is_directory = is_directory }
  elseif band(mask, MOVED_TO) ~= 0 then
    arrive(self, path, event, is_directory)
  elseif band(mask, CREATE) ~= 0 then
    tell(self, "created", path, is_directory)
    if is_directory and self.recursive then add_tree(self, path, true) end
  elseif band(mask, DELETE) ~= 0 then
    tell(self, "removed", path, is_directory)
  elseif band(mask, CLOSE_WRITE) ~= 0 then
    tell(self, "written", path, is_directory)
  elseif band(mask, MODIFY) ~= 0 then
    tell(self, "changed", path, is_directory)
  else
    tell(self, "attributes", path, is_directory)
  end
end

local raw = ffi.new "mr_watch_event"

-- The events in memory that the next read will fill anew.
local function parse(data, bytes)
  local list, offset = {}, 0
  while true do
    offset = C.mr_watch_event_read(data, bytes, offset, raw)
    if offset == 0 then return list end
    list[#list + 1] = {
      watch = raw.watch,
      mask = raw.mask,
      cookie = raw.cookie,
      name = raw.name_bytes > 0 and ffi.string(raw.name, raw.name_bytes) or nil,
    }
  end
end

local function wait_for_second_half(self)
  local ok, problem = pcall(deadline.timeout, M.PAIR_WAIT, function()
    call.wait(C.mr_call_poll(call.begin "fs.watch", self.descriptor, POLLIN), "fs.watch", self.path)
  end)
  if ok then return end
  if not errors.is(problem, "deadline") then error(problem, 0) end
  scheduler.check()
  let_leave(self)
end

-- What the watch's task does.
local function pump(self)
  local memory = buffer.allocate(M.READ_BYTES)
  local ok, problem = pcall(function()
    while not self.events.is_closed do
      if self.held then wait_for_second_half(self) end
      local slot = C.mr_call_read(call.begin "fs.watch", self.descriptor, -1, memory)
      local bytes = call.wait(slot, "fs.watch", self.path)
      if bytes < 0 then
        self.failure = { explain(bytes, self.path) }
        break
      end
      for _, event in ipairs(parse(memory.data_, bytes)) do
        process(self, event)
      end
    end
  end)
  memory:release()
  self.events:close()
  if not ok and not errors.is(problem, "cancelled") then error(problem, 0) end
end

---@class moonring.WatchOptions
---@field recursive? boolean all directories below as well, and those that will be made

--- Watches a file or directory until the scope of the caller ends or close is called.
---@param path string
---@param options? moonring.WatchOptions
---@return moonring.Watch? watch
---@return string? message
---@return string? code "ENOSPC": more watches than fs.inotify.max_user_watches allows
function M.new(path, options)
  common.check_path("fs.watch", path)
  options = common.options("fs.watch", options, { recursive = true })
  local descriptor = C.mr_watch_open()
  if descriptor < 0 then return explain(descriptor, path) end
  if #path > 1 then path = path:gsub("/+$", "") end
  local self = setmetatable({
    descriptor = descriptor,
    guard = ffi.gc(ffi.new("mr_file_guard", loop.handle(), descriptor), C.mr_file_guard_release),
    path = path,
    recursive = options.recursive or false,
    of_directory = options.recursive or false,
    events = channel.new(M.QUEUE),
    paths = {}, -- by the kernel's number of a watch: what is watched
    found = {}, -- by the same: names that were told before the kernel told of them
    held = false, -- the first half of a move
    failure = false,
  }, Watch)
  local ok, result
  if self.recursive then
    ok, result = pcall(add_tree, self, path, false)
  else
    ok, result = pcall(add, self, path, 0)
  end
  if not ok or result < 0 then
    self:close()
    if not ok then error(result, 0) end
    return explain(result, path)
  end
  if not self.recursive then self.paths[result] = path end
  self.task = task.root(pump, self)
  self.task:named("watch of " .. path)
  return task.innermost(scheduler.current()):own(self)
end

--- The next event. Waits for it.
---@return moonring.WatchEvent? event nil when the watch has been closed, or what it watched is gone
---@return string? message what went wrong, when it is nil for that reason
---@return string? code
function Watch:next()
  local event = self.events:receive()
  if event then return event end
  if self.failure then return nil, self.failure[2], self.failure[3] end
  return nil
end

--- next as an operation for moonring.select.
---@return moonring.Operation
function Watch:next_op()
  return self.events:receive_op()
end

--- Iterates over the events: `for event in watch:changes() do`.
function Watch:changes()
  return Watch.next, self
end

--- Ends the watch. Who waits for an event gets nil. Closing again does nothing.
function Watch:close()
  local descriptor = self.descriptor
  if not descriptor then return end
  self.descriptor = false
  self.guard.descriptor = -1
  self.events:close()
  if self.task then self.task:cancel() end
  C.mr_descriptor_close(loop.handle(), descriptor)
end

function Watch:__tostring()
  return ("moonring.Watch(%s%s)"):format(self.path, self.descriptor and "" or ", closed")
end

return M
