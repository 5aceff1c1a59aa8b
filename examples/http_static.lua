-- Serves the files of a directory.
--   moonring examples/http_static.lua [directory] [port]
local http = require "moonring.http"

local directory = arg[1] or "."
local port = tonumber(arg[2] or 8080) or error("usage: http_static.lua [directory] [port]", 0)
local files = http.static(directory, { cache_control = "max-age=60" })

local server = assert(http.server { port = port })
print("serving " .. directory .. " on http://" .. tostring(server:address()))
server:serve(files)
