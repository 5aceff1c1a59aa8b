/*
 * loop.h - the event loop: its events, its clock, timers, signals, the watchdog. How it turns is in turn.h; what is done in it
 * in the headers of the kinds: stream.h, datagram.h, call.h, process.h, resolver.h.
 *
 * Objects are known by slot numbers. A slot stays the caller's until it is closed, and is given out again only after the kernel
 * has returned everything that it was lent.
 */
#ifndef MR_LOOP_H
#define MR_LOOP_H

#include "../memory/iovec.h"

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

/* Stands for an object of a loop, known by its slot, with Lua's collector: releasing it closes what its user has forgotten. */
typedef struct mr_guard {
  mr_loop *loop;
  int32_t slot;
  uint32_t generation;
} mr_guard;

/* What the last turn has brought, valid until the next. */
MR_API mr_event *mr_loop_events(mr_loop *loop);

/* Monotonic time in seconds: as of the last turn, and now. */
MR_API double mr_loop_now(const mr_loop *loop);
MR_API double mr_clock_now(void);

/* Seconds since 1970, by the system's clock, which may jump. */
MR_API double mr_clock_wall(void);

MR_API mr_memory *mr_loop_memory(mr_loop *loop);

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

#endif
