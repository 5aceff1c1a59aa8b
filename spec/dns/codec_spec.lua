local buffer = require "moonring.buffer"
local errors = require "moonring.errors"
local codec = require "moonring.dns.codec"
local names = require "moonring.dns.names"

local function unhex(text)
  return (text:gsub("%s", ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function encode(message, max)
  local made, complete = codec.encode_new(message, max)
  return made:to_string(), complete
end

local function question(name, type)
  return { name = name, type = type or "A", class = 1 }
end

local SOA = { name = "example.com", type = "SOA", class = 1, ttl = 7, primary = "ns.example.com", mailbox = "me.example.com",
  serial = 4294967295, refresh = 1, retry = 2, expire = 3, minimum = 4 }

local function record(name, type, fields)
  local made = { name = name, type = type, class = 1, ttl = 300 }
  for field, value in pairs(fields) do
    made[field] = value
  end
  return made
end

local EVERY_TYPE = {
  record("example.com", "A", { address = "192.0.2.1" }),
  record("example.com", "AAAA", { address = "2001:db8::1" }),
  record("www.example.com", "CNAME", { target = "example.com" }),
  record("example.com", "MX", { preference = 10, exchange = "mail.example.com" }),
  record("_sip._udp.example.com", "SRV", { priority = 1, weight = 2, port = 5060, target = "sip.example.com" }),
  record("example.com", "TXT", { strings = { "a", "", ("x"):rep(255) }, text = "a" .. ("x"):rep(255) }),
  record("1.2.0.192.in-addr.arpa", "PTR", { target = "example.com" }),
  record("example.com", "NS", { target = "ns.example.com" }),
  SOA,
  record("example.com", "CAA", { is_critical = true, tag = "issue", value = "ca.example.net" }),
  record("example.com", "TYPE65280", { data = "\0\1\2" }),
}

describe("the DNS codec", function()
  it("reads an answer as a server sent it", function()
    local message = assert(codec.decode(unhex [[ 1c5a 8180 0001 0002 0000 0001
      03 777777 07 6578616d706c65 03 636f6d 00 0001 0001
      c00c 0005 0001 0000 0e10 0002 c010   c010 0001 0001 0000 003c 0004 c0000201
      00 0029 04d0 00 00 8000 0004 000a 0000 ]]))
    assert.equal(0x1c5a, message.id)
    assert.is_true(message.is_response and message.recursion_desired and message.recursion_available)
    assert.is_false(message.is_authoritative or message.is_truncated)
    assert.equal("NOERROR", message.rcode)
    assert.same({ question "www.example.com" }, message.questions)
    assert.same({ { name = "www.example.com", type = "CNAME", class = 1, ttl = 3600, target = "example.com" },
      { name = "example.com", type = "A", class = 1, ttl = 60, address = "192.0.2.1" } }, message.answers)
    assert.same({ size = 1232, version = 0, wants_dnssec = true, options = { { code = 10, data = "" } } }, message.edns)
    assert.same({}, message.additionals)
  end)

  it("writes what it reads: every type of record, compressed", function()
    local message = { id = 7, is_response = true, is_authoritative = true, rcode = "NXDOMAIN",
      questions = { question("example.com", "ANY") }, answers = EVERY_TYPE, authorities = { SOA },
      edns = { size = 4096, version = 0, wants_dnssec = false, options = { { code = 3, data = "abc" } } } }
    local text = encode(message)
    local read = assert(codec.decode(text))
    assert.same(EVERY_TYPE, read.answers)
    assert.same({ SOA }, read.authorities)
    assert.same(message.edns, read.edns)
    assert.equal("NXDOMAIN", read.rcode)
    assert.equal(text, encode(read))
    assert.is_true(#text < 750, tostring(#text)) -- 900 without compression
  end)

  it("reads from a buffer's position, which stays, and keeps nothing of it", function()
    local text = encode { id = 3, questions = { question "a.b" } }
    local b = buffer.allocate(#text + 7):write("padding"):write(text):reset_for_read():skip(7)
    local message = assert(codec.decode(b))
    b:release()
    assert.equal("a.b", message.questions[1].name)
  end)

  it("carries names with any bytes, in presentation form", function()
    for _, name in ipairs { ".", "a", "a.b.c", "\\000\\255", "a\\.b.c", "back\\\\slash", "sp\\032ace", "_srv-1.x",
      ("l"):rep(63), (("x"):rep(49) .. "."):rep(5):sub(1, -2) .. ".ab" } do
      local text = encode { questions = { question(name) } }
      assert.equal(name, assert(codec.decode(text)).questions[1].name)
    end
    assert.equal("a.b", codec.decode((encode { questions = { question "a.b." } })).questions[1].name)
  end)

  it("points only at names that are the same, in any case", function()
    local text = encode { questions = { question "WWW.Example.COM" },
      answers = { record("www.example.com", "NS", { target = "xwww.example.com" }) } }
    local read = assert(codec.decode(text))
    assert.equal("WWW.Example.COM", read.answers[1].name)
    assert.equal("xwww.Example.COM", read.answers[1].target)
  end)

  it("refuses names that can't be", function()
    for _, name in ipairs { "a..b", ".a", "..", ("l"):rep(64), ("abcdefg."):rep(40), "a\\", "\\256", false, 5 } do
      local target = buffer.allocate(600)
      local ok, failure = pcall(codec.encode, { questions = { { name = name, type = "A" } } }, target)
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "argument"), tostring(failure))
      assert.equal(0, target.position)
      assert.equal(600, target.limit)
      target:release()
    end
  end)

  it("refuses records that can't be", function()
    for _, bad in ipairs { { type = "A", address = "::1" }, { type = "A" }, { type = "AAAA", address = "1.2.3.4" },
      { type = "MX", exchange = "a" }, { type = "MX", preference = 65536, exchange = "a" }, { type = "NOSUCH" },
      { type = "TXT" }, { type = "TXT", strings = { ("x"):rep(256) } }, { type = "TYPE65536", data = "" },
      { type = "TYPE700" }, { type = "CNAME" }, { type = "SOA", primary = "a", mailbox = "b" },
      { type = "CAA", tag = "", value = "" }, { type = "A", address = "1.2.3.4", ttl = -1 } } do
      bad.name = "x"
      local ok, failure = pcall(codec.encode_new, { answers = { bad } })
      assert.is_false(ok)
      assert.is_true(errors.is(failure, "argument"), tostring(failure))
    end
    assert.is_false((pcall(codec.encode_new, { rcode = "NOSUCH" })))
  end)

  it("leaves out what doesn't fit, and says so in the header", function()
    local answers = {}
    for i = 1, 50 do
      answers[i] = record("example.com", "A", { address = "192.0.2." .. i })
    end
    local text, complete = encode({ questions = { question "example.com" }, answers = answers, edns = { size = 512 } }, 512)
    assert.is_false(complete)
    assert.is_true(#text <= 512 and #text > 490)
    local read = assert(codec.decode(text))
    assert.is_true(read.is_truncated)
    assert.is_true(#read.answers > 25 and #read.answers < 50)
    assert.equal(512, read.edns.size)
    text, complete = encode({ questions = { question "example.com" }, additionals = answers }, 512)
    assert.is_true(complete and not codec.decode(text).is_truncated)
  end)

  it("gives TTLs with the highest bit as 0, and large rcodes through EDNS", function()
    local text = encode { answers = { record("a", "A", { address = "1.2.3.4", ttl = 4294967295 }) }, rcode = "BADVERS" }
    local read = assert(codec.decode(text))
    assert.equal(0, read.answers[1].ttl)
    assert.equal("BADVERS", read.rcode)
  end)

  it("refuses hostile messages", function()
    local header = "0001 8000 0001 0000 0000 0000 "
    local answer = "0001 8000 0000 0001 0000 0000 "
    for what, hex in pairs {
      ["a header that is cut"] = "0001 8000 0001",
      ["a missing question"] = header,
      ["a pointer to itself"] = header .. "c00c 0001 0001",
      ["pointers in a circle"] = header .. "01 61 c00c 0001 0001",
      ["a pointer forward"] = header .. "c010 0000 00 0001 0001",
      ["a pointer behind the end"] = header .. "ffff 0001 0001",
      ["half a pointer"] = header .. "c0",
      ["a label behind the end"] = header .. "3f 61 62",
      ["a label of a reserved type"] = header .. "41 00 0001 0001",
      ["a name of 256 bytes"] = header .. ("3f" .. ("61"):rep(63)):rep(4) .. "00 0001 0001",
      ["more records than there are"] = "0001 8000 0000 ffff 0000 0000 00 0001 0001 00000000 0004 01020304",
      ["data behind the end"] = answer .. "00 0001 0001 00000000 0005 01020304",
      ["an A record of 5 bytes"] = answer .. "00 0001 0001 00000000 0005 0102030405",
      ["an A record of 3 bytes"] = answer .. "00 0001 0001 00000000 0003 010203",
      ["a name behind its record"] = answer .. "00 0005 0001 00000000 0001 0161 00",
      ["a name before the end of its record"] = answer .. "00 0005 0001 00000000 0002 00 00",
      ["an MX record that is cut"] = answer .. "00 000f 0001 00000000 0002 0001",
      ["an SOA record that is cut"] = answer .. "00 0006 0001 00000000 0004 00 00 0000",
      ["a text behind its record"] = answer .. "00 0010 0001 00000000 0002 0561",
      ["a CAA tag behind its record"] = answer .. "00 0101 0001 00000000 0003 00 05 61",
      ["an option behind its record"] = answer .. "00 0029 0200 00000000 0004 0001 0005",
      ["an option that is cut"] = answer .. "00 0029 0200 00000000 0003 0001 00",
      ["two OPT records"] = "0001 8000 0000 0000 0000 0002 00 0029 0200 00000000 0000 00 0029 0200 00000000 0000",
    } do
      local message, problem, code = codec.decode(unhex(hex))
      assert.is_nil(message, what)
      assert.equal("FORMERR", code, what)
      assert.is_truthy(problem:find("malformed DNS message: ", 1, true), what)
    end
  end)

  it("bounds the work that pointers make", function()
    -- A chain of pointers, each to the one before: long, but it ends.
    local text = unhex "0001 8000 0000 0001 0000 0000 00"
    local pointers = {}
    for at = 12, 12 + 2 * 7000, 2 do
      pointers[#pointers + 1] = string.char(0xc0 + math.floor((at - 1) / 256) % 64, (at - 1) % 256)
    end
    assert.is_nil((codec.decode(text .. table.concat(pointers))))
  end)

  it("never fails otherwise on random changes of good messages", function()
    local seed = 20261125
    local function random(count)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % count
    end
    local good = encode { id = 1, is_response = true, questions = { question("example.com", "ANY") }, answers = EVERY_TYPE,
      authorities = { SOA }, edns = { options = { { code = 1, data = "xyz" } } } }
    local read, refused = 0, 0
    for _ = 1, 20000 do
      local bytes = { good:byte(1, -1) }
      for _ = 0, random(4) do
        local at = 1 + random(#bytes)
        local kind = random(4)
        if kind == 0 then
          bytes[at] = random(256)
        elseif kind == 1 then
          bytes[at] = 0xc0 + random(2)
        elseif kind == 2 then
          table.remove(bytes, at)
        else
          for i = #bytes, at, -1 do
            bytes[i] = nil
          end
          bytes[at] = random(256)
        end
      end
      local message, problem, code = codec.decode(string.char(unpack(bytes)))
      if message then
        read = read + 1
        codec.encode_new(message):release() -- what was read can be written
      else
        refused = refused + 1
        assert.is_string(problem)
        assert.equal("FORMERR", code)
      end
    end
    assert.is_true(read > 500 and refused > 500, read .. " read, " .. refused .. " refused")
  end)

  it("compares names without their case", function()
    assert.equal("a.b", names.normal "A.b.")
    assert.equal(".", names.normal ".")
    assert.is_nil((names.normal "a..b"))
  end)
end)
