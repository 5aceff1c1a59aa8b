-- A page whose clock the server moves, by server-sent events.
--   moonring examples/sse_clock.lua [port] [seconds between ticks]
local moonring = require "moonring"
local http = require "moonring.http"

local usage = "usage: sse_clock.lua [port] [seconds between ticks]"
local port, pause = tonumber(arg[1] or 8080) or error(usage, 0), tonumber(arg[2] or 1) or error(usage, 0)

local PAGE = [[
<!doctype html><meta charset="utf-8"><title>moonring clock</title><h1 id="clock">...</h1>
<script>
  new EventSource("/ticks").addEventListener("tick", event => { clock.textContent = event.data })
</script>
]]

local router = http.router()

router:get("/", function(_, response)
  response:send(200, PAGE, { ["Content-Type"] = "text/html; charset=utf-8" })
end)

router:get("/ticks", function(request, response)
  local events = response:events()
  local number = tonumber(request:header "Last-Event-ID") or 0
  repeat
    number = number + 1
    local ok = events:send { event = "tick", id = number, data = os.date "!%H:%M:%S UTC" } -- nil when the client has gone
    moonring.sleep(pause)
  until not ok
end)

local server = assert(http.server { port = port })
print("listening on http://" .. tostring(server:address()))
server:serve(router)
