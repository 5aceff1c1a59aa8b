local messages = require "moonring.websocket.messages"
local wire = require "spec.websocket.wire"

local KEY = "\85\170\3\4"

local function frame(payload, fields)
  fields = fields or {}
  fields.opcode, fields.payload, fields.key = fields.opcode or 1, payload, KEY
  return wire.frame(fields)
end

local function read(pieces, options)
  options = options or {}
  options.role = "server"
  local out, message = {}, ""
  local reader = messages.reader(options)
  return wire.feed(reader, pieces, out, function(what, detail, value)
    if what == "control" then
      out[#out + 1] = ("control %d:%s"):format(detail, value)
      return
    end
    message = message .. detail:to_string()
    if value then
      out[#out + 1] = (reader:is_text() and "text:" or "binary:") .. message
      message = ""
    end
  end)
end

describe("websocket messages", function()
  local well_formed = "$\194\163\226\130\172\240\159\146\150\237\159\191\238\128\128\244\143\191\191."

  it("take text however its characters are cut by pieces", function()
    wire.every_split(frame(well_formed) .. frame "", function(pieces)
      assert.same({ "text:" .. well_formed, "text:" }, read(pieces))
    end)
  end)

  it("take text however its characters are cut by frames", function()
    for at = 0, #well_formed do
      for behind = at, #well_formed do
        local whole = frame(well_formed:sub(1, at), { fin = false })
          .. frame(well_formed:sub(at + 1, behind), { opcode = 0, fin = false })
          .. frame(well_formed:sub(behind + 1), { opcode = 0 })
        assert.same({ "text:" .. well_formed }, read { whole })
      end
    end
  end)

  for name, bad in pairs {
    ["a lone continuation"] = "a\128b",
    ["a surrogate"] = "\237\160\128",
    ["something overlong"] = "\192\175",
    ["something above U+10FFFF"] = "\244\144\128\128",
    ["a character that is cut at the end"] = "abc\226\130",
    ["a character that another follows too early"] = "\226\130\194\163",
  } do
    it("refuse text with " .. name .. ", however it is cut", function()
      wire.every_split(frame(bad), function(pieces)
        assert.same({ "refused 1007: a text message that is not UTF-8" }, read(pieces))
      end)
      assert.same({ "binary:" .. bad }, read { frame(bad, { opcode = 2 }) })
    end)
  end

  it("begin each message with no character of the one before", function()
    local bytes = frame("a\226", { opcode = 2 }) .. frame "\130" -- a binary message may end anywhere
    assert.same({ "binary:a\226", "refused 1007: a text message that is not UTF-8" }, read { bytes })
  end)

  it("bound a message, in one frame or many", function()
    local limit = { max_message_bytes = 10 }
    assert.same({ "binary:0123456789" }, read({ frame("0123456789", { opcode = 2 }) }, limit))
    assert.same({ "refused 1009: a frame of more than 10 bytes" }, read({ frame("0123456789a", { opcode = 2 }) }, limit))
    local fragments = frame("01234567", { opcode = 2, fin = false }) .. frame("89a", { opcode = 0 })
    assert.same({ "refused 1009: a message of more than 10 bytes" }, read({ fragments }, limit))
    assert.same({ "binary:0123456", "binary:0123456" },
      read({ frame("0123456", { opcode = 2 }):rep(2) }, limit)) -- each for itself
  end)

  it("give control frames between the parts of a message", function()
    local bytes = frame("a", { fin = false }) .. frame("ping", { opcode = 9 }) .. frame("b", { opcode = 0 })
    assert.same({ "control 9:ping", "text:ab" }, read { bytes })
  end)
end)
