/*
 * memory.c - the plain C loop that scripts/bench/memory compares Lua with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "moonring.h"

enum { ROUNDS = 2000000, RUNS = 7 };

static mr_memory *memory;
static mr_iovec source;

static void empty_pair(void) {
  mr_abi();
  mr_abi();
}

static void malloc_free(void) {
  void *volatile block = malloc(4096);
  free(block);
}

static void alloc_release(void) {
  mr_iovec one;
  mr_iovec_alloc(memory, 4096, 0, 1, 0, &one);
  mr_iovec_release(&one);
}

static void clone_release(void) {
  mr_iovec one;
  mr_iovec_clone(&one, &source);
  mr_iovec_release(&one);
}

static double now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_size(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return difference < 0 ? -1 : difference > 0;
}

static void measure(const char *name, void (*function)(void)) {
  double runs[RUNS];
  for (int run = 0; run < RUNS; run++) {
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++)
      function();
    runs[run] = (now_ns() - start) / ROUNDS;
  }
  qsort(runs, RUNS, sizeof *runs, by_size);
  printf("C    %-34s %6.1f ns\n", name, runs[RUNS / 2]);
}

int main(void) {
  mr_memory_create(0, &memory);
  mr_iovec_alloc(memory, 4096, 0, 1, 0, &source);
  measure("two empty calls", empty_pair);
  measure("malloc + free, 4 KiB", malloc_free);
  measure("alloc + release, 4 KiB", alloc_release);
  measure("clone + release, LOCAL", clone_release);
  mr_iovec_release(&source);
  mr_iovec_alloc(memory, 4096, 0, 1, MR_IOVEC_SHARED, &source);
  measure("clone + release, SHARED", clone_release);
  mr_iovec_release(&source);
  return mr_memory_destroy(memory) != 0;
}
