-- moonring.test.settings: what holds for the tests of a run, and for the one that runs. Internal.

local M = {
  deadline = 10, -- seconds for a test, unless it sets its own
  leaks = "fail", -- what is done about what a test leaves behind: fail, report, ignore
  jobs = false, -- how many worker processes at once run the files; false: this process does
  worker = false, -- the file that this process runs for another one that reports
  command = false, -- the words of the command line between the program and busted's arguments
  arguments = false, -- and those arguments, for workers
  slowest = false, -- how many tests and files to list at the end
  current = false, -- of the running test: { deadline =, allow_leaks =, set_deadline = }
}

--- Begins a test.
function M.begin()
  M.current = { deadline = M.deadline, allow_leaks = false }
  return M.current
end

--- Ends it.
function M.finish(own)
  if M.current == own then M.current = false end
end

return M
