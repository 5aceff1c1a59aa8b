-- Spec files in worker processes: each case runs `moonring test --jobs` over files of its own.

local process = require "spec.support.process"
local specs = require "spec.support.specs"
local eventually = require "spec.support.eventually"

local run, counts = specs.run, specs.counts

-- For files of one run that take turns: touch(name) makes a file, await(name) waits until it is there.
local PRELUDE = [[
local moonring, fs, test = require "moonring", require "moonring.fs", require "moonring.test"
local function touch(name) assert(fs.write_file(name, "")) end
local function await(name) assert(test.eventually(function() return fs.exists(name) end, 50), "there is no " .. name) end
]]

-- The places of texts in a text, in order; fails where one is missing.
local function assert_in_order(text, parts)
  local from = 1
  for _, part in ipairs(parts) do
    local _, last = text:find(part, from, true)
    assert.is_truthy(last, part .. " in:\n" .. text)
    from = last + 1
  end
end

describe("moonring test --jobs", function()
  it("runs files at the same time, and tells of them in their order", function()
    local status, output = run({
      ["a_spec.lua"] = PRELUDE .. [[
        it("begins first and ends last", function()
          touch "a"
          await "b_has_ended"
          print "this is a"
          assert.equal("a", "failed")
        end)
      ]],
      ["b_spec.lua"] = PRELUDE .. [[
        it("runs while a does", function()
          await "a"
          print "this is b"
          io.stderr:write "b's complaint\n"
        end)
        it("breaks", function() error "b has failed" end)
        it("is pending", function() pending "b waits" end)
        teardown(function() touch "b_has_ended" end)
      ]],
    }, "--jobs=2 --deadline=60 --output=TAP")
    assert.equal(1, status)
    assert_in_order(output, { "not ok 1 - begins first and ends last", "# ./a_spec.lua @ 4", "./a_spec.lua:8: Expected",
      "ok 2 - runs while a does", "not ok 3 - breaks", "./b_spec.lua:9: b has failed", "SKIP ./b_spec.lua:10: b waits",
      "1..4" })
    assert_in_order(output, { "this is a", "this is b" })
    assert.is_truthy(output:find("b's complaint", 1, true))
  end)

  it("runs no more files at once than it was told, each in a process that knows nothing of the others", function()
    local one = PRELUDE .. [[
      it("is alone", function()
        assert(fs.make_directory "place")
        assert.is_nil(rawget(_G, "somebody"))
        rawset(_G, "somebody", true)
        moonring.sleep(0.05)
        assert(fs.remove_directory "place")
      end)
    ]]
    local status, output = run({ ["a_spec.lua"] = one, ["b_spec.lua"] = one, ["c_spec.lua"] = one }, "--jobs=1")
    assert.equal("3 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  it("makes an error of a process that ends in the middle, and goes on with the other files", function()
    local status, output = run({
      ["a_spec.lua"] = [[
        it("is well", function() end)
        describe("in here it", function()
          it("crashes", function() require("ffi").cast("int *", 8)[0] = 1 end)
          it("never begins", function() end)
        end)
      ]],
      ["b_spec.lua"] = "it('exits', function() os.exit(7, true) end)",
      ["c_spec.lua"] = "it('is no Lua' function",
      ["d_spec.lua"] = "os.exit(3, true)",
      ["e_spec.lua"] = "it('is well', function() end)",
    }, "--jobs=2", "ASAN_OPTIONS=handle_segv=0 " .. process.command "test")
    assert.equal("2 0 4 0", counts(output))
    assert.equal(1, status)
    assert_in_order(output, { "a_spec.lua @ 3\nin here it crashes\n" ..
      "./a_spec.lua: its process has ended before its tests, with signal SEGV",
      "b_spec.lua @ 1\nexits\n./b_spec.lua: its process has ended before its tests, with exit status 7",
      "c_spec.lua:1: ')' expected near 'function'",
      "d_spec.lua: its process has ended before its tests, with exit status 3" })
  end)

  it("tells of a process that has ended badly after its tests", function()
    local status, output = run([[
      it("is well", function() end)
      it("fails", function() error "x" end)
      local ffi = require "ffi"
      ffi.cdef "void _exit(int);"
      debug.getregistry().at_the_end = ffi.gc(ffi.new "int[1]", function() ffi.C._exit(9) end)
    ]], "--jobs=1")
    assert.equal("1 0 2 0", counts(output))
    assert.equal(1, status)
    assert.is_truthy(output:find("one_spec.lua: its process has ended with exit status 9 after its tests", 1, true), output)
  end)

  it("looks for leaks and deadlines in its processes", function()
    local status, output = run({
      ["a_spec.lua"] = PRELUDE .. "it('leaks', function()\nmoonring.spawn(moonring.sleep, 60) end)",
      ["b_spec.lua"] = PRELUDE .. "it('hangs', function() moonring.sleep(60) end)",
    }, "--jobs=2 --deadline=0.3")
    assert.equal("0 0 2 0", counts(output))
    assert.equal(1, status)
    assert.is_truthy(output:find("spawned at ./a_spec.lua:5, waits for sleep", 1, true), output)
    assert.is_truthy(output:find("hangs has taken more than 0.3 s", 1, true), output)
    status = run(PRELUDE .. "it('leaks', function() moonring.spawn(moonring.sleep, 60) end)", "--jobs=2 --leaks=ignore")
    assert.equal(0, status)
  end)

  it("does with busted's arguments what busted does", function()
    local files = {
      ["a_spec.lua"] = "it('one #tag', function() assert.equal('from helper', rawget(_G, 'helped')) end) " ..
        "it('two', function() end)",
      ["b_spec.lua"] = "it('three', function() error 'three' end) it('four #tag', function() end)",
      ["c_test.lua"] = "it('five', function() end)",
      ["helper.lua"] = "rawset(_G, 'helped', (rawget(_G, 'helped') or '') .. 'from helper')",
      ["deeper/d_spec.lua"] = "it('six', function() end)",
    }
    local cases = {
      { "--helper=./helper.lua --filter-out=three", "4 0 0 0" },
      { "--helper=./helper.lua --tags=tag --exclude-pattern=b_spec", "1 0 0 0" },
      { "--pattern=_test", "1 0 0 0" },
      { "-C deeper", "1 0 0 0" },
      { "--no-keep-going --filter=three --filter=six", "0 0 1 0" },
    }
    for _, case in ipairs(cases) do
      local status, output = run(files, "--jobs=2 " .. case[1])
      assert.equal(case[2], counts(output), case[1] .. "\n" .. output)
      assert.equal(case[2]:find "^%d+ 0 0" and 0 or 1, status)
    end
    local _, output = run(files, "--jobs=2 -e '_G.helped = \"from helper\"' --filter='one #tag' --repeat=3")
    assert.equal(3, select(2, output:gsub("1 success / 0 failures", "")))
    _, output = run(files, "--jobs=2 --list")
    assert_in_order(output, { "one #tag", "three", "six" })
    local _, first = run(files, "--jobs=2 --shuffle --seed=7 --output=TAP")
    local _, again = run(files, "--jobs=1 --shuffle --seed=7 --output=TAP")
    assert.equal(first, again)
    assert.is_truthy(first:find("Random seed: 7", 1, true))
    _, output = run({ ["a.txt"] = "" }, "--jobs=2")
    assert.is_truthy(output:find("No test files found", 1, true))
  end)

  it("keeps what a file prints before its turn, and lets it wait when that is very much", function()
    local folder = specs.folder {
      ["a_spec.lua"] = PRELUDE .. "it('waits', function() await 'nearly_all' end)",
      ["b_spec.lua"] = PRELUDE .. [[
        it("prints", function()
          local line = ("x"):rep(65535)
          for i = 1, 1100 do
            print(line)
            if i == 1000 then touch "nearly_all" end
            if i % 20 == 0 then moonring.stdout:flush() end
          end
        end)
      ]],
    }
    local command = "cd %s && %s --jobs=2 --deadline=60 . | tr -d x+ | uniq -c"
    local status, output = process.run(command:format(folder, process.command "test"))
    specs.remove(folder)
    assert.equal("2 0 0 0", counts(output))
    assert.equal(0, status)
    assert.is_truthy(output:find "%f[%d]1101 *\n", output) -- the dots of the two tests end a line of their own
  end)

  it("does not wait for programs that a spec has left running", function()
    local folder = specs.folder "it('leaves one', function() os.execute 'sleep 60 & echo $! >pid' end)"
    local status, output = process.run(("cd %s && %s --jobs=1 . </dev/null | cat"):format(folder, process.command "test"))
    local pid = io.open(folder .. "/pid"):read "*n"
    specs.remove(folder)
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
    assert.equal(0, os.execute(("kill %d"):format(pid))) -- it was there
  end)

  it("ends its processes when it is told to end", function()
    local moonring = require "moonring"
    moonring.scope(function(scope)
      local folder = specs.folder(PRELUDE .. [[
        it("waits", function()
          touch(tostring(io.open("/proc/self/stat"):read "*n"))
          moonring.sleep(60)
        end)
      ]])
      local running = process.start(scope, ("env -C %s %s --jobs=1 ."):format(folder, process.command "test"))
      local pid
      assert.is_truthy(eventually(function()
        pid = io.popen("ls " .. folder):read("*a"):match "%d+"
        return pid
      end, 20))
      running:kill "TERM"
      assert.is_true(running:wait())
      specs.remove(folder)
      assert.is_nil(io.open("/proc/" .. pid .. "/stat"))
    end)
  end)

  it("refuses numbers that are none", function()
    for _, option in ipairs { "--jobs=0", "--jobs=many", "--jobs=1.5", "--slowest", "--slowest=0" } do
      local status, output = run("", option)
      assert.equal(1, status)
      assert.is_truthy(output:find(option:match "^[^=]*" .. ": ", 1, true), output)
    end
    assert.equal(0, (run("it('is well', function() end)", "--jobs")))
  end)
end)

describe("moonring test --slowest", function()
  it("lists the files and tests that took longest, also of processes", function()
    local files = {
      ["a_spec.lua"] = PRELUDE .. "it('is quick', function() end) it('is slow', function() moonring.sleep(0.2) end)",
      ["b_spec.lua"] = PRELUDE .. "describe('it', function() it('is slower', function() moonring.sleep(0.4) end) end)",
      ["c_spec.lua"] = "it('is quick, too', function() end)",
    }
    for _, options in ipairs { "--slowest=2", "--slowest=2 --jobs=2" } do
      local _, output = run(files, options)
      assert_in_order(output, { "slowest files", "./b_spec.lua", "./a_spec.lua", "slowest tests",
        "./b_spec.lua: it is slower", "./a_spec.lua: is slow" })
      assert.is_falsy(output:find("quick", 1, true))
    end
  end)
end)
