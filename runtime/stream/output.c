/*
 * output.c - the sending side of connections.
 *
 * At most one send is in flight on a connection: two would interleave once the socket's buffer is full. What is written
 * meanwhile queues behind it and goes out with the next, gathered. A send is first tried without waiting, which nearly always
 * succeeds and then costs no completion; when the socket has no room, a second one waits for it. Sends are prepared once a
 * turn, just before the ring is entered, so that all that a handler wrote leaves together.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
  COPY_PIECE_BYTES = 262144,
  RESERVE_BYTES = 1024, /* small responses are put into chunks where many of them find room side by side */
};

void mr_output_took(mr_loop *loop, mr_connection *connection, uint64_t bytes) {
  loop->statistics.bytes_sent += bytes;
  connection->sent += bytes;
  mr_queue_consume(loop, &connection->output, bytes);
}

static void mark_dirty(mr_loop *loop, mr_connection *connection) {
  if (connection->dirty || connection->sending)
    return;
  connection->dirty = 1;
  connection->next_dirty = NULL;
  if (loop->dirty_last)
    loop->dirty_last->next_dirty = connection;
  else
    loop->dirty_first = connection;
  loop->dirty_last = connection;
}

mr_message *mr_output_gather(mr_loop *loop, mr_connection *connection) {
  if (loop->message_count == MESSAGES_MAX) {
    int error = mr_uring_enter(loop->ring, 0, 0);
    if (error || mr_uring_pending(loop->ring))
      return NULL;
    loop->message_count = 0;
  }
  mr_message *message = &loop->messages[loop->message_count++];
  size_t count = 0;
  connection->sending_bytes = 0;
  for (mr_piece *piece = connection->output.first; piece && count < SEND_IOVECS_MAX; piece = piece->next) {
    message->parts[count++] = (struct iovec){piece->iovec.data, piece->iovec.length};
    connection->sending_bytes += piece->iovec.length;
  }
  message->header = (struct msghdr){.msg_iov = message->parts, .msg_iovlen = count};
  return message;
}

static int send_gathered(mr_loop *loop, mr_connection *connection, int quick, uint64_t user_data) {
  mr_message *message = mr_output_gather(loop, connection);
  return message ? mr_uring_send_message(loop->ring, connection->fd, &message->header, quick, user_data) : -EAGAIN;
}

static int send_single(mr_loop *loop, mr_connection *connection, int quick, uint64_t user_data) {
  const mr_iovec *iovec = &connection->output.first->iovec;
  connection->sending_bytes = iovec->length;
  return mr_uring_send(loop->ring, connection->fd, iovec->data, iovec->length, quick, user_data);
}

static int send_start(mr_loop *loop, mr_connection *connection) {
  uint64_t user_data = user_data_of(OPERATION_SEND, &connection->slot);
  int by_stream = connection->stream && mr_stream_sends(connection->stream);
  int has_files = connection->output.files != 0;
  int quick = !connection->send_refused && !by_stream && !has_files;
  int error = by_stream                        ? mr_stream_send(loop, connection, user_data)
              : has_files                      ? mr_sendfile_await(loop, connection, user_data)
              : connection->output.first->next ? send_gathered(loop, connection, quick, user_data)
                                               : send_single(loop, connection, quick, user_data);
  if (error)
    return error;
  connection->sending = 1;
  loop->statistics.sends++;
  connection->quick = (uint8_t)quick;
  if (quick) {
    connection->next_quick = loop->quick_first;
    loop->quick_first = connection;
    if (connection->write_wanted || connection->shutdown_wanted || connection->state != CONNECTION_OPEN ||
        connection->output.bytes > connection->sending_bytes)
      loop->quick_awaited = 1;
  }
  connection->owed++;
  loop->statistics.operations++;
  return 0;
}

void mr_output_prepare(mr_loop *loop) {
  if (mr_uring_pending(loop->ring) == 0)
    loop->message_count = 0;
  mr_connection *connection = loop->dirty_first;
  loop->dirty_first = loop->dirty_last = NULL;
  while (connection) {
    mr_connection *next = connection->next_dirty;
    connection->dirty = 0;
    if (connection->output.first && !connection->sending && connection->state <= CONNECTION_FLUSHING &&
        send_start(loop, connection))
      mark_dirty(loop, connection); /* no room in the submission queue: with the next turn */
    mr_connection_settle(loop, connection);
    connection = next;
  }
}

void mr_output_fail(mr_loop *loop, mr_connection *connection, int error) {
  connection->send_error = error;
  mr_queue_clear(loop, &connection->output);
}

static void shutdown_when_sent(mr_loop *loop, mr_connection *connection) {
  if (!connection->shutdown_wanted || connection->shut_down || connection->output.first)
    return;
  /* Directly: IORING_OP_SHUTDOWN always takes a worker thread, and the call does not block. */
  connection->shut_down = 1;
  if (connection->stream && connection->stream->is_file)
    mr_stream_shutdown(loop, connection);
  else
    shutdown(connection->fd, SHUT_WR);
}

void mr_output_settle(mr_loop *loop) {
  mr_connection *connection = loop->quick_first;
  loop->quick_first = NULL;
  while (connection) {
    mr_connection *next = connection->next_quick;
    if (connection->quick && loop->event_count < EVENTS_MAX) {
      mr_output_complete(loop, connection, (int64_t)connection->sending_bytes);
    } else if (connection->quick) { /* no room for the event that it may cause: with the next turn */
      connection->next_quick = loop->quick_first;
      loop->quick_first = connection;
    }
    connection = next;
  }
  loop->quick_awaited = loop->quick_first != NULL;
}

void mr_output_complete(mr_loop *loop, mr_connection *connection, int64_t result) {
  if (connection->room_polled)
    result = mr_sendfile_ready(loop, connection, result);
  else if (connection->stream)
    result = mr_stream_sent(connection, result);
  connection->send_refused = connection->quick && result != (int64_t)connection->sending_bytes;
  connection->sending = connection->quick = 0;
  connection->owed--;
  loop->statistics.operations--;
  if (result >= 0) {
    if (connection->fast_open)
      mr_connection_opened(loop, connection);
    mr_output_took(loop, connection, (uint64_t)result);
  } else if (result != -EINTR && result != -EAGAIN) {
    mr_output_fail(loop, connection, result);
  }
  if (connection->state == CONNECTION_OPEN || connection->state == CONNECTION_FLUSHING) {
    if (connection->output.first)
      mark_dirty(loop, connection);
    shutdown_when_sent(loop, connection);
    if (connection->write_wanted && (connection->send_error || connection->output.bytes <= connection->write_mark)) {
      connection->write_wanted = 0;
      mr_event_push(loop, MR_EVENT_WRITABLE, connection->slot.number, 0);
    }
    if (connection->state == CONNECTION_FLUSHING && !connection->output.first)
      mr_connection_finish(loop, connection);
  }
  mr_connection_settle(loop, connection);
}

int mr_output_check(const mr_connection *connection) {
  if (connection->send_error)
    return connection->send_error;
  if (connection->read_only)
    return -EBADF;
  return connection->state == CONNECTION_OPEN && !connection->shutdown_wanted ? 0 : -EPIPE;
}

static double output_append(mr_loop *loop, mr_connection *connection, mr_iovec *iovec) {
  int error = mr_queue_append(loop, &connection->output, iovec);
  if (error)
    return error;
  mark_dirty(loop, connection);
  return (double)connection->output.bytes;
}

int mr_output_append_file(mr_loop *loop, mr_connection *connection, int fd, int64_t offset, uint32_t length) {
  mr_piece *piece = mr_piece_take(loop);
  if (!piece)
    return -ENOMEM;
  piece->iovec = (mr_iovec){.length = length};
  piece->file = fd;
  piece->is_file = 1;
  piece->offset = offset;
  mr_queue_link(&connection->output, piece);
  connection->output.files++;
  connection->output.bytes += length;
  mark_dirty(loop, connection);
  return 0;
}

double mr_connection_write_bytes(mr_loop *loop, int slot, const uint8_t *data, uint32_t length) {
  mr_connection *connection = mr_connection_at(loop, slot);
  int error = mr_output_check(connection);
  if (error)
    return error;
  while (length) {
    uint32_t piece = length < COPY_PIECE_BYTES ? length : COPY_PIECE_BYTES;
    mr_iovec parts[2];
    int count = mr_iovec_alloc(loop->memory, piece, 0, 2, 0, parts);
    if (count < 0)
      return count;
    for (int i = 0; i < count; i++) {
      memcpy(parts[i].data, data, parts[i].length);
      loop->statistics.bytes_copied += parts[i].length;
      data += parts[i].length;
      length -= parts[i].length;
      double queued = output_append(loop, connection, &parts[i]);
      if (queued < 0) {
        mr_iovec_drop(&parts[1]);
        return queued;
      }
    }
  }
  return (double)connection->output.bytes;
}

double mr_connection_write_buffer(mr_loop *loop, int slot, mr_buffer *buffer) {
  mr_connection *connection = mr_connection_at(loop, slot);
  int error = mr_output_check(connection);
  if (error)
    return error;
  uint32_t length = (uint32_t)(buffer->limit_ - buffer->position_);
  if (length == 0)
    return (double)connection->output.bytes;
  double queued;
  if (buffer->memory_.reference) {
    mr_iovec part;
    error = mr_iovec_clone_segment(&part, &buffer->memory_, (uint32_t)buffer->position_, length);
    queued = error ? error : output_append(loop, connection, &part);
    buffer->flags_ |= MR_BUFFER_VIEWED;
  } else {
    queued = mr_connection_write_bytes(loop, slot, buffer->data_ + buffer->position_, length);
  }
  if (queued >= 0)
    buffer->position_ = buffer->limit_;
  return queued;
}

uint8_t *mr_connection_reserve(mr_loop *loop, int slot, uint32_t length) {
  mr_connection *connection = mr_connection_at(loop, slot);
  connection->reserved_bytes = 0;
  mr_iovec_drop(&connection->reserved);
  if (mr_output_check(connection))
    return NULL;
  mr_piece *last = connection->output.last;
  uint8_t *room = last && !last->is_file ? mr_iovec_room(&last->iovec, length) : NULL;
  if (!room) {
    uint32_t bytes = length < RESERVE_BYTES ? RESERVE_BYTES : length;
    if (mr_iovec_alloc(loop->memory, bytes, 0, 1, 0, &connection->reserved) != 1)
      return NULL;
    room = connection->reserved.data;
  }
  connection->reserved_bytes = length;
  return room;
}

double mr_connection_commit(mr_loop *loop, int slot, uint32_t used) {
  mr_connection *connection = mr_connection_at(loop, slot);
  int error = mr_output_check(connection);
  if (!error && used > connection->reserved_bytes)
    error = -EINVAL;
  connection->reserved_bytes = 0;
  if (error || !used) {
    mr_iovec_drop(&connection->reserved);
    return error ? error : (double)connection->output.bytes;
  }
  if (connection->reserved.reference) {
    mr_iovec_trim(&connection->reserved, used);
    return output_append(loop, connection, &connection->reserved);
  }
  mr_iovec_grow(&connection->output.last->iovec, used);
  connection->output.bytes += used;
  mark_dirty(loop, connection);
  return (double)connection->output.bytes;
}

int mr_connection_drain(mr_loop *loop, int slot, uint32_t mark) {
  mr_connection *connection = mr_connection_at(loop, slot);
  if (connection->send_error)
    return connection->send_error;
  if (connection->output.bytes <= mark)
    return 0;
  connection->write_mark = mark;
  connection->write_wanted = 1;
  return -EAGAIN;
}

void mr_connection_write_withdraw(mr_loop *loop, int slot) {
  mr_connection_at(loop, slot)->write_wanted = 0;
}

double mr_connection_queued(mr_loop *loop, int slot) {
  return (double)mr_connection_at(loop, slot)->output.bytes;
}

double mr_connection_sent(mr_loop *loop, int slot) {
  return (double)mr_connection_at(loop, slot)->sent;
}

int mr_connection_shutdown(mr_loop *loop, int slot) {
  mr_connection *connection = mr_connection_at(loop, slot);
  if (connection->send_error)
    return connection->send_error;
  if (connection->stream && connection->stream->is_file && !connection->write_only)
    return connection->read_only ? -EBADF : -EOPNOTSUPP;
  connection->shutdown_wanted = 1;
  shutdown_when_sent(loop, connection);
  return 0;
}
