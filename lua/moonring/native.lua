-- moonring.native: the C library as Lua modules see it. Internal; everything above goes through here.
--
-- In the moonring executable the library's symbols are the program's own; under a stock luajit they come from
-- libmoonring.so. Types and methods are attached once for the life of the process: a spec runner may unload and reload
-- modules, and LuaJIT's metatypes can't be set a second time.

local ffi = require "ffi"

ffi.cdef(require "moonring.cdef")

local ok, linked = pcall(function()
  return ffi.C.mr_abi and ffi.C
end)
local C = ok and linked or ffi.load "moonring"

local abi = C.mr_abi()
if abi ~= C.MR_ABI then
  error(("moonring: the library speaks interface %d and these Lua modules %d; install both from one version")
    :format(abi, C.MR_ABI), 0)
end

-- The compiler may read a field again after a C call that changed it (see docs/luajit.md); without fused loads it
-- doesn't. The other limits keep a service of many handlers compiled instead of flushing its traces.
require("jit.opt").start("-fuse", "maxtrace=8000", "maxmcode=8192", "sizemcode=512")

return {
  ffi = ffi,
  C = C,
}
