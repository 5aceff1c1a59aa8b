/*
 * signal.c - signals as events.
 *
 * A handler notes the signal's number and writes to the loop's eventfd (wake.c), so a signal wakes the loop wherever it
 * waits. A program that computes without end never comes back to the loop; therefore a second signal of the same
 * number that finds the first one unseen acts as if nobody had asked for it, and Ctrl-C pressed twice always works.
 */
#include "loop_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Signals belong to the process: one loop of it may watch them. */
static volatile sig_atomic_t pending[NSIG];
static volatile sig_atomic_t wake_fd = -1;

static void note(int number) {
  int saved_errno = errno;
  if (pending[number]) {
    signal(number, SIG_DFL);
    raise(number);
  }
  pending[number] = 1;
  const uint64_t one = 1;
  if (wake_fd >= 0 && write(wake_fd, &one, sizeof one) < 0)
    pending[number] = 2; /* the counter is full: the loop has been woken already */
  errno = saved_errno;
}

int mr_signal_watch(mr_loop *loop, int number) {
  if (number < 1 || number >= NSIG)
    return -EINVAL;
  if (wake_fd >= 0 && loop->wake_fd != wake_fd)
    return -EBUSY;
  int error = mr_wake_open(loop);
  if (error)
    return error;
  wake_fd = loop->wake_fd;
  pending[number] = 0;
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return sigaction(number, &action, NULL) ? -errno : 0;
}

void mr_signals_collect(mr_loop *loop) {
  if (loop->wake_fd != wake_fd)
    return;
  for (int number = 1; number < NSIG; number++)
    if (pending[number]) {
      pending[number] = 0;
      mr_event_push(loop, MR_EVENT_SIGNAL, 0, number);
    }
}

void mr_signals_destroy(mr_loop *loop) {
  if (loop->wake_fd < 0 || loop->wake_fd != wake_fd)
    return;
  for (int number = 1; number < NSIG; number++) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == note)
      signal(number, SIG_DFL);
    pending[number] = 0;
  }
  wake_fd = -1;
}

void mr_signal_die(int number) {
  signal(number, SIG_DFL);
  raise(number);
}
