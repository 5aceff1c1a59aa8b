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
      -- What it asks for that there is not: HTTP/2 by Upgrade and without, content codings, a transfer coding.
      assert.equal("hello1.1", curl("--http2 -w '%{http_version}'", "/hello"))
      assert.equal("hello", curl("--http2 -d x -X GET", "/hello"))
      assert.equal("hello", curl("--tr-encoding --compressed --keepalive-time 5 --tcp-nodelay --tcp-fastopen", "/hello"))
      assert.equal("hello", curl("--path-as-is --globoff --location-trusted --max-redirs 2 --post301", "/there"))
      assert.equal("5", curl("-o /dev/null -w '%{size_download}'", "/hello"))
      assert.equal("2\r\n1,\r\n2\r\n2,\r\n", curl("--raw --http1.1", "/chunks"):sub(1, 14))
      assert.equal("hello", curl("--get --data-urlencode 'q=a b&c' --user me:pw --anyauth", "/hello"))
      local _, output = process.run("curl -s -S --max-time 10 --http2-prior-knowledge " .. base .. "/hello")
      assert.is_falsy(output:find("hello", 1, true)) -- it is told 505, which it can't read
      -- Two URLs over one connection, the first with content that is refused.
      local times = curl("-w '%{http_code} %{num_connects} ' -o /dev/null -d x -X DELETE", "/hello?{a,b}")
      assert.is_truthy(times:find "^405 1 .*405 0 ", times)
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

describe("python's http.client", function()
  if not is_there "python3" then
    pending "python3 is not installed"
    return
  end
  it("agrees", function()
    with_server(function(_, base, directory)
      local script = directory .. "/client.py"
      assert(fs.write_file(script, [[
import http.client, sys, urllib.parse
host = urllib.parse.urlparse(sys.argv[1]).netloc
connection = http.client.HTTPConnection(host, timeout=10)
def ask(method, path, body=None, headers={}, **more):
    connection.request(method, path, body, headers, **more)
    response = connection.getresponse()
    return response.status, response.read(), response
for _ in range(3):
    assert ask("GET", "/hello")[:2] == (200, b"hello")
kept = connection.sock
status, content, response = ask("HEAD", "/hello")
assert (status, content, response.getheader("content-length")) == (200, b"", "5")
pieces = [b"piece %d;" % number for number in range(100)]
assert ask("PUT", "/echo", iter(pieces), encode_chunked=True,
  headers={"Transfer-Encoding": "chunked"})[1] == b"".join(pieces)
assert ask("PUT", "/echo", b"x" * 300000)[1] == b"x" * 300000
assert ask("OPTIONS", "*")[0] == 204
assert ask("BREW", "/hello")[0] == 405
assert ask("GET", "/chunks")[1].count(b",") == 100
status, content, response = ask("GET", "/files/digits", headers={"Range": "bytes=99990-"})
assert (status, content) == (206, b"0123456789"), response.headers
assert ask("GET", "/files/digits", headers={"Range": "bytes=100000-"})[0] == 416
assert ask("GET", "/none")[0] == 404
assert connection.sock is kept, "another connection was needed"
assert ask("GET", "/hello", headers={"Connection": "close"})[1] == b"hello"
print("all agree")
]]))
      local status, output = process.run("python3 " .. script .. " " .. base)
      assert.is_truthy(status == 0 and output:find("all agree", 1, true), output)
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

-- What a page does with two servers, the second of which is of another origin. It writes what it sees into its title.
local PAGE = [[<!doctype html><title>not done</title><script>
const other = "http://127.0.0.1:OTHER"
const seen = []
async function all() {
  seen.push((await (await fetch("/json")).json()).text)
  const form = new FormData()
  form.append("a \"b\"", "1")
  form.append("file", new Blob(["x".repeat(100000)]), "\u00e9 \"q\".bin")
  const parts = await (await fetch("/upload", { method: "POST", body: form })).json()
  seen.push(parts.map(part => `${part.name}:${part.filename}:${part.size}`).join())
  const answer = await fetch(other + "/data", { method: "PUT", headers: { "X-Token": "t" }, body: "b",
    credentials: "include" })
  seen.push(await answer.text() + answer.headers.get("x-shown") + answer.headers.get("x-hidden"))
  seen.push(await fetch(other + "/closed").then(() => "read", () => "kept from it"))
  const events = new EventSource("/events")
  seen.push(await new Promise(resolve => {
    const all = []
    events.addEventListener("tick",
      event => { all.push(event.lastEventId + event.data); if (all.length == 3) resolve(all.join()) })
  }))
  events.close()
  seen.push((await (await fetch("/long")).text()).length)
  document.title = seen.join(" | ")
}
all().catch(error => { document.title = "failed: " + error })
</script>]]

describe("a browser", function()
  if not is_there "chromium" then
    pending "chromium is not installed"
    return
  end
  it("agrees: uploads, pages of other origins, events, compression", function()
    moonring.scope(function(scope)
      local http = require "moonring.http"
      local other, own = scope:own(assert(http.server {})), scope:own(assert(http.server {}))
      local shared, router = http.router(), http.router()
      shared:use(http.cors { credentials = true, expose = { "X-Shown" }, origins = function(origin, request)
        return origin == "http://127.0.0.1:" .. own.port and request.path ~= "/closed"
      end })
      shared:put("/data", function(request, response)
        response:send(200, request:header "x-token" .. request:body(), { ["X-Shown"] = "yes", ["X-Hidden"] = "no" })
      end)
      shared:get("/closed", function(_, response) response:send(200, "secret") end)
      router:use(http.compress())
      router:get("/", function(_, response)
        response:send(200, (PAGE:gsub("OTHER", tostring(other.port))), { ["Content-Type"] = "text/html" })
      end)
      router:get("/json", function(_, response) response:json(200, { text = "\195\169" }) end)
      router:post("/upload", function(request, response)
        local parts = {}
        for part in request:multipart() do
          parts[#parts + 1] = { name = part.name, filename = part.filename, size = #part:text() }
        end
        response:json(200, parts)
      end)
      router:get("/events", function(_, response)
        local events = response:events()
        for number = 1, 3 do events:send { event = "tick", id = number, data = "tick" } end
      end)
      router:get("/long", function(_, response) response:send(200, ("long "):rep(1000)) end)
      scope:spawn(function() other:serve(shared) end)
      scope:spawn(function() own:serve(router) end)
      local browser = process.start(scope, ("chromium --headless --no-sandbox --disable-gpu --disable-quic " ..
        "--no-first-run --disable-background-networking --disable-component-update --disable-sync " ..
        "--user-data-dir=$(mktemp -d) --virtual-time-budget=5000 --dump-dom http://127.0.0.1:%d/"):format(own.port))
      local title = browser:expect("<title>(.-)</title>", 40)
      assert.equal('\195\169 | a "b":undefined:1,file:\195\169 "q".bin:100000 | tbyesnull | kept from it | '
        .. "1tick,2tick,3tick | 5000",
        title)
      own:close()
      other:close()
    end)
  end)
end)
