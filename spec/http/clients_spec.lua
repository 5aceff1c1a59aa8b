-- Clients of others agree with the server: curl, node's fetch, h2load.

local moonring = require "moonring"
local fs = require "moonring.fs"
local process = require "spec.support.process"

local SERVER = [[
  local moonring, http = require "moonring", require "moonring.http"
  local router = http.router()
  router:get("/hello", function(_, response) response:send(200, "hello") end)
  router:route("PUT", "/echo", function(request, response)
    response:start(200, { ["Content-Type"] = request:header "content-type", ["X-Expect"] = request:header "expect" })
    for part in request:chunks() do response:write(part) end
    local sum = request:trailer "x-sum"
    response:finish(sum and { ["X-Sum"] = sum })
  end)
  router:route("PUT", "/store", function(request, response) -- asks for the body first, so the client is told to go on
    response:send(200, request:header "expect" and request:body() or "not asked")
  end)
  router:post("/form", function(request, response)
    local values = request:form()
    if values then response:json(200, values) end
  end)
  router:post("/upload", function(request, response)
    local parts = {}
    for part in request:multipart() do
      local size = 0
      for piece in part:chunks() do size = size + #piece end
      parts[#parts + 1] = { name = part.name, filename = part.filename, size = size }
    end
    response:json(200, parts)
  end)
  router:get("/chunks", function(_, response)
    for number = 1, 100 do
      response:write(("%d,"):format(number))
      if number % 10 == 0 then moonring.sleep(0) end
    end
  end)
  router:get("/there", function(_, response) response:redirect "/hello" end)
  router:get("/cookies", function(request, response)
    response:set_cookie("seen", tostring((tonumber(request.cookies.seen) or 0) + 1), { path = "/" })
    response:send(200, request.cookies.seen or "first")
  end)
  router:get("/events", function(_, response)
    local events = response:events()
    for number = 1, 3 do events:send { data = "tick " .. number } end
  end)
  router:get("/files/*path", http.static(arg[1]))
  local server = assert(http.server {})
  print("listening on http://" .. tostring(server:address()))
  server:serve(router)
]]

local function with_server(body)
  moonring.scope(function(scope)
    local directory = scope:own(assert(fs.temporary_directory()))
    assert(fs.write_file(directory.path .. "/digits", ("0123456789"):rep(10000)))
    assert(fs.write_file(directory.path .. "/text.txt", ("text "):rep(1000)))
    local path = directory.path .. "/server.lua"
    assert(fs.write_file(path, SERVER))
    local child = process.start(scope, process.command(path, directory.path))
    local base = child:expect "(http://%S+)\n"
    body(function(options, where)
      local status, output = process.run(("curl -s -S --max-time 20 %s '%s%s'"):format(options, base, where))
      assert(status == 0, output)
      return output
    end, base, directory.path)
    child:kill "TERM"
    assert.is_true(child:wait())
    assert.equal(1, select(2, child:output():gsub("\n", "")), child:output())
  end)
end

local function is_there(program)
  return (process.run("command -v " .. program)) == 0
end

describe("curl", function()
  it("agrees in everything that it can ask for", function()
    with_server(function(curl, base, directory)
      assert.equal("hello", curl("", "/hello"))
      assert.equal("hello", curl("--http1.0", "/hello"))
      assert.equal("", curl("--head -o /dev/null", "/hello"))
      assert.equal("hellohello", curl("", "/hello?{a,b}"))
      assert.equal("hello", curl("--location", "/there"))
      assert.equal("hello", curl("--proxy " .. base .. " --noproxy ''", "/hello")) -- the absolute form
      assert.equal("hello", curl("--request-target '" .. base .. "/hello'", "/other"))
      assert.is_truthy(curl("-i -X OPTIONS --request-target '*'", "/"):find "^HTTP/1.1 204 ")
      assert.equal("hello", curl("--compressed -H 'X-A;' -H 'x-a: 1' --user-agent '' --referer /x", "/hello"))
      assert.equal('{"a b":"1&2"}', curl("--data-urlencode 'a b=1&2'", "/form"))
      assert.is_truthy(curl("-i --data a=b --header 'Content-Type: text/plain'", "/form"):find "^HTTP/1.1 415 ")
      local listed = curl("--form 'file=@" .. directory .. "/digits;filename=a\"b.bin' --form text=abc", "/upload")
      assert.is_truthy(listed:find('"size":100000', 1, true) and listed:find('"size":3', 1, true), listed)
      assert.is_truthy(listed:find([["filename":"a\"b.bin"]], 1, true), listed)
      assert.equal("1,2,3,", curl("--no-buffer", "/chunks"):sub(1, 6))
      assert.equal("data: tick 1\n\ndata: tick 2\n\ndata: tick 3\n\n", curl("-N", "/events"))
      assert.equal("first1", curl("--cookie-jar /dev/null --cookie ''", "/cookies?{a,b}"))
      assert.is_truthy(curl("-i", "/%2e%2e/x"):find "^HTTP/1.1 404 ")
    end)
  end)

  it("uploads with a length, in chunks, and waiting to be told to go on", function()
    with_server(function(curl, _, directory)
      local digits = ("0123456789"):rep(10000)
      local file = "--upload-file " .. directory .. "/digits "
      assert.is_true(curl(file, "/echo") == digits)
      assert.is_true(curl(file .. "--header 'Transfer-Encoding: chunked'", "/echo") == digits)
      assert.is_true(curl(file .. "--header 'Expect: 100-continue' --expect100-timeout 10", "/store") == digits)
      assert.is_true(curl(file .. "-H 'Expect: 100-continue' -H 'Transfer-Encoding: chunked'", "/store") == digits)
    end)
  end)

  it("gets files in ranges, again, and compressed", function()
    with_server(function(curl, _, directory)
      assert.equal("567", curl("--range 5-7", "/files/digits"))
      assert.equal("789", curl("--range -3", "/files/digits"))
      assert.is_truthy(curl("--range 0-1,4-5 -i", "/files/digits"):find "^HTTP/1.1 206 .*multipart/byteranges")
      local part = directory .. "/part"
      assert(fs.write_file(part, "01234"))
      curl("--continue-at - --output " .. part, "/files/digits")
      local whole = fs.read_file(part)
      assert.is_true(whole:to_string() == ("0123456789"):rep(10000))
      whole:release()
      local later = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 100)
      assert.is_truthy(curl("-i --time-cond '" .. later .. "'", "/files/digits"):find "^HTTP/1.1 304 ")
      local tag = directory .. "/tag"
      curl("--etag-save " .. tag .. " -o /dev/null", "/files/text.txt")
      assert.is_truthy(curl("-i --etag-compare " .. tag, "/files/text.txt"):find "^HTTP/1.1 304 ")
      assert.equal(("text "):rep(1000), curl("--compressed", "/files/text.txt"))
      assert.is_truthy(curl("--compressed -i", "/files/text.txt"):find "Content%-Encoding: gzip")
    end)
  end)
end)

describe("node's fetch", function()
  if not is_there "node" then
    pending "node is not installed"
    return
  end
  it("agrees", function()
    with_server(function(_, base, directory)
      local script = directory .. "/client.mjs"
      assert(fs.write_file(script, [[
        import assert from "node:assert"
        const base = process.argv[2]
        const get = (path, options) => fetch(base + path, options)
        assert.equal(await (await get("/hello")).text(), "hello")
        assert.equal((await get("/hello", { method: "HEAD" })).headers.get("content-length"), "5")
        const all = await Promise.all(Array.from({ length: 200 }, () => get("/hello").then(r => r.text())))
        assert.ok(all.every(text => text === "hello"))
        const big = "x".repeat(300000)
        assert.equal(await (await get("/echo", { method: "PUT", body: big })).text(), big)
        const pieces = new ReadableStream({ start(c) {
          for (let i = 0; i < 50; i++) c.enqueue(new TextEncoder().encode("piece " + i + ";"))
          c.close()
        } })
        const echoed = await (await get("/echo", { method: "PUT", body: pieces, duplex: "half" })).text()
        assert.ok(echoed.startsWith("piece 0;piece 1;") && echoed.endsWith("piece 49;"))
        const values = new URLSearchParams({ a: "b c" })
        assert.deepEqual(await (await get("/form", { method: "POST", body: values })).json(), { a: "b c" })
        const form = new FormData()
        form.append("one", "1")
        form.append("file", new Blob([big]), "\u00e9 \"q\".bin")
        const parts = await (await get("/upload", { method: "POST", body: form })).json()
        assert.deepEqual(parts, [{ name: "one", size: 1 }, { name: "file", filename: "\u00e9 \"q\".bin", size: 300000 }])
        const redirected = await get("/there")
        assert.ok(redirected.redirected && redirected.url === base + "/hello")
        assert.equal((await (await get("/chunks")).text()).split(",").length, 101)
        const range = await get("/files/digits", { headers: { range: "bytes=10-12" } })
        assert.equal(range.status + await range.text(), "206012")
        assert.equal((await (await get("/files/text.txt")).text()).length, 5000)
        console.log("all agree")
      ]]))
      local status, output = process.run("node " .. script .. " " .. base)
      assert.is_truthy(status == 0 and output:find("all agree", 1, true), output)
    end)
  end)
end)

describe("h2load over HTTP/1.1", function()
  if not is_there "h2load" then
    pending "h2load is not installed"
    return
  end
  it("finds every answer good, pipelined too", function()
    with_server(function(_, base)
      for _, options in ipairs { "-n 2000 -c 20", "-n 2000 -c 10 -m 8", "-n 200 -c 5 -m 4 -H 'Connection: keep-alive'" } do
        for _, path in ipairs { "/hello", "/chunks", "/files/digits" } do
          local count = path == "/hello" and options or options:gsub("2000", "200")
          local _, output = process.run(("h2load --h1 %s %s%s"):format(count, base, path))
          local done, good = output:match "started, (%d+) done, (%d+) succeeded, 0 failed, 0 errored"
          assert.is_true(done ~= nil and done == good, output)
        end
      end
    end)
  end)
end)
