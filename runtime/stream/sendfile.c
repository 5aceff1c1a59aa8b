/*
 * sendfile.c - bytes of files that go from the page cache to a TCP socket without passing through memory of ours.
 *
 * They queue like other output, as pieces that hold a duplicate of the file's descriptor. The ring has no such operation (its
 * splice takes a pipe and a worker thread), so sendfile(2) is called: as soon as the bytes are written when nothing is in the
 * way, and otherwise whenever a poll has told of room.
 *
 * sendfile has no flag for not waiting; the socket's O_NONBLOCK decides. It is set around the call only: were it there while the
 * ring receives, that would end with -EAGAIN instead of waiting. Nobody else uses the description meanwhile, so this
 * is only done with descriptors that are the connection's own.
 *
 * What it does wait for is a disk. mr_file_is_cached tells whether that is to be expected; whoever queues a file asks it.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  BYTES_AT_ONCE = 1048576, /* of one connection, before the others have their turn; 200 us */
  PROBE_STRIDE = 131072,   /* what the kernel reads ahead by default: pages seldom come or go one by one */
  CACHESTAT = 451,         /* 6.5, on every architecture; newer than the headers */
};

/* Whether the connection is one that sendfile may be used on. */
static int check_socket(const mr_connection *connection) {
  int protocol;
  socklen_t length = sizeof protocol;
  if (connection->stream || connection->kept || connection->fast_open)
    return -EOPNOTSUPP;
  if (getsockopt(connection->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) || protocol != IPPROTO_TCP)
    return -EOPNOTSUPP;
  return 0;
}

/* One call for what stands first in the queue: memory up to the next file, or a file. Result: bytes, or negative errno. */
static int64_t front_send(mr_connection *connection, uint64_t most) {
  const mr_piece *piece = connection->output.first;
  if (!piece->is_file) {
    struct iovec parts[SEND_IOVECS_MAX];
    struct msghdr message = {.msg_iov = parts};
    for (; piece && !piece->is_file && message.msg_iovlen < SEND_IOVECS_MAX; piece = piece->next)
      parts[message.msg_iovlen++] = (struct iovec){piece->iovec.data, piece->iovec.length};
    ssize_t sent = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (piece ? MSG_MORE : 0));
    return sent < 0 ? -errno : sent;
  }
  off_t offset = piece->offset;
  size_t count = piece->iovec.length < most ? piece->iovec.length : (size_t)most;
  ssize_t sent = sendfile(connection->fd, piece->file, &offset, count);
  if (sent == 0)
    return -ENODATA; /* the file is shorter than it was */
  return sent < 0 ? -errno : sent;
}

/* Sends what the socket has room for, up to the last file in the queue. Result: 0, or the negative errno of what went wrong. */
static int files_send(mr_loop *loop, mr_connection *connection) {
  int flags = fcntl(connection->fd, F_GETFL);
  if (flags < 0 || fcntl(connection->fd, F_SETFL, flags | O_NONBLOCK))
    return -errno;
  uint64_t before = connection->sent;
  int64_t sent = 0;
  while (connection->output.files && connection->sent - before < BYTES_AT_ONCE) {
    sent = front_send(connection, BYTES_AT_ONCE - (connection->sent - before));
    if (sent < 0)
      break;
    loop->statistics.bytes_from_files += connection->output.first->is_file ? (uint64_t)sent : 0;
    mr_output_took(loop, connection, (uint64_t)sent);
  }
  fcntl(connection->fd, F_SETFL, flags);
  return sent < 0 && sent != -EAGAIN && sent != -EINTR ? (int)sent : 0;
}

int mr_sendfile_await(mr_loop *loop, mr_connection *connection, uint64_t user_data) {
  connection->sending_bytes = 0;
  int error = mr_uring_poll(loop->ring, connection->fd, POLLOUT, user_data);
  connection->room_polled = !error;
  return error;
}

int64_t mr_sendfile_ready(mr_loop *loop, mr_connection *connection, int64_t result) {
  connection->room_polled = 0;
  if (result < 0 || (connection->state != CONNECTION_OPEN && connection->state != CONNECTION_FLUSHING))
    return result < 0 ? result : -EAGAIN;
  int error = files_send(loop, connection);
  return error ? error : -EAGAIN; /* what has been sent is booked already */
}

double mr_connection_write_file(mr_loop *loop, int slot, int fd, double offset, uint32_t length) {
  mr_connection *connection = mr_connection_at(loop, slot);
  int error = mr_output_check(connection);
  if (!error)
    error = check_socket(connection);
  if (error || length == 0)
    return error ? error : (double)connection->output.bytes;
  mr_signal_survive_writes(); /* sendfile raises SIGPIPE */
  int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0)
    return -errno;
  error = mr_output_append_file(loop, connection, duplicate, (int64_t)offset, length);
  if (error) {
    close(duplicate);
    return error;
  }
  /* Who waits for room is told by a completion, so with a waiter there has to be one. */
  if (!connection->sending && !connection->write_wanted && (error = files_send(loop, connection)))
    mr_output_fail(loop, connection, error);
  return error ? error : (double)connection->output.bytes;
}

/* 1: yes, 0: no, -1: the file system has no such reads (tmpfs). */
static int can_read_now(int fd, uint64_t at) {
  uint8_t byte;
  const struct iovec part = {&byte, 1};
  if (preadv2(fd, &part, 1, (off_t)at, RWF_NOWAIT) == 1)
    return 1;
  return errno == EOPNOTSUPP ? -1 : 0;
}

/* How many of the pages of a range are in the page cache, perhaps still being read; -1: not to be known. */
static int64_t pages_cached(int fd, uint64_t offset, uint64_t length) {
  struct {
    uint64_t offset, length;
  } range = {offset, length};
  struct {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } found;
  /* Since 6.13 only who may write the file is told. */
  return syscall(CACHESTAT, fd, &range, &found, 0) ? -1 : (int64_t)found.cached;
}

int mr_file_is_cached(int fd, double offset, uint32_t length) {
  if (length == 0)
    return 1;
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  uint64_t first = (uint64_t)offset, last = first + length - 1;
  int64_t cached = pages_cached(fd, first, length);
  if (cached >= 0)
    return (uint64_t)cached == last / page - first / page + 1 && can_read_now(fd, last) != 0;
  for (uint64_t at = first; at < last; at += PROBE_STRIDE)
    if (can_read_now(fd, at) != 1)
      return 0;
  return can_read_now(fd, last) == 1;
}
