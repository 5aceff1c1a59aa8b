local support = require "spec.support.process"

-- The findings by their subject: { level, text }.
local function findings_of(output)
  local findings, last = {}, nil
  for line in output:gmatch "[^\n]+" do
    local level, subject, text = line:match "^(%l+) +(.-)  +(.*)$"
    if level then
      last = { level = level, text = text }
      findings[subject] = last
    elseif last and line:match "^%s+%->" then
      last.remedy = line:match "^%s+%-> (.*)$"
    end
  end
  return findings
end

local function run(command)
  local status, output = support.run(command or support.command "doctor")
  return status, findings_of(output), output
end

describe("moonring doctor", function()
  it("finds that services can run where these specs do", function()
    local status, findings, output = run()
    assert.equal(0, status)
    assert.is_truthy(output:find "\nservices can run here %(%d+ ok, %d+ notes?, 0 problems%)\n$")
    for _, subject in ipairs { "kernel", "io_uring", "completions", "receive buffers", "a service", "open files", "memory",
      "huge pages", "seccomp", "kernel.io_uring_disabled", "moonring", "LuaJIT", "liburing", "zlib" } do
      assert.is_not_nil(findings[subject], subject .. " in\n" .. output)
      assert.is_not.equal("problem", findings[subject].level)
    end
    assert.is_truthy(findings.io_uring.text:find "^%d+ submissions, %d+ completions")
    assert.is_truthy(findings.zlib.text:find "^%d+%.%d+")
  end)

  for code, words in pairs {
    EPERM = "forbids io_uring", ENOSYS = "no usable io_uring", ENOMEM = "ulimit -l",
  } do
    it("says what is in the way when io_uring is refused with " .. code .. ", and ends with status 1", function()
      local status, output = support.run_injected("io_uring_setup:error=" .. code, support.command "doctor")
      assert.equal(1, status)
      local findings = findings_of(output)
      assert.equal("problem", findings.io_uring.level)
      assert.is_truthy(findings.io_uring.text:find(code, 1, true))
      assert.is_truthy(findings.io_uring.remedy:find(words, 1, true), output)
      assert.is_not_nil(findings.memory)
      assert.is_truthy(output:find("services cannot run here", 1, true))
    end)
  end

  it("finds too few descriptors, and few", function()
    local status, findings = run("ulimit -n 16; " .. support.command "doctor")
    assert.equal(1, status)
    assert.equal("problem", findings["open files"].level)
    assert.is_truthy(findings["open files"].text:find("^16, could be 16"))
    status, findings = run("ulimit -n 1000; " .. support.command "doctor")
    assert.equal(0, status)
    assert.equal("note", findings["open files"].level)
    assert.is_truthy(findings["open files"].remedy:find("LimitNOFILE=", 1, true))
  end)

  it("still says something without any descriptor to spare", function()
    local status, _, output = run("ulimit -n 4; " .. support.command "doctor")
    assert.equal(1, status)
    assert.is_truthy(output:find("services cannot run here", 1, true), output)
  end)

  it("notes small limits of locked memory and processes", function()
    local _, findings = run("prlimit --memlock=65536 --nproc=20 " .. support.command "doctor")
    assert.equal("note", findings["locked memory"].level)
    assert.equal("note", findings.processes.level)
  end)

  it("says which features the kernel refuses, and goes on without them", function()
    local cases = {
      -- The first set-up fails with EINVAL where the kernel doesn't know its flags.
      ["io_uring_setup:error=EINVAL:when=1"] = { "submissions" },
      ["io_uring_setup:error=EINVAL:when=1..2"] = { "submissions", "completions" },
      ["io_uring_register:error=EINVAL"] = { "ring descriptor" },
    }
    for fault, subjects in pairs(cases) do
      local status, output = support.run_injected(fault, support.command "doctor")
      local findings = findings_of(output)
      for _, subject in ipairs(subjects) do
        assert.equal("note", findings[subject].level, subject .. " in\n" .. output)
      end
      if fault:find "setup" then assert.equal(0, status, output) end
    end
  end)

  it("finds a service that can't listen", function()
    local status, output = support.run_injected("listen:error=EACCES", support.command "doctor")
    assert.equal(1, status)
    local findings = findings_of(output)
    assert.equal("problem", findings["a service"].level)
    assert.is_truthy(findings["a service"].text:find("EACCES", 1, true))
  end)
end)
