/*
 * signal.c - signals as events.
 *
 * A handler notes the signal's number and writes to the loop's eventfd (wake.c), so a signal wakes the loop wherever it
 * waits. Signals are not counted: several of one number that come before the loop looks are one event, as they are one pending signal
 * in the kernel. A program that computes without end never comes back to the loop; therefore, for the signals that end a program, a
 * second one that finds the first unseen acts as if nobody had asked for it, and Ctrl-C pressed twice always works.
 *
 * Handlers rather than a signalfd, because that needs the signals blocked, and programs that are started inherit what is blocked.
 */
#include "loop/loop_internal.h"
#include "system/terminal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Signals belong to the process: one loop of it may watch them. */
static volatile sig_atomic_t pending[NSIG];
static volatile sig_atomic_t insists[NSIG];
static volatile sig_atomic_t wake_fd = -1;
static struct {
  int watched, awaited;
  struct sigaction before;
} states[NSIG];

/* What a signal does besides: it runs in the handler. */
static void (*volatile interrupts[NSIG])(void);

void mr_signal_interrupt(int number, void (*interrupt)(void)) {
  if (number > 0 && number < NSIG)
    interrupts[number] = interrupt;
}

static void note(int number) {
  int saved_errno = errno;
  if (pending[number] && insists[number]) {
    mr_terminal_restore();
    signal(number, SIG_DFL);
    raise(number);
  }
  pending[number] = 1;
  void (*interrupt)(void) = interrupts[number];
  if (interrupt)
    interrupt();
  const uint64_t one = 1;
  if (wake_fd >= 0 && write(wake_fd, &one, sizeof one) < 0)
    pending[number] = 2; /* the counter is full: the loop has been woken already */
  errno = saved_errno;
}

/* Whether a handler may stand for it: not for what nobody can catch, nor for what would come again at once when it returns. */
static int is_catchable(int number) {
  switch (number) {
  case SIGKILL:
  case SIGSTOP:
  case SIGSEGV:
  case SIGBUS:
  case SIGFPE:
  case SIGILL:
    return 0;
  default:
    return number > 0 && number < NSIG && mr_signal_name(number);
  }
}

int mr_signal_watch(mr_loop *loop, int number, uint32_t flags) {
  if (!is_catchable(number))
    return -EINVAL;
  if (wake_fd >= 0 && loop->wake_fd != wake_fd)
    return -EBUSY;
  int error = mr_wake_open(loop);
  if (error)
    return error;
  wake_fd = loop->wake_fd;
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART}, before;
  sigemptyset(&action.sa_mask);
  insists[number] = (flags & MR_SIGNAL_INSISTS) != 0;
  if (!states[number].watched)
    pending[number] = 0;
  if (sigaction(number, &action, &before))
    return -errno;
  if (!states[number].watched) {
    states[number].watched = 1;
    states[number].before = before;
  }
  loop->signals_awaited -= states[number].awaited;
  states[number].awaited = (flags & MR_SIGNAL_AWAITED) != 0;
  loop->signals_awaited += states[number].awaited;
  /* Our parent may have left it blocked. */
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, number);
  pthread_sigmask(SIG_UNBLOCK, &own, NULL);
  return 0;
}

int mr_signal_unwatch(mr_loop *loop, int number) {
  if (number < 1 || number >= NSIG || !states[number].watched || loop->wake_fd != wake_fd)
    return -EINVAL;
  loop->signals_awaited -= states[number].awaited;
  sigaction(number, &states[number].before, NULL);
  memset(&states[number], 0, sizeof states[number]);
  pending[number] = insists[number] = 0;
  return 0;
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
  for (int number = 1; number < NSIG; number++)
    if (states[number].watched)
      mr_signal_unwatch(loop, number);
  wake_fd = -1;
}

static void survive(int number) {
  (void)number;
}

static void survive_writes(void) {
  static const int numbers[] = {SIGPIPE, SIGXFSZ};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction action;
    if (sigaction(numbers[i], NULL, &action) || (action.sa_flags & SA_SIGINFO) || action.sa_handler != SIG_DFL)
      continue;
    action = (struct sigaction){.sa_handler = survive, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(numbers[i], &action, NULL);
  }
}

void mr_signal_survive_writes(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, survive_writes);
}

void mr_signal_die(int number) {
  mr_terminal_restore();
  signal(number, SIG_DFL);
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, number);
  pthread_sigmask(SIG_UNBLOCK, &own, NULL);
  raise(number);
}

int mr_signal_is_ignored(int number) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void mr_signal_raise(int number) {
  raise(number);
}

int mr_signal_number(const char *name) {
  if (strncmp(name, "SIG", 3) == 0)
    name += 3;
  for (int number = 1; number < NSIG; number++) {
    const char *known = mr_signal_name(number);
    if (known && strcmp(known, name) == 0)
      return number;
  }
  return -EINVAL;
}

const char *mr_signal_name(int number) {
  static char real_time[NSIG][sizeof "RTMIN+99"];
  if (number < 1 || number >= NSIG)
    return NULL;
  if (number >= SIGRTMIN && number <= SIGRTMAX) {
    snprintf(real_time[number], sizeof real_time[number], number == SIGRTMIN ? "RTMIN" : "RTMIN+%d", number - SIGRTMIN);
    return real_time[number];
  }
  return sigabbrev_np(number); /* NULL for the two that the C library keeps to itself */
}
