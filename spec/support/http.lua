-- HTTP servers and raw clients for specs.

local moonring = require "moonring"
local http = require "moonring.http"
local net = require "moonring.net"
local assert = require "luassert"

local M = {}

--- Runs body(connect, server) beside a server; connect() gives a raw connection to it.
function M.with_server(handler, body, options)
  return moonring.scope(function(scope)
    local server = assert(http.server(options or {}))
    local serving = scope:spawn(server.serve, server, handler)
    body(function()
      return scope:own(assert(net.connect { port = server.port }))
    end, server)
    serving:cancel()
  end)
end

--- A request without content.
function M.get(path, fields)
  return ("GET %s HTTP/1.1\r\nHost: test\r\n%s\r\n"):format(path, fields or "")
end

--- A request with content of known length.
function M.post(path, content_type, content, fields)
  return ("POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s"):format(path, content_type,
    #content, fields or "", content)
end

--- Reads one response of known length. Returns its status, body, head, and what came behind it.
function M.read_response(connection, rest)
  local text = rest or ""
  while not text:find("\r\n\r\n", 1, true) do
    local buffer = connection:read()
    if not buffer then return nil, text end
    text = text .. buffer:to_string()
  end
  local head, body = text:match("^(.-\r\n\r\n)(.*)$")
  local length = tonumber(head:match("[Cc]ontent%-[Ll]ength: (%d+)")) or 0
  while #body < length do
    body = body .. assert(connection:read()):to_string()
  end
  return tonumber(head:match("^HTTP/1%.1 (%d+)")), body:sub(1, length), head, body:sub(length + 1)
end

--- Sends a request to a server and reads its answer.
function M.ask(connect, text)
  local client = connect()
  client:write(text)
  return M.read_response(client)
end

--- Sends a request in two pieces, cut at every place, and asserts that each time the answer is that content.
function M.assert_answer_at_every_split(connect, text, content)
  local client = connect()
  for split = 1, #text - 1 do
    client:write(text:sub(1, split))
    client:flush()
    moonring.sleep(0)
    client:write(text:sub(split + 1))
    local status, body = M.read_response(client)
    assert.equal(200, status)
    assert.equal(content, body)
  end
end

return M
