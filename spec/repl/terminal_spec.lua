-- The REPL driven in a real terminal: each thing that a person expects of it.

local moonring = require "moonring"
local process = require "spec.support.process"
local terminal = require "spec.support.terminal"

local function with_repl(body, arguments, options)
  return function()
    moonring.scope(function(scope)
      body(terminal.repl(scope, arguments, options), scope)
    end)
  end
end

local function with_file(code)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(code)
  file:close()
  return path
end

describe("at a terminal", function()
  it("prints expressions without return, and keeps the last value in _", with_repl(function(repl)
    repl:enter "20 + 1"
    repl:expect "\n21\n> $"
    repl:enter "_ * 2"
    repl:expect "\n42\n> $"
    repl:enter "1, nil, 'two'"
    repl:expect '\n1\nnil\n"two"\n> $'
    repl:enter "x = 5"
    repl:enter "return x"
    repl:expect "\n5\n> $"
  end))

  it("keeps locals of earlier lines", with_repl(function(repl)
    repl:enter "local a, b = 1, 2"
    repl:enter "local function add() return a + b end"
    repl:enter "a = 10"
    repl:enter "add()"
    repl:expect "\n12\n> $"
    repl:enter "rawget(_G, 'a')"
    repl:expect "\nnil\n> $"
  end))

  it("goes on with blocks over several lines", with_repl(function(repl)
    repl:enter "for i = 1, 2 do"
    repl:expect ">> $"
    repl:enter "print('round', i)"
    repl:enter "end"
    repl:expect "round\t?%s*1\nround\t?%s*2\n> $"
    repl:enter "{7,"
    repl:enter "8}"
    repl:expect "\n{ 7, 8 }\n> $"
    repl:enter "'abc"
    repl:expect "unfinished string"
  end))

  it("runs the loop while nothing is typed", with_repl(function(repl)
    repl:enter "moonring = require 'moonring'"
    repl:enter "task = moonring.after(0.1, function() print 'timer' end)"
    repl:expect "timer\n> $"
  end))

  it("lets a line wait", with_repl(function(repl)
    repl:enter "require 'moonring'.sleep(0.05) return 'woken'"
    repl:expect '\n"woken"\n> $'
  end))

  it("doesn't trample the line with what tasks print", with_repl(function(repl)
    repl:enter "moonring = require 'moonring'"
    repl:enter "task = moonring.every(0.05, function() print 'tick' io.write 'part' io.stderr:write 'ial\\n' end)"
    repl:type "'typed slowly'"
    repl:expect "tick\npartial\ntick\npartial\n> 'typed slowly'$"
    repl:press "Enter"
    repl:expect '> \'typed slowly\'\n"typed slowly"\n'
    repl:enter "task:cancel()"
    moonring.sleep(0.1)
    local text = repl:screen(true)
    assert.is_falsy(text:find "\ntick[^\n]", text)
    assert.is_falsy(text:find "> tick", text)
  end))

  it("tells of a background task that fails, and goes on", with_repl(function(repl)
    repl:enter "moonring = require 'moonring'"
    repl:enter "task = moonring.spawn(function() moonring.sleep(0.05) error 'oh no' end):named 'worker'"
    repl:expect '%[task %d+ "worker" failed%] repl:2:1: oh no\n.*spawned at repl:2:1\n> $'
    repl:enter "1 + 1"
    repl:expect "\n2\n> $"
  end))

  describe("Ctrl-C", function()
    it("drops the text that is typed", with_repl(function(repl)
      repl:type "some text"
      repl:expect "some text$"
      repl:press "C-c"
      repl:expect "> some text^C\n> $"
      repl:enter "1"
      repl:expect "\n1\n> $"
    end))

    it("drops a block that isn't complete", with_repl(function(repl)
      repl:enter "for i = 1, 2 do"
      repl:expect ">> $"
      repl:press "C-c"
      repl:expect "%^C\n> $"
    end))

    it("cancels a line that waits", with_repl(function(repl)
      repl:enter "require 'moonring'.sleep(1000)"
      repl:expect "1000%)$"
      moonring.sleep(0.1)
      repl:press "C-c"
      repl:expect "%^C\ncancelled\n> $"
    end))

    it("interrupts a line that computes", with_repl(function(repl)
      repl:enter "while true do end"
      moonring.sleep(0.2)
      repl:press "C-c"
      repl:expect "%^C\ninterrupted\n> $"
      repl:enter "local n = 0 for i = 1, 1e12 do n = n + i end"
      moonring.sleep(0.2)
      repl:press "C-c"
      repl:expect "interrupted\n> local.*interrupted\n> $"
    end))

    it("says how to leave at an empty prompt", with_repl(function(repl)
      repl:press "C-c"
      repl:expect "C%-d ends\n> $"
    end))

    it("stops a background task that holds the loop", with_repl(function(repl)
      repl:enter "require 'moonring'.spawn(function() while true do end end) return 'started'"
      moonring.sleep(0.3)
      repl:press "C-c"
      moonring.sleep(0.7)
      repl:expect "failed%] interrupted.*> $"
    end))

    it("is the REPL's before it is that of who has subscribed to INT", with_repl(function(repl)
      repl:enter "moonring = require 'moonring'"
      repl:enter "signals = moonring.signal 'INT'"
      repl:enter "task = moonring.spawn(function() for name in signals:each() do print('got ' .. name) end end)"
      repl:type "some text"
      repl:expect "some text$"
      repl:press "C-c"
      repl:expect "> some text%^C\n> $"
      repl:enter "moonring.sleep(1000)"
      repl:expect "1000%)$"
      moonring.sleep(0.1)
      repl:press "C-c"
      repl:expect "%^C\ncancelled\n> $"
      repl:enter "while true do end"
      moonring.sleep(0.2)
      repl:press "C-c"
      repl:expect "%^C\ninterrupted\n> $"
      repl:press "C-c" -- on an empty line it is nothing to the REPL
      repl:expect "interrupted\ngot INT\n> $"
      repl:press "C-c"
      repl:expect "got INT\ngot INT\n> $"
      repl:enter "signals:close()"
      repl:expect "close%(%)\n> $"
      repl:press "C-c"
      repl:expect "C%-d ends\n> $"
    end))
  end)

  it("ends by Ctrl-D on an empty line", with_repl(function(repl)
    repl:press "C-d"
    assert.equal(0, repl:wait())
  end))

  it("says by Ctrl-D that tasks go on, and ends when they do", with_repl(function(repl)
    repl:enter "local m = require 'moonring' m.spawn(function() m.sleep(0.5) print 'last words' end)"
    repl:press "C-d"
    repl:expect "1 task still runs; C%-c ends it"
    assert.equal(0, repl:wait())
    repl:expect "last words"
  end))

  it("leaves the terminal as it was", function()
    moonring.scope(function(scope)
      local home = os.tmpname()
      os.remove(home)
      local repl = terminal.start(scope, ("sh -c 'stty -a > %s.1; XDG_STATE_HOME=%s %s; stty -a > %s.2; echo done; cat'")
        :format(home, home, process.command():gsub("'", ""), home))
      repl:expect "> $"
      repl:press "C-d"
      repl:expect "done"
      assert.equal(0, os.execute(("cmp %s.1 %s.2"):format(home, home)))
      os.execute(("rm -rf %s %s.1 %s.2"):format(home, home, home))
    end)
  end)

  for _, signal in ipairs { "TERM", "HUP", "SEGV" } do
    it("leaves the terminal as it was when it ends by SIG" .. signal, function()
      moonring.scope(function(scope)
        local home = os.tmpname()
        os.remove(home)
        local path = with_file(([[
          stty -a > %s.1
          XDG_STATE_HOME=%s %s &
          echo $! > %s.pid
          fg
          stty -a > %s.2
          echo done
          cat
        ]]):format(home, home, process.command(), home, home))
        local repl = terminal.start(scope, "bash -i " .. path)
        repl:expect "> $"
        local file = io.open(home .. ".pid")
        local pid = file:read "*a"
        file:close()
        os.execute(("kill -%s %s"):format(signal, pid))
        repl:expect "done"
        assert.equal(0, os.execute(("cmp %s.1 %s.2"):format(home, home)))
        os.execute(("rm -rf %s %s %s.*"):format(path, home, home))
      end)
    end)
  end

  it("completes names, members and methods of cdata, and shows the choices", with_repl(function(repl)
    repl:enter "buf = require 'moonring.buffer'.allocate(8)"
    repl:type "buf:remai"
    repl:press "Tab"
    repl:expect "buf:remaining$"
    repl:press "C-u"
    repl:type "string.re"
    repl:press "Tab"
    repl:expect "> string.re\nrep%s+reverse$"
    repl:press "Tab"
    repl:expect "> string.rep\n"
    repl:press "Enter"
    repl:type "('x', 3)"
    repl:press "Enter"
    repl:expect '\n"xxx"\n> $'
  end))

  it("keeps the history in a file that is its owner's alone, by blocks, and searches it", function()
    local home = os.tmpname()
    os.remove(home)
    with_repl(function(repl)
      repl:enter "first = 'needle'"
      repl:enter "do"
      repl:enter "print 'block'"
      repl:enter "end"
      repl:expect "block\n> $"
      repl:press "C-d"
      repl:wait()
    end, "", { home = home })()
    local _, mode = process.run("stat -c %a " .. home .. "/moonring/history")
    assert.equal("600\n", mode)
    with_repl(function(repl)
      repl:press "Up"
      repl:expect "> do\n>> print 'block'\n>> end$"
      repl:press "C-c"
      repl:press "C-r"
      repl:type "need"
      repl:expect "%(search%) need: first = 'needle'"
      repl:press "Enter"
      repl:enter "first"
      repl:expect '\n"needle"\n> $'
    end, "", { home = home })()
    os.execute("rm -rf " .. home)
  end)

  it("edits lines that are wider than the terminal, with wide characters", with_repl(function(repl)
    repl:type(("'" .. ("a"):rep(60) .. "'"))
    repl:expect("a'$")
    repl:press "Home"
    repl:press "Right"
    repl:type "日本"
    repl:expect "> '日本aaa"
    assert.equal(7, (repl:cursor()))
    repl:press "BSpace"
    repl:expect "> '日aaa"
    repl:press "Enter"
    repl:expect "\"日aa"
  end, "", { columns = 40 }))

  it("follows the terminal's size", with_repl(function(repl)
    repl:type(("x"):rep(50))
    repl:expect "xxx$"
    repl:resize(30, 24)
    moonring.sleep(0.5) -- tmux wraps by itself at once; what counts is what is there when the REPL has drawn, too
    repl:expect("> " .. ("x"):rep(28) .. "\n" .. ("x"):rep(22) .. "$")
    repl:resize(80, 24)
    moonring.sleep(0.5)
    repl:expect("> " .. ("x"):rep(50) .. "$")
    local text = repl:screen(true)
    assert.is_falsy(text:find "xx.*\n> xx", text)
  end))

  it("takes a paste as text, not as lines that are entered one by one", with_repl(function(repl)
    local path = with_file "a = 1\nb = 2\nprint(a + b)"
    repl:tmux("load-buffer", path)
    repl:tmux("paste-buffer", "-p")
    repl:expect "> a = 1\n>> b = 2\n>> print%(a %+ b%)$"
    repl:press "Enter"
    repl:expect "\n3\n> $"
    os.remove(path)
  end))

  it("prints no colours where NO_COLOR is set, and some where it isn't", function()
    local function bytes(colour)
      local result
      moonring.scope(function(scope)
        local repl = terminal.repl(scope, "", { colour = colour })
        repl:enter "'text'"
        repl:expect "\n\"text\"\n> $"
        result = repl:tmux("capture-pane", "-p", "-e")
      end)
      return result
    end
    assert.is_falsy(bytes(false):find "\27%[32m")
    assert.is_truthy(bytes(true):find "\27%[32m\"text\"")
  end)

  it("works on a terminal that can't be edited on", function()
    moonring.scope(function(scope)
      local repl = terminal.repl(scope, "", { term = "dumb" })
      repl:enter "1 + 1"
      repl:expect "\n2\n> $"
      repl:enter "while true do end"
      moonring.sleep(0.2)
      repl:press "C-c"
      repl:expect "interrupted\n> $"
      repl:press "C-d"
      assert.equal(0, repl:wait())
    end)
  end)

  it("stops by Ctrl-Z and goes on", function()
    moonring.scope(function(scope)
      local home = os.tmpname()
      os.remove(home)
      local repl = terminal.start(scope, ("bash --norc -i"))
      repl:enter("PS1='shell: '; XDG_STATE_HOME=" .. home .. " NO_COLOR=1 " .. process.command():gsub("'", ""))
      repl:expect "\n> $"
      repl:type "'kept'"
      repl:press "C-z"
      repl:expect "Stopped.*shell: *$"
      repl:enter "fg"
      repl:expect "> 'kept'$"
      repl:press "Enter"
      repl:expect '\n"kept"\n> $'
      os.execute("rm -rf " .. home)
    end)
  end)

  it("opens after a script with -i, whose globals it sees", function()
    local path = with_file "answer = 42 local moonring = require 'moonring' moonring.spawn(moonring.sleep, 0.01)"
    with_repl(function(repl)
      repl:enter "answer"
      repl:expect "\n42\n> $"
    end, "-i " .. path)()
    os.remove(path)
  end)

  it("opens from code, while other tasks run on", function()
    local path = with_file [[
      local moonring = require "moonring"
      local ticks = 0
      local ticker = moonring.every(0.01, function() ticks = ticks + 1 end)
      require("moonring.repl").start { locals = { get = function() return ticks end } }
      print("after", ticks > 0)
      ticker:cancel()
    ]]
    with_repl(function(repl)
      repl:enter "get() > 0"
      repl:expect "\ntrue\n> $"
      repl:press "C-d"
      repl:expect "after%s+true"
      assert.equal(0, repl:wait())
    end, path)()
    os.remove(path)
  end)

  it("answers its commands", with_repl(function(repl)
    repl:enter ":help sleep"
    repl:expect "moonring.sleep%(seconds%)\nWaits for"
    repl:enter ":help"
    repl:expect ":tasks"
    repl:enter ":tasks"
    repl:expect "task 1 main: waits for"
    repl:enter ":stats"
    repl:expect "turns = %d+"
    repl:enter ":slabs"
    repl:expect "slab_bytes = %d+"
    repl:enter ":time require 'moonring'.sleep(0.01)"
    repl:expect "0%.0%d+ s, 0%.%d+ s of them computing"
    repl:enter ":jit"
    repl:expect "the compiler is on; what is typed is interpreted"
    local path = with_file "return 'loaded'"
    repl:enter(":load " .. path)
    repl:expect '\n"loaded"\n> $'
    os.remove(path)
    repl:enter ":nothing"
    repl:expect "there is no command :nothing"
  end))

  it("shows buffers as hex and text with position and limit, and connections with their peers", with_repl(function(repl)
    repl:enter "buf = require 'moonring.buffer'.wrap 'GET / HTTP/1.1\\r\\n' buf:seek(4) return buf"
    repl:expect "position=4 limit=16 capacity=16.*47 45 54 20|2f 20.*GET / HTTP/1%.1"
    repl:enter "net = require 'moonring.net' l = net.listen {} c = net.connect { port = l.port } return c"
    repl:expect "peer=127%.0%.0%.1:%d+%)\n  local address 127%.0%.0%.1:%d+\n  0 bytes queued for sending"
    repl:enter "require 'moonring'.spawn(function() l:accept() l:accept() end):named 'acceptor'"
    repl:expect "moonring.Task %d+ acceptor %(ready%)"
  end))
end)
