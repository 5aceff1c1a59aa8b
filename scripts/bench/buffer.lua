-- What buffers cost beside C; run by scripts/bench/buffer. Each line is the best of several rounds, which alternate
-- with those of its reference. The bounds are the project's own; lines without one are for information.

local buffer = require "moonring.buffer"
local moonring = require "moonring"
local ffi = require "ffi"

ffi.cdef [[
typedef struct { uint8_t *data; int32_t position, limit, capacity; uint32_t flags; } bench_cursor;
double reference_read(bench_cursor *, int32_t);
int reference_write(bench_cursor *, int32_t);
int32_t reference_index_of(const uint8_t *, int32_t, uint8_t);
int32_t reference_mismatch(const uint8_t *, const uint8_t *, int32_t);
void reference_xor(uint8_t *, int32_t, const uint8_t *);
uint32_t reference_crc32(const uint8_t *, int32_t);
int32_t reference_utf8(const uint8_t *, int32_t);
void *malloc(size_t);
void free(void *);
]]
local R, C = ffi.load((...)), ffi.C

local SIZE, ROUNDS = 65536, 15
local NUMBERS = SIZE / 4

local function time(fn, repeats)
  local started = moonring.now()
  for _ = 1, repeats do
    fn()
  end
  return (moonring.now() - started) / repeats * 1e9
end

local function compare(name, unit_count, unit, bound, ours, reference)
  local repeats = 1
  while time(ours, repeats) * repeats < 1e6 do
    repeats = repeats * 2
  end
  local best, best_reference = math.huge, math.huge
  for _ = 1, ROUNDS do
    best = math.min(best, time(ours, repeats))
    best_reference = math.min(best_reference, time(reference, repeats))
  end
  local verdict = bound and (", at most %.1fx: %s"):format(bound, best <= best_reference * bound and "yes" or "NO") or ""
  print(("%-34s %8.2f ns/%-6s reference %8.2f   %5.2fx%s"):format(name, best / unit_count, unit,
    best_reference / unit_count, best / best_reference, verdict))
end

local b, other = buffer.allocate(SIZE), buffer.allocate(SIZE)
local cursor = ffi.new("bench_cursor", b:pointer(), 0, SIZE, SIZE, 2)
for i = 0, NUMBERS - 1 do
  b:set_u32(i * 4, i * 2654435761 % 4294967296)
end

local sink = 0
compare("read_u32, sequential, 64 KiB", NUMBERS, "number", 3, function()
  local sum = 0
  b:reset_for_write()
  for _ = 1, NUMBERS do
    sum = sum + b:read_u32()
  end
  sink = sum
end, function()
  cursor.position = 0
  sink = R.reference_read(cursor, NUMBERS)
end)

compare("write_u32, sequential, 64 KiB", NUMBERS, "number", 3, function()
  b:reset_for_write()
  for i = 1, NUMBERS do
    b:write_u32(i)
  end
end, function()
  cursor.position = 0
  R.reference_write(cursor, NUMBERS)
end)

b:reset_for_write():fill(97)
other:fill(97)
compare("index_of a byte, 64 KiB", SIZE, "byte", 1.1, function()
  sink = b:index_of(98)
end, function()
  sink = R.reference_index_of(cursor.data, SIZE, 98)
end)
compare("mismatch, 64 KiB", SIZE, "byte", 1.1, function()
  sink = b:mismatch(other)
end, function()
  sink = R.reference_mismatch(cursor.data, other:pointer(), SIZE)
end)
local key = ffi.new("uint8_t[4]", 1, 2, 3, 4)
compare("xor_mask, 64 KiB", SIZE, "byte", 1.1, function()
  b:xor_mask(0x01020304)
end, function()
  R.reference_xor(cursor.data, SIZE, key)
end)
compare("crc32, 64 KiB", SIZE, "byte", 1.1, function()
  sink = b:crc32()
end, function()
  sink = R.reference_crc32(cursor.data, SIZE)
end)
b:fill(97)
compare("UTF-8, ASCII, 64 KiB", SIZE, "byte", 1.1, function()
  sink = b:is_utf8()
end, function()
  sink = R.reference_utf8(cursor.data, SIZE)
end)
local mixed = ("na\195\175ve \226\130\172 \240\159\146\150 "):rep(10000):sub(1, 3449 * 19)
local text = buffer.wrap(mixed)
compare("UTF-8, mixed, 64 KiB", #mixed, "byte", 1.1, function()
  sink = text:is_utf8()
end, function()
  sink = R.reference_utf8(text:pointer(), #mixed)
end)

local pool = buffer.pool { size = 64, max_bytes = 65536 }
compare("pool: acquire, write_u32, release", 1000, "round", 1, function()
  for i = 1, 1000 do
    local leased = pool:acquire()
    leased:write_u32(i)
    leased:release()
  end
end, function()
  for i = 1, 1000 do
    local memory = C.malloc(64)
    ffi.cast("uint32_t *", memory)[0] = i
    C.free(memory)
  end
end)

local function in_scope(scope, i)
  scope:allocate(64):write_u32(i)
end
local function in_pcall(i)
  local memory = C.malloc(64)
  ffi.cast("uint32_t *", memory)[0] = i
  C.free(memory)
end
compare("scope: one buffer", 1000, "scope", 3, function()
  for i = 1, 1000 do
    moonring.scope(in_scope, i)
  end
end, function()
  for i = 1, 1000 do
    pcall(in_pcall, i)
  end
end)
compare("scope's part: allocate, release", 1000, "round", nil, function()
  for i = 1, 1000 do
    local made = buffer.owned(64)
    made:write_u32(i)
    made:release()
  end
end, function()
  for i = 1, 1000 do
    in_pcall(i)
  end
end)
compare("allocate, release", 1000, "round", nil, function()
  for i = 1, 1000 do
    local made = buffer.allocate(64)
    made:write_u32(i)
    made:release()
  end
end, function()
  for i = 1, 1000 do
    in_pcall(i)
  end
end)
return sink
