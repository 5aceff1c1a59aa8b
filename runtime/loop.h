/*
 * loop.h - the event loop: turns, events, connections, listeners, timers, signals. Other system calls are in call.h.
 *
 * Lua pulls. mr_loop_turn submits what is queued, waits for completions, does by itself all that needs no decision, and
 * fills a flat array of events, which are hints: the woken task asks the object for the truth and waits again when
 * there is nothing. A loop belongs to the thread that made it.
 *
 * Listeners, connections and timers are known by slot numbers. A slot stays the caller's until it is closed, and is given out
 * again only after the kernel has returned everything that it was lent.
 */
#ifndef MR_LOOP_H
#define MR_LOOP_H

typedef struct mr_loop mr_loop;

typedef enum mr_event_kind {
  MR_EVENT_NONE = 0,
  MR_EVENT_ACCEPTED, /* slot: the listener; result: slot of the new connection, or negative errno when it has failed for good */
  MR_EVENT_CONNECTED, /* slot: the connection; result: 0 or negative errno */
  MR_EVENT_READABLE,  /* slot: a connection whose reader was told to wait */
  MR_EVENT_WRITABLE,  /* slot: a connection whose writer was told to wait */
  MR_EVENT_TIMER,     /* slot: a timer that has fired; the number is free with the next turn */
  MR_EVENT_SIGNAL,    /* result: the signal's number */
  MR_EVENT_CALL,      /* slot: a call that has ended; result: its result */
  MR_EVENT_MEMORY     /* anchors wait for mr_memory_anchors_released; result 1: memory is short, too: collect */
} mr_event_kind;

typedef struct mr_event {
  int32_t kind;
  int32_t slot;
  int32_t result;
  int32_t unused;
} mr_event;

/* What a loop is made of; zero in a field stands for its default. */
typedef struct mr_loop_options {
  uint64_t memory_limit_bytes;   /* of the loop's slabs; default: none */
  uint32_t submission_entries;   /* default 512 */
  uint32_t completion_entries;   /* default 16384 */
  uint32_t receive_buffers;      /* entries of the receive ring, a power of two; default 32 incremental, 512 plain */
  uint32_t receive_buffer_bytes; /* of each; default 65536 incremental, 4096 plain */
  uint32_t receive_plain;        /* 1: no incremental buffers even where the kernel has them */
} mr_loop_options;

/* Since the start of the loop unless they say otherwise. */
typedef struct mr_loop_statistics {
  uint64_t turns;
  uint64_t enters; /* calls of io_uring_enter */
  uint64_t completions;
  uint64_t events;
  uint64_t accepted;
  uint64_t connections; /* slots in use, the closing ones included */
  uint64_t connections_peak;
  uint64_t listeners;  /* slots in use */
  uint64_t timers;     /* armed */
  uint64_t operations; /* completions that the kernel owes, and the calls that helper threads do */
  uint64_t calls;      /* slots in use: not ended, or ended and not yet finished by the caller */
  uint64_t forgotten;  /* connections and files that only their finalizer closed */
  uint64_t stale;      /* completions for an earlier owner of a slot: stays 0 */
  uint64_t sends;      /* handed to the kernel */
  uint64_t bytes_received;
  uint64_t bytes_sent;
  uint64_t bytes_copied;       /* moved by the processor on the way between a handler and the kernel */
  uint64_t receive_refusals;   /* receives ended because no buffer was free (ENOBUFS) */
  uint64_t receive_ring_bytes; /* lent to the kernel for receiving */
  uint64_t incremental;        /* 1: receive buffers are filled bit by bit, 0: one receive each */
  mr_memory_statistics memory;
} mr_loop_statistics;

/* A socket address. Family is AF_INET or AF_INET6, port in host order, IPv4 in the first four bytes. */
typedef struct mr_address {
  int32_t family;
  int32_t port;
  uint32_t scope; /* IPv6 zone index */
  uint8_t bytes[16];
} mr_address;

/* Reads a numeric IPv4 or IPv6 address (with an optional %zone). Result: 0 or -EINVAL. */
MR_API int mr_address_parse(const char *text, int32_t port, mr_address *out);

enum { MR_ADDRESS_TEXT_BYTES = 64 };

/* Writes the address without its port, NUL-terminated, into MR_ADDRESS_TEXT_BYTES bytes. Result: 0 or -EINVAL. */
MR_API int mr_address_format(const mr_address *address, char *text);

/*
 * Makes a loop on the calling thread. options may be NULL. Result: 0 and *loop, or negative errno; mr_loop_explain says
 * what it means and what to do.
 */
MR_API int mr_loop_create(const mr_loop_options *options, mr_loop **loop);

/* Writes cause and remedy of a failed mr_loop_create, NUL-terminated, cut to size bytes. */
MR_API void mr_loop_explain(int error, char *text, size_t size);

/*
 * Ends the loop: lets closed connections send what they have queued, cancels everything else in flight, waits up to timeout
 * seconds for the kernel to return its memory, closes all descriptors, frees the loop. Result: the operations that the kernel still owed (their memory is then leaked on
 * purpose), normally 0.
 */
MR_API int mr_loop_destroy(mr_loop *loop, double timeout);

/* The same, telling also how many iovecs were still held when its memory ended. */
MR_API int mr_loop_finish(mr_loop *loop, double timeout, int64_t *iovecs_held);

/*
 * One turn: submits, waits, completes. Waits at most `timeout` seconds for the first event, 0: not at all, negative: as long as
 * it takes. Result: the number of events in mr_loop_events, 0 when the time ran out, or negative errno for a failure of
 * the ring itself; -EDEADLK when it would wait for ever: no timer is armed and the kernel owes nothing but signals. The events are valid until the next turn.
 */
MR_API int mr_loop_turn(mr_loop *loop, double timeout);
MR_API const mr_event *mr_loop_events(const mr_loop *loop);

/* Monotonic time in seconds: as of the last turn, and now. */
MR_API double mr_loop_now(const mr_loop *loop);
MR_API double mr_clock_now(void);

MR_API mr_memory *mr_loop_memory(mr_loop *loop);
MR_API void mr_loop_statistics_get(const mr_loop *loop, mr_loop_statistics *out);

/* Seconds since 1970, by the system's clock, which may jump. */
MR_API double mr_clock_wall(void);

/*
 * The watchdog: a thread that looks whether one resumption of one task holds the loop for too long. The scheduler counts its
 * resumptions here; the thread notices when neither they nor the turns go on outside of the kernel wait, writes a line to
 * standard error, and sets overdue, which the scheduler finds after the resumption and clears. One for the process.
 */
typedef struct mr_watch {
  double resumes;
  double turns;
  int32_t waiting; /* in the kernel */
  int32_t overdue; /* milliseconds that the loop had been held when that was noticed, 0: never */
} mr_watch;

MR_API mr_watch *mr_watch_state(void);
/* Starts it, or changes its limit; noticed between `seconds` and a quarter more. 0 stops it. Result: 0 or negative errno. */
MR_API int mr_watch_start(double seconds);

/* Arms a timer: MR_EVENT_TIMER comes `seconds` from now, never earlier. Result: its slot, or -ENOMEM. */
MR_API int mr_timer_start(mr_loop *loop, double seconds);
/* Disarms it; its event will not come, not even when it has fired in this turn already. Result: 0 or -ENOENT. */
MR_API int mr_timer_stop(mr_loop *loop, int timer);

/* Turns the signal into MR_EVENT_SIGNAL events from now on. A second one before the first was seen acts as without the
 * loop. Result: 0 or negative errno. */
MR_API int mr_signal_watch(mr_loop *loop, int signal_number);

/* Ends the process as the signal does by default, so that its parent sees what ended it. Returns only when it doesn't. */
MR_API void mr_signal_die(int signal_number);

enum { MR_LISTEN_REUSE_PORT = 1, MR_LISTEN_IPV6_ONLY = 2 };

/* Binds and listens; accepting starts at once. backlog 0 stands for 4096. Result: the slot, or negative errno. */
MR_API int mr_listener_open(mr_loop *loop, const mr_address *address, int backlog, uint32_t flags);
MR_API int mr_listener_address(mr_loop *loop, int listener, mr_address *out);
/* Stops accepting and closes the socket. Events of it that are already in the array are void. */
MR_API void mr_listener_close(mr_loop *loop, int listener);

/* Starts connecting. MR_EVENT_CONNECTED tells the end. Result: the connection's slot, or negative errno. */
MR_API int mr_connection_connect(mr_loop *loop, const mr_address *address);

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

/* Bytes queued on the connection that the kernel has not taken. */
MR_API double mr_connection_queued(mr_loop *loop, int connection);

/*
 * Queues bytes for sending. _bytes copies them; _buffer sends the memory of [position, limit) itself, which must not be changed
 * until it has gone out, and sets position to limit. Result: the bytes queued on the connection, or negative errno
 * (-EPIPE after shutdown or close, the stream's error); a double, because Lua computes with those.
 */
MR_API double mr_connection_write_bytes(mr_loop *loop, int connection, const uint8_t *data, uint32_t length);
MR_API double mr_connection_write_buffer(mr_loop *loop, int connection, mr_buffer *buffer);

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

/* Ends the sending half once the queue has gone out (shutdown(2) with SHUT_WR). Result: 0 or negative errno. */
MR_API int mr_connection_shutdown(mr_loop *loop, int connection);

/*
 * Ends the caller's use of the slot: receiving stops, what is queued still goes out for up to `linger` seconds, then the socket is
 * closed and the slot is free. No event will come for it.
 */
MR_API void mr_connection_close(mr_loop *loop, int connection, double linger);

/* The stream's negative errno, 0 when it is sound. */
MR_API int mr_connection_error(mr_loop *loop, int connection);
/*
 * What stands behind a connection that its user forgets: mr_guard_release, which Lua attaches as a finalizer, closes it, and
 * does nothing when the connection has been closed already or the loop is gone.
 */
typedef struct mr_guard {
  mr_loop *loop;
  int32_t connection;
  uint32_t generation;
} mr_guard;

MR_API void mr_connection_guard(mr_loop *loop, int connection, mr_guard *out);
MR_API void mr_guard_release(mr_guard *guard);

MR_API int mr_connection_peer(mr_loop *loop, int connection, mr_address *out);
MR_API int mr_connection_local(mr_loop *loop, int connection, mr_address *out);

#endif
