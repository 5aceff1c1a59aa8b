-- moonring.lua_io: print, io and os.execute as the executable has them: what they write goes through moonring.stdio.
--
-- That module is loaded by the first that writes, so a start that prints nothing doesn't pay for it.

local require = require

local M = {}

local stdio

-- By file: 1 for standard output, 2 for standard error.
local numbers = { [io.stdout] = 1, [io.stderr] = 2 }
local outputs = {}

local function load()
  stdio = require "moonring.stdio"
  outputs[1], outputs[2] = stdio.stdout, stdio.stderr
end

-- A file's output, nil when it is none of the two.
local function output_of(file)
  local number = numbers[file]
  if not number then return nil end
  if not stdio then load() end
  return outputs[number]
end

-- A function that hands the process's place on a terminal or in a pipe to somebody else.
local function flushing(fn)
  return function(...)
    if stdio then stdio.flush_now() end
    return fn(...)
  end
end

-- Replaces a method of files where the file is one of ours.
local function replace(methods, name, method)
  local original = methods[name]
  methods[name] = function(file, ...)
    local output = output_of(file)
    if output then return method(output, ...) end
    return original(file, ...)
  end
end

local function replace_io()
  local default = io.output()
  local io_write, io_flush, io_output, io_close = io.write, io.flush, io.output, io.close
  -- luacheck: push ignore 122
  function io.write(...)
    local output = output_of(default)
    if output then return stdio.write_all(output, select("#", ...), ...) end
    return io_write(...)
  end
  function io.flush()
    local output = output_of(default)
    if output then return stdio.flush_some(output) end
    return io_flush()
  end
  function io.output(...)
    default = io_output(...)
    return default
  end
  function io.close(...)
    local output = select("#", ...) == 0 and output_of(default)
    if output then return stdio.flush_some(output) end
    return io_close(...)
  end
  io.read, io.lines, io.popen = flushing(io.read), flushing(io.lines), flushing(io.popen)
  os.execute = flushing(os.execute)
  -- luacheck: pop
end

local function replace_methods(methods)
  replace(methods, "write", function(output, ...) return stdio.write_all(output, select("#", ...), ...) end)
  replace(methods, "flush", function(output) return stdio.flush_some(output) end)
  replace(methods, "setvbuf", function(output, mode)
    output:setvbuf(mode)
    return true
  end)
  replace(methods, "close", function(output)
    stdio.flush_some(output)
    return nil, "cannot close standard file"
  end)
  methods.read = flushing(methods.read)
end

--- Makes print and io write through moonring.stdio. Again does nothing.
function M.install()
  if M.installed then return end
  M.installed = true
  function _G.print(...)
    if not stdio then load() end
    stdio.print_to(outputs[1], select("#", ...), ...)
  end
  replace_io()
  replace_methods(getmetatable(io.stdout).__index)
end

return M
