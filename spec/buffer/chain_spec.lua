local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local moonring = require "moonring"
local ffi = require "ffi"

local raises = kinds.raises

-- Appends text in pieces that end at the given offsets.
local function chain_of(text, ends, options)
  local chain = buffer.chain(options)
  local from = 1
  for _, stop in ipairs(ends) do
    chain:append(buffer.allocate(stop - from + 1):write(text:sub(from, stop)):reset_for_read())
    from = stop + 1
  end
  return chain:append(text:sub(from))
end

-- Calls fn with the text in one piece, at every split in two, in three, and byte by byte.
local function at_every_split(text, fn)
  fn(chain_of(text, {}))
  local bytes = {}
  for i = 1, #text do
    bytes[i] = i
    for j = i, math.min(#text, i + 5) do
      fn(chain_of(text, { i, j }))
    end
  end
  fn(chain_of(text, bytes))
end

describe("a chain", function()
  it("gives every primitive across boundaries, at every split, compiled and interpreted", function()
    local text = "\1\2\255\4\5\6\7\8\9\10\11\254\13\14"
    local whole = buffer.wrap(text)
    for _, name in ipairs { "u8", "i8", "u16", "i16", "u24", "u32", "i32", "u64", "i64", "f32", "f64" } do
      for _, order in ipairs { "", "_le" } do
        local method = name .. order
        local get = whole["get_" .. method]
        local size = tonumber(name:match("%d+")) / 8
        kinds.compiled_and_interpreted(function()
          at_every_split(text, function(chain)
            for offset = 0, #text - size do
              local value, expected = chain["peek_" .. method](chain, offset), get(whole, offset)
              assert(value == expected or value ~= value and expected ~= expected)
            end
            raises("underflow", chain["peek_" .. method], chain, #text - size + 1)
            for i = 0, math.floor(#text / size) - 1 do
              local read = chain[(i % 2 == 0 and "read_" or "try_read_") .. method]
              assert(read(chain) == get(whole, i * size))
            end
            local left = #text % size
            assert(chain:available() == left)
            raises("underflow", size > left and chain["read_" .. method] or chain.read_u64, chain)
            if size > left then assert(chain["try_read_" .. method](chain) == nil) end
            assert(chain:available() == left)
            chain:close()
          end)
        end, 1)
      end
    end
  end)

  it("gives strings and buffers of any length, and what it has given out outlives it", function()
    local text = "0123456789abcdef"
    at_every_split(text, function(chain)
      local first, second = chain:read_string(5), chain:read_buffer(6)
      assert(chain:peek_string(2) == "bc" and chain:peek_string(1, 4) == "f" and chain:to_string() == "bcdef")
      local rest = chain:try_read_buffer(3)
      assert(chain:try_read_buffer(3) == nil and chain:try_read_string(3) == nil and chain:try_skip(3) == nil)
      raises("underflow", chain.read_string, chain, 3)
      raises("underflow", chain.read_buffer, chain, 2 ^ 31)
      raises("argument", chain.read_buffer, chain, -1)
      raises("argument", chain.skip, chain, 0.5)
      chain:close()
      assert(first == "01234" and second:to_string() == "56789a" and rest:to_string() == "bcd")
      second:release()
      rest:release()
    end)
  end)

  it("finds lines and delimiters at every split, and a CR waits for its LF", function()
    at_every_split("GET /\r\n\r\nab\n--end--x", function(chain)
      assert(chain:index_of("--e") == 12 and chain:index_of(13) == 5 and chain:index_of("zz") == nil)
      assert(chain:read_line() == "GET /" and chain:try_read_line() == "" and chain:read_line(2) == "ab")
      assert(chain:try_read_line() == nil and chain:read_until("--end--") == "" and chain:available() == 1)
      raises("underflow", chain.read_line, chain)
      raises("underflow", chain.read_until, chain, "abc")
      assert(chain:try_read_until("abc") == nil and chain:read_u8() == 120)
      chain:close()
    end)
    local chain = buffer.chain():append("ab\r")
    assert.is_nil(chain:try_read_line())
    chain:append("\n")
    assert.equal("ab", chain:try_read_line())
  end)

  it("refuses lines that are too long before they are complete", function()
    local chain = buffer.chain():append("abc")
    local line, _, code = chain:try_read_line(1)
    assert(line == nil and code == "EMSGSIZE")
    assert.is_nil(chain:try_read_line(2)) -- the third may be a CR
    line, _, code = chain:append("d"):try_read_line(2)
    assert(line == nil and code == "EMSGSIZE" and chain:available() == 4)
    line, _, code = chain:append("\r\n"):read_line(3)
    assert(line == nil and code == "EMSGSIZE")
    assert.equal("abcd", chain:read_line(4))
    chain:append("key: value")
    line, _, code = chain:read_until(": ", 2)
    assert(line == nil and code == "EMSGSIZE")
    assert.equal("key", chain:read_until(": ", 3))
    raises("argument", chain.read_until, chain, "")
    raises("argument", chain.read_until, chain, 5)
    raises("argument", chain.read_line, chain, -1)
  end)

  it("finds what string.find finds, whatever is read and appended in between", function()
    math.randomseed(tonumber(os.getenv "MOONRING_SEED") or 20240229)
    for _ = 1, 300 do
      local chain, model = buffer.chain(), ""
      for _ = 1, 60 do
        local action = math.random(6)
        if action <= 3 then
          local piece = {}
          for i = 1, math.random(0, 4) do
            piece[i] = ("ab\r\n"):sub(math.random(4)):sub(1, 1)
          end
          piece = table.concat(piece)
          chain:append(piece)
          model = model .. piece
        elseif action == 4 then
          local delimiter = ({ "\r\n", "ab", "aba", "\n" })[math.random(4)]
          local found = model:find(delimiter, 1, true)
          local got = chain:try_read_until(delimiter)
          assert(got == (found and model:sub(1, found - 1)))
          if found then model = model:sub(found + #delimiter) end
        elseif action == 5 then
          local found = model:find("\n", 1, true)
          assert(chain:try_read_line() == (found and model:sub(1, found - 1):gsub("\r$", "") or nil))
          if found then model = model:sub(found + 1) end
        elseif #model > 0 then
          local count = math.random(#model)
          assert(chain:read_string(count) == model:sub(1, count))
          model = model:sub(count + 1)
        end
        assert(chain:available() == #model and chain:to_string() == model)
      end
      chain:close()
    end
  end)

  it("looks at a line that trickles in once", function()
    local chain = buffer.chain()
    local before = os.clock()
    for _ = 1, 30000 do
      chain:append("x")
      assert(chain:try_read_line() == nil)
    end
    assert.is_true(os.clock() - before < 5) -- looking at all of it each time takes a minute
    assert.equal(30000, #chain:append("\n"):read_line())
  end)

  it("takes buffers over, releases empty ones and holds no memory once it is closed", function()
    collectgarbage()
    collectgarbage()
    local before = moonring.stats().memory.iovec_count
    local chain = buffer.chain()
    local given, empty = buffer.allocate(10):write("hello"):reset_for_read(), buffer.allocate(0)
    chain:append(given):append(empty)
    raises("closed", given.read_u8, given)
    raises("closed", empty.remaining, empty)
    raises("closed", chain.append, chain, given)
    raises("argument", chain.append, chain, 5)
    raises("argument", chain.append, chain, ffi.new("uint8_t[4]"))
    local pool = buffer.pool { size = 16 }
    local lease = pool:acquire():write("pool"):reset_for_read()
    chain:append(lease)
    raises("closed", lease.read_u8, lease)
    local other = pool:acquire():fill(0)
    assert.equal("hellopool", chain:to_string())
    other:release()
    chain:append(buffer.allocate(3, { zone = "heap" }):write("abc"):reset_for_read())
    collectgarbage()
    assert.equal("hellopoolabc", chain:to_string())
    local iovecs = chain:iovecs()
    assert.equal(3, #iovecs)
    chain:close()
    chain:close()
    local joined = {}
    for i, iovec in ipairs(iovecs) do
      joined[i] = ffi.string(iovec.data, iovec.length)
      iovec:release()
    end
    assert.equal("hellopoolabc", table.concat(joined))
    raises("closed", chain.read_u8, chain)
    raises("closed", chain.try_read_u8, chain)
    raises("closed", chain.append, chain, "x")
    raises("closed", chain.available, chain)
    raises("closed", chain.skip, chain, 0)
    pool:close()
    assert.equal(before, moonring.stats().memory.iovec_count)
  end)

  it("is bounded by max_bytes and tells when it is full, until it has come down to low", function()
    local chain = buffer.chain { max_bytes = 10, high = 8, low = 4 }
    chain:append("1234567")
    assert.is_false(chain:is_full())
    chain:append("8")
    assert.is_true(chain:is_full())
    local refused = buffer.wrap("abc")
    raises("overflow", chain.append, chain, refused)
    assert.equal("abc", refused:to_string())
    chain:skip(3)
    assert.is_true(chain:is_full())
    chain:read_u8()
    assert.is_false(chain:is_full())
    raises("argument", chain.try_read_string, chain, 11)
    raises("argument", buffer.chain, { max_bytes = -1 })
    raises("argument", buffer.chain, { high = 4, low = 5 })
  end)
end)
