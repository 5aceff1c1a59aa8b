-- libuv from plain LuaJIT: echo. Usage: luajit luv_echo.lua PORT
local uv = require("luv")

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", assert(tonumber(arg[1]), "usage: luv_echo.lua PORT")))
assert(server:listen(4096, function(failure)
  assert(not failure, failure)
  local client = uv.new_tcp()
  server:accept(client)
  client:nodelay(true)
  client:read_start(function(read_failure, data)
    if read_failure or not data then
      client:close()
    else
      client:write(data)
    end
  end)
end))
uv.run()
