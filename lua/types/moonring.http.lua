---@meta moonring.http
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.http.ClientResponse
---@field status integer
---@field reason string the server's phrase, often empty
---@field version string "1.1" or "1.0"
---@field ok boolean whether the status is from 200 to 299
---@field url string where it came from, after redirects
---@field redirects integer how many there were
local ClientResponse = {}

--- The content, or what is left of it, as a string; of a stream at most `max` bytes.
---@param max? integer bytes; default 16 MiB
---@return string? body
---@return string? message
---@return string? code "EMSGSIZE" when it is longer, and then the response is closed
function ClientResponse:body(max) end

--- Iterates over the parts of the content. What is cut or can't be read is raised, because a loop would end as if it were
--- whole.
function ClientResponse:chunks() end

--- Gives a stream's connection up when its content has not been read to its end. Closing again does nothing.
function ClientResponse:close() end

--- The value of the first field of that name, in any case; nil when there is none.
---@param name string
---@return string?
function ClientResponse:header(name) end

--- The values of all fields of that name, in their order.
---@param name string
---@return string[]
function ClientResponse:header_all(name) end

--- Iterates over all fields as sent: `for name, value in response:headers() do`.
function ClientResponse:headers() end

--- The content as what its JSON says; null is moonring.http.json's null.
---@return any value
---@return string? message
---@return string? code "EBADMSG"
function ClientResponse:json() end

--- Waits for the next part of the content. The buffer is lent until the next call.
---@return moonring.Buffer? part nil at the end
---@return string? message
---@return string? code
function ClientResponse:read() end

--- A trailer field's value, after the content has been read to its end.
---@param name string
---@return string?
function ClientResponse:trailer(name) end

---@class moonring.http.Events
local Events = {}

--- Sends a comment, which clients ignore: now and then one keeps proxies from closing, and finds out whether the
--- client is there.
---@param text? string
---@return true? ok
---@return string? message
---@return string? code
function Events:comment(text) end

--- Sends an event. Waits while the client lags.
---@param event moonring.http.Event|string the event, or its data alone
---@return true? ok
---@return string? message when the client has gone
---@return string? code
function Events:send(event) end

---@class moonring.http.Part
---@field name? string of the form's field
---@field filename? string as the client has it: never a path to open
---@field content_type? string
---@field fields string[] all fields of the part: name, value, name, value ...
local Part = {}

--- Iterates over the pieces of its content. What can't be read is raised.
function Part:chunks() end

--- Waits for the next piece of the part's content.
---@return string? piece nil at its end
---@return string? message
---@return string? code "EMSGSIZE" over a limit, "EBADMSG"
function Part:read() end

--- All of its content, of at most `max` bytes.
---@param max? integer
---@return string? text
---@return string? message
---@return string? code
function Part:text(max) end

---@class moonring.http.Parts
local Parts = {}

--- Waits for the next part. What is left of the one before is passed over.
---@return moonring.http.Part? part nil at the end
---@return string? message
---@return string? code "EPROTOTYPE" when the content is no such form, "EBADMSG", "EMSGSIZE", "ECONNRESET"
function Parts:next() end

---@class moonring.http.Request
---@field method string
---@field target string as sent
---@field path string the target up to the query, as sent: percent-encoded
---@field query? string behind the first "?", as sent
---@field query_parameters table<string, string> of the query, decoded; of several with one name the first
---@field host? string the authority that is asked: Host, or that of an absolute target
---@field content_length? integer bytes of the body; nil when it comes in chunks
---@field version string "1.1" or "1.0"
---@field cookies table<string, string>
---@field peer? moonring.Address the other end of the connection: the client, or the proxy before it
---@field client? string the client's IP address: that of the peer, or what trusted proxies say; nil on a Unix socket
---@field scheme string "http", or what a trusted proxy says: "https"
---@field upgrades boolean the client offers to change to the protocol that its field Upgrade names
---@field parameters? table<string, string> of the route, set by a router
local Request = {}

--- The whole body, or what is left of it, as a string, of at most `max` bytes (else the server's limit body_bytes).
---@param max? integer bytes
---@return string? body
---@return string? message
---@return string? code "EMSGSIZE" when it is longer
function Request:body(max) end

--- Iterates over the parts of the body. A body that is cut or can't be read is raised, because a loop would end as if it
--- were whole; left alone, that becomes the answer: 400, 413.
function Request:chunks() end

--- The fields of a form (application/x-www-form-urlencoded), of at most `max` bytes: the first value of each name, and the
--- list of all pairs: name, value, name, value ...
---@param max? integer bytes
---@return table<string, string>? values
---@return string[]|string pairs or message
---@return string? code "EPROTOTYPE" when it is no form
function Request:form(max) end

--- The value of the first field of that name, in any case; nil when there is none.
---@param name string
---@return string?
function Request:header(name) end

--- The values of all fields of that name, in their order.
---@param name string
---@return string[]
function Request:header_all(name) end

--- Iterates over all header fields as sent: `for name, value in request:headers() do`.
function Request:headers() end

--- The value of a JSON body of at most `max` bytes. null is moonring.http.json.null, inside of arrays and objects too.
---@param max? integer bytes
---@return any value nil where it can't be read; nothing valid is nil
---@return string? message
---@return string? code "EPROTOTYPE" when it is not JSON by its type, "EBADMSG" when it is malformed
function Request:json(max) end

--- Bounds the body of this request, below the server's limit body_bytes: for routes that take less, and before it is read.
--- What is longer is then told to whoever reads it, and answered with 413.
---@param max number bytes
---@return moonring.http.Request self
function Request:limit_body(max) end

--- The parts of multipart/form-data: `for part in request:multipart() do`. Each part is to be read, or is passed over,
--- before the next one; see moonring.http.multipart. In a loop what can't be read is raised, and what is no such form,
--- too; left alone that becomes the answer: 400, 413, 415. `parts:next()` returns it.
---@param limits? moonring.http.MultipartLimits
---@return moonring.http.Parts
function Request:multipart(limits) end

--- The first value of a name in the query, decoded.
---@param name string
---@return string?
function Request:parameter(name) end

--- All values of a name in the query, decoded.
---@param name string
---@return string[]
function Request:parameter_all(name) end

--- Waits for the next part of the body. The buffer is lent until the next part is read or the handler ends.
---@return moonring.Buffer? part nil at the end of the body
---@return string? message when the client has left before it, or what it sends can't be read
---@return string? code "ECONNRESET", "EBADMSG", "EMSGSIZE" ...
function Request:read() end

--- A trailer field's value, after a body has been read to its end.
---@param name string
---@return string?
function Request:trailer(name) end

---@class moonring.http.Response
local Response = {}

--- Adds a field to the response to come, beside any of that name.
---@param name string
---@param value string
---@return moonring.http.Response self
function Response:add_field(name, value) end

--- Begins a stream of server-sent events: see moonring.http.events.
---@param fields? table<string, string|string[]>
---@return moonring.http.Events? events
---@return string? message
---@return string? code
function Response:events(fields) end

--- Answers with a file of the caller's choice, as moonring.http.static does: with its type, conditions and ranges. A
--- path that is made of what a client has sent is for http.static, which keeps it below a directory.
---@param path string
---@param options? moonring.http.FileOptions
---@return true? ok
---@return string? message
---@return string? code "ENOENT" ...: nothing has been sent, and the handler answers otherwise
function Response:file(path, options) end

--- Ends the content that was written in pieces; the end of the handler does that too.
---@param trailers? table<string, string|string[]> fields behind the content; only where it goes out in chunks
---@return true? ok
---@return string? message when less was written than the length that was announced, or the client has gone
---@return string? code
function Response:finish(trailers) end

--- Waits until all that has been written is the kernel's.
---@return true? ok
---@return string? message
---@return string? code
function Response:flush() end

--- Sends an interim response before the final one, such as 103 with Link fields. Clients of HTTP/1.0 get none.
---@param status integer 100, or 102 to 199
---@param fields? table<string, string|string[]>
---@return true? ok
---@return string? message
---@return string? code
function Response:inform(status, fields) end

--- Whether the request is a HEAD: what is written is dropped then, so it need not be fetched.
---@return boolean
function Response:is_head() end

--- Sends a value as JSON. Raises "argument" for what has no JSON form, and "unavailable" without lua-cjson.
---@param status integer
---@param value any
---@param fields? table<string, string|string[]>
---@return true? ok
---@return string? message
---@return string? code
function Response:json(status, value, fields) end

--- Sends the client to another place.
---@param location string a URI or a path, percent-encoded
---@param status? integer default 302 (Found); 301, 303, 307, 308
---@return true? ok
---@return string? message
---@return string? code
function Response:redirect(location, status) end

--- Sends the response: status, body and the length of it. A buffer's memory is sent as it is and must not be changed
--- any more.
---@param status? integer 200 to 999; nil: that of set_status, or 200
---@param body? string|moonring.Buffer
---@param fields? table<string, string|string[]> header fields; Content-Type is text/plain unless it is among them
---@return true? ok
---@return string? message
---@return string? code
function Response:send(status, body, fields) end

--- Sets a cookie with the response to come: see moonring.http.codec.cookie for the attributes.
---@param name string
---@param value string
---@param attributes? moonring.http.CookieAttributes
---@return moonring.http.Response self
function Response:set_cookie(name, value, attributes) end

--- Sets a field of the response to come, in the place of any of that name; nil takes it away.
---@param name string
---@param value? string
---@return moonring.http.Response self
function Response:set_field(name, value) end

--- Sets the status of the response to come, where the call that sends it names none.
---@param status integer
---@return moonring.http.Response self
function Response:set_status(status) end

--- Sends the head of a response whose content is written in pieces after it.
---@param status? integer
---@param fields? table<string, string|string[]>
---@param length? number bytes of the content, where it is known; otherwise it goes out in chunks
---@return true? ok
---@return string? message
---@return string? code
function Response:start(status, fields, length) end

--- Changes to another protocol: sends 101 (or, for a CONNECT, 200) and hands the connection over. It is the handler's
--- until that returns, and is closed then. Bytes that have come behind the request are in the buffer: they come
--- before any that the connection reads, and its read gives that buffer back, so they are to be taken first
--- (connection:extend adds to them).
--- 
--- With `serve` the connection is not the handler's: it goes to serve(connection, unread) once the handler has returned,
--- when nothing of the request is held any more. That takes some 6 KiB less for a connection that lasts.
---@param protocol? string for the field Upgrade; none for CONNECT
---@param fields? table<string, string|string[]>
---@param serve? fun(connection: moonring.Connection, unread: moonring.Buffer)
---@return moonring.Connection connection
---@return moonring.Buffer unread
function Response:upgrade(protocol, fields, serve) end

--- Writes a piece of the content: a string, or a buffer's remaining bytes, which are sent as they are. The first one
--- sends the head where start has not. Waits while too much is queued.
---@param data string|moonring.Buffer
---@return true? ok
---@return string? message when the client has gone
---@return string? code
function Response:write(data) end

--- Writes bytes of an open file as a piece of the content, without copying them where that can be: see
--- connection:write_file.
---@param file moonring.File
---@param offset integer bytes from its beginning
---@param length integer bytes, which the file must have
---@return true? ok
---@return string? message when the client has gone, or the file was too short
---@return string? code
function Response:write_file(file, offset, length) end

---@class moonring.http.Router
local Router = {}

--- A router for what lies below a prefix, with middleware of its own behind that of this one.
---@param prefix string begins with a slash and does not end with one
---@return moonring.http.Router
function Router:group(prefix) end

--- The router as a handler. http.serve takes the router itself, too.
---@return fun(request: moonring.http.Request, response: moonring.http.Response)
function Router:handler() end

--- Sets the handler of what no route matches; without one it is answered with 404.
---@param handler function
---@return moonring.http.Router self
function Router:missing(handler) end

--- Adds a route. Middleware of its own may stand before the handler.
---@param method string
---@param pattern string
---@param ... function middleware, then the handler
---@return moonring.http.Router self
function Router:route(method, pattern, ...) end

--- Adds middleware to all routes of this router, those that are there already included. On the outermost router it is run
--- for what is not found, too.
---@param fn fun(request: moonring.http.Request, response: moonring.http.Response, next: function)
---@return moonring.http.Router self
function Router:use(fn) end

---@class moonring.http.Server
---@field port integer
local Server = {}

--- The address that it listens on.
---@return moonring.Address
function Server:address() end

--- Ends the service as cancelling it does: for scopes.
function Server:close() end

--- Serves until the server is stopped, its task is cancelled, or the listener fails, which raises.
---@param handler fun(request: moonring.http.Request, response: moonring.http.Response)|moonring.http.Router
function Server:serve(handler) end

--- What it has done.
---@return moonring.http.Statistics
function Server:statistics() end

--- Ends the service in order: no new connections, idle ones are closed at once, requests in progress get their answer
--- and "Connection: close" with it. Waits for that, `seconds` at most (default 30), and cancels what is left then. A
--- handler that calls it is not waited for. serve returns when all have ended.
---@param seconds? number
---@return boolean finished whether nothing had to be cancelled
function Server:stop(seconds) end

---@class moonring.http.Session
local Session = {}

--- Closes the idle connections, and those in use with the end of their responses.
function Session:close() end

--- Makes a request and waits for its response, whatever its status. Unless stream is set, the whole content is there when it
--- returns.
---@param url string|moonring.http.RequestOptions
---@param options? moonring.http.RequestOptions
---@return moonring.http.ClientResponse? response
---@return string? message
---@return string? code "ECONNREFUSED", "ECONNRESET", "EBADMSG": no HTTP, "EMSGSIZE", "ELOOP": too many redirects ...
function Session:request(url, options) end

---@class moonring.http.AccessLogOptions
---@field path? string standard output when left out
---@field format? "common"|"combined"|fun(entry: moonring.http.LogEntry): string of a line, without its end; default "common"
local AccessLogOptions = {}

--- let in
---@class moonring.http.BasicAuthOptions
---@field users? table<string, string> passwords by user
---@field realm? string what the dialogue says; default "this server"
local BasicAuthOptions = {}

---@class moonring.http.CompressOptions
---@field min_bytes? integer shorter content is sent as it is; default 1024
---@field max_bytes? integer longer content is, too, because compressing holds the loop; default 1 MiB
---@field level? integer 1 to 9; default 4
local CompressOptions = {}

--- or all
---@class moonring.http.CorsOptions
---@field methods? string[] that they may use; default GET, HEAD, POST, PUT, PATCH and DELETE
---@field headers? string[] that they may send; default: what the browser asks for
---@field expose? string[] fields of the answer that they may read, besides the usual ones
---@field credentials? boolean with cookies and passwords; not with origins = "*"
---@field max_age? integer seconds that a browser need not ask again; default 600
local CorsOptions = {}

---@class moonring.http.Event
---@field data? string of any number of lines
---@field event? string its type
---@field id? string what a client that comes back tells in its field Last-Event-ID
---@field retry? integer milliseconds after which a client that has lost the connection comes back
local Event = {}

---@class moonring.http.FileOptions
---@field media_type? string in the place of that of the file's name
---@field fields? table<string, string> further fields
---@field cache_control? string
---@field gzip? boolean compress what gains by it; default false
local FileOptions = {}

---@class moonring.http.LogEntry
---@field request moonring.http.Request
---@field status integer
---@field bytes number of the response's content that were sent
---@field seconds number from the head to the answer
---@field peer string the client's address without its port; where proxies are trusted, request.client
local LogEntry = {}

---@class moonring.http.RateLimitOptions
---@field per_second number requests that a client may make for ever; 1/60 is one per minute
---@field burst? number so many at once after a pause; default: what 10 seconds bring, at least 1
---@field clients? integer of so many is taken note; default 10000
local RateLimitOptions = {}

--- by piece; write waits for room, and returns false when the server wants no more
---@class moonring.http.RequestOptions
---@field url? string
---@field method? string default GET, or POST with a body
---@field headers? table<string, string|string[]>
---@field query? table<string, any>|string[] added to the URL's own
---@field body? string|moonring.Buffer|fun(write: fun(data: string|moonring.Buffer): boolean) a function writes it piece
---@field content_length? integer of a body that a function writes; without it it goes in chunks
---@field form? table<string, any>|string[] the body, as application/x-www-form-urlencoded
---@field json? any the body, as JSON
---@field expect_continue? boolean ask before the body is sent
---@field stream? boolean the response's content is read by the caller, who closes the response
---@field decompress? boolean default true: gzip and deflate are asked for and undone
---@field redirects? integer default the session's
---@field max_bytes? integer default the session's
---@field user? string
---@field password? string
local RequestOptions = {}

--- standard output, a table with a path and a format, or a function
--- addresses, networks ("10.0.0.0/8"), and "unix"
---@class moonring.http.ServeOptions: moonring.ListenOptions
---@field listener? moonring.Listener what to listen on, in the place of host and port
---@field limits? moonring.http.Limits what is accepted; fields left out keep their default
---@field timeouts? moonring.http.Timeouts seconds that clients have; fields left out keep their default
---@field access_log? string|boolean|moonring.http.AccessLogOptions|fun(entry: moonring.http.LogEntry) a path, true for
---@field trusted_proxies? string[] whose X-Forwarded-For and X-Forwarded-Proto count for request.client and request.scheme:
local ServeOptions = {}

--- no_proxy say
---@class moonring.http.SessionOptions
---@field base_url? string what relative URLs begin at
---@field headers? table<string, string> sent with every request that does not set them itself
---@field connections? integer to one server at most; default 16
---@field idle? number seconds that an unused connection is kept; default 60
---@field proxy? string URL of an HTTP proxy, with user and password where it wants them; "environment": what http_proxy and
---@field no_proxy? string[] hosts that are asked directly: "example.org", with all below it, "host:8080", "127.0.0.1", "*"
---@field cookies? boolean keep what servers set, and send it back; default false
---@field user? string with password: basic authentication (RFC 7617), for the origin of base_url or of the first request
---@field password? string
---@field redirects? integer followed at the most; default 10
---@field max_bytes? integer of a content that is not streamed, decompressed; default 16 MiB
---@field limits? moonring.http.Limits of heads
local SessionOptions = {}

---@class moonring.http.StaticOptions
---@field index? string what a directory answers with; default "index.html"
---@field hidden? boolean serve names that begin with a dot
---@field links? "inside"|"any" whether links may lead out of the root; default "inside": they may not
---@field cache_control? string the field Cache-Control of files
---@field fields? table<string, string> further fields of files
---@field gzip? boolean compress what gains by it, and use FILE.gz where that is there; default true
---@field recheck? number seconds until a file is looked at anew; default 1
---@field cache_count? integer files that stay open; default 256
---@field cache_bytes? integer content that stays in memory; default 32 MiB
---@field cache_file_bytes? integer of one file that stays there; default 256 KiB
local StaticOptions = {}

---@class moonring.http.Statistics
---@field connections integer open ones
---@field requests integer since the start
---@field refused integer heads that were no request
---@field failed integer handlers that raised, or ended without an answer
---@field timed_out integer requests that a timeout has ended
local Statistics = {}

---@class moonring.http.Timeouts
---@field idle number seconds between requests, and before the first
---@field head number from a head's first byte to its last
---@field body number between two pieces of a body
---@field request number from a request's first byte to the last of its body
---@field write number in which a client takes nothing of what is sent to it
local Timeouts = {}

--- HTTP servers.
local module = {}

--- Middleware that asks for user and password: see moonring.http.middleware.basic_auth.
---@param options moonring.http.BasicAuthOptions
---@return function
function module.basic_auth(options) end

--- Middleware that compresses what handlers send: see moonring.http.middleware.compress.
---@param options? moonring.http.CompressOptions
---@return function
function module.compress(options) end

--- Middleware that lets pages of other origins read answers: see moonring.http.middleware.cors.
---@param options moonring.http.CorsOptions
---@return function
function module.cors(options) end

--- An IMF-fixdate (RFC 9110 section 5.6.7), in English whatever the locale. The last one is kept.
---@param seconds number since 1970-01-01 00:00:00 UTC
---@return string date such as "Sun, 06 Nov 1994 08:49:37 GMT"
function module.date(seconds) end

--- Writes a query or a form: from a list of name, value ..., or from a table of name = value (in the names' order).
---@param pairs_ table
---@return string
function module.format_pairs(pairs_) end

--- Takes a query or a form apart. Result: a list of name, value, name, value ... in their order, or nil and why not.
---@param text string
---@return string[]? pairs
---@return string? message
function module.parse_pairs(text) end

--- Replaces %XX by the byte. A percent sign without two digits stays as it is.
---@param text string
---@return string
function module.percent_decode(text) end

--- Replaces all but letters, digits and -._~ by %XX, and leaves the characters of `keep` too: "/" for a path.
---@param text string
---@param keep? string
---@return string
function module.percent_encode(text, keep) end

--- Middleware that bounds how often a client may ask: see moonring.http.middleware.rate_limit.
---@param options moonring.http.RateLimitOptions
---@return function
function module.rate_limit(options) end

--- Makes a request and waits for its response: see moonring.http.client.
---@param url string|moonring.http.RequestOptions
---@param options? moonring.http.RequestOptions
---@return moonring.http.ClientResponse? response
---@return string? message
---@return string? code
function module.request(url, options) end

--- A router: see moonring.http.router.
---@return moonring.http.Router
function module.router() end

--- Serves HTTP/1.1: `handler(request, response)` for each request, in the task of its connection. Returns as
--- net.serve does; a service that can't listen raises.
--- ```lua
--- local http = require "moonring.http"
--- 
--- local router = http.router()
--- router:get("/hello/{name}", function(request, response)
---   response:send(200, "Hello, " .. request.parameters.name .. "!\n")
--- end)
--- http.serve({ port = 8080 }, router)
--- ```
---@param where moonring.http.ServeOptions|moonring.Listener
---@param handler fun(request: moonring.http.Request, response: moonring.http.Response)|moonring.http.Router
---@param options? moonring.http.ServeOptions when `where` is a listener
function module.serve(where, handler, options) end

--- Makes a server that listens already and serves once `serve` is called.
---@param options moonring.http.ServeOptions
---@return moonring.http.Server? server
---@return string? message
---@return string? code "EADDRINUSE" ...
function module.server(options) end

--- A session for requests that have connections, fields or a proxy in common: see moonring.http.client.
---@param options? moonring.http.SessionOptions
---@return moonring.http.Session
function module.session(options) end

--- A handler that answers with the files below a directory: see moonring.http.static.
---@param root string
---@param options? moonring.http.StaticOptions
---@return fun(request: moonring.http.Request, response: moonring.http.Response)
function module.static(root, options) end

return module
