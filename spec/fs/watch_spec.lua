local moonring = require "moonring"
local fs = require "moonring.fs"
local errors = require "moonring.errors"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"

local root

local function shell(command)
  return process.shell("cd " .. root.path .. " && " .. command)
end

-- Events until `count` that pass the filter have come, as "kind path" (or "moved from path").
local function take(watch, count, wanted)
  local list = {}
  moonring.timeout(5, function()
    while #list < count do
      local event = assert(watch:next())
      if not wanted or wanted(event) then
        local path = event.path and event.path:sub(#root.path + 2)
        list[#list + 1] = event.from and ("moved %s %s"):format(event.from:sub(#root.path + 2), path)
          or ("%s %s"):format(event.kind, path)
      end
    end
  end)
  return list
end

-- What has come so far, and a little later.
local function drain(watch)
  local list = {}
  local function all()
    while true do
      local event = watch.events:try_receive()
      if not event then return end
      list[#list + 1] = event
    end
  end
  for _ = 1, 10 do
    all()
    moonring.sleep(0.01)
  end
  all()
  return list
end

describe("a watch", function()
  before_each(function()
    root = assert(fs.temporary_directory())
  end)
  after_each(function()
    assert(root:close())
  end)

  it("tells what happens in a directory, with moves in one piece", function()
    moonring.scope(function()
      local watch = assert(fs.watch(root.path))
      shell "echo 1 > a; chmod 600 a; mv a b; mkdir d; rmdir d; rm b"
      assert.same({
        "created a", "changed a", "written a", "attributes a", "moved a b", "created d", "removed d", "removed b",
      }, take(watch, 8))
    end)
    assert.is_true(eventually(function() return moonring.stats().calls == 0 end))
  end)

  it("tells what happens to a file, and ends with it", function()
    shell "echo 1 > file; echo 2 > other"
    moonring.scope(function()
      local watch = assert(fs.watch(root.path .. "/file"))
      shell "echo 2 >> file; echo 3 >> other"
      assert.same({ "changed file", "written file" }, take(watch, 2))
      shell "rm file"
      local kinds = {}
      for event in watch:changes() do
        kinds[event.kind] = true
      end
      assert.is_true(kinds.removed)
    end)
  end)

  it("takes a move from elsewhere as made, and one to elsewhere as removed", function()
    shell "mkdir watched other; touch watched/out other/in"
    moonring.scope(function()
      local watch = assert(fs.watch(root.path .. "/watched"))
      shell "mv watched/out other; mv other/in watched"
      assert.same({ "removed watched/out", "created watched/in" }, take(watch, 2))
      shell "mv watched/in other"
      assert.same({ "removed watched/in" }, take(watch, 1)) -- without anything that comes after it
    end)
  end)

  it("that is recursive misses nothing made in new directories, however quickly, and tells it once", function()
    shell "mkdir -p old/deep"
    moonring.scope(function()
      local watch = assert(fs.watch(root.path, { recursive = true }))
      shell "for i in $(seq 40); do mkdir -p n$i/a/b; touch n$i/f n$i/a/f n$i/a/b/f; done; touch old/deep/f"
      local created, expected = {}, {}
      for i = 1, 40 do
        for _, name in ipairs { "", "/f", "/a", "/a/f", "/a/b", "/a/b/f" } do
          expected["n" .. i .. name] = true
        end
      end
      expected["old/deep/f"] = true
      for _, line in ipairs(take(watch, 241, function(event) return event.kind == "created" end)) do
        local path = line:match "^created (.*)"
        assert.is_nil(created[path], path .. " came twice")
        created[path] = true
      end
      assert.same(expected, created)
      for _, event in ipairs(drain(watch)) do
        assert.not_equal("created", event.kind)
      end
    end)
  end)

  it("that is recursive follows directories where they move", function()
    shell "mkdir -p a/b/c outside"
    moonring.scope(function()
      local watch = assert(fs.watch(root.path .. "/a", { recursive = true }))
      local function created(event) return event.kind == "created" or event.kind == "moved" end
      shell "mv a/b a/x; touch a/x/c/f"
      assert.same({ "moved a/b a/x", "created a/x/c/f" }, take(watch, 2, created))
      shell "mv a/x outside; touch outside/x/c/g"
      assert.same({ "removed a/x" }, take(watch, 1, function(event) return event.kind == "removed" end))
      moonring.sleep(0.05)
      shell "touch outside/x/c/h; mv outside/x a/y; sleep 0.1; touch a/y/c/i"
      local seen = {}
      for _, line in ipairs(take(watch, 6, created)) do
        seen[line] = true
      end
      assert.is_true(seen["created a/y"] and seen["created a/y/c/h"] and seen["created a/y/c/i"])
    end)
  end)

  it("tells of an overflow", function()
    moonring.scope(function()
      local watch = assert(fs.watch(root.path))
      local limit = tonumber(fs.read_file("/proc/sys/fs/inotify/max_queued_events"):read_string())
      -- Nobody reads: the watch's channel fills, then the kernel's queue does.
      shell(("seq %d | xargs touch"):format(math.floor(limit / 2) + 4000))
      shell "seq 90000 92000 | xargs touch"
      local overflow = false
      moonring.timeout(20, function()
        for event in watch:changes() do
          if event.kind == "overflow" then
            overflow = true
            break
          end
        end
      end)
      assert.is_true(overflow)
    end)
  end)

  it("can be waited for among others", function()
    moonring.scope(function()
      local watch = assert(fs.watch(root.path))
      local name = moonring.select { event = watch:next_op(), late = moonring.sleep_op(0.02) }
      assert.equal("late", name)
      shell "touch x"
      local event
      name, event = moonring.select { event = watch:next_op(), late = moonring.sleep_op(5) }
      assert.equal("event", name)
      assert.equal("created", event.kind)
    end)
  end)

  it("says what limit stands in the way", function()
    local _, message, code = fs.watch(root.path .. "/nothing")
    assert.equal("ENOENT", code)
    assert.matches("watch .*/nothing", message)
    local status, output = process.run(
      "ASAN_OPTIONS=detect_leaks=0 strace -qq -f -o /dev/null -e trace=inotify_add_watch " ..
      "-e inject=inotify_add_watch:error=ENOSPC " .. process.command("-e", [[
        print(require("moonring.fs").watch("/", { recursive = false })) ]]))
    assert.equal(0, status, output)
    assert.matches("ENOSPC.*fs.inotify.max_user_watches", output)
  end)

  it("closed wakes who waits, and ends with its scope", function()
    local watch
    moonring.scope(function(scope)
      watch = assert(fs.watch(root.path))
      local waiter = scope:spawn(function() return watch:next() end)
      moonring.sleep(0.01)
      watch:close()
      watch:close()
      local ok, event = waiter:join()
      assert.is_true(ok)
      assert.is_nil(event)
      watch = assert(fs.watch(root.path))
      assert.is_true(errors.is(select(2, pcall(fs.watch, "")), "argument"))
    end)
    assert.is_false(watch.descriptor)
    assert.is_true(eventually(function() return moonring.stats().calls == 0 end))
  end)
end)
