local moonring = require "moonring"
local net = require "moonring.net"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local read_exactly = require("spec.support.stream").read_exactly

-- Starts an example on a free port and returns the process and the port that it prints.
local function start(scope, name, ...)
  local child = process.start(scope, process.command("examples/" .. name, "0", ...))
  return child, tonumber((child:expect(":(%d+)\n")))
end

describe("examples/echo.lua", function()
  it("gives back what it is sent, until told to end", function()
    moonring.scope(function(scope)
      local child, port = start(scope, "echo.lua")
      local client = scope:own(assert(net.connect { port = port }))
      for _, text in ipairs { "a", "hello", ("x"):rep(300000) } do
        scope:spawn(function() client:write(text) end)
        assert.equal(text, read_exactly(client, #text))
      end
      child:kill("TERM")
      assert.is_true(child:wait())
    end)
  end)
end)

describe("examples/http_hello.lua", function()
  it("answers curl", function()
    moonring.scope(function(scope)
      local _, port = start(scope, "http_hello.lua")
      local status, output = process.run(("curl -s -i --max-time 5 http://127.0.0.1:%d/{,again}"):format(port))
      assert.equal(0, status)
      local _, count = output:gsub("HTTP/1.1 200 OK\r\n.-\r\n\r\nHello, World!", "")
      assert.equal(2, count)
    end)
  end)

  it("ends under load when it is told to, and leaves the port free", function()
    moonring.scope(function(scope)
      local child, port = start(scope, "http_hello.lua")
      local done = 0
      for _ = 1, 50 do
        scope:spawn(function()
          local client = net.connect { port = port }
          while client and client:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n") and client:read() do
            done = done + 1
          end
          if client then client:close() end
        end)
      end
      assert.is_true(eventually(function() return done > 50 end))
      child:kill("TERM")
      assert.is_true(child:wait())
      assert.equal(1, select(2, child:output():gsub("\n", "")), child:output())
      local _, _, code = net.connect { port = port }
      assert.equal("ECONNREFUSED", code)
    end)
  end)

  it("serves ten thousand idle connections in less than 2 KiB of memory each", function()
    moonring.scope(function(scope)
      local limit = tonumber(select(2, process.run("ulimit -Hn"))) or 1e6
      local count = math.min(10000, math.floor((limit - 200) / 2))
      local child = process.start(scope,
        "sh -c " .. process.quote("ulimit -n $(ulimit -Hn); exec " .. process.command("examples/http_hello.lua", "0")))
      local port = tonumber((child:expect(":(%d+)\n")))
      local clients = {}
      local function connect()
        local client = scope:own(assert(net.connect { port = port }))
        client:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.is_not_nil(client:read())
        clients[#clients + 1] = client
      end
      for _ = 1, 500 do
        connect()
      end
      local before = child:memory("VmRSS")
      while #clients < count do
        connect()
      end
      local each = (child:memory("VmRSS") - before) * 1024 / (count - 500)
      -- The sanitizers' own bookkeeping is not what is measured here.
      if not (os.getenv("MOONRING") or ""):find("sanitize") then assert.is_true(each < 2048, each .. " bytes each") end
      assert.is_true(each > 0)
    end)
  end)
end)

describe("examples/tcp_proxy.lua", function()
  it("passes bytes on from the memory that they came in, without copying one", function()
    moonring.scope(function(scope)
      local _, upstream = start(scope, "echo.lua")
      local report = [[
        local moonring = require "moonring"
        moonring.spawn(function()
          pcall(moonring.sleep, 3600)
          local stats = moonring.stats()
          print(("copied %d of %d"):format(stats.bytes_copied, stats.bytes_sent))
        end)
      ]]
      local proxy = process.start(scope, process.command("-e", report, "examples/tcp_proxy.lua", "0", upstream))
      local port = tonumber((proxy:expect("proxy on [%d.]+:(%d+)\n")))
      local text = {}
      for i = 1, 100000 do
        text[i] = i
      end
      text = table.concat(text, " ")
      for _ = 1, 3 do
        local client = scope:own(assert(net.connect { port = port }))
        scope:spawn(function()
          client:write(text)
          client:shutdown()
        end)
        assert.equal(text, read_exactly(client, #text))
        assert.is_nil((client:read()))
      end
      proxy:kill("TERM")
      assert.is_true(proxy:wait())
      local copied, sent = proxy:output():match("copied (%d+) of (%d+)")
      assert.equal(0, tonumber(copied))
      assert.equal(6 * #text, tonumber(sent))
    end)
  end)

  it("closes the client when there is no upstream, and says so", function()
    moonring.scope(function(scope)
      local listener = assert(net.listen {})
      local free = listener.port
      listener:close()
      local child, port = start(scope, "tcp_proxy.lua", free)
      local client = scope:own(assert(net.connect { port = port }))
      assert.is_nil((client:read()))
      assert.is_truthy(child:expect("ECONNREFUSED"))
    end)
  end)
end)

describe("examples/dns_server.lua", function()
  it("answers dig, over UDP and TCP", function()
    moonring.scope(function(scope)
      local _, port = start(scope, "dns_server.lua")
      local function dig(...)
        local status, output = process.run(("dig +time=3 +tries=2 -p %d @127.0.0.1 %s"):format(port,
          table.concat({ ... }, " ")))
        assert.equal(0, status, output)
        return output
      end
      assert.equal("192.0.2.1\n", dig("+short", "www.moon.test"))
      assert.equal("www.moon.test.\n2001:db8::1\n", dig("+short", "alias.moon.test", "AAAA"))
      assert.equal("10 www.moon.test.\n", dig("+short", "moon.test", "MX"))
      assert.is_truthy(dig("nowhere.moon.test"):find("status: NXDOMAIN.-moon.test.%s+60%s+IN%s+SOA"))
      assert.is_truthy(dig("example.org"):find("status: REFUSED", 1, true))
      local _, lines = dig("long.moon.test", "TXT"):gsub("line %d+ of", "")
      assert.equal(40, lines)
      assert.is_truthy(dig("+ignore", "long.moon.test", "TXT"):find("flags: qr aa tc", 1, true))
      assert.equal("192.0.2.1\n", dig("+short", "+tcp", "www.moon.test"))
    end)
  end)
end)
