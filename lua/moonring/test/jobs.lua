-- moonring.test.jobs: spec files in worker processes, several at a time.
--
-- `moonring test --jobs=N` runs busted as ever, but what stands for a spec file there only tells what a worker process makes
-- of it: `moonring test --worker=FILE` with the same arguments. Events, output and errors of the workers are told file by
-- file in busted's order, so they read as if one process had run them all; the first file that isn't done is told as it
-- goes. A worker that crashes is an error of its file, and the others go on.

local errors = require "moonring.errors"
local settings = require "moonring.test.settings"
local relay = require "moonring.test.relay"

local M = {}

local HELD_MAX = 67108864 -- bytes of output that are kept of a file before its turn; who prints more waits for it
local REST_SECONDS = 1 -- for what is in the pipes of a worker that has ended; programs that it has left may hold them open

-- Workers -----------------------------------------------------------------------------------------------------------------

local Worker = {}
Worker.__index = Worker

local function new_worker(name)
  local moonring = require "moonring"
  return setmetatable({ name = name, news = moonring.channel(math.huge), held = 0,
    turn = moonring.event() }, Worker)
end

local function read_events(self, stream)
  for event in relay.receive, stream do
    self.news:send(event)
  end
end

local function read_output(self, stream, file)
  for buffer in stream:chunks() do
    local text = buffer:read_string()
    self.held = self.held + #text
    self.news:send { output = file, text = text }
    if self.held > HELD_MAX then self.turn:wait() end
  end
end

-- A pipe for events: the end that is read, and the number of the other. Nil and a message where there is none.
local function open_pipe(name)
  local C, ffi = require("moonring.native").C, require("moonring.native").ffi
  local ends = ffi.new "int32_t[2]"
  local result = C.mr_pipe_open(ends)
  if result < 0 then return errors.world(result, "a pipe for " .. name) end
  local stream, message = require("moonring.net.connection").open(ends[0], { name = "the events of " .. name })
  if stream then return stream, ends[1] end
  C.mr_descriptor_close_now(ends[0])
  C.mr_descriptor_close_now(ends[1])
  return nil, message
end

-- Starts the process. Returns it and the stream of its events, or nil and a message.
local function start(self, scope)
  local events, theirs = open_pipe(self.name)
  if not events then return nil, theirs end
  scope:own(events)
  local options = { M.program, directory = M.directory, stdout = "pipe", stderr = "pipe",
    descriptors = { [relay.DESCRIPTOR] = theirs } }
  for _, word in ipairs(settings.command) do options[#options + 1] = word end
  options[#options + 1] = "--worker=" .. self.name
  for _, word in ipairs(settings.arguments) do options[#options + 1] = word end
  local process, message = require("moonring.process").spawn(options)
  require("moonring.native").C.mr_descriptor_close_now(theirs)
  if not process then return nil, message end
  return scope:own(process), events
end

local function run(self, scope)
  local moonring = require "moonring"
  local process, events = start(self, scope)
  if not process then
    self.failure = events
    return
  end
  local readers = { scope:spawn(read_events, self, events), scope:spawn(read_output, self, process.stdout, io.stdout),
    scope:spawn(read_output, self, process.stderr, io.stderr) }
  self.status, self.failure = process:wait()
  self.turn:set() -- what is left is no more than pipes hold
  for _, reader in ipairs(readers) do
    moonring.select { reader:join_op(), moonring.sleep_op(REST_SECONDS) }
    reader:cancel()
  end
end

function Worker:run()
  require("moonring").scope(function(scope) run(self, scope) end)
  self.news:close()
end

--- Tells what the worker makes of its file, and waits until it has.
---@param teller table
function Worker:tell(teller)
  self.turn:set()
  for each in self.news:values() do
    if each.output then
      each.output:write(each.text)
    else
      teller:tell(each)
    end
  end
  teller:finish(self:complaint(teller))
end

--- What is wrong with how the process has ended; nil when nothing is.
function Worker:complaint(teller)
  local status = self.status
  if not status then return ("%s: %s"):format(self.name, self.failure) end
  if not teller.is_complete then
    return ("%s: its process has ended before its tests, with %s"):format(self.name, tostring(status))
  elseif not status.ok and not (teller.has_failed and status.code == 1) then
    return ("%s: its process has ended with %s after its tests"):format(self.name, tostring(status))
  end
end

-- All of them, in the order in which they will be told, `count` at a time.
local function run_all(workers, count)
  local moonring = require "moonring"
  moonring.scope(function(scope)
    local places = moonring.semaphore(count)
    for _, worker in ipairs(workers) do
      places:acquire()
      scope:spawn(function()
        worker:run()
        places:release()
      end):named(worker.name)
    end
  end)
end

-- busted's side -----------------------------------------------------------------------------------------------------------

-- Where a worker differs from what the same arguments say.
local function be_worker(given)
  given.ROOT, given.output, given["repeat"] = { settings.worker }, "moonring.test.relay", 1
  given["enable-sound"] = false
end

-- The process that reports loads no specs, so neither what they need.
local function be_reporter(given)
  M.program, M.directory = assert(require("moonring.fs").read_link "/proc/self/exe"), require("pl.path").currentdir()
  given.e, given.helper = {}, nil
end

local function adapt_command_line(real)
  return function(...)
    local command_line = real(...)
    local parse = command_line.parse
    function command_line.parse(...) -- luacheck: ignore
      local given, message = parse(...)
      if not given then return nil, message end
      M.is_on = settings.jobs and not given.list and not given.coverage
      if settings.worker then
        be_worker(given)
      elseif M.is_on then
        be_reporter(given)
      end
      return given
    end
    return command_line
  end
end

-- What runs as the function of busted's element for a file.
local function make_tell(busted)
  local workers, running -- of this repetition
  relay.correct_times(busted)
  busted.subscribe({ "suite", "start" }, function()
    workers = nil
    return nil, true
  end)
  busted.subscribe({ "suite", "end" }, function()
    if running then running:cancel() end -- what --no-keep-going has no use for
    return nil, true
  end)
  return function()
    local file = busted.context.get()
    if not workers then
      local list = {}
      workers = {}
      for i, each in ipairs(busted.context.children(busted.context.parent(file))) do
        list[i] = new_worker(each.name)
        workers[each] = list[i]
      end
      running = require("moonring").spawn(run_all, list, settings.jobs):named "jobs"
    end
    workers[file]:tell(relay.teller(busted, file))
  end
end

local function adapt_file_loader(real)
  return function(busted, loaders)
    local load, load_one, find = real(busted, loaders)
    if not M.is_on then return load, load_one, find end
    return function(roots, patterns, options)
      local files = find(roots, patterns, options)
      if #files == 0 then return load(roots, patterns, options) end -- which says so
      local tell = make_tell(busted)
      local run_file = setmetatable({
        getTrace = function(_, info) return info end,
        rewriteMessage = function(_, message) return message end,
      }, { __call = tell })
      for _, name in ipairs(files) do
        busted.executors.file(name, run_file)
      end
      return files
    end, load_one, find
  end
end

--- Has busted run its files in workers, or be one. `replace(name, adapt)` puts `adapt(module)` in the place of a module.
---@param replace fun(name: string, adapt: fun(real: any): any)
function M.install(replace)
  replace("busted.modules.cli", adapt_command_line)
  replace("busted.modules.test_file_loader", adapt_file_loader)
end

--- How many processors this process may use.
---@return integer
function M.processors()
  local file = io.open "/proc/self/status"
  local list = file and file:read("*a"):match "Cpus_allowed_list:%s*(%S+)" or "0"
  if file then file:close() end
  local count = 0
  for first, last in (list .. ","):gmatch "(%d+)%-?(%d*)," do
    count = count + (tonumber(last) or tonumber(first)) - tonumber(first) + 1
  end
  return count
end

return M
