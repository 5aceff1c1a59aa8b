local codec = require "moonring.http.codec"
local native = require "moonring.native"

local ffi = native.ffi

--- A buffer over a copy of text, with `before` bytes in front of its position. The memory is the second result: hold
--- it.
local function new_buffer(text, before)
  before = before or 0
  local memory = ffi.new("uint8_t[?]", before + math.max(#text, 1))
  ffi.copy(memory + before, text, #text)
  local buffer = ffi.new "mr_buffer"
  buffer.data_ = memory
  buffer.position_ = before
  buffer.limit_ = before + #text
  buffer.capacity_ = before + #text
  return buffer, memory
end

local held -- the memory of the last buffer: heads point into it

--- Reads text in one piece. Results: those of read_request, then head and buffer.
local function read(text, limits)
  local head = codec.new_head()
  local buffer
  buffer, held = new_buffer(text)
  local done, status, message = codec.read_request(buffer, head, limits)
  return done, status, message, head, buffer
end

--- The same in pieces that end at the given lengths and at the end, each at another address, as after an extend of
--- the buffer.
local function read_pieces(text, ends, limits)
  local head = codec.new_head()
  local consumed = 0
  for number = 1, #ends + 1 do
    local stop = math.max(ends[number] or #text, consumed)
    local buffer
    buffer, held = new_buffer(text:sub(consumed + 1, stop), number)
    local done, status, message = codec.read_request(buffer, head, limits)
    consumed = consumed + buffer.position_ - number
    if done ~= nil then return done, status, message, head, consumed end
  end
  return nil
end

local GET = "GET / HTTP/1.1\r\n"
local HOST = "Host: a\r\n"

local function accepted(text, limits)
  local done, status, message, head, buffer = read(text, limits)
  assert(done, ("%s %s"):format(tostring(status), tostring(message)))
  return head, buffer
end

describe("a request's head", function()
  it("moves the position behind itself and leaves what follows", function()
    local head, buffer = accepted(GET .. HOST .. "\r\nrest")
    assert.are.equal(#GET + #HOST + 2, buffer.position_)
    assert.are.equal("GET", head:method())
    assert.are.equal("/", head:target())
    assert.are.equal(1, head.minor_version)
    assert.are.equal(0, head.content_length)
    assert.is_true(head.keep_alive)
    assert.is_false(head.expect_continue)
    assert.are.equal(ffi.cast("const uint8_t *", held), head:base())
  end)

  it("wants more bytes and moves nothing as long as it is not complete", function()
    local text = GET .. HOST .. "Content-Length: 3\r\n\r\n"
    for length = 0, #text - 1 do
      local done, status, _, _, buffer = read(text:sub(1, length))
      assert.is_nil(done)
      assert.is_nil(status)
      assert.are.equal(0, buffer.position_)
    end
  end)

  it("is followed by the next one, read with the same head", function()
    local first = "POST /1 HTTP/1.1\r\n" .. HOST .. "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    local buffer, memory = new_buffer(first .. GET .. HOST .. "\r\n")
    local head = codec.new_head()
    assert.is_true(codec.read_request(buffer, head))
    assert.are.equal("/1", head:target())
    assert.are.equal(1, head.content_length)
    assert.is_true(codec.read_request(buffer, head))
    assert.are.equal("/", head:target())
    assert.are.equal(0, head.content_length)
    assert.is_false(head.expect_continue)
    assert.is_nil(codec.read_request(buffer, head))
    assert.are.equal(buffer.limit_, buffer.position_)
    assert.is_not_nil(memory)
  end)

  it("forgets an unfinished one at reset", function()
    local head = codec.new_head()
    assert.is_nil(codec.read_request((new_buffer(GET .. "A: b\r\n")), head))
    local buffer, memory = new_buffer("PUT /x HTTP/1.1\r\n" .. HOST .. "\r\n")
    assert.is_true(codec.read_request(buffer, head:reset()))
    assert.are.equal("PUT", head:method())
    assert.is_nil(head:field "A")
    assert.is_not_nil(memory)
  end)

  it("may be preceded by one empty line, but not by two", function()
    local head, buffer = accepted("\r\n" .. GET .. HOST .. "\r\n")
    assert.are.equal("GET", head:method())
    assert.are.equal(buffer.limit_, buffer.position_)
    local done, status = read("\r\n\r\n" .. GET .. HOST .. "\r\n")
    assert.is_false(done)
    assert.are.equal(400, status)
  end)

  it("may have an empty line before each of several", function()
    local buffer, memory = new_buffer(("\r\n" .. GET .. HOST .. "\r\n"):rep(3))
    local head = codec.new_head()
    for _ = 1, 3 do
      assert.is_true(codec.read_request(buffer, head))
    end
    assert.is_not_nil(memory)
  end)

  it("passes methods that nobody knows to the handler", function()
    assert.are.equal("BREW-2", accepted("BREW-2 / HTTP/1.1\r\n" .. HOST .. "\r\n"):method())
    assert.are.equal("get", accepted("get / HTTP/1.1\r\n" .. HOST .. "\r\n"):method())
  end)

  it("takes the four forms of a request target", function()
    local lines = { "GET /a?b=c", "GET http://a.example/b", "OPTIONS *", "CONNECT a.example:443", "CONNECT [::1]:443" }
    for _, line in ipairs(lines) do
      local head = accepted(line .. " HTTP/1.1\r\n" .. HOST .. "\r\n")
      assert.are.equal(line, head:method() .. " " .. head:target())
    end
  end)

  it("is HTTP/1.0 without Host, and closes", function()
    local head = accepted "GET / HTTP/1.0\r\n\r\n"
    assert.are.equal(0, head.minor_version)
    assert.is_false(head.keep_alive)
  end)

  it("takes a higher minor version for HTTP/1.1", function()
    local head = accepted("GET / HTTP/1.9\r\n" .. HOST .. "\r\n")
    assert.are.equal(1, head.minor_version)
    assert.is_true(head.keep_alive)
  end)

  it("may have an empty Host", function()
    assert.are.equal("", accepted(GET .. "Host:\r\n\r\n"):field "Host")
  end)

  it("persists as version and Connection say, close before keep-alive", function()
    local function persists(version, lines)
      return accepted("GET / HTTP/1." .. version .. "\r\n" .. HOST .. lines .. "\r\n").keep_alive
    end
    assert.is_false(persists(1, "Connection: close\r\n"))
    assert.is_false(persists(1, "Connection: CLOSE\r\n"))
    assert.is_false(persists(1, "Connection: upgrade ,\tclose\r\n"))
    assert.is_false(persists(1, "Connection: upgrade\r\nA: b\r\nConnection: close\r\n"))
    assert.is_true(persists(1, "Connection: closed, not-close\r\n"))
    assert.is_true(persists(1, "Connection: \r\n"))
    assert.is_true(persists(1, "Connection: keep-alive\r\n"))
    assert.is_true(persists(0, "Connection: Keep-Alive\r\n"))
    assert.is_true(persists(0, "Connection: foo,keep-alive\r\n"))
    assert.is_false(persists(0, "Connection: keep-alive, close\r\n"))
    assert.is_false(persists(0, "Connection: keep-alive\r\nConnection: close\r\n"))
  end)

  it("judges more Connection values than it remembers", function()
    for number = 1, 200 do
      local option = number % 2 == 0 and "close" or "y"
      local head = accepted(GET .. HOST .. ("Connection: x%d, %s\r\n\r\n"):format(number, option))
      assert.are.equal(number % 2 == 1, head.keep_alive)
    end
    assert.is_false(accepted(GET .. HOST .. "Connection: " .. ("x,"):rep(500) .. "close\r\n\r\n").keep_alive)
  end)

  it("announces a body with Content-Length", function()
    assert.are.equal(0, accepted(GET .. HOST .. "Content-Length: 0\r\n\r\n").content_length)
    assert.are.equal(1048576, accepted(GET .. HOST .. "content-length:1048576 \r\n\r\n").content_length)
  end)

  it("says when the client waits for 100 before it sends a body", function()
    local function waits(version, lines)
      return accepted("PUT / HTTP/1." .. version .. "\r\n" .. HOST .. lines .. "\r\n").expect_continue
    end
    assert.is_true(waits(1, "Content-Length: 1\r\nExpect: 100-Continue\r\n"))
    assert.is_false(waits(1, "Content-Length: 0\r\nExpect: 100-continue\r\n"))
    assert.is_false(waits(1, "Content-Length: 1\r\n"))
    assert.is_false(waits(0, "Content-Length: 1\r\nExpect: 100-continue\r\n"))
  end)
end)

describe("a head's accessors", function()
  local text = GET .. HOST .. "Accept: x\r\nX-Thing: 1\r\nx-thing:  2 \r\nUpgrade: h2c\r\n\r\n"

  it("find a field in any case, the first one of several", function()
    local head = accepted(text)
    assert.are.equal("a", head:field "Host")
    assert.are.equal("a", head:field "host")
    assert.are.equal("h2c", head:field "upgrade")
    assert.are.equal("1", head:field "X-THING")
    assert.is_nil(head:field "Expect")
    assert.is_nil(head:field "expect")
    assert.is_nil(head:field "X-Thin")
  end)

  it("give all fields of a name", function()
    local head = accepted(text)
    assert.are.same({ "1", "2" }, head:field_all "X-Thing")
    assert.are.same({ "a" }, head:field_all "host")
    assert.are.same({}, head:field_all "none")
  end)

  it("iterate over the fields as they were sent", function()
    local seen = {}
    for name, value in accepted(text):fields() do
      seen[#seen + 1] = name .. "=" .. value
    end
    assert.are.same({ "Host=a", "Accept=x", "X-Thing=1", "x-thing=2", "Upgrade=h2c" }, seen)
  end)

  it("say what the head is, and find nothing in an empty one", function()
    assert.are.equal("moonring.http.head (GET /, 5 fields)", tostring(accepted(text)))
    local empty = codec.new_head()
    assert.are.equal("moonring.http.head (empty)", tostring(empty))
    assert.is_nil(empty:field "host")
    assert.is_nil(empty:field "other")
    assert.are.equal("", empty:method())
  end)
end)

local SMALL = codec.merge_limits("spec", { head_bytes = 200, target_bytes = 60, body_bytes = 10, line_bytes = 300 })
local SHORT_LINES = codec.merge_limits("spec", { line_bytes = 40, field_count = 3 })

-- The status, the text, and the limits where they are not codec.limits.
local REFUSED = {
  ["a request line without version"] = { 400, "GET /\r\n\r\n" },
  ["a bare LF"] = { 400, "GET / HTTP/1.1\nHost: a\n\n" },
  ["a CR LF CR at the start"] = { 400, "\r\n\r" .. GET .. HOST .. "\r\n" },
  ["a bare CR at the start"] = { 400, "\r" .. GET .. HOST .. "\r\n" },
  ["two spaces in the request line"] = { 400, "GET /  HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["a space behind the version"] = { 400, "GET / HTTP/1.1 \r\n" .. HOST .. "\r\n" },
  ["a lower-case version"] = { 400, "GET / http/1.1\r\n" .. HOST .. "\r\n" },
  ["another protocol"] = { 400, "GET / HTTQ/1.1\r\n" .. HOST .. "\r\n" },
  ["a version of two digits"] = { 400, "GET / HTTP/1.10\r\n" .. HOST .. "\r\n" },
  ["a method with a slash"] = { 400, "GE/T / HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["a status line"] = { 400, "HTTP/1.1 200 OK\r\n" .. HOST .. "\r\n" },
  ["a relative target"] = { 400, "GET index.html HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["an asterisk for another method than OPTIONS"] = { 400, "GET * HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["CONNECT without a port"] = { 400, "CONNECT a.example HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["CONNECT with a path"] = { 400, "CONNECT / HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["CONNECT with an absolute target"] = { 400, "CONNECT http://a.example:80/ HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["CONNECT without a host"] = { 400, "CONNECT :443 HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["CONNECT to two ports"] = { 400, "CONNECT a:443:80 HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["an absolute target without a host"] = { 400, "GET http:///x HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["an absolute target with a port that is none"] = { 400, "GET http://a:x/ HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["an absolute target with two ports"] = { 400, "GET http://a:1:2/ HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["an absolute target without Host"] = { 400, "GET http://a/ HTTP/1.1\r\n\r\n" },
  ["an asterisk with something behind it"] = { 400, "OPTIONS *x HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["tabs in the request line"] = { 400, "GET\t/\tHTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["a tab in the target"] = { 400, "GET /a\tb HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["a space before the method"] = { 400, " GET / HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["NUL in the target"] = { 400, "GET /\0 HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["the beginning of TLS"] = { 400, "\22\3\1\2\0\1" },
  ["HTTP/2's preface"] = { 505, "PRI * HTTP/2.0\r\n\r\n" },
  ["HTTP/2.0"] = { 505, "GET / HTTP/2.0\r\n" .. HOST .. "\r\n" },
  ["HTTP/0.9 by name"] = { 505, "GET / HTTP/0.9\r\n" .. HOST .. "\r\n" },
  ["HTTP/1.1 without Host"] = { 400, GET .. "\r\n" },
  ["two Hosts"] = { 400, GET .. HOST .. HOST .. "\r\n" },
  ["two Hosts in HTTP/1.0"] = { 400, "GET / HTTP/1.0\r\n" .. HOST .. HOST .. "\r\n" },
  ["a Host with a space"] = { 400, GET .. "Host: a b\r\n\r\n" },
  ["a Host with a path"] = { 400, GET .. "Host: a/b\r\n\r\n" },
  ["a Host with a path beside another field"] = { 400, GET .. "Host: a/b\r\nConnection: close\r\n\r\n" },
  ["a Host with two ports"] = { 400, GET .. "Host: a:1:2\r\n\r\n" },
  ["a Host with a port that is none"] = { 400, GET .. "Host: a:8o\r\n\r\n" },
  ["a Host with a port above all"] = { 400, GET .. "Host: a:65536\r\n\r\n" },
  ["a Host with user information"] = { 400, GET .. "Host: u@a\r\n\r\n" },
  ["a Host with a bracket that stays open"] = { 400, GET .. "Host: [::1\r\n\r\n" },
  ["an empty field name"] = { 400, GET .. HOST .. ": b\r\n\r\n" },
  ["NUL in a field name"] = { 400, GET .. HOST .. "A\0: b\r\n\r\n" },
  ["a field without a colon"] = { 400, GET .. HOST .. "A\r\n\r\n" },
  ["a first field that is folded"] = { 400, GET .. " " .. HOST .. "\r\n" },
  ["a bare CR in a value"] = { 400, GET .. HOST .. "A: b\rc\r\n\r\n" },
  ["a bare LF in a value"] = { 400, GET .. HOST .. "A: b\nc: d\r\n\r\n" },
  ["DEL in a value"] = { 400, GET .. HOST .. "A: \127\r\n\r\n" },
  ["a folded field"] = { 400, GET .. HOST .. "A: b\r\n c\r\n\r\n" },
  ["white space before a colon"] = { 400, GET .. HOST .. "Content-Length : 3\r\n\r\n" },
  ["a control character in a value"] = { 400, GET .. HOST .. "A: \0\r\n\r\n" },
  ["an empty Content-Length"] = { 400, GET .. HOST .. "Content-Length:\r\n\r\n" },
  ["a signed Content-Length"] = { 400, GET .. HOST .. "Content-Length: +3\r\n\r\n" },
  ["a hexadecimal Content-Length"] = { 400, GET .. HOST .. "Content-Length: 0x3\r\n\r\n" },
  ["a negative Content-Length"] = { 400, GET .. HOST .. "Content-Length: -0\r\n\r\n" },
  ["a Content-Length of two numbers"] = { 400, GET .. HOST .. "Content-Length: 3 3\r\n\r\n" },
  ["a Content-Length with an exponent"] = { 400, GET .. HOST .. "Content-Length: 1e1\r\n\r\n" },
  ["a Content-Length with a parameter"] = { 400, GET .. HOST .. "Content-Length: 3;\r\n\r\n" },
  ["a Content-Length with NUL"] = { 400, GET .. HOST .. "Content-Length: 3\0\r\n\r\n" },
  ["a Content-Length in other digits"] = { 400, GET .. HOST .. "Content-Length: \xd9\xa3\r\n\r\n" },
  ["a list for Content-Length"] = { 400, GET .. HOST .. "Content-Length: 3, 3\r\n\r\n" },
  ["a Content-Length beyond all numbers"] = { 400, GET .. HOST .. "Content-Length: 18446744073709551619\r\n\r\n" },
  ["two Content-Lengths that agree"] = { 400, GET .. HOST .. ("Content-Length: 3\r\n"):rep(2) .. "\r\n" },
  ["two Content-Lengths that differ"] = { 400, GET .. HOST .. "Content-Length: 3\r\nContent-Length: 4\r\n\r\n" },
  ["Content-Length and Transfer-Encoding"] = {
    400,
    GET .. HOST .. "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
  },
  ["Transfer-Encoding in HTTP/1.0"] = { 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" },
  ["a transfer coding before chunked"] = { 501, GET .. HOST .. "Transfer-Encoding: gzip, chunked\r\n\r\n" },
  ["a transfer coding before chunked in a field of its own"] = {
    501,
    GET .. HOST .. "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
  },
  ["a transfer coding that is not chunked"] = { 400, GET .. HOST .. "transfer-encoding: identity\r\n\r\n" },
  ["chunked that is not the last"] = { 400, GET .. HOST .. "Transfer-Encoding: chunked, gzip\r\n\r\n" },
  ["chunked before identity"] = { 400, GET .. HOST .. "Transfer-Encoding: chunked, identity\r\n\r\n" },
  ["chunked before nothing"] = { 400, GET .. HOST .. "Transfer-Encoding: chunked,\r\n\r\n" },
  ["an empty transfer coding before chunked in a field of its own"] = {
    400,
    GET .. HOST .. "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n",
  },
  ["chunked behind a vertical tab"] = { 400, GET .. HOST .. "Transfer-Encoding: \vchunked\r\n\r\n" },
  ["chunked behind a no-break space"] = { 400, GET .. HOST .. "Transfer-Encoding: \xa0chunked\r\n\r\n" },
  ["chunked twice"] = { 400, GET .. HOST .. "Transfer-Encoding: chunked, chunked\r\n\r\n" },
  ["chunked in two fields"] = { 400, GET .. HOST .. ("Transfer-Encoding: chunked\r\n"):rep(2) .. "\r\n" },
  ["chunked with a parameter"] = { 400, GET .. HOST .. "Transfer-Encoding: chunked;q=1\r\n\r\n" },
  ["something like chunked"] = { 400, GET .. HOST .. "Transfer-Encoding: xchunked\r\n\r\n" },
  ["chunked in quotes"] = { 400, GET .. HOST .. "Transfer-Encoding: \"chunked\"\r\n\r\n" },
  ["nothing before chunked"] = { 400, GET .. HOST .. "Transfer-Encoding: ,chunked\r\n\r\n" },
  ["an empty transfer coding"] = { 400, GET .. HOST .. "Transfer-Encoding:\r\n\r\n" },
  ["a POST of HTTP/1.0 without a length"] = { 411, "POST / HTTP/1.0\r\n\r\n" },
  ["user information in the target"] = { 400, "GET http://u:p@a/ HTTP/1.1\r\n" .. HOST .. "\r\n" },
  ["a request line over the limit of lines"] = { 414, "GET /" .. ("a"):rep(40) .. " HTTP/1.1\r\n", SHORT_LINES },
  ["a field over the limit of lines"] = { 431, GET .. HOST .. "A: " .. ("a"):rep(40) .. "\r\n\r\n", SHORT_LINES },
  ["a field over the limit of lines with NUL behind it"] = {
    431,
    GET .. HOST .. "A: " .. ("a"):rep(40) .. "\0\r\n\r\n",
    SHORT_LINES,
  },
  ["a field with NUL before the limit of lines"] = {
    400,
    GET .. HOST .. "A: \0" .. ("a"):rep(40) .. "\r\n\r\n",
    SHORT_LINES,
  },
  ["more fields than the user's limit"] = { 431, GET .. HOST .. ("a:\r\n"):rep(3) .. "\r\n", SHORT_LINES },
  ["a long target before a malformed field"] = {
    414,
    "GET /" .. ("a"):rep(60) .. " HTTP/1.1\r\n\0\r\n\r\n",
    SMALL,
  },
  ["a body over the limit"] = { 413, GET .. HOST .. "Content-Length: 11\r\n\r\n", SMALL },
  ["another expectation"] = { 417, GET .. HOST .. "Expect: 200-ok\r\n\r\n" },
  ["two expectations"] = { 417, GET .. HOST .. ("Expect: 100-continue\r\n"):rep(2) .. "\r\n" },
  ["a target over its limit"] = { 414, "GET /" .. ("a"):rep(60) .. " HTTP/1.1\r\n" .. HOST .. "\r\n", SMALL },
  ["a target over its limit in a head over its"] = {
    414,
    "GET /" .. ("a"):rep(60) .. " HTTP/1.1\r\n" .. ("A: b\r\n"):rep(40) .. "\r\n",
    SMALL,
  },
  ["a request line over the head's limit"] = {
    414,
    "GET /" .. ("a"):rep(300) .. " HTTP/1.1\r\n" .. HOST .. "\r\n",
    SMALL,
  },
  ["a head over its limit"] = { 431, GET .. HOST .. "A: " .. ("b"):rep(200) .. "\r\n\r\n", SMALL },
  ["a head over its limit that is wrong behind it"] = {
    431,
    GET .. HOST .. ("A: b\r\n"):rep(40) .. "\0\r\n\r\n",
    SMALL,
  },
  ["too many fields"] = { 431, GET .. HOST .. ("a:\r\n"):rep(100) .. "\r\n" },
}

describe("a refusal", function()
  for name, case in pairs(REFUSED) do
    it(("of %s has status %d at every split and leaves the head where it is"):format(name, case[1]), function()
      local status_wanted, text, limits = case[1], case[2], case[3]
      local done, status, message, head, buffer = read(text, limits)
      assert.is_false(done)
      assert.are.equal(status_wanted, status)
      assert.is_string(message)
      assert.is_false(head.keep_alive)
      assert.are.equal(text:find "^\r\n" and 2 or 0, buffer.position_)
      assert.is_string(codec.reasons[status])
      for split = 0, #text do
        local d, s, m = read_pieces(text, { split }, limits)
        if d ~= false or s ~= status or m ~= message then
          error(("split at %d gives %s %s %s"):format(split, tostring(d), tostring(s), tostring(m)))
        end
      end
    end)
  end
end)

describe("the limits", function()
  it("let pass what just keeps within them", function()
    local limit = codec.merge_limits("spec", { head_bytes = #GET + #HOST + 2, target_bytes = 1, body_bytes = 0 })
    assert.is_true(read(GET .. HOST .. "\r\nbehind", limit))
    assert.is_true(read_pieces(GET .. HOST .. "\r\nbehind", { limit.head_bytes - 1, limit.head_bytes }, limit))
    limit.head_bytes = limit.head_bytes - 1
    assert.is_false(read(GET .. HOST .. "\r\nbehind", limit))
    assert.is_true(read(GET .. HOST .. "Content-Length: 10\r\n\r\n", SMALL))
    assert.is_true(read("GET /" .. ("a"):rep(59) .. " HTTP/1.1\r\n" .. HOST .. "\r\n", SMALL))
  end)

  it("are those of codec.limits unless given", function()
    assert.is_true(read("GET /" .. ("a"):rep(8191) .. " HTTP/1.1\r\n" .. HOST .. "\r\n"))
    assert.are.equal(414, select(2, read("GET /" .. ("a"):rep(8192) .. " HTTP/1.1\r\n" .. HOST .. "\r\n")))
    assert.are.equal(431, select(2, read(GET .. HOST .. "A: " .. ("b"):rep(16384) .. "\r\n\r\n")))
    assert.are.equal(413, select(2, read(GET .. HOST .. "Content-Length: 1048577\r\n\r\n")))
  end)
end)

describe("a request in pieces", function()
  local texts = {
    GET .. HOST .. "\r\n",
    "\r\nPOST /path?query HTTP/1.1\r\nHost: a.example:80\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
      .. "Connection: close\r\n\r\nhello",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  }

  local function summary(head)
    return table.concat({
      head:method(),
      head:target(),
      tostring(head:field "host"),
      head.content_length,
      head.minor_version,
      tostring(head.keep_alive),
      tostring(head.expect_continue),
    }, " ")
  end

  it("is read alike at every pair of splits and byte by byte, at another address each time", function()
    for _, text in ipairs(texts) do
      local whole, buffer = accepted(text)
      local expected = summary(whole)
      for first = 0, #text do
        for second = first, #text, 3 do
          local done, _, _, head, consumed = read_pieces(text, { first, second })
          assert(done and summary(head) == expected and consumed == buffer.position_, ("%d %d"):format(first, second))
        end
      end
      local all = {}
      for stop = 0, #text do
        all[#all + 1] = stop
      end
      local done, _, _, head, consumed = read_pieces(text, all)
      assert.is_true(done)
      assert.are.equal(expected, summary(head))
      assert.are.equal(buffer.position_, consumed)
    end
  end)
end)

-- Responses ---------------------------------------------------------------------------------------

local Writable = {}
Writable.__index = Writable

local function new_writable()
  return setmetatable({ text = "", reserves = 0, commits = 0 }, Writable)
end

function Writable:reserve(length)
  self.reserves = self.reserves + 1
  self.length = length
  self.memory = ffi.new("uint8_t[?]", length + 1, 0xee)
  return self.memory
end

function Writable:commit(length)
  self.commits = self.commits + 1
  assert(length == self.length, "commit differs from reserve")
  assert(self.memory[length] == 0xee, "written behind the reserved bytes")
  self.text = self.text .. ffi.string(self.memory, length)
  return #self.text
end

local function response(...)
  local writable = new_writable()
  local result = codec.write_response(writable, ...)
  assert.are.equal(1, writable.reserves)
  assert.are.equal(1, writable.commits)
  assert.are.equal(#writable.text, result)
  return writable.text
end

local function misuse_of(...)
  local writable = new_writable()
  local ok, problem = pcall(codec.write_response, writable, ...)
  assert.is_false(ok)
  assert.are.equal("argument", problem.code)
  assert.is_truthy(problem.place:find "codec_spec.lua:%d+$")
  assert.are.equal(0, writable.reserves)
  return problem.message
end

describe("a response", function()
  before_each(function()
    codec.set_date(nil)
  end)

  it("has its length, and no Connection field while an HTTP/1.1 connection persists", function()
    assert.are.equal(
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
      response(200, "text/plain", "hi", true)
    )
  end)

  it("is the same when its beginning comes from the cache", function()
    local first = response(418, "a/b", "x", true)
    assert.are.equal("HTTP/1.1 418 \r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx", first)
    assert.are.equal(first, response(418, "a/b", "x", true))
  end)

  it("says that the connection closes", function()
    assert.are.equal(
      "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
      response(404, nil, "", false)
    )
  end)

  it("tells an HTTP/1.0 client that the connection persists", function()
    assert.are.equal(
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
      response(200, nil, "", true, false, nil, 0)
    )
    assert.are.equal(
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
      response(200, nil, "", false, false, nil, 0)
    )
  end)

  it("to HEAD keeps the length and leaves out the body", function()
    assert.are.equal("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", response(200, nil, "hello", true, true))
  end)

  it("with 204 or 304 has neither body nor length", function()
    assert.are.equal("HTTP/1.1 204 No Content\r\n\r\n", response(204, nil, "hello", true))
    assert.are.equal(
      "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n",
      response(304, nil, "", false)
    )
  end)

  it("has the extra fields in their order, however many", function()
    local extra, lines = {}, ""
    for number = 0, 9 do
      local expected = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n" .. lines .. "\r\nx"
      assert.are.equal(expected, response(200, nil, "x", true, false, extra))
      extra[#extra + 1], extra[#extra + 2] = "X-" .. number, "v" .. number
      lines = lines .. ("X-%d: v%d\r\n"):format(number, number)
    end
  end)

  it("has the extra fields of a 204 behind its status line", function()
    assert.are.equal("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n", response(204, nil, "", true, false, { "A", "b" }))
  end)

  it("has the date that was set", function()
    codec.set_date(784111777.9)
    assert.are.equal(
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n",
      response(200, nil, "", false)
    )
  end)

  it("spells every length right", function()
    local lengths = { 0, 1, 9, 10, 11, 99, 100, 101, 110, 999, 1000, 1001, 1010, 9999, 10000, 10001, 12345, 99999 }
    for _, length in ipairs { 100000, 123456, 999999, 1000000, 1002003, 9999999, 10000000, 10203040, 100000000 } do
      lengths[#lengths + 1] = length
    end
    for length = 0, 10000, 7 do
      lengths[#lengths + 1] = length
    end
    for _, length in ipairs(lengths) do
      local text = response(200, nil, ("x"):rep(length), true, true)
      assert.are.equal(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(length), text)
    end
  end)

  it("is written after the one before it", function()
    local writable = new_writable()
    codec.write_response(writable, 200, nil, "a", true)
    codec.write_response(writable, 200, nil, "b", true)
    local function one(body)
      return "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" .. body
    end
    assert.are.equal(one "a" .. one "b", writable.text)
  end)

  it("keeps its caches bounded and right", function()
    for number = 1, 1200 do
      local content_type, value = "t/" .. number, tostring(number)
      assert.are.equal(
        ("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 0\r\nA: %s\r\n\r\n"):format(content_type, value),
        response(200, content_type, "", true, false, { "A", value })
      )
    end
  end)

  it("is not begun when there is no room, and hands on why", function()
    local full = {
      reserve = function()
        return nil, "EPIPE: broken pipe", "EPIPE"
      end,
    }
    local result, message, code = codec.write_response(full, 200, nil, "", true)
    assert.is_nil(result)
    assert.are.equal("EPIPE: broken pipe", message)
    assert.are.equal("EPIPE", code)
    full.reserve = function()
      return ffi.cast("uint8_t *", nil)
    end
    assert.is_nil((codec.write_response(full, 200, nil, "", true)))
  end)

  it("is not written when it would smuggle in a header field", function()
    for _, value in ipairs { "a\r\nB: c", "a\nb", "a\rb", "a\0b", "a\127" } do
      misuse_of(200, nil, "", true, false, { "A", value })
      misuse_of(200, "text/plain" .. value, "", true)
    end
    for _, name in ipairs { "", "A B", "A:", "A\r\nB", "\xc3\xa9" } do
      misuse_of(200, nil, "", true, false, { name, "b" })
    end
  end)

  it("is not written with a field that the codec writes itself", function()
    assert.matches("keep_alive", misuse_of(200, nil, "", true, false, { "Connection", "close" }))
    assert.matches("length of body", misuse_of(200, nil, "", true, false, { "content-length", "5" }))
    misuse_of(200, nil, "", true, false, { "A", "b", "Transfer-Encoding", "chunked" })
    misuse_of(200, nil, "", true, false, { "date", "now" })
  end)

  it("is not written for arguments of other kinds", function()
    assert.matches("body is a nil", misuse_of(200, nil, nil, true))
    misuse_of(200, nil, 5, true)
    misuse_of(100, nil, "", true)
    misuse_of(1000, nil, "", true)
    misuse_of(200.5, nil, "", true)
    misuse_of("200", nil, "", true)
    misuse_of(200, {}, "", true)
    misuse_of(200, nil, "", true, false, { "A" })
    misuse_of(200, nil, "", true, false, { "A", 5 })
    misuse_of(200, nil, "", true, false, { 5, "A" })
    assert.matches("pairs", misuse_of(200, nil, "", true, false, { "A", "b", "C" }))
  end)
end)

describe("a date", function()
  it("is an IMF-fixdate", function()
    assert.are.equal("Thu, 01 Jan 1970 00:00:00 GMT", codec.date(0))
    assert.are.equal("Sun, 06 Nov 1994 08:49:37 GMT", codec.date(784111777))
    assert.are.equal("Thu, 29 Feb 2024 23:59:59 GMT", codec.date(1709251199))
    assert.are.equal("Fri, 01 Mar 2024 00:00:00 GMT", codec.date(1709251200))
  end)

  it("is English in every locale", function()
    local before = os.setlocale()
    for _, locale in ipairs { "de_DE.UTF-8", "fr_FR.UTF-8", "C" } do
      os.setlocale(locale)
      assert.are.equal("Mon, 05 Aug 2024 01:02:03 GMT", codec.date(1722819723))
    end
    os.setlocale(before)
  end)
end)

describe("the table of reasons", function()
  it("has a reason for every status that the codec refuses with", function()
    for _, status in ipairs { 400, 413, 414, 417, 431, 501, 505 } do
      assert.is_string(codec.reasons[status])
    end
  end)
end)

describe("the loop over pipelined requests", function()
  it("gives the compiled answer that the interpreted one gives", function()
    local requests, expected = {}, {}
    for number = 1, 64 do
      local body = ("b"):rep(number % 5)
      local path = "/" .. ("p"):rep(number % 7)
      requests[number] = ("%s %s HTTP/1.1\r\nHost: h%d\r\n%s\r\n"):format(
        number % 3 == 0 and "PUT" or "GET",
        path,
        number,
        number % 4 == 0 and "Connection: close\r\n" or ""
      )
      expected[number] = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s"):format(
        #body,
        number % 4 == 0 and "Connection: close\r\n" or "",
        body
      )
    end
    codec.set_date(nil)
    local head = codec.new_head()
    for _ = 1, 50 do
      local buffer, memory = new_buffer(table.concat(requests))
      local writable, number = new_writable(), 0
      while codec.read_request(buffer, head) do
        number = number + 1
        codec.write_response(writable, 200, nil, ("b"):rep(number % 5), head.keep_alive)
      end
      assert.are.equal(64, number)
      assert.are.equal(table.concat(expected), writable.text)
      assert.is_not_nil(memory)
    end
  end)
end)
