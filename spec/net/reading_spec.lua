local moonring = require "moonring"
local net = require "moonring.net"
local connections = require "moonring.net.connection"
local buffer = require "moonring.buffer"
local stream = require "moonring.stream"
local system = require "spec.support.system"

-- Runs body(reader, writer) with the two ends of a socket pair.
local function with_pair(body)
  return moonring.scope(function(scope)
    local left, right = system.socketpair()
    return body(scope:own(assert(connections.open(left))), scope:own(assert(connections.open(right))), scope)
  end)
end

-- A stream whose pieces arrive exactly as they are listed; an entry that is a table is what a failed read returns.
local Pieces = {}
Pieces.__index = Pieces

function Pieces:read()
  local piece = table.remove(self.pieces, 1)
  if type(piece) == "table" then return unpack(piece, 1, 3) end
  if not piece then return nil end
  return buffer.wrap(piece)
end

stream.mix(Pieces)

local function pieces(...)
  return setmetatable({ pieces = { ... } }, Pieces)
end

-- All ways to cut `text` into up to three pieces.
local function each_split(text, body)
  for first = 0, #text do
    for second = first, #text do
      local list = {}
      for _, piece in ipairs { text:sub(1, first), text:sub(first + 1, second), text:sub(second + 1) } do
        if piece ~= "" then list[#list + 1] = piece end
      end
      body(pieces(unpack(list)))
    end
  end
end

describe("the reading helpers", function()
  it("give the same at every split of the input", function()
    each_split("GET /\r\nhost: a\n\nab--cd----12345tail", function(input)
      assert.equal("GET /", input:read_line())
      assert.equal("host: a", input:read_line())
      assert.equal("", input:read_line())
      assert.equal("ab", input:read_until("--"))
      assert.equal("cd", input:read_until("--"))
      assert.is_true(input:skip(2))
      assert.equal("12345", input:read_exactly(5))
      assert.equal("", input:read_exactly(0))
      assert.equal("tail", input:read_all())
      assert.equal("", input:read_all())
      assert.is_nil((input:read()))
    end)
  end)

  it("leave the rest to read, at every split", function()
    local text = "line\nrest of it"
    each_split(text, function(input)
      assert.equal("line", input:read_line())
      local parts = {}
      local piece = input:read()
      while piece do
        parts[#parts + 1] = piece:to_string()
        piece = input:read()
      end
      assert.equal("rest of it", table.concat(parts))
      assert.is_nil(rawget(input, "read")) -- nothing is left in the way of the next read
    end)
  end)

  it("fill a buffer of the caller's without reading beyond it", function()
    each_split("0123456789abcdef", function(input)
      local into = buffer.allocate(10)
      assert.equal(into, input:read_exactly(into))
      assert.equal(0, into:remaining())
      assert.equal("0123456789", into:reset_for_read():to_string())
      assert.equal("abcdef", input:read_all())
    end)
  end)

  it("tell the end of the stream from one in the middle, and keep what came", function()
    assert.equal(1, select("#", pieces():read_line()))
    assert.equal(1, select("#", pieces():read_until("x")))
    assert.equal(1, select("#", pieces():read_exactly(3)))
    assert.equal(1, select("#", pieces():skip(3)))
    for _, name in ipairs { "read_line", "read_until", "read_exactly" } do
      local input = pieces("half ", "a line")
      local value, message, code = input[name](input, name == "read_exactly" and 100 or name == "read_until" and "--" or nil)
      assert.is_nil(value)
      assert.equal("EOF", code)
      assert.is_truthy(message:find("ended after 11 bytes", 1, true), message)
      assert.equal("half a line", input:read_all())
    end
    assert.equal("EOF", select(3, pieces("ab"):skip(3)))
    local into = buffer.allocate(4)
    assert.equal("EOF", select(3, pieces("ab"):read_exactly(into)))
    assert.equal(2, into:remaining())
  end)

  it("hand a failure on and keep what came before it", function()
    local input = pieces("some", { nil, "read: ECONNRESET: connection reset by peer", "ECONNRESET" })
    assert.equal("ECONNRESET", select(3, input:read_line()))
    assert.equal("some", input:read():to_string())
  end)

  it("refuse what is too long and keep it", function()
    local input = pieces("0123456789", "0123456789\n")
    local value, message, code = input:read_line(15)
    assert.is_nil(value)
    assert.equal("EMSGSIZE", code)
    assert.is_truthy(message:find("15", 1, true), message)
    assert.equal("01234567890123456789", input:read_line(20))
    input = pieces("abc", "def")
    assert.equal("EMSGSIZE", select(3, input:read_until("--", 4)))
    assert.equal("EMSGSIZE", select(3, input:read_all(5)))
    assert.equal("abcdef", input:read_all(6))
    assert.equal("EMSGSIZE", select(3, pieces(("x"):rep(70000)):read_line()))
  end)

  it("iterate over lines", function()
    local got = {}
    for line in pieces("a\nb", "\nc\r\nno end"):lines() do
      got[#got + 1] = line
    end
    assert.same({ "a", "b", "c" }, got)
  end)

  it("raise for what is no length, limit or delimiter", function()
    local input = pieces "abc"
    for _, call in ipairs {
      { "read_exactly", -1 }, { "read_exactly", 1.5 }, { "read_exactly" }, { "read_exactly", 2 ^ 40 }, { "read_until", "" },
      { "read_until" }, { "read_until", "x", -1 }, { "read_line", "x" }, { "read_all", -1 }, { "skip", -1 }, { "skip", "x" },
    } do
      local ok, failure = pcall(input[call[1]], input, call[2], call[3])
      assert.is_false(ok)
      assert.equal("argument", failure.code)
    end
    assert.equal("abc", input:read_all())
  end)
end)

describe("a connection's reading helpers", function()
  it("mix with read, chunks, extend and read_op in any order", function()
    with_pair(function(reader, writer)
      writer:write("first\nsecond\nthird and more")
      assert.equal("first", reader:read_line())
      local name, piece = moonring.select { input = reader:read_op(), late = moonring.sleep_op(1) }
      assert.equal("input", name)
      assert.equal("second\nthird and more", piece:to_string())
      writer:write("x\nabcdef")
      assert.equal("x", reader:read_line())
      local part = reader:read(buffer.allocate(4))
      assert.equal("abcd", part:reset_for_read():to_string())
      local rest = reader:read()
      assert.equal("ef", rest:to_string())
      writer:write("GET\nhead")
      assert.equal("GET", reader:read_line())
      local head = reader:read()
      head:seek(1)
      writer:write("ers")
      assert.is_true(reader:extend(head, 100))
      assert.equal("eaders", head:to_string())
      for _, letter in ipairs { "a", "b" } do
        writer:write(letter:rep(2000))
        assert.is_false((pcall(moonring.timeout, 0.005, reader.read_exactly, reader, 5000)))
      end
      head = reader:read()
      assert.equal(("a"):rep(2000), head:to_string())
      assert.is_true(reader:extend(head, 3000)) -- from the rest, as far as it fits
      assert.equal(("a"):rep(2000) .. ("b"):rep(1000), head:to_string())
      assert.is_false(reader:extend(head, 3000))
      writer:shutdown()
      local parts = {}
      for each in reader:chunks() do
        parts[#parts + 1] = each:to_string()
      end
      assert.equal(("b"):rep(1000), table.concat(parts))
    end)
  end)

  it("count what is unread", function()
    with_pair(function(reader, writer)
      writer:write("line\nrest")
      assert.equal("line", reader:read_line())
      local statistics = reader:statistics()
      assert.equal(9, statistics.received)
      assert.equal(4, statistics.unread)
      assert.equal(9, writer:statistics().sent)
      assert.equal(0, writer:statistics().queued)
    end)
  end)

  it("lose no byte when they are cancelled in the middle", function()
    with_pair(function(reader, writer)
      local expected = {}
      for i = 1, 50 do
        local ok = pcall(moonring.timeout, 0.0005, function()
          writer:write(("part %d,"):format(i))
          local name = ({ "read_until", "read_exactly", "read_all" })[i % 3 + 1]
          reader[name](reader, ({ "\n", 1000000 })[i % 3 + 1])
        end)
        assert.is_false(ok)
        expected[i] = ("part %d,"):format(i)
      end
      writer:write("\n")
      assert.equal(table.concat(expected), reader:read_line())
    end)
  end)

  it("refuse a second task by naming both", function()
    with_pair(function(reader, writer, scope)
      writer:write("half")
      local first = scope:spawn(reader.read_line, reader)
      moonring.sleep(0.005)
      for _, name in ipairs { "read", "read_line", "read_all", "read_exactly" } do
        local ok, failure = pcall(reader[name], reader, name == "read_exactly" and 1 or nil)
        assert.is_false(ok)
        assert.equal("busy", failure.code)
        assert.is_truthy(failure.message:find(tostring(first), 1, true), failure.message)
      end
      writer:write(" and half\n")
      assert.equal("half and half", select(2, first:join()))
    end)
  end)

  it("raise closed, and let go of the rest, after close", function()
    collectgarbage()
    collectgarbage()
    with_pair(function(reader, writer)
      writer:write("line\nrest")
      assert.equal("line", reader:read_line())
      reader:close()
      for _, name in ipairs { "read", "read_line", "read_all" } do
        local ok, failure = pcall(reader[name], reader)
        assert.is_false(ok)
        assert.equal("closed", failure.code)
      end
      reader:close()
    end)
    local after = moonring.stats()
    assert.equal(after.receive_ring_bytes, after.memory.iovec_bytes)
  end)

  it("hold no receive buffer for a line that has only begun", function()
    with_pair(function(reader, writer, scope)
      collectgarbage()
      collectgarbage()
      writer:write(("x"):rep(100))
      local task = scope:spawn(reader.read_line, reader)
      moonring.sleep(0.005)
      local statistics = moonring.stats()
      assert.is_true(statistics.memory.iovec_bytes - statistics.receive_ring_bytes < 1024)
      task:cancel()
    end)
  end)

  it("serve the lines of many clients", function()
    moonring.scope(function(scope)
      local listener = assert(net.listen {})
      local server = scope:spawn(net.serve, listener, function(connection)
        for line in connection:lines(100) do
          connection:write(line:upper() .. "\n")
        end
      end)
      moonring.scope(function(clients)
        for i = 1, 50 do
          clients:spawn(function()
            local client = scope:own(assert(net.connect { port = listener.port }))
            for j = 1, 20 do
              client:write(("client %d\nline "):format(i))
              client:write(j .. "\n")
              assert.equal("CLIENT " .. i, client:read_line())
              assert.equal("LINE " .. j, client:read_line())
            end
          end)
        end
      end)
      server:cancel()
    end)
  end)
end)
