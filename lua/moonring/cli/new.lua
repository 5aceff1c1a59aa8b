-- moonring new: a service to begin with, and its spec.

local M = {
  usage = "new NAME",
}

-- NAME stands for the service's name.
local files = {
  ["NAME.lua"] = [==[
-- NAME: answers each line that it is sent.
--
--   moonring NAME.lua [port]          runs it
--   moonring --watch NAME.lua         runs it, and again when a file changes
--   moonring test                     runs its spec

local net = require "moonring.net"
local service = require "service"

local port = tonumber(arg[1]) or 7007
print("NAME listens on port " .. port)
net.serve({ port = port }, service.handle)
]==],
  ["service.lua"] = [==[
-- What the service does with a connection. It knows nothing of ports, so the spec can hand it any connection.

local M = {}

--- The answer to one line.
function M.answer(line)
  return "you said: " .. line
end

--- Answers the lines of a connection until it ends. Runs as a task of its own for each.
function M.handle(connection)
  local rest = ""
  for buffer in connection:chunks() do
    rest = rest .. buffer:to_string()
    for line in rest:gmatch "([^\n]*)\n" do
      connection:write(M.answer(line) .. "\n")
    end
    rest = rest:match "[^\n]*$"
  end
end

return M
]==],
  ["spec/service_spec.lua"] = [==[
local moonring, test = require "moonring", require "moonring.test"
local service = require "service"

describe("NAME", function()
  it("answers each line, however its bytes arrive", function()
    moonring.scope(function(scope)
      local client, server = test.pair(scope)
      scope:spawn(service.handle, server)
      client:write "hel"
      moonring.sleep(0.01)
      client:write "lo\nworld\n"
      client:shutdown()
      local answer = ""
      while #answer < #"you said: hello\nyou said: world\n" do
        answer = answer .. assert(client:read()):to_string()
      end
      assert.equal("you said: hello\nyou said: world\n", answer)
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
