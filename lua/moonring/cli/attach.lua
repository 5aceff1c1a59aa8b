-- moonring attach: a REPL inside a running service that has called moonring.repl.listen.
--
-- The line is edited here; blocks and completion are answered there.

local run = require "moonring.cli.run"

local M = {
  usage = "attach SOCKET",
}

-- The service's side of moonring.repl.front's backend.
local function remote_backend(connection, scope)
  local moonring, wire, output = require "moonring", require "moonring.repl.wire", require "moonring.repl.output"
  local backend = { ended = false, stopped = moonring.event() }
  local answers = { hello = moonring.channel(1), done = moonring.channel(1), candidates = moonring.channel(1) }
  local running = false

  local function ask(kind, text, answer)
    if backend.ended then return nil end
    connection:write(wire.frame(kind, text))
    local _, value = moonring.select { answer = answers[answer]:receive_op(), stopped = backend.stopped:wait_op() }
    return value
  end

  function backend.hello(columns, colour)
    return ask("hello", ("%d %s"):format(columns, tostring(colour)), "hello")
  end

  function backend.run(text)
    running = true
    local result = ask("run", text, "done")
    running = false
    return result == "1"
  end

  function backend.cancel()
    if running and not backend.ended then connection:write(wire.frame "cancel") end
    return running
  end

  function backend.complete(before)
    local text = ask("complete", before, "candidates") or "1"
    local candidates = {}
    local start, rest = text:match "^(%d+)\n?(.*)$"
    for name in (rest or ""):gmatch "[^\n]+" do candidates[#candidates + 1] = name end
    return tonumber(start) or 1, candidates
  end

  function backend.computing()
  end

  function backend.columns(columns)
    if not backend.ended then connection:write(wire.frame("columns", tostring(columns))) end
  end

  backend.reader = scope:spawn(function()
    local decoder = wire.decoder()
    for buffer in connection:chunks() do
      local frames, message = decoder:feed(buffer:to_string())
      if not frames then
        io.stderr:write("moonring: ", message, "\n")
        break
      end
      for _, frame in ipairs(frames) do
        if frame.kind == "output" then
          output.put(frame.text)
        elseif answers[frame.kind] then
          answers[frame.kind]:try_send(frame.text)
        end
      end
    end
    backend.ended = true
    backend.stopped:set()
  end):named "reader"
  return backend
end

local function attach(path)
  local moonring, net, front = require "moonring", require "moonring.net", require "moonring.repl.front"
  local errors = require "moonring.errors"
  return moonring.scope(function(scope)
    local connection, message, code = net.connect { path = path }
    if not connection then errors.raise(code, "attach: %s", message) end
    scope:own(connection)
    local backend = remote_backend(connection, scope)
    local name = backend.hello(front.columns(), front.wants_colour())
    if not name then errors.raise("closed", "attach: %s has refused the connection: it is another user's", path) end
    local ok = front.run { backend = backend, banner = "attached to " .. name, on_resize = backend.columns }
    if backend.ended then
      io.stderr:write "moonring: the service has ended the connection\n"
      ok = false
    end
    backend.reader:cancel()
    return ok
  end)
end

--- Attaches. Returns the exit status.
---@param arguments string[]
---@return integer status
function M.run(arguments)
  if #arguments ~= 1 then
    io.stderr:write("usage: moonring ", M.usage, "\n")
    return 1
  end
  return run.main({}, attach, arguments[1])
end

return M
