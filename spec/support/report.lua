-- busted's plainTerminal, and at the end the files that took longest.

local busted = require "busted"
local moonring = require "moonring"

local SHOWN = 10

return function(options)
  local handler = require "busted.outputHandlers.plainTerminal"(options)
  local started, times = 0, {}
  busted.subscribe({ "file", "start" }, function()
    started = moonring.now()
    return nil, true
  end)
  busted.subscribe({ "file", "end" }, function(file)
    times[#times + 1] = { name = file.name, seconds = moonring.now() - started }
    return nil, true
  end)
  busted.subscribe({ "exit" }, function()
    table.sort(times, function(left, right) return left.seconds > right.seconds end)
    io.write("\nseconds of the slowest files:\n")
    for i = 1, math.min(#times, SHOWN) do
      io.write(("%7.1f  %s\n"):format(times[i].seconds, times[i].name))
    end
    return nil, true
  end)
  return handler
end
