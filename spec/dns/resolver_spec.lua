local moonring = require "moonring"
local test = require "moonring.test"
local dns = require "moonring.dns"
local net = require "moonring.net"
local codec = require "moonring.dns.codec"
local dns_server = require "spec.support.dns_server"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"

local SOA = { name = "test", type = "SOA", ttl = 100, primary = "ns.test", mailbox = "me.test", serial = 1, refresh = 1,
  retry = 1, expire = 1, minimum = 30 }

local ZONE = {
  ["www.test A"] = { { address = "192.0.2.1", ttl = 100 }, { address = "192.0.2.2", ttl = 50 } },
  ["www.test AAAA"] = { { address = "2001:db8::1" } },
  ["four.test A"] = { { address = "192.0.2.4" } },
  ["six.test AAAA"] = { { address = "2001:db8::6" } },
  ["alias.test CNAME"] = { { target = "second.test", ttl = 20 } },
  ["second.test CNAME"] = { { target = "www.test" } },
  ["loop.test CNAME"] = { { target = "pool.test" } },
  ["pool.test CNAME"] = { { target = "loop.test" } },
  ["self.test CNAME"] = { { target = "self.test" } },
  ["dead.test CNAME"] = { { target = "nowhere.test" } },
  ["test MX"] = { { preference = 20, exchange = "b.test" }, { preference = 10, exchange = "a.test" } },
  ["_http._tcp.test SRV"] = { { priority = 1, weight = 5, port = 8080, target = "www.test" } },
  ["test TXT"] = { { strings = { "v=1", " more" } } },
  ["test NS"] = { { target = "ns.test" } },
  ["test SOA"] = { SOA },
  ["test CAA"] = { { tag = "issue", value = "ca.test" } },
  ["short.lan.test A"] = { { address = "192.0.2.77" } },
  ["9.2.0.192.in-addr.arpa PTR"] = { { target = "nine.test" }, { target = "neun.test" } },
  ["1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR"] = { { target = "www.test" } },
}

local zone = dns_server.zone(ZONE, SOA)

local function hosts_of(addresses)
  local list = {}
  for i, each in ipairs(addresses) do
    list[i] = each.host
  end
  return table.concat(list, " ")
end

-- Runs body(resolver, server, scope) with a resolver that asks a server of the spec, and no files.
local function with(handler, body, options)
  dns_server.with(handler, function(scope, server)
    local wanted = { servers = { server.address }, hosts = false, timeout = 0.1, attempts = 3 }
    for name, value in pairs(options or {}) do
      wanted[name] = value
    end
    body(scope:own(dns.resolver(wanted)), server, scope)
  end)
end

local function write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("a resolver", function()
  it("gives the addresses of both families", function()
    with(zone, function(resolver, server)
      local list = assert(resolver:resolve("www.test", { port = 80 }))
      table.sort(list, function(left, right) return left.host < right.host end)
      assert.equal("192.0.2.1 192.0.2.2 2001:db8::1", hosts_of(list))
      assert.equal(80, list[1].port)
      assert.equal("192.0.2.4", hosts_of(assert(resolver:resolve("four.test"))))
      assert.equal("2001:db8::6", hosts_of(assert(resolver:resolve("SIX.test."))))
      assert.equal("2001:db8::1", hosts_of(assert(resolver:resolve("www.test", { family = 6 }))))
      assert.equal("NODATA", select(3, resolver:resolve("six.test", { family = 4 })))
      assert.equal(1, server.counts["www.test A"])
    end)
  end)

  it("gives records of every type", function()
    with(zone, function(resolver)
      local mx = assert(resolver:query("test", "MX"))
      assert.equal("b.test a.test", mx[1].exchange .. " " .. mx[2].exchange)
      assert.equal(10, mx[2].preference)
      local srv = assert(resolver:query("_http._tcp.test", "SRV"))[1]
      assert.equal("www.test 8080 1 5", ("%s %d %d %d"):format(srv.target, srv.port, srv.priority, srv.weight))
      assert.equal("v=1 more", assert(resolver:query("test", "TXT"))[1].text)
      assert.equal("ns.test", assert(resolver:query("test", "NS"))[1].target)
      assert.equal(30, assert(resolver:query("test", "SOA"))[1].minimum)
      assert.equal("ca.test", assert(resolver:query("test", "CAA"))[1].value)
      assert.equal("second.test", assert(resolver:query("alias.test", "CNAME"))[1].target)
      assert.equal(2, #assert(resolver:query("www.test")))
    end)
  end)

  it("tells why there is nothing", function()
    with(function(query, reply)
      local name = query.questions[1].name
      if name == "down.test" then reply.rcode = "SERVFAIL" end
      if name == "no.test" then reply.rcode = "REFUSED" end
      if name == "what.test" then reply.rcode = "NOTIMP" end
      if name == "silence.test" then return nil end
      if name ~= "down.test" and reply.rcode == nil then return zone(query, reply) end
      return reply
    end, function(resolver)
      for name, expected in pairs { ["nowhere.test"] = "NXDOMAIN", ["down.test"] = "SERVFAIL", ["no.test"] = "REFUSED",
        ["what.test"] = "NOTIMP", ["silence.test"] = "TIMEOUT", ["a..b"] = "BADNAME", ["x.invalid"] = "NXDOMAIN",
        ["x.onion"] = "NXDOMAIN", ["1.2.3"] = "BADNAME", ["fe80::zz"] = "BADNAME" } do
        local list, message, code = resolver:resolve(name)
        assert.is_nil(list)
        assert.equal(expected, code, name)
        assert.is_truthy(message:find(name, 1, true) and message:find(code, 1, true), message)
      end
      assert.equal("NODATA", select(3, resolver:query("four.test", "MX")))
      assert.equal("NODATA", select(3, resolver:query("four.test", "TYPE700")))
    end)
  end)

  it("follows chains of CNAMEs, also when the server leaves that to us", function()
    with(zone, function(resolver, server)
      assert.equal("192.0.2.1 192.0.2.2", hosts_of(assert(resolver:query("alias.test", "A") and
        resolver:resolve("alias.test", { family = 4 }))))
      assert.equal(1, server.counts["second.test A"])
      for _, name in ipairs { "loop.test", "self.test" } do
        local _, message, code = resolver:query(name, "A")
        assert.equal("BADRESPONSE", code)
        assert.is_truthy(message:find("does not end", 1, true))
      end
      assert.equal("NXDOMAIN", select(3, resolver:query("dead.test", "A")))
    end)
    with(function(query, reply) -- a server that follows them itself
      reply.answers = {
        { name = query.questions[1].name, type = "CNAME", ttl = 9, target = "B.test" },
        { name = "c.test", type = "A", ttl = 9, address = "192.0.2.9" },
        { name = "b.TEST", type = "CNAME", ttl = 9, target = "c.test" },
        { name = "other.test", type = "A", ttl = 9, address = "192.0.2.66" },
      }
      return reply
    end, function(resolver, server)
      local records = assert(resolver:query("a.test", "A"))
      assert.equal(1, #records)
      assert.equal("192.0.2.9", records[1].address)
      assert.equal(1, #server.asked)
    end)
  end)

  it("asks again over TCP for an answer that was cut", function()
    with(function(query, reply, transport)
      for i = 1, 100 do
        reply.answers[i] = { name = query.questions[1].name, type = "A", ttl = 1, address = "192.0.2." .. i }
      end
      assert(transport == "tcp" or transport == "udp")
      return reply
    end, function(resolver, server)
      assert.equal(100, #assert(resolver:query("big.test", "A")))
      assert.equal(1, server.over_tcp)
    end)
  end)

  it("asks again when datagrams get lost", function()
    local lost = 0
    with(function(query, reply)
      if lost < 2 then
        lost = lost + 1
        return nil
      end
      return zone(query, reply)
    end, function(resolver)
      assert.equal(2, #assert(resolver:query("www.test", "A")))
      assert.equal(2, lost)
    end)
  end)

  it("goes on to the next server when the first is dead, silent, or fails", function()
    local dead = assert(net.datagram { host = "127.0.0.1", port = 0 })
    local dead_address = "127.0.0.1:" .. dead.port
    dead:close()
    moonring.sleep(0.01)
    for _, kind in ipairs { "dead", "silent", "failing" } do
      dns_server.with(zone, function(scope, good)
        local bad = dns_server.start(scope, function(_, reply)
          reply.rcode = "SERVFAIL"
          return kind == "failing" and reply or nil
        end)
        local resolver = scope:own(dns.resolver { servers = { kind == "dead" and dead_address or bad.address, good.address },
          hosts = false, timeout = 0.1, attempts = 2 })
        assert.equal(2, #assert(resolver:query("www.test", "A")))
        assert.equal(1, good.counts["www.test A"])
        assert.equal(kind == "dead" and 0 or 1, #bad.asked)
      end)
    end
    local resolver = dns.resolver { servers = { dead_address }, hosts = false, timeout = 0.05, attempts = 2 }
    assert.equal("UNREACHABLE", select(3, resolver:resolve("www.test")))
    resolver:close()
  end)

  it("takes no answer that isn't one to its question", function()
    local forged = 0
    with(function(query, reply)
      local socket = query.socket
      assert(socket == nil)
      if forged < 2 then -- a wrong id, then a wrong question; the right answer comes with the next attempt
        forged = forged + 1
        local wrong = zone(query, reply)
        if forged == 1 then
          wrong.id = (wrong.id + 1) % 65536
        else
          wrong.questions = { { name = "evil.test", type = "A" } }
        end
        wrong.answers = { { name = "www.test", type = "A", ttl = 1, address = "192.0.2.66" } }
        return wrong
      end
      return zone(query, reply)
    end, function(resolver)
      local records = assert(resolver:query("www.test", "A"))
      assert.equal("192.0.2.1", records[1].address)
      assert.equal(2, forged)
    end)
  end)

  it("survives answers that make no sense", function()
    local seed, good = 7, nil
    local function random(count)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % count
    end
    with(function(query, reply)
      good = codec.encode_new(zone(query, reply))
      local bytes = { good:to_string():byte(1, -1) }
      good:release()
      for _ = 1, 3 do
        bytes[13 + random(#bytes - 12)] = random(256) -- the header stays, so that it is looked at
      end
      return string.char(unpack(bytes))
    end, function(resolver)
      local outcomes = {}
      for _ = 1, 60 do
        local records, _, code = resolver:query("www.test", "A")
        outcomes[records and "records" or code] = true
      end
      assert.is_true(outcomes.records or outcomes.BADRESPONSE or outcomes.TIMEOUT)
    end, { timeout = 0.01, attempts = 1, cache = false })
  end)

  it("asks once for all that want the same at the same time", function()
    with(function(query, reply)
      moonring.sleep(0.02)
      return zone(query, reply)
    end, function(resolver, server, scope)
      local tasks = {}
      for i = 1, 20 do
        tasks[i] = scope:spawn(function() return #assert(resolver:query("WWW.test", "A")) end)
      end
      for _, each in ipairs(tasks) do
        assert.same({ true, 2 }, { each:join() })
      end
      assert.equal(1, server.counts["www.test A"])
    end, { timeout = 5 })
  end)

  it("keeps answers as long as their TTLs say", function()
    with(zone, function(resolver, server)
      test.virtual_clock(function()
        assert.equal(50, assert(resolver:query("www.test", "A"))[2].ttl)
        moonring.sleep(49.5)
        local records = assert(resolver:query("www.test", "A"))
        assert.equal(50, records[1].ttl) -- what is left of 100
        assert.equal(0, records[2].ttl) -- and of 50
        records[1].address = "changed by its owner"
        assert.equal("192.0.2.1", resolver:query("www.test", "A")[1].address)
        assert.equal(1, server.counts["www.test A"])
        moonring.sleep(0.6)
        assert.equal(100, assert(resolver:query("www.test", "A"))[1].ttl)
        assert.equal(2, server.counts["www.test A"])
        resolver:query("alias.test", "A") -- its own CNAME has 20 seconds
        moonring.sleep(21)
        resolver:query("alias.test", "A")
        assert.equal(2, server.counts["alias.test A"])
      end)
    end)
  end)

  it("keeps that there is nothing for as long as the SOA record says", function()
    with(zone, function(resolver, server)
      test.virtual_clock(function()
        for _ = 1, 3 do
          assert.equal("NXDOMAIN", select(3, resolver:query("nowhere.test", "A")))
          assert.equal("NODATA", select(3, resolver:query("four.test", "MX")))
        end
        moonring.sleep(29)
        assert.equal("NXDOMAIN", select(3, resolver:query("nowhere.test", "A")))
        assert.equal(1, server.counts["nowhere.test A"])
        assert.equal(1, server.counts["four.test MX"])
        moonring.sleep(2)
        resolver:query("nowhere.test", "A")
        assert.equal(2, server.counts["nowhere.test A"])
      end)
    end)
    with(dns_server.zone(ZONE, nil), function(resolver, server) -- no SOA: not kept
      resolver:query("nowhere.test", "A")
      resolver:query("nowhere.test", "A")
      assert.equal(2, server.counts["nowhere.test A"])
    end)
  end)

  it("keeps no failures, and no more answers than it may", function()
    local failing = true
    with(function(query, reply)
      if failing then
        reply.rcode = "SERVFAIL"
        return reply
      end
      reply.answers[1] = { name = query.questions[1].name, type = "A", ttl = 60, address = "192.0.2.1" }
      return reply
    end, function(resolver, server)
      assert.equal("SERVFAIL", select(3, resolver:query("n1.test", "A")))
      failing = false
      for _ = 1, 2 do
        for i = 1, 10 do
          assert(resolver:query("n" .. i .. ".test", "A"))
        end
      end
      assert.equal(2, server.counts["n10.test A"])
      assert(resolver:query("n10.test", "A"))
      assert.equal(2, server.counts["n10.test A"])
      resolver:clear_cache()
      assert(resolver:query("n10.test", "A"))
      assert.equal(3, server.counts["n10.test A"])
    end, { cache = 4 })
  end)

  it("tries the search domains as resolv.conf(5) has it", function()
    with(zone, function(resolver, server)
      assert.equal("192.0.2.77", hosts_of(assert(resolver:resolve "short")))
      assert.equal("short.none.test A", server.asked[1]:gsub("AAAA", "A"))
      assert.is_nil(server.counts["short A"])
      assert.equal("NXDOMAIN", select(3, resolver:resolve "short."))
      assert.equal(1, server.counts["short A"])
      assert.equal("NXDOMAIN", select(3, resolver:resolve "a.b"))
      assert.equal(1, server.counts["a.b A"])
      assert.equal(1, server.counts["a.b.lan.test A"])
      assert.equal("NXDOMAIN", select(3, resolver:query("short", "A")))
      assert.equal("192.0.2.77", resolver:query("short", "A", { search = true })[1].address)
    end, { search = { "none.test", "lan.test" } })
  end)

  it("asks nobody for numeric addresses and for localhost", function()
    with(function() error "asked" end, function(resolver, server)
      assert.equal("192.0.2.5", hosts_of(assert(resolver:resolve "192.0.2.5")))
      assert.equal("::1", hosts_of(assert(resolver:resolve "::1")))
      assert.equal("NODATA", select(3, resolver:resolve("::1", { family = 4 })))
      for _, name in ipairs { "localhost", "LocalHost.", "db.localhost" } do
        assert.equal("127.0.0.1", hosts_of(assert(resolver:resolve(name, { family = 4 }))))
        assert.equal(2, #assert(resolver:resolve(name)))
      end
      assert.equal(0, #server.asked)
    end)
  end)

  it("gives the names of addresses", function()
    with(zone, function(resolver)
      assert.same({ "nine.test", "neun.test" }, resolver:reverse "192.0.2.9")
      assert.same({ "www.test" }, resolver:reverse "2001:db8::1")
      assert.equal("NXDOMAIN", select(3, resolver:reverse "192.0.2.10"))
    end)
  end)

  it("reads the hosts file, and again when it has changed", function()
    local path = os.tmpname()
    write_file(path, "# comment\n192.0.2.50  Files.test alias # behind\n\nnonsense\n2001:db8::50\tfiles.test\n1.2.3 bad\n")
    with(zone, function(resolver, server)
      assert.equal(2, #assert(resolver:resolve "files.test"))
      assert.equal("192.0.2.50", hosts_of(assert(resolver:resolve "ALIAS")))
      assert.equal("2001:db8::50", hosts_of(assert(resolver:resolve("files.test", { family = 6 }))))
      assert.same({ "Files.test", "alias" }, resolver:reverse "192.0.2.50")
      assert.equal(0, #server.asked)
      write_file(path, "192.0.2.51 files.test www.test")
      assert.equal("192.0.2.51", hosts_of(assert(resolver:resolve "files.test")))
      assert.equal("192.0.2.51", hosts_of(assert(resolver:resolve "www.test")))
      os.remove(path)
      assert.equal("NXDOMAIN", select(3, resolver:resolve "files.test"))
      assert.equal(3, #assert(resolver:resolve "www.test"))
    end, { hosts = path })
  end)

  it("reads resolv.conf again when it has changed, and lets the old questions end", function()
    local path = os.tmpname()
    dns_server.with(function(query, reply)
      moonring.sleep(0.05)
      return zone(query, reply)
    end, function(scope, first)
      local second = dns_server.start(scope, zone)
      write_file(path, ("nameserver %s\nsearch none.test lan.test\noptions ndots:2\n"):format(first.address))
      local resolver = scope:own(dns.resolver { resolv_conf = path, hosts = false })
      local old = scope:spawn(function() return resolver:query("www.test", "A")[1].address end)
      local first_channel = eventually(function() return #first.asked > 0 and resolver.channel end)
      assert.is_truthy(first_channel.slot)
      write_file(path, ("nameserver %s\ndomain lan.test\n"):format(second.address))
      assert.equal("192.0.2.77", hosts_of(assert(resolver:resolve "short")))
      assert.equal("short.lan.test A", second.asked[1]:gsub("AAAA", "A"))
      local ok, found = old:join()
      assert.is_true(ok, tostring(found))
      assert.equal("192.0.2.1", found)
      assert.equal(1, #first.asked)
      assert.is_true(eventually(function() return not first_channel.slot end))
    end)
    os.remove(path)
  end)

  it("understands resolv.conf", function()
    local system = require "moonring.dns.system"
    local read = system.parse_resolv_conf [[
      ; comment
      # comment
      nameserver 192.0.2.1
      nameserver 2001:db8::1 trailing
      nameserver fe80::1%eth0
      nameserver nonsense
      domain first.test ignored
      search a.test B.test.
      options ndots:20 timeout:0 attempts:3 rotate edns0 bad:x
    ]]
    assert.same({ servers = { "192.0.2.1:53", "[2001:db8::1]:53" }, search = { "a.test", "b.test" }, ndots = 15, timeout = 1,
      attempts = 3, rotate = true }, read)
    assert.same({ "127.0.0.1:53" }, system.parse_resolv_conf("").servers)
    assert.equal("[::1]:5353", system.parse_server "[::1]:5353")
    assert.is_nil(system.parse_server "1.2.3.4:0")
    assert.is_nil(system.parse_server "host:53")
  end)

  it("obeys deadlines, and takes its question back when the last waiter has gone", function()
    with(function() return nil end, function(resolver, server, scope)
      local ok, failure = pcall(moonring.timeout, 0.03, function() resolver:query("www.test", "A") end)
      assert.is_false(ok)
      assert.equal("deadline", failure.code)
      assert.is_nil(next(resolver.in_flight))
      local one = scope:spawn(function() resolver:query("www.test", "A") end)
      local two = scope:spawn(function() resolver:query("www.test", "A") end)
      moonring.sleep(0.02)
      one:cancel()
      one:join()
      assert.is_not_nil(next(resolver.in_flight))
      two:cancel()
      two:join()
      assert.is_nil(next(resolver.in_flight))
      assert.is_true(#server.asked >= 2)
      -- One that is cancelled before it has begun to wait.
      local three = scope:spawn(function()
        moonring.current():cancel()
        resolver:resolve "www.test"
      end)
      three:join()
      assert.is_nil(next(resolver.in_flight))
    end, { timeout = 2 })
  end)

  it("ends waits in it when it is closed", function()
    with(function() return nil end, function(resolver, _, scope)
      local waiting = scope:spawn(function()
        local ok, failure = pcall(resolver.query, resolver, "www.test", "A")
        assert.is_false(ok)
        return failure.code
      end)
      moonring.sleep(0.02)
      resolver:close()
      resolver:close()
      assert.same({ true, "closed" }, { waiting:join() })
      assert.is_false((pcall(resolver.resolve, resolver, "x")))
      assert.equal("moonring.dns.Resolver(closed)", tostring(resolver))
    end, { timeout = 2 })
  end)

  it("leaves nothing behind", function()
    local function descriptors()
      return #select(2, process.run("ls /proc/" .. (select(2, process.run("echo $PPID"))):match("%d+") .. "/fd"))
    end
    collectgarbage()
    moonring.sleep(0.02)
    local before, files = moonring.stats(), descriptors()
    for round = 1, 8 do
      with(zone, function(resolver, _, scope)
        for i = 1, 20 do
          local each = scope:spawn(function() resolver:resolve(i .. ".test") end)
          if i % 3 == 0 then
            moonring.sleep(0)
            each:cancel()
          end
        end
        if round % 2 == 0 then resolver:resolve "www.test" end
      end)
    end
    collectgarbage()
    assert.is_true(eventually(function()
      local after = moonring.stats()
      return after.operations <= before.operations and after.timers <= before.timers
        and after.memory.iovec_count <= before.memory.iovec_count
    end))
    assert.equal(files, descriptors())
    assert.equal(0, moonring.stats().stale)
  end)

  it("ends with the loop while questions are in flight, or abandoned", function()
    local status, output = process.run(process.command("-e", [[
      local moonring, net, dns = require "moonring", require "moonring.net", require "moonring.dns"
      local silent = assert(net.datagram { host = "127.0.0.1", port = 0 })
      local resolver = dns.resolver { servers = { "127.0.0.1:" .. silent.port }, hosts = false }
      for i = 1, 50 do
        local task = moonring.spawn(function() resolver:resolve("n" .. i .. ".test") end)
        if i % 2 == 0 then moonring.sleep(0) task:cancel() end
      end
      moonring.sleep(0.05)
      error("the end", 0)
    ]]))
    assert.equal(1, status, output)
    assert.is_truthy(output:find("the end", 1, true))
    assert.is_nil(output:find("Sanitizer", 1, true), output)
  end)

  it("is misused without harm", function()
    for _, options in ipairs { { servers = {} }, { servers = { "example.com" } }, { servers = { 5 } }, { timeout = 0 },
      { attempts = 0 }, { ndots = 99 }, { cache = -1 }, { search = { "a..b" } } } do
      local ok, failure = pcall(dns.resolver, options)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
    local resolver = dns.resolver { servers = { "127.0.0.1:9" } }
    for _, call in ipairs { { "resolve" }, { "resolve", 5 }, { "resolve", "x", { family = 5 } },
      { "resolve", "x", { port = -1 } },
      { "query", "x", "NOSUCH" }, { "query" }, { "reverse", "name" }, { "reverse" } } do
      local ok, failure = pcall(resolver[call[1]], resolver, unpack(call, 2))
      assert.is_false(ok)
      assert.equal("argument", failure.code, table.concat(call, " ", 1, 1))
    end
    resolver:close()
  end)

  it("resolves by the system's files by default", function()
    assert.equal("127.0.0.1", hosts_of(assert(dns.resolve("localhost", { family = 4 }))))
    assert.equal("198.51.100.7", hosts_of(assert(dns.resolve "198.51.100.7")))
    assert.is_truthy(tostring(dns.default()):find("moonring.dns.Resolver(", 1, true))
  end)
end)

describe("the order of addresses", function()
  it("puts what can be reached first", function()
    local order, address = require "moonring.dns.order", require "moonring.net.address"
    local function sorted(...)
      local list = {}
      for i = 1, select("#", ...) do
        list[i] = address.parse((select(i, ...)), 0)
      end
      return hosts_of(order.sort(list))
    end
    assert.equal("::1 127.0.0.1", sorted("127.0.0.1", "::1"))
    -- Without a route to them, the order stays.
    local unreachable = not pcall(function() assert(net.datagram { connect = { host = "2001:db8::1", port = 9 } }) end)
    if unreachable then assert.equal("127.0.0.1 2001:db8::1", sorted("2001:db8::1", "127.0.0.1")) end
    assert.equal("127.0.0.1 127.0.0.2", sorted("127.0.0.1", "127.0.0.2"))
    assert.equal("::1", sorted("::1"))
  end)
end)
