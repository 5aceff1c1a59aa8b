local moonring = require "moonring"
local net = require "moonring.net"
local process = require "spec.support.process"

describe("examples/chat.lua", function()
  it("lets nc clients talk, greet and leave", function()
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("examples/chat.lua", "0"))
      local port = tonumber((child:expect(":(%d+)\n")))
      -- The third guest is a real nc, which says its piece and stays.
      local ann, bob = scope:own(assert(net.connect { port = port })), scope:own(assert(net.connect { port = port }))
      assert.equal("your name? ", ann:read_exactly(11))
      ann:write "ann\n"
      assert.equal("* ann is here", ann:read_line())
      bob:write "ann\nbob\n"
      assert.equal("your name? taken. another? ", bob:read_exactly(27))
      assert.equal("* bob is here", bob:read_line())
      assert.equal("* bob is here", ann:read_line())
      bob:write "hello\r\n"
      assert.equal("bob: hello", ann:read_line())
      local guest = process.start(scope, ("bash -c %s"):format(process.quote(
        ("exec nc 127.0.0.1 %d < <(printf 'carl\\nfrom nc\\n'; exec sleep 20)"):format(port))))
      assert.equal("* carl is here", ann:read_line())
      assert.equal("carl: from nc", ann:read_line())
      ann:write "welcome\n"
      guest:expect "ann: welcome"
      guest:kill "TERM"
      assert.equal("* carl has left", ann:read_line())
      bob:close()
      assert.equal("* bob has left", ann:read_line())
      child:kill "TERM"
      assert.is_true(child:wait())
    end)
  end)
end)

describe("examples/port_scan.lua", function()
  it("makes 10,000 connects and finds the ports that are open", function()
    moonring.scope(function(scope)
      local open = {}
      for i = 1, 3 do
        open[i] = scope:own(assert(net.listen {}))
      end
      local first = math.min(open[1].port, open[2].port, open[3].port, 55000)
      local child = process.start(scope, process.command("examples/port_scan.lua", first, first + 9999, 200))
      child:expect("10000 ports in", 60)
      local text = child:output()
      for i = 1, 3 do
        if open[i].port < first + 10000 then
          assert.is_truthy(text:find(("127.0.0.1:%d is open"):format(open[i].port), 1, true), text)
        end
      end
      assert.is_truthy(text:find "%d+ ECONNREFUSED")
      assert.is_true(child:wait())
    end)
  end)
end)
