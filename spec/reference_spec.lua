-- The reference (docs/reference/, lua/types/) is what scripts/reference makes of the comments; every public name has one.

local annotations, reference = dofile "scripts/annotations.lua", dofile "scripts/reference.lua"

local function read_file(path)
  local file = io.open(path)
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

describe("the reference", function()
  local sources = reference.sources()
  local files, undocumented = reference.files(sources)

  it("is what scripts/reference writes", function()
    local stale = {}
    for path, text in pairs(files) do
      if read_file(path) ~= text then stale[#stale + 1] = path end
    end
    table.sort(stale)
    assert.equal("", table.concat(stale, "\n"), "scripts/reference writes them anew")
  end)

  it("has no pages of modules that are gone", function()
    local list = io.popen "ls docs/reference/*.md lua/types/*.lua"
    for path in list:lines() do assert.is_truthy(files[path], path) end
    list:close()
  end)

  it("has a sentence for every public name in the sources", function()
    assert.equal("", table.concat(undocumented, "\n"))
  end)

  it("has every name that the public modules have", function()
    local known = {}
    for _, entry in ipairs((annotations.all(sources))) do known[entry.name] = true end
    local missing = {}
    local function look(prefix, names, separator)
      for name in pairs(names) do
        local full = prefix .. separator .. tostring(name)
        if type(name) == "string" and not name:find "^_" and not known[full] then missing[#missing + 1] = full end
      end
    end
    for _, module in ipairs(annotations.PUBLIC) do
      local ok, names = pcall(require, module)
      if ok and type(names) == "table" then look(module, names, ".") end
    end
    look("moonring.Buffer", require("moonring.buffer").Buffer, ":")
    table.sort(missing)
    assert.equal("", table.concat(missing, "\n"))
  end)

  it("parses as Lua where editors read it", function()
    for path, text in pairs(files) do
      if path:find "%.lua$" then assert(loadstring(text, "@" .. path)) end
    end
  end)
end)
