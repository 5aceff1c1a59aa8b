-- moonring.test.relay: the events of busted from a worker process to the one that reports, and there told again.
--
-- A worker of `moonring test --jobs` runs one spec file. As busted's output handler it writes each event to the pipe that it
-- was given as a descriptor, at once and without the loop: what a test that crashes has begun is known then. The
-- other side makes elements of busted's out of them and publishes the same events, for whichever output handler is
-- asked for. An event is a length of four bytes and a table as string.buffer encodes it.

local native = require "moonring.native"
local codec = require "string.buffer"

local C, ffi = native.C, native.ffi

local M = {
  DESCRIPTOR = 3, -- of the pipe, in a worker
}

local LENGTH_BYTES = 4

-- Sending -----------------------------------------------------------------------------------------------------------------

-- What can be sent of a table: its plain values.
local function plain(of)
  local out = {}
  for name, value in pairs(of or {}) do
    local kind = type(value)
    if type(name) == "string" and (kind == "string" or kind == "number" or kind == "boolean") then out[name] = value end
  end
  return out
end

-- The pipe opened anew, such that programs that specs start don't inherit it.
local function open_pipe()
  local pipe = assert(io.open("/dev/fd/" .. M.DESCRIPTOR, "we"))
  C.mr_descriptor_close_now(M.DESCRIPTOR)
  pipe:setvbuf "full"
  return pipe
end

local function sender(busted)
  local pipe, known, count = open_pipe(), {}, 0
  local length = ffi.new "uint32_t[1]"

  -- The element and those around it that are news, innermost first.
  local function describe(element, into)
    local parent = busted.parent(element)
    if element.descriptor == "suite" or element.descriptor == "file" then return element.descriptor end
    local id = known[element]
    if not id then
      count = count + 1
      id = count
      known[element] = id
      local fields = plain(element)
      fields.name = fields.name or element.name ~= nil and tostring(element.name) or nil
      into[#into + 1] = { id = id, parent = parent and describe(parent, into) or "file", fields = fields,
        trace = plain(element.trace) }
    end
    return id
  end

  return function(kind, what, element, parent, message, trace)
    local event = { kind = kind, what = what, elements = {}, times = plain(element) }
    event.element = describe(element, event.elements)
    event.message = message ~= nil and tostring(message) or nil
    event.trace = trace and plain(trace)
    event.randomseed = parent and parent.randomseed
    local text = codec.encode(event)
    length[0] = #text
    pipe:write(ffi.string(length, LENGTH_BYTES), text)
    pipe:flush()
  end
end

--- busted's output handler in a worker.
function M.handler()
  local busted = require "busted"
  local send = sender(busted)
  local function pass_on(kind, what)
    return function(...)
      send(kind, what, ...)
      return nil, true
    end
  end
  local handler = {}
  function handler.subscribe()
    for _, kind in ipairs { "describe", "test" } do
      busted.subscribe({ kind, "start" }, pass_on(kind, "start"))
      busted.subscribe({ kind, "end" }, pass_on(kind, "end"))
    end
    for _, kind in ipairs { "failure", "error", "pending" } do
      busted.subscribe({ kind }, pass_on(kind))
    end
    for _, kind in ipairs { "file", "suite" } do
      busted.subscribe({ kind, "end" }, function(element)
        send(kind, "end", element)
        return nil, true
      end)
    end
  end
  return handler
end

-- Receiving ---------------------------------------------------------------------------------------------------------------

--- The next event of a worker's pipe; nil at its end.
---@param stream moonring.Connection
---@return table?
function M.receive(stream)
  local length = stream:read_exactly(LENGTH_BYTES)
  local text = length and stream:read_exactly(ffi.cast("const uint32_t *", length)[0])
  return text and codec.decode(text)
end

local Teller = {}
Teller.__index = Teller

--- Has files take as long as they took in their workers.
---@param busted table
function M.correct_times(busted)
  busted.subscribe({ "file", "end" }, function(file)
    for name, value in pairs(file.times or {}) do
      file[name] = value
    end
    return nil, true
  end, { priority = 1 })
end

--- What tells the events of a worker again while busted runs `file`, the element that stands for its file.
---@param busted table
---@param file table
function M.teller(busted, file)
  return setmetatable({ busted = busted, file = file, elements = { file = file, suite = busted.context.parent(file) } },
    Teller)
end

-- busted's element that stands for a worker's.
local function add_element(self, news)
  local context = self.busted.context
  local element = news.fields
  element.attributes = {}
  element.trace = next(news.trace) and news.trace or nil
  context.push(self.elements[news.parent])
  context.attach(element)
  context.pop()
  self.elements[news.id] = element
end

local function publish(self, channel, element, message, trace)
  local busted = self.busted
  local parent = busted.context.parent(element)
  busted.safe("file", function() busted.publish(channel, element, parent, message, trace) end, self.file)
end

-- An error of the file as such, which has no line.
local function publish_file_error(self, message)
  local trace = { short_src = self.file.name, currentline = 0, what = "main", traceback = "" }
  publish(self, { "error", "file" }, { descriptor = "file", name = self.file.name, trace = trace }, message, trace)
end

--- Publishes an event.
---@param event table
function Teller:tell(event)
  for i = #event.elements, 1, -1 do
    add_element(self, event.elements[i])
  end
  local kind, what, element = event.kind, event.what, self.elements[event.element]
  if kind == "suite" then
    self.is_complete = true
    return
  elseif kind == "file" then
    self.file.times = event.times
    return
  end
  if element ~= self.elements.suite then
    for name, value in pairs(event.times) do
      element[name] = value
    end
  end
  local parent = self.busted.context.parent(element)
  if parent and event.randomseed then parent.randomseed = event.randomseed end
  if kind == "test" then self.running = what == "start" and element or nil end
  if kind == "error" or kind == "failure" then self.has_failed = true end
  if element == self.file then return publish_file_error(self, event.message) end
  publish(self, { kind, what or element.descriptor }, element, event.message, event.trace)
end

--- Ends the file. `message` says what is wrong with how its process has ended, if something is: an error of the test that
--- ran, or of the file.
---@param message? string
function Teller:finish(message)
  local running, busted = self.running, self.busted
  if message and running then
    publish(self, { "error", "it" }, running, message, running.trace)
    busted.safe_publish("file", { "test", "end" }, running, busted.context.parent(running), "error")
  elseif message then
    publish_file_error(self, message)
  end
  -- busted would run what stands below the file.
  local below = busted.context.children(self.file)
  for i = #below, 1, -1 do
    below[i] = nil
  end
end

return setmetatable(M, { __call = function() return M.handler() end })
