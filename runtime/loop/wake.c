/*
 * wake.c - how others wake the loop: an eventfd that the ring reads.
 *
 * Signal handlers and helper threads leave word where the loop will look, and write to the eventfd. It is made when the first of
 * them needs it; from then on its read is always in the kernel, and is the one operation that keeps nobody waiting.
 */
#include "loop/loop_internal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

void mr_wake_prepare(mr_loop *loop) {
  if (loop->wake_fd < 0 || loop->wake_armed)
    return;
  if (mr_uring_read(loop->ring, loop->wake_fd, &loop->wake_value, sizeof loop->wake_value,
                    user_data_make(OPERATION_WAKE, 0, 0)))
    return; /* the queue is full: with the next submission */
  loop->wake_armed = 1;
  loop->statistics.operations++;
}

int mr_wake_open(mr_loop *loop) {
  if (loop->wake_fd >= 0)
    return 0;
  int fd = eventfd(0, EFD_CLOEXEC);
  if (fd < 0)
    return -errno;
  loop->wake_fd = fd;
  return 0;
}

void mr_wake_complete(mr_loop *loop) {
  loop->statistics.operations--;
  loop->wake_armed = 0;
}

void mr_wake_close(mr_loop *loop) {
  if (loop->wake_fd < 0)
    return;
  close(loop->wake_fd);
  loop->wake_fd = -1;
}
