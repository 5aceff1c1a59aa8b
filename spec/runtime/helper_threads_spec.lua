-- Helpers serve the loops of several threads. By a C program, because there is one Lua state to a thread; it is built from the
-- runtime's sources with ThreadSanitizer, and without it.

local process = require "spec.support.process"

local function run(command)
  local status, output = process.run(command)
  return status, output
end

describe("helper threads and loops", function()
  local directory
  setup(function()
    directory = select(2, run "mktemp -d"):match "%S+"
  end)
  teardown(function()
    run("rm -r " .. directory)
  end)

  for name, flags in pairs { plain = "", ["thread-sanitized"] = "-fsanitize=thread" } do
    it(name .. ": calls are done, abandoned and in flight at the end of their loops", function()
      local program = directory .. "/" .. name
      local status, output = run(("cc -std=c11 -D_GNU_SOURCE -O1 -g -Iruntime %s spec/runtime/helper_threads.c " ..
        "$(ls runtime/*.c | grep -v main.c) $(pkg-config --cflags --libs liburing zlib) -lpthread -o %s"):format(flags, program))
      assert.equal(0, status, output)
      status, output = run("timeout 100 " .. program)
      assert.equal("ok\n", output)
      assert.equal(0, status)
    end)
  end
end)
