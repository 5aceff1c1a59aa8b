local native = require "moonring.native"
local bit = require "bit"

local C, ffi = native.C, native.ffi

-- Declared already when this file is loaded a second time.
pcall(ffi.cdef, [[
  void *mmap(void *address, size_t length, int protection, int flags, int descriptor, int64_t offset);
  int mprotect(void *address, size_t length, int protection);
]])

local SEED = tonumber(os.getenv "MOONRING_SEED") or 20240229

local FAILURES = {
  [tonumber(C.MR_SCAN_BAD_LINE)] = "BAD_LINE",
  [tonumber(C.MR_SCAN_BAD_NAME)] = "BAD_NAME",
  [tonumber(C.MR_SCAN_BAD_VALUE)] = "BAD_VALUE",
  [tonumber(C.MR_SCAN_TOO_MANY)] = "TOO_MANY",
}

--- Bytes at an address of their own, with their end at the end of the allocation.
local function bytes_of(text)
  local bytes = ffi.new("uint8_t[?]", math.max(#text, 1))
  ffi.copy(bytes, text, #text)
  return bytes
end

local function new_head()
  local head = ffi.new "mr_head"
  C.mr_head_reset(head)
  return head
end

--- One scan of text, from where the head's last scan stopped.
local function scan(text, head, kernel)
  local bytes = bytes_of(text)
  return kernel(bytes, #text, head)
end

--- Everything that a scan tells, as one string; failures as name and offset of the line.
local function describe_scan(result, head, text)
  local out = {}
  if result < 0 then return FAILURES[result] .. " at " .. head.scanned end
  if result == 0 then return "MORE" end
  local function slice(offset, length)
    return ("%q"):format(text:sub(offset + 1, offset + length))
  end
  for i = 0, 2 do
    out[#out + 1] = slice(head.part[i], head.part_length[i])
  end
  for i = 0, head.field_count - 1 do
    local field = head.fields[i]
    out[#out + 1] = ("%s=%s#%d"):format(
      slice(field.name, field.name_length),
      slice(field.value, field.value_length),
      field.id
    )
  end
  out[#out + 1] = ("seen %d repeated %d length %d"):format(head.seen, head.repeated, result)
  return table.concat(out, " ")
end

local function scan_whole(text, kernel)
  local head = new_head()
  local result = scan(text, head, kernel or C.mr_scan_head)
  return describe_scan(result, head, text), result, head
end

--- Scans text in pieces that end at the given offsets and at its end.
local function scan_pieces(text, ends, kernel)
  local head = new_head()
  for _, stop in ipairs(ends) do
    local result = scan(text:sub(1, stop), head, kernel)
    if result ~= 0 then return describe_scan(result, head, text) end
  end
  return describe_scan(scan(text, head, kernel), head, text)
end

local REQUEST = "GET /a HTTP/1.1\r\n"
local LONG = ("x"):rep(75)

-- The text, and what describe_scan says of it but for the length, which is that of the text without `rest` bytes
-- behind the head.
local HEADS = {
  ["a request without fields"] = { "GET / HTTP/1.1\r\n\r\n", '"GET" "/" "HTTP/1.1" seen 0 repeated 0' },
  ["a field"] = { REQUEST .. "Accept: */*\r\n\r\n", '"GET" "/a" "HTTP/1.1" "Accept"="*/*"#0 seen 1 repeated 0' },
  ["white space around a value"] = {
    REQUEST .. "A: \t b \t c \t \r\n\r\n",
    ('"GET" "/a" "HTTP/1.1" "A"=%q#0 seen 1 repeated 0'):format "b \t c",
  },
  ["a value behind the colon"] = { REQUEST .. "A:b\r\n\r\n", '"GET" "/a" "HTTP/1.1" "A"="b"#0 seen 1 repeated 0' },
  ["an empty value"] = { REQUEST .. "A:\r\n\r\n", '"GET" "/a" "HTTP/1.1" "A"=""#0 seen 1 repeated 0' },
  ["a value of white space"] = { REQUEST .. "A: \t \r\n\r\n", '"GET" "/a" "HTTP/1.1" "A"=""#0 seen 1 repeated 0' },
  ["obs-text in a value"] = {
    REQUEST .. "A: caf\xc3\xa9\r\n\r\n",
    '"GET" "/a" "HTTP/1.1" "A"="caf\xc3\xa9"#0 seen 1 repeated 0',
  },
  ["every token character in a name"] = {
    REQUEST .. "!#$%&'*+-.^_`|~09AZaz: 1\r\n\r\n",
    '"GET" "/a" "HTTP/1.1" "!#$%&\'*+-.^_`|~09AZaz"="1"#0 seen 1 repeated 0',
  },
  ["known names in any case, one of them twice"] = {
    REQUEST
      .. "hOSt: a\r\nCONNECTION: b\r\ncontent-length: 1\r\nTransfer-encoding: c\r\n"
      .. "ExpecT: d\r\nupGrade: e\r\nHost: f\r\n\r\n",
    '"GET" "/a" "HTTP/1.1" "hOSt"="a"#1 "CONNECTION"="b"#2 "content-length"="1"#3 "Transfer-encoding"="c"#4 '
      .. '"ExpecT"="d"#5 "upGrade"="e"#6 "Host"="f"#1 seen 126 repeated 2',
  },
  ["a CR where a known name has its hyphen"] = { REQUEST .. "Content\rLength: 1\r\n\r\n", "BAD_NAME at 17" },
  ["lengths of known names with other letters"] = {
    REQUEST
      .. "hose: a\r\nexcept: b\r\nupgrate: c\r\nconnectiom: d\r\ncontent_length: e\r\n"
      .. "transfer-encodinf: f\r\n\r\n",
    '"GET" "/a" "HTTP/1.1" "hose"="a"#0 "except"="b"#0 "upgrate"="c"#0 "connectiom"="d"#0 "content_length"="e"#0 '
      .. '"transfer-encodinf"="f"#0 seen 1 repeated 1',
  },
  ["long names, values and targets"] = {
    "POST /" .. LONG .. " HTTP/1.1\r\n" .. LONG .. ": " .. LONG .. "\t" .. LONG .. "\r\n\r\n",
    ('"POST" "/%s" "HTTP/1.1" "%s"=%q#0 seen 1 repeated 0'):format(LONG, LONG, LONG .. "\t" .. LONG),
  },
  ["a status line with spaces in its reason"] = {
    "HTTP/1.1 404 Not Found here\r\n\r\n",
    '"HTTP/1.1" "404" "Not Found here" seen 0 repeated 0',
  },
  ["a status line with an empty reason"] = { "HTTP/1.1 200 \r\n\r\n", '"HTTP/1.1" "200" "" seen 0 repeated 0' },
  ["a first line of two parts"] = { "GET /\r\n\r\n", '"GET" "/" "" seen 0 repeated 0' },
  ["bytes behind the head"] = { "GET / HTTP/1.1\r\n\r\n\1\2\n", '"GET" "/" "HTTP/1.1" seen 0 repeated 0', rest = 3 },

  ["an empty first line"] = { "\r\nGET / HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a first line of one part"] = { "GET\r\n\r\n", "BAD_LINE at 0" },
  ["an empty method"] = { " / HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a slash for a method"] = { "/ HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a method that is no token"] = { "G@T / HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["an empty target"] = { "GET  HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a tab in the target"] = { "GET /\ta HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a NUL in the target"] = { "GET /\0 HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a DEL far in the target"] = { "GET /" .. LONG .. "\127 HTTP/1.1\r\n\r\n", "BAD_LINE at 0" },
  ["a control character in the version"] = { "GET / HTTP/1.1\1\r\n\r\n", "BAD_LINE at 0" },
  ["a bare LF behind the first line"] = { "GET / HTTP/1.1\nA: b\r\n\r\n", "BAD_LINE at 0" },
  ["a bare CR in the first line"] = { "GET / HTTP/1.1\rA: b\r\n\r\n", "BAD_LINE at 0" },
  ["a bare LF behind a field"] = { REQUEST .. "A: b\nC: d\r\n\r\n", "BAD_LINE at 17" },
  ["a bare CR in a value"] = { REQUEST .. "A: b\rc\r\n\r\n", "BAD_LINE at 17" },
  ["a bare LF at the end"] = { REQUEST .. "A: b\r\n\n", "BAD_LINE at 23" },
  ["a bare CR at the end"] = { REQUEST .. "A: b\r\n\rx", "BAD_LINE at 23" },
  ["a bare LF in a name"] = { REQUEST .. "A\n: b\r\n\r\n", "BAD_LINE at 17" },
  ["a line without colon"] = { REQUEST .. "A: b\r\nnonsense\r\n\r\n", "BAD_NAME at 23" },
  ["an empty name"] = { REQUEST .. ": b\r\n\r\n", "BAD_NAME at 17" },
  ["white space before the colon"] = { REQUEST .. "Host : b\r\n\r\n", "BAD_NAME at 17" },
  ["white space before the first field"] = { REQUEST .. " A: b\r\n\r\n", "BAD_NAME at 17" },
  ["a folded line"] = { REQUEST .. "A: b\r\n c\r\n\r\n", "BAD_NAME at 23" },
  ["a folded line that begins with a tab"] = { REQUEST .. "A: b\r\n\tc\r\n\r\n", "BAD_NAME at 23" },
  ["obs-text in a name"] = { REQUEST .. "\xc3\xa9: b\r\n\r\n", "BAD_NAME at 17" },
  ["a parenthesis far in a name"] = { REQUEST .. LONG .. "(: b\r\n\r\n", "BAD_NAME at 17" },
  ["a NUL in a value"] = { REQUEST .. "A: b\0c\r\n\r\n", "BAD_VALUE at 17" },
  ["a DEL in a value"] = { REQUEST .. "A: b\127c\r\n\r\n", "BAD_VALUE at 17" },
  ["an escape far in a value"] = { REQUEST .. "A: " .. LONG .. "\27c\r\n\r\n", "BAD_VALUE at 17" },

  ["as many fields as there is room for"] = { REQUEST .. ("a:\r\n"):rep(C.MR_HEAD_FIELDS_MAX) .. "\r\n" },
  ["one field too many"] = {
    REQUEST .. ("a:\r\n"):rep(C.MR_HEAD_FIELDS_MAX + 1) .. "\r\n",
    "TOO_MANY at " .. (#REQUEST + 4 * C.MR_HEAD_FIELDS_MAX),
  },
}

local function mutate(text, random)
  for _ = 1, random(0, 3) do
    local at = random(#text)
    local kind = random(4)
    local byte = string.char(kind == 1 and random(0, 255) or ("\r\n \t:a\127\31\128/"):byte(random(10)))
    if kind <= 2 then
      text = text:sub(1, at - 1) .. byte .. text:sub(at + 1)
    elseif kind == 3 then
      text = text:sub(1, at - 1) .. text:sub(at + 1)
    else
      text = text:sub(1, at) .. byte .. text:sub(at + 1)
    end
  end
  return text
end

describe("the head scan", function()
  for name, case in pairs(HEADS) do
    local text, expected = case[1], case[2]

    it("answers " .. name .. " alike at every split, by vector and by scalar", function()
      local whole = scan_whole(text)
      if expected and not expected:find "^[%u_]+ at" then
        expected = ("%s length %d"):format(expected, #text - (case.rest or 0))
      end
      if expected then assert.are.equal(expected, whole) end
      assert.are.equal(whole, (scan_whole(text, C.mr_scan_head_scalar)))
      for split = 0, #text do
        local pieces = scan_pieces(text, { split }, C.mr_scan_head)
        if pieces ~= whole then error(("split at %d gives %s"):format(split, pieces)) end
      end
      local all = {}
      for split = 0, #text do
        all[#all + 1] = split
      end
      assert.are.equal(whole, scan_pieces(text, all, C.mr_scan_head))
      assert.are.equal(whole, scan_pieces(text, all, C.mr_scan_head_scalar))
    end)
  end

  it("wants more bytes for every proper prefix of a head", function()
    local text = REQUEST .. "Host: localhost\r\nAccept: */*\r\n\r\n"
    for length = 0, #text - 1 do
      local _, result = scan_whole(text:sub(1, length))
      assert.are.equal(0, result)
    end
  end)

  it("does not go back behind the last complete line", function()
    local head = new_head()
    assert.are.equal(0, scan(REQUEST .. "A: b\r\nC: ", head, C.mr_scan_head))
    assert.are.equal(#REQUEST + 6, head.scanned)
    assert.are.equal(1, head.field_count)
    local garbled = ("\0"):rep(#REQUEST + 6) .. "C: d\r\n\r\n"
    assert.are.equal(#garbled, scan(garbled, head, C.mr_scan_head))
    assert.are.equal(2, head.field_count)
  end)

  it("knows the first occurrence of a repeated field", function()
    local _, _, head = scan_whole(REQUEST .. "A: 1\r\nHost: a\r\nB: 2\r\nHost: b\r\n\r\n")
    assert.are.equal(1, head.first[C.MR_FIELD_HOST])
  end)

  it("gives the same answer by vector and by scalar, whole and in pieces, for random damage", function()
    math.randomseed(SEED)
    local sources = {}
    for _, case in pairs(HEADS) do
      if #case[1] < 400 then sources[#sources + 1] = case[1] end
    end
    table.sort(sources)
    for round = 1, 20000 do
      local text = mutate(sources[math.random(#sources)], math.random)
      local whole = scan_whole(text)
      local scalar = scan_whole(text, C.mr_scan_head_scalar)
      local first = math.random(0, #text)
      local pieces = scan_pieces(text, { first, math.random(first, #text) }, C.mr_scan_head)
      if whole ~= scalar or whole ~= pieces then
        error(("MOONRING_SEED=%d round %d, %q:\n%s\n%s\n%s"):format(SEED, round, text, whole, scalar, pieces))
      end
    end
  end)

  it("reads nothing behind the bytes it was given", function()
    local PAGE, NONE, READ_WRITE, PRIVATE_ANONYMOUS = 4096, 0, 3, 0x22
    local pages = ffi.cast("uint8_t *", ffi.C.mmap(nil, 2 * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0))
    assert.are.equal(0, ffi.C.mprotect(pages + PAGE, PAGE, NONE))
    for _, case in pairs(HEADS) do
      local text = case[1]
      for length = 0, #text do
        local start = pages + PAGE - length
        ffi.copy(start, text, length)
        C.mr_scan_head(start, length, new_head())
        C.mr_scan_head_scalar(start, length, new_head())
        C.mr_scan_span(start, length, C.MR_CLASS_VALUE)
        C.mr_scan_byte(start, length, 255)
        C.mr_scan_decimal(start, length)
      end
    end
  end)
end)

describe("the search for a field", function()
  it("finds names in any case, from the given field on", function()
    local text = REQUEST .. "Set: 1\r\nOther: 2\r\nsET: 3\r\n\r\n"
    local bytes, head = bytes_of(text), new_head()
    assert.are.equal(#text, C.mr_scan_head(bytes, #text, head))
    assert.are.equal(0, C.mr_head_find(head, "set", 3, 0))
    assert.are.equal(2, C.mr_head_find(head, "SET", 3, 1))
    assert.are.equal(-1, C.mr_head_find(head, "set", 3, 3))
    assert.are.equal(-1, C.mr_head_find(head, "se", 2, 0))
    assert.are.equal(0, C.mr_head_find(head, "set", 3, -5))
  end)
end)

describe("the span of a class", function()
  -- The classes as their RFCs list them, apart from the table in C.
  local function set(characters)
    local members = {}
    for character in characters:gmatch "." do
      members[character:byte()] = true
    end
    return members
  end
  local ALNUM = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
  local token = set("!#$%&'*+-.^_`|~" .. ALNUM) -- RFC 9110 section 5.6.2
  local name = set("-._~%!$&'()*+,;=" .. ALNUM) -- RFC 3986 section 3.2.2

  it("holds exactly the characters that the RFCs name", function()
    local byte = ffi.new "uint8_t[1]"
    for value = 0, 255 do
      byte[0] = value
      local function holds(class)
        return C.mr_scan_span(byte, 1, class) == 1
      end
      local visible = value > 32 and value ~= 127
      assert.are.equal(token[value] or false, holds(C.MR_CLASS_TOKEN), value)
      assert.are.equal(name[value] or false, holds(C.MR_CLASS_NAME), value)
      assert.are.equal(visible, holds(C.MR_CLASS_VISIBLE), value)
      assert.are.equal(visible or value == 32 or value == 9, holds(C.MR_CLASS_VALUE), value)
    end
  end)

  it("ends at the first byte of no given class, and at the length", function()
    assert.are.equal(3, C.mr_scan_span("abc def", 7, C.MR_CLASS_TOKEN))
    assert.are.equal(7, C.mr_scan_span("abc def", 7, C.MR_CLASS_VALUE))
    assert.are.equal(2, C.mr_scan_span("abc", 2, C.MR_CLASS_TOKEN))
    assert.are.equal(0, C.mr_scan_span("abc", 0, C.MR_CLASS_TOKEN))
    assert.are.equal(0, C.mr_scan_span("abc", -1, C.MR_CLASS_TOKEN))
    assert.are.equal(3, C.mr_scan_span("a(b/", 4, bit.bor(C.MR_CLASS_TOKEN, C.MR_CLASS_NAME)))
  end)
end)

describe("the host scan", function()
  local function is_host(text)
    return C.mr_scan_host(bytes_of(text), #text) == 1
  end

  it("takes names and addresses, with a port or without", function()
    for _, text in ipairs { "", "a", "a.example", "a.example:80", "127.0.0.1:65535", "a:", "a:0", "[::1]",
      "[2001:DB8::1]:443",
      "[::ffff:1.2.3.4]", "a-b_c~d", "%41", "x!$&'()*+,;=" } do
      assert.is_true(is_host(text), text)
    end
  end)

  it("refuses what has another end, two colons, or a port that is none", function()
    for _, text in ipairs { "a:1:2", "::1", "a:65536", "a:99999999999", "a:x", "a:8 ", "a:-1", "a b", "a/b", "u@a", "a?b",
      "a#b",
      "[::1", "[]", "[:]", "[::1]x", "[::1]:x", "[::g]", "[a", "a]", "a[", "\0", "a\0", "\xc3\xa9", "a\\b", "[::1]]",
        "[[::1]]" } do
      assert.is_false(is_host(text), text)
    end
  end)
end)

describe("the decimal scan", function()
  local function decimal(text)
    return C.mr_scan_decimal(bytes_of(text), #text)
  end

  it("reads digits up to 2^53 - 1, leading zeros included", function()
    assert.are.equal(0, decimal "0")
    assert.are.equal(1234567890, decimal "1234567890")
    assert.are.equal(9007199254740991, decimal "9007199254740991")
    assert.are.equal(7, decimal(("0"):rep(40) .. "7"))
  end)

  it("refuses larger numbers, even those that wrap around 64 bits", function()
    assert.are.equal(-1, decimal "9007199254740992")
    assert.are.equal(-1, decimal "18446744073709551617")
    assert.are.equal(-1, decimal(("9"):rep(200)))
  end)

  it("refuses what is not digits only", function()
    for _, text in ipairs { "", "-1", "+1", " 1", "1 ", "1,1", "0x10", "1e3", "1.0", "\xd9\xa1", "1\0" } do
      assert.are.equal(-1, decimal(text), text)
    end
  end)
end)

describe("the byte scan", function()
  it("gives the first offset, or -1", function()
    assert.are.equal(1, C.mr_scan_byte("abcb", 4, 98))
    assert.are.equal(-1, C.mr_scan_byte("abcb", 1, 98))
    assert.are.equal(-1, C.mr_scan_byte("abcb", 0, 97))
    assert.are.equal(-1, C.mr_scan_byte("abcb", -4, 97))
  end)
end)

describe("the comparison without case", function()
  local function equal(left, right)
    return C.mr_scan_equal_fold(left, #left, right, #right) == 1
  end

  it("folds ASCII letters and nothing else", function()
    assert.is_true(equal("Content-Length", "cONTENT-lENGTH"))
    assert.is_true(equal("", ""))
    assert.is_false(equal("a", "ab"))
    assert.is_false(equal("@", "`"))
    assert.is_false(equal("[", "{"))
    assert.is_false(equal("\xc4", "\xe4"))
  end)
end)
