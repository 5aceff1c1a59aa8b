-- A process that may open no more files: what each kind of open does then.

local process = require "spec.support.process"

-- Runs in a process of its own. Prints each kind with the code that it gave, and what was wrong about it besides.
local SCRIPT = [[
local moonring, net, fs = require "moonring", require "moonring.net", require "moonring.fs"
local process, dns, http = require "moonring.process", require "moonring.dns", require "moonring.http"

local folder = arg[1]
local path, socket = folder .. "/file", folder .. "/socket"
assert(fs.write_file(path, "text"))
assert(fs.make_directory(folder .. "/tree"))
local listener, unix = assert(net.listen {}), assert(net.listen { path = socket })
local resolver = dns.resolver { servers = { "127.0.0.1:9" }, timeout = 0.1, tries = 1 }

local function raised(fn, ...)
  local ok, failure = pcall(fn, ...)
  if ok then return true end
  return nil, failure.message, failure.code
end

local kinds = {
  ["net.listen"] = function() return net.listen {} end,
  ["net.listen, Unix"] = function() return net.listen { path = folder .. "/other" } end,
  ["net.serve"] = function() return raised(moonring.timeout, 0.01, net.serve, { port = 0 }, print) end,
  ["net.connect"] = function() return net.connect { port = listener.port } end,
  ["net.connect, Unix"] = function() return net.connect { path = socket } end,
  ["net.connect_op"] = function()
    return select(2, moonring.select { net.connect_op { port = listener.port } })
  end,
  ["net.datagram"] = function() return net.datagram {} end,
  ["fs.open"] = function() return fs.open(path) end,
  ["fs.open, to write"] = function() return fs.open(path, "w") end,
  ["fs.read_file"] = function() return fs.read_file(path) end,
  ["fs.write_file"] = function() return fs.write_file(path, "new") end,
  ["fs.write_file, durable"] = function() return fs.write_file(path, "new", { durable = true }) end,
  ["fs.copy"] = function() return fs.copy(path, folder .. "/copy") end,
  ["fs.lines"] = function() return raised(function() for _ in fs.lines(path) do return end end) end,
  ["fs.open_directory"] = function() return fs.open_directory(folder) end,
  ["fs.read_directory"] = function() return fs.read_directory(folder) end,
  ["fs.remove_tree"] = function() return fs.remove_tree(folder .. "/tree") end,
  ["fs.temporary_file"] = function() return fs.temporary_file { directory = folder } end,
  ["fs.watch"] = function() return fs.watch(folder) end,
  ["process.spawn"] = function() return process.spawn { "true" } end,
  ["process.spawn, pipes"] = function() return process.spawn { "true", stdin = "pipe", stdout = "pipe" } end,
  ["process.run"] = function() return process.run { "true" } end,
  ["http.request"] = function()
    local ok, made, message, code = pcall(moonring.timeout, 0.01, http.request, "http://127.0.0.1:" .. listener.port .. "/")
    if not ok then return nil, made.message, made.code end
    return made, message, code
  end,
  ["dns"] = function() return resolver:query("name.test", "A") end,
}

local function try_all()
  local codes = {}
  for name, fn in pairs(kinds) do
    local made, message, code = fn()
    codes[name] = made and "made" or code or "nothing"
    if not made and code and not message:find(code, 1, true) then print(name, "doesn't tell the code:", message) end
    if type(made) == "table" and made.close then made:close(0) end
  end
  return codes
end

moonring.sleep(0.01)
local filling = {}
local file = fs.open "/dev/null"
while file do
  filling[#filling + 1] = file
  file = fs.open "/dev/null"
end
for _ = 1, 3 do -- what is half made each time would take descriptors
  for name, code in pairs(try_all()) do
    if code ~= (name == "dns" and "UNREACHABLE" or "EMFILE") then print(name, code) end
  end
end
if fs.read_link("/proc/self/exe") == nil then print "a call without a descriptor fails, too" end
for _, each in ipairs(filling) do each:close() end
moonring.sleep(0.05)
local refused = { ["http.request"] = true, dns = true } -- nobody answers there
for name, code in pairs(try_all()) do
  if not refused[name] and code ~= "made" and not (name == "net.serve" and code == "deadline") then print(name, code) end
  if code == "EMFILE" then print(name, "still fails") end
end
print "done"
]]

describe("a process without descriptors", function()
  it("is told so by every kind of open, keeps nothing of them, and goes on when there are some again", function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local status, output = process.run(("ulimit -n 48; timeout 60 %s"):format(process.command("-e", SCRIPT, "-", folder)))
    os.execute("rm -rf " .. folder)
    assert.equal("done\n", output)
    assert.equal(0, status)
  end)
end)
