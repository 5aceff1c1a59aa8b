std = "luajit"
max_line_length = 125
cache = false
files["spec"] = { std = "+busted" }
files["lua/moonring/cli.lua"] = { globals = { "arg" } }
