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
  MR_EVENT_PROCESS,   /* slot: a child that has ended */
  MR_EVENT_OUTPUT,    /* slot: 1 or 2, a standard output of which some has gone out; result: 0 or the failure */
  MR_EVENT_CALL,      /* slot: a call that has ended; result: its result */
  MR_EVENT_SHORTAGE, /* slot: a listener that can't accept for want of descriptors or memory, and tries again; result: errno */
  MR_EVENT_MEMORY,            /* anchors wait for mr_memory_anchors_released; result 1: memory is short, too: collect */
  MR_EVENT_DATAGRAM_READABLE, /* slot: a datagram socket whose reader was told to wait */
  MR_EVENT_DATAGRAM_WRITABLE, /* slot: a datagram socket whose writer was told to wait */
  MR_EVENT_RESOLVED           /* slot: a resolver with answers for mr_resolver_next */
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
  uint32_t receive_plain; /* 1: no incremental buffers even where the kernel has them; 2: no multishot reads, either */
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
  uint64_t processes;  /* children that run, or whose end has not been taken */
  uint64_t spawned;    /* children started */
  uint64_t operations; /* completions that the kernel owes, and the calls that helper threads do */
  uint64_t calls;      /* slots in use: not ended, or ended and not yet finished by the caller */
  uint64_t forgotten;  /* connections and files that only their finalizer closed */
  uint64_t stale;      /* completions for an earlier owner of a slot: stays 0 */
  uint64_t sends;      /* handed to the kernel */
  uint64_t bytes_received;
  uint64_t bytes_sent;
  uint64_t bytes_from_files;   /* those of them that went by sendfile(2) */
  uint64_t bytes_copied;       /* moved by the processor on the way between a handler and the kernel */
  uint64_t receive_refusals;   /* receives ended because no buffer was free (ENOBUFS) */
  uint64_t receive_ring_bytes; /* lent to the kernel for receiving */
  uint64_t incremental;        /* 1: receive buffers are filled bit by bit, 0: one receive each */
  mr_memory_statistics memory;
} mr_loop_statistics;

/*
 * Makes a loop on the calling thread. options may be NULL. Result: 0 and *loop, or negative errno; mr_loop_explain says
 * what it means and what to do.
 */
MR_API int mr_loop_create(const mr_loop_options *options, mr_loop **loop);

/* What the kernel has for the loop, and what of it is in use. */
typedef struct mr_loop_features {
  uint32_t submission_entries, completion_entries;
  int32_t deferred;           /* 1: completions are worked off in the loop's own system call */
  int32_t cooperative;        /* 1: or at least without interrupting it */
  int32_t direct_submissions; /* 1: operations are submitted without an array in between (6.6) */
  int32_t registered;         /* 1: the ring is entered by a registered number */
  int32_t incremental;        /* 1: receive buffers are filled bit by bit (6.12), as a trial has shown */
  int32_t multishot_reads;    /* 1: pipes are read like sockets (6.7), as a trial has shown */
  int32_t last_operation;     /* the highest operation that the kernel knows, -1: unknown */
} mr_loop_features;

MR_API void mr_loop_features_get(mr_loop *loop, mr_loop_features *out);

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
 * the ring itself; -EDEADLK when it would wait for ever: no timer is armed and the kernel owes nothing but signals. The events
 * are valid until the next turn. Who takes the connection of an MR_EVENT_ACCEPTED makes it an MR_EVENT_NONE: the connections of
 * all others are closed with the listener.
 */
MR_API int mr_loop_turn(mr_loop *loop, double timeout);
MR_API mr_event *mr_loop_events(mr_loop *loop);

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
/* Sends this signal to the thread that started the watch whenever it is found to be held, from its next start on. 0: none. */
MR_API void mr_watch_interrupt(int signal_number);

/* Arms a timer: MR_EVENT_TIMER comes `seconds` from now, never earlier. Result: its slot, or -ENOMEM. */
MR_API int mr_timer_start(mr_loop *loop, double seconds);
/* Disarms it; its event will not come, not even when it has fired in this turn already. Result: 0 or -ENOENT. */
MR_API int mr_timer_stop(mr_loop *loop, int timer);

enum {
  MR_SIGNAL_INSISTS = 1, /* a second one before the first was seen acts as without the loop */
  MR_SIGNAL_AWAITED = 2  /* somebody may wait for nothing but this: a loop that watches it is never deserted */
};

/*
 * Turns the signal into MR_EVENT_SIGNAL events from now on, one for all that come before the loop looks. Again changes the flags. Result:
 * 0 or negative errno; -EINVAL for what can't be caught or would come again at once, -EBUSY when another loop watches signals.
 */
MR_API int mr_signal_watch(mr_loop *loop, int signal_number, uint32_t flags);
/* Puts back what was to happen before it was watched. Result: 0, or -EINVAL when it isn't watched. */
MR_API int mr_signal_unwatch(mr_loop *loop, int signal_number);

/* The number of "HUP", "SIGHUP" or "RTMIN+1", or -EINVAL; and the short name of a number, or NULL. */
MR_API int mr_signal_number(const char *name);
MR_API const char *mr_signal_name(int signal_number);

MR_API int mr_signal_is_ignored(int signal_number);

/* Sends it to this process. */
MR_API void mr_signal_raise(int signal_number);

/*
 * Lets a write that nobody will read (EPIPE), or beyond RLIMIT_FSIZE (EFBIG), fail instead of ending the process, unless the
 * process has its own mind about SIGPIPE and SIGXFSZ. By a handler that does nothing, because an ignored signal would stay
 * ignored in the programs that it starts. Once for the process: further calls do nothing.
 */
MR_API void mr_signal_survive_writes(void);

/*
 * For the program around the library: has `interrupt` called when the signal comes and is watched, on the thread that it comes to
 * and inside the signal handler, so it may do only what is safe there. NULL ends that.
 */
MR_API void mr_signal_interrupt(int signal_number, void (*interrupt)(void));

/* Ends the process as the signal does by default, so that its parent sees what ended it. Returns only when it doesn't. */
MR_API void mr_signal_die(int signal_number);

enum {
  MR_LISTEN_UNLINK_STALE = 1,     /* removes a Unix socket's file at which nobody listens */
  MR_LISTEN_TAKE_DESCRIPTORS = 2, /* what it accepts receives descriptors */
};

/* How to listen; zero in a field stands for its default. */
typedef struct mr_listen {
  int32_t backlog; /* default 4096 */
  uint32_t flags;
  uint32_t mode; /* of a Unix socket's file; default: as umask has it */
  int32_t option_count;
  mr_option *options; /* on top of reuse_address, nodelay and both families on "::" */
} mr_listen;

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
typedef struct mr_guard {
  mr_loop *loop;
  int32_t slot;
  uint32_t generation;
} mr_guard;

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

/* A descriptor that Lua holds; the finalizer closes it. number -1: none. */
typedef struct mr_descriptor {
  int32_t number;
} mr_descriptor;

MR_API void mr_descriptor_release(mr_descriptor *descriptor);

/* How many descriptors the process may have open (RLIMIT_NOFILE). */
MR_API double mr_descriptor_limit(void);

#endif
