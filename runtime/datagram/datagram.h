/*
 * datagram.h - datagram sockets: UDP over IPv4 and IPv6, and Unix datagram sockets.
 *
 * A socket is known by its slot, like a connection. Sending hands a datagram to the kernel and doesn't wait; receiving begins
 * with the first mr_datagram_receive and goes on by itself, into a bounded queue.
 */
#ifndef MR_DATAGRAM_H
#define MR_DATAGRAM_H

#include "../buffer/buffer.h"
#include "../loop/loop.h"
#include "../socket/address.h"

/* What a socket is made of; zero in a field stands for its default. */
typedef struct mr_datagram_options {
  uint32_t flags;     /* MR_DATAGRAM_... */
  uint32_t max_bytes; /* of a datagram to be received; what is longer is cut there. Default and limit: 65536 */
  uint32_t queue; /* datagrams that wait for their reader before the kernel's own queue has to hold them; default 256 */
  int32_t receive_buffer; /* bytes of the kernel's queues (SO_RCVBUF, SO_SNDBUF) */
  int32_t send_buffer;
} mr_datagram_options;

enum {
  MR_DATAGRAM_REUSE_PORT = 1,    /* several sockets, each gets a share of what comes */
  MR_DATAGRAM_REUSE_ADDRESS = 2, /* several sockets, each gets every multicast datagram */
  MR_DATAGRAM_IPV6_ONLY = 4,     /* an IPv6 socket that takes no IPv4 */
};

/*
 * Opens a socket of the given family (AF_INET, AF_INET6, AF_UNIX), bound to `local` and connected to `remote` where those are not
 * NULL. The file that binding to a path makes is removed with the close. Result: its slot, or negative errno.
 */
MR_API int mr_datagram_open(mr_loop *loop, int family, const mr_address *local, const mr_address *remote,
                            const mr_datagram_options *options);

/* Ends the caller's use of the slot. What was sent in this turn still goes out; what waits for room is dropped. */
MR_API void mr_datagram_close(mr_loop *loop, int datagram);

/* What stands behind a socket that its user forgets; see mr_guard. */
MR_API void mr_datagram_guard(mr_loop *loop, int datagram, mr_guard *out);
MR_API void mr_datagram_guard_release(mr_guard *guard);

MR_API int mr_datagram_local(mr_loop *loop, int datagram, mr_address *out);
MR_API int mr_datagram_peer(mr_loop *loop, int datagram, mr_address *out); /* -ENOTCONN */

typedef enum mr_datagram_option {
  MR_DATAGRAM_BROADCAST,           /* 0 or 1: may send to broadcast addresses */
  MR_DATAGRAM_TTL,                 /* hops of what is sent to one receiver */
  MR_DATAGRAM_MULTICAST_TTL,       /* and to a group */
  MR_DATAGRAM_MULTICAST_LOOP,      /* 0 or 1: whether sockets of this machine get it, too */
  MR_DATAGRAM_MULTICAST_INTERFACE, /* index of the interface that it leaves by */
} mr_datagram_option;

/* Result: 0 or negative errno. */
MR_API int mr_datagram_set(mr_loop *loop, int datagram, mr_datagram_option option, int value);

/* Joins or leaves a multicast group on an interface (0: the one that the routes choose). Result: 0 or negative errno. */
MR_API int mr_datagram_join(mr_loop *loop, int datagram, const mr_address *group, uint32_t interface);
MR_API int mr_datagram_leave(mr_loop *loop, int datagram, const mr_address *group, uint32_t interface);

/*
 * Takes the next datagram: *buffer lets go of what it held and becomes a cursor over its bytes, *from its sender's address (family
 * 0: it has none). Up to 2 KiB have been copied out of the receive buffer, which is larger; more are its memory itself.
 * Result: the bytes of the datagram as it was sent, more than the buffer has when it was cut at max_bytes; -EAGAIN when there is none,
 * and then MR_EVENT_DATAGRAM_READABLE comes once when that changes; negative errno of a failure, which is told once
 * and doesn't end the socket.
 */
MR_API int mr_datagram_receive(mr_loop *loop, int datagram, mr_buffer *buffer, mr_address *from);
MR_API void mr_datagram_receive_withdraw(mr_loop *loop, int datagram);

/*
 * Sends a datagram, to the connected peer when `to` is NULL. _bytes copies; _buffer sends the memory of [position, limit) itself,
 * which must not be changed until it has gone out, and sets position to limit. Result: what is in flight on the
 * socket, in bytes with the cost of each datagram, for mr_datagram_drain; negative errno with nothing sent: -EDESTADDRREQ, -EISCONN,
 * -EAFNOSUPPORT, -EMSGSIZE, -ENOMEM, -EAGAIN (the kernel wants completions to be taken first), or, on a connected socket, the
 * failure of an earlier datagram, which is told once.
 */
MR_API int mr_datagram_send_bytes(mr_loop *loop, int datagram, const mr_address *to, const uint8_t *data,
                                  uint32_t length);
MR_API int mr_datagram_send_buffer(mr_loop *loop, int datagram, const mr_address *to, mr_buffer *buffer);

/* Waits for room: 0 when at most `mark` is in flight; otherwise -EAGAIN, and MR_EVENT_DATAGRAM_WRITABLE comes once when that is
 * so. */
MR_API int mr_datagram_drain(mr_loop *loop, int datagram, int mark);
MR_API void mr_datagram_drain_withdraw(mr_loop *loop, int datagram);

/* The first failure of a datagram that has been sent since the last was told, as negative errno; 0. */
MR_API int mr_datagram_failure(mr_loop *loop, int datagram);

typedef struct mr_datagram_statistics {
  uint64_t sent;     /* datagrams that the kernel has taken */
  uint64_t failed;   /* and refused */
  uint64_t received; /* datagrams that came here, the cut ones included */
  uint64_t cut;
  uint64_t dropped; /* by the kernel: its queue was full, or the checksum wrong */
  uint64_t queued;  /* datagrams that wait for their reader */
  uint64_t flying;  /* bytes in flight, as mr_datagram_send_bytes counts them */
} mr_datagram_statistics;

MR_API void mr_datagram_statistics_get(mr_loop *loop, int datagram, mr_datagram_statistics *out);

/* The address that a packet to this one would leave from, by the routes of now. Sends nothing. Result: 0 or negative errno. */
MR_API int mr_address_source(const mr_address *to, mr_address *out);

#endif
