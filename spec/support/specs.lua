-- Spec files that a spec writes, and the runs of moonring test over them.

local process = require "spec.support.process"

local M = {}

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

--- Makes a folder of files, of texts by name; a text alone is one_spec.lua. Returns its path.
function M.folder(files)
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  for name, text in pairs(type(files) == "string" and { ["one_spec.lua"] = files } or files) do
    if name:find "/" then os.execute(("mkdir -p %s/%s"):format(folder, name:match "^(.*)/")) end
    write(folder .. "/" .. name, text)
  end
  return folder
end

function M.remove(folder)
  os.execute("rm -rf " .. folder)
end

--- Runs spec files, as folder takes them, with `moonring test options .`, or with another command for the first two words.
--- Returns status and output.
function M.run(files, options, command)
  local folder = M.folder(files)
  local status, output = process.run(("cd %s && %s %s ."):format(folder, command or process.command "test", options or ""))
  M.remove(folder)
  return status, output
end

--- "1 2 3 4": what busted's closing line says of successes, failures, errors and pending tests.
function M.counts(output)
  local numbers = { output:match "(%d+) success%a* / (%d+) failures? / (%d+) errors? / (%d+) pending" }
  return table.concat(numbers, " ")
end

return M
