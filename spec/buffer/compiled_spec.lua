-- The hot paths of buffers must stay compiled: a lost trace costs tens of times more, and nothing else would tell. Each
-- case runs in a process of its own, so that no other spec's traces fill the compiler's memory.

local moonring = require "moonring"
local process = require "spec.support.process"
local kinds = require "spec.buffer.kinds"

if kinds.traced then return end

-- Runs `work` until it is compiled, and then counts the compiler's events while it runs as often again.
local PRELUDE = [[
  local buffer = require "moonring.buffer"
  local function measure(work)
    local counts = { abort = 0, flush = 0, start = 0 }
    for _ = 1, 20 do work() end
    jit.attach(function(what) counts[what] = (counts[what] or 0) + 1 end, "trace")
    for _ = 1, 200 do work() end
    print(("aborts %d flushes %d starts %d"):format(counts.abort, counts.flush, counts.start))
  end
]]

local cases = {
  ["numbers at the position"] = [[
    local b = buffer.allocate(4096)
    measure(function()
      b:reset_for_write()
      for i = 1, 100 do
        b:write_u8(i % 256):write_i16(-i):write_u24(i):write_u32(i):write_u64(i):write_f64(i):write_u16_le(i):write_i32_le(i)
      end
      b:reset_for_read()
      local sum = 0
      for _ = 1, 100 do
        sum = sum + b:read_u8() + b:read_i16() + b:read_u24() + b:read_u32() + tonumber(b:read_u64()) + b:read_f64()
          + b:read_u16_le() + b:read_i32_le()
      end
    end)
  ]],
  ["numbers at an offset"] = [[
    local b = buffer.allocate(4096)
    measure(function()
      local sum = 0
      for i = 0, 1000 do
        b:set_u32(i, i)
        sum = sum + b:get_u32(i) + b:get_u16_le(i)
      end
    end)
  ]],
  ["heap and wrapped buffers"] = [[
    local array = require("ffi").new("uint8_t[4096]")
    for _, b in ipairs { buffer.allocate(4096, { zone = "heap" }), buffer.wrap(array) } do
      measure(function()
        b:reset_for_write()
        for i = 1, 1000 do b:write_u32(i) end
        b:reset_for_read()
        for _ = 1, 1000 do b:read_u32() end
      end)
    end
  ]],
  ["variable-length integers and prefixed strings"] = [[
    local b = buffer.allocate(65536)
    measure(function()
      b:reset_for_write()
      for i = 1, 500 do b:write_varint(i % 128):write_string_u16("hello"):write_varint_mqtt(i * 300) end
      b:reset_for_read()
      for _ = 1, 500 do b:read_varint() b:read_string_u16() b:read_varint_mqtt() end
    end)
  ]],
  ["searching and sums"] = [[
    local b, other = buffer.allocate(4096):fill(97), buffer.allocate(4096):fill(97)
    measure(function()
      for _ = 1, 100 do
        b:index_of(98)
        b:mismatch(other)
        b:xor_mask(0x01020304)
        b:crc32()
        b:is_utf8()
      end
    end)
  ]],
  ["a pool: acquire, use, release"] = [[
    local pool = buffer.pool { size = 64, max_bytes = 65536 }
    measure(function()
      for i = 1, 1000 do
        local b = pool:acquire()
        b:write_u32(i):reset_for_read()
        b:read_u32()
        b:release()
      end
    end)
  ]],
  ["slice and release"] = [[
    local b = buffer.allocate(4096)
    measure(function()
      for i = 1, 200 do
        local part = b:seek(i):slice(16)
        part:read_u32()
        part:release()
      end
    end)
  ]],
  ["a chain: numbers and strings"] = [[
    local whole = buffer.allocate(60000):fill(1)
    measure(function()
      local chain = buffer.chain()
      for i = 0, 9 do chain:append(whole:seek(i * 6000):set_limit(60000):slice(6000)) end
      for _ = 1, 2000 do
        chain:read_u8() chain:read_u16() chain:read_u32_le() chain:try_read_u8() chain:peek_u8(4) chain:read_string(8)
      end
      chain:close()
    end)
  ]],
  ["a chain: lines"] = [[
    local text = ("a line of text\r\n"):rep(1000)
    measure(function()
      local chain = buffer.chain()
      for i = 1, #text, 1000 do chain:append(text:sub(i, i + 999)) end
      for _ = 1, 1000 do chain:try_read_line(100) end
      chain:close()
    end)
  ]],
  ["a struct's reader and writer"] = [[
    local header = buffer.struct { { "id", "u16" }, { "flags", "u16" }, { "length", "u24" }, { "body", "bytes", "length" } }
    local b, record, into = buffer.allocate(4096), { id = 1, flags = 2, body = "hello" }, {}
    measure(function()
      b:reset_for_write()
      for _ = 1, 200 do header:write(b, record) end
      b:reset_for_read()
      for _ = 1, 200 do header:read(b, into) end
    end)
  ]],
}

-- Side traces of rare branches are still started now and then; what can't be compiled aborts again and again, in every
-- one of the 200 rounds until it is given up.
local ABORTS_MAX, STARTS_MAX = 6, 20

describe("a compiled loop over", function()
  for name, script in pairs(cases) do
    it(name .. " stays compiled", function()
      moonring.scope(function()
        local status, text = process.run(process.command("-e", PRELUDE .. script))
        assert.equal(0, status, text)
        local seen = 0
        for aborts, flushes, starts in text:gmatch("aborts (%d+) flushes (%d+) starts (%d+)") do
          seen = seen + 1
          assert.is_true(tonumber(aborts) <= ABORTS_MAX, name .. ": " .. text)
          assert.equal(0, tonumber(flushes))
          assert.is_true(tonumber(starts) <= STARTS_MAX, name .. ": " .. text)
        end
        assert.is_true(seen > 0, text)
      end)
    end)
  end
end)
