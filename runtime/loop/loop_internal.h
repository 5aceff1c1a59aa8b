/*
 * loop_internal.h - the loop's parts as they see each other: loop.c (turns), receive.c (the receive ring), connection.c and
 * output.c (streams), listener.c, timer.c, signal.c, wake.c, call.c and helper.c (system calls).
 *
 * Who owes what: each operation in the kernel is counted on its object (owed) and on the loop (operations). An object's
 * slot is given out again only when it is closed and nothing is owed, so that a completion, however late, finds its object;
 * the generation in user_data tells a later owner of the slot from the one that asked.
 */
#ifndef MR_LOOP_INTERNAL_H
#define MR_LOOP_INTERNAL_H

#include "memory/iovec_internal.h"
#include "uring/uring.h"

#include <netinet/in.h>
#include <sys/types.h>
#include <sys/un.h>

enum {
  EVENTS_MAX = 1024,
  EVENTS_SPARE = 64, /* one completion may stand for every signal there is */
  REAP_MAX = 128,    /* completions taken at once */
  EVENTS_PER_COMPLETION = 2,
  SEND_IOVECS_MAX = 64,       /* pieces in one send */
  MESSAGES_MAX = 64,          /* gathered sends prepared between two submissions */
  RECEIVE_GROUP = 0,          /* the receive ring's number */
  RINGS_IDLE_NS = 1000000000, /* how long receive buffers are kept when nothing can receive into them */
  SLOTS_PER_BLOCK = 256,
  BLOCKS_MAX = 8192, /* 2 million slots: more descriptors than a process can have by default */
};

/* What a completion belongs to: user_data is kind:8 | generation:24 | slot:32. */
typedef enum mr_operation {
  OPERATION_IGNORED,
  OPERATION_ACCEPT,
  OPERATION_RECEIVE,
  OPERATION_SEND,
  OPERATION_CONNECT,
  OPERATION_PROCESS,
  OPERATION_STANDARD,
  OPERATION_WAKE,
  OPERATION_CALL,
  OPERATION_DATAGRAM_RECEIVE,
  OPERATION_DATAGRAM_SEND,
  OPERATION_DATAGRAM_ROOM,
  OPERATION_RESOLVER,
} mr_operation;

/* A link of an input or output queue: memory, or bytes of a file, of which the iovec has the length only. */
typedef struct mr_piece {
  mr_iovec iovec;
  struct mr_piece *next;
  int64_t offset; /* of the file's next byte */
  int file;       /* a descriptor, the piece's own */
} mr_piece;

typedef struct mr_queue {
  mr_piece *first, *last;
  uint64_t bytes;
  uint32_t files; /* pieces that are of files; in output only */
} mr_queue;

static inline int mr_piece_is_file(const mr_piece *piece) {
  return !piece->iovec.reference;
}

typedef enum mr_connection_state {
  CONNECTION_FREE,
  CONNECTION_CONNECTING,
  CONNECTION_OPEN,
  CONNECTION_FLUSHING, /* its user has closed it; the queue still goes out */
  CONNECTION_CLOSED,   /* the descriptor is given back, completions may be owed */
} mr_connection_state;

typedef union mr_socket_name {
  struct sockaddr any;
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
  struct sockaddr_un local;
} mr_socket_name;

typedef struct mr_passing mr_passing; /* passing.c */

/* How a stream that is no ordinary socket is read and written, see stream.c. */
typedef struct mr_stream {
  uint8_t is_file;                     /* read and write instead of receive and send */
  uint8_t multishot;                   /* its read is one */
  uint8_t by_worker;                   /* may block where it is tried */
  uint8_t polls_input, polls_output;   /* the last try found it not ready: the next operation waits for that */
  uint8_t input_polled, output_polled; /* and is in flight */
  uint32_t read_bytes;
  mr_iovec memory;     /* what a read in flight fills */
  mr_passing *passing; /* of a Unix socket: the descriptors beside its bytes */
} mr_stream;

typedef struct mr_connection {
  int32_t slot;
  uint32_t generation;
  int fd;
  uint8_t state;
  uint8_t receive_armed;
  uint8_t receive_paused; /* nobody reads fast enough: not re-armed before the queue is short again */
  uint8_t receive_parked; /* in the loop's list of those that found no buffer */
  uint8_t end_of_stream;
  uint8_t sending;                   /* a send is in flight */
  uint8_t quick;                     /* which ends with its submission */
  uint8_t send_refused;              /* the socket's buffer is full: the next send waits for room in it */
  uint8_t room_polled;               /* the send in flight is a poll that waits for it */
  uint8_t dirty;                     /* in the loop's list of those with something to send */
  uint8_t read_wanted, write_wanted; /* a waiter wants the event */
  uint8_t shutdown_wanted, shut_down;
  uint8_t read_only, write_only; /* as its descriptor was opened */
  uint8_t kept;                  /* the descriptor is its owner's to close */
  uint8_t fast_open;             /* may not have sent its SYN yet: that goes out with the first bytes */
  uint32_t owed;
  uint32_t write_mark; /* bytes queued at which the waiting writer goes on */
  int32_t receive_error, send_error;
  int32_t linger_timer; /* -1: none */
  mr_stream *stream;    /* NULL: an ordinary socket */
  mr_queue input, output;
  mr_iovec reserved;       /* what mr_connection_reserve has given out, empty when that is room behind the last piece */
  uint32_t reserved_bytes; /* how much of it was asked for */
  struct mr_connection *next; /* free or retired */
  struct mr_connection *next_dirty, *next_parked, *next_quick;
  uint64_t sending_bytes;
  uint64_t received, sent;
  uint32_t read_high, read_low; /* unread bytes at which receiving stops and goes on */
  mr_socket_name *target;       /* while it connects: must live until that is submitted */
} mr_connection;

/* A Unix socket's file, known again by its inode. */
typedef struct mr_bound_file {
  dev_t device;
  ino_t inode;
  char path[MR_ADDRESS_PATH_BYTES];
} mr_bound_file;

typedef struct mr_listener {
  int32_t slot;
  uint32_t generation;
  int fd; /* -1: free or closed */
  uint32_t owed;
  uint8_t takes_descriptors; /* as what it accepts does */
  int32_t retry_timer;       /* -1: none */
  mr_bound_file *file;       /* of a Unix socket */
  struct mr_listener *next_free;
} mr_listener;

typedef enum mr_timer_use {
  TIMER_FREE,
  TIMER_LUA,
  TIMER_FIRED, /* its event is in the array */
  TIMER_LINGER,
  TIMER_ACCEPT,
  TIMER_PROCESS,
  TIMER_RESOLVER,
  TIMER_DATAGRAM,
} mr_timer_use;

typedef struct mr_timer {
  int64_t deadline; /* ns, monotonic */
  int32_t place;    /* in the heap, or the next free timer */
  int32_t target;   /* slot of the connection or listener it is for */
  uint8_t use;
} mr_timer;

typedef struct mr_timers {
  mr_timer *timers;
  int32_t *heap; /* timer slots, the earliest first, four children each */
  int32_t count, capacity;
  int32_t free; /* -1: none */
} mr_timers;

typedef struct mr_receive_entry {
  mr_iovec memory;
  uint32_t filled; /* where the kernel puts the next bytes */
} mr_receive_entry;

typedef struct mr_receive_ring {
  mr_uring_buffers *buffers; /* NULL until the first connection */
  mr_receive_entry *entries;
  uint32_t count, bytes; /* of each */
  uint32_t missing;      /* entries that no memory was found for */
  int incremental;
  int changed;        /* entries were added since the last publishing */
  int starved;        /* a stream found no memory for its read */
  int64_t idle_since; /* 0: there are connections, or that is to be noted */
  mr_connection *parked_first, *parked_last;
} mr_receive_ring;

typedef struct mr_process {
  int32_t slot;
  uint32_t generation;
  int32_t pid;
  int pidfd;     /* -1 once it has been reaped */
  int32_t timer; /* -1: none; for its kill, or for watching it at last */
  uint8_t held;  /* its caller has not let go */
  uint8_t polled;
  uint8_t leads; /* a process group of its own */
  uint8_t ending;
  uint8_t detached;
  mr_process_status status;
  struct mr_process *next; /* free or retired */
} mr_process;

typedef struct mr_processes {
  mr_process **slots;
  int32_t count, capacity;
  mr_process *free, *retired;
  int closing; /* no more polls */
} mr_processes;
typedef enum mr_call_state {
  CALL_FREE,
  CALL_WAITING,   /* the submission queue was full */
  CALL_RUNNING,   /* in the kernel or at a helper */
  CALL_ENDED,     /* its event has been told; the caller has not finished it */
  CALL_ABANDONED, /* nobody waits for it; it cleans up when it ends */
} mr_call_state;

typedef struct mr_call mr_call;

/* What a helper thread does: it may use of the call only what was put there for it. Result: that of the call. */
typedef int32_t mr_call_work(mr_call *call);

struct mr_call {
  int32_t slot;
  uint32_t generation;
  uint8_t state;
  uint8_t gives_descriptor; /* a result >= 0 is a descriptor, which an abandoned call closes */
  uint8_t without_waiting;  /* an open: O_NONBLOCK was added, and goes when it has succeeded */
  uint8_t cancel_wanted;    /* the submission queue was full */
  uint8_t let_go;           /* abandoned, but to be done */
  int32_t result;
  int32_t descriptor, other_descriptor; /* -1; of its own, closed with the call */
  mr_uring_request request;             /* of the ring's calls */
  mr_call_work *work;                   /* of the helpers' calls */
  mr_buffer memory;                     /* a holder of what the kernel reads or fills, */
  mr_iovec *held;                       /* or of each of these, */
  uint32_t held_count;
  struct iovec *parts; /* as the kernel wants them named */
  char *text;          /* copies of paths */
  uint8_t *data;       /* what the call gives back beside its result */
  uint32_t data_bytes;
  int64_t arguments[4]; /* for `work` */
  mr_loop *home;        /* where a helper's result goes */
  mr_call *next;        /* free, retired, waiting for submission, at the helpers, or done there */
};

typedef struct mr_calls {
  mr_call *blocks[BLOCKS_MAX]; /* of SLOTS_PER_BLOCK */
  int32_t slots;
  mr_call *free, *retired;
  mr_call *waiting_first, *waiting_last; /* for room in the submission queue; in their order */
  int cancels_wanted;
  uint64_t read_now_turn; /* the turn that read_now_left is of */
  uint32_t read_now_left;
  int let_go;                      /* calls that nobody waits for and that shall be done */
  mr_call *done_first, *done_last; /* by helpers; under their lock */
  int helped;                      /* at the helpers, or done there and not yet collected */
  int more_done;                   /* helpers have done more than there was room for in the events */
} mr_calls;

typedef struct mr_message {
  struct msghdr header;
  struct iovec parts[SEND_IOVECS_MAX];
} mr_message;

#include "datagram/datagram_internal.h"
#include "dns/resolver_internal.h"

struct mr_loop {
  mr_uring *ring;
  mr_memory *memory;
  mr_loop_options options;
  mr_event events[EVENTS_MAX + EVENTS_SPARE];
  int event_count;
  int64_t now;           /* ns, monotonic */
  int64_t pressure_told; /* when Lua last heard that memory is short */
  mr_timers timers;
  mr_receive_ring receive;
  mr_connection *connections[BLOCKS_MAX]; /* blocks of SLOTS_PER_BLOCK */
  int32_t connection_slots;
  mr_connection *free_connections, *retired_connections;
  mr_connection *dirty_first, *dirty_last;
  mr_connection *quick_first; /* those whose quick send is in flight */
  int quick_awaited;          /* something is to happen once one of them has ended, so the submission must not wait */
  mr_listener *listeners[BLOCKS_MAX];
  int32_t listener_slots;
  mr_listener *free_listeners;
  mr_datagrams datagrams;
  mr_resolvers resolvers;
  mr_piece *free_pieces;
  void *piece_blocks;
  mr_message *messages;
  int message_count;
  int signals_awaited;
  mr_processes processes;
  int wake_fd; /* eventfd for signals and helper threads, -1 until one of them is needed; closed under the helpers' lock */
  int wake_armed;
  uint64_t wake_value;
  mr_calls calls;
  int ending;
  int flushing; /* connections in CONNECTION_FLUSHING */
  mr_loop *next_living;
  mr_loop_statistics statistics;
};

static inline mr_connection *mr_connection_at(mr_loop *loop, int32_t slot) {
  return &loop->connections[(uint32_t)slot / SLOTS_PER_BLOCK][(uint32_t)slot % SLOTS_PER_BLOCK];
}

static inline mr_call *mr_call_at(mr_loop *loop, int32_t slot) {
  return &loop->calls.blocks[(uint32_t)slot / SLOTS_PER_BLOCK][(uint32_t)slot % SLOTS_PER_BLOCK];
}

static inline uint64_t user_data_make(mr_operation operation, uint32_t generation, int32_t slot) {
  return (uint64_t)operation << 56 | (uint64_t)(generation & 0xffffff) << 32 | (uint32_t)slot;
}

static inline int generation_matches(uint64_t user_data, uint32_t generation) {
  return ((user_data >> 32) & 0xffffff) == (generation & 0xffffff);
}

/* loop.c */
int mr_loop_lives(const mr_loop *loop); /* whether it is one that this thread has made and not destroyed */
void mr_event_push(mr_loop *loop, mr_event_kind kind, int32_t slot, int32_t result);

/* timer.c */
int mr_timers_start(mr_loop *loop, int64_t delay, mr_timer_use use, int32_t target);
void mr_timers_stop(mr_loop *loop, int timer);
int64_t mr_timers_next(const mr_loop *loop); /* ns until the first is due, -1: none is armed */
void mr_timers_expire(mr_loop *loop);
void mr_timers_recycle(mr_loop *loop); /* frees the numbers of the last turn's events */
void mr_timers_destroy(mr_loop *loop);

/* receive.c */
int mr_receive_ring_open(mr_loop *loop);
void mr_receive_ring_close(mr_loop *loop);
void mr_receive_prepare(mr_loop *loop); /* before each submission: fills the ring up and arms who waited for it */
void mr_receive_arm(mr_loop *loop, mr_connection *connection);
int64_t mr_receive_rest(mr_loop *loop); /* gives an idle ring's memory back; nanoseconds until that is due, or -1 */
int mr_receive_starving(const mr_loop *loop); /* whether receivers wait for memory that was not there */
/* Books the buffer that was used, then tells the connection; NULL when it is not the one that asked any more. */
void mr_receive_complete(mr_loop *loop, mr_connection *connection, const mr_completion *done);

/* stream.c: what receive.c and output.c do otherwise for connections that have a stream */
int mr_stream_receive(mr_loop *loop, mr_connection *connection, uint64_t user_data);
/* The result as of a receive; bytes that came into the stream's own memory become *slice. */
int32_t mr_stream_received(mr_loop *loop, mr_connection *connection, int32_t result, mr_iovec *slice);
int mr_stream_sends(const mr_stream *stream); /* whether its next send is not an ordinary one */
int mr_stream_send(mr_loop *loop, mr_connection *connection, uint64_t user_data);
int64_t mr_stream_sent(mr_connection *connection, int64_t result);
int mr_stream_shutdown(mr_loop *loop, mr_connection *connection);
void mr_stream_free(mr_connection *connection);

/* output.c */
mr_piece *mr_piece_take(mr_loop *loop);
void mr_queue_drop_first(mr_loop *loop, mr_queue *queue);
void mr_queue_clear(mr_loop *loop, mr_queue *queue);
int mr_queue_append(mr_loop *loop, mr_queue *queue, mr_iovec *iovec); /* takes the reference, also on failure */
/* The first pieces as a message, which stays where it is until it is submitted; counted in sending_bytes. NULL: no room. */
mr_message *mr_output_gather(mr_loop *loop, mr_connection *connection);
void mr_output_prepare(
    mr_loop *loop); /* before each submission: one send for each connection that has something to send */
void mr_output_complete(mr_loop *loop, mr_connection *connection, int64_t result);
void mr_output_settle(
    mr_loop *loop); /* once all completions of a submission are taken: its other quick sends went well */

void mr_output_took(mr_loop *loop, mr_connection *connection, uint64_t bytes); /* books what the kernel has taken */
void mr_output_fail(mr_loop *loop, mr_connection *connection, int error);
int mr_output_check(const mr_connection *connection); /* 0 when the connection takes writes, else why not */
/* Queues bytes of a file; the descriptor is the queue's unless it fails. */
int mr_output_append_file(mr_loop *loop, mr_connection *connection, int fd, int64_t offset, uint32_t length);

/* sendfile.c */
int mr_sendfile_await(mr_loop *loop, mr_connection *connection, uint64_t user_data); /* queued files wait for room */
/* Sends what there is room for once the poll has ended with `result`. Result: as of a send, without what it has booked. */
int64_t mr_sendfile_ready(mr_loop *loop, mr_connection *connection, int64_t result);

/* connection.c */
mr_connection *mr_connection_take(mr_loop *loop, int fd, mr_connection_state state, int *error); /* NULL: *error */
int mr_connection_accepted(mr_loop *loop, int fd,
                           int takes_descriptors); /* slot of a new open connection, or negative errno with fd closed */
void mr_connection_connected(mr_loop *loop, mr_connection *connection, int32_t result);
void mr_connection_opened(mr_loop *loop, mr_connection *connection);
void mr_connection_finish(mr_loop *loop, mr_connection *connection); /* gives the descriptor back, whatever is queued */
void mr_connection_settle(mr_loop *loop,
                          mr_connection *connection); /* retires the slot when nothing is owed any more */
void mr_connections_recycle(mr_loop *loop);
void mr_connections_destroy(mr_loop *loop, int flushing); /* all of them, or all but those that still send */

/* listener.c */
mr_listener *mr_listener_at(mr_loop *loop, int32_t slot);
void mr_listener_accept(mr_loop *loop, mr_listener *listener);
void mr_listener_complete(mr_loop *loop, mr_listener *listener, const mr_completion *done);
void mr_listeners_destroy(mr_loop *loop);

/* address.c */
socklen_t mr_address_to_socket(const mr_address *address, mr_socket_name *out); /* 0: unknown family */
int mr_address_from_socket(const mr_socket_name *name, socklen_t length, mr_address *out);

/* option.c: `connects` tells a socket that connects from one that listens */
int mr_option_set(int fd, int option, int32_t value, int connects);
int mr_option_get(int fd, int option, int32_t *value, int connects);
int mr_options_set(int fd, mr_option *options, int count, int connects); /* stops at the first that fails */

/* bind.c */
int mr_bound_open(const mr_address *address, const mr_listen *how, mr_bound_file **file); /* a listening descriptor */
/* Notes the file that binding to a path has made, so that no other is removed; for other addresses *file is NULL. */
int mr_bound_file_note(const mr_address *address, uint32_t mode, mr_bound_file **file);
void mr_bound_file_remove(mr_bound_file **file);

/* passing.c */
int mr_passing_receive_enable(mr_connection *connection); /* before its first receive, which would drop them */
int mr_passing_receive(mr_loop *loop, mr_connection *connection, uint64_t user_data);
void mr_passing_received(mr_connection *connection, int32_t result);
int mr_passing_sends(const mr_passing *passing); /* whether the next sends are its own */
int mr_passing_send(mr_loop *loop, mr_connection *connection, uint64_t user_data);
void mr_passing_sent(mr_connection *connection, int64_t result);
void mr_passing_free(mr_passing *passing);

/* process.c */
void mr_process_complete(mr_loop *loop, int32_t slot, const mr_completion *done);
void mr_process_expired(mr_loop *loop, int32_t slot); /* its timer has */
void mr_processes_recycle(mr_loop *loop);
/* Tells all children to end, kills them after the grace; `wait` runs the loop until something has come or `until` is past. */
void mr_processes_end(mr_loop *loop, int64_t grace_ns, int (*wait)(mr_loop *loop, int64_t until));
void mr_processes_close(mr_loop *loop); /* what is polled still completes, nothing is polled any more */
void mr_processes_destroy(mr_loop *loop);
/* standard.c */
void mr_standard_complete(mr_loop *loop, int32_t fd);

/* wake.c */
int mr_wake_open(mr_loop *loop);      /* from now on writing to wake_fd wakes the loop. Result: 0 or negative errno */
void mr_wake_prepare(mr_loop *loop);  /* before each submission */
void mr_wake_complete(mr_loop *loop); /* somebody has written there, or the read was cancelled */
void mr_wake_close(mr_loop *loop);

/* signal.c */
void mr_signals_collect(mr_loop *loop); /* tells Lua of those that have come */
void mr_signals_destroy(mr_loop *loop);

/*
 * call.c. A call is taken, filled, and handed to the ring or to a helper, all by one public function, which returns the slot.
 * mr_call_drop gives back what never was handed on.
 */
mr_call *mr_call_take(mr_loop *loop); /* NULL: no memory */
void mr_call_drop(mr_loop *loop, mr_call *call);
int mr_call_submit(mr_loop *loop, mr_call *call); /* request is filled. Result: the slot */
/* A call that works on `path` and on the file behind fd, where there are such; under another number, for fd may be closed
 * meanwhile. Result: 0 or negative errno. */
int mr_call_take_helped(mr_loop *loop, int fd, const char *path, mr_call **out);
int mr_call_help(mr_loop *loop, mr_call *call,
                 mr_call_work *work); /* Result: the slot, or negative errno and dropped */
int mr_call_copy_text(mr_call *call, const char *first, const char *second, const char **second_copy);
int mr_call_reserve_data(mr_call *call, uint32_t bytes);
void mr_call_complete(mr_loop *loop, mr_call *call, int32_t result);
void mr_calls_prepare(mr_loop *loop); /* before each submission: what found the queue full */
void mr_calls_collect(mr_loop *loop); /* takes what helpers have done */
void mr_calls_recycle(mr_loop *loop);
void mr_calls_abandon_all(mr_loop *loop);
void mr_calls_destroy(mr_loop *loop);

/* helper.c */
int mr_helpers_add(mr_call *call);    /* a thread runs call->work and wakes call->home. Result: 0 or negative errno */
int mr_helpers_remove(mr_call *call); /* Result: 1 when no thread had begun with it, and none will */
mr_call *mr_helpers_take(mr_loop *home); /* the next one done, NULL: none */
void mr_helpers_lock(void);              /* for whoever changes wake_fd */
void mr_helpers_unlock(void);

#endif
