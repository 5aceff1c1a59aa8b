/*
 * listener.c - listening sockets, one multishot accept each.
 *
 * Options are set on the listener and inherited by what it accepts, which saves a system call for each connection. When the
 * process or the system has no descriptor left, accept fails at once, even with nobody waiting; accepting again
 * immediately would spin, so it is tried again a little later.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t retry_delay_ns = 100000000;

static mr_listener *listener_at(const mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->listeners, slot, sizeof(mr_listener));
}

static void retry_later(mr_loop *loop, mr_listener *listener) {
  listener->retry_timer = mr_timers_start(loop, retry_delay_ns, TIMER_ACCEPT, listener->slot.number);
  if (listener->retry_timer < 0)
    mr_event_push(loop, MR_EVENT_ACCEPTED, listener->slot.number, -ENOMEM);
}

static void start(mr_loop *loop, mr_listener *listener) {
  if (mr_uring_accept(loop->ring, listener->fd, user_data_of(OPERATION_ACCEPT, &listener->slot))) {
    retry_later(loop, listener);
    return;
  }
  listener->owed++;
  loop->statistics.operations++;
}

int mr_listener_open(mr_loop *loop, const mr_address *address, const mr_listen *how) {
  mr_bound_file *file;
  int fd = mr_bound_open(address, how, &file);
  if (fd < 0)
    return fd;
  mr_listener *listener = mr_slots_take(&loop->listeners, sizeof *listener);
  if (!listener) {
    mr_bound_file_remove(&file);
    close(fd);
    return -ENOMEM;
  }
  listener->fd = fd;
  listener->file = file;
  listener->takes_descriptors = how && (how->flags & MR_LISTEN_TAKE_DESCRIPTORS);
  listener->retry_timer = -1;
  loop->statistics.listeners++;
  start(loop, listener);
  return listener->slot.number;
}

static void settle(mr_loop *loop, mr_listener *listener) {
  if (listener->fd >= 0 || listener->owed)
    return;
  mr_slots_retire(&loop->listeners, &listener->slot);
  loop->statistics.listeners--;
}

/* Errors of one connection that was lost before it was accepted, which accept(2) reports on the listener. */
static int is_of_one_connection(int error) {
  switch (-error) {
  case ECONNABORTED:
  case EINTR:
  case EAGAIN:
  case EPROTO:
  case ENETDOWN:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case ENONET:
  case EHOSTUNREACH:
  case EOPNOTSUPP:
  case ENETUNREACH:
  case EPERM:
    return 1;
  default:
    return 0;
  }
}

static int is_shortage(int error) {
  return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

void mr_listener_expired(mr_loop *loop, int32_t slot) {
  mr_listener *listener = listener_at(loop, slot);
  listener->retry_timer = -1;
  start(loop, listener);
}

void mr_listener_complete(mr_loop *loop, int32_t slot, const mr_completion *done) {
  mr_listener *listener = listener_at(loop, slot);
  int more = done->flags & MR_COMPLETION_MORE;
  if (!more) {
    listener->owed--;
    loop->statistics.operations--;
  }
  if (listener->fd < 0) {
    if (done->result >= 0)
      close(done->result);
    settle(loop, listener);
    return;
  }
  int result = done->result;
  if (result >= 0) {
    result = mr_connection_accepted(loop, result, listener->takes_descriptors);
    if (result >= 0)
      mr_event_push(loop, MR_EVENT_ACCEPTED, listener->slot.number, result);
  }
  if (more)
    return;
  if (is_shortage(result)) {
    mr_event_push(loop, MR_EVENT_SHORTAGE, listener->slot.number, result);
    retry_later(loop, listener);
  } else if (result >= 0 || is_of_one_connection(result)) {
    start(loop, listener);
  } else {
    mr_event_push(loop, MR_EVENT_ACCEPTED, listener->slot.number, result);
  }
}

int mr_listener_address(mr_loop *loop, int slot, mr_address *out) {
  return mr_address_of_socket(listener_at(loop, slot)->fd, out);
}

int mr_listener_option_set(mr_loop *loop, int listener, int option, int32_t value) {
  return mr_option_set(listener_at(loop, listener)->fd, option, value, 0);
}

int mr_listener_option_get(mr_loop *loop, int listener, int option, int32_t *value) {
  return mr_option_get(listener_at(loop, listener)->fd, option, value, 0);
}

void mr_listener_close(mr_loop *loop, int slot) {
  mr_listener *listener = listener_at(loop, slot);
  if (listener->fd < 0)
    return;
  /* Connections that were accepted in this turn and nobody has taken yet go with it: their events are not MR_EVENT_NONE. */
  for (int i = 0; i < loop->event_count; i++) {
    mr_event *event = &loop->events[i];
    if (event->kind == MR_EVENT_ACCEPTED && event->slot == slot) {
      event->kind = MR_EVENT_NONE;
      if (event->result >= 0)
        mr_connection_close(loop, event->result, 0);
    }
  }
  if (listener->retry_timer >= 0)
    mr_timers_stop(loop, listener->retry_timer);
  if (listener->owed)
    mr_uring_cancel_quietly(loop->ring, user_data_of(OPERATION_ACCEPT, &listener->slot), 0);
  mr_bound_file_remove(&listener->file);
  if (mr_uring_close_quietly(loop->ring, listener->fd, 0))
    close(listener->fd);
  listener->fd = -1;
  settle(loop, listener);
}

void mr_listeners_recycle(mr_loop *loop) {
  mr_slots_recycle(&loop->listeners);
}

void mr_listeners_destroy(mr_loop *loop) {
  for (int32_t slot = 0; slot < loop->listeners.count; slot++)
    mr_listener_close(loop, slot);
}
