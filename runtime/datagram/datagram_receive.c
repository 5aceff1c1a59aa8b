/*
 * datagram_receive.c - receiving datagrams: one multishot recvmsg for each socket, into rings of buffers that all sockets of a
 * loop share, one ring for each size. An idle socket holds no memory.
 *
 * The rings are plain ones, a datagram for a buffer: incremental buffers with recvmsg have had bugs in the kernel. A small
 * datagram in a large buffer is copied out and the buffer lent again, because 50 bytes would otherwise pin 128 KiB and touch
 * memory that is in no cache; anything else is handed on as it lies there, and its place in the ring filled with fresh memory.
 *
 * What comes is queued as the kernel has written it (header, sender's name, payload) and taken apart by its reader. When
 * the queue is full the receive is cancelled, and the kernel's queue fills up and drops, which is what UDP does with a reader that
 * lags. A failure (ICMP's, on a connected socket) ends the receive, too, which goes on when it has been told.
 */
#include "datagram/datagram_internal.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
  FIRST_GROUP = 1, /* of the ring's buffer groups: 0 is that of the streams */
  NAME_ROOM_MAX = sizeof(mr_socket_name),
  HEADER_ALIGNMENT = 8,
  LARGE_BYTES = 16384,
  LARGE_COUNT = 32, /* buffers; what comes at once beyond that costs another receive, no datagram */
  SMALL_COUNT = 128,
};

static void lend(mr_datagram_ring *ring, uint32_t index) {
  mr_uring_buffers_add(ring->buffers, ring->memory[index].data, ring->bytes, (uint16_t)index);
  ring->changed = 1;
}

/* Puts fresh memory into the ring in place of what was handed on. */
static void entry_fill(mr_loop *loop, mr_datagram_ring *ring, uint32_t index) {
  if (mr_iovec_alloc(loop->memory, ring->bytes, HEADER_ALIGNMENT, 1, 0, &ring->memory[index]) < 0)
    ring->missing++;
  else
    lend(ring, index);
}

int mr_datagram_ring_open(mr_loop *loop, uint32_t max_bytes) {
  int number = 0;
  while ((uint32_t)DATAGRAM_SMALLEST << number < max_bytes)
    number++;
  mr_datagram_ring *ring = &loop->datagrams->rings[number];
  if (ring->buffers)
    return number;
  uint32_t payload = (uint32_t)DATAGRAM_SMALLEST << number;
  ring->bytes = MR_URING_MESSAGE_HEADER + NAME_ROOM_MAX + payload;
  ring->count = payload < LARGE_BYTES ? SMALL_COUNT : LARGE_COUNT;
  ring->memory = calloc(ring->count, sizeof *ring->memory);
  if (!ring->memory)
    return -ENOMEM;
  int error = mr_uring_buffers_open(loop->ring, (uint16_t)(FIRST_GROUP + number), ring->count, 0, &ring->buffers);
  if (error) {
    free(ring->memory);
    *ring = (mr_datagram_ring){0};
    return error;
  }
  for (uint32_t i = 0; i < ring->count; i++)
    entry_fill(loop, ring, i);
  loop->datagrams->rings_open++;
  return number;
}

void mr_datagram_rings_close(mr_loop *loop) {
  for (int number = 0; number < DATAGRAM_RINGS; number++) {
    mr_datagram_ring *ring = &loop->datagrams->rings[number];
    if (!ring->buffers)
      continue;
    mr_uring_buffers_close(loop->ring, ring->buffers);
    for (uint32_t i = 0; i < ring->count; i++)
      mr_iovec_release(&ring->memory[i]);
    free(ring->memory);
    *ring = (mr_datagram_ring){0};
  }
  loop->datagrams->rings_open = 0;
  loop->datagrams->idle_since = 0;
}

/* As mr_receive_rest does for streams. */
int64_t mr_datagram_rings_rest(mr_loop *loop) {
  if (!loop->datagrams->rings_open)
    return -1;
  int64_t left = mr_rings_kept(loop, loop->datagrams->sockets.used != 0, &loop->datagrams->idle_since);
  if (left)
    return left;
  mr_datagram_rings_close(loop);
  return -1;
}

uint64_t mr_datagram_rings_bytes(const mr_loop *loop) {
  uint64_t bytes = 0;
  for (int number = 0; number < DATAGRAM_RINGS; number++) {
    const mr_datagram_ring *ring = &loop->datagrams->rings[number];
    bytes += (uint64_t)(ring->count - ring->missing) * ring->bytes;
  }
  return bytes;
}

/* Arming -----------------------------------------------------------------------------------------------------------*/

static void park(mr_loop *loop, mr_datagram *datagram) {
  if (datagram->receive_parked)
    return;
  mr_datagram_ring *ring = &loop->datagrams->rings[datagram->ring];
  datagram->receive_parked = 1;
  datagram->owed++; /* the list's */
  datagram->next_parked = ring->parked;
  ring->parked = datagram;
  loop->datagrams->parked++;
}

/* Whether no more is to be received before the reader has taken some. */
static int is_full(const mr_datagram *datagram) {
  return datagram->queued >= datagram->queue_max || datagram->input.bytes >= DATAGRAM_QUEUE_BYTES;
}

static uint64_t receive_user_data(const mr_datagram *datagram) {
  return user_data_of(OPERATION_DATAGRAM_RECEIVE, &datagram->slot);
}

static void arm(mr_loop *loop, mr_datagram *datagram) {
  if (datagram->fd < 0 || datagram->receive_armed || datagram->receive_parked || datagram->receive_error ||
      is_full(datagram))
    return;
  if (mr_uring_receive_messages(loop->ring, datagram->fd, &datagram->message, (uint16_t)(FIRST_GROUP + datagram->ring),
                                receive_user_data(datagram))) {
    park(loop, datagram); /* no room in the submission queue: with the next turn */
    return;
  }
  datagram->receive_armed = 1;
  datagram->owed++;
  loop->statistics.operations++;
}

void mr_datagram_receive_stop(mr_loop *loop, mr_datagram *datagram) {
  if (datagram->receive_armed)
    mr_uring_cancel_quietly(loop->ring, receive_user_data(datagram), 0);
  mr_queue_clear(loop, &datagram->input);
  datagram->queued = 0;
}

static void ring_prepare(mr_loop *loop, mr_datagram_ring *ring) {
  uint32_t missing = ring->missing;
  ring->missing = 0;
  for (uint32_t i = 0; i < ring->count && missing; i++)
    if (!ring->memory[i].reference) {
      missing--;
      entry_fill(loop, ring, i);
    }
  if (ring->changed)
    mr_uring_buffers_publish(ring->buffers);
  ring->changed = 0;
  if (ring->missing == ring->count)
    return; /* armed without a free buffer a receive ends at once */
  mr_datagram *datagram = ring->parked;
  ring->parked = NULL;
  while (datagram) {
    mr_datagram *next = datagram->next_parked;
    datagram->receive_parked = 0;
    datagram->owed--;
    loop->datagrams->parked--;
    arm(loop, datagram);
    mr_datagram_settle(loop, datagram);
    datagram = next;
  }
}

void mr_datagrams_prepare(mr_loop *loop) {
  if (!loop->datagrams->rings_open)
    return;
  for (int number = 0; number < DATAGRAM_RINGS; number++) {
    mr_datagram_ring *ring = &loop->datagrams->rings[number];
    if (ring->changed || ring->missing || ring->parked)
      ring_prepare(loop, ring);
  }
}

int mr_datagrams_starving(const mr_loop *loop) {
  return loop->datagrams->parked > 0;
}

/* What has come -----------------------------------------------------------------------------------------------------*/

/* The filled part of a buffer as an iovec of its own. Result: 0 or -ENOMEM. */
static int buffer_take(mr_loop *loop, mr_datagram_ring *ring, uint32_t index, uint32_t used, mr_iovec *out) {
  mr_iovec *memory = &ring->memory[index];
  if (used > DATAGRAM_COPY_MAX || ring->bytes <= 2 * DATAGRAM_COPY_MAX) {
    *out = *memory; /* handed on as it is */
    out->length = used;
    *memory = (mr_iovec){0};
    entry_fill(loop, ring, index);
    return 0;
  }
  int result = mr_iovec_alloc(loop->memory, used, HEADER_ALIGNMENT, 1, 0, out);
  if (result > 0) {
    memcpy(out->data, memory->data, used);
    loop->statistics.bytes_copied += used;
  }
  lend(ring, index);
  return result < 0 ? -ENOMEM : 0;
}

static void deliver(mr_loop *loop, mr_datagram *datagram, uint32_t index) {
  mr_datagram_ring *ring = &loop->datagrams->rings[datagram->ring];
  mr_uring_message message;
  int error = mr_uring_message_parse(ring->memory[index].data, ring->bytes, datagram->message.msg_namelen, &message);
  mr_piece *piece = error || datagram->fd < 0 ? NULL : mr_piece_take(loop);
  if (!piece) {
    lend(ring, index);
    return;
  }
  if (message.length > datagram->max_bytes)
    message.length = datagram->max_bytes;
  if (buffer_take(loop, ring, index, message.offset + message.length, &piece->iovec)) {
    mr_piece_give(loop, piece);
    datagram->statistics.dropped++;
    return;
  }
  mr_queue_link(&datagram->input, piece);
  datagram->input.bytes += piece->iovec.capacity;
  datagram->queued++;
  datagram->statistics.received++;
  datagram->statistics.cut += message.full_length > message.length;
  loop->statistics.bytes_received += message.length;
}

void mr_datagram_receive_complete(mr_loop *loop, const mr_completion *done) {
  mr_datagram *datagram = mr_datagram_at(loop, (int32_t)(uint32_t)done->user_data);
  if (!generation_matches(done->user_data, datagram->slot.generation)) {
    loop->statistics.stale++;
    return;
  }
  int was_full = is_full(datagram);
  if (done->flags & MR_COMPLETION_BUFFER)
    deliver(loop, datagram, done->buffer);
  if (!(done->flags & MR_COMPLETION_MORE)) {
    datagram->receive_armed = 0;
    datagram->owed--;
    loop->statistics.operations--;
  }
  if (done->result == -ENOBUFS) {
    loop->statistics.receive_refusals++;
    if (datagram->fd >= 0)
      park(loop, datagram);
  } else if (done->result < 0 && done->result != -ECANCELED && done->result != -EINTR && done->result != -EAGAIN) {
    datagram->receive_error = done->result;
  }
  if (datagram->fd >= 0) {
    if (datagram->read_wanted && (datagram->input.first || datagram->receive_error)) {
      datagram->read_wanted = 0;
      mr_event_push(loop, MR_EVENT_DATAGRAM_READABLE, datagram->slot.number, 0);
    }
    if (datagram->receive_armed && !was_full && is_full(datagram))
      mr_uring_cancel_quietly(loop->ring, receive_user_data(datagram), 0);
    arm(loop, datagram); /* an empty datagram ends a receive as well */
  }
  mr_datagram_settle(loop, datagram);
}

/* Its reader --------------------------------------------------------------------------------------------------------*/

int mr_datagram_receive(mr_loop *loop, int slot, mr_buffer *buffer, mr_address *from) {
  mr_datagram *datagram = mr_datagram_at(loop, slot);
  mr_buffer_release(buffer);
  if (!datagram->input.first) {
    int error = datagram->receive_error;
    datagram->receive_error = 0;
    arm(loop, datagram);
    if (error)
      return error;
    datagram->read_wanted = 1;
    return -EAGAIN;
  }
  mr_iovec *memory = &datagram->input.first->iovec;
  mr_uring_message message;
  mr_uring_message_parse(memory->data, memory->length, datagram->message.msg_namelen, &message);
  *from = (mr_address){0};
  if (message.name_length > offsetof(struct sockaddr_un, sun_path))
    mr_datagram_address((const mr_socket_name *)message.name, message.name_length, from);
  datagram->input.bytes -= memory->capacity;
  datagram->queued--;
  mr_iovec payload = {0};
  int error = mr_iovec_move_segment(&payload, memory, message.offset, message.length);
  if (!error)
    error = mr_buffer_adopt(buffer, &payload);
  mr_queue_drop_first(loop, &datagram->input);
  if (!datagram->receive_armed && datagram->queued <= datagram->queue_low)
    arm(loop, datagram);
  return error ? error : (int)message.full_length;
}

void mr_datagram_receive_withdraw(mr_loop *loop, int slot) {
  mr_datagram_at(loop, slot)->read_wanted = 0;
}
