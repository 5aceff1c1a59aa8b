/*
 * stream.c - streams over descriptors that somebody else has opened: pipes, FIFOs, terminals, devices, files, sockets.
 *
 * A socket is received from and sent to as any other connection. Everything else is read and written, and then these rules hold:
 *
 * The flags of an open file belong to all processes that share it, so O_NONBLOCK is never set on what was handed over (a shell's
 * terminal would get it, too). Pipes don't need it: the kernel tries without waiting and polls by itself. A terminal would
 * block a write that its buffer has not room for, in the thread that submits it; it is opened anew through /proc, which gives a
 * description of our own whose flags are ours. Where that can't be (no /proc, somebody else's terminal, a pseudo-terminal's master,
 * which would become another one), a worker thread waits.
 *
 * Pipes are read like sockets, by one multishot read into the receive ring, where the kernel has that (6.7). Otherwise one read at a
 * time goes into memory of its own: in a worker thread it would take a whole buffer from the ring for as long as it waits.
 * Either way -EAGAIN means: poll, then try again.
 *
 * A write is never quick: a short one succeeds, and success is silent.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 65536, READ_DEVICE_BYTES = 4096 };

/* A second description of the terminal, without waiting; -1 where there is none to be had. */
static int terminal_open(int fd, int flags) {
  unsigned number;
  if (ioctl(fd, TIOCGPTN, &number) == 0)
    return -1;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int check_socket(int fd) {
  int value;
  socklen_t length = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length))
    return -errno;
  if (value != SOCK_STREAM)
    return -EPROTOTYPE;
  length = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value)
    return -EINVAL;
  return 0;
}

/* How the descriptor is read and written. */
static int stream_of(mr_loop *loop, const struct stat *status, mr_stream **out) {
  mr_stream *stream = calloc(1, sizeof *stream);
  if (!stream)
    return -ENOMEM;
  stream->is_file = 1;
  stream->read_bytes = S_ISCHR(status->st_mode) ? READ_DEVICE_BYTES : READ_BYTES;
  stream->multishot = S_ISFIFO(status->st_mode) && loop->options.receive_plain < 2 &&
                      mr_uring_multishot_reads(loop->receive->incremental);
  *out = stream;
  return 0;
}

int mr_stream_open(mr_loop *loop, int fd, uint32_t flags) {
  struct stat status;
  int access = fcntl(fd, F_GETFL);
  if (access < 0 || fstat(fd, &status))
    return -errno;
  if (access & O_PATH)
    return -EBADF;
  if (S_ISDIR(status.st_mode))
    return -EISDIR;
  int error = S_ISSOCK(status.st_mode) ? check_socket(fd) : mr_receive_ring_open(loop);
  mr_stream *stream = NULL;
  if (!error && !S_ISSOCK(status.st_mode))
    error = stream_of(loop, &status, &stream);
  if (error)
    return error;
  mr_connection *connection = mr_connection_take(loop, fd, CONNECTION_OPEN, &error);
  if (!connection) {
    free(stream);
    return error;
  }
  connection->stream = stream;
  if ((flags & MR_STREAM_TAKE_DESCRIPTORS) && (error = mr_passing_receive_enable(connection))) {
    connection->kept = 1; /* what failed leaves the descriptor to the caller */
    mr_connection_finish(loop, connection);
    return error;
  }
  connection->kept = (flags & MR_STREAM_KEEP) != 0;
  connection->read_only = (access & O_ACCMODE) == O_RDONLY;
  connection->write_only = (access & O_ACCMODE) == O_WRONLY;
  if (stream)
    mr_signal_survive_writes();
  int is_terminal = S_ISCHR(status.st_mode) && isatty(fd);
  int own = is_terminal ? terminal_open(fd, access) : -1;
  if (stream)
    stream->by_worker = is_terminal && own < 0;
  if (own >= 0) {
    if (!connection->kept)
      close(fd);
    connection->fd = own;
    connection->kept = 0;
  }
  mr_receive_arm(loop, connection);
  return connection->slot.number;
}

/* Hands on `error`, the result of preparing an operation, which goes to a worker where it might block the loop. */
static int by_worker(mr_loop *loop, const mr_stream *stream, int error) {
  if (!error && stream->by_worker)
    mr_uring_by_worker(loop->ring);
  return error;
}

int mr_stream_receive(mr_loop *loop, mr_connection *connection, uint64_t user_data) {
  mr_stream *stream = connection->stream;
  if (stream->passing)
    return mr_passing_receive(loop, connection, user_data);
  if (stream->polls_input) {
    int error = mr_uring_poll(loop->ring, connection->fd, POLLIN, user_data);
    stream->input_polled = !error;
    return error;
  }
  if (stream->multishot)
    return mr_uring_read_multishot(loop->ring, connection->fd, RECEIVE_GROUP, user_data);
  if (!stream->memory.reference && mr_iovec_alloc(loop->memory, stream->read_bytes, 0, 1, 0, &stream->memory) != 1) {
    loop->receive->starved = 1;
    return -ENOMEM;
  }
  return by_worker(loop, stream,
                   mr_uring_read(loop->ring, connection->fd, stream->memory.data, stream->read_bytes, user_data));
}

int32_t mr_stream_received(mr_loop *loop, mr_connection *connection, int32_t result, mr_iovec *slice) {
  mr_stream *stream = connection->stream;
  if (stream->passing) {
    mr_passing_received(connection, result);
    return result;
  }
  if (stream->input_polled) {
    stream->input_polled = 0;
    if (result <= 0)
      return result;
    stream->polls_input = 0; /* there is something, or an end, or a failure: the read will tell */
    return -EAGAIN;
  }
  if (result == -EAGAIN)
    stream->polls_input = 1;
  if (!stream->memory.reference)
    return result;
  if (result > 0 && mr_iovec_trim(&stream->memory, (uint32_t)result) == 0) {
    *slice = stream->memory;
    stream->memory = (mr_iovec){0};
    loop->statistics.bytes_received += (uint32_t)result;
  } else {
    mr_iovec_drop(&stream->memory); /* nobody waits for memory that an idle stream holds */
  }
  return result;
}

int mr_stream_sends(const mr_stream *stream) {
  return stream->is_file || (stream->passing && mr_passing_sends(stream->passing));
}

int mr_stream_send(mr_loop *loop, mr_connection *connection, uint64_t user_data) {
  mr_stream *stream = connection->stream;
  if (stream->passing)
    return mr_passing_send(loop, connection, user_data);
  connection->sending_bytes = 0;
  if (stream->polls_output) {
    int error = mr_uring_poll(loop->ring, connection->fd, POLLOUT, user_data);
    stream->output_polled = !error;
    return error;
  }
  const mr_piece *first = connection->output.first;
  if (!first->next) {
    connection->sending_bytes = first->iovec.length;
    return by_worker(loop, stream,
                     mr_uring_write(loop->ring, connection->fd, first->iovec.data, first->iovec.length, user_data));
  }
  mr_message *message = mr_output_gather(loop, connection);
  if (!message)
    return -EAGAIN;
  return by_worker(loop, stream,
                   mr_uring_write_vector(loop->ring, connection->fd, message->parts,
                                         (uint32_t)message->header.msg_iovlen, user_data));
}

int64_t mr_stream_sent(mr_connection *connection, int64_t result) {
  mr_stream *stream = connection->stream;
  if (stream->passing) {
    mr_passing_sent(connection, result);
    return result;
  }
  if (stream->output_polled) {
    stream->output_polled = 0;
    if (result > 0)
      stream->polls_output = 0;
    return result > 0 ? -EAGAIN : result;
  }
  if (result == -EAGAIN)
    stream->polls_output = 1;
  /* A device that takes nothing and says so without an error would be asked for ever. */
  return result == 0 && connection->sending_bytes ? -EIO : result;
}

int mr_stream_shutdown(mr_loop *loop, mr_connection *connection) {
  if (!connection->write_only)
    return -EOPNOTSUPP;
  if (!connection->kept && mr_uring_close_quietly(loop->ring, connection->fd, 0))
    close(connection->fd);
  connection->fd = -1;
  return 0;
}

void mr_stream_free(mr_connection *connection) {
  mr_stream *stream = connection->stream;
  connection->stream = NULL;
  mr_iovec_drop(&stream->memory);
  if (stream->passing)
    mr_passing_free(stream->passing);
  free(stream);
}
