-- moonring.inspect: what the tasks of this process are doing, for people who look.
--
-- The tree on demand and on SIGUSR1, and the two reports nobody asked for: a task that held the loop for too long, and
-- a deadlock.

local native = require "moonring.native"
local errors = require "moonring.errors"
local coroutines = require "moonring.coroutines"
local scheduler = require "moonring.scheduler"
local failures = require "moonring.failure"
local task = require "moonring.task"
local loop = require "moonring.loop"
local clock = require "moonring.clock"
local place = require "moonring.place"

local C = native.C

local M = {}

---@class moonring.TaskReport
---@field id integer
---@field name string its name, or where its function was defined
---@field age number seconds since it was spawned
---@field state "running"|"ready"|"waiting"
---@field waiting_on? string
---@field waiting_seconds? number
---@field cancelled? string why it has been cancelled
---@field spawned_at? string the place that spawned it: "file:line"
---@field traceback string
---@field children moonring.TaskReport[]

-- Without moonring's own frames: what it waits in is told by the wait.
local function traceback_of(thread)
  return failures.frames_of(coroutines.traceback(thread))
end

local collect

local function by_id(left, right)
  return left.id < right.id
end

-- A scope inside a task is not told apart from it: its children are the task's.
local function collect_children(each)
  local reports = {}
  local record = task.innermost(each)
  while record do
    local child = record.first_child
    while child do
      reports[#reports + 1] = collect(child)
      child = child.next_sibling
    end
    record = record ~= each and (record.outer or each)
  end
  table.sort(reports, by_id)
  return reports
end

local function describe_wait(each)
  local object = each.waiting
  if object.describe_wait then return object:describe_wait(each) end
  return tostring(object)
end

function collect(each)
  local now = clock.now()
  local waiting = each.waiting
  local is_ready = waiting == scheduler.READY or waiting == scheduler.INTERRUPTED
  local innermost = task.innermost(each)
  local report = {
    id = each.id,
    name = each.name or place.text(each.fn),
    age = math.max(now - each[scheduler.BORN], 0),
    state = not waiting and "running" or is_ready and "ready" or "waiting",
    cancelled = innermost.reason and tostring(innermost.reason) or nil,
    spawned_at = each[scheduler.SPAWNER] and place.text(each[scheduler.SPAWNER], each[scheduler.LINE]) or nil,
    traceback = each.coroutine and traceback_of(each.coroutine) or "",
    children = collect_children(each),
  }
  if report.state == "waiting" then
    report.waiting_on = describe_wait(each)
    report.waiting_seconds = math.max(now - each[scheduler.SINCE], 0)
  end
  return report
end

--- Every task that has not ended, as a tree: the tasks without a parent, each with its children.
---@return moonring.TaskReport[]
function M.tasks()
  local reports = {}
  for root in pairs(task.roots) do
    reports[#reports + 1] = collect(root)
  end
  table.sort(reports, by_id)
  return reports
end

local function write_report(lines, report, indent)
  local what = report.state
  if report.waiting_on then what = ("waits for %s since %.3f s"):format(report.waiting_on, report.waiting_seconds) end
  lines[#lines + 1] = ("%stask %d %s: %s, %.3f s old%s%s"):format(indent, report.id, report.name, what, report.age,
    report.spawned_at and ", spawned at " .. report.spawned_at or "", report.cancelled and ", " .. report.cancelled or "")
  for line in report.traceback:gmatch("[^\n]+") do
    lines[#lines + 1] = indent .. "    " .. line:gsub("^%s+", "")
  end
  for _, child in ipairs(report.children) do
    write_report(lines, child, indent .. "  ")
  end
end

--- The tree as text.
---@return string
function M.text()
  local lines = {}
  for _, report in ipairs(M.tasks()) do
    write_report(lines, report, "")
  end
  return table.concat(lines, "\n") .. "\n"
end

function loop.report_deadlock()
  io.stderr:write("moonring: deadlock: every task waits, and nothing can ever wake one of them\n", M.text())
end

local watch = C.mr_watch_state()

local function write_hog(hog, where)
  local seconds = watch.overdue / 1000
  watch.overdue = 0
  local lines = { ("moonring: %s has held the loop for more than %.3f s"):format(tostring(hog), seconds), where }
  if hog[scheduler.SPAWNER] then
    lines[3] = "spawned at " .. place.text(hog[scheduler.SPAWNER], hog[scheduler.LINE])
  end
  io.stderr:write(table.concat(lines, "\n"), "\n")
end

-- Where nothing could look into it while it ran.
function scheduler.report_hog(hog)
  write_hog(hog, hog.coroutine and hog.waiting and "now it is here:\n" .. traceback_of(hog.coroutine)
    or "it has ended; its function is " .. place.text(hog.fn))
end

-- Called inside of the hog, by a hook.
local function report_from_within()
  local hog = scheduler.current()
  if not hog or watch.overdue == 0 then return end -- it has just come to its end
  local where = debug.traceback("it is here:", 4)
  if coroutine.running() ~= hog.coroutine then where = where .. "\n" .. debug.traceback(hog.coroutine, "inside of:") end
  write_hog(hog, where)
end

local has_interrupt, interrupt = pcall(require, "moonring.interrupt") -- a stock luajit has none
if has_interrupt then
  interrupt("watchdog", function() pcall(report_from_within) end) -- a report that fails is none of the hog's business
end

--- Reports on standard error every task that computes or blocks for longer than `seconds` without waiting: at once that
--- it happens, and the task's name and traceback as soon as it leaves the compiled loop or the function of C that it is
--- in (in a stock luajit: when it waits next). Noticed within a quarter more than that. 0 ends the watch.
---@param seconds number
function M.watchdog(seconds)
  local result = type(seconds) == "number" and C.mr_watch_start(seconds) or -22
  if result < 0 then
    local _, message, code = errors.world(result, "moonring.watchdog: " .. tostring(seconds) .. " seconds")
    errors.raise(code == "EINVAL" and "argument" or code, "%s", message)
  end
end

return M
