/*
 * timer.c - timers in user space: a heap of slots with four children each, ordered by deadline.
 *
 * Starting and stopping cost O(log n) and no system call: the earliest deadline is the time-out of the turn's one
 * io_uring_enter. The number of a timer that has fired stays taken until the next turn, and stopping it takes its event out of
 * the array again, so that nobody is woken for a predecessor.
 *
 * The numbers are no slots of slots.h: a timer has no generation, because no completion speaks of it; no address of one is lent to
 * anybody; and the heap compares deadlines all the time, for which one array indexed by the number is what is fast.
 */
#include "loop/loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum { HEAP_CHILDREN = 4, TIMERS_FIRST = 64 };

/* A century: what longer times, infinity included, are cut to. */
static const int64_t delay_max = (int64_t)100 * 365 * 86400 * 1000000000;

static int64_t deadline_at(const mr_timers *timers, int32_t place) {
  return timers->timers[timers->heap[place]].deadline;
}

static void heap_put(mr_timers *timers, int32_t place, int32_t timer) {
  timers->heap[place] = timer;
  timers->timers[timer].place = place;
}

static void heap_rise(mr_timers *timers, int32_t place) {
  int32_t timer = timers->heap[place];
  while (place > 0) {
    int32_t parent = (place - 1) / HEAP_CHILDREN;
    if (deadline_at(timers, parent) <= timers->timers[timer].deadline)
      break;
    heap_put(timers, place, timers->heap[parent]);
    place = parent;
  }
  heap_put(timers, place, timer);
}

static void heap_sink(mr_timers *timers, int32_t place) {
  int32_t timer = timers->heap[place];
  for (;;) {
    int32_t first = place * HEAP_CHILDREN + 1, least = -1;
    int64_t deadline = timers->timers[timer].deadline;
    for (int32_t child = first; child < first + HEAP_CHILDREN && child < timers->count; child++)
      if (deadline_at(timers, child) < deadline) {
        least = child;
        deadline = deadline_at(timers, child);
      }
    if (least < 0)
      break;
    heap_put(timers, place, timers->heap[least]);
    place = least;
  }
  heap_put(timers, place, timer);
}

static void heap_remove(mr_timers *timers, int32_t place) {
  int32_t last = timers->heap[--timers->count];
  if (place == timers->count)
    return;
  heap_put(timers, place, last);
  heap_rise(timers, place);
  heap_sink(timers, timers->timers[last].place);
}

static int grow(mr_timers *timers) {
  int32_t capacity = timers->capacity ? timers->capacity * 2 : TIMERS_FIRST;
  mr_timer *slots = realloc(timers->timers, (size_t)capacity * sizeof *slots);
  if (slots)
    timers->timers = slots;
  int32_t *heap = realloc(timers->heap, (size_t)capacity * sizeof *heap);
  if (heap)
    timers->heap = heap;
  if (!slots || !heap)
    return -ENOMEM;
  for (int32_t i = capacity - 1; i >= timers->capacity; i--) {
    timers->timers[i].use = TIMER_FREE;
    timers->timers[i].place = timers->free;
    timers->free = i;
  }
  timers->capacity = capacity;
  return 0;
}

int mr_timers_start(mr_loop *loop, int64_t delay, mr_timer_use use, int32_t target) {
  mr_timers *timers = &loop->timers;
  if (timers->free < 0 && grow(timers))
    return -ENOMEM;
  int32_t slot = timers->free;
  mr_timer *timer = &timers->timers[slot];
  timers->free = timer->place;
  timer->deadline = loop->now + delay;
  timer->use = (uint8_t)use;
  timer->target = target;
  timers->heap[timers->count] = slot;
  heap_rise(timers, timers->count++);
  return slot;
}

static void number_free(mr_timers *timers, int32_t slot) {
  timers->timers[slot].use = TIMER_FREE;
  timers->timers[slot].place = timers->free;
  timers->free = slot;
}

void mr_timers_stop(mr_loop *loop, int timer) {
  heap_remove(&loop->timers, loop->timers.timers[timer].place);
  number_free(&loop->timers, timer);
}

int mr_timer_start(mr_loop *loop, double seconds) {
  int64_t delay = 0;
  if (seconds * 1e9 >= (double)delay_max)
    delay = delay_max;
  else if (seconds > 0)
    delay = (int64_t)(seconds * 1e9) + 1; /* rounded up: never early */
  /* The loop's clock stands still during a turn, and a handler may have computed for long. */
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  delay += (int64_t)time.tv_sec * 1000000000 + time.tv_nsec - loop->now;
  return mr_timers_start(loop, delay, TIMER_LUA, -1);
}

int mr_timer_stop(mr_loop *loop, int timer) {
  mr_timers *timers = &loop->timers;
  if (timer < 0 || timer >= timers->capacity)
    return -ENOENT;
  if (timers->timers[timer].use == TIMER_LUA) {
    mr_timers_stop(loop, timer);
    return 0;
  }
  if (timers->timers[timer].use != TIMER_FIRED)
    return -ENOENT;
  for (int i = 0; i < loop->event_count; i++)
    if (loop->events[i].kind == MR_EVENT_TIMER && loop->events[i].slot == timer)
      loop->events[i].kind = MR_EVENT_NONE;
  number_free(timers, timer);
  return 0;
}

void mr_timers_recycle(mr_loop *loop) {
  for (int i = 0; i < loop->event_count; i++)
    if (loop->events[i].kind == MR_EVENT_TIMER)
      number_free(&loop->timers, loop->events[i].slot);
}

int64_t mr_timers_next(const mr_loop *loop) {
  if (!loop->timers.count)
    return -1;
  int64_t left = deadline_at(&loop->timers, 0) - loop->now;
  return left > 0 ? left : 0;
}

void mr_timers_expire(mr_loop *loop, void (*expired)(mr_loop *loop, mr_timer_use use, int32_t target)) {
  mr_timers *timers = &loop->timers;
  while (timers->count && deadline_at(timers, 0) <= loop->now && loop->event_count < EVENTS_MAX) {
    int32_t slot = timers->heap[0];
    mr_timer timer = timers->timers[slot];
    heap_remove(timers, 0);
    if (timer.use == TIMER_LUA) {
      timers->timers[slot].use = TIMER_FIRED;
      mr_event_push(loop, MR_EVENT_TIMER, slot, 0);
      continue;
    }
    number_free(timers, slot);
    expired(loop, (mr_timer_use)timer.use, timer.target);
  }
}

void mr_timers_destroy(mr_loop *loop) {
  free(loop->timers.timers);
  free(loop->timers.heap);
}
