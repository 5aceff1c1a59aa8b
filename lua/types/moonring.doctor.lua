---@meta moonring.doctor
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Finding
---@field level "ok"|"note"|"problem"
---@field subject string
---@field text string
---@field remedy? string
local Finding = {}

--- whether services can run here, and how well: the kernel, io_uring and what of it is in use, limits,
--- libraries. Each finding is a line, what to change stands below it.
--- 
--- Levels: "ok"; "note", which costs speed or bounds what a service can do; "problem", with which none can run.
local module = {}

--- Looks at everything. Returns the findings in their order, and whether services can run.
---@param version? string of the executable
---@return moonring.Finding[] findings
---@return boolean can_run
function module.examine(version) end

--- Prints what examine has found. Returns the exit status: 0 when services can run.
---@param version? string
---@return integer
function module.run(version) end

return module
