/*
 * datagram_internal.h - datagram sockets as their files see each other: datagram.c (how a socket begins and ends),
 * datagram_receive.c, datagram_send.c.
 */
#ifndef MR_DATAGRAM_INTERNAL_H
#define MR_DATAGRAM_INTERNAL_H

#include "datagram/datagram.h"
#include "loop/queue.h"
#include "socket/socket_internal.h"

enum {
  DATAGRAM_MAX_BYTES = 65536,     /* no UDP datagram is longer */
  DATAGRAM_QUEUE = 256,           /* datagrams */
  DATAGRAM_QUEUE_BYTES = 4194304, /* of receive memory that they may hold on to */
  DATAGRAM_COPY_MAX = 2048, /* up to so many bytes are copied out of a larger receive buffer; as Lua's retain does */
  DATAGRAM_COST = 256,      /* what a datagram in flight counts beside its bytes: its record, the kernel's own */
  DATAGRAM_RINGS = 8,       /* buffers of 512 bytes, 1 KiB, 2 KiB ... 64 KiB */
  DATAGRAM_SMALLEST = 512,
};

typedef struct mr_datagram mr_datagram;

typedef struct mr_datagram {
  mr_slot slot;
  int fd; /* -1: closed, completions may be owed */
  int family;
  uint32_t owed;
  uint8_t connected;
  uint8_t receive_armed;
  uint8_t receive_parked; /* in the ring's list of those that found no buffer */
  uint8_t read_wanted, write_wanted;
  struct mr_datagram_send *waiting_first, *waiting_last; /* sends that wait for room */
  uint8_t room_polled;
  uint8_t room_in_vain; /* a poll has told of room, and nothing has gone out since */
  uint8_t is_ready;     /* in the loop's list of those whose waiting sends are to be tried */
  int32_t room_timer;   /* -1: none */
  int32_t receive_error, send_error;
  int32_t flying, write_mark;
  uint32_t max_bytes, queue_max, queue_low;
  uint32_t queued; /* pieces of input */
  mr_queue input;  /* each piece is a receive buffer as the kernel has filled it: header, name, payload */
  int ring;        /* which of the loop's */
  struct msghdr message;
  mr_datagram *next_parked, *next_ready;
  mr_bound_file *file; /* of a Unix socket that is bound to a path */
  mr_datagram_statistics statistics;
} mr_datagram;

/* A datagram in flight. */
typedef struct mr_datagram_send {
  mr_slot slot;
  mr_datagram *datagram;
  mr_iovec memory;
  const uint8_t *data;
  uint32_t length;
  socklen_t name_length;
  mr_socket_name name;
  struct mr_datagram_send *previous, *next; /* in the list of those in flight; next alone: in its socket's queue */
} mr_datagram_send;

/* Receive buffers of one size, lent to the kernel for all sockets that want that size. */
typedef struct mr_datagram_ring {
  mr_uring_buffers *buffers; /* NULL until the first socket */
  mr_iovec *memory;          /* of each entry */
  uint32_t count, bytes;
  uint32_t missing; /* entries that no memory was found for */
  int changed;      /* entries were added since the last publishing */
  mr_datagram *parked;
} mr_datagram_ring;

struct mr_datagrams {
  mr_slots sockets, sends;
  mr_datagram_ring rings[DATAGRAM_RINGS];
  int64_t idle_since; /* 0: there are sockets, or that is to be noted */
  int rings_open;
  mr_datagram_send *quick_first; /* in flight: they end with their submission, silently when it went well */
  mr_datagram *ready;
  uint32_t quick_count;
  int awaited; /* something is to happen once a quick send has ended, so the submission must not wait */
  uint32_t parked;
};

static inline mr_datagram *mr_datagram_at(const mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->datagrams->sockets, slot, sizeof(mr_datagram));
}

/* datagram.c */
/* The name of an address on a socket of a family, which may be an IPv4 address on an IPv6 socket; 0: it has none. */
socklen_t mr_datagram_name(int family, const mr_address *address, mr_socket_name *out);
int mr_datagram_address(const mr_socket_name *name, socklen_t length, mr_address *out); /* and back */
void mr_datagram_settle(mr_loop *loop, mr_datagram *datagram); /* retires a closed socket that is owed nothing */
int mr_datagrams_create(mr_loop *loop);                        /* what the loop keeps for them. Result: 0 or -ENOMEM */
void mr_datagrams_recycle(mr_loop *loop);
void mr_datagrams_close(mr_loop *loop);   /* all of them; completions may be owed */
void mr_datagrams_destroy(mr_loop *loop); /* once none is */

/* datagram_receive.c */
int mr_datagram_ring_open(mr_loop *loop, uint32_t max_bytes); /* Result: its number or negative errno */
void mr_datagram_rings_close(mr_loop *loop);
int64_t mr_datagram_rings_rest(mr_loop *loop); /* gives idle rings' memory back; nanoseconds until that is due, or -1 */
uint64_t mr_datagram_rings_bytes(const mr_loop *loop); /* lent to the kernel */
void mr_datagram_receive_stop(mr_loop *loop, mr_datagram *datagram);
void mr_datagrams_prepare(mr_loop *loop);       /* before each submission: lends buffers, arms who waited for them */
int mr_datagrams_starving(const mr_loop *loop); /* whether receivers wait for memory that was not there */
void mr_datagram_receive_complete(mr_loop *loop, const mr_completion *done);

/* datagram_send.c */
void mr_datagram_send_complete(mr_loop *loop, const mr_completion *done);
void mr_datagram_room(mr_loop *loop, int32_t slot); /* there may be room for what waits */
void mr_datagram_room_complete(mr_loop *loop, const mr_completion *done);
void mr_datagrams_send_waiting(mr_loop *loop);                     /* before each submission */
void mr_datagram_sends_stop(mr_loop *loop, mr_datagram *datagram); /* drops what waits for room */
int mr_datagrams_awaited(const mr_loop *loop);                     /* whether the next submission must not wait */
void mr_datagrams_settle(mr_loop *loop); /* as mr_output_settle: the other quick sends went well */

#endif
