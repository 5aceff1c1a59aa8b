/*
 * uring.h - internal: the one seam to the kernel's io_uring.
 *
 * Everything of io_uring is behind these functions: set-up with feature probing, preparing operations, the one call of
 * io_uring_enter, and completions. Fault injection and a simulated kernel plug in here and nowhere else.
 */
#ifndef MR_URING_H
#define MR_URING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct mr_uring mr_uring;
typedef struct mr_uring_buffers mr_uring_buffers;

typedef struct mr_completion {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;  /* MR_COMPLETION_* */
  uint16_t buffer; /* with MR_COMPLETION_BUFFER: which entry of the buffer ring was filled */
} mr_completion;

enum {
  MR_COMPLETION_MORE = 1,        /* the operation goes on and owes further completions */
  MR_COMPLETION_BUFFER = 2,      /* bytes were put into a provided buffer */
  MR_COMPLETION_BUFFER_MORE = 4, /* which stays in the ring */
};

/*
 * Sets a ring up for the calling thread, peeling optional features that the kernel refuses. Result: 0 and *ring, or negative
 * errno (mr_uring_explain).
 */
int mr_uring_open(uint32_t submissions, uint32_t completions, mr_uring **ring);
void mr_uring_close(mr_uring *ring);

/* Writes why mr_uring_open failed with `error` and what the operator can do. */
void mr_uring_explain(int error, char *text, size_t size);

/*
 * Submits everything prepared, and waits for at least `want` completions or until timeout_ns have passed (negative: no bound).
 * Result: 0, also when the time ran out or a signal came; negative errno when the ring itself has failed.
 */
int mr_uring_enter(mr_uring *ring, unsigned want, int64_t timeout_ns);

/* Operations prepared and not yet submitted. */
unsigned mr_uring_pending(const mr_uring *ring);

/* Takes up to `count` completions. Result: how many. */
unsigned mr_uring_reap(mr_uring *ring, mr_completion *out, unsigned count);

/* What the ring was set up with, for reports. */
typedef struct mr_uring_traits {
  uint32_t submissions, completions; /* entries */
  int deferred;                      /* completions are worked off in this thread's enter, which is its only user */
  int cooperative;                   /* or at least without interrupting it */
  int direct_submissions;            /* no array between the submission queue and its entries */
  int registered;                    /* entered by a registered number */
  int last_operation;                /* the highest opcode that the kernel knows, -1: it doesn't say */
} mr_uring_traits;

void mr_uring_traits_get(mr_uring *ring, mr_uring_traits *out);

/*
 * Preparing. Each queues one operation and submits first when the queue is full; 0, or -EAGAIN when even then there is no room
 * (the kernel wants completions to be taken first). "Quietly": without a completion when it succeeds.
 *
 * Sends send all of it or fail; writes may be short. A quick one doesn't wait for room in the socket: it has ended when the submission returns, posts no
 * completion when everything went out, and otherwise one with the bytes that did, or -EAGAIN.
 */
int mr_uring_accept(mr_uring *ring, int fd, uint64_t user_data);                  /* multishot, close-on-exec */
int mr_uring_receive(mr_uring *ring, int fd, uint16_t group, uint64_t user_data); /* multishot */
int mr_uring_receive_message(mr_uring *ring, int fd, struct msghdr *message, uint16_t group, uint64_t user_data);
int mr_uring_send(mr_uring *ring, int fd, const void *data, uint32_t length, int quick, uint64_t user_data);
int mr_uring_send_message(mr_uring *ring, int fd, const struct msghdr *message, int quick, uint64_t user_data);
/* Without the demand to send all, so that what goes beside the bytes is sent once. */
int mr_uring_send_rights(mr_uring *ring, int fd, const struct msghdr *message, uint64_t user_data);
int mr_uring_connect(mr_uring *ring, int fd, const struct sockaddr *address, socklen_t length, uint64_t user_data);
/* A datagram, quick. An address of length 0: the one that the socket is connected to. */
int mr_uring_send_to(mr_uring *ring, int fd, const void *data, uint32_t length, const struct sockaddr *address,
                     socklen_t address_length, uint64_t user_data);
/* Multishot; only the name's length of the message is looked at, until the submission. mr_uring_message_parse reads what comes. */
int mr_uring_receive_messages(mr_uring *ring, int fd, struct msghdr *message, uint16_t group, uint64_t user_data);
int mr_uring_read(mr_uring *ring, int fd, void *data, uint32_t length, uint64_t user_data); /* at the file's position */
int mr_uring_read_multishot(mr_uring *ring, int fd, uint16_t group, uint64_t user_data); /* mr_uring_multishot_reads */
int mr_uring_write(mr_uring *ring, int fd, const void *data, uint32_t length, uint64_t user_data);
int mr_uring_write_vector(mr_uring *ring, int fd, const struct iovec *parts, uint32_t count, uint64_t user_data);
/* Gives what was just prepared to a worker thread from its start on, for what may block where it is tried. */
void mr_uring_by_worker(mr_uring *ring);
int mr_uring_poll(mr_uring *ring, int fd, uint32_t events,
                  uint64_t user_data); /* poll(2)'s; once; gives those that came */
int mr_uring_close_quietly(mr_uring *ring, int fd, uint64_t user_data);
int mr_uring_cancel_quietly(mr_uring *ring, uint64_t target, uint64_t user_data);
int mr_uring_cancel_all(mr_uring *ring, uint64_t user_data);

/* Operations on files, each named after the system call that it carries out. */
typedef enum mr_uring_operation {
  MR_URING_OPEN, /* openat(fd, address, flags, length) */
  MR_URING_CLOSE,
  MR_URING_READ,           /* pread(fd, address, length, offset); offset -1: at the file's own position */
  MR_URING_WRITE,          /* pwrite */
  MR_URING_READ_PARTS,     /* preadv of `length` struct iovec */
  MR_URING_WRITE_PARTS,    /* pwritev */
  MR_URING_SYNC,           /* fsync; fdatasync with MR_URING_SYNC_DATA in flags */
  MR_URING_ALLOCATE,       /* fallocate(fd, length, offset, address) */
  MR_URING_STATUS,         /* statx(fd, address, flags, length, offset) */
  MR_URING_RENAME,         /* renameat2(fd, address, length, offset, flags) */
  MR_URING_LINK,           /* linkat(fd, address, length, offset, flags) */
  MR_URING_SYMLINK,        /* symlinkat(address, fd, offset) */
  MR_URING_UNLINK,         /* unlinkat(fd, address, flags) */
  MR_URING_MAKE_DIRECTORY, /* mkdirat(fd, address, length) */
  MR_URING_ADVISE,         /* posix_fadvise(fd, offset, length, flags) */
  MR_URING_POLL,           /* poll of the events in flags, once */
  MR_URING_TRUNCATE,       /* ftruncate(fd, offset); since 6.9 */
  MR_URING_OPERATIONS
} mr_uring_operation;

enum { MR_URING_SYNC_DATA = 1 };

/* What is asked of one. Text and memory that it points at stay until its completion. */
typedef struct mr_uring_request {
  uint8_t operation;
  uint8_t threaded; /* 1: by a thread of the kernel's from the start, for what is not to be tried without blocking */
  int32_t fd;
  uint64_t address;
  uint64_t offset;
  uint32_t length;
  uint32_t flags;
} mr_uring_request;

int mr_uring_perform(mr_uring *ring, const mr_uring_request *request, uint64_t user_data);

/* Whether the kernel has the operation. */
int mr_uring_supports(mr_uring *ring, mr_uring_operation operation);

/*
 * A ring of provided buffers of `entries` (a power of two). Incremental rings fill a buffer bit by bit, each receive behind the one
 * before; they are made only where mr_uring_incremental says that they work.
 */
int mr_uring_buffers_open(mr_uring *ring, uint16_t group, uint32_t entries, int incremental, mr_uring_buffers **out);
void mr_uring_buffers_close(mr_uring *ring, mr_uring_buffers *buffers);
void mr_uring_buffers_add(mr_uring_buffers *buffers, void *data, uint32_t length, uint16_t id);
void mr_uring_buffers_publish(mr_uring_buffers *buffers); /* makes what was added visible to the kernel */

/* What mr_uring_receive_messages has put into a buffer of `capacity` bytes. */
typedef struct mr_uring_message {
  const struct sockaddr *name; /* the sender's */
  socklen_t name_length;       /* 0: it has none */
  uint32_t offset;             /* of the payload in the buffer */
  uint32_t length;             /* of the payload there */
  uint32_t full_length;        /* what was sent: more when it was cut */
} mr_uring_message;

enum { MR_URING_MESSAGE_HEADER = 16 }; /* before the room for the name */

/* Result: 0, or -EINVAL when the buffer can't be what a receive with room for a name of name_room bytes has filled. */
int mr_uring_message_parse(const void *data, uint32_t capacity, socklen_t name_room, mr_uring_message *out);

/* Whether incremental buffers behave as specified here: tried out once, on a ring and a socket pair of their own, not believed. */
int mr_uring_incremental(void);

/* The same for multishot reads of a pipe into such buffers, or into ordinary ones. */
int mr_uring_multishot_reads(int incremental);

#endif
