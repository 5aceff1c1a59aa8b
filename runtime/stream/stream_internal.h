/*
 * stream_internal.h - connections and listeners as their files see each other: connection.c (how a stream begins and ends),
 * input.c and receive.c (what comes), output.c (what goes), stream.c and passing.c (streams that are no ordinary sockets),
 * listener.c; and standard.c.
 */
#ifndef MR_STREAM_INTERNAL_H
#define MR_STREAM_INTERNAL_H

#include "loop/queue.h"
#include "socket/socket_internal.h"
#include "stream/standard.h"
#include "stream/stream.h"

#include <sys/socket.h>

enum {
  SEND_IOVECS_MAX = 64, /* pieces in one send */
  MESSAGES_MAX = 64,    /* gathered sends prepared between two submissions */
};

typedef enum mr_connection_state {
  CONNECTION_FREE,
  CONNECTION_CONNECTING,
  CONNECTION_OPEN,
  CONNECTION_FLUSHING, /* its user has closed it; the queue still goes out */
  CONNECTION_CLOSED,   /* the descriptor is given back, completions may be owed */
} mr_connection_state;

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

struct mr_connection {
  mr_slot slot;
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
  struct mr_connection *next_dirty, *next_parked, *next_quick;
  uint64_t sending_bytes;
  uint64_t received, sent;
  uint32_t read_high, read_low; /* unread bytes at which receiving stops and goes on */
  mr_socket_name *target;       /* while it connects: must live until that is submitted */
};

typedef struct mr_listener {
  mr_slot slot;
  int fd; /* -1: free or closed */
  uint32_t owed;
  uint8_t takes_descriptors; /* as what it accepts does */
  int32_t retry_timer;       /* -1: none */
  mr_bound_file *file;       /* of a Unix socket */
} mr_listener;

typedef struct mr_receive_entry {
  mr_iovec memory;
  uint32_t filled; /* where the kernel puts the next bytes */
} mr_receive_entry;

struct mr_receive_ring {
  mr_uring_buffers *buffers; /* NULL until the first connection */
  mr_receive_entry *entries;
  uint32_t count, bytes; /* of each */
  uint32_t missing;      /* entries that no memory was found for */
  int incremental;
  int changed;        /* entries were added since the last publishing */
  int starved;        /* a stream found no memory for its read */
  int64_t idle_since; /* 0: there are connections, or that is to be noted */
  mr_connection *parked_first, *parked_last;
};

struct mr_message {
  struct msghdr header;
  struct iovec parts[SEND_IOVECS_MAX];
};

static inline mr_connection *mr_connection_at(mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->connections, slot, sizeof(mr_connection));
}

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
                          mr_connection *connection);    /* retires the slot when nothing is owed any more */
void mr_connection_expired(mr_loop *loop, int32_t slot); /* its linger timer has */
int mr_streams_create(mr_loop *loop);                    /* what the loop keeps for this room. Result: 0 or -ENOMEM */
void mr_streams_destroy(mr_loop *loop);
void mr_connections_recycle(mr_loop *loop);
void mr_connections_destroy(mr_loop *loop, int flushing); /* all of them, or all but those that still send */

/* listener.c */
void mr_listener_expired(mr_loop *loop, int32_t slot); /* its timer has: accepts again */
void mr_listeners_recycle(mr_loop *loop);
void mr_listener_complete(mr_loop *loop, int32_t slot, const mr_completion *done);
void mr_listeners_destroy(mr_loop *loop);

/* passing.c */
int mr_passing_receive_enable(mr_connection *connection); /* before its first receive, which would drop them */
int mr_passing_receive(mr_loop *loop, mr_connection *connection, uint64_t user_data);
void mr_passing_received(mr_connection *connection, int32_t result);
int mr_passing_sends(const mr_passing *passing); /* whether the next sends are its own */
int mr_passing_send(mr_loop *loop, mr_connection *connection, uint64_t user_data);
void mr_passing_sent(mr_connection *connection, int64_t result);
void mr_passing_free(mr_passing *passing);

/* standard.c */
void mr_standard_complete(mr_loop *loop, int32_t fd);

#endif
