local address = require "moonring.net.address"
local net = require "moonring.net"

describe("an address", function()
  it("prints as what it was read from", function()
    for _, text in ipairs {
      "127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0", "[2001:db8::1]:443", "[fe80::1%lo]:7",
      "unix:/run/service.sock", "unix:@abstract name", "unix:relative",
    } do
      local parsed = assert(address.parse(text))
      assert.equal(text, tostring(parsed))
      assert.is_true(address.is(parsed))
    end
    assert.equal("127.0.0.1:80", tostring(address.parse("localhost:80")))
    assert.equal("0.0.0.0:80", tostring(address.parse("*:80")))
    assert.equal("[::1]:80", tostring(address.parse("::1", 80)))
    assert.equal("[::1]:80", tostring(address.parse("0:0:0:0:0:0:0:1", 80)))
  end)

  it("has a kind, and its parts", function()
    local parsed = address.parse("[fe80::1%lo]:80")
    assert.equal("ipv6", parsed.kind)
    assert.equal("fe80::1%lo", parsed.host)
    assert.equal(80, parsed.port)
    assert.is_nil(parsed.path)
    parsed = address.parse("10.0.0.1", 1)
    assert.equal("ipv4", parsed.kind)
    parsed = address.unix("/a")
    assert.equal("unix", parsed.kind)
    assert.equal("/a", parsed.path)
    assert.is_nil(parsed.host)
    assert.is_false(parsed:is_abstract())
    assert.is_true(address.unix("@a"):is_abstract())
    assert.is_nil(parsed.no_such_field)
  end)

  it("says what is none, and why", function()
    for _, text in ipairs {
      "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "::1:80", "[::1]",
      "[::1:80", "[127.0.0.1]:80", "[::g]:80", "[fe80::1%nowhere]:80", "1.2.3:80", "1.2.3.4.5:80", "name:80",
      "unix:", "unix:@",
      "unix:/a\0b", "unix:/" .. ("x"):rep(107), "127.0.0.1\0:80", ("1"):rep(1000) .. ":80",
    } do
      local parsed, message, code = address.parse(text)
      assert.is_nil(parsed, text)
      assert.is_truthy(code == "EINVAL" or code == "ENAMETOOLONG", text)
      assert.is_string(message)
    end
    for _, port in ipairs { -1, 65536, 1.5, "80", math.huge, 0 / 0 } do
      assert.is_nil((address.parse("127.0.0.1", port)))
    end
    for _, value in ipairs { 1, {}, true } do
      assert.is_nil((address.parse(value)))
    end
    assert.equal("ENAMETOOLONG", select(3, address.unix("/" .. ("x"):rep(107))))
    assert.is_truthy(address.unix("/" .. ("x"):rep(106)))
    assert.is_truthy(address.unix("@" .. ("x"):rep(107)))
    assert.equal("ENAMETOOLONG", select(3, address.unix("@" .. ("x"):rep(108))))
  end)

  it("equals another one with the same parts, and nothing else", function()
    assert.is_true(address.parse("127.0.0.1:80") == address.parse("127.0.0.1", 80))
    assert.is_true(address.parse("[::1]:80") == address.parse("[0::1]:80"))
    assert.is_true(address.parse("unix:/a") == address.unix("/a"))
    assert.is_true(address.parse("127.0.0.1:80"):with_port(81) == address.parse("127.0.0.1:81"))
    for _, pair in ipairs {
      { "127.0.0.1:80", "127.0.0.1:81" }, { "127.0.0.1:80", "127.0.0.2:80" }, { "[::1]:80", "127.0.0.1:80" },
      { "[fe80::1%lo]:1", "[fe80::1]:1" }, { "unix:/a", "unix:/ab" }, { "unix:/a", "unix:@/a" },
    } do
      assert.is_false(address.parse(pair[1]) == address.parse(pair[2]), pair[1])
    end
    local one = address.parse("127.0.0.1:80")
    assert.is_false(one == nil)
    assert.is_false(one == "127.0.0.1:80")
  end)

  it("tells what it is for", function()
    local cases = {
      is_loopback = { "127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1" },
      is_unspecified = { "0.0.0.0", "::" },
      is_link_local = { "169.254.1.1", "fe80::1" },
      is_private = { "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fd00::1" },
      is_multicast = { "224.0.0.1", "239.1.1.1", "ff02::1" },
      nothing = { "8.8.8.8", "172.32.0.1", "192.169.0.1", "2001:db8::1", "0.0.0.1" },
    }
    for name, hosts in pairs(cases) do
      for _, host in ipairs(hosts) do
        local parsed = assert(address.parse(host, 1))
        for predicate in pairs(cases) do
          if predicate ~= "nothing" then
            assert.equal(predicate == name, parsed[predicate](parsed), host .. " " .. predicate)
          end
        end
      end
    end
    assert.is_false(address.unix("/a"):is_loopback())
  end)

  it("is net.address", function()
    assert.equal(address, net.address)
  end)
end)
