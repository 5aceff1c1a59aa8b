/*
 * connection.c - connection slots: how a stream begins and ends.
 *
 * A slot goes free -> (connecting ->) open -> flushing -> closed -> free. Closing
 * cancels the receive first, because closing a descriptor does not end an operation on it, and the last step waits until
 * the kernel owes the slot nothing.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MAX_SECONDS = 86400 };

mr_connection *mr_connection_take(mr_loop *loop, int fd, mr_connection_state state, int *error) {
  *error = mr_receive_ring_open(loop);
  mr_connection *connection = *error ? NULL : mr_slots_take(&loop->connections, sizeof *connection);
  if (!connection) {
    *error = *error ? *error : -ENOMEM;
    return NULL;
  }
  connection->fd = fd;
  connection->state = (uint8_t)state;
  connection->read_high = MR_READ_HIGH;
  connection->read_low = MR_READ_LOW;
  connection->linger_timer = -1;
  loop->statistics.connections++;
  if (loop->statistics.connections > loop->statistics.connections_peak)
    loop->statistics.connections_peak = loop->statistics.connections;
  return connection;
}

int mr_connection_accepted(mr_loop *loop, int fd, int takes_descriptors) {
  int error;
  mr_connection *connection = mr_connection_take(loop, fd, CONNECTION_OPEN, &error);
  if (!connection) {
    close(fd);
    return error;
  }
  if (takes_descriptors && (error = mr_passing_receive_enable(connection))) {
    mr_connection_finish(loop, connection);
    return error;
  }
  loop->statistics.accepted++;
  mr_receive_arm(loop, connection);
  return connection->slot.number;
}

/* A socket as `how` wants it, not yet connected. */
static int socket_open(const mr_address *address, const mr_connect *how) {
  int fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  if (address->family != AF_UNIX)
    mr_option_set(fd, MR_OPTION_NODELAY, 1, 1);
  int error = how ? mr_options_set(fd, how->options, how->option_count, 1) : 0;
  if (!error && how && how->source) {
    mr_socket_name source;
    socklen_t length = mr_address_to_socket(how->source, &source);
    error = length == 0 ? -EAFNOSUPPORT : bind(fd, &source.any, length) ? -errno : 0;
  }
  if (!error)
    return fd;
  close(fd);
  return error;
}

static int opens_fast(const mr_connect *how) {
  for (int i = 0; how && i < how->option_count; i++)
    if (how->options[i].name == MR_OPTION_FAST_OPEN)
      return how->options[i].value != 0;
  return 0;
}

int mr_connection_connect(mr_loop *loop, const mr_address *address, const mr_connect *how) {
  mr_socket_name *target = malloc(sizeof *target);
  if (!target)
    return -ENOMEM;
  socklen_t length = mr_address_to_socket(address, target);
  int error = length ? 0 : -EAFNOSUPPORT;
  int fd = error ? error : socket_open(address, how);
  mr_connection *connection = NULL;
  if (fd < 0)
    error = fd;
  else
    connection = mr_connection_take(loop, fd, CONNECTION_CONNECTING, &error);
  if (!connection) {
    free(target);
    if (fd >= 0)
      close(fd);
    return error;
  }
  connection->fast_open = (uint8_t)opens_fast(how);
  connection->target = target;
  error = how && how->takes_descriptors ? mr_passing_receive_enable(connection) : 0;
  if (!error)
    error = mr_uring_connect(loop->ring, fd, &target->any, length, user_data_of(OPERATION_CONNECT, &connection->slot));
  if (error) {
    free(target);
    connection->target = NULL;
    mr_connection_finish(loop, connection);
    return error;
  }
  connection->owed++;
  loop->statistics.operations++;
  return connection->slot.number;
}

/* The first bytes of a fast-open connection have gone out, and the SYN with them. */
void mr_connection_opened(mr_loop *loop, mr_connection *connection) {
  connection->fast_open = 0;
  connection->receive_paused = connection->input.bytes >= connection->read_high;
  mr_receive_arm(loop, connection);
}

void mr_connection_connected(mr_loop *loop, mr_connection *connection, int32_t result) {
  connection->owed--;
  loop->statistics.operations--;
  free(connection->target);
  connection->target = NULL;
  if (connection->state == CONNECTION_CONNECTING) {
    connection->state = CONNECTION_OPEN;
    if (result < 0)
      connection->send_error = connection->receive_error = result;
    mr_event_push(loop, MR_EVENT_CONNECTED, connection->slot.number, result);
    mr_receive_arm(loop, connection);
  }
  mr_connection_settle(loop, connection);
}

void mr_connection_settle(mr_loop *loop, mr_connection *connection) {
  if (connection->state != CONNECTION_CLOSED || connection->owed || connection->dirty || connection->receive_parked)
    return;
  connection->state = CONNECTION_FREE;
  mr_slots_retire(&loop->connections, &connection->slot);
}

void mr_connections_recycle(mr_loop *loop) {
  for (mr_slot *slot = loop->connections.retired; slot; slot = slot->next) {
    mr_connection *connection = (mr_connection *)slot;
    mr_queue_clear(loop, &connection->output);
    if (connection->stream)
      mr_stream_free(connection);
    loop->statistics.connections--;
  }
  mr_slots_recycle(&loop->connections);
}

static void cancel(mr_loop *loop, const mr_connection *connection, mr_operation operation) {
  mr_uring_cancel_quietly(loop->ring, user_data_of(operation, &connection->slot), 0);
}

void mr_connection_finish(mr_loop *loop, mr_connection *connection) {
  if (connection->state == CONNECTION_CLOSED || connection->state == CONNECTION_FREE)
    return;
  if (connection->state == CONNECTION_CONNECTING && connection->owed)
    cancel(loop, connection, OPERATION_CONNECT);
  if (connection->receive_armed)
    cancel(loop, connection, OPERATION_RECEIVE);
  if (connection->sending && !connection->quick)
    cancel(loop, connection, OPERATION_SEND);
  if (connection->linger_timer >= 0)
    mr_timers_stop(loop, connection->linger_timer);
  connection->linger_timer = -1;
  if (connection->state == CONNECTION_FLUSHING)
    loop->flushing--;
  connection->state = CONNECTION_CLOSED;
  mr_queue_clear(loop, &connection->input);
  mr_iovec_drop(&connection->reserved);
  /* What the kernel is sending from stays until its completion; mr_connections_recycle drops it. */
  if (!connection->sending)
    mr_queue_clear(loop, &connection->output);
  if (connection->fd >= 0 && !connection->kept && mr_uring_close_quietly(loop->ring, connection->fd, 0))
    close(connection->fd);
  connection->fd = -1;
  mr_connection_settle(loop, connection);
}

void mr_connection_close(mr_loop *loop, int slot, double linger) {
  mr_connection *connection = mr_connection_at(loop, slot);
  connection->read_wanted = connection->write_wanted = 0;
  if (connection->state != CONNECTION_OPEN || !connection->output.first || linger <= 0) {
    mr_connection_finish(loop, connection);
    return;
  }
  connection->state = CONNECTION_FLUSHING;
  loop->flushing++;
  mr_queue_clear(loop, &connection->input);
  if (connection->receive_armed)
    cancel(loop, connection, OPERATION_RECEIVE);
  if (linger > LINGER_MAX_SECONDS)
    linger = LINGER_MAX_SECONDS;
  connection->linger_timer = mr_timers_start(loop, (int64_t)(linger * 1e9), TIMER_LINGER, slot);
  if (connection->linger_timer < 0)
    mr_connection_finish(loop, connection);
}

int mr_connection_error(mr_loop *loop, int slot) {
  const mr_connection *connection = mr_connection_at(loop, slot);
  if (connection->send_error)
    return connection->send_error;
  if (connection->receive_error)
    return connection->receive_error;
  return connection->state == CONNECTION_OPEN && !connection->shutdown_wanted ? 0 : -EPIPE;
}

int mr_connection_descriptor(mr_loop *loop, int slot) {
  return mr_connection_at(loop, slot)->fd;
}

int mr_connection_peer(mr_loop *loop, int slot, mr_address *out) {
  return mr_address_of_peer(mr_connection_at(loop, slot)->fd, out);
}

int mr_connection_local(mr_loop *loop, int slot, mr_address *out) {
  return mr_address_of_socket(mr_connection_at(loop, slot)->fd, out);
}

int mr_connection_option_set(mr_loop *loop, int connection, int option, int32_t value) {
  return mr_option_set(mr_connection_at(loop, connection)->fd, option, value, 1);
}

int mr_connection_option_get(mr_loop *loop, int connection, int option, int32_t *value) {
  return mr_option_get(mr_connection_at(loop, connection)->fd, option, value, 1);
}

void mr_connection_statistics_get(mr_loop *loop, int slot, mr_connection_statistics *out) {
  const mr_connection *connection = mr_connection_at(loop, slot);
  *out = (mr_connection_statistics){.received = (double)connection->received,
                                    .sent = (double)connection->sent,
                                    .queued = (double)connection->output.bytes,
                                    .unread = (double)connection->input.bytes};
}

void mr_connection_read_marks(mr_loop *loop, int slot, uint32_t high, uint32_t low) {
  mr_connection *connection = mr_connection_at(loop, slot);
  connection->read_high = high;
  connection->read_low = low;
  if (connection->receive_paused && !connection->fast_open && connection->input.bytes <= low) {
    connection->receive_paused = 0;
    mr_receive_arm(loop, connection);
  }
}

void mr_connection_guard(mr_loop *loop, int slot, mr_guard *out) {
  *out = (mr_guard){loop, slot, mr_connection_at(loop, slot)->slot.generation};
}

void mr_guard_release(mr_guard *guard) {
  mr_loop *loop = mr_guard_end(guard);
  if (!loop)
    return;
  mr_connection *connection = mr_connection_at(loop, guard->slot);
  if (connection->slot.generation != guard->generation || connection->state == CONNECTION_FREE ||
      connection->state >= CONNECTION_FLUSHING)
    return;
  loop->statistics.forgotten++;
  mr_connection_close(loop, guard->slot, 0);
}

void mr_connection_expired(mr_loop *loop, int32_t slot) {
  mr_connection *connection = mr_connection_at(loop, slot);
  connection->linger_timer = -1;
  mr_connection_finish(loop, connection);
}

void mr_connections_destroy(mr_loop *loop, int flushing) {
  for (int32_t slot = 0; slot < loop->connections.count; slot++) {
    mr_connection *connection = mr_connection_at(loop, slot);
    if (flushing || connection->state != CONNECTION_FLUSHING)
      mr_connection_finish(loop, connection);
  }
}

int mr_streams_create(mr_loop *loop) {
  loop->messages = calloc(MESSAGES_MAX, sizeof *loop->messages);
  loop->receive = calloc(1, sizeof *loop->receive);
  return loop->messages && loop->receive ? 0 : -ENOMEM;
}

void mr_streams_destroy(mr_loop *loop) {
  if (loop->receive)
    mr_receive_ring_close(loop);
  mr_slots_destroy(&loop->connections);
  mr_slots_destroy(&loop->listeners);
  free(loop->receive);
  free(loop->messages);
}
