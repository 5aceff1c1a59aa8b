/*
 * helper_threads.c - loops on several threads that share the helpers, for ThreadSanitizer: calls done, abandoned at every moment,
 * and in flight when their loop ends.
 */
#include "moonring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOPS = 4, ROUNDS = 30, CALLS = 40 };

static void check(int holds, const char *what) {
  if (holds)
    return;
  printf("failed: %s\n", what);
  exit(1);
}

static int start(mr_loop *loop, int i) {
  switch (i % 3) {
  case 0:
    return mr_call_access(loop, "/", 0);
  case 1:
    return mr_call_read_link(loop, "/proc/self/exe");
  default:
    return mr_call_real_path(loop, "/proc/self/nothing");
  }
}

static void check_result(mr_loop *loop, int i, int call) {
  int result = mr_call_result(loop, call);
  if (i % 3 == 0)
    check(result == 0, "access");
  else if (i % 3 == 1)
    check(result > 0 && mr_call_data(loop, call)[0] == '/', "readlink");
  else
    check(result == -ENOENT, "realpath");
  check(mr_call_finish(loop, call) == result, "finish");
}

/* Starts CALLS calls, abandons every third, and takes the results of the others, or ends the loop without. */
static void round_of(mr_loop *loop, int round) {
  int calls[CALLS], expected = 0;
  for (int i = 0; i < CALLS; i++) {
    calls[i] = start(loop, i);
    check(calls[i] >= 0, "start");
  }
  for (int i = 0; i < CALLS; i++)
    if ((i + round) % 3 == 0) {
      mr_call_abandon(loop, calls[i]);
      calls[i] = -1;
    } else {
      expected++;
    }
  while (expected) {
    int count = mr_loop_turn(loop, 5);
    check(count > 0, "turn");
    for (int e = 0; e < count; e++) {
      const mr_event *event = &mr_loop_events(loop)[e];
      for (int i = 0; i < CALLS; i++)
        if (event->kind == MR_EVENT_CALL && calls[i] == event->slot) {
          check_result(loop, i, calls[i]);
          calls[i] = -1;
          expected--;
        }
    }
  }
}

static void *run(void *unused) {
  (void)unused;
  for (int round = 0; round < ROUNDS; round++) {
    mr_loop *loop;
    check(mr_loop_create(NULL, &loop) == 0, "create");
    round_of(loop, round);
    for (int i = 0; i < CALLS; i++)
      check(start(loop, i) >= 0, "start in flight");
    check(mr_loop_destroy(loop, 10) == 0, "everything was given back");
  }
  return NULL;
}

int main(void) {
  pthread_t threads[LOOPS];
  for (int i = 0; i < LOOPS; i++)
    pthread_create(&threads[i], NULL, run, NULL);
  for (int i = 0; i < LOOPS; i++)
    pthread_join(threads[i], NULL);
  puts("ok");
  return 0;
}
