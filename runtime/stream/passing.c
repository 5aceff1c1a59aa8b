/*
 * passing.c - descriptors that travel over a Unix socket beside its bytes (unix(7), SCM_RIGHTS).
 *
 * What is sent is a duplicate that the queue owns until it has gone out, bound to the first of the bytes that it goes with. A
 * message that carries one begins exactly there, and is the only kind of send that is not asked to send all of its bytes: the kernel
 * would try again with the same descriptor.
 *
 * A multishot receive drops what travels beside the bytes, so a connection that takes descriptors is received from by one recvmsg
 * after the other, into the same buffers. What arrives is close-on-exec and belongs to the connection until it is taken. More
 * than its share, or none left in the process, and the kernel closes what there is no room for; the connection remembers that.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  RECEIVED_MAX = 253, /* the kernel's bound for one message (SCM_MAX_FD) */
  OUTGOING_MAX = 64,
};

struct mr_passing {
  uint8_t receives;
  uint8_t lost;    /* descriptors came that there was no room for */
  uint8_t carries; /* the send in flight takes the first outgoing one along */
  int received_count, outgoing_count;
  int received[RECEIVED_MAX];
  struct {
    int fd;
    uint64_t at; /* offset in all that the connection has ever sent */
  } outgoing[OUTGOING_MAX];
  /* The kernel reads and writes these while an operation is in flight. */
  struct msghdr incoming_message, outgoing_message;
  struct iovec incoming_part, outgoing_part;
  union {
    struct cmsghdr header;
    uint8_t room[CMSG_SPACE(sizeof(int))];
  } outgoing_control;
  union {
    struct cmsghdr header;
    uint8_t room[CMSG_SPACE(sizeof(int) * RECEIVED_MAX)];
  } incoming_control;
};

static int is_unix_socket(int fd) {
  int domain;
  socklen_t length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

static int passing_of(mr_connection *connection, mr_passing **out) {
  if (!is_unix_socket(connection->fd))
    return -EOPNOTSUPP;
  if (!connection->stream) {
    mr_stream *stream = calloc(1, sizeof *stream);
    mr_passing *passing = calloc(1, sizeof *passing);
    if (!stream || !passing) {
      free(stream);
      free(passing);
      return -ENOMEM;
    }
    stream->passing = passing;
    connection->stream = stream;
  }
  *out = connection->stream->passing;
  return 0;
}

int mr_passing_receive_enable(mr_connection *connection) {
  mr_passing *passing;
  int error = passing_of(connection, &passing);
  if (!error)
    passing->receives = 1;
  return error;
}

int mr_passing_receive(mr_loop *loop, mr_connection *connection, uint64_t user_data) {
  mr_passing *passing = connection->stream->passing;
  if (!passing->receives)
    return mr_uring_receive(loop->ring, connection->fd, RECEIVE_GROUP, user_data);
  passing->incoming_part = (struct iovec){0};
  size_t room = CMSG_SPACE(sizeof(int) * (size_t)(RECEIVED_MAX - passing->received_count));
  passing->incoming_message = (struct msghdr){.msg_iov = &passing->incoming_part,
                                              .msg_iovlen = 1,
                                              .msg_control = &passing->incoming_control,
                                              .msg_controllen = room};
  return mr_uring_receive_message(loop->ring, connection->fd, &passing->incoming_message, RECEIVE_GROUP, user_data);
}

void mr_passing_received(mr_connection *connection, int32_t result) {
  mr_passing *passing = connection->stream->passing;
  if (!passing->receives || result < 0 || !passing->incoming_message.msg_control)
    return;
  if (passing->incoming_message.msg_flags & MSG_CTRUNC)
    passing->lost = 1;
  struct msghdr *message = &passing->incoming_message;
  for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
      continue;
    size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
      if (passing->received_count < RECEIVED_MAX && connection->state == CONNECTION_OPEN) {
        passing->received[passing->received_count++] = fd;
      } else {
        close(fd);
        passing->lost = 1;
      }
    }
  }
  message->msg_control = NULL;
}

int mr_connection_send_descriptor(mr_loop *loop, int slot, int fd, const uint8_t *data, uint32_t length) {
  mr_connection *connection = mr_connection_at(loop, slot);
  mr_passing *passing;
  if (length == 0)
    return -EINVAL;
  int error = connection->state == CONNECTION_OPEN ? passing_of(connection, &passing) : -EPIPE;
  if (!error && passing->outgoing_count == OUTGOING_MAX)
    error = -ETOOMANYREFS;
  if (error)
    return error;
  int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0)
    return -errno;
  uint64_t at = connection->sent + connection->output.bytes;
  double queued = mr_connection_write_bytes(loop, slot, data, length);
  if (queued < 0) {
    close(duplicate);
    return (int)queued;
  }
  passing->outgoing[passing->outgoing_count].fd = duplicate;
  passing->outgoing[passing->outgoing_count].at = at;
  passing->outgoing_count++;
  return 0;
}

int mr_passing_sends(const mr_passing *passing) {
  return passing->outgoing_count > 0;
}

int mr_passing_send(mr_loop *loop, mr_connection *connection, uint64_t user_data) {
  mr_passing *passing = connection->stream->passing;
  const mr_iovec *first = &connection->output.first->iovec;
  uint64_t before = passing->outgoing[0].at - connection->sent;
  passing->carries = before == 0;
  if (passing->carries)
    before = passing->outgoing_count > 1 ? passing->outgoing[1].at - connection->sent : UINT64_MAX;
  uint32_t length = before < first->length ? (uint32_t)before : first->length;
  connection->sending_bytes = length;
  if (!passing->carries)
    return mr_uring_send(loop->ring, connection->fd, first->data, length, 0, user_data);
  passing->outgoing_part = (struct iovec){first->data, length};
  passing->outgoing_message = (struct msghdr){.msg_iov = &passing->outgoing_part,
                                              .msg_iovlen = 1,
                                              .msg_control = &passing->outgoing_control,
                                              .msg_controllen = sizeof passing->outgoing_control.room};
  passing->outgoing_control.header =
      (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
  memcpy(CMSG_DATA(&passing->outgoing_control.header), &passing->outgoing[0].fd, sizeof(int));
  return mr_uring_send_rights(loop->ring, connection->fd, &passing->outgoing_message, user_data);
}

void mr_passing_sent(mr_connection *connection, int64_t result) {
  mr_passing *passing = connection->stream->passing;
  if (!passing->carries || result <= 0)
    return;
  passing->carries = 0;
  close(passing->outgoing[0].fd);
  passing->outgoing_count--;
  memmove(&passing->outgoing[0], &passing->outgoing[1], (size_t)passing->outgoing_count * sizeof passing->outgoing[0]);
}

int mr_connection_take_descriptor(mr_loop *loop, int slot) {
  mr_connection *connection = mr_connection_at(loop, slot);
  mr_passing *passing = connection->stream ? connection->stream->passing : NULL;
  if (!passing || !passing->receives)
    return -EOPNOTSUPP;
  if (passing->received_count) {
    int fd = passing->received[0];
    passing->received_count--;
    memmove(&passing->received[0], &passing->received[1], (size_t)passing->received_count * sizeof(int));
    return fd;
  }
  if (passing->lost) {
    passing->lost = 0;
    return -EMFILE;
  }
  if (connection->receive_error)
    return connection->receive_error;
  if (connection->end_of_stream)
    return -ENODATA;
  if (connection->receive_paused)
    return -ENOBUFS;
  connection->read_wanted = 1;
  return -EAGAIN;
}

int mr_connection_credentials(mr_loop *loop, int slot, mr_credentials *out) {
  int fd = mr_connection_at(loop, slot)->fd;
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (!is_unix_socket(fd))
    return -EOPNOTSUPP;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
    return -errno;
  *out = (mr_credentials){peer.pid, peer.uid, peer.gid};
  return 0;
}

void mr_passing_free(mr_passing *passing) {
  for (int i = 0; i < passing->received_count; i++)
    close(passing->received[i]);
  for (int i = 0; i < passing->outgoing_count; i++)
    close(passing->outgoing[i].fd);
  free(passing);
}
