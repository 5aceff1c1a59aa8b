-- Activities of the soak: files, watches, child processes, timers, what tasks share. See network.lua.

local moonring = require "moonring"
local fs = require "moonring.fs"
local process = require "moonring.process"
local worlds = require "spec.soak.world"

local own, must, check = worlds.own, worlds.must, worlds.check

local M = {}

local function name_in(world, random)
  return ("%s/file-%d"):format(world.directory, random:number(30))
end

-- Others write and rename the same names: what is read is always the whole of something.
function M.whole_files(world, scope, random)
  local path = name_in(world, random)
  must(fs.write_file(path, worlds.some_bytes(random), { durable = random:chance(20) }))
  local contents = own(scope, fs.read_file(name_in(world, random)))
  check(worlds.block:find(contents:to_string(), 1, true), "a file of %d bytes is no piece of what was written",
    contents:remaining())
  if random:chance(2) then must(fs.rename(path, name_in(world, random))) end
  if random:chance(3) then must(fs.unlink(name_in(world, random))) end
end

-- Reads and writes at offsets, several at once.
function M.offsets(_, scope, random)
  local file = own(scope, fs.temporary_file())
  local bytes = worlds.some_bytes(random)
  must(file:write(bytes, 0))
  for _ = 1, random:number(4) do
    scope:spawn(function()
      local at = random:number(#bytes) - 1
      local into = scope:allocate(random:number(50000), { zone = random:pick { "native", "heap", "shared" } })
      must(file:read(into, at))
      local text = into:reset_for_read():to_string()
      check(text == bytes:sub(at + 1, at + #text), "what was read at %d has changed", at)
    end)
  end
  if random:chance(3) then must(file:sync(true)) end
  if random:chance(3) then must(file:truncate(random:number(1000))) end
end

function M.lines(world, scope, random)
  local path = ("%s/lines-%d"):format(world.directory, random:next())
  local count = random:number(400)
  local text = {}
  for i = 1, count do
    text[i] = ("line %d %s\n"):format(i, worlds.block:sub(i, i + random:number(100)))
  end
  scope:own { close = function() fs.unlink(path) end }
  must(fs.write_file(path, table.concat(text), { atomic = false }))
  local seen = 0
  for line in fs.lines(path) do
    seen = seen + 1
    check(line .. "\n" == text[seen], "line %d has changed", seen)
  end
  check(seen == count, "%d lines of %d", seen, count)
end

function M.trees(world, scope, random)
  local top = ("%s/tree-%d"):format(world.directory, random:next())
  scope:own { close = function() fs.remove_tree(top) end }
  for i = 1, random:number(5) do
    must(fs.make_directory(("%s/%d/deeper"):format(top, i), { parents = true }))
    must(fs.write_file(("%s/%d/file"):format(top, i), "x", { atomic = false }))
  end
  local found = 0
  for _, entry in fs.walk(top) do
    if entry.kind == "file" then found = found + 1 end
  end
  check(found >= 1, "nothing in the tree")
end

function M.watches(world, scope, random)
  local top = ("%s/watched-%d"):format(world.directory, random:next())
  scope:own { close = function() fs.remove_tree(top) end }
  must(fs.make_directory(top))
  local watch = must(fs.watch(top, { recursive = random:chance(2) }))
  scope:spawn(function()
    for i = 1, 3 do
      fs.make_directory(top .. "/" .. i)
      fs.write_file(("%s/%d/file"):format(top, i), "x")
      fs.write_file(top .. "/file", "x", { atomic = false })
    end
  end)
  for event in watch:changes() do
    if event.kind == "written" and event.path == top .. "/file" then break end
  end
  if random:chance(2) then watch:close() end
end

function M.fifo(world, scope, random)
  local path = ("%s/fifo-%d"):format(world.directory, random:next())
  scope:own { close = function() fs.unlink(path) end }
  check(must(process.run { "mkfifo", path }).ok, "no FIFO could be made")
  scope:spawn(function()
    local writer = own(scope, fs.open(path, "w"))
    must(writer:write "through the FIFO\n")
    writer:close()
  end)
  local reader = own(scope, fs.open(path, "r"))
  check(own(scope, reader:read(100)):to_string():find "^through", "the FIFO has changed what went through")
end

-- Processes -----------------------------------------------------------------------------------------------------------

function M.filter(_, _, random)
  local input = worlds.some_bytes(random)
  local status, output = process.run { "cat", input = input }
  must(status, output)
  check(status.ok and output == input, "cat has changed %d bytes", #input)
end

function M.flood()
  local status, _, code = process.run { "yes", max = 100000 }
  check(status == nil and code == "EMSGSIZE", "yes has ended")
end

function M.talks(_, scope, random)
  local child = own(scope, process.spawn { "cat", stdin = "pipe", stdout = "pipe", grace = random:seconds(1) })
  for i = 1, random:number(5) do
    must(child.stdin:write(i .. "\n"))
    check(must(child.stdout:read_line()) == tostring(i), "cat has said something else")
  end
  if random:chance(2) then child.stdin:close() end
  if random:chance(3) then child:kill(random:pick { "TERM", "KILL", "STOP" }) end
end

-- It does not hear of SIGTERM, and its own child has the pipe.
function M.deaf_process(_, scope)
  local child = own(scope, process.spawn { "sh", "-c", "trap '' TERM; echo up; sleep 30 & wait; sleep 30", stdout = "pipe",
    session = true, grace = 0.05 })
  check(must(child.stdout:read_line()) == "up", "the shell has said something else")
end

function M.no_such_program()
  must(process.run { "/nonexistent/program" })
end

-- Time, and what tasks share ------------------------------------------------------------------------------------------

function M.timers(_, scope, random)
  local count, wanted = 0, random:number(5)
  moonring.every(random:seconds(0.01), function()
    count = count + 1
    return count < wanted
  end)
  moonring.after(random:seconds(0.01), function() end)
  moonring.after(3600, function() end):cancel()
  scope:spawn(moonring.sleep, random:seconds(0.05))
  local started, seconds = moonring.now(), random:seconds(0.01)
  moonring.sleep(seconds)
  check(moonring.now() - started >= seconds, "a sleep has ended early")
end

function M.channels(_, scope, random)
  local channel, total = moonring.channel(random:number(3)), 0
  local senders = random:number(4)
  for i = 1, senders do
    scope:spawn(function()
      moonring.sleep(random:seconds(0.005))
      channel:send(i)
    end)
  end
  for _ = 1, senders do
    total = total + channel:receive()
  end
  check(total == senders * (senders + 1) / 2, "values were lost")
end

function M.signals(_, scope)
  local subscription = scope:own(moonring.signal "USR2")
  check(must(process.shell("kill -USR2 $PPID")).ok, "kill has failed")
  subscription:wait()
end

return M
