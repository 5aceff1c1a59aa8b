-- moonring.test.settings: what holds for the tests of a run, and for the one that runs. Internal.

local M = {
  deadline = 10, -- seconds for a test, unless it sets its own
  leaks = "fail", -- what is done about what a test leaves behind: fail, report, ignore
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
