/*
 * watch.c - the watchdog: tells when Lua code holds the loop.
 *
 * A thread samples two counters that the loop's thread raises anyway, four times per limit, and a flag tells the scheduler
 * afterwards whose resumption it was; a signal, if one was asked for, lets the loop's thread look where it is. It costs the loop
 * two stores per resumption. The counters are read without order; a torn or late value only shifts a report by a sample.
 */
#include "loop/loop.h"
#include "system/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static mr_watch watch;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_t thread;
static double limit; /* 0: the thread ends */
static int running;
static int interrupting; /* the signal for the thread that is watched, 0: none */
static pthread_t watched;

mr_watch *mr_watch_state(void) {
  return &watch;
}

static void report(double seconds) {
  char text[128];
  int length = snprintf(text, sizeof text,
                        "moonring: the loop has been held for %.3f s by one task; its traceback follows\n", seconds);
  if (write(STDERR_FILENO, text, (size_t)length) < 0)
    return; /* nobody to tell */
}

static double sample(const double *counter) {
  double value;
  __atomic_load(counter, &value, __ATOMIC_RELAXED);
  return value;
}

static void *look(void *unused) {
  (void)unused;
  double resumes = -1, turns = -1, since = mr_clock_now();
  int reported = 0;
  pthread_mutex_lock(&mutex);
  while (limit > 0) {
    double now = mr_clock_now();
    if (sample(&watch.resumes) != resumes || sample(&watch.turns) != turns ||
        __atomic_load_n(&watch.waiting, __ATOMIC_RELAXED)) {
      resumes = sample(&watch.resumes);
      turns = sample(&watch.turns);
      since = now;
      reported = 0;
    } else if (!reported && now - since >= limit) {
      reported = 1;
      report(now - since);
      __atomic_store_n(&watch.overdue, (int32_t)((now - since) * 1000) + 1, __ATOMIC_RELEASE);
      if (interrupting)
        pthread_kill(watched, interrupting);
    }
    double until = now + limit / 4;
    struct timespec time = {.tv_sec = (time_t)until, .tv_nsec = (long)((until - (double)(time_t)until) * 1e9)};
    pthread_cond_timedwait(&changed, &mutex, &time);
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static int start(void) {
  mr_condition_open(&changed);
  int error = mr_thread_start(&thread, 0, look);
  running = error == 0;
  return error;
}

void mr_watch_interrupt(int signal_number) {
  pthread_mutex_lock(&mutex);
  interrupting = signal_number;
  pthread_mutex_unlock(&mutex);
}

int mr_watch_start(double seconds) {
  if (!(seconds >= 0 && seconds < 1e6))
    return -EINVAL;
  pthread_mutex_lock(&mutex);
  limit = seconds;
  watched = pthread_self();
  if (running)
    pthread_cond_signal(&changed);
  pthread_mutex_unlock(&mutex);
  if (seconds > 0)
    return running ? 0 : start();
  if (running)
    pthread_join(thread, NULL);
  running = 0;
  watch.overdue = 0;
  return 0;
}
