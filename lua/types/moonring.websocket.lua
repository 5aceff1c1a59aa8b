---@meta moonring.websocket
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.WebSocket
local WebSocket = {}

--- Ends the WebSocket: sends a Close, waits for the peer's for a few seconds (nothing interrupts that), and closes the
--- connection. What the peer still sends is dropped unless another task receives. Closing again does nothing.
---@param code? integer RFC 6455 section 7.4.1, or 3000 to 4999; default 1000
---@param reason? string UTF-8, at most 123 bytes
function WebSocket:close(code, reason) end

--- The timer of ping_interval, from the scheduler.
function WebSocket:expired() end

--- Begins the end without waiting: sends a Close with code 1001, "going away" unless one has been sent, and lets whoever
--- receives see the peer's. What a server that stops does.
function WebSocket:go_away() end

--- Iterates over messages: `for message, kind in socket:messages() do`. Ends with the WebSocket, also when it fails.
function WebSocket:messages() end

--- The other side's address, as of connection:peer.
function WebSocket:peer() end

--- Sends a Ping; the peer answers with a Pong of the same payload, which receive takes note of.
---@param payload? string at most 125 bytes
---@return true? ok
---@return string? message
---@return string? code
function WebSocket:ping(payload) end

--- Bytes that the kernel has not taken.
---@return integer
function WebSocket:queued() end

--- Waits for the next message. Returns it and its kind; nil alone after the closing handshake (close_code and
--- close_reason tell); nil, message, code when the connection has failed ("ECONNRESET", "ETIMEDOUT"), or the peer has
--- broken the protocol ("EPROTO") or max_message_bytes ("EMSGSIZE").
---@return string? message
---@return string? kind "text" or "binary"; or the message of a failure
---@return string? code
function WebSocket:receive() end

--- The same as a buffer of the caller's: the received memory itself when the message lies in one piece there.
---@return moonring.Buffer? message
---@return string? kind
---@return string? code
function WebSocket:receive_buffer() end

--- Waits for the next part of a message: as much of it as is there. The buffer is lent until the next call.
---@return moonring.Buffer? part nil at the end, see receive
---@return boolean|string? is_last whether it ends its message
---@return string? kind
function WebSocket:receive_part() end

--- Sends a message and waits while too much is queued. A buffer's remaining bytes are taken without being copied when
--- there are many of them: they must not be changed any more, and its position becomes its limit.
---@param data string|moonring.Buffer|moonring.websocket.Prepared
---@param kind? "text"|"binary" default: text for a string, binary for a buffer
---@return true? ok
---@return string? message
---@return string? code "EPIPE" after the close
function WebSocket:send(data, kind) end

--- Sends a part of a message whose length is not known beforehand. Parts are not compressed. One task at a time.
---@param data string|moonring.Buffer
---@param is_last boolean
---@param kind? "text"|"binary" of the message, with its first part
---@return true? ok
---@return string? message
---@return string? code
function WebSocket:send_part(data, is_last, kind) end

--- Queues a prepared message without waiting, unless it can't go out now: a message of several parts is on its way, or
--- the WebSocket is closing. Whether it was queued.
---@param prepared moonring.websocket.Prepared
---@return boolean
function WebSocket:try_send(prepared) end

---@class moonring.websocket.Prepared
local Prepared = {}

--- Lets go of its memory; what has been sent stays until it has gone out.
function Prepared:close() end

--- Lets go of its memory; what has been sent stays until it has gone out.
function Prepared:release() end

---@class moonring.websocket.ConnectOptions: moonring.websocket.Options
---@field headers? table<string, string> further fields of the request, such as Origin and Authorization
local ConnectOptions = {}

--- for each connection; default false
---@class moonring.websocket.DeflateOptions
---@field context_takeover? boolean the windows stay from one message to the next: better compression, and some 300 KiB
---@field window_bits? integer 9 to 15, of both sides' windows; default 15
---@field level? integer 1 to 9, default zlib's
---@field min_bytes? integer shorter messages are sent as they are; default 128
local DeflateOptions = {}

---@class moonring.websocket.Options
---@field protocols? string[] subprotocols: those spoken, the best first; or those offered
---@field compress? moonring.websocket.DeflateOptions|true agree on permessage-deflate where the other side can; default no
---@field max_message_bytes? integer of a received message; default 1 MiB
---@field ping_interval? number seconds of silence after which the peer is pinged, and as many later given up
local Options = {}

---@class moonring.websocket.SessionOptions
---@field role "server"|"client"
---@field protocol? string
---@field agreement? moonring.websocket.DeflateAgreement
---@field compress? moonring.websocket.DeflateOptions with its defaults, where there is an agreement
---@field max_message_bytes? integer of a received message, decompressed; default 1 MiB
---@field ping_interval? number seconds without a sign of the peer after which it is pinged; as many later it is given up
---@field rest? moonring.Buffer bytes behind the handshake
local SessionOptions = {}

--- which browsers tell. Without it every page may
---@class moonring.websocket.UpgradeOptions: moonring.websocket.Options
---@field origins? string[]|fun(origin: string?): boolean which pages may open one: their origins ("https://example.org"),
---@field headers? table<string, string> further fields of the answer
local UpgradeOptions = {}

--- WebSockets (RFC 6455), with compression (RFC 7692) where both sides want it.
--- 
--- A server changes an HTTP request into one with upgrade, a client opens one with connect; both get the same object.
local module = {}

--- Sends to many without waiting for any: who has more than `max_queued` bytes waiting is left out, so one slow reader
--- holds up nobody and takes no memory without bound.
---@param sockets table<any, moonring.WebSocket> a list, or any table whose values they are
---@param data string|moonring.Buffer|moonring.websocket.Prepared
---@param options? { kind?: "text"|"binary", max_queued?: integer, on_slow?: fun(socket: moonring.WebSocket) }
---@return integer sent to so many
---@return integer skipped so many were too slow or have ended
function module.broadcast(sockets, data, options) end

--- Opens a WebSocket. It is the caller's to close: let a scope own it.
---@param url string ws://host/path
---@param options? moonring.websocket.ConnectOptions
---@return moonring.WebSocket? socket
---@return string? message
---@return string? code "ECONNREFUSED" ...; "EPROTO" when the server does not agree
function module.connect(url, options) end

--- Makes a message that may be sent on any number of WebSockets, any number of times.
---@param data string|moonring.Buffer what remains of it is copied
---@param kind? "text"|"binary" default: text for a string, binary for a buffer
---@return moonring.websocket.Prepared
function module.prepare(data, kind) end

--- Makes a WebSocket of an HTTP request that asks for one. Anything else is answered with the right status, and then
--- nil, message, code are returned. The handler goes on with the WebSocket; when it ends the connection is closed.
--- 
--- With `serve` the handler returns at once, and serve(socket) goes on when the request is over and nothing of it is held
--- any more, which takes half the memory for a connection that lasts.
---@param request moonring.http.Request
---@param response moonring.http.Response
---@param options? moonring.websocket.UpgradeOptions
---@param serve? fun(socket: moonring.WebSocket)
---@return moonring.WebSocket|true|nil socket true with `serve`
---@return string? message
---@return string? code "EPROTO"
function module.upgrade(request, response, options, serve) end

return module
