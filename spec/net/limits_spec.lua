local moonring = require "moonring"
local net = require "moonring.net"
local process = require "spec.support.process"
local written = require "spec.support.stderr"
local ffi = require "ffi"
local C = require("moonring.native").C

describe("a server without descriptors", function()
  it("says so once, with the limit and the remedy, and goes on when there are some again", function()
    moonring.scope(function(scope)
      local command = process.command("-e", [[
        local net = require "moonring.net"
        local listener = assert(net.listen {})
        print("port " .. listener.port .. ".")
        net.serve(listener, function(connection)
          for line in connection:lines() do connection:write(line .. "\n") end
        end)
      ]])
      local child = process.start(scope, "bash -c " .. process.quote("ulimit -n 24; exec " .. command))
      local port = tonumber((child:expect "port (%d+)%."))
      local clients = {}
      for i = 1, 40 do
        clients[i] = scope:own(assert(net.connect { port = port }))
        clients[i]:write(i .. "\n")
      end
      assert.equal("1", clients[1]:read_line())
      child:expect "EMFILE: too many open files"
      local waiting = 0
      for i = 1, 40 do
        local ok = pcall(moonring.timeout, i == 1 and 0 or 0.3 / i, clients[i].read_line, clients[i])
        if not ok then waiting = waiting + 1 end
      end
      assert.is_true(waiting > 10)
      moonring.sleep(0.25) -- it has tried again twice
      for i = 1, 30 do
        clients[i]:close()
      end
      for i = 31, 40 do
        clients[i]:write("again\n")
        local line = clients[i]:read_line()
        if line == tostring(i) then line = clients[i]:read_line() end
        assert.equal("again", line)
      end
      local text = child:output()
      local _, count = text:gsub("EMFILE", "")
      assert.equal(1, count, text)
      assert.is_truthy(text:find("may have 24 open files (ulimit -n", 1, true), text)
      local cpu = tonumber((select(2, process.run("cut -d' ' -f14,15 /proc/" .. child.pid .. "/stat")):match("^(%d+)")))
      assert.is_true(cpu < 100, cpu) -- it did not spin: less than a second
    end)
  end)
end)

describe("a server whose readers keep all the memory there may be", function()
  it("lets its peer wait, and loses nothing of what comes when some is free again", function()
    moonring.scope(function(scope)
      local child = process.start(scope, process.command("--memory-limit=12M", "-e", [[
        local moonring, net = require "moonring", require "moonring.net"
        local listener = assert(net.listen {})
        print("port " .. listener.port .. ".")
        local connection = assert(listener:accept())
        local kept, parts, keeps = {}, {}, true
        local reader = moonring.spawn(function()
          for buffer in connection:chunks() do
            parts[#parts + 1] = buffer:to_string()
            if keeps then kept[#kept + 1] = buffer:slice() end
          end
        end)
        local count
        repeat
          count = #parts
          moonring.sleep(0.2)
        until #parts == count and moonring.stats().receive_refusals > 0
        print(("short %d."):format(#table.concat(parts)))
        keeps = false
        for _, buffer in ipairs(kept) do buffer:release() end
        reader:join()
        print(("received %s."):format(table.concat(parts) == ("0123456789abcdef"):rep(2097152)))
      ]]))
      local client = scope:own(assert(net.connect { port = tonumber((child:expect "port (%d+)%.")) }))
      local writer = scope:spawn(function()
        assert(client:write(("0123456789abcdef"):rep(2097152)))
        assert(client:flush())
        client:shutdown()
      end)
      local bytes = tonumber((child:expect("short (%d+)%.", 60)))
      assert.is_true(bytes > 8388608 and bytes <= 12582912, bytes)
      assert.is_false(writer:has_ended())
      assert.equal("true", child:expect("received (%a+)%.", 60))
      assert.is_true(child:wait())
    end)
  end)
end)

describe("a listener", function()
  it("tells the remedy also when the whole system has no files left", function()
    -- The limit is everybody's, and root has none; so what the loop reports is made up.
    moonring.scope(function(scope)
      local listener = scope:own(assert(net.listen {}))
      local text = written(function() listener:short(-23) end)
      assert.matches("^moonring: accept on 127%.0%.0%.1:%d+: ENFILE: [^\n]*sysctl fs%.file%-max", text)
      assert.equal("", written(function() listener:short(-23) end))
    end)
  end)
end)

describe("a peer that vanishes", function()
  -- In a network of its own, whose only link goes down.
  local function vanish(options, action)
    local script = ([[
      local moonring, net = require "moonring", require "moonring.net"
      local listener = assert(net.listen {})
      local client = assert(net.connect { port = listener.port, %s })
      local server = assert(listener:accept())
      os.execute "ip link set lo down"
      local value, message, code = (function() %s end)()
      print(value, code)
      os.exit(0)
    ]]):format(options, action)
    local command = "ip link set lo up && " .. process.command("-e", script)
    return process.run("timeout 20 unshare -rn sh -c " .. process.quote(command))
  end

  it("ends a write that it does not acknowledge, in the time that user_timeout gives it", function()
    local _, output = vanish("user_timeout = 0.5", [[client:write "x" return client:read()]])
    if output:find("unshare") then return pending "no network namespaces here" end
    assert.equal("nil\tETIMEDOUT\n", output)
  end)

  it("ends a read when it does not answer keepalive's probes", function()
    local _, output = vanish("keepalive = true, keepalive_idle = 1, keepalive_interval = 1, keepalive_count = 1",
      "return client:read()")
    if output:find("unshare") then return pending "no network namespaces here" end
    assert.equal("nil\tETIMEDOUT\n", output)
  end)
end)

describe("an errno", function()
  it("has its name and a sentence, each that there is", function()
    for number = 1, 133 do
      if number ~= 41 and number ~= 58 then -- these two have never been given out
        local name, text = ffi.string(C.mr_error_name(-number)), ffi.string(C.mr_error_text(number))
        assert.is_truthy(name:find("^E[%u%d]+$") and name ~= "EUNKNOWN", number .. " " .. name)
        assert.is_truthy(text:find("%l") and not text:find("[Uu]nknown error"), number .. " " .. text)
      end
    end
    assert.equal("EUNKNOWN", ffi.string(C.mr_error_name(4000)))
    assert.equal("unknown error", ffi.string(C.mr_error_text(4000)))
    assert.equal("EUNKNOWN", ffi.string(C.mr_error_name(-2147483648)))
  end)
end)
