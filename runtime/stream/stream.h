/*
 * stream.h - connections, whatever they are made of, and listeners.
 *
 * They are known by slot numbers. A slot stays the caller's until it is closed, and is given out again only after the kernel has
 * returned everything that it was lent.
 */
#ifndef MR_STREAM_H
#define MR_STREAM_H

#include "../buffer/buffer.h"
#include "../loop/loop.h"
#include "../socket/address.h"
#include "../socket/bind.h"

/*
 * Binds and listens; accepting starts at once. how: NULL for the defaults. A Unix socket's file is removed when the listener is
 * closed. Result: the slot, or negative errno.
 */
MR_API int mr_listener_open(mr_loop *loop, const mr_address *address, const mr_listen *how);
MR_API int mr_listener_address(mr_loop *loop, int listener, mr_address *out);
/* Stops accepting and closes the socket. Events of it that are already in the array are void. */
MR_API void mr_listener_close(mr_loop *loop, int listener);

MR_API int mr_listener_option_set(mr_loop *loop, int listener, int option, int32_t value);
MR_API int mr_listener_option_get(mr_loop *loop, int listener, int option, int32_t *value);

/* How to connect. */
typedef struct mr_connect {
  const mr_address *source;  /* to bind to; NULL: any */
  int32_t takes_descriptors; /* 1: receives them */
  int32_t option_count;
  mr_option *options;
} mr_connect;

/*
 * Starts connecting. MR_EVENT_CONNECTED tells the end. how: NULL for the defaults. Result: the connection's slot, or negative
 * errno.
 */
MR_API int mr_connection_connect(mr_loop *loop, const mr_address *address, const mr_connect *how);

enum {
  MR_STREAM_KEEP = 1,             /* close leaves the descriptor open: it is somebody else's */
  MR_STREAM_TAKE_DESCRIPTORS = 2, /* a Unix socket's: those beside its bytes are received */
};

/*
 * Makes a connection of an open descriptor: a stream socket, a pipe, a FIFO, a terminal, a device, a file at its position. Reading
 * starts at once where it may be read. Its O_NONBLOCK is not touched. Result: the slot, whose close closes the
 * descriptor; negative errno, and it stays the caller's: -EBADF, -EISDIR, -EPROTOTYPE for another kind of socket, -EINVAL for
 * a listening one, -ENOMEM.
 */
MR_API int mr_stream_open(mr_loop *loop, int fd, uint32_t flags);

/*
 * Takes the next received bytes: *buffer lets go of what it held and becomes a cursor over them (position 0, limit = capacity =
 * their number, not copied). Result: their number; 0 at the end of the stream; -EAGAIN when there are none, and then
 * MR_EVENT_READABLE comes once when that changes; the stream's negative errno.
 */
MR_API int mr_connection_read(mr_loop *loop, int connection, mr_buffer *buffer);

/*
 * Adds the next received bytes behind [position, limit) of *buffer, which becomes one contiguous run of at most `max` bytes from
 * position 0 on (copied where it has to be, and only as much as fits). Result: as mr_connection_read, the number being that
 * of the new bytes; -EMSGSIZE when it holds max bytes already.
 */
MR_API int mr_connection_extend(mr_loop *loop, int connection, mr_buffer *buffer, uint32_t max);

/*
 * Copies received bytes, up to `length` of them, to data. Result: as mr_connection_read. length is above 0.
 */
MR_API int mr_connection_read_bytes(mr_loop *loop, int connection, uint8_t *data, uint32_t length);

/* Withdraws the waits of reader and writer: no event will come for them. */
MR_API void mr_connection_read_withdraw(mr_loop *loop, int connection);
MR_API void mr_connection_write_withdraw(mr_loop *loop, int connection);

/* Bytes queued on the connection that the kernel has not taken; and all that it has ever taken. */
MR_API double mr_connection_queued(mr_loop *loop, int connection);
MR_API double mr_connection_sent(mr_loop *loop, int connection);

/*
 * Queues bytes for sending. _bytes copies them; _buffer sends the memory of [position, limit) itself, which must not be changed
 * until it has gone out, and sets position to limit. Result: the bytes queued on the connection, or negative errno
 * (-EPIPE after shutdown or close, the stream's error); a double, because Lua computes with those.
 */
MR_API double mr_connection_write_bytes(mr_loop *loop, int connection, const uint8_t *data, uint32_t length);
MR_API double mr_connection_write_buffer(mr_loop *loop, int connection, mr_buffer *buffer);

/*
 * Queues `length` bytes of an open file from `offset` on, which go from the page cache to a TCP socket by sendfile(2): as many as
 * there is room for at once. The descriptor stays the caller's. What others write to the file meanwhile may be what is sent; when it
 * has become too short, the stream fails with -ENODATA. A page that is not in memory is waited for, loop and all: see
 * mr_file_is_cached. Result: as of mr_connection_write_bytes; -EOPNOTSUPP when the connection is not such a socket, or not
 * the only owner of it; -EMFILE.
 */
MR_API double mr_connection_write_file(mr_loop *loop, int connection, int fd, double offset, uint32_t length);

/*
 * Whether `length` bytes of a file from `offset` on are in the page cache, as far as samples tell (preadv2(2), RWF_NOWAIT): 1,
 * or 0 when they are not or the file has no way to tell.
 */
MR_API int mr_file_is_cached(int fd, double offset, uint32_t length);

/*
 * Sending without a copy from one's own buffer: room for `length` bytes at the end of the queue, or NULL (mr_connection_error
 * tells why), and the first `used` of them queued. The two calls have nothing of this loop between them.
 * Result of commit: as of mr_connection_write_bytes.
 */
MR_API uint8_t *mr_connection_reserve(mr_loop *loop, int connection, uint32_t length);
MR_API double mr_connection_commit(mr_loop *loop, int connection, uint32_t used);

/*
 * Waits for room: 0 when at most `mark` bytes are queued; otherwise -EAGAIN, and MR_EVENT_WRITABLE comes once when that is so or
 * the connection fails; the stream's negative errno.
 */
MR_API int mr_connection_drain(mr_loop *loop, int connection, uint32_t mark);

/*
 * Ends the sending half once the queue has gone out: shutdown(2) with SHUT_WR, or the descriptor's close where it was opened for
 * writing only. Result: 0 or negative errno; -EOPNOTSUPP for what is neither.
 */
MR_API int mr_connection_shutdown(mr_loop *loop, int connection);

/*
 * Ends the caller's use of the slot: receiving stops, what is queued still goes out for up to `linger` seconds, then the socket is
 * closed and the slot is free. No event will come for it.
 */
MR_API void mr_connection_close(mr_loop *loop, int connection, double linger);

/* The descriptor beneath, which stays the connection's; -1 when there is none any more. */
MR_API int mr_connection_descriptor(mr_loop *loop, int connection);

/* The stream's negative errno, 0 when it is sound. */
MR_API int mr_connection_error(mr_loop *loop, int connection);

/*
 * What stands behind a connection that its user forgets: mr_guard_release, which Lua attaches as a finalizer, closes it, and
 * does nothing when the connection has been closed already or the loop is gone.
 */
MR_API void mr_connection_guard(mr_loop *loop, int connection, mr_guard *out);
MR_API void mr_guard_release(mr_guard *guard);

MR_API int mr_connection_peer(mr_loop *loop, int connection, mr_address *out);
MR_API int mr_connection_local(mr_loop *loop, int connection, mr_address *out);
MR_API int mr_connection_option_set(mr_loop *loop, int connection, int option, int32_t value);
MR_API int mr_connection_option_get(mr_loop *loop, int connection, int option, int32_t *value);

/* Bytes, since the connection came about and now. */
typedef struct mr_connection_statistics {
  double received; /* from the kernel */
  double sent;     /* to the kernel */
  double queued;   /* written, not yet sent */
  double unread;   /* received, not yet read */
} mr_connection_statistics;

MR_API void mr_connection_statistics_get(mr_loop *loop, int connection, mr_connection_statistics *out);

/* Sets the unread bytes at which receiving stops, and at which it goes on. */
enum { MR_READ_HIGH = 262144, MR_READ_LOW = 65536 };
MR_API void mr_connection_read_marks(mr_loop *loop, int connection, uint32_t high, uint32_t low);

/* Who has connected, or listened: of a Unix socket, as of that moment. -EOPNOTSUPP for others. */
typedef struct mr_credentials {
  int32_t pid;
  uint32_t uid, gid;
} mr_credentials;

MR_API int mr_connection_credentials(mr_loop *loop, int connection, mr_credentials *out);

/*
 * Sends a duplicate of a descriptor over a Unix socket, together with at least one byte. Result: 0; -EBADF, -EMFILE;
 * -EOPNOTSUPP for another kind of socket; -ETOOMANYREFS while 64 of them are queued; as mr_connection_write_bytes.
 */
MR_API int mr_connection_send_descriptor(mr_loop *loop, int connection, int fd, const uint8_t *data, uint32_t length);

/*
 * The next descriptor that was received, close-on-exec and the caller's. -EAGAIN, and MR_EVENT_READABLE comes when something has
 * arrived; -EMFILE once when some were lost for want of room; -ENODATA at the end of the stream; -ENOBUFS while receiving has stopped
 * because bytes lie unread; -EOPNOTSUPP when the connection doesn't receive them; the stream's error.
 */
MR_API int mr_connection_take_descriptor(mr_loop *loop, int connection);

#endif
