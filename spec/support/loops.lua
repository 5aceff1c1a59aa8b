-- Loops beside the one that runs the specs, turned by hand.

local native = require "moonring.native"

local C, ffi = native.C, native.ffi

local M = {}

--- Makes a loop; options are the fields of mr_loop_options.
function M.new(options)
  local out = ffi.new("mr_loop *[1]")
  assert(C.mr_loop_create(options and ffi.new("mr_loop_options", options), out) == 0)
  return out[0]
end

function M.statistics(loop)
  local out = ffi.new("mr_loop_statistics")
  C.mr_loop_statistics_get(loop, out)
  return out
end

return M
