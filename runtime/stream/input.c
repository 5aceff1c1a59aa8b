/*
 * input.c - the reading side of connections: what has been received, handed to its reader as cursors without copying.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <string.h>

enum { GATHER_FIRST_BYTES = 1024 }; /* smallest block that pieces of a message are gathered in */

/* 0 at the end of the stream, its error, or -EAGAIN with the wish for an event noted. */
static int nothing_there(mr_connection *connection) {
  if (connection->receive_error)
    return connection->receive_error;
  if (connection->write_only)
    return -EBADF;
  if (connection->fast_open && connection->receive_paused && !connection->output.first)
    return -ENOTCONN;
  /* A reset is reported once; when a send has got it, the receive sees an ordinary end. */
  if (connection->end_of_stream)
    return connection->send_error == -ECONNRESET ? -ECONNRESET : 0;
  if (connection->state != CONNECTION_OPEN)
    return -ENOTCONN;
  connection->read_wanted = 1;
  return -EAGAIN;
}

static void taken(mr_loop *loop, mr_connection *connection, uint64_t bytes) {
  connection->input.bytes -= bytes;
  if (connection->receive_paused && connection->input.bytes <= connection->read_low) {
    connection->receive_paused = 0;
    mr_receive_arm(loop, connection);
  }
}

int mr_connection_read(mr_loop *loop, int slot, mr_buffer *buffer) {
  mr_connection *connection = mr_connection_at(loop, slot);
  mr_buffer_release(buffer);
  if (!connection->input.first)
    return nothing_there(connection);
  int error = mr_buffer_adopt(buffer, &connection->input.first->iovec);
  mr_queue_drop_first(loop, &connection->input);
  if (error)
    return error;
  taken(loop, connection, (uint32_t)buffer->capacity_);
  return buffer->capacity_;
}

/* Takes `bytes` off the front of the first piece, which has as many. */
static void consume_first(mr_loop *loop, mr_connection *connection, uint32_t bytes) {
  mr_iovec *first = &connection->input.first->iovec;
  if (bytes == first->length) {
    mr_queue_drop_first(loop, &connection->input);
    return;
  }
  first->data += bytes;
  first->length -= bytes;
  first->capacity -= bytes;
}

int mr_connection_read_bytes(mr_loop *loop, int slot, uint8_t *data, uint32_t length) {
  mr_connection *connection = mr_connection_at(loop, slot);
  if (!connection->input.first)
    return nothing_there(connection);
  uint32_t copied = 0;
  while (connection->input.first && copied < length) {
    const mr_iovec *first = &connection->input.first->iovec;
    uint32_t take = first->length < length - copied ? first->length : length - copied;
    memcpy(data + copied, first->data, take);
    copied += take;
    consume_first(loop, connection, take);
  }
  loop->statistics.bytes_copied += copied;
  taken(loop, connection, copied);
  return (int)copied;
}

/*
 * Replaces *buffer by a block of at least `needed` bytes that starts with its remaining ones. Blocks double, so gathering a
 * message from n pieces copies each byte a bounded number of times.
 */
static int gather_grow(mr_loop *loop, mr_buffer *buffer, uint32_t needed, uint32_t max) {
  uint32_t capacity = GATHER_FIRST_BYTES;
  while (capacity < needed)
    capacity *= 2;
  if (capacity > max)
    capacity = max;
  uint32_t remaining = (uint32_t)(buffer->limit_ - buffer->position_);
  mr_buffer block;
  int error = mr_buffer_allocate(loop->memory, &block, capacity, 0);
  if (error)
    return error;
  if (remaining)
    memcpy(block.data_, buffer->data_ + buffer->position_, remaining);
  loop->statistics.bytes_copied += remaining;
  mr_buffer_release(buffer);
  block.limit_ = (int32_t)remaining;
  *buffer = block;
  return 0;
}

/*
 * Whether more bytes may be put behind the buffer's limit: only a block made by gather_grow has room there. What the kernel
 * filled is shared with others, and its limit is its capacity.
 */
static int has_room(const mr_buffer *buffer, uint32_t length) {
  return (uint32_t)(buffer->capacity_ - buffer->limit_) >= length;
}

int mr_connection_extend(mr_loop *loop, int slot, mr_buffer *buffer, uint32_t max) {
  mr_connection *connection = mr_connection_at(loop, slot);
  uint32_t remaining = (uint32_t)(buffer->limit_ - buffer->position_);
  if (remaining >= max)
    return -EMSGSIZE;
  if (!connection->input.first) {
    /* Small rests leave the receive buffer while their owner waits: they would pin all of it. */
    if (remaining && buffer->limit_ == buffer->capacity_) {
      int error = gather_grow(loop, buffer, remaining + 1, max);
      if (error)
        return error;
    }
    return nothing_there(connection);
  }
  if (remaining == 0)
    return mr_connection_read(loop, slot, buffer);
  mr_iovec *next = &connection->input.first->iovec;
  uint32_t take = next->length < max - remaining ? next->length : max - remaining;
  if (!has_room(buffer, take)) {
    int error = gather_grow(loop, buffer, remaining + take, max);
    if (error)
      return error;
  }
  memcpy(buffer->data_ + buffer->limit_, next->data, take);
  loop->statistics.bytes_copied += take;
  buffer->limit_ += (int32_t)take;
  consume_first(loop, connection, take);
  taken(loop, connection, take);
  return (int)take;
}

void mr_connection_read_withdraw(mr_loop *loop, int slot) {
  mr_connection_at(loop, slot)->read_wanted = 0;
}
