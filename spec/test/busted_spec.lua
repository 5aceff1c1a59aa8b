-- Specs about specs: each case runs a spec file in a process of its own.

local process = require "spec.support.process"
local specs = require "spec.support.specs"

local run, counts = specs.run, specs.counts

local BUSTED = select(2, process.run "command -v busted"):gsub("\n", "")

local PRELUDE = [[
local moonring, net, test = require "moonring", require "moonring.net", require "moonring.test"
]]

describe("moonring test", function()
  it("runs specs whose every block may wait", function()
    local status, output = run(PRELUDE .. [[
      setup(function() moonring.sleep(0.001) end)
      before_each(function() moonring.sleep(0.001) end)
      after_each(function() moonring.sleep(0.001) end)
      teardown(function() moonring.sleep(0.001) end)
      it("waits", function()
        finally(function() moonring.sleep(0.001) end)
        moonring.sleep(0.001)
      end)
      it("fails after a wait", function() moonring.sleep(0.001) assert.equal(1, 2) end)
      it("breaks after a wait", function() moonring.sleep(0.001) error "broken" end)
      it("is pending after a wait", function() moonring.sleep(0.001) pending "later" end)
    ]])
    assert.equal("1 1 1 1", counts(output))
    assert.equal(1, status)
    assert.is_truthy(output:find("one_spec.lua:10: Expected objects to be equal", 1, true))
    assert.is_truthy(output:find("one_spec.lua:11: broken", 1, true))
  end)

  it("ends with 0 when all is well", function()
    local status, output = run "it('is well', function() end)"
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  it("is what `busted --lua=moonring` is", function()
    local status, output = run([[
      it("waits", function() require("moonring").sleep(0.001) end)
      it("leaks", function() require("moonring").spawn(require("moonring").sleep, 60) end)
    ]], "--output=plainTerminal", "busted --lua=" .. process.command():gsub("'", ""))
    assert.equal("1 0 1 0", counts(output))
    assert.equal(1, status)
  end)

  -- The seven things that go wrong between busted and a runtime.

  it("1: exits with busted's status, silently, and in order", function()
    local status, output = run "it('fails', function() error 'x' end)"
    assert.equal(1, status)
    assert.is_falsy(output:find("moonring: nil", 1, true))
    status = run("it('exits', function() require('moonring').sleep(0) os.exit(7, true) end)")
    assert.equal(7, status)
  end)

  it("2: hands arguments of several words on", function()
    local status, output = run([[
      it("two words", function() end)
      it("two others", function() error "x" end)
    ]], "--filter='two words'")
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
    status, output = run([[it("knows", function() assert.equal("--filter=", arg[2] and arg[2]:sub(1, 9)) end)]],
      "--filter=knows")
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  it("3: keeps moonring's modules over spec files, which busted unloads", function()
    local one = [[
      it("loads everything", function()
        for name in pairs(package.preload) do
          if name:find "^moonring%." and not name:find "cli" and not name:find "trace" then
            seen = pcall(require, name)
          end
        end
        local buffer = require("moonring.buffer").allocate(8)
        buffer:write_u32(7)
        buffer:release()
        rawset(package, "buffer_module", rawget(package, "buffer_module") or require "moonring.buffer")
        assert.equal(package.buffer_module, require "moonring.buffer")
      end)
    ]]
    local status, output = run { ["a_spec.lua"] = one, ["b_spec.lua"] = one, ["c_spec.lua"] = one }
    assert.equal("3 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  it("4: doesn't mix up FFI types that have parameters, and lets modules with types be loaded again", function()
    local module = [[
      local ffi = require "ffi"
      ffi.cdef "typedef struct { int x; } again_t;"
      local M = {}
      M.new = ffi.metatype("again_t", { __index = { module = function() return M end } })
      return M
    ]]
    local spec = [[
      package.path = "./?.lua;" .. package.path
      local ffi = require "ffi"
      it("tells parameters apart", function()
        local one = ffi.typeof("struct { $ x; }", ffi.typeof "int8_t")
        local other = ffi.typeof("struct { $ x; }", ffi.typeof "int64_t")
        assert.equal(1, ffi.sizeof(one))
        assert.equal(8, ffi.sizeof(other))
      end)
      it("has the methods of the module that is loaded now", function()
        local again = require "again"
        assert.equal(again, again.new():module())
      end)
    ]]
    local status, output = run { ["again.lua"] = module, ["a_spec.lua"] = spec, ["b_spec.lua"] = spec }
    assert.equal("4 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  it("5: tells failures of tasks as failures, with the same error object", function()
    local status, output = run(PRELUDE .. [[
      it("fails in a child", function()
        moonring.spawn(function() assert.equal(1, 3) end)
        moonring.sleep(1)
      end)
      it("fails in a scope's child", function()
        moonring.scope(function(scope) scope:spawn(function() assert.equal(1, 4) end) end)
      end)
      it("fails in a child that it doesn't wait for", function()
        moonring.spawn(function() moonring.sleep(0.01) assert.equal(1, 5) end)
      end)
      it("breaks in a child", function()
        moonring.spawn(function() error "broken child" end)
        moonring.sleep(1)
      end)
    ]])
    assert.equal("0 3 1 0", counts(output))
    assert.equal(1, status)
    assert.is_truthy(output:find("one_spec.lua:13: broken child", 1, true))
  end)

  it("6: ends a test that waits for ever by its deadline, and says what it waits for", function()
    local status, output = run(PRELUDE .. [[
      it("hangs", function() moonring.channel():receive() end)
      it("hangs for less", function() test.deadline(0.05) moonring.sleep(60) end)
      it("has more time", function() test.deadline(5) moonring.sleep(0.4) end)
      describe("", function()
        before_each(function() moonring.event():wait() end)
        it("never begins", function() end)
      end)
    ]], "--deadline=0.3")
    assert.equal("1 0 3 0", counts(output))
    assert.equal(1, status)
    assert.is_truthy(output:find("hangs has taken more than 0.3 s", 1, true))
    assert.is_truthy(output:find("hangs for less has taken more than 0.05 s", 1, true))
    assert.is_truthy(output:find("task 1 main: waits for channel:receive", 1, true))
    assert.is_truthy(output:find("one_spec.lua:2: in function", 1, true))
  end)

  it("7: counts all lines for coverage: the compiler is off", function()
    -- What stands in for luacov does nothing but be there.
    local status, output = run({
      ["one_spec.lua"] = "it('is not compiled', function() assert.is_false((jit.status())) end)",
      ["luacov/runner.lua"] = "return setmetatable({ configuration = { exclude = {} } }, { __call = function() end })",
    }, "--coverage", "LUA_PATH='./?.lua;;' " .. process.command "test")
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  -- What is left behind.

  local leaks = {
    ["a task"] = { "moonring.spawn(moonring.sleep, 60)", "task %d+ [^\n]*, spawned at %./one_spec%.lua:3, waits for sleep" },
    ["a timer"] = { "kept = moonring.after(60, print)", "a timer, started at %./one_spec%.lua:3" },
    ["a listener"] = { "kept = net.listen {}", "moonring%.Listener%(127%.0%.0%.1:%d+%), made at %./one_spec%.lua:3" },
    ["a connection"] = { "l = net.listen {} kept = net.connect { port = l.port } other = l:accept() l:close()",
      "moonring%.Connection%(peer=127%.0%.0%.1:%d+%), made at %./one_spec%.lua:3" },
    ["a file"] = { "kept = require('moonring.fs').open '/dev/null'",
      "moonring%.File[^\n]*/dev/null[^\n]*, made at %./one_spec%.lua:3" },
    ["a datagram socket"] = { "kept = net.datagram {}", "moonring%.DatagramSocket[^\n]*, made at %./one_spec%.lua:3" },
    ["a child process"] = { "kept = require('moonring.process').spawn { 'sleep', '60' }",
      "moonring%.Process[^\n]*, made at %./one_spec%.lua:3" },
    ["a descriptor"] = { "kept = io.open '/dev/null'", "descriptor %d+, /dev/null" },
    ["native memory"] = { "kept = require('moonring.iovec').allocate(1000)", "1000 bytes of native memory" },
  }
  -- A file whose tests leave one each behind; behind each one stands one that is clean.
  local function leaking(before)
    local code = { PRELUDE:sub(1, -2) }
    for what, case in pairs(leaks) do
      code[#code + 1] = ("it('leaves %s', function() %s"):format(what, before or "")
      case.line = #code + 1
      code[#code + 1] = case[1]
      code[#code + 1] = "end) it('is clean', function() end)"
    end
    return table.concat(code, "\n")
  end

  it("tells what a test has left behind, and where it came from", function()
    local status, output = run(leaking())
    assert.equal("9 0 9 0", counts(output))
    assert.equal(1, status)
    for what, case in pairs(leaks) do
      local pattern = ("leaves %s has left something behind:[^E]*%s"):format(what, case[2]:gsub(":3", ":" .. case.line))
      assert.is_truthy(output:find(pattern), pattern .. " in:\n" .. output)
    end
  end)

  it("lets a test leave behind what it says that it may", function()
    local status, output = run(leaking "test.allow_leaks()")
    assert.equal("18 0 0 0", counts(output))
    assert.equal(0, status)
    assert.is_falsy(output:find "has left something behind")
  end)

  it("only tells, or doesn't look, when it is told so", function()
    local status, output = run(leaking(), "--leaks=report")
    assert.equal("18 0 0 0", counts(output))
    assert.equal(0, status)
    assert.equal(9, select(2, output:gsub("has left something behind", "")))
    status, output = run(leaking(), "--leaks=ignore")
    assert.equal("18 0 0 0", counts(output))
    assert.equal(0, status)
    assert.is_falsy(output:find "has left something behind")
  end)

  it("gives what is on its way out the time for that", function()
    local status, output = run(PRELUDE .. [[
      it("starts a task that ends", function() moonring.spawn(moonring.sleep, 0.1) end)
      it("closes late", function()
        moonring.scope(function(scope)
          local client, server = test.pair(scope)
          client:write(("x"):rep(100000))
          client:close()
          scope:spawn(function() while server:read() do end end)
        end)
      end)
    ]])
    assert.equal("2 0 0 0", counts(output))
    assert.equal(0, status)
  end)

  it("makes no leak of what only compiled code keeps", function()
    local status, output = run(PRELUDE .. [[
      it("is hot", function()
        local buffer = require("moonring.buffer").allocate(16)
        local function limit() return buffer.limit end -- which the loop's trace keeps
        local sum = 0
        for _ = 1, 1000 do sum = sum + limit() end
        assert.equal(16000, sum)
      end)
    ]])
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
    assert.is_falsy(output:find "held")
  end)

  it("refuses options of its own that make no sense", function()
    local status, output = run("", "--deadline=soon")
    assert.equal(1, status)
    assert.is_truthy(output:find("--deadline: a number of seconds is needed", 1, true))
    status = run("", "--leaks=maybe")
    assert.equal(1, status)
  end)

  it("says what to install where there is no busted", function()
    local status, output = run("", "", "LUA_PATH=/nowhere/?.lua " .. process.command "test")
    assert.equal(1, status)
    assert.is_truthy(output:find("busted is not installed", 1, true), output)
  end)

  it("runs by busted itself as by moonring test", function()
    local status, output = run(PRELUDE .. "it('waits', function() moonring.sleep(0.001) end)", "--ignore-lua",
      process.command(BUSTED))
    assert.equal("1 0 0 0", counts(output))
    assert.equal(0, status)
  end)
end)
