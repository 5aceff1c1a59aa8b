-- Rows 18 and 19 of the contract, by a C program, because there is one Lua state to a thread. It is built from the
-- runtime's sources with ThreadSanitizer, and without it.

local SOURCES = "memory.c reference.c iovec.c shared.c slab.c trace.c trace_report.c trace_site.c"

local function run(command)
  local pipe = io.popen("{ " .. command .. "; echo \"status $?\"; } 2>&1")
  local text = pipe:read("*a")
  pipe:close()
  return tonumber(text:match("status (%d+)%s*$")), text
end

local directory
local function build(name, flags)
  directory = directory or run("true") and io.popen("mktemp -d"):read("*l")
  local sources = SOURCES:gsub("%S+", "runtime/memory/%0")
  local command = "cc -std=c11 -D_GNU_SOURCE -O1 -g -Iruntime %s spec/runtime/iovec_threads.c %s -o %s/%s -lpthread"
  local status, text = run(command:format(flags, sources, directory, name))
  assert(status == 0, text)
  return directory .. "/" .. name
end

describe("iovecs and threads", function()
  it("row 18, traced: the line in C that uses a LOCAL iovec on a wrong thread is named", function()
    local program = build("traced", "-rdynamic")
    local _, text = run("MOONRING_TRACE=iovec " .. program .. " local")
    local frames = text:match("LOCAL iovec used on a thread [^\n]*\n  fault [^\n]*mr_iovec_clone\n +C:([^\n]+)")
    assert(frames, text)
    local lines, places = {}, {}
    for line in io.lines("spec/runtime/iovec_threads.c") do
      lines[#lines + 1] = line
    end
    for offset in frames:gmatch("traced%+(0x%x+)") do
      local _, place = run(("addr2line -e %s %s"):format(program, offset))
      places[#places + 1] = place
      local number = tonumber(place:match("iovec_threads%.c:(%d+)"))
      -- A frame is where the call returns to: its line or the next.
      for back = 0, number and 1 or -1 do
        if lines[number - back]:find("mr_iovec_clone%(&other, &self%->mine%)") then return end
      end
    end
    error("other lines were found: " .. table.concat(places))
  end)

  teardown(function()
    if directory then run("rm -r " .. directory) end
  end)

  for name, flags in pairs { plain = "", ["thread-sanitized"] = "-fsanitize=thread" } do
    describe(name .. ":", function()
      local program
      setup(function()
        program = build(name, flags)
      end)

      for case, title in pairs {
        ["shared"] = "row 19: a million clones and releases of SHARED iovecs end at 0, and the owner may reuse the bytes",
        ["local"] = "row 18: LOCAL iovecs are handed home by another thread, and refuse all else there",
        orphan = "row 22: a memory may end while other threads release what it gave them",
        double = "row 16: of several threads that release copies of one SHARED iovec, one succeeds",
      } do
        it(title, function()
          local status, text = run(program .. " " .. case)
          assert.equal("ok\nstatus 0\n", text)
          assert.equal(0, status)
        end)
      end
    end)
  end
end)
