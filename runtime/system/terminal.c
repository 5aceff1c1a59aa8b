/*
 * terminal.c - raw mode of the terminal, ended whatever happens.
 *
 * A terminal that stays raw behind a process is unusable for who sits there, so the way back runs from atexit and from the signals
 * that end the process; those that somebody else handles already get there in their own way (moonring's loop ends in order).
 */
#include "system/terminal.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

static volatile sig_atomic_t raw_descriptor = -1;
static struct termios found; /* what raw mode replaced */

/* The signals that end a process in the middle of things. */
static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGHUP, SIGQUIT, SIGTERM, SIGINT};
enum { FATAL_COUNT = sizeof fatal / sizeof *fatal };
static struct sigaction before[FATAL_COUNT]; /* sa_handler is SIG_ERR where ours is not installed */

int mr_terminal_is(int descriptor) {
  return isatty(descriptor);
}

void mr_terminal_restore(void) {
  int descriptor = raw_descriptor;
  if (descriptor < 0)
    return;
  raw_descriptor = -1;
  tcsetattr(descriptor, TCSADRAIN, &found);
}

/* Restores, then lets the signal do what it would have done: a fault happens again when this returns. */
static void restore_and_go_on(int number, siginfo_t *information, void *context) {
  (void)context;
  mr_terminal_restore();
  for (int i = 0; i < FATAL_COUNT; i++)
    if (fatal[i] == number)
      sigaction(number, &before[i], NULL);
  if (information->si_code <= 0 || number == SIGHUP || number == SIGQUIT || number == SIGTERM || number == SIGINT)
    raise(number);
}

static int is_sync_fault(int number) {
  return number == SIGSEGV || number == SIGBUS || number == SIGABRT || number == SIGFPE || number == SIGILL;
}

static void guard_signals(void) {
  for (int i = 0; i < FATAL_COUNT; i++) {
    struct sigaction action = {.sa_sigaction = restore_and_go_on, .sa_flags = SA_SIGINFO}, old;
    sigemptyset(&action.sa_mask);
    if (sigaction(fatal[i], NULL, &old))
      continue;
    int ours = (old.sa_flags & SA_SIGINFO) && old.sa_sigaction == restore_and_go_on;
    if (ours || (!is_sync_fault(fatal[i]) && old.sa_handler != SIG_DFL))
      continue;
    before[i] = old;
    sigaction(fatal[i], &action, NULL);
  }
}

int mr_terminal_raw(int descriptor) {
  static int at_exit;
  if (raw_descriptor == descriptor)
    return 0;
  if (raw_descriptor >= 0)
    return -EBUSY;
  struct termios raw;
  if (tcgetattr(descriptor, &raw))
    return -errno;
  found = raw;
  raw.c_iflag &= (tcflag_t) ~(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
  raw.c_cflag |= CS8;
  raw.c_lflag &= (tcflag_t) ~(ECHO | ICANON | IEXTEN);
  raw.c_lflag |= ISIG | NOFLSH; /* for Ctrl-C, and Ctrl-\ as the last resort, while a program doesn't read */
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (!at_exit && atexit(mr_terminal_restore))
    return -ENOMEM;
  at_exit = 1;
  guard_signals();
  raw_descriptor = descriptor;
  if (tcsetattr(descriptor, TCSADRAIN, &raw)) { /* what has been typed ahead stays */
    int error = errno;
    raw_descriptor = -1;
    return -error;
  }
  return 0;
}

int mr_terminal_suspend(void) {
  int descriptor = raw_descriptor;
  mr_terminal_restore();
  kill(0, SIGTSTP);
  return descriptor < 0 ? 0 : mr_terminal_raw(descriptor);
}

void mr_terminal_measure(int descriptor, mr_terminal_size *out) {
  struct winsize size;
  *out = (mr_terminal_size){80, 24};
  if (ioctl(descriptor, TIOCGWINSZ, &size))
    return;
  if (size.ws_col)
    out->columns = size.ws_col;
  if (size.ws_row)
    out->rows = size.ws_row;
}

static locale_t characters;

static void load_characters(void) {
  characters = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

int mr_terminal_width(uint32_t character) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (character < 0x7f)
    return character < 0x20 ? -1 : 1;
  pthread_once(&once, load_characters);
  if (!characters)
    return character < 0xa0 ? -1 : 1;
  locale_t own = uselocale(characters);
  int width = wcwidth((wchar_t)character);
  uselocale(own);
  return width;
}
