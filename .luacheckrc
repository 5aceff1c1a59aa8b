std = "luajit"
max_line_length = 125
cache = false
exclude_files = { "lua/types" } -- for editors: nothing in it is used
files["scripts/bench/wrk_report.lua"] = { globals = { "init", "request", "done", "wrk" } }
files["spec"] = { std = "+busted" }
files["lua/moonring/cli"] = { globals = { "arg" } }
