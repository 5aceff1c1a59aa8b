-- The man page and the shell completion know the same options as the program.

local options = require "moonring.cli.options"
local process = require "spec.support.process"

local function complete(line)
  local words = {}
  for word in (line .. "|"):gmatch "[^ ]+" do words[#words + 1] = process.quote((word:gsub("|", ""))) end
  local _, output = process.run("bash -c " .. process.quote((
    "source docs/moonring.bash; COMP_WORDS=(%s); COMP_CWORD=%d; _moonring; printf '%%s\\n' \"${COMPREPLY[@]}\""):format(
    table.concat(words, " "), #words - 1)))
  return "\n" .. output
end

describe("the command line's pages", function()
  it("have every option and subcommand", function()
    local page = process.read_file("docs/moonring.1"):gsub("\\%-", "-")
    local offered, commands = complete "moonring -", complete "moonring "
    for name in pairs(options.long) do
      assert.is_truthy(page:find("--" .. name, 1, true), name)
      assert.is_truthy(offered:find("\n--" .. name, 1, true), name)
      assert.is_truthy(options.USAGE:find("--" .. name, 1, true), name)
    end
    for letter in ("e l i j O v h"):gmatch "%a" do
      assert.is_truthy(page:find("-" .. letter, 1, true), letter)
      assert.is_truthy(offered:find("\n-" .. letter .. "\n", 1, true), letter)
      assert.is_truthy(options.USAGE:find("\n  -" .. letter, 1, true), letter)
    end
    for name in pairs(options.commands) do
      assert.is_truthy(page:find("moonring " .. name, 1, true), name)
      assert.is_truthy(commands:find("\n" .. name .. "\n", 1, true), name)
    end
  end)

  it("complete by what stands before", function()
    assert.is_truthy(complete("moonring test --l"):find("\n--leaks=\n", 1, true))
    assert.equal("\n\n", complete "moonring new na")
    assert.is_truthy(complete("moonring exam"):find("\nexamples\n", 1, true))
  end)

  it("are a man page without mistakes", function()
    if process.run("command -v man") ~= 0 then return pending "man is not installed" end
    local _, warnings = process.run("MANROFFSEQ= MANWIDTH=100 man --warnings -E UTF-8 -l docs/moonring.1 2>&1 >/dev/null")
    assert.equal("", warnings)
  end)
end)
