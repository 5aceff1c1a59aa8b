-- Wraps the preprocessed public header as the Lua module moonring.cdef: `luajit scripts/cdef.lua INPUT OUTPUT`.
local input = assert(io.open(arg[1]))
local text = input:read("*a")
input:close()
local output = assert(io.open(arg[2], "w"))
output:write("-- Generated from runtime/moonring.h by the build. The declarations that Lua shares with C.\n")
output:write("return [==[\n", text, "]==]\n")
assert(output:close())
