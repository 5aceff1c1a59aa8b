-- moonring.scope: blocks that own what is made in them: memory, sockets, child tasks.
--
-- Each task is the outermost scope of its own code. Cancelling a scope means marking it, the scopes opened inside it,
-- their child tasks and so on (moonring.tree), and waking whoever waits there. The mark stays: every later wait inside a
-- cancelled scope raises again, so a pcall can't swallow it. A shield is a scope that the marking passes by.
--
-- A scope ends in this order: its children are waited for (cancelled first, when it ends by an error), then what it
-- owns is released, last made first. While that happens cancellation does not interrupt it again. The first failure,
-- of the block or of a child, leaves the scope; a later one is reported, for nobody else would hear of it.
--
-- Opening one costs some ten nanoseconds, because a scope is two tables. Its frame stands in the task's chain and is
-- used again. The handle is what the block gets: new each time and cut off from the frame at the end, so that who keeps
-- it is told "closed" and never meets the frame's next user. moonring doesn't store it anywhere; where the block
-- doesn't either, compiled code makes no table at all. Buffers are on a list in C (runtime/buffer/pool.h) as long as nothing
-- else is owned. A frame that has nothing but such buffers is lean, and its end is a few lines.
--
-- A `record` is what has the state of a scope: a frame or a task.

local native = require "moonring.native"
local errors = require "moonring.errors"
local scheduler = require "moonring.scheduler"
local coroutines = require "moonring.coroutines"
local failures = require "moonring.failure"
local tree = require "moonring.tree"
local leases = require "moonring.buffer.lease"

local C = native.C
local current = scheduler.current
local record_traceback = failures.record_traceback
local innermost, task_of, fatten, adopt, disown = tree.innermost, tree.task_of, tree.fatten, tree.adopt, tree.disown
local cancel, is_cancellation = tree.cancel, tree.is_cancellation
local ENDED = scheduler.ENDED

local M = {
  -- Set by moonring.trace: on_end(frame, results of the block ...).
  on_end = false,
}

---@class moonring.Scope
---@field is_open boolean
local Scope = {}
M.Scope = Scope

-- A handle has one field, for with a second one compiled code would make the table.
local Handle = { __name = "moonring.Scope" }

function Handle.__index(handle, key)
  if key ~= "is_open" then return Scope[key] end
  local record = handle.record
  return record ~= false and record.is_open
end

-- The class has what few frames ever have.
local Frame = setmetatable({ is_detached = false, joining = false, on_failure = false }, { __index = Scope })
Frame.__index = Frame

local function new_frame()
  local frame = {
    outer = false, task = false, held = leases.holder(), expiry = false, own_deadline = false,
    is_lean = true, is_open = true, is_ending = false, is_shield = false,
    reason = false, first_failure = false, cut_short = false, first_child = false, resource = false, owned = false,
  }
  return setmetatable(frame, Frame)
end

-- Makes it as it was when new.
local function clear(frame)
  frame.is_lean, frame.is_open, frame.is_ending, frame.is_shield = true, true, false, false
  frame.reason, frame.first_failure, frame.cut_short, frame.first_child = false, false, false, false
  if frame.on_failure then frame.on_failure = false end
end

local spare = { frame = false } -- linked by `outer`

-- Ends ----------------------------------------------------------------------------------------------------------------

-- What the end of a scope waits on: its last child.
local children = setmetatable({}, { __tostring = function() return "its children" end })
function children.withdraw()
end

local function hand_over_children(record, heir)
  while record.first_child do
    local child = record.first_child
    disown(child)
    adopt(heir, child)
  end
end

-- Returns an error when it can't wait for them.
local function wait_for_children(record)
  while record.first_child do
    record.joining = current() -- its own task, or one that resumed a coroutine of that
    if not scheduler.wait_uninterrupted(children) and record.first_child then
      local refusal = coroutines.refusal()
      if record.task then
        -- It ends inside a C function that LuaJIT can't yield across: its children go to the scope around it.
        cancel(record, refusal)
        hand_over_children(record, record.outer or record.task)
      end
      record.joining = false
      return refusal
    end
  end
  record.joining = false
end

local function release(record, resource)
  local owner = task_of(record)
  local earlier = record.first_failure and owner.failure_traceback -- stays that of the failure that leaves the scope
  local ok, problem = xpcall(resource.close, record_traceback, resource)
  if not ok and record.first_failure then
    failures.report("closing " .. tostring(resource) .. " has failed", problem, owner)
  end
  if record.first_failure then
    owner.failure_traceback = earlier or nil
  elseif not ok then
    record.first_failure = { problem }
  end
end

-- Releases what a record owns, last made first. A release that fails doesn't keep the others from theirs.
-- Many own one thing: that is kept without a list. Buffers on the C list were made before anything else.
local function release_owned(record)
  local owned = record.owned
  while owned and #owned > 0 do
    local resource = owned[#owned]
    owned[#owned] = nil
    release(record, resource)
  end
  record.owned = false
  local resource = record.resource
  if resource then
    record.resource = false
    release(record, resource)
  end
  if record.held then C.mr_holder_release(record.held) end
end

--- Notes what leaves the scope, if it is the first. `task` is the one that failed.
local function note_failure(record, failure, task)
  if record.first_failure then
    failures.report("a further failure in a scope that is ending by an error", failure, task)
    return
  end
  fatten(record)
  record.first_failure = { failure }
  local owner = task_of(record)
  if task ~= owner then failures.inherit(failure, task, owner) end
end
M.note_failure = note_failure

--- Ends a record. Returns ok and the failure that leaves it: the block's own, a child's, or that of a release.
local function finish(record, ok, failure)
  if not ok and not is_cancellation(record, failure) then
    note_failure(record, failure, task_of(record))
    if not record.reason and record.first_child then
      cancel(record, errors.new("cancelled", "cancelled: its scope ended by an error"))
    end
  end
  record.is_ending = true
  local refusal = record.first_child and wait_for_children(record)
  if refusal then note_failure(record, refusal, task_of(record)) end
  record.is_open = false
  if record.expiry then record.expiry:stop() end
  if record.owned or record.resource or record.held then release_owned(record) end
  local first_failure = record.first_failure
  if first_failure then
    record.first_failure = false
    return false, first_failure[1]
  end
  -- The block is done, but the cancellation cut its children short.
  if ok and record.cut_short then return false, record.reason end
  return ok, failure
end
M.finish = finish

-- Opening and leaving -------------------------------------------------------------------------------------------------

--- The frame that enter will use next.
function M.next_frame()
  local frame = spare.frame
  if not frame then
    frame = new_frame()
    spare.frame = frame
  end
  return frame
end
local next_frame = M.next_frame

--- Opens a scope inside the running task's innermost one. Returns its frame.
---@param what string the public function that does it
local function enter(what)
  local task = current() or scheduler.require_task(what)
  local frame = next_frame()
  spare.frame = frame.outer
  local outer = task.scope
  frame.outer, frame.task = outer, task
  task.scope = frame
  local parent = outer or task
  if parent.reason and not parent.is_ending then
    frame.reason, frame.is_lean = parent.reason, false
  end
  return frame
end
M.enter = enter

-- A coroutine of the user's own may leave its scopes while those of another, opened since, are open.
local function take_out(frame)
  local task = frame.task
  local each = task.scope
  if each == frame then
    task.scope = frame.outer
    return
  end
  while each and each.outer ~= frame do
    each = each.outer
  end
  if each then each.outer = frame.outer end
end

local function leave_slowly(handle, frame, ok, ...)
  local is_sound, failure, task = ok, (...), frame.task
  if not frame.is_detached then
    is_sound, failure = finish(frame, ok, failure)
    take_out(frame)
    if M.on_end then M.on_end(frame, ...) end
  end
  handle.record = false
  if frame.reason then handle.reason = frame.reason end
  if not frame.is_detached then
    clear(frame)
    frame.outer, frame.task = spare.frame, false
    spare.frame = frame
  end
  if not is_sound then failures.raise_again(task, failure) end
  return ...
end

-- What comes after the block: `...` is what it returned or failed with.
local function leave(handle, frame, ok, ...)
  local task = frame.task
  if not ok or not frame.is_lean or task.scope ~= frame or M.on_end then return leave_slowly(handle, frame, ok, ...) end
  if frame.expiry then frame.expiry:stop() end
  local held = frame.held
  if held.newest ~= nil then C.mr_holder_release(held) end
  handle.record = false
  task.scope = frame.outer
  frame.outer, frame.task = spare.frame, false
  spare.frame = frame
  return ...
end
M.leave = leave

-- No tail call: one of setmetatable would have LuaJIT give up compiling this when it is called by interpreted code, and then
-- whatever calls it.
local function new_handle(frame)
  local handle = setmetatable({ record = frame }, Handle)
  return handle
end
M.new_handle = new_handle

--- Runs `fn(scope, ...)` in a new scope and returns what it returns. However it ends, what the scope owns is released
--- and its child tasks have ended when this returns or raises.
---@param fn fun(scope: moonring.Scope, ...): ...
function M.open(fn, ...)
  local frame = enter "moonring.scope"
  local handle = new_handle(frame)
  return leave(handle, frame, xpcall(fn, record_traceback, handle, ...))
end

--- The functions whose stack frame stands for one open scope each, for who looks for the place that opened one.
M.openers = { [M.open] = true, [leave_slowly] = true }

--- Ends the scopes that a task has left open in coroutines which it abandoned. Internal: called when its function has
--- returned.
function M.detach_all(task)
  while task.scope do
    local frame = task.scope
    cancel(frame, errors.new("cancelled", "cancelled: its task has ended"))
    local ok, failure = finish(frame, true)
    if not ok and not is_cancellation(frame, failure) then note_failure(task, failure, task) end
    frame.is_detached, frame.is_lean = true, false -- never used again: its coroutine may come back
    task.scope = frame.outer
  end
end

-- What a scope offers ----------------------------------------------------------------------------------------------------

--- What has the state of a scope or task; raises "closed" after its end. Internal.
---@param what string the public function that asks
function M.record_of(scope, what)
  local record = scope.record
  if record then return record end
  if record == nil then return scope end -- a task, or a record itself
  errors.raise("closed", "%s: the scope has ended", what)
end
local record_of = M.record_of

local function has_ended(record)
  return not record.is_open or record.waiting == ENDED
end
M.has_ended = has_ended

local function own(record, resource)
  fatten(record)
  local owned = record.owned
  if owned then
    owned[#owned + 1] = resource
  elseif record.resource then
    record.owned = { resource }
  else
    record.resource = resource
  end
end

--- Makes the scope the owner of anything with a close method. Returns it.
function Scope:own(resource, ...)
  if resource == nil then return nil, ... end -- lets own(net.connect(...)) hand a failure through
  local record = self.record
  if record == nil then record = self end
  if not record or has_ended(record) then
    resource:close()
    errors.raise("closed", "own: the scope has ended; what it was given has been closed")
  end
  own(record, resource)
  return resource, ...
end

-- The C list is for what was made before anything else.
local function allocate(record, what, capacity, alignment)
  if has_ended(record) then errors.raise("closed", "%s: the scope has ended", what) end
  if record.held and not alignment and not record.resource and not record.owned then
    return leases.held(record.held, capacity)
  end
  local buffer = leases.owned(capacity, alignment)
  own(record, buffer)
  return buffer
end

--- A buffer of `capacity` bytes that the scope releases when it ends.
---@param capacity integer bytes
---@return moonring.Buffer
function Scope:allocate(capacity)
  local record = record_of(self, "allocate")
  if record.is_lean then return leases.held(record.held, capacity) end
  return allocate(record, "allocate", capacity)
end

--- The same with the address of its first byte a multiple of `alignment`, a power of two.
---@param capacity integer bytes
---@param alignment integer
---@return moonring.Buffer
function Scope:allocate_aligned(capacity, alignment)
  return allocate(record_of(self, "allocate_aligned"), "allocate_aligned", capacity, alignment)
end

-- Whether the record owned it and has let go of it.
local function let_go(record, resource)
  local owned = record.owned
  for i = owned and #owned or 0, 1, -1 do
    if owned[i] == resource then
      table.remove(owned, i)
      return true
    end
  end
  if resource and record.resource == resource then
    record.resource = false
    return true
  end
  return leases.is_lease(resource) and record.held and C.mr_holder_remove(record.held, resource) == 1
end

--- Takes something out of the scope's hands: it is the caller's from then on, or, with `to`, another scope's. Returns it.
---@param resource any what own or allocate has returned
---@param to? moonring.Scope
function Scope:release(resource, to)
  if not let_go(record_of(self, "scope:release"), resource) then
    errors.raise("argument", "scope:release: the scope does not own %s", tostring(resource))
  end
  if to then return to:own(resource) end
  return resource
end

--- Ends the scope before its block does: cancels and waits for its child tasks, releases what it owns. Closing again
--- does nothing. Only the task of the scope can do that, and only when no scope within is open.
function Scope:close()
  if not self.is_open then return end
  local record = record_of(self, "scope:close")
  local task = current()
  if not task or innermost(task) ~= record then
    errors.raise("busy", "scope:close: only the task whose innermost scope it is can close it")
  end
  fatten(record)
  local child, reason = record.first_child, nil
  while child do
    local following = child.next_sibling
    reason = reason or errors.new("cancelled", "cancelled: its scope has been closed")
    cancel(child, reason)
    child = following
  end
  local ok, failure = finish(record, true)
  record.is_ending = false
  if not ok then error(failure, 0) end
end

--- Ends the scope's work: every wait in it and below it raises. `reason` is the error object they get. Again does
--- nothing, the first reason stays.
---@param reason? any
function Scope:cancel(reason)
  local record = self.record
  if record == nil then record = self end
  if not record or record.reason then return end
  local waiting = record.waiting
  if waiting == ENDED then return end
  if waiting and waiting.interrupted then return waiting:interrupted(record, reason) end -- may need no error
  cancel(record, reason or errors.new("cancelled", "cancelled"))
end

--- Whether the scope has been cancelled, and the reason: for code that computes for long between waits.
---@return any? reason
function Scope:cancelled()
  return (self.record or self).reason or false
end

--- Tells `report(failure, task)` of children that fail, in place of ending the scope. Internal: for services.
function Scope:tell_failures(report)
  record_of(self, "tell_failures").on_failure = report
end

--- How many child tasks it has. Internal: for the REPL and the spec runner.
function Scope:count_children()
  local count, child = 0, record_of(self, "count_children").first_child
  while child do
    count, child = count + 1, child.next_sibling
  end
  return count
end

--- Hands its child tasks, and what it owns, over to the scope around it, which goes on when this one ends. Internal: for
--- the REPL and the spec runner.
function Scope:hand_over()
  local record = record_of(self, "hand_over")
  local heir = record.task and (record.outer or record.task) or record.parent
  hand_over_children(record, heir)
  local owned, resource = record.owned, record.resource
  record.owned, record.resource = false, false
  local held = {} -- the last made first
  local each = record.held and record.held.newest
  while each and each ~= nil do
    held[#held + 1] = each.lease
    each = each.older
  end
  for i = #held, 1, -1 do
    C.mr_holder_remove(record.held, held[i])
    own(heir, held[i])
  end
  if resource then own(heir, resource) end
  for _, each_owned in ipairs(owned or {}) do
    own(heir, each_owned)
  end
end

function Scope:__tostring()
  return ("moonring.Scope(%s)"):format(self.is_open and "open" or "closed")
end
Handle.__tostring, Frame.__tostring = Scope.__tostring, Scope.__tostring

return M
