local process = require "spec.support.process"

describe("what is installed", function()
  it("gives a stock luajit `require 'moonring'`", function()
    local directory = (os.getenv("MOONRING") or "build/moonring"):match("^(.*)/moonring$")
    if directory:find("sanitize") then return pending("a sanitized library can't be loaded by a plain program") end
    local prefix = os.tmpname()
    os.remove(prefix)
    local script = [[
      local moonring = require "moonring"
      moonring.run(function(...)
        moonring.sleep(0.001)
        local made = moonring.scope(function(scope)
          return scope:allocate(16):write("installed"):reset_for_read():to_string()
        end)
        print(made, ...)
      end, "and running")
    ]]
    local status, output = process.run(("cmake --install %s --prefix %s > /dev/null && cd / && "
      .. "LD_LIBRARY_PATH=%s/lib:%s/lib/$(uname -m)-linux-gnu "
      .. "LUA_PATH='%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua;;' luajit -e %s")
      :format(process.quote(directory), prefix, prefix, prefix, prefix, prefix, process.quote(script)))
    process.run("rm -rf " .. prefix)
    assert.equal("installed\tand running\n", output)
    assert.equal(0, status)
  end)
end)
