/*
 * uring.c - the seam to io_uring, over liburing.
 *
 * The ring is single-issuer with deferred task work: completions are run only inside this thread's io_uring_enter, which both
 * submits and waits, so a turn of the loop is one system call. SQ array and liburing's own wait path are bypassed
 * because the first costs a cache line for each operation and the second a second system call with deferred work.
 */
#include "uring/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uring/uring_compat.h"

struct mr_uring {
  struct io_uring ring;
  unsigned setup_flags;
  struct io_uring_probe *probe; /* NULL until somebody asks what the kernel has */
};

struct mr_uring_buffers {
  struct io_uring_buf_ring *ring;
  size_t bytes;
  uint32_t mask;
  uint16_t group;
  uint16_t tail;
};

enum { REGISTERED_RING = 1 }; /* liburing's mark of a registered ring descriptor */
enum { SETUP_REQUIRED = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL };

/* From the best to the least that the loop runs on: what is missing costs speed only. */
static const unsigned setup_choices[] = {
    SETUP_REQUIRED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY,
    SETUP_REQUIRED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    SETUP_REQUIRED | IORING_SETUP_COOP_TASKRUN,
    SETUP_REQUIRED,
};

/* liburing's io_uring_queue_init would write an SQ array that NO_SQARRAY rings do not have. */
static int ring_setup(struct io_uring *ring, unsigned flags, uint32_t submissions, uint32_t completions) {
  struct io_uring_params params = {.flags = flags, .cq_entries = completions};
  memset(ring, 0, sizeof *ring);
  if (!(flags & IORING_SETUP_NO_SQARRAY))
    return io_uring_queue_init_params(submissions, ring, &params);
  int fd = (int)syscall(__NR_io_uring_setup, submissions, &params);
  if (fd < 0)
    return -errno;
  int error = io_uring_queue_mmap(fd, &params, ring);
  if (error) {
    close(fd);
    return error;
  }
  ring->features = params.features;
  return 0;
}

int mr_uring_open(uint32_t submissions, uint32_t completions, mr_uring **out) {
  mr_uring *ring = calloc(1, sizeof *ring);
  if (!ring)
    return -ENOMEM;
  int error = -EINVAL;
  for (size_t i = 0; error == -EINVAL && i < sizeof setup_choices / sizeof *setup_choices; i++) {
    ring->setup_flags = setup_choices[i];
    error = ring_setup(&ring->ring, ring->setup_flags, submissions, completions);
  }
  if (!error && !(ring->ring.features & IORING_FEAT_EXT_ARG)) {
    io_uring_queue_exit(&ring->ring);
    error = -ENOSYS;
  }
  if (error) {
    free(ring);
    return error;
  }
  io_uring_ring_dontfork(&ring->ring);
  io_uring_register_ring_fd(&ring->ring); /* an optimisation: without it enter looks the descriptor up */
  *out = ring;
  return 0;
}

void mr_uring_close(mr_uring *ring) {
  io_uring_queue_exit(&ring->ring);
  io_uring_free_probe(ring->probe);
  free(ring);
}

/* First character of the first line of /proc's `path` that begins with `key`, behind it; 0 when there is none. */
static char proc_value(const char *path, const char *key) {
  FILE *file = fopen(path, "re");
  if (!file)
    return 0;
  char line[256], value = 0;
  while (!value && fgets(line, sizeof line, file))
    if (strncmp(line, key, strlen(key)) == 0)
      value = line[strlen(key) + strspn(line + strlen(key), " \t")];
  fclose(file);
  return value;
}

void mr_uring_explain(int error, char *text, size_t size) {
  char disabled = proc_value("/proc/sys/kernel/io_uring_disabled", "");
  char seccomp = proc_value("/proc/self/status", "Seccomp:");
  switch (error < 0 ? -error : error) {
  case EPERM:
  case EACCES:
    if (disabled == '1' || disabled == '2')
      snprintf(text, size,
               "the system forbids io_uring (kernel.io_uring_disabled is %c). Allow it with "
               "'sysctl -w kernel.io_uring_disabled=0', or, where it is 1, put this user into the group of "
               "kernel.io_uring_group",
               disabled);
    else
      snprintf(
          text, size,
          "the system forbids io_uring; the likely cause is a seccomp filter%s, as containers have by default. Allow "
          "io_uring_setup, io_uring_enter and io_uring_register in its profile (for a trial: "
          "'docker run --security-opt seccomp=unconfined')",
          seccomp == '2' ? " (this process runs under one)" : "");
    return;
  case ENOSYS:
    snprintf(
        text, size,
        "this kernel has no usable io_uring: it is older than 6.1, was built without it, or a sandbox hides it. Run on "
        "Linux 6.1 or newer");
    return;
  case EINVAL:
    snprintf(text, size, "the kernel's io_uring lacks what the loop needs. Run on Linux 6.1 or newer");
    return;
  case ENOMEM:
    snprintf(text, size,
             "no memory for the rings: the locked-memory limit or the control group's limit is too small. Raise "
             "'ulimit -l' (8192 is enough) or the memory limit");
    return;
  case EMFILE:
  case ENFILE:
    snprintf(text, size, "no file descriptor is left for the ring. Raise 'ulimit -n'");
    return;
  default:
    snprintf(text, size, "io_uring_setup failed: %s", strerror(error < 0 ? -error : error));
  }
}

void mr_uring_traits_get(mr_uring *ring, mr_uring_traits *out) {
  unsigned flags = ring->setup_flags;
  *out = (mr_uring_traits){
      .submissions = *ring->ring.sq.kring_entries,
      .completions = *ring->ring.cq.kring_entries,
      .deferred = (flags & IORING_SETUP_DEFER_TASKRUN) != 0,
      .cooperative = (flags & IORING_SETUP_COOP_TASKRUN) != 0,
      .direct_submissions = (flags & IORING_SETUP_NO_SQARRAY) != 0,
      .registered = (ring->ring.int_flags & REGISTERED_RING) != 0,
      .last_operation = -1,
  };
  struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->ring);
  if (probe)
    out->last_operation = probe->last_op;
  io_uring_free_probe(probe);
}

unsigned mr_uring_pending(const mr_uring *ring) {
  return ring->ring.sq.sqe_tail - *ring->ring.sq.khead;
}

/* Makes the prepared entries visible to the kernel. Result: how many it has not taken yet. */
static unsigned submission_publish(struct io_uring_sq *sq) {
  if (sq->sqe_head != sq->sqe_tail) {
    sq->sqe_head = sq->sqe_tail;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
  }
  return sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
}

int mr_uring_enter(mr_uring *ring, unsigned want, int64_t timeout_ns) {
  struct __kernel_timespec time = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
  struct io_uring_getevents_arg argument = {.ts = want && timeout_ns >= 0 ? (uint64_t)(uintptr_t)&time : 0};
  unsigned submit = submission_publish(&ring->ring.sq);
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if (ring->ring.int_flags & REGISTERED_RING)
    flags |= IORING_ENTER_REGISTERED_RING;
  int result =
      io_uring_enter2((unsigned)ring->ring.enter_ring_fd, submit, want, flags, (sigset_t *)&argument, sizeof argument);
  switch (result < 0 ? -result : 0) {
  case 0:
  case ETIME:  /* the time is up */
  case EINTR:  /* a signal: its handler has left word for the loop */
  case EAGAIN: /* no memory for requests just now: what was not submitted stays queued for the next turn */
  case EBUSY:  /* completions must be taken first */
    return 0;
  default:
    return result;
  }
}

unsigned mr_uring_reap(mr_uring *ring, mr_completion *out, unsigned count) {
  struct io_uring_cq *cq = &ring->ring.cq;
  unsigned head = *cq->khead, taken = 0;
  unsigned available = io_uring_smp_load_acquire(cq->ktail) - head;
  if (available > count)
    available = count;
  for (; taken < available; taken++) {
    const struct io_uring_cqe *cqe = &cq->cqes[(head + taken) & *cq->kring_mask];
    uint32_t flags = 0;
    if (cqe->flags & IORING_CQE_F_MORE)
      flags |= MR_COMPLETION_MORE;
    if (cqe->flags & IORING_CQE_F_BUFFER)
      flags |= MR_COMPLETION_BUFFER;
    if (cqe->flags & MR_CQE_F_BUF_MORE)
      flags |= MR_COMPLETION_BUFFER_MORE;
    out[taken] = (mr_completion){cqe->user_data, cqe->res, flags, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT)};
  }
  io_uring_smp_store_release(cq->khead, head + taken);
  return taken;
}

static struct io_uring_sqe *submission_take(mr_uring *ring) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
  if (!sqe && mr_uring_enter(ring, 0, 0) == 0)
    sqe = io_uring_get_sqe(&ring->ring);
  return sqe;
}

static int submission_mark(struct io_uring_sqe *sqe, unsigned flags, uint64_t user_data) {
  sqe->user_data = user_data;
  sqe->flags |= (uint8_t)flags;
  return 0;
}

/* The shape that all preparations share: an entry, filled by `prepare`, under `user_data`. */
#define SUBMIT(ring, user_data, flags, prepare)                                                                        \
  do {                                                                                                                 \
    struct io_uring_sqe *sqe = submission_take(ring);                                                                  \
    if (!sqe)                                                                                                          \
      return -EAGAIN;                                                                                                  \
    prepare;                                                                                                           \
    return submission_mark(sqe, flags, user_data);                                                                     \
  } while (0)

int mr_uring_accept(mr_uring *ring, int fd, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC));
}

int mr_uring_receive(mr_uring *ring, int fd, uint16_t group, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_BUFFER_SELECT, {
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->buf_group = group;
  });
}

int mr_uring_receive_message(mr_uring *ring, int fd, struct msghdr *message, uint16_t group, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_BUFFER_SELECT, {
    io_uring_prep_recvmsg(sqe, fd, message, MSG_CMSG_CLOEXEC);
    sqe->buf_group = group;
  });
}

/* The kernel posts a completion for a short or refused send even with CQE_SKIP_SUCCESS, because MSG_WAITALL makes it a failure. */
static unsigned send_flags(int quick) {
  return MSG_NOSIGNAL | MSG_WAITALL | (quick ? MSG_DONTWAIT : 0);
}

int mr_uring_send(mr_uring *ring, int fd, const void *data, uint32_t length, int quick, uint64_t user_data) {
  SUBMIT(ring, user_data, quick ? IOSQE_CQE_SKIP_SUCCESS : 0,
         io_uring_prep_send(sqe, fd, data, length, (int)send_flags(quick)));
}

int mr_uring_send_message(mr_uring *ring, int fd, const struct msghdr *message, int quick, uint64_t user_data) {
  SUBMIT(ring, user_data, quick ? IOSQE_CQE_SKIP_SUCCESS : 0,
         io_uring_prep_sendmsg(sqe, fd, message, send_flags(quick)));
}

int mr_uring_send_to(mr_uring *ring, int fd, const void *data, uint32_t length, const struct sockaddr *address,
                     socklen_t address_length, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_CQE_SKIP_SUCCESS, {
    io_uring_prep_send(sqe, fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (address_length)
      io_uring_prep_send_set_addr(sqe, address, (uint16_t)address_length);
  });
}

int mr_uring_receive_messages(mr_uring *ring, int fd, struct msghdr *message, uint16_t group, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_BUFFER_SELECT, {
    io_uring_prep_recvmsg_multishot(sqe, fd, message, MSG_TRUNC);
    sqe->buf_group = group;
  });
}

int mr_uring_send_rights(mr_uring *ring, int fd, const struct msghdr *message, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_sendmsg(sqe, fd, message, MSG_NOSIGNAL));
}

int mr_uring_connect(mr_uring *ring, int fd, const struct sockaddr *address, socklen_t length, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_connect(sqe, fd, address, length));
}

int mr_uring_read(mr_uring *ring, int fd, void *data, uint32_t length, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_read(sqe, fd, data, length, (uint64_t)-1));
}

int mr_uring_read_multishot(mr_uring *ring, int fd, uint16_t group, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_BUFFER_SELECT, {
    io_uring_prep_rw(MR_OP_READ_MULTISHOT, sqe, fd, NULL, 0, (uint64_t)-1);
    sqe->buf_group = group;
  });
}

int mr_uring_write(mr_uring *ring, int fd, const void *data, uint32_t length, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_write(sqe, fd, data, length, (uint64_t)-1));
}

int mr_uring_write_vector(mr_uring *ring, int fd, const struct iovec *parts, uint32_t count, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_writev(sqe, fd, parts, count, (uint64_t)-1));
}

void mr_uring_by_worker(mr_uring *ring) {
  struct io_uring_sq *sq = &ring->ring.sq;
  sq->sqes[(sq->sqe_tail - 1) & *sq->kring_mask].flags |= IOSQE_ASYNC;
}

int mr_uring_poll(mr_uring *ring, int fd, uint32_t events, uint64_t user_data) {
  SUBMIT(ring, user_data, 0, io_uring_prep_poll_add(sqe, fd, events));
}

int mr_uring_close_quietly(mr_uring *ring, int fd, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_CQE_SKIP_SUCCESS, io_uring_prep_close(sqe, fd));
}

int mr_uring_cancel_quietly(mr_uring *ring, uint64_t target, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_CQE_SKIP_SUCCESS, io_uring_prep_cancel64(sqe, target, 0));
}

int mr_uring_cancel_all(mr_uring *ring, uint64_t user_data) {
  SUBMIT(ring, user_data, IOSQE_CQE_SKIP_SUCCESS,
         io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL));
}

static const uint8_t opcodes[MR_URING_OPERATIONS] = {
    [MR_URING_OPEN] = IORING_OP_OPENAT,      [MR_URING_CLOSE] = IORING_OP_CLOSE,
    [MR_URING_READ] = IORING_OP_READ,        [MR_URING_WRITE] = IORING_OP_WRITE,
    [MR_URING_READ_PARTS] = IORING_OP_READV, [MR_URING_WRITE_PARTS] = IORING_OP_WRITEV,
    [MR_URING_SYNC] = IORING_OP_FSYNC,       [MR_URING_ALLOCATE] = IORING_OP_FALLOCATE,
    [MR_URING_STATUS] = IORING_OP_STATX,     [MR_URING_RENAME] = IORING_OP_RENAMEAT,
    [MR_URING_LINK] = IORING_OP_LINKAT,      [MR_URING_SYMLINK] = IORING_OP_SYMLINKAT,
    [MR_URING_UNLINK] = IORING_OP_UNLINKAT,  [MR_URING_MAKE_DIRECTORY] = IORING_OP_MKDIRAT,
    [MR_URING_ADVISE] = IORING_OP_FADVISE,   [MR_URING_POLL] = IORING_OP_POLL_ADD,
    [MR_URING_TRUNCATE] = MR_OP_FTRUNCATE,
};

int mr_uring_perform(mr_uring *ring, const mr_uring_request *request, uint64_t user_data) {
  SUBMIT(ring, user_data, request->threaded ? IOSQE_ASYNC : 0, {
    io_uring_prep_rw(opcodes[request->operation], sqe, request->fd, (void *)(uintptr_t)request->address,
                     request->length, request->offset);
    sqe->rw_flags = (int)request->flags; /* all operations keep their flags here */
  });
}

int mr_uring_supports(mr_uring *ring, mr_uring_operation operation) {
  if (!ring->probe) {
    ring->probe = io_uring_get_probe_ring(&ring->ring);
    if (!ring->probe)
      return 0;
  }
  return io_uring_opcode_supported(ring->probe, opcodes[operation]);
}

static int buffers_register(mr_uring *ring, unsigned opcode, void *address, uint32_t entries, uint16_t group,
                            int flags) {
  struct io_uring_buf_reg registration = {
      .ring_addr = (uint64_t)(uintptr_t)address, .ring_entries = entries, .bgid = group, .pad = (uint16_t)flags};
  long result = syscall(__NR_io_uring_register, ring->ring.ring_fd, opcode, &registration, 1);
  return result < 0 ? -errno : 0;
}

int mr_uring_buffers_open(mr_uring *ring, uint16_t group, uint32_t entries, int incremental, mr_uring_buffers **out) {
  mr_uring_buffers *buffers = calloc(1, sizeof *buffers);
  if (!buffers)
    return -ENOMEM;
  buffers->bytes = entries * sizeof(struct io_uring_buf);
  buffers->mask = entries - 1;
  buffers->group = group;
  buffers->ring = mmap(NULL, buffers->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int error = buffers->ring == MAP_FAILED ? -ENOMEM : 0;
  if (!error) {
    error = buffers_register(ring, MR_REGISTER_PBUF_RING, buffers->ring, entries, group,
                             incremental ? MR_PBUF_RING_INC : 0);
    if (error)
      munmap(buffers->ring, buffers->bytes);
  }
  if (error) {
    free(buffers);
    return error;
  }
  *out = buffers;
  return 0;
}

void mr_uring_buffers_close(mr_uring *ring, mr_uring_buffers *buffers) {
  buffers_register(ring, MR_UNREGISTER_PBUF_RING, NULL, 0, buffers->group, 0);
  munmap(buffers->ring, buffers->bytes);
  free(buffers);
}

void mr_uring_buffers_add(mr_uring_buffers *buffers, void *data, uint32_t length, uint16_t id) {
  struct io_uring_buf *entry = &buffers->ring->bufs[buffers->tail++ & buffers->mask];
  entry->addr = (uint64_t)(uintptr_t)data;
  entry->len = length;
  entry->bid = id;
}

void mr_uring_buffers_publish(mr_uring_buffers *buffers) {
  io_uring_smp_store_release(&buffers->ring->tail, buffers->tail);
}

_Static_assert(sizeof(struct io_uring_recvmsg_out) == MR_URING_MESSAGE_HEADER, "the kernel's header of a message");

int mr_uring_message_parse(const void *data, uint32_t capacity, socklen_t name_room, mr_uring_message *out) {
  const struct io_uring_recvmsg_out *header = data;
  uint32_t offset = (uint32_t)sizeof *header + name_room;
  if (capacity < offset)
    return -EINVAL;
  *out = (mr_uring_message){.name = (const struct sockaddr *)(header + 1),
                            .name_length = header->namelen < name_room ? header->namelen : name_room,
                            .offset = offset,
                            .length = header->payloadlen < capacity - offset ? header->payloadlen : capacity - offset,
                            .full_length = header->payloadlen};
  return 0;
}

/* One receive of the preflight: enters until a completion is there, at most a second. */
static int preflight_next(mr_uring *ring, mr_completion *completion) {
  for (int tries = 0; tries < 10; tries++) {
    if (mr_uring_reap(ring, completion, 1))
      return 1;
    if (mr_uring_enter(ring, 1, 100000000))
      return 0;
  }
  return 0;
}

enum { PREFLIGHT_BYTES = 64 };

typedef int preparation(mr_uring *ring, int fd, uint16_t group, uint64_t user_data);

/*
 * Two writes must land one behind the other in the same buffer, which stays in the ring; a third that fills it must say so, and
 * the receive must then end for want of buffers.
 */
static int preflight_incremental(mr_uring *ring, mr_uring_buffers *buffers, const int pair[2], preparation *prepare) {
  enum { BYTES = PREFLIGHT_BYTES };
  static char memory[BYTES]; /* a trial that fails may leave its receive armed on it for a moment */
  mr_completion done;
  mr_uring_buffers_add(buffers, memory, BYTES, 0);
  mr_uring_buffers_publish(buffers);
  if (write(pair[1], "ab", 2) != 2 || prepare(ring, pair[0], 0, 1))
    return 0;
  const uint32_t partial = MR_COMPLETION_MORE | MR_COMPLETION_BUFFER | MR_COMPLETION_BUFFER_MORE;
  if (!preflight_next(ring, &done) || done.result != 2 || done.flags != partial)
    return 0;
  if (write(pair[1], "cde", 3) != 3 || !preflight_next(ring, &done) || done.result != 3 || done.flags != partial)
    return 0;
  if (memcmp(memory, "abcde", 5) != 0)
    return 0;
  char rest[BYTES] = {0};
  if (write(pair[1], rest, BYTES) != BYTES || !preflight_next(ring, &done) || done.result != BYTES - 5 ||
      (done.flags & MR_COMPLETION_BUFFER_MORE))
    return 0;
  return preflight_next(ring, &done) && done.result == -ENOBUFS && done.flags == 0;
}

/* The same where each buffer is used once: two writes, two buffers, and then none is left. */
static int preflight_plain(mr_uring *ring, mr_uring_buffers *buffers, const int pair[2], preparation *prepare) {
  static char memory[2][PREFLIGHT_BYTES];
  mr_completion done;
  for (uint16_t i = 0; i < 2; i++)
    mr_uring_buffers_add(buffers, memory[i], PREFLIGHT_BYTES, i);
  mr_uring_buffers_publish(buffers);
  if (prepare(ring, pair[0], 0, 1))
    return 0;
  for (uint16_t i = 0; i < 2; i++)
    if (write(pair[1], "ab", 2) != 2 || !preflight_next(ring, &done) || done.result != 2 || done.buffer != i ||
        done.flags != (MR_COMPLETION_MORE | MR_COMPLETION_BUFFER) || memcmp(memory[i], "ab", 2) != 0)
      return 0;
  if (write(pair[1], "c", 1) != 1)
    return 0;
  return preflight_next(ring, &done) && done.result == -ENOBUFS && done.flags == 0;
}

/* Runs a trial on a ring of its own. pair: what is read from, and what is written to. */
static int try_out(const int pair[2], preparation *prepare, int incremental) {
  mr_uring *ring;
  mr_uring_buffers *buffers;
  int works = 0;
  if (mr_uring_open(8, 16, &ring))
    return 0;
  if (mr_uring_buffers_open(ring, 0, incremental ? 1 : 2, incremental, &buffers) == 0) {
    works = (incremental ? preflight_incremental : preflight_plain)(ring, buffers, pair, prepare);
    mr_uring_buffers_close(ring, buffers);
  }
  mr_uring_close(ring);
  return works;
}

int mr_uring_incremental(void) {
  static int known = -1; /* a race between threads finds the same answer twice */
  int pair[2];
  if (known >= 0)
    return known;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
    return 0;
  int works = try_out(pair, mr_uring_receive, 1);
  close(pair[0]);
  close(pair[1]);
  return known = works;
}

int mr_uring_multishot_reads(int incremental) {
  static int known[2] = {-1, -1};
  int pair[2];
  if (known[incremental] >= 0)
    return known[incremental];
  if (pipe2(pair, O_CLOEXEC))
    return 0;
  int works = try_out(pair, mr_uring_read_multishot, incremental);
  close(pair[0]);
  close(pair[1]);
  return known[incremental] = works;
}
