/*
 * iovec_threads.c - iovecs and threads: what iovec_threads_spec.lua builds, with ThreadSanitizer and without, and runs.
 *
 *   shared   N threads clone and release SHARED iovecs a million times, writing to bytes of their own before each release
 *   local    LOCAL iovecs are released, cloned and moved on threads that are not theirs
 *   orphan   a memory ends while other threads hold its iovecs
 *   double   two threads release copies of the same SHARED iovec: one of them wins
 * Prints "ok" and ends with 0, or says what was wrong.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moonring.h"

enum { THREADS = 4, ROUNDS = 1000000 / THREADS, COPIES = 20000 };

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      printf("line %d: %s\n", __LINE__, #condition);                                                                   \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

static mr_memory *memory_make(void) {
  mr_memory *memory;
  CHECK(mr_memory_create(0, &memory) == 0);
  return memory;
}

static mr_memory_statistics statistics(mr_memory *memory) {
  mr_memory_statistics out;
  mr_memory_statistics_get(memory, &out);
  return out;
}

typedef struct worker {
  pthread_t thread;
  mr_iovec mine;
  int number;
  int wins;
} worker;

static void start(void *(*function)(void *), worker *workers) {
  for (int i = 0; i < THREADS; i++) {
    workers[i].number = i;
    CHECK(pthread_create(&workers[i].thread, NULL, function, &workers[i]) == 0);
  }
}

static void join(worker *workers) {
  for (int i = 0; i < THREADS; i++)
    pthread_join(workers[i].thread, NULL);
}

static void run(void *(*function)(void *), worker *workers) {
  start(function, workers);
  join(workers);
}

static void *clone_and_release(void *argument) {
  worker *self = argument;
  for (int i = 0; i < ROUNDS; i++) {
    mr_iovec clone, part;
    CHECK(mr_iovec_clone(&clone, &self->mine) == 0);
    CHECK(mr_iovec_move_segment(&part, &clone, (uint32_t)self->number * 8, 8) == 0);
    memcpy(part.data, &i, sizeof i);
    CHECK(mr_iovec_release(&clone) == -ESTALE);
    CHECK(mr_iovec_release(&part) == 0);
  }
  CHECK(mr_iovec_release(&self->mine) == 0);
  return NULL;
}

static void shared(void) {
  mr_memory *memory = memory_make();
  mr_iovec source;
  worker workers[THREADS];
  CHECK(mr_iovec_alloc(memory, 64, 0, 1, MR_IOVEC_SHARED, &source) == 1);
  for (int i = 0; i < THREADS; i++)
    CHECK(mr_iovec_clone(&workers[i].mine, &source) == 0);
  uint8_t *data = source.data;
  CHECK(mr_iovec_holders(&source) == THREADS + 1);
  CHECK(mr_iovec_release(&source) == 0);
  start(clone_and_release, workers);
  /* Not joined yet: that would order everything, and hide it when the counting doesn't. */
  while (statistics(memory).iovec_count) {
    usleep(500);
    mr_memory_tick(memory, 1);
  }
  CHECK(mr_iovec_alloc(memory, 64, 0, 1, 0, &source) == 1);
  CHECK(source.data == data); /* the same bytes are given out again ... */
  memset(source.data, 0, 64); /* ... and written: a race, unless the releases were acquired */
  join(workers);
  CHECK(mr_iovec_release(&source) == 0);
  CHECK(mr_memory_destroy(memory) == 0);
}

static void *use_and_release(void *argument) {
  worker *self = argument;
  mr_iovec other;
  CHECK(mr_iovec_clone(&other, &self->mine) == -EPERM);
  CHECK(mr_iovec_move(&other, &self->mine) == -EPERM);
  CHECK(mr_iovec_set_length(&self->mine, 1) == -EPERM);
  mr_iovec copy = self->mine;
  CHECK(mr_iovec_release(&self->mine) == 0);
  mr_iovec_release(&copy); /* handed home too, and found stale there */
  return NULL;
}

static void *allocate_elsewhere(void *argument) {
  mr_iovec out;
  CHECK(mr_iovec_alloc(argument, 10, 0, 1, 0, &out) == -EPERM);
  return NULL;
}

static void local(void) {
  mr_memory *memory = memory_make();
  worker workers[THREADS];
  for (int i = 0; i < THREADS; i++)
    CHECK(mr_iovec_alloc(memory, 100, 0, 1, 0, &workers[i].mine) == 1);
  run(use_and_release, workers);
  CHECK(statistics(memory).iovec_count == THREADS);
  mr_memory_tick(memory, 1);
  CHECK(statistics(memory).iovec_count == 0);
  CHECK(statistics(memory).stale_releases == THREADS);
  pthread_t thread;
  pthread_create(&thread, NULL, allocate_elsewhere, memory);
  pthread_join(thread, NULL);
  CHECK(mr_memory_destroy(memory) == 0);
}

static pthread_barrier_t barrier;

static void *hold_beyond(void *argument) {
  worker *self = argument;
  pthread_barrier_wait(&barrier); /* now the memory ends, while some release already */
  self->mine.data[0] = (uint8_t)self->number;
  CHECK(mr_iovec_release(&self->mine) == 0);
  return NULL;
}

static void orphan(void) {
  for (int round = 0; round < 200; round++) {
    mr_memory *memory = memory_make();
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++)
      CHECK(mr_iovec_alloc(memory, 100, 0, 1, i % 2 ? MR_IOVEC_SHARED : 0, &workers[i].mine) == 1);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
      workers[i].number = i;
      pthread_create(&workers[i].thread, NULL, hold_beyond, &workers[i]);
    }
    pthread_barrier_wait(&barrier);
    int64_t held = mr_memory_destroy(memory);
    CHECK(held >= 0 && held <= THREADS);
    for (int i = 0; i < THREADS; i++)
      pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
  }
}

static mr_iovec *copies;

static void *release_copies(void *argument) {
  worker *self = argument;
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < COPIES; i++) {
    mr_iovec copy = copies[i];
    self->wins += mr_iovec_release(&copy) == 0;
  }
  return NULL;
}

static void double_release(void) {
  mr_memory *memory = memory_make();
  worker workers[THREADS] = {0};
  mr_iovec source;
  copies = malloc(COPIES * sizeof *copies);
  CHECK(mr_iovec_alloc(memory, 64, 0, 1, MR_IOVEC_SHARED, &source) == 1);
  for (int i = 0; i < COPIES; i++)
    CHECK(mr_iovec_clone(&copies[i], &source) == 0);
  pthread_barrier_init(&barrier, NULL, THREADS);
  run(release_copies, workers);
  int wins = 0;
  for (int i = 0; i < THREADS; i++)
    wins += workers[i].wins;
  CHECK(wins == COPIES);
  CHECK(mr_iovec_holders(&source) == 1);
  CHECK(mr_iovec_release(&source) == 0);
  CHECK(mr_memory_destroy(memory) == 0);
  free(copies);
}

int main(int argc, char **argv) {
  const char *wanted = argc > 1 ? argv[1] : "all";
  int all = !strcmp(wanted, "all");
  if (all || !strcmp(wanted, "shared"))
    shared();
  if (all || !strcmp(wanted, "local"))
    local();
  if (all || !strcmp(wanted, "orphan"))
    orphan();
  if (all || !strcmp(wanted, "double"))
    double_release();
  puts("ok");
  return 0;
}
