---@meta moonring.http.codec
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.http.Body
---@field left number bytes of the content, or of the chunk, that have not been handed on
---@field received number bytes of the content that have been handed on
---@field trailers? string[] name, value, name, value ...; set at the end of a chunked body that had any
local Body = {}

--- Begins the body that a head announces.
---@param head moonring.http.Head
---@param limits? moonring.http.Limits
---@return moonring.http.Body self
function Body:begin(head, limits) end

--- Tells it that the stream has ended. Result: whether the body was complete with that.
---@return boolean
function Body:end_of_stream() end

--- Whether all of it has been handed on.
---@return boolean
function Body:is_done() end

--- Whether it is known to be over the limit before it has come.
---@return boolean
function Body:is_refused() end

--- Lowers the limit of this body; what has been handed on counts.
---@param max number bytes of content
function Body:limit(max) end

--- The next run of content in the buffer: its length, and the offset in the buffer where it lies; the buffer's position is
--- behind it afterwards. Call it until it returns nil, then again with more bytes behind the remaining ones.
---@param buffer ffi.cdata* mr_buffer with the received bytes in [position, limit)
---@return integer|boolean|nil count bytes; 0: the body is complete; nil: more bytes are needed; false: refuse and close
---@return integer? offset , or the status of the refusal
---@return string? message why it is refused
function Body:next(buffer) end

--- The head of a request or a response. Made once and used for one message after the other.
---@class moonring.http.Head
---@field index ffi.cdata* the mr_head that the kernel fills
---@field minor_version integer 1 for HTTP/1.1 and later, 0 for HTTP/1.0
---@field keep_alive boolean the connection may carry another message after this one
---@field has_body boolean there is content, or there may be
---@field content_length number? bytes of the content where the head tells, 0 when there is none
---@field is_chunked boolean the content ends with its last chunk
---@field is_until_close boolean it ends with the connection (responses only)
---@field expect_continue boolean the client waits for codec.continue before it sends the body
---@field upgrade boolean a request that offers an upgrade; a response behind which the connection is no longer HTTP
---@field status integer? of a response
---@field is_response boolean
---@field is_plain boolean Internal: everything above is as in a request with Host alone
---@field skipped_line boolean Internal: an empty line before this head has been passed over
local Head = {}

--- The head's first byte in the buffer it was read from; valid while that memory is held. A method, because a pointer
--- that is kept in a table costs an allocation.
---@return ffi.cdata* base const uint8_t *
function Head:base() end

--- The value of the first field of that name, in any case.
---@param name string
---@return string? value nil when there is none; without the white space around it
function Head:field(name) end

--- The values of all fields of that name, in their order.
---@param name string
---@return string[] values empty when there is none
function Head:field_all(name) end

--- Iterates over all fields in their order: `for name, value in head:fields() do`. Names as sent.
---@return fun(): string?, string?
function Head:fields() end

--- The method as sent; methods are case-sensitive (RFC 9110 section 9.1). Any token, known or not.
---@return string
function Head:method() end

--- A part of the first line: method, target and version of a request; version, status and reason of a response.
---@param number integer 0 to 2
---@return string
function Head:part(number) end

--- A response's reason phrase, often empty.
---@return string
function Head:reason() end

--- Empties the head. Needed where a head that was not read to its end is given up; reading begins a new one by itself.
---@return moonring.http.Head self
function Head:reset() end

--- The request target as sent, in one of the four forms of RFC 9112 section 3.2.
---@return string
function Head:target() end

---@class moonring.http.Multipart
local Multipart = {}

--- Whether the closing delimiter has been seen.
---@return boolean
function Multipart:is_done() end

--- What comes next in the buffer, whose position moves behind it:
---   "part", { name, filename, content_type, fields }   a part begins
---   "data", count, offset                              that many bytes of its content lie there in the buffer
---   "data", text                                       or these, which had to be waited for
---   "end"                                              the part is complete
---   "done"                                             the last one was; what follows is to be ignored
---   nil                                                more bytes are needed; the buffer is used up
---   false, status, message                             it is malformed, or over a limit
---@param buffer ffi.cdata* mr_buffer with the content in [position, limit)
function Multipart:next(buffer) end

---@class moonring.http.CookieAttributes
---@field path? string
---@field domain? string
---@field max_age? integer seconds; 0 or less deletes the cookie
---@field expires? number seconds since 1970
---@field secure? boolean
---@field http_only? boolean
---@field same_site? string "strict", "lax" or "none", which needs secure
---@field partitioned? boolean needs secure
local CookieAttributes = {}

---@class moonring.http.Limits
---@field line_bytes integer of one line of a head, its CR LF included
---@field head_bytes integer from the request or status line to the empty line, both included
---@field field_count integer fields of a head, or of the trailers
---@field target_bytes integer of the request target
---@field body_bytes number of a body's content, whatever its framing; math.huge for any
---@field chunk_extension_bytes integer of the extensions of one chunk, which are ignored
---@field trailer_bytes integer of all trailer fields, the empty line included
local Limits = {}

---@class moonring.http.MultipartLimits
---@field part_count integer parts of one body
---@field part_head_bytes integer fields of one part, the empty line included
---@field part_bytes number content of one part
local MultipartLimits = {}

---@class moonring.http.RequestHead
---@field method string
---@field target string in one of the four forms
---@field host string what Host says: the target's authority without user information
---@field fields? string[] name, value, name, value ...
---@field content_length? number bytes that follow; left out with chunked false: none follow
---@field chunked? boolean
---@field keep_alive? boolean default true
---@field upgrade? string the protocol that is asked for
local RequestHead = {}

---@class moonring.http.ResponseHead
---@field status integer 200 to 999, or 101
---@field content_type? string
---@field fields? string[] name, value, name, value ...
---@field content_length? number bytes that follow
---@field chunked? boolean they follow in chunks
---@field keep_alive? boolean
---@field minor_version? integer of the request
---@field upgrade? string the protocol of a 101
local ResponseHead = {}

---@class moonring.http.Writable
---@field reserve fun(self, length: integer): ffi.cdata*?, string?, string? room for the bytes; nil, message, code
---@field commit fun(self, length: integer): any queues the reserved bytes
local Writable = {}

--- HTTP/1.1 as bytes in, decisions out (RFC 9110 and 9112), in both directions: opens no socket, never waits, has no clock.
--- 
--- This is the door; the rooms are in codec/. A reader calls read_request or read_response until the head is there,
--- then, where head.has_body says so, body:begin(head) and body:next(buffer) until that returns 0. Every one of them
--- answers nil while it wants more bytes behind those that are left in the buffer, and false, status, message for what
--- has to be refused; then nothing behind it can be trusted and the connection is closed. The answers don't depend on
--- the pieces the bytes come in.
--- 
--- A writer is anything with reserve(bytes) and commit(bytes), such as a connection.
local module = {}

--- The line before a chunk of so many bytes, which are then written by other means, "\r\n" behind them.
---@param length integer more than 0
---@return string
function module.chunk_line(length) end

--- Answers `Expect: 100-continue` (RFC 9110 section 15.2.1).
---@type any
module.continue = nil

--- An IMF-fixdate (RFC 9110 section 5.6.7), in English whatever the locale. The last one is kept.
---@param seconds number since 1970-01-01 00:00:00 UTC
---@return string date such as "Sun, 06 Nov 1994 08:49:37 GMT"
function module.date(seconds) end

--- The first value of each name.
---@param list string[] name, value, name, value ...
---@return table<string, string>
function module.first_values(list) end

--- The value of a Set-Cookie field. Raises "argument" for what would not be the cookie that was asked for.
---@param name string a token
---@param value string
---@param attributes? moonring.http.CookieAttributes
---@return string
function module.format_cookie(name, value, attributes) end

--- Writes a query or a form: from a list of name, value ..., or from a table of name = value (in the names' order).
---@param pairs_ table
---@return string
function module.format_pairs(pairs_) end

--- Whether a response with this status ends with its head.
function module.is_bodiless(status) end

--- Whether the head is of an interim response, behind which another one comes (RFC 9110 section 15.2).
---@param head moonring.http.Head
---@return boolean
function module.is_interim(head) end

--- Whether a text is a token (RFC 9110 section 5.6.2), such as the name of a field or a method.
function module.is_token(text) end

--- Joins the lines of a list of fields once for all responses that it is used in. It must not be changed any more.
---@param fields string[] name, value, name, value ...
---@return string[] fields
function module.join_fields(fields) end

--- What messages are bounded by unless the caller says otherwise.
---@type moonring.http.Limits
module.limits = nil

--- The defaults with a user's own limits over them. Raises "argument" for a name or a value that is none.
---@param what string the public function they were given to
---@param given? table
---@return moonring.http.Limits
function module.merge_limits(what, given) end

--- Makes a decoder, which serves one body after the other.
---@return moonring.http.Body
function module.new_body() end

--- Makes an empty head, of requests or of responses.
---@param is_response? boolean
---@return moonring.http.Head
function module.new_head(is_response) end

--- The cookies of a Cookie field. Of several with one name the first, which is the most specific, counts. Quotes around a
--- value are left off.
---@param text string
---@return table<string, string>
function module.parse_cookies(text) end

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

--- Reads the head of the request that begins at the buffer's position, and moves the position behind it. Call it
--- again with the same head when there are more bytes, wherever they then are, as long as they begin with the same
--- ones.
---@param buffer ffi.cdata* mr_buffer with the received bytes in [position, limit)
---@param head moonring.http.Head
---@param limits? moonring.http.Limits codec.limits when left out
---@return boolean? done true: read; nil: more bytes are needed; false: refuse the request and close the connection
---@return integer? status of the refusal
---@return string? message why, for a log or the refusal's body
function module.read_request(buffer, head, limits) end

--- Reads the head of the response that begins at the buffer's position, and moves the position behind it. Call it again
--- with the same head when there are more bytes. A head with a status below 200 other than 101 is followed by
--- another one. head.upgrade tells that the bytes behind it are no longer HTTP (101, and success of CONNECT).
---@param buffer ffi.cdata* mr_buffer with the received bytes in [position, limit)
---@param head moonring.http.Head
---@param method string of the request that it answers
---@param limits? moonring.http.Limits codec.limits when left out
---@return boolean? done true: read; nil: more bytes are needed; false: the response can't be used, close the connection
---@return integer? status that a gateway would answer with
---@return string? message why
function module.read_response(buffer, head, method, limits) end

--- Reason phrases by status code.
---@type any
module.reasons = nil

--- Sets the Date of the responses to come (RFC 9110 section 6.6.1): call it about once per second. Responses have no
--- Date before the first call, nor after one with nil, as a server without a clock sends them.
---@param seconds? number since 1970-01-01 00:00:00 UTC
function module.set_date(seconds) end

--- Splits a request target into path, query (without "?", nil when there is none) and authority (of the absolute form,
--- and of CONNECT's). The path of an absolute target without one is "/", that of the authority form "".
---@param target string
---@return string path
---@return string? query
---@return string? authority
function module.split_target(target) end

--- All values of one name.
---@param list string[]
---@param name string
---@return string[]
function module.values_of(list, name) end

--- Makes a view of a run that next has told of.
---@param view ffi.cdata* mr_buffer, which is used again
---@param buffer ffi.cdata* mr_buffer that next was given
---@param offset integer
---@param count integer bytes
---@return ffi.cdata* view
function module.view_of(view, buffer, offset, count) end

--- Writes one chunk of a string. An empty one writes nothing: it would be the last.
---@param writable moonring.http.Writable
---@param text string
---@return any result of commit; or nil, message, code of a reserve that failed
function module.write_chunk(writable, text) end

--- Writes an interim response, such as 103 with Link fields (RFC 9110 section 15.2). Not for HTTP/1.0.
---@param writable moonring.http.Writable
---@param status integer 100, or 102 to 199
---@param fields? string[]
function module.write_interim(writable, status, fields) end

--- Writes the end of a chunked body.
---@param writable moonring.http.Writable
---@param trailers? string[] name, value, name, value ...
---@return any result of commit; or nil, message, code of a reserve that failed
function module.write_last_chunk(writable, trailers) end

--- Writes a request's head.
---@param writable moonring.http.Writable
---@param request moonring.http.RequestHead
---@return any result of commit; or nil, message, code of a reserve that failed
function module.write_request(writable, request) end

--- Writes a whole response with one reserve and one commit. Raises code "argument", with nothing written, for a
--- status, content type or field that would not be the response that was asked for.
---@param writable moonring.http.Writable
---@param status integer 200 to 999; with 204 and 304 the body is not sent
---@param content_type? string
---@param body string
---@param keep_alive boolean false adds "Connection: close"; head.keep_alive unless the server wants to close
---@param head_only? boolean the request was a HEAD: Content-Length as for a GET, but no body
---@param extra_fields? string[] { name, value, name, value ... }
---@param minor_version? integer head.minor_version; 0 with keep_alive adds "Connection: keep-alive"
---@return any result of commit; or nil, message, code of a reserve that failed
function module.write_response(writable, status, content_type, body, keep_alive, head_only, extra_fields, minor_version) end

--- Writes the head of a response whose content is written after it. A 204 or 304 has none, whatever is asked for; one with
--- neither length nor chunks ends with the connection, so keep_alive must be false for it.
---@param writable moonring.http.Writable
---@param head moonring.http.ResponseHead
---@return any result of commit; or nil, message, code of a reserve that failed
function module.write_response_head(writable, head) end

return module
