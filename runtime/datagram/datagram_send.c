/*
 * datagram_send.c - sending datagrams.
 *
 * Each datagram is one operation with a record that holds its memory and its receiver's address until it has ended. None waits in
 * the kernel: it has ended when the submission returns, and says nothing when it went well. One that found no room comes back and
 * stands in its socket's queue, with all that are sent after it, until a poll says that there is room. The kernel's own waiting is not
 * used, because io_uring tries a send again with what is left of its bytes, and a Unix socket has taken them all when it
 * finds that its receiver's queue is full: the datagram would arrive empty (seen on 6.18).
 *
 * All that is sent between two turns leaves with one system call.
 */
#include "datagram/datagram_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum {
  IPV4_PAYLOAD_MAX = 65535 - 20 - 8, /* the headers are part of an IPv4 packet's length */
  IPV6_PAYLOAD_MAX = 65535 - 8,
  RETRIES_AT_ONCE = 32,
};
/* How often a Unix socket's send to one of several receivers is tried again: a poll knows only of a connected one. */
static const int64_t retry_delay_ns = 2000000;

static uint64_t send_user_data(const mr_datagram_send *send) {
  return user_data_of(OPERATION_DATAGRAM_SEND, &send->slot);
}

/* In flight -------------------------------------------------------------------------------------------------------*/

static int submit(mr_loop *loop, mr_datagram_send *send) {
  int error = mr_uring_send_to(loop->ring, send->datagram->fd, send->data, send->length, &send->name.any,
                               send->name_length, send_user_data(send));
  if (error)
    return error;
  mr_datagrams *datagrams = loop->datagrams;
  send->previous = NULL;
  send->next = datagrams->quick_first;
  if (send->next)
    send->next->previous = send;
  datagrams->quick_first = send;
  datagrams->quick_count++;
  loop->statistics.sends++;
  loop->statistics.operations++;
  return 0;
}

/* Takes a send that has ended out of the list of those in flight. */
static void landed(mr_loop *loop, mr_datagram_send *send) {
  if (send->previous)
    send->previous->next = send->next;
  else
    loop->datagrams->quick_first = send->next;
  if (send->next)
    send->next->previous = send->previous;
  loop->datagrams->quick_count--;
  loop->statistics.operations--;
}

/* Lets go of a datagram that has gone out or failed. */
static void finish(mr_loop *loop, mr_datagram_send *send, int result) {
  mr_datagram *datagram = send->datagram;
  datagram->flying -= (int32_t)send->length + DATAGRAM_COST;
  datagram->owed--;
  if (result >= 0) {
    datagram->room_in_vain = 0;
    datagram->statistics.sent++;
    loop->statistics.bytes_sent += send->length;
  } else {
    datagram->statistics.failed++;
    if (!datagram->send_error)
      datagram->send_error = result;
  }
  mr_iovec_drop(&send->memory);
  mr_slots_give(&loop->datagrams->sends, &send->slot);
  if (datagram->write_wanted && datagram->flying <= datagram->write_mark) {
    datagram->write_wanted = 0;
    mr_event_push(loop, MR_EVENT_DATAGRAM_WRITABLE, datagram->slot.number, 0);
  }
  mr_datagram_settle(loop, datagram);
}

/* Waiting for room --------------------------------------------------------------------------------------------------*/

static void queue_append(mr_datagram *datagram, mr_datagram_send *send) {
  send->next = NULL;
  if (datagram->waiting_last)
    datagram->waiting_last->next = send;
  else
    datagram->waiting_first = send;
  datagram->waiting_last = send;
}

static mr_datagram_send *queue_take(mr_datagram *datagram) {
  mr_datagram_send *send = datagram->waiting_first;
  datagram->waiting_first = send->next;
  if (!send->next)
    datagram->waiting_last = NULL;
  return send;
}

static void queue_put_back(mr_datagram *datagram, mr_datagram_send *send) {
  send->next = datagram->waiting_first;
  datagram->waiting_first = send;
  if (!send->next)
    datagram->waiting_last = send;
}

static uint64_t room_user_data(const mr_datagram *datagram) {
  return user_data_of(OPERATION_DATAGRAM_ROOM, &datagram->slot);
}

/* Has mr_datagram_room called once when there may be room. */
static void wait_for_room(mr_loop *loop, mr_datagram *datagram) {
  if (datagram->room_polled || datagram->room_timer >= 0)
    return;
  /* Refused again although there was said to be room: it isn't room that is missing. */
  if (!datagram->room_in_vain && (datagram->family != AF_UNIX || datagram->connected) &&
      mr_uring_poll(loop->ring, datagram->fd, POLLOUT, room_user_data(datagram)) == 0) {
    datagram->room_polled = 1;
    datagram->owed++;
    loop->statistics.operations++;
    return;
  }
  datagram->room_timer = mr_timers_start(loop, retry_delay_ns, TIMER_DATAGRAM, datagram->slot.number);
  if (datagram->room_timer < 0) /* no memory for that: with the next turn */
    mr_datagram_room(loop, datagram->slot.number);
}

void mr_datagram_room(mr_loop *loop, int32_t slot) {
  mr_datagram *datagram = mr_datagram_at(loop, slot);
  datagram->room_timer = -1;
  if (datagram->fd < 0 || datagram->is_ready || !datagram->waiting_first)
    return;
  datagram->is_ready = 1;
  datagram->owed++; /* the list's */
  datagram->next_ready = loop->datagrams->ready;
  loop->datagrams->ready = datagram;
}

void mr_datagram_room_complete(mr_loop *loop, const mr_completion *done) {
  mr_datagram *datagram = mr_datagram_at(loop, (int32_t)(uint32_t)done->user_data);
  if (!generation_matches(done->user_data, datagram->slot.generation)) {
    loop->statistics.stale++;
    return;
  }
  datagram->room_polled = 0;
  datagram->room_in_vain = 1; /* until something goes out */
  datagram->owed--;
  loop->statistics.operations--;
  mr_datagram_room(loop, datagram->slot.number);
  mr_datagram_settle(loop, datagram);
}

/* Sends some of what waits: one at a time to Unix sockets, whose datagrams otherwise stay in order. */
static void send_waiting(mr_loop *loop, mr_datagram *datagram) {
  int count = datagram->family == AF_UNIX ? 1 : RETRIES_AT_ONCE;
  while (datagram->fd >= 0 && datagram->waiting_first && count--) {
    mr_datagram_send *send = queue_take(datagram);
    if (submit(loop, send)) { /* no room in the submission queue: with the next turn */
      queue_put_back(datagram, send);
      break;
    }
  }
}

void mr_datagrams_send_waiting(mr_loop *loop) {
  mr_datagram *datagram = loop->datagrams->ready;
  loop->datagrams->ready = NULL;
  while (datagram) {
    mr_datagram *next = datagram->next_ready;
    datagram->is_ready = 0;
    datagram->owed--;
    if (!datagram->room_polled && datagram->room_timer < 0) { /* none of the last ones was refused */
      send_waiting(loop, datagram);
      mr_datagram_room(loop, datagram->slot.number);
    }
    mr_datagram_settle(loop, datagram);
    datagram = next;
  }
}

/* What the kernel has said ------------------------------------------------------------------------------------------*/

void mr_datagram_send_complete(mr_loop *loop, const mr_completion *done) {
  mr_datagram_send *send = mr_slots_at(&loop->datagrams->sends, (int32_t)(uint32_t)done->user_data, sizeof *send);
  if (!generation_matches(done->user_data, send->slot.generation)) {
    loop->statistics.stale++;
    return;
  }
  mr_datagram *datagram = send->datagram;
  landed(loop, send);
  if (done->result == -EAGAIN && datagram->fd >= 0) {
    queue_append(datagram, send);
    wait_for_room(loop, datagram);
  } else {
    finish(loop, send, done->result);
  }
}

void mr_datagrams_settle(mr_loop *loop) {
  loop->datagrams->awaited = 0;
  while (loop->datagrams->quick_first && loop->event_count < EVENTS_MAX) {
    mr_datagram_send *send = loop->datagrams->quick_first;
    landed(loop, send);
    finish(loop, send, (int)send->length);
  }
  if (loop->datagrams->quick_first) /* the array of events is full: with the next turn */
    loop->quick_awaited = 1;
}

int mr_datagrams_awaited(const mr_loop *loop) {
  const mr_datagrams *datagrams = loop->datagrams;
  return datagrams->ready ||
         (datagrams->quick_count &&
          (datagrams->awaited || loop->statistics.operations <= datagrams->quick_count + (uint64_t)loop->wake_armed));
}

void mr_datagram_sends_stop(mr_loop *loop, mr_datagram *datagram) {
  if (datagram->room_polled)
    mr_uring_cancel_quietly(loop->ring, room_user_data(datagram), 0);
  if (datagram->room_timer >= 0)
    mr_timers_stop(loop, datagram->room_timer);
  datagram->room_timer = -1;
  while (datagram->waiting_first)
    finish(loop, queue_take(datagram), -ECANCELED);
}

/* Sending -----------------------------------------------------------------------------------------------------------*/

/* Writes the receiver's address to `send`, or tells what is wrong with it. */
static int receiver_set(const mr_datagram *datagram, const mr_address *to, mr_datagram_send *send) {
  if (!to)
    return datagram->connected ? 0 : -EDESTADDRREQ;
  if (datagram->connected)
    return -EISCONN;
  send->name_length = mr_datagram_name(datagram->family, to, &send->name);
  return send->name_length ? 0 : -EAFNOSUPPORT;
}

/* Unix sockets are bounded by their send buffer only, which the kernel knows. */
static uint32_t longest(int family) {
  return family == AF_INET ? IPV4_PAYLOAD_MAX : family == AF_INET6 ? IPV6_PAYLOAD_MAX : MR_SLAB_BYTES;
}

/* A record for a datagram to be sent. Result: 0, or negative errno as mr_datagram_send_bytes has them. */
static int begin(mr_loop *loop, mr_datagram *datagram, const mr_address *to, uint32_t length, mr_datagram_send **out) {
  int error = datagram->connected ? datagram->send_error : 0;
  if (error) {
    datagram->send_error = 0;
    return error;
  }
  if (length > longest(datagram->family))
    return -EMSGSIZE;
  mr_datagram_send *send = mr_slots_take(&loop->datagrams->sends, sizeof *send);
  if (!send)
    return -ENOMEM;
  send->datagram = datagram;
  send->length = length;
  error = receiver_set(datagram, to, send);
  if (error) {
    mr_slots_give(&loop->datagrams->sends, &send->slot);
    return error;
  }
  *out = send;
  return 0;
}

/* Hands a record that is complete to the kernel. */
static int commit(mr_loop *loop, mr_datagram_send *send) {
  mr_datagram *datagram = send->datagram;
  int error = datagram->waiting_first ? 0 : submit(loop, send);
  if (error) {
    mr_iovec_drop(&send->memory);
    mr_slots_give(&loop->datagrams->sends, &send->slot);
    return error;
  }
  if (datagram->waiting_first)
    queue_append(datagram, send);
  datagram->owed++;
  datagram->flying += (int32_t)send->length + DATAGRAM_COST;
  return datagram->flying;
}

int mr_datagram_send_bytes(mr_loop *loop, int slot, const mr_address *to, const uint8_t *data, uint32_t length) {
  mr_datagram_send *send;
  int error = begin(loop, mr_datagram_at(loop, slot), to, length, &send);
  if (error)
    return error;
  if (length) {
    if (mr_iovec_alloc(loop->memory, length, 0, 1, 0, &send->memory) < 0) {
      mr_slots_give(&loop->datagrams->sends, &send->slot);
      return -ENOMEM;
    }
    memcpy(send->memory.data, data, length);
    loop->statistics.bytes_copied += length;
    send->data = send->memory.data;
  }
  return commit(loop, send);
}

int mr_datagram_send_buffer(mr_loop *loop, int slot, const mr_address *to, mr_buffer *buffer) {
  uint32_t length = (uint32_t)(buffer->limit_ - buffer->position_);
  int result;
  if (buffer->memory_.reference && length) {
    mr_datagram_send *send;
    result = begin(loop, mr_datagram_at(loop, slot), to, length, &send);
    if (result)
      return result;
    result = mr_iovec_clone_segment(&send->memory, &buffer->memory_, (uint32_t)buffer->position_, length);
    if (result) {
      mr_slots_give(&loop->datagrams->sends, &send->slot);
      return result;
    }
    send->data = send->memory.data;
    buffer->flags_ |= MR_BUFFER_VIEWED;
    result = commit(loop, send);
  } else {
    const uint8_t *data = length ? buffer->data_ + buffer->position_ : NULL;
    result = mr_datagram_send_bytes(loop, slot, to, data, length);
  }
  if (result >= 0)
    buffer->position_ = buffer->limit_;
  return result;
}

int mr_datagram_drain(mr_loop *loop, int slot, int mark) {
  mr_datagram *datagram = mr_datagram_at(loop, slot);
  if (datagram->flying <= mark)
    return 0;
  datagram->write_mark = mark;
  datagram->write_wanted = 1;
  loop->datagrams->awaited = 1;
  return -EAGAIN;
}

void mr_datagram_drain_withdraw(mr_loop *loop, int slot) {
  mr_datagram_at(loop, slot)->write_wanted = 0;
}

int mr_datagram_failure(mr_loop *loop, int slot) {
  mr_datagram *datagram = mr_datagram_at(loop, slot);
  int error = datagram->send_error;
  datagram->send_error = 0;
  return error;
}
