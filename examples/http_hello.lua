-- The smallest HTTP service.
--   moonring examples/http_hello.lua [port]
local http = require "moonring.http"
local net = require "moonring.net"

local listener = assert(net.listen { port = tonumber(arg[1]) or 8080 })
print("listening on http://" .. tostring(listener:address()))

http.serve(listener, function(request, response) -- luacheck: ignore request
  response:send(200, "Hello, World!")
end)
