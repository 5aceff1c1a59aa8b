-- libuv from plain LuaJIT: the fixed HTTP response for every request end in a read, all of one read in one write.
-- Usage: luajit luv_http.lua PORT
local uv = require("luv")

local RESPONSE = "HTTP/1.1 200 OK\r\n"
  .. "Content-Type: text/plain; charset=utf-8\r\n"
  .. "Content-Length: 13\r\n"
  .. "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
  .. "\r\n"
  .. "Hello, World!"

local find, sub, rep = string.find, string.sub, string.rep

local function serve(client)
  local rest = "" -- the beginning of a request whose end has not come yet
  client:read_start(function(failure, data)
    if failure or not data then
      return client:close()
    end
    if rest ~= "" then
      data = rest .. data
    end
    local requests, position = 0, 1
    while true do
      local _, last = find(data, "\r\n\r\n", position, true)
      if not last then
        break
      end
      requests, position = requests + 1, last + 1
    end
    rest = position > #data and "" or sub(data, position)
    if requests == 1 then
      client:write(RESPONSE)
    elseif requests > 1 then
      client:write(rep(RESPONSE, requests))
    end
  end)
end

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", assert(tonumber(arg[1]), "usage: luv_http.lua PORT")))
assert(server:listen(4096, function(failure)
  assert(not failure, failure)
  local client = uv.new_tcp()
  server:accept(client)
  client:nodelay(true)
  serve(client)
end))
uv.run()
