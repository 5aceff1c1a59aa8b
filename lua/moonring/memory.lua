-- moonring.memory: the loop's native memory and Lua's collector. Internal.
--
-- The collector sees some 50 bytes of a buffer that holds 64 KiB. So C counts the bytes that Lua objects hold, and
-- whoever makes such an object calls pay(): when the count has grown by MR_COLLECT_BYTES, or by half, since the last
-- collection, a full one runs. A full one, because only its end frees anything, and because that is the cheapest per
-- byte.
--
-- What Lua lends to C (strings behind wrapped iovecs) is anchored here until C says that nobody needs it.

local native = require "moonring.native"
local loop = require "moonring.loop"

local C, ffi = native.C, native.ffi

local M = {}

local known_loop, handle, account
local anchors, anchor_serial, anchor_count = {}, 0, 0
local ANCHORS_AT_ONCE = 64
local released = ffi.new("int32_t[?]", ANCHORS_AT_ONCE)

local function look_up(of_loop)
  known_loop = of_loop
  handle = C.mr_loop_memory(of_loop)
  account = C.mr_memory_account_of(handle)
end

--- The loop's mr_memory.
function M.handle()
  local now = loop.handle()
  if now ~= known_loop then look_up(now) end
  return handle
end

--- Collects now: what Lua has forgotten is freed when this returns.
function M.collect()
  collectgarbage()
  M.handle()
  local held = account.lua_bytes
  local growth = held / 2
  if growth < C.MR_COLLECT_BYTES then growth = C.MR_COLLECT_BYTES end
  account.collect_at = held + growth
end

--- Calls fn(...), which has failed for want of memory, once more: what is freed by a collection may be enough.
function M.try_again(fn, ...)
  M.collect()
  return fn(...)
end

--- To be called after a Lua object was made that holds native memory: collects when it is time.
function M.pay()
  if account.lua_bytes > account.collect_at then M.collect() end
end

--- Bytes of native memory that Lua objects hold.
function M.held()
  M.handle()
  return tonumber(account.lua_bytes)
end

--- Lets go of what C needs no more.
function M.drop_anchors()
  local memory = M.handle()
  repeat
    local count = C.mr_memory_anchors_released(memory, released, ANCHORS_AT_ONCE)
    for i = 0, count - 1 do
      anchors[released[i]] = nil
    end
    anchor_count = anchor_count - count
  until count < ANCHORS_AT_ONCE
end

--- Keeps a value alive until C has released the number that this returns.
function M.anchor(value)
  M.drop_anchors()
  repeat
    anchor_serial = anchor_serial % 2147483647 + 1
  until anchors[anchor_serial] == nil
  anchors[anchor_serial] = value
  anchor_count = anchor_count + 1
  return anchor_serial
end

--- Takes back an anchor that C never got.
function M.unanchor(number)
  anchors[number] = nil
  anchor_count = anchor_count - 1
end

--- How many values are anchored.
function M.anchor_count()
  return anchor_count
end

-- The loop's event: anchors were released, or memory is short.
function loop.on_memory(short)
  M.drop_anchors()
  if short ~= 0 then M.collect() end
end

return M
