-- Starts the example as a user does, as two processes.
local net = require "moonring.net"
local moonring = require "moonring"

local program = os.getenv "MOONRING" or arg and arg[-1] or "build/moonring"

local function free_port()
  local listener = assert(net.listen {})
  local port = listener.port
  listener:close()
  return port
end

describe("examples/binary_protocol.lua", function()
  it("answers every request of its client", function()
    local port = free_port()
    local pid_file = os.tmpname()
    os.execute(("%s examples/binary_protocol.lua %d >/dev/null & echo $! > %s"):format(program, port, pid_file))
    local pid = io.open(pid_file):read("*l")
    os.remove(pid_file)
    for _ = 1, 200 do
      local probe = net.connect { port = port }
      if probe then
        probe:close()
        break
      end
      moonring.sleep(0.02)
    end
    local client = io.popen(("%s examples/binary_protocol.lua %d moon ring '' 2>&1"):format(program, port))
    local answer = client:read("*a")
    client:close()
    os.execute("kill " .. pid)
    assert.equal("1\tnoom\n2\tgnir\n3\t\n", answer)
  end)
end)
