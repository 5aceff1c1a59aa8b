/*
 * helper.c - threads for the system calls that block and that io_uring does not have.
 *
 * They belong to the process and serve the loops of all its threads: one queue of calls to be done, and for each loop a list of
 * those that are done, all under one lock, which is held for a few instructions. A thread is started when a call finds none
 * idle, up to HELPERS_MAX, and ends when it has been idle for a while; none exists in a program that needs none.
 *
 * A helper writes to the loop's eventfd under the lock, too: a loop that has taken its last result and takes the lock once
 * more knows that no helper speaks to it any longer. What may block for ever (a lock somebody holds, a FIFO without a peer) is
 * never given to a helper, because so many of them would stop all others.
 */
#include "call/call_internal.h"
#include "system/thread.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum {
  HELPERS_MAX = 16, /* they wait for disks, not for processors: more only queue there */
  IDLE_SECONDS = 5,
  STACK_BYTES = 262144, /* a path and a directory's block, many times over; also under the sanitizers */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_there;
static mr_call *first, *last; /* to be done */
static int threads, idle;

void mr_helpers_lock(void) {
  pthread_mutex_lock(&mutex);
}

void mr_helpers_unlock(void) {
  pthread_mutex_unlock(&mutex);
}

/* Puts the call among those done of its loop, and wakes that when it may not know of any. */
static void give_back(mr_call *call) {
  mr_loop *home = call->home;
  mr_calls *calls = home->calls;
  int was_empty = !calls->done_first;
  call->next = NULL;
  if (was_empty)
    calls->done_first = call;
  else
    calls->done_last->next = call;
  calls->done_last = call;
  const uint64_t one = 1;
  if (was_empty && home->wake_fd >= 0 && write(home->wake_fd, &one, sizeof one) < 0)
    return; /* the counter is full: the loop has been woken already */
}

static mr_call *queue_take(void) {
  mr_call *call = first;
  first = call->next;
  return call;
}

/* Here, because closing what was the last descriptor of a file may block. */
static void close_own(mr_call *call) {
  if (call->descriptor >= 0)
    close(call->descriptor);
  if (call->other_descriptor >= 0)
    close(call->other_descriptor);
  call->descriptor = call->other_descriptor = -1;
}

static void *help(void *unused) {
  (void)unused;
  pthread_mutex_lock(&mutex);
  for (;;) {
    if (!first) {
      struct timespec until;
      clock_gettime(CLOCK_MONOTONIC, &until);
      until.tv_sec += IDLE_SECONDS;
      idle++;
      int error = 0;
      while (!first && !error)
        error = pthread_cond_timedwait(&work_there, &mutex, &until);
      idle--;
      if (!first)
        break;
    }
    mr_call *call = queue_take();
    pthread_mutex_unlock(&mutex);
    int32_t result;
    do
      result = call->work(call);
    while (result == -EINTR);
    close_own(call);
    pthread_mutex_lock(&mutex);
    call->result = result;
    give_back(call);
  }
  threads--;
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static void condition_open(void) {
  mr_condition_open(&work_there);
}

static int start(void) {
  pthread_t thread;
  int error = mr_thread_start(&thread, STACK_BYTES, help);
  if (error)
    return error;
  pthread_detach(thread);
  threads++;
  return 0;
}

int mr_helpers_add(mr_call *call) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, condition_open);
  pthread_mutex_lock(&mutex);
  int waiting = 1;
  for (const mr_call *each = first; each && waiting <= idle; each = each->next)
    waiting++;
  int error = waiting > idle && threads < HELPERS_MAX ? start() : 0;
  if (error && threads)
    error = 0; /* those that there are will do it, later */
  if (!error) {
    call->next = NULL;
    if (first)
      last->next = call;
    else
      first = call;
    last = call;
    pthread_cond_signal(&work_there);
  }
  pthread_mutex_unlock(&mutex);
  return error;
}

int mr_helpers_remove(mr_call *call) {
  pthread_mutex_lock(&mutex);
  mr_call *before = NULL, *each = first;
  while (each && each != call) {
    before = each;
    each = each->next;
  }
  if (each) {
    if (before)
      before->next = call->next;
    else
      first = call->next;
    if (last == call)
      last = before;
  }
  pthread_mutex_unlock(&mutex);
  return each != NULL;
}

mr_call *mr_helpers_take(mr_loop *home) {
  pthread_mutex_lock(&mutex);
  mr_call *call = home->calls->done_first;
  if (call)
    home->calls->done_first = call->next;
  pthread_mutex_unlock(&mutex);
  return call;
}
