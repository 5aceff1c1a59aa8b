-- moonring.test.slowest: the tests and files that took longest, listed at the end of a run.

local M = {}

local function list(what, times, count)
  table.sort(times, function(left, right) return left.seconds > right.seconds end)
  local lines = { ("seconds of the slowest %s:"):format(what) }
  for i = 1, math.min(#times, count) do
    lines[#lines + 1] = ("%8.2f  %s"):format(times[i].seconds, times[i].name)
  end
  return table.concat(lines, "\n")
end

-- The file that an element stands in, and what it is called below that.
local function names(busted, element)
  local parts, file = {}, element
  while file and file.descriptor ~= "file" do
    table.insert(parts, 1, file.name)
    file = busted.context.parent(file)
  end
  return file and file.name or "?", table.concat(parts, " ")
end

--- Lists `count` of each on standard error when the run ends.
---@param busted table
---@param count integer
function M.watch(busted, count)
  local tests, files = {}, {}
  busted.subscribe({ "test", "end" }, function(element)
    local file, title = names(busted, element)
    tests[#tests + 1] = { name = file .. ": " .. title, seconds = element.duration or 0 }
    return nil, true
  end)
  busted.subscribe({ "file", "end" }, function(file)
    files[#files + 1] = { name = file.name, seconds = file.duration or 0 }
    return nil, true
  end)
  busted.subscribe({ "exit" }, function()
    io.flush()
    io.stderr:write("\n", list("files", files, count), "\n\n", list("tests", tests, count), "\n")
    return nil, true
  end)
end

return M
