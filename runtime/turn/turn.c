/*
 * turn.c - turns: submit, wait, complete, and tell Lua what needs a decision. Only this file knows all kinds of operation.
 *
 * One turn is one io_uring_enter: everything that was queued since the last goes down with the call that waits for what comes
 * up. Completions are routed by (kind, slot) in their user_data to the file that knows the kind; most are dealt with there, and a
 * turn that ends with nothing for Lua goes on waiting without a return to it.
 *
 * The array of events bounds a turn: completions are taken only while there is room for what they can cause, the rest stay in
 * the ring.
 */
#include "turn/turn.h"
#include "call/call_internal.h"
#include "datagram/datagram_internal.h"
#include "dns/resolver_internal.h"
#include "memory/trace.h"
#include "process/process_internal.h"
#include "stream/stream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
  REAP_MAX = 128, /* completions taken at once */
  EVENTS_PER_COMPLETION = 2,
  DEFAULT_SUBMISSIONS = 512,
  DEFAULT_COMPLETIONS = 16384,
  STARVING_RETRY_NS = 10000000, /* how often receivers without memory try again, and Lua is asked to collect */
};

static void clock_read(mr_loop *loop) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  loop->now = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* What the kinds of operation keep. */
static int kinds_create(mr_loop *loop) {
  int error = mr_streams_create(loop);
  if (!error)
    error = mr_datagrams_create(loop);
  if (!error)
    error = mr_resolvers_create(loop);
  if (!error)
    error = mr_processes_create(loop);
  return error ? error : mr_calls_create(loop);
}

/* Once nothing is owed; also when not all of it was made. */
static void kinds_destroy(mr_loop *loop) {
  mr_datagrams_destroy(loop);
  mr_resolvers_destroy(loop);
  mr_processes_destroy(loop);
  mr_calls_destroy(loop);
  mr_streams_destroy(loop);
  mr_pieces_destroy(loop);
}

int mr_loop_create(const mr_loop_options *options, mr_loop **out) {
  mr_loop *loop = calloc(1, sizeof *loop);
  if (!loop)
    return -ENOMEM;
  if (options)
    loop->options = *options;
  if (!loop->options.submission_entries)
    loop->options.submission_entries = DEFAULT_SUBMISSIONS;
  if (!loop->options.completion_entries)
    loop->options.completion_entries = DEFAULT_COMPLETIONS;
  loop->wake_fd = -1;
  loop->timers.free = -1;
  clock_read(loop);
  int error = kinds_create(loop);
  if (!error)
    error = mr_memory_create(loop->options.memory_limit_bytes, &loop->memory);
  if (!error) {
    error = mr_uring_open(loop->options.submission_entries, loop->options.completion_entries, &loop->ring);
    if (error)
      mr_memory_destroy(loop->memory);
  }
  if (error) {
    kinds_destroy(loop);
    free(loop);
    return error;
  }
  mr_loop_living_add(loop);
  *out = loop;
  return 0;
}

void mr_loop_explain(int error, char *text, size_t size) {
  mr_uring_explain(error, text, size);
}

void mr_loop_features_get(mr_loop *loop, mr_loop_features *out) {
  mr_uring_traits traits;
  mr_uring_traits_get(loop->ring, &traits);
  int incremental = !loop->options.receive_plain && mr_uring_incremental();
  *out = (mr_loop_features){
      .submission_entries = traits.submissions,
      .completion_entries = traits.completions,
      .deferred = traits.deferred,
      .cooperative = traits.cooperative,
      .direct_submissions = traits.direct_submissions,
      .registered = traits.registered,
      .incremental = incremental,
      .multishot_reads = loop->options.receive_plain < 2 && mr_uring_multishot_reads(incremental),
      .last_operation = traits.last_operation,
  };
}

/* The connection that a completion is for, or NULL when its slot has another owner by now. */
static mr_connection *connection_of(mr_loop *loop, const mr_completion *done) {
  mr_connection *connection = mr_connection_at(loop, (int32_t)(uint32_t)done->user_data);
  if (generation_matches(done->user_data, connection->slot.generation))
    return connection;
  loop->statistics.stale++;
  return NULL;
}

static void complete(mr_loop *loop, const mr_completion *done) {
  int32_t slot = (int32_t)(uint32_t)done->user_data;
  mr_connection *connection;
  switch ((mr_operation)(done->user_data >> 56)) {
  case OPERATION_IGNORED:
    break;
  case OPERATION_ACCEPT:
    mr_listener_complete(loop, slot, done);
    break;
  case OPERATION_RECEIVE:
    mr_receive_complete(loop, connection_of(loop, done), done);
    break;
  case OPERATION_SEND:
    if ((connection = connection_of(loop, done)))
      mr_output_complete(loop, connection, done->result);
    break;
  case OPERATION_CONNECT:
    if ((connection = connection_of(loop, done)))
      mr_connection_connected(loop, connection, done->result);
    break;
  case OPERATION_WAKE:
    mr_wake_complete(loop);
    if (!loop->ending)
      mr_signals_collect(loop);
    break;
  case OPERATION_CALL:
    if (generation_matches(done->user_data, mr_call_at(loop, slot)->slot.generation))
      mr_call_complete(loop, mr_call_at(loop, slot), done->result);
    else
      loop->statistics.stale++;
    break;
  case OPERATION_PROCESS:
    mr_process_complete(loop, slot, done);
    break;
  case OPERATION_STANDARD:
    mr_standard_complete(loop, slot);
    break;
  case OPERATION_DATAGRAM_RECEIVE:
    mr_datagram_receive_complete(loop, done);
    break;
  case OPERATION_DATAGRAM_SEND:
    mr_datagram_send_complete(loop, done);
    break;
  case OPERATION_DATAGRAM_ROOM:
    mr_datagram_room_complete(loop, done);
    break;
  case OPERATION_RESOLVER:
    mr_resolver_complete(loop, done);
    break;
  }
}

/* A timer of one of the kinds has fired. */
static void timer_expired(mr_loop *loop, mr_timer_use use, int32_t target) {
  switch (use) {
  case TIMER_LINGER:
    mr_connection_expired(loop, target);
    break;
  case TIMER_ACCEPT:
    mr_listener_expired(loop, target);
    break;
  case TIMER_PROCESS:
    mr_process_expired(loop, target);
    break;
  case TIMER_DATAGRAM:
    mr_datagram_room(loop, target);
    break;
  case TIMER_RESOLVER:
    mr_resolver_expired(loop, target);
    break;
  case TIMER_FREE:
  case TIMER_LUA:
  case TIMER_FIRED:
    break;
  }
}

/*
 * Takes completions while the event array has room for what they can cause. When none is left that could tell of a failed quick
 * send, and all of those were submitted, the others have succeeded.
 */
static void completions_take(mr_loop *loop, int all_submitted) {
  mr_completion done[REAP_MAX];
  while (loop->event_count + REAP_MAX * EVENTS_PER_COMPLETION <= EVENTS_MAX) {
    unsigned count = mr_uring_reap(loop->ring, done, REAP_MAX);
    for (unsigned i = 0; i < count; i++)
      complete(loop, &done[i]);
    loop->statistics.completions += count;
    if (count < REAP_MAX && all_submitted) {
      mr_output_settle(loop);
      mr_datagrams_settle(loop);
      return;
    }
    if (count < REAP_MAX)
      break;
  }
  loop->quick_awaited = loop->quick_first || loop->datagrams->quick_first;
}

/* The watchdog's thread, and the loops of other threads, look at the same counters. */
static void watch_count_turn(mr_watch *watch) {
  double turns;
  __atomic_load(&watch->turns, &turns, __ATOMIC_RELAXED);
  turns++;
  __atomic_store(&watch->turns, &turns, __ATOMIC_RELAXED);
}

/* Submits what is queued, waits up to wait_ns (negative: no bound) when want is set, and takes what has come. */
static int step(mr_loop *loop, unsigned want, int64_t wait_ns) {
  if (!loop->ending || loop->calls->helped)
    mr_wake_prepare(loop);
  mr_calls_prepare(loop);
  mr_receive_prepare(loop);
  mr_datagrams_prepare(loop);
  mr_datagrams_send_waiting(loop);
  mr_output_prepare(loop);
  mr_watch *watch = mr_watch_state();
  watch_count_turn(watch);
  __atomic_store_n(&watch->waiting, 1, __ATOMIC_RELAXED);
  int at_once = loop->quick_awaited || loop->calls->more_done || mr_datagrams_awaited(loop);
  int error = mr_uring_enter(loop->ring, at_once ? 0 : want, wait_ns);
  __atomic_store_n(&watch->waiting, 0, __ATOMIC_RELAXED);
  if (error)
    return error;
  /* Asked before completions are taken, which may prepare new operations. */
  int all_submitted = mr_uring_pending(loop->ring) == 0;
  loop->statistics.enters++;
  clock_read(loop);
  completions_take(loop, all_submitted);
  mr_calls_collect(loop);
  return 0;
}

/* Whether nothing can ever happen: no operation is owed but that which waits for signals, and none will be prepared. */
static int is_deserted(const mr_loop *loop) {
  return loop->statistics.operations == (uint64_t)loop->wake_armed && !loop->signals_awaited && !loop->timers.count &&
         !loop->dirty_first && !loop->quick_first && !loop->receive->parked_first && !loop->datagrams->parked &&
         !loop->datagrams->ready && !loop->flushing && !loop->calls->waiting_first;
}

static int64_t earlier(int64_t left, int64_t right) {
  if (left < 0)
    return right;
  return right < 0 || left < right ? left : right;
}

/* Tells Lua what only it can do for the memory. */
static void memory_news(mr_loop *loop) {
  int news = mr_memory_news(loop->memory);
  if (news & MR_MEMORY_PRESSURE) {
    if (loop->now - loop->pressure_told < STARVING_RETRY_NS)
      news &= ~MR_MEMORY_PRESSURE;
    else
      loop->pressure_told = loop->now;
  }
  if (news)
    mr_event_push(loop, MR_EVENT_MEMORY, 0, (news & MR_MEMORY_PRESSURE) != 0);
}

/* How long the loop may sleep for its memory's sake. */
static int64_t memory_wait(mr_loop *loop) {
  int64_t wait = earlier(mr_receive_rest(loop), mr_datagram_rings_rest(loop));
  wait = earlier(wait, mr_memory_tick(loop->memory, loop->now));
  return mr_receive_starving(loop) || mr_datagrams_starving(loop) ? earlier(wait, STARVING_RETRY_NS) : wait;
}

int mr_loop_turn(mr_loop *loop, double timeout) {
  loop->statistics.turns++;
  mr_trace_place(NULL); /* Lua is not running; what happens now is the loop's doing */
  mr_timers_recycle(loop);
  loop->event_count = 0;
  mr_connections_recycle(loop);
  mr_listeners_recycle(loop);
  mr_processes_recycle(loop);
  mr_calls_recycle(loop);
  mr_datagrams_recycle(loop);
  mr_resolvers_recycle(loop);
  int64_t wait_ns = timeout < 0 || timeout > 1e9 ? -1 : (int64_t)(timeout * 1e9);
  if (wait_ns > 0 || loop->timers.count)
    clock_read(loop);
  int64_t end = wait_ns < 0 ? -1 : loop->now + wait_ns;
  for (;;) {
    /* A loop that only memory has work for would wait for ever all the same. */
    int64_t timer_wait = earlier(wait_ns, mr_timers_next(loop));
    if (timer_wait < 0 && is_deserted(loop))
      return -EDEADLK;
    int64_t wait = earlier(timer_wait, memory_wait(loop));
    int error = step(loop, wait != 0, wait);
    if (error)
      return error;
    mr_timers_expire(loop, timer_expired);
    memory_news(loop);
    if (loop->event_count)
      return loop->event_count;
    if (end >= 0) {
      if (loop->now >= end)
        return 0;
      wait_ns = end - loop->now;
    }
  }
}

void mr_loop_statistics_get(const mr_loop *loop, mr_loop_statistics *out) {
  *out = loop->statistics;
  out->timers = (uint64_t)loop->timers.count;
  out->receive_ring_bytes = (uint64_t)(loop->receive->count - loop->receive->missing) * loop->receive->bytes;
  out->receive_ring_bytes += mr_datagram_rings_bytes(loop);
  mr_memory_statistics_get(loop->memory, &out->memory);
}

int mr_loop_destroy(mr_loop *loop, double timeout) {
  int64_t iovecs_held;
  return mr_loop_finish(loop, timeout, &iovecs_held);
}

/* Lets what is in flight go on, until something has come or the moment has. */
static int step_until(mr_loop *loop, int64_t until) {
  return step(loop, 1, until - loop->now);
}

int mr_loop_finish(mr_loop *loop, double timeout, int64_t *iovecs_held) {
  *iovecs_held = 0;
  mr_trace_place(NULL);
  mr_loop_living_remove(loop);
  loop->ending = 1;
  loop->event_count = 0; /* nobody will look at them */
  mr_listeners_destroy(loop);
  mr_datagrams_close(loop);
  mr_resolvers_close(loop);
  mr_connections_destroy(loop, 0);
  mr_calls_abandon_all(loop);
  clock_read(loop);
  int64_t end = loop->now + (int64_t)(timeout * 1e9);
  while ((loop->flushing || loop->calls->let_go) && loop->now < end && step_until(loop, end) == 0)
    ;
  mr_connections_destroy(loop, 1);
  mr_processes_end(loop, (int64_t)(timeout * 1e9), step_until);
  mr_processes_close(loop);
  mr_uring_cancel_all(loop->ring, 0);
  end = loop->now + (int64_t)(timeout * 1e9);
  while (loop->statistics.operations && loop->now < end && step_until(loop, end) == 0)
    ;
  int owed = (int)loop->statistics.operations;
  mr_connections_recycle(loop);
  mr_signals_destroy(loop);
  mr_helpers_lock(); /* one may be about to wake it */
  mr_wake_close(loop);
  mr_helpers_unlock();
  mr_uring_enter(loop->ring, 0, 0); /* descriptors whose closing nobody waits for */
  if (owed)
    return owed; /* the kernel may still write to our memory: better lost than reused */
  kinds_destroy(loop);
  mr_uring_close(loop->ring);
  mr_timers_destroy(loop);
  *iovecs_held = mr_memory_destroy(loop->memory);
  free(loop);
  return 0;
}
