-- Helpers serve the loops of several threads. By a C program, because there is one Lua state to a thread; it is built
-- from the runtime's sources with ThreadSanitizer.

local process = require "spec.support.process"

describe("helper threads", function()
  it("do the calls of several threads' loops, abandoned ones and those in flight at a loop's end, without a race", function()
    if process.command():find "sanitize" then return pending "the plain build's run makes and runs the same program" end
    local _, output = process.run "mktemp -d"
    local directory = output:match "%S+"
    local program = directory .. "/helper_threads"
    local status
    status, output = process.run("cc -std=c11 -D_GNU_SOURCE -O1 -g -Iruntime -fsanitize=thread " ..
      "spec/runtime/helper_threads.c runtime/*/*.c " ..
      "$(pkg-config --cflags --libs liburing zlib libcares) -lpthread -o " .. program)
    assert.equal(0, status, output)
    status, output = process.run("timeout 100 " .. program)
    process.run("rm -r " .. directory)
    assert.equal("ok\n", output)
    assert.equal(0, status)
  end)
end)
