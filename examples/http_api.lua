-- A JSON API: notes that are kept in memory.
--   moonring examples/http_api.lua [port]
--   curl -d '{"text":"buy milk"}' -H 'Content-Type: application/json' localhost:8080/notes
local http = require "moonring.http"
local json = require "moonring.http.json"

local port = tonumber(arg[1] or 8080) or error("usage: http_api.lua [port]", 0)
local notes, last_id = {}, 0
local router = http.router()

-- Middleware runs before the handlers, and for what is not found, too.
router:use(function(request, response, next)
  response:set_field("Cache-Control", "no-store")
  return next(request, response)
end)

router:missing(function(request, response)
  response:json(404, { error = "there is no " .. request.path })
end)

router:get("/notes", function(request, response)
  local wanted, found = request:parameter "contains", {}
  for id = 1, last_id do
    local note = notes[id]
    if note and (not wanted or note.text:find(wanted, 1, true)) then found[#found + 1] = { id = id, text = note.text } end
  end
  response:json(200, { notes = json.array(found), count = #found }) -- an array also when there are none
end)

router:post("/notes", function(request, response)
  local note, message = request:json(10000)
  if type(note) ~= "table" or type(note.text) ~= "string" then
    return response:json(422, { error = message or "a note is an object with a text" })
  end
  last_id = last_id + 1
  notes[last_id] = { text = note.text }
  response:json(201, { id = last_id, text = note.text }, { Location = "/notes/" .. last_id })
end)

router:get("/notes/{id}", function(request, response)
  local note = notes[tonumber(request.parameters.id)]
  if not note then return response:json(404, { error = "no such note" }) end
  response:json(200, note)
end)

router:delete("/notes/{id}", function(request, response)
  notes[tonumber(request.parameters.id) or 0] = nil
  response:send(204)
end)

local server = assert(http.server { port = port, limits = { body_bytes = 100000 } })
print("listening on http://" .. tostring(server:address()))
server:serve(router)
