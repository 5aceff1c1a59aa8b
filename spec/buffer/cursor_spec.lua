local kinds = require "spec.buffer.kinds"
local buffer = require "moonring.buffer"
local moonring = require "moonring"
local native = require "moonring.native"
local ffi = require "ffi"

local raises, on_every_kind = kinds.raises, kinds.on_every_kind

describe("a buffer's cursor", function()
  it("keeps 0 <= position <= limit <= capacity, on every kind", function()
    on_every_kind("0123456789", function(made)
      assert(made.position == 0 and made.limit == 10 and made.capacity == 10 and made:remaining() == 10 and #made == 10)
      made:seek(4):set_limit(8)
      assert(made:remaining() == 4 and made:to_string() == "4567")
      raises("underflow", made.seek, made, 9)
      raises("argument", made.set_limit, made, 3)
      raises("argument", made.set_limit, made, 11)
      raises("argument", made.seek, made, -1)
      raises("argument", made.seek, made, 0.5)
      raises("underflow", made.skip, made, 5)
      assert(made.position == 4 and made.limit == 8)
      assert(made:read_string(2) == "45" and made:skip(1):read_u8() == 55 and made:remaining() == 0)
      made:reset_for_read()
      assert(made.position == 0 and made.limit == 8)
      made:reset_for_write()
      assert(made.position == 0 and made.limit == 10)
    end)
  end)

  it("can't be assigned to", function()
    on_every_kind("abc", function(made)
      for _, name in ipairs { "position", "limit", "capacity", "anything" } do
        raises("argument", function()
          made[name] = 1
        end)
      end
      assert(made.position == 0 and made.anything == nil)
    end)
  end)

  it("refuses lengths that are none with \"argument\", and those that are too long with \"underflow\"", function()
    on_every_kind("abc", function(made)
      for _, method in ipairs { "read_string", "read_buffer", "slice", "skip", "read_utf8", "seek" } do
        for _, length in ipairs { -1, 0.5, 0 / 0, 2 ^ 32 + 1, math.huge, "1", {} } do
          raises("argument", made[method], made, length)
        end
        for _, length in ipairs { 4, 2 ^ 31, 2 ^ 32 } do
          raises("underflow", made[method], made, length)
        end
      end
      assert(made.position == 0 and made.limit == 3)
    end)
    for _, capacity in ipairs { -1, 0.5, 0 / 0, 2 ^ 31, 2 ^ 32, 2 ^ 40, "x", {} } do
      raises("argument", buffer.allocate, capacity)
    end
    raises("argument", buffer.allocate)
    raises("argument", buffer.allocate, 1, { zone = "moon" })
    raises("argument", buffer.allocate, 1, { alignment = 3 })
    raises("argument", buffer.wrap, 5)
    raises("argument", buffer.wrap, ffi.new("int64_t", 5), 1)
    raises("argument", buffer.wrap, ffi.new("uint8_t[4]"), 5)
    raises("argument", buffer.wrap, ffi.cast("uint8_t *", nil), 5)
    raises("argument", buffer.wrap, ffi.cast("uint8_t *", ffi.new("uint8_t[4]")))
  end)

  it("after release raises \"closed\" in every use, however it is released", function()
    local uses = {
      { "read_u8" }, { "read_u64" }, { "get_u8", 0 }, { "seek", 0 }, { "set_limit", 0 }, { "skip", 0 }, { "read_string", 0 },
      { "read_string" }, { "to_string" }, { "slice" }, { "slice", 0 }, { "read_buffer", 0 }, { "write", "" },
        { "write", "a" },
      { "write_u8", 1 }, { "set_u8", 0, 1 }, { "reset_for_read" }, { "reset_for_write" }, { "remaining" },
        { "index_of", "" },
      { "equals", "" }, { "mismatch", "" }, { "starts_with", "" }, { "fill", 0 }, { "xor_mask", 0 }, { "crc32" }, { "hash" },
      { "to_hex" }, { "to_base64" }, { "write_hex", "" }, { "write_base64", "" }, { "read_varint" }, { "write_varint", 1 },
      { "read_string_u8" }, { "write_string_u8", "" }, { "read_line" }, { "read_decimal" }, { "is_utf8" }, { "read_utf8" },
      { "to_native" }, { "to_heap" }, { "to_mutable_native" }, { "retain" }, { "pointer" }, { "compact" },
      { "read_array", "u8", 0 }, { "write_array", "u8", {} }, { "descriptor" }, { "set_bytes", 0, "" }, { "get_string",
        0, 0 },
    }
    on_every_kind("abc", function(made)
      made:release()
      made:close()
      for _, use in ipairs(uses) do
        raises("closed", made[use[1]], made, unpack(use, 2))
      end
      for _, name in ipairs { "position", "limit", "capacity", "zone" } do
        raises("closed", function()
          return made[name]
        end)
      end
      raises("closed", function()
        return buffer.allocate(4):write(made)
      end)
      assert(made.is_open == false and tostring(made):find("released") or tostring(made):find("pool"))
    end)
  end)

  it("writes strings, buffers and cdata all or nothing", function()
    local array = ffi.new("uint8_t[3]", { 65, 66, 67 })
    on_every_kind("......", function(made, kind)
      if not kind.writable then
        raises("argument", made.write, made, "x")
        raises("argument", made.fill, made, 0)
        raises("argument", made.xor_mask, made, 1)
        raises("argument", made.set_bytes, made, 0, "x")
        assert(made:to_string() == "......")
        return
      end
      raises("overflow", made.write, made, "1234567")
      raises("argument", made.write, made, 5)
      raises("argument", made.write, made, nil)
      raises("argument", made.write, made, array, 4)
      assert(made.position == 0 and made:to_string() == "......")
      made:write("ab"):write(array, 2):write(buffer.wrap("xyz"):skip(1))
      assert(made.position == 6)
      made:reset_for_read()
      assert(made:to_string() == "abAByz")
      made:set_bytes(2, "--")
      assert(made:get_string(1, 4) == "b--y")
      local out = ffi.new("char[2]")
      made:read_into(out)
      assert(ffi.string(out, 2) == "ab" and made.position == 2)
    end)
  end)

  it("copies between overlapping views as if through a third place", function()
    on_every_kind("abcdef", function(made, kind)
      if not kind.writable then return end
      local view = made:slice(4)
      made:seek(2):write(view)
      assert(made:seek(0):to_string() == "ababcd")
      view:release()
      made:write(made:slice():skip(2))
      assert(made:seek(0):to_string() == "abcdcd")
    end)
  end)

  it("compacts what has not been read", function()
    local made = buffer.allocate(6):write("abcdef"):reset_for_read():skip(4):compact()
    assert.equal("ef", made:reset_for_read():to_string())
  end)
end)

describe("a slice", function()
  it("shows the same bytes in both directions, and lives on when its parent is released", function()
    on_every_kind("abcdef", function(made, kind)
      local view = made:seek(1):slice(3)
      assert(view.position == 0 and view.capacity == 3 and made.position == 1 and view:to_string() == "bcd")
      local moved = made:read_buffer(2)
      assert(made.position == 3 and moved:to_string() == "bc")
      if kind.writable then
        made:set_u8(1, 66)
        view:set_u8(1, 67)
        assert(moved:to_string() == "BC" and made:get_string(0, 4) == "aBCd")
      end
      made:release()
      collectgarbage()
      assert(view:get_u8(2) == 100 and moved:remaining() == 2)
      moved:release()
      view:release()
      raises("closed", view.read_u8, view)
    end)
  end)

  it("keeps memory of the collector alive by itself", function()
    local views = {}
    for i = 1, 200 do
      views[i] = buffer.allocate(64, { zone = "heap" }):write(("%064d"):format(i)):reset_for_read():slice()
      views[i + 200] = buffer.wrap(("x%063d"):format(i)):slice()
      local array = ffi.new("uint8_t[8]", i % 256)
      views[i + 400] = buffer.wrap(array):slice()
    end
    collectgarbage()
    collectgarbage()
    local _ = {}
    for i = 1, 2000 do
      _[i] = ffi.new("uint8_t[64]", 255)
    end
    for i = 1, 200 do
      assert.equal(("%064d"):format(i), views[i]:to_string())
      assert.equal(("x%063d"):format(i), views[i + 200]:to_string())
      assert.equal(i % 256, views[i + 400]:get_u8(7))
    end
  end)
end)

describe("a copy", function()
  it("is independent, complete and at position 0, and leaves its source as it was", function()
    on_every_kind("abcdef", function(made, kind)
      made:skip(2)
      for _, method in ipairs { "to_native", "to_mutable_native", "to_heap", "retain" } do
        local copy = made[method](made)
        assert(made.position == 2 and copy.position == 0 and copy:to_string() == "cdef", method)
        if kind.writable then
          made:set_u8(2, 88)
          assert(copy:get_u8(0) == 99)
          made:set_u8(2, 99)
        end
        copy:release()
      end
    end)
    raises("argument", function()
      buffer.wrap("abc"):to_native():write_u8(1)
    end)
    assert.equal("native", buffer.wrap("abc"):to_mutable_native():write_u8(1).zone)
  end)

  it("of a whole heap buffer to the heap is the same memory", function()
    local made = buffer.allocate(4, { zone = "heap" })
    made:to_heap():write("wxyz")
    assert.equal("wxyz", made:to_string())
    made:skip(1):to_heap():write("abc")
    assert.equal("wxyz", made:seek(0):to_string())
  end)
end)

describe("memory of a buffer", function()
  it("comes from the zone that was asked for, zeroed in heap and shared", function()
    for zone, zeroed in pairs { native = false, heap = true, shared = true } do
      local made = buffer.allocate(1000, { zone = zone })
      assert.equal(zone, made.zone)
      if zeroed then assert.equal(("\0"):rep(1000), made:to_string()) end
      assert.equal(made:pointer() + 0, made:seek(5):pointer())
      made:release()
    end
    assert.equal("wrapped", buffer.wrap("x").zone)
    assert.equal(0, buffer.allocate(0):remaining())
    assert.equal("", buffer.allocate(0):to_string())
  end)

  it("is aligned as was asked for", function()
    for _, zone in ipairs { "native", "heap", "shared" } do
      for _, alignment in ipairs { 1, 16, 64, 512, 4096 } do
        local made = buffer.allocate(100, { zone = zone, alignment = alignment })
        assert.equal(0, tonumber(ffi.cast("uintptr_t", made:pointer()) % alignment))
        assert.equal(100, made.capacity)
        made:release()
      end
    end
  end)

  it("may be longer than a slab", function()
    local made = buffer.allocate(9 * 1024 * 1024)
    made:set_u32(made.capacity - 4, 77)
    local view = made:seek(made.capacity - 4):slice()
    made:release()
    assert.equal(77, view:read_u32())
    view:release()
  end)

  it("that is shared can be mapped a second time through its descriptor, and not shrink", function()
    local made = buffer.allocate(100, { zone = "shared" })
    local other = assert(buffer.open_shared(made:descriptor(), 100))
    made:write("seen")
    assert.equal("seen", other:read_string(4))
    made:release()
    assert.equal("seen", other:get_string(0, 4))
    local _, _, code = buffer.open_shared(other:descriptor(), 1000)
    assert.equal("EINVAL", code)
    _, _, code = buffer.open_shared(0, 1)
    assert.is_string(code)
    other:release()
    raises("argument", function()
      buffer.allocate(1):descriptor()
    end)
  end)

  it("wraps a string without a copy and a cdata in both directions", function()
    local array = ffi.new("uint8_t[4]", { 1, 2, 3, 4 })
    local made = buffer.wrap(array)
    array[1] = 9
    assert.equal(0x0109, made:read_u16())
    made:write_u8(7)
    assert.equal(7, array[2])
    assert.is_true(buffer.wrap("s").is_read_only)
    raises("argument", buffer.wrap, made)
  end)

  it("comes home when what was forgotten is collected", function()
    collectgarbage()
    collectgarbage()
    local before = moonring.stats().memory.iovec_count
    for _ = 1, 500 do
      local made = buffer.allocate(100)
      made:slice(10)
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(moonring.stats().memory.iovec_count <= before + 1)
  end)
end)

describe("buffers that are forgotten", function()
  it("do not pile up, although the collector sees only their handles", function()
    for _, size in ipairs { 65536, 8 * 1024 * 1024 } do
      local most = 0
      for i = 1, 1024 * 1024 * 1024 / size do
        buffer.allocate(size)
        if i % 16 == 0 then
          most = math.max(most, moonring.stats().memory.iovec_bytes + native.C.mr_buffer_mapped_bytes())
        end
      end
      assert.is_true(most < 300 * 1024 * 1024, most)
      collectgarbage()
      collectgarbage()
    end
  end)
end)

describe("a scope's buffer", function()
  it("is released at the end of the scope, however it ends, and raises \"closed\" from then on", function()
    local kept = {}
    local first, second = moonring.scope(function(scope)
      kept[1] = scope:allocate(10)
      kept[2] = scope:allocate_aligned(10, 4096)
      kept[3] = kept[1]:write_u8(5):reset_for_read():slice()
      return kept[1]:get_u8(0), scope
    end)
    assert.equal(5, first)
    assert.is_false(second.is_open)
    raises("closed", kept[1].read_u8, kept[1])
    raises("closed", kept[2].read_u8, kept[2])
    assert.equal(5, kept[3]:read_u8())
    pcall(moonring.scope, function(scope)
      kept[1] = scope:allocate(10)
      error("leave")
    end)
    raises("closed", kept[1].read_u8, kept[1])
    raises("closed", second.allocate, second, 1)
    raises("argument", function()
      moonring.scope(function(scope)
        scope:allocate_aligned(1, 3)
      end)
    end)
  end)
end)

describe("the C side of a buffer", function()
  it("takes the same structure for any kind", function()
    assert.equal(64, ffi.sizeof("mr_buffer"))
    assert.equal(2, tonumber(native.C.MR_BUFFER_OPEN))
  end)
end)
