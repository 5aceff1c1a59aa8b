local moonring = require "moonring"
local fs = require "moonring.fs"
local http = require "moonring.http"
local buffer = require "moonring.buffer"
local conditions = require "moonring.http.codec.conditions"
local support = require "spec.support.http"
local read_all = require("spec.support.stream").read_all

local with_server = support.with_server

local BIG = ("0123456789abcdef"):rep(100000)
local TEXT = ("some text that is worth compressing\n"):rep(200)

local function gzip(text)
  local output = buffer.deflate(text, { format = "gzip" })
  local result = output:to_string()
  output:release()
  return result
end

local function gunzip(text)
  local output = buffer.inflate(text, { format = "gzip" })
  local result = output:to_string()
  output:release()
  return result
end

-- Runs body(ask, root) beside a server of the files in a new directory. ask(path, fields, method) returns status,
-- body and head.
local function with_files(body, options, wrap)
  moonring.scope(function(scope)
    local directory = scope:own(assert(fs.temporary_directory()))
    local base = directory.path
    local root = base .. "/root"
    for _, path in ipairs { root, root .. "/dir", root .. "/.git", root .. "/.well-known", base .. "/outside" } do
      assert(fs.make_directory(path))
    end
    for path, content in pairs {
      ["/root/a.txt"] = "0123456789", ["/root/index.html"] = "<p>index", ["/root/dir/index.html"] = "<p>dir",
      ["/root/big.bin"] = BIG, ["/root/empty"] = "", ["/root/text.txt"] = TEXT, ["/root/.git/config"] = "secret",
      ["/root/.well-known/x"] = "known", ["/root/page.css"] = "plain", ["/outside/secret"] = "secret",
      ["/root/a b\195\169.txt"] = "odd",
    } do
      assert(fs.write_file(base .. path, content))
    end
    assert(fs.write_file(root .. "/page.css.gz", gzip "squeezed"))
    assert(fs.symlink("../outside/secret", root .. "/link"))
    assert(fs.symlink("../outside", root .. "/linked"))
    assert(fs.symlink("a.txt", root .. "/inside"))
    local handler = http.static(root, options)
    with_server(wrap and wrap(handler, root) or handler, function(connect)
      body(function(path, fields, method)
        local client = connect()
        local line = (method or "GET") .. " " .. path
        client:write(("%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n"):format(line, fields or ""))
        local text = read_all(client)
        local head, content = text:match "^(.-\r\n\r\n)(.*)$"
        return tonumber(head:match "^HTTP/1.1 (%d+)"), content, head
      end, root)
    end)
  end)
end

local function field(head, name)
  return head:match("\r\n" .. name:gsub("%-", "%%-") .. ": ([^\r]*)\r\n")
end

describe("static files", function()
  it("are sent with their type, length, date and tag", function()
    with_files(function(ask)
      local status, content, head = ask "/a.txt"
      assert.equal(200, status)
      assert.equal("0123456789", content)
      assert.equal("text/plain; charset=utf-8", field(head, "Content-Type"))
      assert.equal("10", field(head, "Content-Length"))
      assert.equal("bytes", field(head, "Accept-Ranges"))
      assert.is_truthy(field(head, "Last-Modified"))
      assert.is_truthy(field(head, "ETag"):find '^"%x+%-%x+"$')
      assert.equal("", select(2, ask "/empty"))
      assert.equal("odd", select(2, ask "/a%20b%C3%A9.txt"))
      assert.equal("known", select(2, ask "/.well-known/x"))
      for _ = 1, 2 do -- from the disk, and from memory
        assert.is_true(select(2, ask "/big.bin") == BIG)
      end
    end)
  end)

  it("of every size are the same however they are kept, whole and in part", function()
    -- Around what is kept as a string, as a buffer, and not at all: the last of them goes by sendfile.
    with_files(function(ask, root)
      for _, size in ipairs { 1, 16383, 16384, 16385, 39999, 40000, 40001, 131072, 1048577 } do
        local content = BIG:sub(8, size + 7)
        assert(fs.write_file(root .. "/file", content))
        local by_sendfile = moonring.stats().bytes_from_files
        for _ = 1, 3 do
          local status, body, head = ask "/file"
          assert.equal(200, status)
          assert.is_true(body == content)
          assert.equal(tostring(size), field(head, "Content-Length"))
        end
        by_sendfile = moonring.stats().bytes_from_files - by_sendfile
        assert.equal(size > 40000 and 3 * size or 0, by_sendfile)
        for _, range in ipairs { { 0, 0 }, { size - 1, size - 1 }, { math.floor(size / 3), math.floor(size / 2) } } do
          local status, body = ask("/file", ("Range: bytes=%d-%d\r\n"):format(range[1], range[2]))
          assert.equal(206, status)
          assert.is_true(body == content:sub(range[1] + 1, range[2] + 1))
        end
        local status, body, head = ask("/file", nil, "HEAD")
        assert.equal(200, status)
        assert.equal("", body)
        assert.equal(tostring(size), field(head, "Content-Length"))
      end
    end, { cache_file_bytes = 40000, recheck = 0 })
  end)

  it("have the fields that middleware sets, and those of their options, once", function()
    with_files(function(ask)
      for _, path in ipairs { "/a.txt", "/text.txt", "/big.bin" } do
        for _, fields in ipairs { "", "Range: bytes=0-1\r\n", "Accept-Encoding: gzip\r\n" } do
          local _, _, head = ask(path, fields)
          assert.equal(path, field(head, "X-Path"))
          assert.equal("own", field(head, "X-Own"))
          assert.equal("no-store", field(head, "Cache-Control"))
          assert.equal("bytes", field(head, "Accept-Ranges")) -- not the user's
          assert.equal(1, select(2, head:lower():gsub("\r\naccept%-ranges:", "")))
          assert.equal(2, select(2, head:gsub("\r\nX%-Two: ", "")))
          assert.equal(1, select(2, head:gsub("\r\nLast%-Modified: ", "")))
        end
      end
    end, {
      cache_control = "no-store",
      fields = { ["X-Own"] = "own", ["accept-ranges"] = "none", ["X-Two"] = { "1", "2" } },
    },
      function(handler)
        return function(request, response)
          response:set_field("X-Path", request.path):set_field("last-modified", "never")
          return handler(request, response)
        end
      end)
  end)

  it("too big to keep go out piece by piece", function()
    with_files(function(ask)
      assert.is_true(select(2, ask "/big.bin") == BIG)
      local status, content = ask("/big.bin", "Range: bytes=200000-800000\r\n")
      assert.equal(206, status)
      assert.is_true(content == BIG:sub(200001, 800001))
    end, { cache_file_bytes = 1000 })
  end)

  it("of a directory are its index, behind a slash", function()
    with_files(function(ask)
      assert.equal("<p>index", select(2, ask "/"))
      assert.equal("<p>dir", select(2, ask "/dir/"))
      local status, _, head = ask "/dir?a=b"
      assert.equal(301, status)
      assert.equal("/dir/?a=b", field(head, "Location"))
    end)
  end)

  it("answer HEAD without content, and no other method", function()
    with_files(function(ask)
      local status, content, head = ask("/big.bin", nil, "HEAD")
      assert.equal(200, status)
      assert.equal("", content)
      assert.equal(tostring(#BIG), field(head, "Content-Length"))
      local refused, _, refused_head = ask("/a.txt", nil, "POST")
      assert.equal(405, refused)
      assert.equal("GET, HEAD", field(refused_head, "Allow"))
    end)
  end)

  it("outside of the root are not reached by any path", function()
    with_files(function(ask)
      for _, path in ipairs {
        "/../outside/secret", "/%2e%2e/outside/secret", "/..%2foutside/secret", "/dir/../../outside/secret",
        "/dir/..%5c..%5coutside", "/.%2e/outside/secret", "//../outside/secret", "/./a.txt", "//a.txt", "/dir//index.html",
        "/a.txt%00", "/a.txt%00.html", "/.git/config", "/link", "/linked/secret", "/a.txt/", "/%2e%2e%2foutside%2fsecret",
        "/none", "/" .. ("x"):rep(300), "/%", "/%zz",
      } do
        local status, content = ask(path)
        assert.is_true(status == 403 or status == 404, path .. " gives " .. status)
        assert.is_falsy(content:find("secret", 1, true), path)
      end
      assert.equal("0123456789", select(2, ask "/inside"))
      assert.equal("0123456789", select(2, ask "http://other/a.txt"))
    end)
  end)

  it("outside of the root are reached by links where that is allowed", function()
    with_files(function(ask)
      assert.equal("secret", select(2, ask "/link"))
      assert.equal("secret", select(2, ask "/linked/secret"))
    end, { links = "any", hidden = true })
  end)

  it("are not sent again to who has them", function()
    with_files(function(ask)
      local _, _, head = ask "/a.txt"
      local tag, modified = field(head, "ETag"), field(head, "Last-Modified")
      local function status_with(fields)
        return (ask("/a.txt", fields))
      end
      assert.equal(304, status_with("If-None-Match: " .. tag .. "\r\n"))
      assert.equal(304, status_with("If-None-Match: \"x\", W/" .. tag .. "\r\n"))
      assert.equal(304, status_with("If-None-Match: *\r\n"))
      assert.equal(200, status_with("If-None-Match: \"x\"\r\n"))
      assert.equal(304, status_with("If-Modified-Since: " .. modified .. "\r\n"))
      assert.equal(200, status_with("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n"))
      assert.equal(200, status_with("If-Modified-Since: nonsense\r\n"))
      assert.equal(200, status_with("If-None-Match: \"x\"\r\nIf-Modified-Since: " .. modified .. "\r\n"))
      assert.equal(200, status_with("If-Match: " .. tag .. "\r\n"))
      assert.equal(412, status_with("If-Match: W/" .. tag .. "\r\n"))
      assert.equal(412, status_with("If-Match: \"x\"\r\n"))
      assert.equal(412, status_with("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n"))
      local status, content, bare = ask("/a.txt", "If-None-Match: " .. tag .. "\r\n")
      assert.equal(304, status)
      assert.equal("", content)
      assert.equal(tag, field(bare, "ETag"))
    end)
  end)

  it("are sent in ranges", function()
    with_files(function(ask)
      local _, _, whole = ask "/a.txt"
      local tag = field(whole, "ETag")
      for range, expected in pairs {
        ["0-0"] = { 206, "0", "bytes 0-0/10" }, ["2-4"] = { 206, "234", "bytes 2-4/10" },
        ["7-"] = { 206, "789", "bytes 7-9/10" }, ["-3"] = { 206, "789", "bytes 7-9/10" },
        ["5-100"] = { 206, "56789", "bytes 5-9/10" }, ["-100"] = { 206, "0123456789", "bytes 0-9/10" },
        ["10-"] = { 416, "", "bytes */10" }, ["-0"] = { 416, "", "bytes */10" },
        ["4-2"] = { 200, "0123456789" }, ["a-b"] = { 200, "0123456789" }, [""] = { 200, "0123456789" },
        ["0-8,0-8"] = { 200, "0123456789" }, ["99999999999999999999-"] = { 200, "0123456789" },
      } do
        local status, content, head = ask("/a.txt", "Range: bytes=" .. range .. "\r\n")
        assert.equal(expected[1], status, range)
        assert.equal(expected[2], content, range)
        assert.equal(expected[3], field(head, "Content-Range"), range)
      end
      assert.equal(200, (ask("/a.txt", "Range: lines=1-2\r\n")))
      assert.equal(206, (ask("/a.txt", "Range: bytes=1-2\r\nIf-Range: " .. tag .. "\r\n")))
      assert.equal(200, (ask("/a.txt", "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n")))
      local status, content, head = ask("/a.txt", "Range: bytes=0-1, 8-9\r\n")
      assert.equal(206, status)
      assert.equal(#content, tonumber(field(head, "Content-Length")))
      local boundary = field(head, "Content-Type"):match "^multipart/byteranges; boundary=(.+)$"
      local part_head = "--" .. boundary .. "\r\nContent-Type: text/plain; charset=utf-8\r\n"
      local first = part_head .. "Content-Range: bytes 0-1/10\r\n\r\n01\r\n--" .. boundary .. "\r\n"
      assert.is_truthy(content:find(first, 1, true), content)
      assert.is_truthy(content:find("Content-Range: bytes 8-9/10\r\n\r\n89\r\n--" .. boundary .. "--\r\n", 1, true), content)
    end)
  end)

  it("are compressed for who takes it, on the fly or beforehand", function()
    with_files(function(ask)
      for _ = 1, 2 do
        local status, content, head = ask("/text.txt", "Accept-Encoding: br, gzip;q=0.5\r\n")
        assert.equal(200, status)
        assert.equal("gzip", field(head, "Content-Encoding"))
        assert.equal("Accept-Encoding", field(head, "Vary"))
        assert.equal(TEXT, gunzip(content))
        assert.is_true(#content < #TEXT / 5)
        local _, plain, plain_head = ask "/text.txt"
        assert.equal(TEXT, plain)
        assert.are_not.equal(field(plain_head, "ETag"), field(head, "ETag"))
        assert.equal(304, (ask("/text.txt", "Accept-Encoding: gzip\r\nIf-None-Match: " .. field(head, "ETag") .. "\r\n")))
      end
      local _, content, head = ask("/page.css", "Accept-Encoding: gzip\r\n")
      assert.equal("squeezed", gunzip(content))
      assert.equal("text/css; charset=utf-8", field(head, "Content-Type"))
      assert.equal("plain", select(2, ask "/page.css"))
      assert.equal("plain", select(2, ask("/page.css", "Accept-Encoding: gzip;q=0\r\n")))
      assert.is_nil(field(select(3, ask("/big.bin", "Accept-Encoding: gzip\r\n")), "Content-Encoding"))
    end)
  end)

  it("that have changed are seen, also in the middle of being kept", function()
    with_files(function(ask, root)
      for number = 1, 3 do
        assert(fs.write_file(root .. "/a.txt", "version " .. number .. ("x"):rep(number)))
        assert.is_truthy(select(2, ask "/a.txt"):find("version " .. number, 1, true))
      end
      assert(fs.unlink(root .. "/a.txt"))
      assert.equal(404, (ask "/a.txt"))
    end, { recheck = 0 })
  end)

  it("are let go of: the least used first, and none stays in use", function()
    with_files(function(ask, root)
      for number = 1, 20 do
        assert(fs.write_file(root .. "/" .. number, ("%d"):format(number):rep(1000)))
      end
      for _ = 1, 2 do
        for number = 1, 20 do
          assert.equal(("%d"):format(number):rep(1000), select(2, ask("/" .. number)))
        end
      end
    end, { cache_count = 3, cache_bytes = 2500 })
  end)

  it("are found below a route's prefix", function()
    with_files(function(ask)
      assert.equal("0123456789", select(2, ask "/files/a.txt"))
      assert.equal("<p>dir", select(2, ask "/files/dir/"))
      assert.equal("odd", select(2, ask "/files/a%20b%C3%A9.txt"))
      assert.equal(404, (ask "/files/../a.txt"))
      assert.equal(404, (ask "/files/..%2fa.txt"))
      assert.equal(404, (ask "/a.txt"))
      local status, _, head = ask "/files/dir"
      assert.equal(301, status)
      assert.equal("/files/dir/", field(head, "Location"))
    end, nil, function(handler)
      return http.router():get("/files/*path", handler)
    end)
  end)

  it("are an answer of any handler", function()
    with_files(function(ask)
      local status, content, head = ask("/x", "Range: bytes=1-2\r\n")
      assert.equal(206, status)
      assert.equal("12", content)
      assert.equal("text/x-own", field(head, "Content-Type"))
      assert.equal("ENOENT", select(2, ask "/none"))
      -- Only what reads can be told that it has the file already (RFC 9110 section 13.1.2).
      local since = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"
      assert.equal(304, (ask("/x", "If-None-Match: *\r\n")))
      assert.equal(412, (ask("/x", "Content-Length: 0\r\nIf-None-Match: *\r\n", "POST")))
      assert.equal(304, (ask("/x", since)))
      assert.equal(200, (ask("/x", "Content-Length: 0\r\n" .. since, "POST")))
      for number = 1, 3 do -- one table of options, changed in between
        assert.equal(tostring(number), field(select(3, ask "/counted"), "X-Count"))
      end
    end, nil, function(_, root)
      local counted = { fields = { ["X-Count"] = 0 } }
      return function(request, response)
        if request.path == "/counted" then
          counted.fields["X-Count"] = tostring(counted.fields["X-Count"] + 1)
          return response:file(root .. "/a.txt", counted)
        end
        if request.path == "/x" then return response:file(root .. "/a.txt", { media_type = "text/x-own" }) end
        local _, _, code = response:file(root .. "/none")
        response:send(404, code)
      end
    end)
  end)

  it("of a directory that is none, and options that there are none of, are told", function()
    for _, misuse in ipairs {
      function() http.static("") end, function() http.static("a\0b") end, function() http.static(".", { speed = 1 }) end,
      function() http.static(".", { links = "all" }) end, function() http.static(".", { recheck = -1 }) end,
    } do
      local ok, failure = pcall(misuse)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
    local ok, failure = pcall(http.static, "/nonexistent/directory") -- when the service starts, not with its first request
    assert.is_false(ok)
    assert.equal("ENOENT", failure.code)
    assert.is_truthy(failure.message:find("/nonexistent/directory", 1, true))
  end)
end)

it("dates are read in all three forms", function()
  for text, seconds in pairs {
    ["Sun, 06 Nov 1994 08:49:37 GMT"] = 784111777, ["Sunday, 06-Nov-94 08:49:37 GMT"] = 784111777,
    ["Sun Nov  6 08:49:37 1994"] = 784111777, ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
    ["Tue, 29 Feb 2000 00:00:00 GMT"] = 951782400,
  } do
    assert.equal(seconds, conditions.parse_date(text), text)
    assert.equal(seconds, conditions.parse_date(http.date(seconds)))
  end
  for _, text in ipairs { "", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 41 Nov 1994 08:49:37 GMT" } do
    assert.is_nil(conditions.parse_date(text))
  end
end)
