/*
 * standard.c - standard output and standard error without waiting.
 *
 * A write to a full pipe or a stopped terminal would hold the loop, and O_NONBLOCK is not ours to set: the open file is shared with the
 * shell and whoever else has it. What is done instead depends on what it is:
 *
 *   a file, a device    written; they don't keep anybody waiting for a reader
 *   a socket            sent with MSG_DONTWAIT
 *   a pipe              written with RWF_NOWAIT; where the kernel can't (before 6.4), as a terminal
 *   a terminal          opened anew through /proc, which gives an open file of our own, with flags of our own
 *   otherwise           (/proc is not there, or the terminal is another user's) asked with poll(2), then written in small pieces. Only
 *                       a reader that leaves room for a part of such a piece could still hold the loop.
 *
 * These two belong to the process, and one loop at a time serves them.
 */
#include "stream/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  FIRST_CAPACITY = 65536,
  KEPT_CAPACITY = 1048576, /* what is more than this is given back when it has gone out */
  PIECE_BYTES = 64,
};

typedef enum manner { MANNER_UNKNOWN, MANNER_WRITE, MANNER_SEND, MANNER_NOWAIT, MANNER_REOPENED, MANNER_POLL } manner;

typedef struct standard {
  mr_standard shared; /* first: the two are one object */
  int fd;
  int own; /* the description of our own, -1: none */
  manner manner;
  int error;
  mr_loop *polling; /* the loop that waits for room */
} standard;

static standard standards[3];

void mr_standard_secure(void) {
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      /* Opened the wrong way round, so that using it still fails with EBADF. The lowest number is this one. */
      int opened = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
      if (opened >= 0 && opened != fd)
        close(opened);
    }
}

int mr_standard_is_terminal(int fd) {
  return isatty(fd);
}

/* The master of a pseudo-terminal would be another one when it is opened anew. */
static int is_master(int fd) {
  unsigned number;
  return ioctl(fd, TIOCGPTN, &number) == 0;
}

static manner reopen(standard *standard) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", standard->fd);
  standard->own = is_master(standard->fd) ? -1 : open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return standard->own >= 0 ? MANNER_REOPENED : MANNER_POLL;
}

static manner manner_of(standard *standard) {
  struct stat status;
  if (fstat(standard->fd, &status))
    return MANNER_WRITE;
  if (S_ISSOCK(status.st_mode))
    return MANNER_SEND;
  if (S_ISFIFO(status.st_mode))
    return MANNER_NOWAIT;
  return S_ISCHR(status.st_mode) && isatty(standard->fd) ? reopen(standard) : MANNER_WRITE;
}

mr_standard *mr_standard_open(int fd) {
  if (fd != 1 && fd != 2)
    return NULL;
  standard *standard = &standards[fd];
  if (standard->fd)
    return &standard->shared;
  standard->shared.data = malloc(FIRST_CAPACITY);
  if (!standard->shared.data)
    return NULL;
  standard->shared.capacity = FIRST_CAPACITY;
  standard->fd = fd;
  standard->own = -1;
  return &standard->shared;
}

int mr_standard_room(mr_standard *shared, uint32_t length) {
  if (shared->first) {
    memmove(shared->data, shared->data + shared->first, (size_t)(shared->used - shared->first));
    shared->used -= shared->first;
    shared->first = 0;
  }
  uint64_t needed = (uint64_t)shared->used + length, capacity = (uint64_t)shared->capacity;
  while (capacity < needed)
    capacity *= 2;
  if (capacity > INT32_MAX)
    return -ENOMEM;
  if ((int32_t)capacity == shared->capacity)
    return 0;
  uint8_t *data = realloc(shared->data, capacity);
  if (!data)
    return -ENOMEM;
  shared->data = data;
  shared->capacity = (int32_t)capacity;
  return 0;
}

int mr_standard_number(mr_standard *shared, double number) {
  char *to = (char *)shared->data + shared->used;
  if (number != number)
    return (int)strlen(strcpy(to, "nan")); /* whatever its sign */
  if (number < -1e14 || number > 1e14 || number != (double)(int64_t)number)
    return snprintf(to, MR_STANDARD_NUMBER_BYTES, "%.14g", number);
  uint64_t rest = number < 0 ? (uint64_t)-number : (uint64_t)number;
  char digits[MR_STANDARD_NUMBER_BYTES];
  int count = 0, length = 0;
  if (signbit(number))
    to[length++] = '-';
  do
    digits[count++] = (char)('0' + rest % 10);
  while (rest /= 10);
  while (count)
    to[length++] = digits[--count];
  return length;
}

/* One attempt. Result: bytes, or negative errno: -EAGAIN when it takes none now. */
static ssize_t attempt(standard *standard) {
  const mr_standard *shared = &standard->shared;
  struct iovec rest = {shared->data + shared->first, (size_t)(shared->used - shared->first)};
  ssize_t result = -1;
  if (standard->manner == MANNER_UNKNOWN)
    standard->manner = manner_of(standard); /* not before it is used */
  switch (standard->manner) {
  case MANNER_UNKNOWN:
  case MANNER_WRITE:
    result = write(standard->fd, rest.iov_base, rest.iov_len);
    break;
  case MANNER_SEND:
    result = send(standard->fd, rest.iov_base, rest.iov_len, MSG_DONTWAIT);
    break;
  case MANNER_NOWAIT:
    result = pwritev2(standard->fd, &rest, 1, -1, RWF_NOWAIT);
    if (result < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
      standard->manner = reopen(standard);
      return attempt(standard);
    }
    break;
  case MANNER_REOPENED:
    result = write(standard->own, rest.iov_base, rest.iov_len);
    break;
  case MANNER_POLL: {
    struct pollfd ask = {.fd = standard->fd, .events = POLLOUT};
    if (poll(&ask, 1, 0) != 1)
      return -EAGAIN;
    result = write(standard->fd, rest.iov_base, rest.iov_len < PIECE_BYTES ? rest.iov_len : PIECE_BYTES);
    break;
  }
  }
  return result < 0 ? -errno : result;
}

static void empty(mr_standard *shared) {
  shared->first = shared->used = 0;
  if (shared->capacity <= KEPT_CAPACITY)
    return;
  uint8_t *data = realloc(shared->data, FIRST_CAPACITY);
  if (!data)
    return;
  shared->data = data;
  shared->capacity = FIRST_CAPACITY;
}

/* Writes until all is out or nothing more is taken. Result: 0, -EAGAIN, or a failure, with all of it dropped. */
static int write_out(standard *standard) {
  mr_standard *shared = &standard->shared;
  while (shared->first < shared->used) {
    ssize_t result = attempt(standard);
    if (result == -EAGAIN)
      return -EAGAIN;
    if (result < 0 && result != -EINTR) {
      empty(shared);
      standard->error = (int)result;
      return (int)result;
    }
    if (result > 0)
      shared->first += (int32_t)result;
  }
  empty(shared);
  return 0;
}

static void wait_for_room(standard *standard, mr_loop *loop) {
  standard->shared.blocked = 1;
  if (!loop || standard->polling)
    return;
  int fd = standard->own >= 0 ? standard->own : standard->fd;
  if (mr_uring_poll(loop->ring, fd, POLLOUT, user_data_make(OPERATION_STANDARD, 0, standard->fd))) {
    standard->shared.blocked = 0; /* the queue is full: with the next flush */
    return;
  }
  standard->polling = loop;
  loop->statistics.operations++;
}

int mr_standard_flush(mr_standard *shared, mr_loop *loop) {
  standard *standard = (struct standard *)shared;
  if (shared->blocked) {
    wait_for_room(standard, loop); /* where it was found out before there was a loop */
    return shared->used - shared->first;
  }
  int error = write_out(standard);
  if (error == -EAGAIN)
    wait_for_room(standard, loop);
  else if (error)
    return mr_standard_error(shared);
  return shared->used - shared->first;
}

void mr_standard_complete(mr_loop *loop, int32_t fd) {
  standard *standard = &standards[fd];
  loop->statistics.operations--;
  standard->polling = NULL;
  standard->shared.blocked = 0;
  if (loop->ending)
    return;
  if (write_out(standard) == -EAGAIN)
    wait_for_room(standard, loop);
  if (standard->shared.awaited || standard->error)
    mr_event_push(loop, MR_EVENT_OUTPUT, fd, standard->error);
}

int mr_standard_error(mr_standard *shared) {
  standard *standard = (struct standard *)shared;
  int error = standard->error;
  standard->error = 0;
  return error;
}

int mr_standard_finish(mr_standard *shared, double seconds) {
  standard *standard = (struct standard *)shared;
  double end = mr_clock_now() + seconds;
  standard->polling = NULL; /* its loop is gone, or stands still while we wait here */
  shared->blocked = 0;
  while (write_out(standard) == -EAGAIN) {
    double left = seconds < 0 ? 3600 : end - mr_clock_now();
    if (left <= 0)
      return -ETIMEDOUT;
    struct pollfd room = {.fd = standard->own >= 0 ? standard->own : standard->fd, .events = POLLOUT};
    poll(&room, 1, (int)(left < 3600 ? left * 1000 + 1 : 3600000));
  }
  return mr_standard_error(shared);
}
