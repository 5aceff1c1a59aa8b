-- Trace mode, leaks at the end and the memory limit, seen from outside: each case runs a script in a process of its
-- own.

local EXECUTABLE = os.getenv "MOONRING"
if not EXECUTABLE then
  local lowest = 0
  while arg and arg[lowest - 1] do
    lowest = lowest - 1
  end
  EXECUTABLE = arg and arg[lowest] or "build/moonring"
end

--- Runs `script` with the options. Returns what it wrote (stderr and stdout) and its exit status.
local function run(options, script)
  local path = os.tmpname()
  local file = io.open(path, "w")
  file:write(script)
  file:close()
  local pipe = io.popen(("%s %s %s 2>&1; echo \"status $?\""):format(EXECUTABLE, options, path))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(path)
  text = text:gsub(path:gsub("%p", "%%%0"), "script.lua")
  return text, tonumber(text:match("status (%d+)%s*$"))
end

local PRELUDE = 'local moonring, iovec = require "moonring", require "moonring.iovec"; ' ..
  'local buffer, ffi = require "moonring.buffer", require "ffi"\n'

--- The report that begins with `headline`, or nil: up to the next report.
local function report(text, headline)
  local from = text:find("moonring: iovec trace: " .. headline)
  if not from then return nil end
  local till = text:find("\nmoonring: ", from, true) or #text
  return text:sub(from, till)
end

local function traced(script)
  local text, status = run("--trace=iovec", PRELUDE .. script)
  return text, status
end

-- Says that the report names the line of each part.
local function assert_places(text, headline, places)
  local found = report(text, headline)
  assert(found, "no report '" .. headline .. "' in: " .. text)
  for label, line in pairs(places) do
    local wanted = "  " .. label .. "%s+script%.lua:" .. line .. "%f[%D]"
    assert(found:find(wanted), label .. " at line " .. line .. " in: " .. found)
  end
end

describe("trace mode", function()
  it("row 16: names the lines of a double release", function()
    assert_places(traced [[
local one = iovec.allocate(100)
one:release()
pcall(one.release, one)]], "double release: 100 bytes", { fault = 4, released = 3, allocated = 2 })
  end)

  it("row 16: names the lines of a use after release, also when the memory was handed out again", function()
    local text = traced [[
local one = iovec.allocate(100)
one:release()
local other = iovec.allocate(100)
pcall(one.clone, one)
other:release()]]
    assert_places(text, "use after release: 100 bytes", { fault = 5, released = 3, allocated = 2 })
  end)

  it("row 16: names the lines of a release after move", function()
    assert_places(traced [[
local one = iovec.allocate(100)
local other = one:move()
pcall(one.release, one)
other:release()]], "release after move", { fault = 4, moved = 3, allocated = 2 })
  end)

  it("row 16: names the lines of a release through a copied structure", function()
    assert_places(traced [[
local one = iovec.allocate(100)
local copy = iovec.new()
ffi.copy(copy, one, 32)
one:release()
pcall(copy.release, copy)]], "release of a copied iovec", { fault = 6, released = 5, allocated = 2 })
  end)

  it("names the lines of the use of a released buffer", function()
    assert_places(traced [[
local one = buffer.allocate(100)
one:release()
pcall(one.read_u8, one)]], "use after release", { fault = 4, released = 3, allocated = 2 })
  end)

  it("finds a write past the end at the release, and names the place of allocation", function()
    assert_places(traced [[
local one = iovec.allocate(100)
one:pointer()[100] = 1
one:release()]], "write past the end: byte 100 of an iovec of 100", { ["found by"] = 4, allocated = 2 })
  end)

  it("finds a write past the end at the exit", function()
    assert_places(traced [[
kept = iovec.allocate(100)
kept:pointer()[107] = 1]], "write past the end: byte 107", { allocated = 2 })
  end)

  it("finds a write after the release", function()
    assert_places(traced [[
local one = iovec.allocate(100)
local data = one:pointer()
one:release()
data[42] = 1]], "write after release: byte 42", { released = 4, allocated = 2 })
  end)

  it("follows allocations that compiled code makes", function()
    local text, status = traced [[
      local net = require "moonring.net"
      moonring.scope(function(scope)
        local listener = scope:own(net.listen {})
        local client = scope:own(net.connect { port = listener.port })
        local server = scope:own(listener:accept())
        for i = 1, 300 do
          for k = 1, 20 do client:write(k .. "\n") end
          server:read()
        end
        print "fine"
      end)
    ]]
    assert.is_truthy(text:find("fine", 1, true), text)
    assert.equal(0, status)
  end)

  it("tells at a scope's end what it has not released, grouped by place, but not what it returns or owns", function()
    local text = traced [[
kept = {}
local returned = moonring.scope(function(scope)
  scope:allocate(10)
  for i = 1, 3 do
    kept[i] = iovec.allocate(1000)
  end
  return buffer.allocate(20)
end)
returned:release()
moonring.scope(function(outer)
  moonring.scope(function() outer:own(buffer.allocate(33)) end)
end)
for i = 1, 3 do kept[i]:release() end]]
    assert_places(text, "leak at scope exit: 3 iovecs", { allocated = 6 })
    assert.matches("3 iovecs, 3000 bytes", text)
    local _, count = text:gsub("leak", "")
    assert.equal(1, count, text)
  end)

  it("row 22: tells at the end what is held, grouped by place", function()
    local text, status = traced [[
kept = { iovec.allocate(1000), buffer.allocate(50) }
for i = 3, 7 do
  kept[i] = buffer.allocate(100)
end]]
    assert.equal(0, status)
    assert.matches("leak at exit: 7 iovecs", text)
    assert.matches("5 iovecs, 500 bytes\n  allocated%s+script%.lua:4", text)
    assert.matches("2 iovecs, 1050 bytes\n  allocated%s+script%.lua:2", text)
  end)

  it("tells what only the collector has released", function()
    assert_places(traced [[
iovec.allocate(1000)
collectgarbage()]], "leak: an iovec of 1000 bytes was left to the collector", { allocated = 2 })
  end)

  it("names the caller when the line is in a function that others share", function()
    local text = traced [[
local function make() return (iovec.allocate(100)) end
kept = make()]]
    assert.matches("allocated%s+script%.lua:2 < script%.lua:3", text)
  end)

  it("says nothing of a program without misuse, and is off unless asked for", function()
    local sound = [[
local net = require "moonring.net"
moonring.scope(function(scope)
  local listener = scope:own(net.listen { host = "127.0.0.1", port = 0 })
  scope:spawn(function()
    local connection = scope:own(listener:accept())
    for data in connection:chunks() do connection:write(data) end
    connection:shutdown()
  end)
  local peer = scope:own(net.connect { host = "127.0.0.1", port = listener:address().port })
  peer:write(("x"):rep(300000))
  peer:shutdown()
  local total = 0
  for data in peer:chunks() do total = total + data:remaining() end
  assert(total == 300000)
end)
print "done"]]
    local text, status = traced(sound)
    assert.equal("done\nstatus 0\n", text)
    assert.equal(0, status)
    local faulty = PRELUDE .. "local one = iovec.allocate(1)\none:release()\npcall(one.release, one)"
    assert.equal("status 0\n", (run("", faulty)))
    EXECUTABLE = "MOONRING_TRACE=iovec " .. EXECUTABLE
    text = run("", faulty)
    EXECUTABLE = EXECUTABLE:gsub("^%S+ ", "")
    assert.matches("double release", text)
  end)
end)

describe("row 22: at the end of the program", function()
  local HOLDS = PRELUDE .. "kept = buffer.allocate(100)"

  it("what is held is counted, with the exit status as it was", function()
    local text, status = run("", HOLDS)
    assert.matches("moonring: 1 iovec is still held at the end", text)
    assert.equal(0, status)
  end)

  it("--leaks=fail makes that a failure, also through os.exit; --leaks=ignore says nothing", function()
    assert.equal(1, select(2, run("--leaks=fail", HOLDS)))
    assert.equal(1, select(2, run("--leaks=fail", HOLDS .. "\nos.exit(0)")))
    assert.equal("status 0\n", (run("--leaks=ignore", HOLDS)))
  end)

  it("what nobody reaches any more is no leak of the end", function()
    assert.equal("status 0\n", (run("--leaks=fail", PRELUDE .. "buffer.allocate(100)")))
  end)
end)

describe("row 25: with --memory-limit", function()
  it("the collector gets its step first, then the caller ENOMEM, and the program goes on", function()
    local text = run("--memory-limit=16M", PRELUDE .. [[
for i = 1, 100 do iovec.allocate(1048576) end -- forgotten: 100 MiB
print("churned", moonring.stats().memory.slab_bytes <= 16777216)
local held = {}
local message, code
while true do
  local one
  one, message, code = iovec.allocate(1048576)
  if not one then break end
  held[#held + 1] = one
end
print("held", #held >= 12, code, message)
local ok, failure = pcall(buffer.allocate, 4194304)
print("buffer", ok, failure.code)
iovec.release_list(held)
local again = iovec.allocate(1048576)
print("again", again ~= nil)
again:release()]])
    assert.matches("churned\ttrue\nheld\ttrue\tENOMEM\tiovec.allocate: 1048576 bytes: ENOMEM", text)
    assert.matches("\nbuffer\tfalse\tENOMEM\nagain\ttrue\nstatus 0", text)
  end)

  it("a write finds the memory that has been forgotten", function()
    local text = run("--memory-limit=12M", PRELUDE .. [[
local net = require "moonring.net"
collectgarbage("stop") -- so that only a want of memory collects
moonring.scope(function(scope)
  local listener = scope:own(net.listen {})
  local client = scope:own(net.connect { port = listener.port })
  local server = scope:own(listener:accept())
  for _ = 1, 200 do -- a collection may come in between, and then the mark is never reached
    local held = iovec.allocate(262144)
    if not held or moonring.stats().memory.iovec_bytes > 11500000 then break end
  end
  print("written", client:write(("x"):rep(200000)))
  local got = 0
  while got < 200000 do got = got + server:read():remaining() end
  print("read", got)
end)]])
    assert.matches("written\ttrue\nread\t200000\nstatus 0", text)
  end)

  it("readers pause while there is no memory, and go on when there is", function()
    local text = run("--memory-limit=8M --leaks=ignore", PRELUDE .. [[
local net = require "moonring.net"
moonring.scope(function(scope)
  local listener = scope:own(net.listen { host = "127.0.0.1", port = 0 })
  local SIZE = 30 * 1048576
  local kept, total, code = {}, 0
  scope:spawn(function()
    local connection = scope:own(listener:accept())
    -- Keeps what it receives until the memory is gone.
    while moonring.stats().memory.refusals == 0 do
      local data = connection:read()
      total = total + data:remaining()
      kept[#kept + 1] = data:slice()
    end
    print("full", #kept > 0)
    moonring.sleep(0.1)
    for _, one in ipairs(kept) do one:release() end
    for data in connection:chunks() do total = total + data:remaining() end
    print("received", total == SIZE)
  end)
  local peer = scope:own(net.connect { host = "127.0.0.1", port = listener:address().port })
  local piece, sent = ("x"):rep(65536), 0
  while sent < SIZE do
    local ok, _, failure = peer:write(piece)
    if ok then sent = sent + #piece else
      code = failure
      moonring.sleep(0.01)
    end
  end
  peer:shutdown()
end)]])
    assert.matches("full\ttrue\nreceived\ttrue\nstatus 0", text)
  end)
end)
