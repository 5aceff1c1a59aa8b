local moonring, net = require "moonring", require "moonring.net"
local test = require "moonring.test"
local process = require "spec.support.process"

local function in_folder(body)
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  local ok, failure = pcall(body, folder)
  os.execute("rm -rf " .. folder)
  if not ok then error(failure, 0) end
end

describe("moonring new", function()
  it("makes a service that runs, with a spec that passes", function()
    in_folder(function(folder)
      local status, output = process.run(("cd %s && %s"):format(folder, process.command("new", "first-service")))
      assert.equal(0, status, output)
      status, output = process.run(("cd %s/first-service && %s"):format(folder, process.command "test"))
      assert.equal(0, status, output)
      assert.is_truthy(output:find("1 success / 0 failures / 0 errors", 1, true), output)
      moonring.scope(function(scope)
        local port = test.free_port()
        local command = process.command("first-service.lua", port)
        local service = process.start(scope, "sh -c "
          .. process.quote(("cd %s/first-service && exec %s"):format(folder, command)))
        service:expect("first%-service listens on port " .. port)
        local connection
        test.eventually(function()
          connection = net.connect { port = port }
          return connection
        end)
        scope:own(connection)
        connection:write "hello\n"
        assert.equal("you said: hello\n", connection:read():to_string())
      end)
    end)
  end)

  it("never overwrites what is there, and refuses names that are none", function()
    in_folder(function(folder)
      os.execute("mkdir " .. folder .. "/taken")
      local status, output = process.run(("cd %s && %s"):format(folder, process.command("new", "taken")))
      assert.equal(1, status)
      assert.is_truthy(output:find("can't make the folder 'taken'", 1, true))
      for _, name in ipairs { "", "a b", "../x", "-x", "a'b" } do
        status = process.run(("cd %s && %s"):format(folder, process.command("new", name)))
        assert.equal(1, status)
      end
      assert.equal(1, (process.run(process.command "new")))
    end)
  end)
end)
