/*
 * datagram_send.c - sending datagrams.
 *
 * Each datagram is one operation with a record that holds its memory and its receiver's address until the completion. As with
 * streams it is first tried without waiting: such a send has ended when the submission returns and says nothing when it went
 * well. One that found no room is sent again and waits for it, and until it has gone the later ones wait behind it. All
 * that is sent between two turns leaves with one system call.
 */
#include "loop_internal.h"

#include <errno.h>
#include <string.h>

enum {
  IPV4_PAYLOAD_MAX = 65535 - 20 - 8, /* the headers are part of an IPv4 packet's length */
  IPV6_PAYLOAD_MAX = 65535 - 8,
};

static mr_datagram *datagram_at(const mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->datagrams.sockets, slot);
}

/* A send that doesn't wait stands in the loop's list, one that does in its socket's. */
static mr_datagram_send **list_of(mr_loop *loop, const mr_datagram_send *send) {
  return send->quick ? &loop->datagrams.quick_first : &send->datagram->slow_first;
}

static void list_add(mr_loop *loop, mr_datagram_send *send) {
  mr_datagram_send **first = list_of(loop, send);
  send->previous = NULL;
  send->next = *first;
  if (send->next)
    send->next->previous = send;
  *first = send;
  loop->datagrams.quick_count += send->quick;
}

static void list_remove(mr_loop *loop, mr_datagram_send *send) {
  if (send->previous)
    send->previous->next = send->next;
  else
    *list_of(loop, send) = send->next;
  if (send->next)
    send->next->previous = send->previous;
  loop->datagrams.quick_count -= send->quick;
}

static uint64_t send_user_data(const mr_datagram_send *send) {
  return user_data_make(OPERATION_DATAGRAM_SEND, send->slot.generation, send->slot.number);
}

static int submit(mr_loop *loop, mr_datagram_send *send, int quick) {
  int error = mr_uring_send_to(loop->ring, send->datagram->fd, send->data, send->length, (struct sockaddr *)&send->name,
                               send->name_length, quick, send_user_data(send));
  if (error)
    return error;
  send->quick = (uint8_t)quick;
  list_add(loop, send);
  loop->statistics.sends++;
  return 0;
}

/* Lets go of a datagram that has gone out or failed. */
static void finish(mr_loop *loop, mr_datagram_send *send, int result) {
  mr_datagram *datagram = send->datagram;
  datagram->flying -= (int32_t)send->length + DATAGRAM_COST;
  datagram->owed--;
  loop->statistics.operations--;
  if (result >= 0) {
    datagram->statistics.sent++;
    loop->statistics.bytes_sent += send->length;
  } else {
    datagram->statistics.failed++;
    if (!datagram->send_error)
      datagram->send_error = result;
  }
  mr_iovec_drop(&send->memory);
  mr_slots_give(&loop->datagrams.sends, &send->slot);
  if (datagram->write_wanted && datagram->flying <= datagram->write_mark) {
    datagram->write_wanted = 0;
    mr_event_push(loop, MR_EVENT_DATAGRAM_WRITABLE, datagram->slot.number, 0);
  }
  mr_datagram_settle(loop, datagram);
}

void mr_datagram_send_complete(mr_loop *loop, const mr_completion *done) {
  mr_datagram_send *send = mr_slots_at(&loop->datagrams.sends, (int32_t)(uint32_t)done->user_data);
  if (!generation_matches(done->user_data, send->slot.generation)) {
    loop->statistics.stale++;
    return;
  }
  list_remove(loop, send);
  int found_no_room = send->quick && done->result == -EAGAIN && send->datagram->fd >= 0;
  if (!found_no_room || submit(loop, send, 0))
    finish(loop, send, done->result);
}

void mr_datagrams_settle(mr_loop *loop) {
  loop->datagrams.awaited = 0;
  while (loop->datagrams.quick_first && loop->event_count < EVENTS_MAX) {
    mr_datagram_send *send = loop->datagrams.quick_first;
    list_remove(loop, send);
    finish(loop, send, (int)send->length);
  }
  if (loop->datagrams.quick_first) /* the array of events is full: with the next turn */
    loop->quick_awaited = 1;
}

int mr_datagrams_awaited(const mr_loop *loop) {
  const mr_datagrams *datagrams = &loop->datagrams;
  return datagrams->quick_count &&
         (datagrams->awaited || loop->statistics.operations <= datagrams->quick_count + (loop->signal_fd >= 0));
}

void mr_datagram_sends_cancel(mr_loop *loop, const mr_datagram *datagram) {
  for (const mr_datagram_send *send = datagram->slow_first; send; send = send->next)
    mr_uring_cancel_quietly(loop->ring, send_user_data(send), 0);
}

/* Writes the receiver's address to `send`, or tells what is wrong with it. */
static int receiver_set(const mr_datagram *datagram, const mr_address *to, mr_datagram_send *send) {
  if (!to)
    return datagram->connected ? 0 : -EDESTADDRREQ;
  if (datagram->connected)
    return -EISCONN;
  send->name_length = mr_datagram_name(datagram->family, to, &send->name);
  return send->name_length ? 0 : -EAFNOSUPPORT;
}

/* A record for a datagram to be sent. Result: 0, or negative errno as mr_datagram_send_bytes has them. */
static int begin(mr_loop *loop, mr_datagram *datagram, const mr_address *to, uint32_t length, mr_datagram_send **out) {
  int error = datagram->connected ? datagram->send_error : 0;
  if (error) {
    datagram->send_error = 0;
    return error;
  }
  if (length > (datagram->family == AF_INET ? IPV4_PAYLOAD_MAX : IPV6_PAYLOAD_MAX))
    return -EMSGSIZE;
  mr_datagram_send *send = mr_slots_take(&loop->datagrams.sends, sizeof *send);
  if (!send)
    return -ENOMEM;
  send->datagram = datagram;
  send->length = length;
  error = receiver_set(datagram, to, send);
  if (error) {
    mr_slots_give(&loop->datagrams.sends, &send->slot);
    return error;
  }
  *out = send;
  return 0;
}

/* Hands a record that is complete to the kernel. */
static int commit(mr_loop *loop, mr_datagram_send *send) {
  mr_datagram *datagram = send->datagram;
  int error = submit(loop, send, datagram->slow_first == NULL);
  if (error) {
    mr_iovec_drop(&send->memory);
    mr_slots_give(&loop->datagrams.sends, &send->slot);
    return error;
  }
  datagram->owed++;
  loop->statistics.operations++;
  datagram->flying += (int32_t)send->length + DATAGRAM_COST;
  return datagram->flying;
}

int mr_datagram_send_bytes(mr_loop *loop, int slot, const mr_address *to, const uint8_t *data, uint32_t length) {
  mr_datagram_send *send;
  int error = begin(loop, datagram_at(loop, slot), to, length, &send);
  if (error)
    return error;
  if (length) {
    if (mr_iovec_alloc(loop->memory, length, 0, 1, 0, &send->memory) < 0) {
      mr_slots_give(&loop->datagrams.sends, &send->slot);
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
    result = begin(loop, datagram_at(loop, slot), to, length, &send);
    if (result)
      return result;
    result = mr_iovec_clone_segment(&send->memory, &buffer->memory_, (uint32_t)buffer->position_, length);
    if (result) {
      mr_slots_give(&loop->datagrams.sends, &send->slot);
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
  mr_datagram *datagram = datagram_at(loop, slot);
  if (datagram->flying <= mark)
    return 0;
  datagram->write_mark = mark;
  datagram->write_wanted = 1;
  loop->datagrams.awaited = 1;
  return -EAGAIN;
}

void mr_datagram_drain_withdraw(mr_loop *loop, int slot) {
  datagram_at(loop, slot)->write_wanted = 0;
}

int mr_datagram_failure(mr_loop *loop, int slot) {
  mr_datagram *datagram = datagram_at(loop, slot);
  int error = datagram->send_error;
  datagram->send_error = 0;
  return error;
}
