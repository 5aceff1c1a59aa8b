/*
 * loop.c - the loops of a thread, their events and clocks.
 */
#include "loop/loop_internal.h"

#include <time.h>

static const int64_t rings_idle_ns =
    1000000000; /* how long receive buffers are kept when nothing can receive into them */

/* The loops of this thread. A finalizer may run after the loop that its object belonged to. */
static _Thread_local mr_loop *living;

int mr_loop_lives(const mr_loop *loop) {
  const mr_loop *each = living;
  while (each && each != loop)
    each = each->next_living;
  return each != NULL;
}

void mr_loop_living_add(mr_loop *loop) {
  loop->next_living = living;
  living = loop;
}

void mr_loop_living_remove(const mr_loop *loop) {
  mr_loop **link = &living;
  while (*link != loop)
    link = &(*link)->next_living;
  *link = loop->next_living;
}

mr_loop *mr_guard_end(mr_guard *guard) {
  mr_loop *loop = guard->loop;
  guard->loop = NULL;
  return loop && mr_loop_lives(loop) ? loop : NULL;
}

int64_t mr_rings_kept(const mr_loop *loop, int in_use, int64_t *idle_since) {
  if (in_use) {
    *idle_since = 0;
    return -1;
  }
  if (!*idle_since)
    *idle_since = loop->now;
  int64_t left = *idle_since + rings_idle_ns - loop->now;
  return left > 0 ? left : 0;
}

void mr_event_push(mr_loop *loop, mr_event_kind kind, int32_t slot, int32_t result) {
  if (loop->ending)
    return;
  loop->events[loop->event_count++] = (mr_event){(int32_t)kind, slot, result, 0};
  loop->statistics.events++;
}

mr_event *mr_loop_events(mr_loop *loop) {
  return loop->events;
}

double mr_loop_now(const mr_loop *loop) {
  return (double)loop->now * 1e-9;
}

double mr_clock_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

double mr_clock_wall(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

mr_memory *mr_loop_memory(mr_loop *loop) {
  return loop->memory;
}
