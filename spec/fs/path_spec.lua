local moonring = require "moonring"
local fs = require "moonring.fs"
local buffer = require "moonring.buffer"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local failures = require "spec.support.failures"

local code_of, raised = failures.code_of, failures.raised

local root

local function path_of(name)
  return root.path .. "/" .. name
end

local function shell(command)
  return process.shell("cd " .. process.quote(root.path) .. " && " .. command)
end

describe("fs", function()
  before_each(function()
    root = assert(fs.temporary_directory { prefix = "moonring spec " })
  end)
  after_each(function()
    assert(root:close())
  end)

  it("tells what a file is", function()
    shell "printf 12345 > file; chmod 640 file; ln -s file link; mkfifo fifo; mkdir directory"
    local status = assert(fs.stat(path_of "link"))
    assert.equal("file", status.kind)
    assert.equal(5, status.size)
    assert.equal(tonumber("640", 8), status.permissions)
    assert.equal(1, status.links)
    assert.is_true(math.abs(status.modified - moonring.wall()) < 60)
    assert.equal("link", fs.lstat(path_of "link").kind)
    assert.equal("fifo", fs.stat(path_of "fifo").kind)
    assert.equal("directory", fs.stat(path_of "directory").kind)
    assert.equal("character device", fs.stat("/dev/null").kind)
    assert.equal("ENOENT", code_of(fs.stat(path_of "nothing")))
    assert.is_true(fs.exists(path_of "file"))
    assert.is_false(fs.exists(path_of "nothing"))
    assert.is_false(fs.exists(path_of "file/below"))
    assert.is_true(fs.access(path_of "file", "rw"))
    assert.equal("file", fs.read_link(path_of "link"))
    assert.equal(assert(fs.real_path(path_of "file")), fs.real_path(path_of "directory/../link"))
    assert.equal("ENOENT", code_of(fs.real_path(path_of "nothing")))
    assert.equal("ELOOP", (function()
      shell "ln -s loop loop"
      return code_of(fs.stat(path_of "loop"))
    end)())
  end)

  it("renames, links and removes", function()
    assert(fs.write_file(path_of "a", "a"))
    assert(fs.write_file(path_of "b", "b"))
    assert.equal("EEXIST", code_of(fs.rename(path_of "a", path_of "b", "no_replace")))
    assert(fs.rename(path_of "a", path_of "b", "exchange"))
    assert.equal("a", fs.read_file(path_of "b"):read_string())
    assert(fs.rename(path_of "a", path_of "b"))
    assert.equal("b", fs.read_file(path_of "b"):read_string())
    assert(fs.link(path_of "b", path_of "second"))
    assert.equal(2, fs.stat(path_of "b").links)
    assert(fs.symlink("b", path_of "symbolic"))
    assert.equal("b", fs.read_file(path_of "symbolic"):read_string())
    assert(fs.unlink(path_of "b"))
    assert(fs.unlink(path_of "symbolic"))
    assert(fs.chmod(path_of "second", 384))
    assert(fs.utimes(path_of "second", nil, -1.5))
    assert.equal(-1.5, fs.stat(path_of "second").modified)
    assert(fs.chown(path_of "second"))
    assert.equal("second\n", shell "ls")
    assert.equal("EISDIR", code_of(fs.unlink(root.path)))
    assert.equal("ENOENT", code_of(fs.unlink(path_of "b")))
    assert.equal("argument", raised(fs.rename, path_of "a", path_of "b", "over"))
  end)

  it("makes directories, with those above", function()
    assert(fs.make_directory(path_of "one"))
    assert.equal("EEXIST", code_of(fs.make_directory(path_of "one")))
    assert(fs.make_directory(path_of "one", { parents = true }))
    assert(fs.make_directory(path_of "one/two//three/four/", { parents = true }))
    assert.equal("directory", fs.stat(path_of "one/two/three/four").kind)
    assert(fs.write_file(path_of "one/file", ""))
    assert.equal("EEXIST", code_of(fs.make_directory(path_of "one/file", { parents = true })))
    assert.equal("ENOTDIR", code_of(fs.make_directory(path_of "one/file/below", { parents = true })))
    assert.equal("ENOTEMPTY", code_of(fs.remove_directory(path_of "one")))
    assert(fs.remove_directory(path_of "one/two/three/four"))
  end)

  it("reads directories of any size, and walks trees with loops of links", function()
    shell "mkdir -p tree/a/b; touch tree/a/file tree/a/b/deep; ln -s ../.. tree/a/b/up; seq 3000 | xargs touch"
    local entries = assert(fs.read_directory(root.path))
    assert.equal(3001, #entries)
    assert.equal("1", entries[1].name)
    assert.equal("file", entries[1].kind)
    assert.equal("directory", entries[3001].kind)
    local count = 0
    moonring.scope(function(scope)
      local directory = scope:own(assert(fs.open_directory(root.path)))
      while directory:next() do
        count = count + 1
      end
    end)
    assert.equal(3001, count)
    local function walked(options)
      local list = {}
      for path, entry in fs.walk(path_of "tree", options) do
        list[#list + 1] = path:sub(#root.path + 2) .. ":" .. entry.kind
      end
      table.sort(list)
      return list
    end
    assert.same({ "tree/a/b/deep:file", "tree/a/b/up:link", "tree/a/b:directory", "tree/a/file:file", "tree/a:directory" },
      walked())
    assert.same({ "tree/a:directory" }, walked { depth = 0 })
    assert.equal(5, #walked { follow = true }) -- "up" leads to the tree itself, in which it has been
    assert.equal("ENOENT", code_of(fs.read_directory(path_of "nothing")))
    assert.equal("ENOTDIR", code_of(fs.read_directory(path_of "1")))
    local _, entry = fs.walk(path_of "nothing")()
    assert.equal("ENOENT", entry.code)
  end)

  it("removes trees, and never what links lead to", function()
    shell "mkdir -p outside victim/a/b/c; touch outside/precious victim/a/b/c/x; ln -s ../outside victim/link"
    shell "cd victim && seq 500 | xargs touch; ln -s ../../outside a/link"
    assert(fs.remove_tree(path_of "victim"))
    assert.equal("outside\nprecious\n", shell "ls; ls outside")
    shell "ln -s outside link"
    assert(fs.remove_tree(path_of "link"))
    assert.equal("outside\nprecious\n", shell "ls; ls outside")
    assert(fs.remove_tree(path_of "outside/precious"))
    assert.equal("ENOENT", code_of(fs.remove_tree(path_of "victim")))
  end)

  it("replaces files atomically, keeping permissions and links to them", function()
    assert(fs.write_file(path_of "file", "first", { permissions = 384 }))
    assert.equal(384, fs.stat(path_of "file").permissions)
    shell "chmod 640 file; ln -s file link"
    moonring.scope(function(scope)
      local old = scope:own(assert(fs.open(path_of "file")))
      assert(fs.write_file(path_of "link", buffer.wrap "second", { durable = true }))
      assert.equal("first", old:read(100):to_string())
    end)
    assert.equal("second", fs.read_file(path_of "file"):read_string())
    assert.equal("link", fs.lstat(path_of "link").kind)
    assert.equal(tonumber("640", 8), fs.stat(path_of "file").permissions)
    assert(fs.write_file(path_of "file", "third", { atomic = false }))
    assert.equal("file link\nthird", shell "echo *; cat file")
    assert.equal("EINVAL", code_of(fs.write_file(root.path, "x")))
    assert.equal("ENOENT", code_of(fs.write_file(path_of "no/file", "x")))
    assert.equal("argument", raised(fs.write_file, path_of "file", "x", { atomc = true }))
  end)

  it("shows readers the old contents or the new ones, never a part", function()
    local versions = { ("a"):rep(100000), ("b"):rep(150000) }
    assert(fs.write_file(path_of "file", versions[1]))
    moonring.scope(function(scope)
      local writer = scope:spawn(function()
        for i = 1, 40 do
          assert(fs.write_file(path_of "file", versions[i % 2 + 1]))
        end
      end)
      local reads = 0
      while not writer:has_ended() do
        local seen = fs.read_file(path_of "file")
        local text = seen:read_string()
        assert.is_true(text == versions[1] or text == versions[2])
        seen:release()
        reads = reads + 1
      end
      assert.is_true(reads > 0)
    end)
    assert.equal("file\n", shell "ls -A")
  end)

  it("reads files whole, also those that don't know their size, up to a bound", function()
    assert(fs.write_file(path_of "file", ("x"):rep(10000)))
    assert.equal(10000, #fs.read_file(path_of "file"))
    assert.equal(10000, #fs.read_file(path_of "file", 10000))
    assert.equal("EFBIG", code_of(fs.read_file(path_of "file", 9999)))
    assert.matches("^Name:", fs.read_file("/proc/self/status"):read_string())
    assert.equal("EFBIG", code_of(fs.read_file("/proc/self/status", 10)))
    assert.equal("EISDIR", code_of(fs.read_file(root.path)))
    assert.equal(0, #fs.read_file("/dev/null"))
    local long = ("0123456789abcdef"):rep(600000)
    assert(fs.write_file(path_of "long", long))
    local seen = fs.read_file(path_of "long")
    assert.is_true(seen:read_string() == long)
    seen:release()
  end)

  it("gives lines at every split, with a bound", function()
    local expected = {}
    for i = 1, 3000 do
      expected[i] = ("%d "):format(i):rep(i % 90)
    end
    assert(fs.write_file(path_of "file", table.concat(expected, "\n")))
    local i = 0
    for line in fs.lines(path_of "file") do
      i = i + 1
      assert.equal(expected[i], line)
    end
    assert.equal(3000, i)
    assert(fs.write_file(path_of "dos", "one\r\ntwo\r\n\r\nlast"))
    local lines = {}
    for line in fs.lines(path_of "dos") do
      lines[#lines + 1] = line
    end
    assert.same({ "one", "two", "", "last" }, lines)
    assert.equal("EMSGSIZE", raised(function()
      for _ in fs.lines(path_of "dos", 2) do end -- luacheck: ignore
    end))
    assert.equal("ENOENT", raised(fs.lines, path_of "nothing"))
    moonring.scope(function()
      assert.equal("", fs.lines(path_of "file")():sub(3)) -- and not to its end: the scope closes it
    end)
    assert.is_true(eventually(function() return moonring.stats().calls == 0 end))
  end)

  it("copies, by the kernel or by hand, and tells its progress", function()
    local text = ("copied "):rep(500000)
    assert(fs.write_file(path_of "from", text, { permissions = 493 }))
    local steps = {}
    assert.equal(#text, fs.copy(path_of "from", path_of "to", { progress = function(bytes) steps[#steps + 1] = bytes end }))
    assert.equal(#text, steps[#steps])
    assert.is_true(fs.read_file(path_of "to"):read_string() == text)
    assert.equal(493, fs.stat(path_of "to").permissions)
    assert(fs.write_file(path_of "short", "short"))
    assert.equal(5, fs.copy(path_of "short", path_of "to", { durable = true }))
    assert.equal("short", fs.read_file(path_of "to"):read_string())
    assert.equal("EEXIST", code_of(fs.copy(path_of "short", path_of "to", { exclusive = true })))
    assert.equal("EINVAL", code_of(fs.copy(path_of "short", path_of "short")))
    assert.equal("short", fs.read_file(path_of "short"):read_string())
    assert.is_true(fs.copy("/proc/self/status", path_of "proc") > 100)
    assert.matches("^Name:", fs.read_file(path_of "proc"):read_string())
    assert.equal("EISDIR", code_of(fs.copy(root.path, path_of "directory")))
  end)

  it("makes temporary files and directories that their scope removes", function()
    local directory, name
    moonring.scope(function(scope)
      local nameless = scope:own(assert(fs.temporary_file { directory = root.path }))
      assert(nameless:write "nobody sees it")
      assert.equal("nobody sees it", nameless:read(100, 0):to_string())
      assert.equal("", shell "ls -A")
      local named = scope:own(assert(fs.temporary_file { directory = root.path, named = true }))
      name = named.name
      assert.equal(384, fs.stat(name).permissions)
      directory = scope:own(assert(fs.temporary_directory { directory = root.path }))
      assert(fs.write_file(directory.path .. "/inside", "x"))
      local kept = scope:own(assert(fs.temporary_file { directory = root.path, prefix = "kept" }))
      assert(kept:write "kept")
      assert(kept:rename_to(path_of "kept"))
      local linked = scope:own(assert(fs.temporary_file { directory = root.path }))
      assert(linked:write "linked")
      local ok, _, code = linked:link_to(path_of "linked")
      assert.is_true(ok or code == "ENOENT")
    end)
    assert.is_true(eventually(function() return not fs.exists(name) and not fs.exists(directory.path) end))
    assert.equal("kept", fs.read_file(path_of "kept"):read_string())
  end)
end)
