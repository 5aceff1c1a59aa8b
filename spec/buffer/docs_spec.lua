describe("docs/buffers.md", function()
  local file = assert(io.open("docs/buffers.md"))
  local text = file:read("*a")
  file:close()
  local count = 0
  for code in text:gmatch("```lua\n(.-)```") do
    count = count + 1
    it(("says what is true in snippet %d"):format(count), function()
      local chunk = assert(loadstring(code, "=docs/buffers.md snippet " .. count))
      setfenv(chunk, setmetatable({ print = function() end }, { __index = _G }))
      chunk()
    end)
  end

  it("has snippets", function()
    assert.is_true(count >= 10)
  end)
end)
