-- moonring new: a service to begin with, and its spec.

local M = {
  usage = "new NAME",
}

-- NAME stands for the service's name.
local files = {
  ["NAME.lua"] = [==[
-- NAME: runs the service.
--
--   moonring NAME.lua [port]            http://127.0.0.1:8080/hello/world
--   moonring --watch NAME.lua           again when a file changes
--   moonring test                       its spec

local http = require "moonring.http"
local service = require "service"

local port = tonumber(arg[1]) or 8080
local server = assert(http.server { port = port })
print("NAME: http://127.0.0.1:" .. port .. "/hello/world")
server:serve(service.router())
]==],
  ["service.lua"] = [==[
-- What the service answers. It knows nothing of ports, so the spec can serve it anywhere.

local http = require "moonring.http"

local M = {}

function M.greeting(name)
  return "Hello, " .. name .. "!\n"
end

function M.router()
  local router = http.router()
  router:get("/hello/{name}", function(request, response)
    response:send(200, M.greeting(request.parameters.name))
  end)
  return router
end

return M
]==],
  ["spec/service_spec.lua"] = [==[
local moonring, http = require "moonring", require "moonring.http"
local service = require "service"

-- Serves the routes, and calls body(client) with a session of requests to them.
local function with_service(body)
  moonring.scope(function(scope)
    local server = scope:own(assert(http.server { port = 0 }))
    scope:spawn(server.serve, server, service.router())
    local client = scope:own(http.session { base_url = "http://127.0.0.1:" .. server:address().port })
    body(client)
    server:close()
  end)
end

describe("NAME", function()
  it("greets whom the path names", function()
    with_service(function(client)
      local response = assert(client:request "/hello/moon")
      assert.equal(200, response.status)
      assert.equal("Hello, moon!\n", response:body())
    end)
  end)
end)
]==],
  [".busted"] = [==[
return { default = { ROOT = { "spec" }, lpath = "./?.lua" } }
]==],
}

local order = { "NAME.lua", "service.lua", "spec/service_spec.lua", ".busted" }

local function write(path, text)
  local file, message = io.open(path, "wx")
  if not file then return nil, message end
  file:write(text)
  return file:close()
end

--- Makes the folder NAME. Returns the exit status.
---@param arguments string[]
---@return integer status
function M.run(arguments)
  local name = arguments[1]
  if #arguments ~= 1 or not name:find "^[%w_][%w_-]*$" then
    io.stderr:write("usage: moonring ", M.usage, "\nNAME: letters, digits, - and _\n")
    return 1
  end
  local made = os.execute(("mkdir '%s' 2>/dev/null && mkdir '%s/spec'"):format(name, name))
  if made ~= 0 and made ~= true then
    io.stderr:write(("moonring new: can't make the folder '%s'; is there one already?\n"):format(name))
    return 1
  end
  for _, file in ipairs(order) do
    local path = name .. "/" .. file:gsub("NAME", name)
    local ok, message = write(path, (files[file]:gsub("NAME", name)))
    if not ok then
      io.stderr:write("moonring new: ", message, "\n")
      return 1
    end
    print(path)
  end
  print(("\ncd %s && moonring test && moonring %s.lua"):format(name, name))
  return 0
end

return M
