-- A line chat over TCP: `moonring examples/chat.lua [port]`, then `nc 127.0.0.1 7009` in several terminals.
-- The first line is your name. Everybody has a channel of lines to be shown; one who reads too slowly misses some.

local moonring, net = require "moonring", require "moonring.net"

local guests = {} -- by name: the channel of what is to be shown

local function tell_all(line, except)
  for name, channel in pairs(guests) do
    if name ~= except then channel:try_send(line) end
  end
end

local function ask_name(connection)
  connection:write "your name? "
  local name = connection:read_line(32)
  while name and (name == "" or guests[name]) do
    connection:write(name == "" and "your name? " or "taken. another? ")
    name = connection:read_line(32)
  end
  return name
end

local function chat(connection)
  local ok, name = pcall(moonring.timeout, 60, ask_name, connection) -- a minute for that
  if not ok or not name then return end
  local channel = moonring.channel(100)
  guests[name] = channel
  local screen = moonring.spawn(function()
    for line in channel:values() do
      if not connection:write(line .. "\n") then return end
    end
  end)
  tell_all(("* %s is here"):format(name))
  for line in connection:lines(1000) do
    tell_all(("%s: %s"):format(name, line), name)
  end
  guests[name] = nil
  channel:close()
  screen:join()
  tell_all(("* %s has left"):format(name))
end

local listener = assert(net.listen { port = tonumber(arg[1]) or 7009 })
print(("chat on %s"):format(tostring(listener:address())))
net.serve(listener, chat)
