-- Whole messages with their content, well-formed and hostile, in both directions. Each is read in one piece, at each single
-- split, and byte by byte, and the answers must be the same ones.

local codec = require "moonring.http.codec"
local transcript = require "spec.support.http_transcript"

local LIMITS = codec.merge_limits("spec", { body_bytes = 1000, chunk_extension_bytes = 20, trailer_bytes = 60,
  field_count = 4 })

local POST = "POST / HTTP/1.1\r\nHost: a\r\n"
local CHUNKED = POST .. "Transfer-Encoding: chunked\r\n\r\n"
local OK = "HTTP/1.1 200 OK\r\n"
local OK_CHUNKED = OK .. "Transfer-Encoding: chunked\r\n\r\n"

-- Reads it in every way. Returns the transcript.
local function read_alike(kind, text, method)
  local whole = transcript.of(kind, { text }, LIMITS, method)
  for offset = 1, #text - 1 do
    local split = transcript.of(kind, transcript.cut(text, { offset }), LIMITS, method)
    if split ~= whole then error(("split at %d:\n%s\n\nwhole:\n%s"):format(offset, split, whole)) end
  end
  assert.are.equal(whole, transcript.of(kind, transcript.bytes(text), LIMITS, method))
  return whole
end

-- What of the transcript must be there: plain text.
local REQUESTS = {
  ["a body of known length, and the request behind it"] = {
    POST .. "Content-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "body hello\nhead GET /2",
  },
  ["chunks, and the request behind them"] = {
    CHUNKED .. "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "body hello world\nhead GET /2",
  },
  ["sizes in both cases, with leading zeros"] = {
    CHUNKED .. "00a\r\n0123456789\r\n0000000000000A\r\n0123456789\r\n000\r\n\r\n", "body 01234567890123456789\n",
  },
  ["chunk extensions, which say nothing"] = {
    CHUNKED .. "3;a=b\r\nabc\r\n3;q=\"x;y\"\r\ndef\r\n0;last\r\n\r\n", "body abcdef\n",
  },
  ["an extension of just the limit, in each chunk"] = {
    CHUNKED .. ("1;" .. ("x"):rep(20) .. "\r\na\r\n"):rep(3) .. "0\r\n\r\n", "body aaa\n",
  },
  ["chunks of one byte with short extensions"] = {
    CHUNKED .. ("1;x=yz\r\na\r\n"):rep(40) .. "0\r\n\r\n", "body " .. ("a"):rep(40) .. "\n",
  },
  ["trailers"] = {
    CHUNKED .. "1\r\na\r\n0\r\nChecksum: 1\r\nOther: two\r\n\r\n",
    "body a\n  trailer Checksum\n  trailer 1\n  trailer Other\n  trailer two",
  },
  ["trailers that come too late, which are dropped"] = {
    CHUNKED .. "0\r\nAuthorization: x\r\nContent-Type: y\r\nA: b\r\n\r\n", "body \n  trailer A\n  trailer b\n",
  },
  ["an empty chunked body"] = { CHUNKED .. "0\r\n\r\n", "body \nend of the stream in head" },
  ["chunks of data that look like framing"] = { CHUNKED .. "7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "body 0\r\n\r\n\r\n\nend" },
  ["a client that waits for 100 before it sends chunks"] = {
    POST .. "Expect: 100-continue\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "true false true false",
  },
  ["an upgrade that is offered"] = {
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "false true\n",
  },
  ["Upgrade without Connection, which offers nothing"] = {
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "false false\n",
  },
  ["three requests with bodies and without"] = {
    POST .. "Content-Length: 1\r\n\r\na" .. CHUNKED .. "1\r\nb\r\n0\r\n\r\n" .. "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    "head GET /3",
  },
  ["a body that the stream's end cuts"] = { POST .. "Content-Length: 5\r\n\r\nhell", "the body is cut hell" },
  ["chunks that the stream's end cuts"] = { CHUNKED .. "5\r\nhell", "the body is cut hell" },
  ["chunks without the last one"] = { CHUNKED .. "1\r\na\r\n", "the body is cut a" },
  ["chunks without the empty line"] = { CHUNKED .. "1\r\na\r\n0\r\n", "the body is cut a" },
  ["a CONNECT"] = { "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "head CONNECT a:443" },
}

local REFUSED_REQUESTS = {
  ["a chunk size that is empty"] = { 400, CHUNKED .. "\r\nabc" },
  ["a chunk size with a plus"] = { 400, CHUNKED .. "+1\r\na\r\n0\r\n\r\n" },
  ["a chunk size with a minus"] = { 400, CHUNKED .. "-1\r\na\r\n0\r\n\r\n" },
  ["a chunk size with 0x"] = { 400, CHUNKED .. "0x1\r\na\r\n0\r\n\r\n" },
  ["a chunk size with a space before it"] = { 400, CHUNKED .. " 1\r\na\r\n0\r\n\r\n" },
  ["a chunk size with a space behind it"] = { 400, CHUNKED .. "1 \r\na\r\n0\r\n\r\n" },
  ["a chunk size with a tab before its extension"] = { 400, CHUNKED .. "1\t;a\r\na\r\n0\r\n\r\n" },
  ["a chunk size that overflows 64 bits"] = { 413, CHUNKED .. "10000000000000001\r\na\r\n0\r\n\r\n" },
  ["a chunk size beyond all numbers"] = { 413, CHUNKED .. "ffffffffffffffff\r\na\r\n0\r\n\r\n" },
  ["a chunk size with very many zeros"] = { 400, CHUNKED .. ("0"):rep(17) .. "1\r\na\r\n0\r\n\r\n" },
  ["a chunk size with an underscore"] = { 400, CHUNKED .. "1_0\r\na\r\n0\r\n\r\n" },
  ["a chunk line that ends in LF"] = { 400, CHUNKED .. "1\na\r\n0\r\n\r\n" },
  ["a chunk line that ends in CR"] = { 400, CHUNKED .. "1\ra\r\n0\r\n\r\n" },
  ["a chunk line that ends in CR CR LF"] = { 400, CHUNKED .. "1\r\r\na\r\n0\r\n\r\n" },
  ["chunk data that is longer than its size"] = { 400, CHUNKED .. "1\r\nab\r\n0\r\n\r\n" },
  ["chunk data that ends in LF"] = { 400, CHUNKED .. "1\r\na\n0\r\n\r\n" },
  ["chunk data that ends in CR"] = { 400, CHUNKED .. "1\r\na\r0\r\n\r\n" },
  ["an extension with LF"] = { 400, CHUNKED .. "1;a\nb\r\na\r\n0\r\n\r\n" },
  ["an extension with CR inside of quotes"] = { 400, CHUNKED .. "1;a=\"\rb\"\r\na\r\n0\r\n\r\n" },
  ["an extension with NUL"] = { 400, CHUNKED .. "1;a\0\r\na\r\n0\r\n\r\n" },
  ["an extension over its limit"] = { 400, CHUNKED .. "1;" .. ("x"):rep(21) .. "\r\na\r\n0\r\n\r\n" },
  ["a chunk that takes the body over its limit"] = { 413, CHUNKED .. "1\r\na\r\n3e8\r\n" .. ("x"):rep(1000) },
  ["a length over the limit"] = { 413, POST .. "Content-Length: 1001\r\n\r\n" },
  ["a trailer with white space before its colon"] = { 400, CHUNKED .. "0\r\nA : b\r\n\r\n" },
  ["a folded trailer"] = { 400, CHUNKED .. "0\r\nA: b\r\n c\r\n\r\n" },
  ["a trailer that ends in LF"] = { 400, CHUNKED .. "0\r\nA: b\n\r\n" },
  ["a trailer with NUL"] = { 400, CHUNKED .. "0\r\nA: \0\r\n\r\n" },
  ["trailers over their limit"] = { 431, CHUNKED .. "0\r\nA: " .. ("x"):rep(60) .. "\r\n\r\n" },
  ["more trailers than fields may be"] = { 431, CHUNKED .. "0\r\n" .. ("A: b\r\n"):rep(5) .. "\r\n" },
  ["Content-Length among the trailers"] = { 400, CHUNKED .. "0\r\nContent-Length: 3\r\n\r\n" },
  ["Transfer-Encoding among the trailers"] = { 400, CHUNKED .. "0\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n" },
  ["Host among the trailers"] = { 400, CHUNKED .. "0\r\nhOST: b\r\n\r\n" },
  ["CR alone behind the last chunk"] = { 400, CHUNKED .. "0\r\n\rX" },
  ["both lengths, the smuggler's CL.TE"] = {
    400, POST .. "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
  },
  ["both lengths, the smuggler's TE.CL"] = {
    400, POST .. "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n",
  },
  ["a hidden transfer coding"] = { 400, POST .. "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" },
  ["a transfer coding behind a vertical tab"] = { 400, POST .. "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" },
  ["a transfer coding on a folded line"] = { 400, POST .. "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" },
  ["a length with a hidden second one"] = { 400, POST .. "Content-Length: 3\rContent-Length: 4\r\n\r\nabc" },
}

local RESPONSES = {
  ["a body of known length, and the response behind it"] = {
    OK .. "Content-Length: 2\r\n\r\nhiHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "body hi\nhead HTTP/1.1 404 404 1 true false 0",
  },
  ["chunks with trailers"] = {
    OK_CHUNKED .. "2\r\nhi\r\n0\r\nA: b\r\n\r\n" .. OK .. "Content-Length: 0\r\n\r\n", "hi\n  trailer A\n  trailer b\nhead",
  },
  ["content until the connection ends"] = { OK .. "\r\nall of this\r\n", "the body is complete all of this\r\n" },
  ["content until the end, in HTTP/1.0"] = { "HTTP/1.0 200 OK\r\n\r\nx", "HTTP/1.0 200 200 0 false true nil false true" },
  ["HTTP/1.0 that persists"] = {
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", "200 200 0 true true 1",
  },
  ["a 204, whatever its fields say"] = {
    "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n" .. OK .. "Content-Length: 0\r\n\r\n",
    "body \nhead HTTP/1.1 200",
  },
  ["a 304 with the length of what it stands for"] = {
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" .. OK .. "Content-Length: 0\r\n\r\n",
    "body \nhead HTTP/1.1 200",
  },
  ["interim responses before the final one"] = {
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. OK .. "Content-Length: 1\r\n\r\na",
    "body a\n",
  },
  ["a switch of protocols, and the other protocol's first bytes"] = {
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\1\2",
    "in upgraded\n\1\2",
  },
  ["a status without a reason"] = { "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "head HTTP/1.1 200 200" },
  ["a status without a reason and its space"] = { "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "head HTTP/1.1 200 200" },
  ["a reason of several words"] = { "HTTP/1.1 999 a b\tc\r\nContent-Length: 0\r\n\r\n", "head HTTP/1.1 999 999" },
}

local HEAD_RESPONSES = {
  ["an answer to HEAD, whatever its fields say"] = {
    OK .. "Content-Length: 100\r\n\r\n" .. OK .. "Transfer-Encoding: chunked\r\n\r\n",
    "body \nhead HTTP/1.1 200 200 1 true false",
  },
}

local REFUSED_RESPONSES = {
  ["another protocol"] = { 502, "SIP/2.0 200 OK\r\n\r\n" },
  ["another major version"] = { 502, "HTTP/2.0 200 OK\r\n\r\n" },
  ["a status of two digits"] = { 502, "HTTP/1.1 20 OK\r\n\r\n" },
  ["a status of four digits"] = { 502, "HTTP/1.1 2000 OK\r\n\r\n" },
  ["a status below 100"] = { 502, "HTTP/1.1 099 OK\r\n\r\n" },
  ["two spaces before the status"] = { 502, "HTTP/1.1  200 OK\r\n\r\n" },
  ["an empty line before the status line"] = { 502, "\r\n" .. OK .. "\r\n" },
  ["a bare LF"] = { 502, "HTTP/1.1 200 OK\n\r\n" },
  ["two lengths"] = { 502, OK .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\na" },
  ["a length with a sign"] = { 502, OK .. "Content-Length: -1\r\n\r\na" },
  ["both lengths"] = { 502, OK .. "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  ["another transfer coding"] = { 502, OK .. "Transfer-Encoding: gzip\r\n\r\na" },
  ["chunks in HTTP/1.0"] = { 502, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  ["a folded field"] = { 502, OK .. "A: b\r\n c\r\n\r\n" },
  ["a length over the limit"] = { 502, OK .. "Content-Length: 1001\r\n\r\n" },
  ["content until the end over the limit"] = { 413, OK .. "\r\n" .. ("x"):rep(1001) },
  ["a bad chunk"] = { 400, OK_CHUNKED .. "zz\r\n" },
}

for kind, cases in pairs { request = REQUESTS, response = RESPONSES } do
  describe("a " .. kind .. " with", function()
    for name, case in pairs(cases) do
      it(name .. " is read alike at every split", function()
        local text = read_alike(kind, case[1])
        assert.is_truthy(text:find(case[2], 1, true), text)
        assert.is_falsy(text:find("refused", 1, true), text)
      end)
    end
  end)
end

describe("a response to HEAD:", function()
  for name, case in pairs(HEAD_RESPONSES) do
    it(name .. " is read alike at every split", function()
      local text = read_alike("response", case[1], "HEAD")
      assert.is_truthy(text:find(case[2], 1, true), text)
    end)
  end
  it("success of CONNECT is followed by the tunnel", function()
    local text = read_alike("response", OK .. "Content-Length: 3\r\n\r\nabc", "CONNECT")
    assert.is_truthy(text:find("in upgraded\nabc", 1, true), text)
  end)
end)

for kind, cases in pairs { request = REFUSED_REQUESTS, response = REFUSED_RESPONSES } do
  describe("a " .. kind .. " is refused at every split for", function()
    for name, case in pairs(cases) do
      it(name, function()
        local text = read_alike(kind, case[2])
        assert.is_truthy(text:find("refused " .. case[1] .. " ", 1, true), text)
      end)
    end
  end)
end

describe("chunk lines", function()
  local function answer(size, extension, count)
    local chunk = ("%x;%s\r\n%s\r\n"):format(size, ("x"):rep(extension), ("a"):rep(size))
    local text = CHUNKED .. chunk:rep(count) .. "0\r\n\r\n"
    local whole = transcript.of("request", { text }, codec.limits)
    assert.equal(whole, transcript.of("request", transcript.bytes(text), codec.limits))
    return whole
  end

  it("that are long around little content are refused, however short each one is", function()
    assert.is_truthy(answer(1, 250, 60):find("body " .. ("a"):rep(60) .. "\n", 1, true))
    assert.is_truthy(answer(1, 250, 100):find("refused 400 long chunk lines around little content", 1, true))
    assert.is_truthy(answer(1, 40, 900):find("refused 400 long chunk lines around little content", 1, true))
  end)

  it("may be as long as their content warrants", function()
    assert.is_falsy(answer(200, 250, 200):find("refused", 1, true))
    assert.is_falsy(answer(1, 12, 3000):find("refused", 1, true))
  end)
end)

it("a refusal for a limit names it and its size", function()
  local text = transcript.of("request", { CHUNKED .. "1;" .. ("x"):rep(21) }, LIMITS)
  assert.is_truthy(text:find("the limit chunk_extension_bytes is 20", 1, true), text)
  text = transcript.of("request", { POST .. "Content-Length: 1001\r\n\r\n" }, LIMITS)
  assert.is_truthy(text:find("the limit body_bytes is 1000", 1, true), text)
end)

describe("limits", function()
  for name, given in pairs {
    ["that there are none of"] = { speed = 1 },
    ["below what any message needs"] = { head_bytes = 1 },
    ["above what there is room for"] = { field_count = 100000 },
    ["that are no number"] = { body_bytes = "1" },
    ["that are not whole"] = { line_bytes = 100.5 },
    ["that are not a number"] = { target_bytes = 0 / 0 },
  } do
    it(name .. " are refused", function()
      local ok, failure = pcall(codec.merge_limits, "spec", given)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
      assert.is_truthy(failure.message:find("limit", 1, true))
    end)
  end
  it("of the body may be none", function()
    assert.equal(math.huge, codec.merge_limits("spec", { body_bytes = math.huge }).body_bytes)
  end)
end)
