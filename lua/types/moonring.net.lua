---@meta moonring.net
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.DatagramSocket
---@field port integer the port that it is bound to; 0 when it is not bound
local DatagramSocket = {}

--- The address that it is bound to.
---@return moonring.Address? address
---@return string? message
---@return string? code
function DatagramSocket:address() end

--- Closes the socket. What was sent still goes out, unless it waits for room (flush waits for that). Who waits in receive
--- or send of it gets the error "closed". Closing again does nothing.
function DatagramSocket:close() end

--- Iterates over what comes: `for datagram, from in socket:datagrams() do`. Ends with a failure.
function DatagramSocket:datagrams() end

--- Waits until the kernel has taken all that was sent. Returns the first failure since the last one that was told.
---@return true? ok
---@return string? message
---@return string? code "EMSGSIZE", "ENETUNREACH", "EPERM", "ENOBUFS", "ECONNREFUSED" ...
function DatagramSocket:flush() end

--- Receives what is sent to a multicast group from now on.
---@param group string its numeric address
---@param interface? string|integer the name or index of the one to listen on; default: the one that the routes choose
---@return true? ok
---@return string? message
---@return string? code
function DatagramSocket:join(group, interface) end

--- Takes a join back.
function DatagramSocket:leave(group, interface) end

--- The peer that it is connected to.
function DatagramSocket:peer() end

--- Waits for a datagram and returns it as a buffer, and its sender's address (nil for a Unix socket
--- without a name). The buffer is lent until the next receive
--- or the close of this socket; its slice or retain keeps the bytes longer. A datagram that is longer than max_bytes
--- was cut there; then, and only then, the third result is the length that it had.
--- 
--- A failure doesn't end the socket: "ECONNREFUSED", on a connected one, says that the peer's machine has refused an
--- earlier datagram.
---@return moonring.Buffer? datagram
---@return moonring.Address|string|nil from or the message of the failure
---@return integer|string? full_length or its code
function DatagramSocket:receive() end

--- receive as an operation for moonring.select: a datagram is taken only when it is the one that is done.
---@return moonring.Operation
function DatagramSocket:receive_op() end

--- Sends a string (copied) or the remaining bytes of a buffer (of native memory not copied: they must not be changed any
--- more; position becomes limit) as one datagram, to the connected peer or to `to`. Waits while too much is in flight.
--- 
--- true says that the datagram is on its way to the kernel. What the kernel says of it is told by flush and, on a
--- connected socket, by the next send, which then has sent nothing: there "ECONNREFUSED" may also be the answer to an
--- earlier datagram. "EMSGSIZE": longer than a datagram can be.
---@param data string|moonring.Buffer
---@param to? moonring.Address|{ host: string, port: integer }
---@return true? ok
---@return string? message
---@return string? code
function DatagramSocket:send(data, to) end

--- Sends many datagrams, each a table { data, to }, with as few system calls as possible. Stops at the first that can't
--- be sent.
---@param datagrams { [1]: string|moonring.Buffer, [2]: moonring.Address? }[]
---@return true? ok
---@return string? message
---@return string? code
---@return integer? sent how many went before the one that failed
function DatagramSocket:send_many(datagrams) end

--- Changes an option that net.datagram takes: "broadcast", "ttl", "multicast_ttl", "multicast_loop" or
--- "multicast_interface".
---@param name string
---@param value boolean|integer|string
---@return true? ok
---@return string? message
---@return string? code
function DatagramSocket:set(name, value) end

--- Counters since its beginning: datagrams that the kernel has taken (`sent`) and refused (`failed`), that have come
--- (`received`), those of them that were longer than max_bytes (`cut`), what the kernel has `dropped` because its queue
--- was full; and of now: datagrams `queued` for the reader, bytes in flight (`flying`).
---@return table
function DatagramSocket:statistics() end

---@class moonring.Listener
---@field port integer the port it listens on, also when 0 was asked for
local Listener = {}

--- Waits for the next connection, which is the caller's to close.
---@return moonring.Connection? connection
---@return string? message
---@return string? code
function Listener:accept() end

--- accept as an operation for moonring.select.
---@return moonring.Operation
function Listener:accept_op() end

--- The address that it is bound to.
---@return moonring.Address
function Listener:address() end

--- Stops listening. Connections that nobody has accepted yet are closed; the others are not touched. A net.serve on
--- it returns when its handlers have ended.
function Listener:close() end

--- Reads a socket option back, as the kernel has it.
---@param name string
function Listener:get(name) end

--- Sets socket options, which what it accepts from then on inherits; see docs/networking.md.
---@param given moonring.SocketOptions
---@return true? ok
---@return string? message
---@return string? code
function Listener:set(given) end

---@class moonring.ConnectOptions: moonring.SocketOptions
---@field host? string name or numeric address, default "127.0.0.1"
---@field port? integer
---@field path? string of a Unix socket, in place of host and port; "@name" for an abstract one
---@field address? moonring.Address in place of all of these
---@field source? string|moonring.Address numeric address to connect from, "host:port" or "host"
---@field descriptors? boolean over a Unix socket: receive_descriptor is going to be used
local ConnectOptions = {}

---@class moonring.DatagramOptions
---@field host? string numeric address to bind; "0.0.0.0" for all of IPv4, "::" for all of both families
---@field port? integer to bind; 0 (the default where a host is given) for any free one
---@field path? string of a Unix socket to bind, in place of host and port; "@name" for an abstract one
---@field connect? moonring.Address|{ host: string, port: integer }|{ path: string } the only peer
---@field family? 4|6|"unix" of a socket that is neither bound nor connected; default 4
---@field ipv6_only? boolean an IPv6 socket that takes no IPv4
---@field reuse_port? boolean SO_REUSEPORT: several sockets share what comes to the port
---@field reuse_address? boolean SO_REUSEADDR: several sockets on one port each get every multicast datagram
---@field broadcast? boolean may send to broadcast addresses
---@field ttl? integer hops of what is sent, 1 to 255
---@field multicast_ttl? integer hops of what is sent to a group, 0 (this machine) to 255; default 1
---@field multicast_loop? boolean whether this machine gets what it sends to a group; default true
---@field multicast_interface? string|integer name or index of the interface that it leaves by
---@field receive_buffer? integer bytes of the kernel's receive queue (SO_RCVBUF)
---@field send_buffer? integer bytes of the kernel's send queue (SO_SNDBUF)
---@field max_bytes? integer longest datagram that is received whole, 1 to 65536 (the default); smaller takes less memory
---@field queue? integer datagrams that wait here for their reader, default 256
local DatagramOptions = {}

---@class moonring.ListenOptions: moonring.SocketOptions
---@field host? string numeric address to bind, default "127.0.0.1"; "0.0.0.0" for all, "::" for all of both families
---@field port? integer default 0: any free port
---@field path? string of a Unix socket, in place of host and port; "@name" for an abstract one
---@field address? moonring.Address in place of all of these
---@field backlog? integer connections that may wait to be accepted, default 4096
---@field mode? integer permissions of the Unix socket's file, such as tonumber("660", 8); default: as umask has it
---@field unlink_stale? boolean removes a Unix socket's file at which nobody listens any more
---@field descriptors? boolean connections over a Unix socket: receive_descriptor is going to be used
local ListenOptions = {}

---@class moonring.SocketOptions
---@field nodelay? boolean
---@field keepalive? boolean
---@field keepalive_idle? integer seconds
---@field keepalive_interval? integer seconds
---@field keepalive_count? integer
---@field linger? integer|false seconds; 0: close resets
---@field send_buffer? integer bytes
---@field receive_buffer? integer bytes
---@field reuse_address? boolean
---@field reuse_port? boolean SO_REUSEPORT: several processes may listen on the same port
---@field fast_open? integer|boolean length of a listener's queue; true to connect
---@field defer_accept? integer seconds
---@field ipv6_only? boolean
---@field user_timeout? number seconds
---@field device? string name of a network interface
local SocketOptions = {}

--- servers and clients over TCP and Unix sockets, datagram sockets.
local module = {}

--- Connects to a server. A host's name is resolved, and all of its addresses are tried as RFC 8305 has it. Deadline
--- and cancellation are the scope's.
--- ```lua
--- local moonring, net = require "moonring", require "moonring.net"
--- 
--- moonring.scope(function(scope)
---   scope:deadline(5)
---   local connection, message = net.connect { host = "localhost", port = 7007 }
---   if not connection then return print(message) end      -- "ECONNREFUSED: ..."
---   scope:own(connection)
---   connection:write "hello\n"
---   print(connection:read_line())
--- end)
--- ```
---@param given moonring.ConnectOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", ...
function module.connect(given) end

--- connect as an operation for moonring.select: when another one is done, the attempt is given up.
---@param given moonring.ConnectOptions
---@return moonring.Operation
function module.connect_op(given) end

--- Opens a datagram socket: bound where a host or a port is given, connected where `connect` is.
---@param given? moonring.DatagramOptions
---@return moonring.DatagramSocket? socket
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", "ENETUNREACH", ...
function module.datagram(given) end

--- Listens for connections.
---@param given moonring.ListenOptions
---@return moonring.Listener? listener
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", ...
function module.listen(given) end

--- Serves connections: `handler(connection)` runs as a task of its own for each, and the connection is closed
--- when it ends, however it ends. An error in a handler is reported on standard error and ends that connection only.
--- Returns when the listener has been closed and all handlers have ended; cancelling the task stops them all. A
--- service that can't listen, or can't any longer, raises.
--- ```lua
--- local net = require "moonring.net"
--- 
--- net.serve({ port = 7007 }, function(connection)
---   for line in connection:lines() do
---     connection:write(line:upper() .. "\n")
---   end
--- end)
--- ```
---@param where moonring.Listener|moonring.ListenOptions what to listen on
---@param handler fun(connection: moonring.Connection)
function module.serve(where, handler) end

return module
