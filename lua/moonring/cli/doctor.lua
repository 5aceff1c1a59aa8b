-- moonring doctor: see moonring.doctor.

local M = {
  usage = "doctor",
}

--- Looks at the machine and prints what it finds. Returns the exit status.
---@param _ string[]
---@param version string
---@return integer status
function M.run(_, version)
  return require("moonring.doctor").run(version)
end

return M
