local process = require "spec.support.process"

describe("what is installed", function()
  local directory = (os.getenv("MOONRING") or "build/moonring"):match("^(.*)/moonring$")
  local prefix, paths

  setup(function()
    prefix = os.tmpname()
    os.remove(prefix)
    paths = ("LD_LIBRARY_PATH=%s/lib:%s/lib/$(uname -m)-linux-gnu"):format(prefix, prefix)
    local status, output = process.run(("cmake --install %s --prefix %s"):format(process.quote(directory), prefix))
    assert(status == 0, output)
  end)

  teardown(function() process.run("rm -rf " .. prefix) end)

  it("gives a stock luajit `require 'moonring'`", function()
    if directory:find("sanitize") then return pending("a sanitized library can't be loaded by a plain program") end
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
    local status, output = process.run(("cd / && %s LUA_PATH='%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua;;' "
      .. "luajit -e %s"):format(paths, prefix, prefix, process.quote(script)))
    assert.equal("installed\tand running\n", output)
    assert.equal(0, status)
  end)

  it("gives a C program the library and its headers", function()
    if directory:find("sanitize") then return pending("a sanitized library can't be loaded by a plain program") end
    local source = [[
      #include <moonring/moonring.h>
      int main(void) {
        mr_loop *loop;
        return mr_abi() == MR_ABI && mr_loop_create(NULL, &loop) == 0 ? mr_loop_destroy(loop, 1) : 1;
      }
    ]]
    local status, output = process.run(("cd / && printf %%s %s | cc -std=c11 -Wall -Wextra -Werror -I%s/include "
      .. "-x c - -x none $(find %s/lib -name libmoonring.so) -o %s/program && %s %s/program")
      :format(process.quote(source), prefix, prefix, prefix, paths, prefix))
    assert.equal("", output)
    assert.equal(0, status)
  end)
end)
