-- Gets many URLs at once, so many at a time, with a progress bar. URLs come as arguments, or one a line on standard input.
--   moonring examples/http_client.lua [-4] http://localhost:8080/ ...      -4: four at a time
local moonring, http = require "moonring", require "moonring.http"

local at_once, urls = 8, {}
for _, argument in ipairs(arg) do
  local count = argument:match "^%-(.*)$"
  if not count then urls[#urls + 1] = argument end
  if count then at_once = tonumber(count) or error("usage: http_client.lua [-N] URL ..., N at a time", 0) end
end
if #urls == 0 then
  for line in io.lines() do
    urls[#urls + 1] = line
  end
end

local done, bytes, failed, started = 0, 0, {}, moonring.now()

local function show()
  local width = math.floor(done / #urls * 40)
  local bar = ("#"):rep(width) .. ("-"):rep(40 - width)
  io.stderr:write(("\r[%s] %d of %d, %.1f MiB "):format(bar, done, #urls, bytes / 1048576))
end

moonring.scope(function(scope)
  local session = scope:own(http.session { connections = at_once })
  local permits = moonring.semaphore(at_once)
  for _, url in ipairs(urls) do
    permits:acquire()
    scope:spawn(function()
      local ok, response, message = pcall(moonring.timeout, 10, session.request, session, url)
      if ok and response and response.ok then
        bytes = bytes + #response:body()
      else
        failed[#failed + 1] = url .. ": " .. tostring(not ok and response or message or response.status)
      end
      done = done + 1
      show()
      permits:release()
    end)
  end
end)
io.stderr:write("\n")
print(("%d URLs, %d bytes, %.2f s, %d failed"):format(#urls, bytes, moonring.now() - started, #failed))
for _, text in ipairs(failed) do
  print(text)
end
os.exit(#failed == 0)
