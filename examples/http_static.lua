-- Serves the files of a directory.
--   moonring examples/http_static.lua [directory] [port]
local http = require "moonring.http"

local server = assert(http.server { port = tonumber(arg[2]) or 8080 })
print("listening on http://" .. tostring(server:address()))

server:serve(http.static(arg[1] or ".", { cache_control = "max-age=60" }))
