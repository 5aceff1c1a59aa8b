local moonring = require "moonring"
local process = require "spec.support.process"

local function write(path, text)
  local file = assert(io.open(path .. ".new", "w"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path)) -- as editors do it
end

-- Runs body(folder, child) with `moonring --watch main.lua`, which has the code.
local function watching(code, body)
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  write(folder .. "/main.lua", code)
  write(folder .. "/part.lua", "return 'part one'")
  local ok, failure = pcall(moonring.scope, function(scope)
    body(folder, process.start(scope, ("sh -c %s"):format(process.quote(("cd %s && exec %s"):format(folder,
      process.command("--watch", "main.lua", "argument"))))))
  end)
  os.execute("rm -rf " .. folder)
  if not ok then error(failure, 0) end
end

describe("moonring --watch", function()
  it("starts a service again when its script or a module changes, after its scopes have ended", function()
    watching([[
      local moonring, argument = require "moonring", ...
      moonring.scope(function(scope)
        scope:own { close = function() print "released" end }
        print("run", require "part", argument)
        moonring.sleep(1000)
      end)
    ]], function(folder, child)
      child:expect "run\tpart one\targument\n"
      moonring.sleep(0.3)
      write(folder .. "/unrelated.lua", "x")
      write(folder .. "/part.lua", "return 'part two'")
      child:expect "released\nmoonring: a file has changed; starting again\nrun\tpart two\targument\n"
      moonring.sleep(0.3)
      write(folder .. "/main.lua", "print 'other' require('moonring').sleep(1000)")
      child:expect "released\n.*other\n"
      child:kill "INT"
      assert.is_true(child:wait())
      assert.is_falsy(child:output():find("held at the end", 1, true))
    end)
  end)

  it("waits for a change when the script has failed", function()
    watching("error 'not yet'", function(folder, child)
      child:expect "main.lua:1: not yet.*the script has ended; it starts again"
      moonring.sleep(0.3)
      write(folder .. "/main.lua", "x =")
      child:expect "main.lua:1: unexpected symbol.*the script has ended"
      moonring.sleep(0.3)
      write(folder .. "/main.lua", "print 'better'")
      child:expect "better\n.*the script has ended"
      child:kill "TERM"
      assert.is_true(child:wait())
    end)
  end)
end)
