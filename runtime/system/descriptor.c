/*
 * descriptor.c - the open descriptors of this process: which there are, as /proc tells, pipes, and what Lua holds.
 */
#include "system/descriptor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static int rising(const void *left, const void *right) {
  int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
  return (a > b) - (a < b);
}

int mr_descriptors(int32_t *out, int max) {
  DIR *folder = opendir("/proc/self/fd");
  if (!folder)
    return -errno;
  int count = 0, own = dirfd(folder);
  for (struct dirent *entry; count < max && (entry = readdir(folder));) {
    char *end;
    long number = strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == 0 && number != own)
      out[count++] = (int32_t)number;
  }
  closedir(folder);
  qsort(out, (size_t)count, sizeof *out, rising);
  return count;
}

int mr_descriptor_name(int descriptor, char *text, size_t size) {
  char path[32];
  if (size == 0)
    return -EINVAL;
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(path, text, size - 1);
  if (length < 0)
    return -errno;
  text[length] = 0;
  return 0;
}

void mr_descriptor_release(mr_descriptor *descriptor) {
  int fd = descriptor->number;
  descriptor->number = -1;
  if (fd >= 0)
    close(fd);
}

int mr_pipe_open(int32_t ends[2]) {
  return pipe2(ends, O_CLOEXEC) ? -errno : 0;
}

int mr_null_open(int write) {
  int fd = open("/dev/null", (write ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

void mr_descriptor_close_now(int descriptor) {
  close(descriptor);
}

double mr_descriptor_limit(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : (double)limit.rlim_cur;
}
