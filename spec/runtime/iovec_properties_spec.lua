-- Rows 2, 9, 16 and 19 of the contract as properties: random programs of all operations against a ledger kept by hand.
-- MOONRING_SEED=n repeats a run; a failure names its seed and the operation's number.

local native = require "moonring.native"

local C, ffi = native.C, native.ffi

pcall(ffi.cdef, "int memcmp(const void *left, const void *right, size_t count);")

local OPERATIONS, SLOTS = 100000, 600
local SEED = tonumber(os.getenv "MOONRING_SEED") or os.time() % 1000000
local EINVAL, ENOBUFS, ESTALE, EBUSY = -22, -105, -116, -16

-- A generator of our own, so that a seed means the same everywhere.
local state
local function random(max)
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) * max / 32768 - (math.floor(state / 65536) * max / 32768) % 1
end

local function random_length()
  local kind = random(20)
  if kind == 0 then return random(100) * 3000 end
  if kind < 4 then return random(9000) end
  return random(600) + 1
end

local Ledger = {}
Ledger.__index = Ledger

local function new_ledger(memory)
  local self = setmetatable({ memory = memory, held = {}, count = 0, bytes = 0, live = 0, serial = 0 }, Ledger)
  self.memory_of_iovecs = ffi.new("uint8_t[?]", (SLOTS + 8) * 32)
  self.iovecs = ffi.cast("mr_iovec *", self.memory_of_iovecs)
  self.spare = self.iovecs + SLOTS
  self.statistics = ffi.new("mr_memory_statistics")
  return self
end

local function expect(what, wanted, got)
  if wanted ~= got then error(("%s: %s expected, got %s"):format(what, tostring(wanted), tostring(got)), 0) end
end

-- An allocation's bytes are all one value of its own: bytes that two allocations share would show.
local function mark(data, length, value)
  ffi.fill(data, length, value)
end

local function check_bytes(entry, one)
  if entry.length == 0 then return end
  expect("first byte", entry.allocation.value, one.data[0])
  expect("bytes", 0, ffi.C.memcmp(one.data, one.data + 1, entry.length - 1))
end

function Ledger:put(slot, allocation, length, reserved)
  self.held[slot] = { allocation = allocation, length = length, reserved = reserved, capacity = length }
  allocation.references = allocation.references + 1
  self.live = self.live + 1
  -- References to one SHARED allocation count as one, with all of its bytes.
  if not allocation.shared or allocation.references == 1 then
    self.count, self.bytes = self.count + 1, self.bytes + length
    self.held[slot].counted = length
    if allocation.shared then allocation.counted = length end
  end
end

function Ledger:drop(slot)
  local entry = self.held[slot]
  self.held[slot] = nil
  local allocation = entry.allocation
  allocation.references = allocation.references - 1
  self.live = self.live - 1
  if not allocation.shared then
    self.count, self.bytes = self.count - 1, self.bytes - entry.counted
  elseif allocation.references == 0 then
    self.count, self.bytes = self.count - 1, self.bytes - allocation.counted
  end
end

function Ledger:free_slot()
  if self.live >= SLOTS then return nil end
  local slot = random(SLOTS)
  while self.held[slot] do
    slot = (slot + 1) % SLOTS
  end
  return slot
end

function Ledger:some_slot()
  if self.live == 0 then return nil end
  local slot = random(SLOTS)
  while not self.held[slot] do
    slot = (slot + 1) % SLOTS
  end
  return slot
end

function Ledger:new_allocation(shared)
  self.serial = self.serial + 1
  return { value = self.serial % 251 + 1, references = 0, shared = shared }
end

local operations = {}

-- Alloc and reserve: one to four pieces.
function operations:allocate()
  local length, alignment, pieces = random_length(), 2 ^ random(8), random(4) + 1
  local reserve = random(3) == 0
  local shared = not reserve and random(5) == 0
  local count
  if reserve then
    count = C.mr_iovec_reserve(self.memory, length, alignment, pieces, self.spare)
  else
    count = C.mr_iovec_alloc(self.memory, length, alignment, pieces, shared and C.MR_IOVEC_SHARED or 0, self.spare)
  end
  if length == 0 then return expect("alloc of 0", 0, count) end
  if count < 1 or count > pieces then error(("alloc of %d: %d"):format(length, count), 0) end
  local total = 0
  for i = 0, count - 1 do
    local piece = self.spare[i]
    total = total + piece.length
    expect("alignment", 0, tonumber(ffi.cast("uintptr_t", piece.data)) % alignment)
    local slot = self:free_slot()
    if slot then
      local allocation = self:new_allocation(shared)
      mark(piece.data, piece.length, allocation.value)
      ffi.copy(self.iovecs + slot, piece, 32)
      self:put(slot, allocation, piece.length, reserve)
    else
      expect("release", 0, C.mr_iovec_release(self.spare + i))
    end
  end
  expect("sum of lengths", length, total)
end

function operations:commit()
  local slot = self:some_slot()
  if not slot then return end
  local entry, one = self.held[slot], self.iovecs + slot
  if not entry.reserved then
    return expect("commit of what is not reserved", EINVAL, C.mr_iovec_commit(self.memory, 0, one, 1))
  end
  local filled = random(one.capacity + 1)
  expect("commit of too much", -22, C.mr_iovec_set_length(one, one.capacity + 1))
  expect("set_length", 0, C.mr_iovec_set_length(one, filled))
  expect("commit", filled > 0 and 1 or 0, C.mr_iovec_commit(self.memory, 0, one, 1))
  self.bytes = self.bytes - (entry.counted - filled)
  entry.counted, entry.length, entry.capacity, entry.reserved = filled, filled, filled, false
  if filled == 0 then
    self:drop(slot)
    return
  end
  expect("commit twice", EINVAL, C.mr_iovec_commit(self.memory, 0, one, 1))
end

function operations:clone()
  local from, to = self:some_slot(), self:free_slot()
  if not from or not to then return end
  local entry = self.held[from]
  if entry.reserved then
    return expect("clone of a reservation", EBUSY, C.mr_iovec_clone(self.spare, self.iovecs + from))
  end
  local offset = random(entry.length + 2)
  local length = random(entry.length + 2)
  if random(3) == 0 then offset, length = 0, entry.length end
  local result = C.mr_iovec_clone_segment(self.iovecs + to, self.iovecs + from, offset, length)
  if offset + length > entry.length then return expect("clone outside", EINVAL, result) end
  expect("clone", 0, result)
  self:put(to, entry.allocation, length)
end

function operations:move()
  local from, to = self:some_slot(), self:free_slot()
  if not from or not to then return end
  local entry = self.held[from]
  ffi.copy(self.spare, self.iovecs + from, 32)
  expect("move", 0, C.mr_iovec_move(self.iovecs + to, self.iovecs + from))
  self.held[from], self.held[to] = nil, entry
  expect("release after move", ESTALE, C.mr_iovec_release(self.iovecs + from))
  expect("release of a copy after move", ESTALE, C.mr_iovec_release(self.spare))
end

function operations:release()
  local slot = self:some_slot()
  if not slot then return end
  local entry, one = self.held[slot], self.iovecs + slot
  check_bytes(entry, one)
  ffi.copy(self.spare, one, 32)
  expect("release", 0, C.mr_iovec_release(one))
  self:drop(slot)
  expect("second release", ESTALE, C.mr_iovec_release(one))
  expect("clone of a stale copy", ESTALE, C.mr_iovec_clone(self.spare + 1, self.spare))
  expect("use of a stale copy", true, C.mr_iovec_data(self.spare) == nil)
  expect("release of a stale copy", ESTALE, C.mr_iovec_release(self.spare))
end

function operations:refusals()
  expect("too many pieces", ENOBUFS, C.mr_iovec_alloc(self.memory, 3 * C.MR_SLAB_BYTES, 0, 2, 0, self.spare))
  expect("odd alignment", EINVAL, C.mr_iovec_alloc(self.memory, 100, 24, 1, 0, self.spare))
end

function Ledger:check_statistics()
  C.mr_memory_statistics_get(self.memory, self.statistics)
  expect("iovec_count", self.count, tonumber(self.statistics.iovec_count))
  expect("iovec_bytes", self.bytes, tonumber(self.statistics.iovec_bytes))
end

local choices = { "allocate", "allocate", "allocate", "commit", "clone", "clone", "move", "release", "release", "release",
  "release", "refusals" }

local function run(seed)
  state = seed
  local out = ffi.new("mr_memory *[1]")
  assert(C.mr_memory_create(0, out) == 0)
  local ledger = new_ledger(out[0])
  for number = 1, OPERATIONS do
    local name = choices[random(#choices) + 1]
    local ok, failure = pcall(operations[name], ledger)
    if ok then ok, failure = pcall(ledger.check_statistics, ledger) end
    if not ok then
      error(("MOONRING_SEED=%d, operation %d (%s): %s"):format(seed, number, name, tostring(failure)), 0)
    end
    if number % 1000 == 0 then C.mr_memory_tick(out[0], number * 1000000) end
  end
  local slot = ledger:some_slot()
  while slot do
    check_bytes(ledger.held[slot], ledger.iovecs + slot)
    assert.equal(0, C.mr_iovec_release(ledger.iovecs + slot))
    ledger:drop(slot)
    slot = ledger:some_slot()
  end
  ledger:check_statistics()
  assert.equal(0, ledger.count)
  assert.equal(0, tonumber(C.mr_memory_destroy(out[0])))
end

describe("iovecs, by random programs", function()
  it(("rows 2, 9, 16, 19: %d operations agree with a ledger (seed %d)"):format(OPERATIONS, SEED), function()
    print(("\niovec properties: MOONRING_SEED=%d"):format(SEED))
    run(SEED)
  end)

  it("rows 2, 9, 16, 19: the same in trace mode, without a report of what is not misuse", function()
    local OPERATIONS_TRACED = 3000
    C.mr_trace_enable(1)
    local path = os.tmpname()
    C.mr_trace_output(path)
    local all = OPERATIONS
    OPERATIONS = OPERATIONS_TRACED
    local ok, failure = pcall(run, SEED)
    OPERATIONS = all
    C.mr_trace_enable(0)
    C.mr_trace_output(nil)
    local text = io.open(path):read("*a")
    os.remove(path)
    assert(ok, failure)
    -- The programs misuse iovecs on purpose; but nothing is overwritten, and nothing leaks.
    assert.is_nil(text:find("write past the end", 1, true))
    assert.is_nil(text:find("write after release", 1, true))
    assert.is_nil(text:find("leak", 1, true))
    assert.is_truthy(text:find("double release", 1, true))
    assert.is_truthy(text:find("release after move", 1, true))
    assert.is_truthy(text:find("use of a copied iovec after the release", 1, true))
  end)
end)
