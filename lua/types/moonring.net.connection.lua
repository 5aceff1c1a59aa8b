---@meta moonring.net.connection
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Connection: moonring.Stream
local Connection = {}

--- This side's address.
function Connection:address() end

--- Iterates over what arrives: `for buffer in connection:chunks() do`. Ends with the stream, also when it fails.
function Connection:chunks() end

--- Closes the connection. What has been written still goes out in the background, for up to `linger` seconds (default
--- 10; 0 drops it). Who waits in read or write of it gets the error "closed". Closing again does nothing.
---@param linger? number seconds
function Connection:close(linger) end

--- Queues the first `count` bytes of what reserve gave. Returns the bytes queued on the connection.
---@param count integer bytes
---@return number? queued
---@return string? message
---@return string? code
function Connection:commit(count) end

--- Who is at the other end of a Unix socket, as of when it was connected.
---@return { pid: integer, uid: integer, gid: integer }? credentials
---@return string? message
---@return string? code "EOPNOTSUPP": it is no Unix socket
function Connection:credentials() end

--- The number of the descriptor beneath, which stays the connection's: for handing it to a child process.
---@return integer
function Connection:descriptor() end

--- Waits until at most `mark` bytes are queued for sending (default: the low-water mark).
---@param mark? integer bytes
---@return true? ok
---@return string? message
---@return string? code
function Connection:drain(mark) end

--- drain as an operation for moonring.select.
---@param mark? integer bytes
---@return moonring.Operation
function Connection:drain_op(mark) end

--- Waits for more bytes and puts them behind the remaining ones of `input`, a buffer that read has returned.
--- Afterwards it is one run of at most `max` bytes from position 0 on.
---@param input moonring.Buffer
---@param max integer bytes
---@return boolean? more nil at the end of the stream; false when it holds max bytes already
---@return string? message
---@return string? code
function Connection:extend(input, max) end

--- Waits until everything written has been handed to the peer's side of the socket.
---@return true? ok
---@return string? message
---@return string? code
function Connection:flush() end

--- Reads a socket option back, as the kernel has it.
---@param name string
---@return any? value
---@return string? message
---@return string? code
function Connection:get(name) end

--- Whether nothing has come that nobody has read, nor the end of the stream: for a pool, before it lends an idle one.
---@return boolean
function Connection:is_quiet() end

--- Sets what is given of these, in bytes, and returns all of them: `write_high`, the queued bytes from which on a
--- writer waits (default 262144), and `write_low`, at which it goes on (65536); `read_high`, the unread bytes at which
--- receiving stops (262144), and `read_low`, at which it goes on (65536).
---@param given? table<string, number>
---@return table<string, number>
function Connection:marks(given) end

--- The other side's address.
---@return moonring.Address? address
---@return string? message
---@return string? code
function Connection:peer() end

--- Queues a string or the remaining bytes of a buffer as write does, without waiting, however much is queued: for whoever
--- looks at the returned number himself.
---@param data string|moonring.Buffer
---@return number? queued bytes queued on the connection
---@return string? message
---@return string? code
function Connection:queue(data) end

--- Bytes queued on the connection that the kernel has not taken; 0 when it has been closed.
---@return number
function Connection:queued() end

--- Waits for bytes and returns them as a buffer: the memory that the kernel has filled, position 0, limit = their
--- number. The buffer is lent until the next read or the close of this connection; its slice or retain keeps the
--- bytes longer.
--- 
--- With a buffer of the caller's, the bytes are copied there instead, as many as are there and fit before its limit;
--- its position moves behind them, and it is the one that is returned.
---@param target? moonring.Buffer
---@return moonring.Buffer? buffer nil at the end of the stream
---@return string? message what went wrong, when it is nil for that reason
---@return string? code the errno's name
function Connection:read(target) end

--- read as an operation for moonring.select: bytes are taken only when it is the one that is done.
---@return moonring.Operation
function Connection:read_op() end

--- Waits for the next descriptor that comes over a Unix socket, whose connection was made with `descriptors = true`. The
--- bytes that come with it are read as all others.
---@return moonring.Descriptor? descriptor nil alone at the end of the stream
---@return string? message
---@return string? code "EMFILE": the kernel closed one that had no room; "ENOBUFS": read the bytes before it first
function Connection:receive_descriptor() end

--- Room for `count` bytes at the end of the send queue, to be filled and committed at once. For codecs.
---@param count integer bytes
---@return ffi.cdata*? pointer nil when the connection takes no more writes
function Connection:reserve(count) end

--- Sends a duplicate of a descriptor over a Unix socket, with the bytes that go along: at least one, by default "\0". The
--- original stays the caller's. Waits while too much is queued.
---@param what moonring.Descriptor|integer
---@param data? string
---@return true? ok
---@return string? message
---@return string? code "EOPNOTSUPP": it is no Unix socket; "EBADF"; "ETOOMANYREFS"
function Connection:send_descriptor(what, data) end

--- Sets socket options: `connection:set { nodelay = false, keepalive = true, user_timeout = 30 }`. See docs/networking.md.
---@param given table<string, any>
---@return true? ok
---@return string? message names the option
---@return string? code "ENOPROTOOPT", "EOPNOTSUPP", "EINVAL", "EPERM", "ENOTSOCK"
function Connection:set(given) end

--- Ends the sending half: the peer sees the end of the stream once everything written has gone out. Reading goes on.
---@return true? ok
---@return string? message
---@return string? code
function Connection:shutdown() end

--- What has gone through it, in bytes: received and sent (by the kernel's account), queued (written, not yet sent), and
--- unread (received, not yet read).
---@return { received: number, sent: number, queued: number, unread: number }
function Connection:statistics() end

--- Queues a string (copied) or the remaining bytes of a buffer (not copied: they must not be changed any more;
--- position becomes limit) for sending. Waits while too much is queued. When that wait is cancelled, the error has two
--- more fields: `sent`, how many of these bytes the kernel has taken, and `queued`, how many still go out unless the
--- connection is closed with a linger of 0; what is left of a long string after both is dropped.
---@param data string|moonring.Buffer
---@return true? ok
---@return string? message
---@return string? code
function Connection:write(data) end

--- Queues bytes of an open file for sending. On TCP what is in the page cache is not copied (sendfile(2)): where the file is
--- written to meanwhile, the new bytes may be what is sent. Waits while too much is queued, and when that is cancelled the
--- error tells of the bytes as write's does. The file may be closed afterwards.
---@param file moonring.File one that has offsets; its position stays where it is
---@param offset? integer bytes from its beginning; default 0
---@param length? integer bytes; default: up to its end
---@return true? ok
---@return string? message
---@return string? code "ENODATA": the file is shorter than that, and what it had has been queued; "EMFILE"
function Connection:write_file(file, offset, length) end

---@class moonring.StreamOptions
---@field keep? boolean closing the connection leaves the descriptor open
---@field descriptors? boolean a Unix socket: receive_descriptor is going to be used
---@field name? string what tostring and error messages call it; default "descriptor N"
local StreamOptions = {}

--- a stream over a socket, a pipe, a terminal.
--- 
--- Reading hands out the memory that the kernel wrote; writing a buffer hands the same memory back to it. A reader
--- that lags stops the peer, a writer waits while too much is queued, so neither side's memory grows without bound.
local module = {}

--- Seconds that close gives queued bytes to leave.
---@type any
module.LINGER = nil

--- Bytes queued on a connection at which a writer waits, unless marks says otherwise.
---@type any
module.WRITE_HIGH = nil

--- Those at which it goes on.
---@type any
module.WRITE_LOW = nil

--- Makes a connection of an open descriptor: a stream socket, a pipe, a FIFO, a terminal, a device, or a file, which is
--- read and written at its position. The descriptor is the connection's from then on, unless it is to be kept.
---@param number integer the descriptor
---@param how? moonring.StreamOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code "EBADF", "EISDIR", "EPROTOTYPE": no stream socket
function module.open(number, how) end

return module
