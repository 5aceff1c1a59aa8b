-- The rooms of runtime/, and that what includes what is as runtime/README.md has it.

local process = require "spec.support.process"

local ROOT = "runtime/"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function room_of(path)
  return path == "api.h" and "api.h" or path:match("^(.+)/") or "."
end

-- The places of the rooms in the README's table, from the top down.
local function places()
  local at, count = {}, 0
  for room in read(ROOT .. "README.md"):gmatch("\n| `([^`]+)` |") do
    count = count + 1
    at[(room:gsub("/$", ""))] = count
  end
  at["api.h"] = count + 1
  return at
end

-- Calls use(file, the header's path from runtime/ or nil, what is written) for each #include of a header of ours.
local function each_include(use)
  local _, list = process.run("cd runtime && find . -name '*.[ch]'")
  for file in list:gmatch("%./(%S+)") do
    for written in read(ROOT .. file):gmatch('\n#include "([^"]+)"') do
      local folder, header = file:match("^(.*/)") or "", written
      if file:find("%.h$") and (written:find("^%.%./") or not written:find("/")) then
        header = (folder .. written):gsub("[^/]+/%.%./", "")
      end
      use(file, io.open(ROOT .. header) and header, written)
    end
  end
end

describe("the rooms of runtime/", function()
  it("name headers by their path from runtime/", function()
    local wrong, seen = {}, 0
    each_include(function(file, header, written)
      seen = seen + 1
      if not header then wrong[#wrong + 1] = file .. ": " .. written end
    end)
    assert.same({}, wrong)
    assert.is_true(seen > 100)
  end)

  it("include only from rooms that stand lower in the README's table", function()
    local at, wrong = places(), {}
    each_include(function(file, header)
      local from, to = room_of(file), room_of(header)
      assert(at[from], file .. " is in no room of the README's table")
      assert(at[to], header .. " is in no room of the README's table")
      if from ~= to and at[from] >= at[to] then wrong[#wrong + 1] = file .. " includes " .. header end
    end)
    assert.same({}, wrong)
  end)

  it("have public headers that stand for themselves, without an include path", function()
    local headers = { "api.h", "moonring.h" }
    for header in read(ROOT .. "moonring.h"):gmatch('\n#include "([^"]+)"') do headers[#headers + 1] = header end
    assert.is_true(#headers > 15)
    local status, output = process.run("cd runtime && cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -x c "
      .. table.concat(headers, " "))
    assert.equal(0, status, output)
  end)
end)
