/*
 * receive.c - the receive ring: buffers lent to the kernel, and slices of them handed to connections.
 *
 * Every connection's receive is one multishot operation that takes its memory from the ring when bytes arrive, so an idle
 * connection holds none. Incremental buffers are filled bit by bit by whichever connection receives next; the kernel does not
 * tell the offset, but it fills in the order of its completions, so counting along is exact. That accounting comes before any
 * look at the connection: a completion for a connection that is gone has used the buffer all the same.
 *
 * A filled buffer is replaced at once by fresh memory and never waited for. Whoever holds slices of it keeps it
 * alive, and the ring never runs dry because a handler is slow.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { DEFAULT_INCREMENTAL_COUNT = 32, DEFAULT_PLAIN_COUNT = 512, DEFAULT_PLAIN_BYTES = 4096 };

/* Puts fresh memory into the ring in place of what was used up. */
static void entry_fill(mr_loop *loop, uint32_t index) {
  mr_receive_ring *receive = loop->receive;
  mr_receive_entry *entry = &receive->entries[index];
  mr_iovec_release(&entry->memory);
  entry->filled = 0;
  if (mr_iovec_alloc(loop->memory, receive->bytes, 0, 1, 0, &entry->memory) < 0) {
    receive->missing++;
    return;
  }
  mr_uring_buffers_add(receive->buffers, entry->memory.data, receive->bytes, (uint16_t)index);
  receive->changed = 1;
}

int mr_receive_ring_open(mr_loop *loop) {
  mr_receive_ring *receive = loop->receive;
  if (receive->buffers)
    return 0;
  const mr_loop_options *options = &loop->options;
  receive->incremental = !options->receive_plain && mr_uring_incremental();
  receive->count = options->receive_buffers ? options->receive_buffers
                   : receive->incremental   ? DEFAULT_INCREMENTAL_COUNT
                                            : DEFAULT_PLAIN_COUNT;
  receive->bytes = options->receive_buffer_bytes ? options->receive_buffer_bytes
                   : receive->incremental        ? MR_CHUNK_BYTES
                                                 : DEFAULT_PLAIN_BYTES;
  receive->entries = calloc(receive->count, sizeof *receive->entries);
  if (!receive->entries)
    return -ENOMEM;
  int error = mr_uring_buffers_open(loop->ring, RECEIVE_GROUP, receive->count, receive->incremental, &receive->buffers);
  if (error) {
    free(receive->entries);
    receive->entries = NULL;
    return error;
  }
  loop->statistics.incremental = (uint64_t)receive->incremental;
  for (uint32_t i = 0; i < receive->count; i++)
    entry_fill(loop, i);
  return 0;
}

void mr_receive_ring_close(mr_loop *loop) {
  mr_receive_ring *receive = loop->receive;
  if (!receive->buffers)
    return;
  mr_uring_buffers_close(loop->ring, receive->buffers);
  for (uint32_t i = 0; i < receive->count; i++)
    mr_iovec_release(&receive->entries[i].memory);
  free(receive->entries);
  *receive = (mr_receive_ring){0};
}

/*
 * Without connections there is no operation that could take memory from the ring, so it can go. The next connection makes it
 * anew, which costs some microseconds: hence not at once.
 */
int64_t mr_receive_rest(mr_loop *loop) {
  mr_receive_ring *receive = loop->receive;
  if (!receive->buffers)
    return -1;
  int64_t left = mr_rings_kept(loop, loop->statistics.connections != 0, &receive->idle_since);
  if (left)
    return left;
  mr_receive_ring_close(loop);
  return -1;
}

static void refill_missing(mr_loop *loop) {
  mr_receive_ring *receive = loop->receive;
  uint32_t missing = receive->missing;
  receive->missing = 0;
  for (uint32_t i = 0; i < receive->count && missing; i++)
    if (!receive->entries[i].memory.reference) {
      missing--;
      entry_fill(loop, i);
    }
}

void mr_receive_prepare(mr_loop *loop) {
  mr_receive_ring *receive = loop->receive;
  if (receive->missing)
    refill_missing(loop);
  if (receive->changed) {
    mr_uring_buffers_publish(receive->buffers);
    receive->changed = 0;
  }
  /* Armed without a free buffer, a multishot receive ends at once, with or without data: wait for one. */
  if (!receive->parked_first || receive->missing == receive->count)
    return;
  mr_connection *connection = receive->parked_first;
  receive->parked_first = receive->parked_last = NULL;
  receive->starved = 0;
  while (connection) {
    mr_connection *next = connection->next_parked;
    connection->receive_parked = 0;
    mr_receive_arm(loop, connection);
    mr_connection_settle(loop, connection);
    connection = next;
  }
}

int mr_receive_starving(const mr_loop *loop) {
  return (loop->receive->missing || loop->receive->starved) && loop->receive->parked_first;
}

static void park(mr_loop *loop, mr_connection *connection) {
  if (connection->receive_parked)
    return;
  connection->receive_parked = 1;
  connection->next_parked = NULL;
  if (loop->receive->parked_last)
    loop->receive->parked_last->next_parked = connection;
  else
    loop->receive->parked_first = connection;
  loop->receive->parked_last = connection;
}

void mr_receive_arm(mr_loop *loop, mr_connection *connection) {
  if (connection->state != CONNECTION_OPEN || connection->receive_armed || connection->receive_paused ||
      connection->receive_parked || connection->end_of_stream || connection->receive_error || connection->write_only)
    return;
  uint64_t user_data = user_data_of(OPERATION_RECEIVE, &connection->slot);
  int error = connection->stream ? mr_stream_receive(loop, connection, user_data)
                                 : mr_uring_receive(loop->ring, connection->fd, RECEIVE_GROUP, user_data);
  if (error) {
    park(loop, connection); /* no room in the submission queue: with the next turn */
    return;
  }
  connection->receive_armed = 1;
  connection->owed++;
  loop->statistics.operations++;
}

/* Books the buffer that a completion used and gives its bytes as *slice (empty when there are none). */
static void take_slice(mr_loop *loop, const mr_completion *done, mr_iovec *slice) {
  *slice = (mr_iovec){0};
  if (!(done->flags & MR_COMPLETION_BUFFER))
    return;
  mr_receive_entry *entry = &loop->receive->entries[done->buffer];
  if (done->result > 0) {
    mr_iovec_clone_segment(slice, &entry->memory, entry->filled, (uint32_t)done->result);
    entry->filled += (uint32_t)done->result;
    loop->statistics.bytes_received += (uint64_t)done->result;
  }
  if (!(done->flags & MR_COMPLETION_BUFFER_MORE))
    entry_fill(loop, done->buffer);
}

static void deliver(mr_loop *loop, mr_connection *connection, mr_iovec *slice) {
  if (connection->state != CONNECTION_OPEN) {
    mr_iovec_release(slice);
    return;
  }
  connection->received += slice->length;
  if (mr_queue_append(loop, &connection->input, slice)) {
    connection->receive_error = -ENOMEM;
    return;
  }
  if (connection->input.bytes >= connection->read_high && !connection->receive_paused) {
    connection->receive_paused = 1;
    if (connection->receive_armed)
      mr_uring_cancel_quietly(loop->ring, user_data_of(OPERATION_RECEIVE, &connection->slot), 0);
  }
}

void mr_receive_complete(mr_loop *loop, mr_connection *connection, const mr_completion *done) {
  mr_iovec slice;
  take_slice(loop, done, &slice);
  if (!connection) {
    mr_iovec_release(&slice);
    return;
  }
  if (!(done->flags & MR_COMPLETION_MORE)) {
    connection->receive_armed = 0;
    connection->owed--;
    loop->statistics.operations--;
  }
  int32_t result = done->result;
  if (connection->stream)
    result = mr_stream_received(loop, connection, result, &slice);
  if (slice.reference) {
    deliver(loop, connection, &slice);
  } else if (result > 0) {
    connection->receive_error = -ENOMEM; /* no record for the slice: bytes are lost, so the stream is over */
  } else if (result == 0) {
    connection->end_of_stream = 1;
  } else if (result == -ENOTCONN && connection->fast_open) {
    connection->receive_paused = 1; /* there is nobody yet: the first send goes with the SYN */
  } else if (result == -ENOBUFS) {
    loop->statistics.receive_refusals++;
    park(loop, connection);
  } else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
    /* A reset that a send was told of leaves a socket that is not connected. */
    connection->receive_error = result == -ENOTCONN && connection->send_error ? -ECONNRESET : result;
  }
  if (connection->read_wanted && (connection->input.first || connection->end_of_stream || connection->receive_error)) {
    connection->read_wanted = 0;
    mr_event_push(loop, MR_EVENT_READABLE, connection->slot.number, 0);
  }
  mr_receive_arm(loop, connection);
  mr_connection_settle(loop, connection);
}
