local moonring, log, fs = require "moonring", require "moonring.log", require "moonring.fs"
local process = require "moonring.process"
local executable = require("spec.support.process").command():match "^'?([^' ]+)"

-- Lines that a logger of these options writes while body(logger) runs, without their times.
local function lines_of(options, body)
  local lines = {}
  options.write = function(line) lines[#lines + 1] = line end
  body(assert(log.new(options)))
  for i, line in ipairs(lines) do
    local before, rest = line:match "^(.-)%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ(.*)\n$"
    lines[i] = before .. rest
  end
  return lines
end

describe("a logger", function()
  it("writes a time, the level, the message and the fields by their names", function()
    assert.same({ " info listens port=8080 tls=false", ' warning odd who="a b"' }, lines_of({}, function(logger)
      logger:info("listens", { port = 8080, tls = false })
      logger:debug "is not written"
      logger:warning("odd", { who = "a b" })
    end))
  end)

  it("keeps a line one line, whatever a client has sent", function()
    local sent = "x\nFAKE error \"owned\"\r\27[31m"
    assert.same({ [[ info x\nFAKE error "owned"\r\x1b[31m a_b="x\nFAKE error \"owned\"\r\x1b[31m" empty="" eq="a=b"]] },
      lines_of({}, function(logger) logger:info(sent, { ["a b"] = sent, empty = "", eq = "a=b" }) end))
    local json = require "moonring.http.json"
    local line
    log.new({ format = "json", write = function(text) line = text end }):info(sent, {
      sent = sent, n = 1.5, yes = true, nan = 0 / 0, huge = math.huge,
      object = setmetatable({}, { __tostring = function() return "o" end }),
    })
    assert.equal(1, select(2, line:gsub("\n", "")))
    local value = assert(json.decode(line))
    assert.equal(sent, value.message)
    assert.equal(sent, value.sent)
    assert.same({ 1.5, true, "o", "info" }, { value.n, value.yes, value.object, value.level })
    assert.equal("string", type(value.nan))
    assert.equal("string", type(value.huge))
  end)

  it("has a level that can be changed, also for those made of it", function()
    assert.same({ " debug 2", " error 3 request=7" }, lines_of({}, function(logger)
      local of_request = logger:with { request = 6 }:with { request = 7 }
      logger:debug "1"
      of_request:set_level "debug"
      logger:debug "2"
      logger:set_level "error"
      of_request:warning "-"
      of_request:error "3"
      logger:set_level "off"
      of_request:error "-"
    end))
  end)

  it("shows an error object with its place", function()
    local ok, failure = pcall(moonring.sleep, "x")
    assert.is_false(ok)
    local lines = lines_of({}, function(logger) logger:error(failure) end)
    assert.matches("^ error spec/log_spec.lua:%d+: moonring.sleep: ", lines[1])
  end)

  it("writes behind a file, and opens it anew when it has been renamed", function()
    moonring.scope(function(scope)
      local path = scope:own(assert(fs.temporary_directory())).path .. "/log"
      local logger = assert(log.new { path = path })
      local part = logger:with { part = 1 }
      logger:info "one"
      assert(fs.rename(path, path .. ".1"))
      logger:info "two"
      assert(logger:reopen())
      part:info "three"
      assert.matches("one\n.*two\n$", assert(fs.read_file(path .. ".1")):to_string())
      assert.matches("^[^\n]* info three part=1\n$", assert(fs.read_file(path)):to_string())
      assert(fs.rename(path, path .. ".2"))
      assert(fs.make_directory(path))
      local ok, message, code = logger:reopen()
      assert.is_nil(ok)
      assert.equal("EISDIR", code)
      assert.matches("open the log " .. path:gsub("%p", "%%%0"), message)
      logger:info "four"
      assert.matches("three part=1\n.* four\n$", assert(fs.read_file(path .. ".2")):to_string())
      logger.file.file:close()
    end)
  end)

  it("tells standard error what a full disk doesn't take", function()
    local status, _, errors = process.run { executable, "-", input = [[
      local logger = require("moonring.log").new { path = "/dev/full" }
      logger:info "one"
      logger:info "two"
    ]] }
    assert.is_true(status.ok)
    assert.matches("^moonring: write to the log /dev/full: No space left on device\n[^\n]* info one\n[^\n]* info two\n$",
      errors)
  end)

  it("gives nil and the reason for a file that can't be opened, and refuses what can't be", function()
    local logger, message, code = log.new { path = "/nonexistent/log" }
    assert.is_nil(logger)
    assert.equal("ENOENT", code)
    assert.matches("open the log /nonexistent/log: ENOENT", message)
    for _, options in ipairs { { level = "warn" }, { format = "xml" }, { file = "x" }, 5 } do
      local ok, failure = pcall(log.new, options)
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
  end)
end)

describe("moonring.log", function()
  it("writes to standard error from the level that the environment names", function()
    local function run(level)
      local _, output, errors = process.run { executable, "-", extra = { MOONRING_LOG = level }, input = [[
        local log = require "moonring.log"
        log.debug "d" log.info "i" log.warning "w" log.error "e"
      ]] }
      assert.equal("", output)
      return (errors:gsub("%d%S+Z ", ""):gsub("\n", ";"))
    end
    assert.equal("info i;warning w;error e;", run "")
    assert.equal("debug d;info i;warning w;error e;", run "debug")
    assert.equal("", run "off")
    assert.matches("MOONRING_LOG: a level is debug, info, warning, error or off, not loud", run "loud")
  end)
end)
