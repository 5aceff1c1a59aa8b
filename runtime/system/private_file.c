/*
 * private_file.c - files of lines that are their owner's alone, written by several processes at once: the history.
 *
 * Writers take turns by flock. Cutting the file replaces it, so a writer whose descriptor is the replaced file's opens again.
 * Nothing here waits for more than another writer's few milliseconds.
 */
#include "system/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the folders that the path leads through. */
static void make_folders(const char *path) {
  char part[PATH_MAX];
  size_t length = strlen(path);
  if (length >= sizeof part)
    return;
  for (size_t i = 1; i < length; i++)
    if (path[i] == '/') {
      memcpy(part, path, i);
      part[i] = 0;
      mkdir(part, 0700); /* what stands in the way is told by open */
    }
}

/* Opens and locks what the path leads to now. Result: a descriptor or negative errno. */
static int open_locked(const char *path) {
  for (int attempt = 0; attempt < 100; attempt++) {
    int descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0 && errno == ENOENT && attempt == 0) {
      make_folders(path);
      continue;
    }
    if (descriptor < 0)
      return -errno;
    struct stat opened, named;
    if (flock(descriptor, LOCK_EX) == 0 && fstat(descriptor, &opened) == 0 && stat(path, &named) == 0 &&
        opened.st_ino == named.st_ino && opened.st_dev == named.st_dev)
      return descriptor;
    close(descriptor);
  }
  return -EAGAIN;
}

static int write_all(int descriptor, const char *data, size_t length) {
  while (length) {
    ssize_t written = write(descriptor, data, length);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return -errno;
    data += written;
    length -= (size_t)written;
  }
  return 0;
}

/* Replaces the file by its last lines. */
static int cut(const char *path, int descriptor, size_t size, size_t keep) {
  char other[PATH_MAX];
  if (snprintf(other, sizeof other, "%s.%ld", path, (long)getpid()) >= (int)sizeof other)
    return -ENAMETOOLONG;
  char *data = malloc(keep);
  if (!data)
    return -ENOMEM;
  ssize_t got = pread(descriptor, data, keep, (off_t)(size - keep));
  int error = got < 0 ? -errno : 0;
  const char *line = error ? NULL : memchr(data, '\n', (size_t)got);
  if (line) {
    line++;
    int replacement = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    error = replacement < 0 ? -errno : write_all(replacement, line, (size_t)(data + got - line));
    if (replacement >= 0)
      close(replacement);
    if (!error && rename(other, path))
      error = -errno;
    if (error)
      unlink(other);
  }
  free(data);
  return error;
}

int mr_private_append(const char *path, const char *data, size_t length, size_t limit) {
  int descriptor = open_locked(path);
  if (descriptor < 0)
    return descriptor;
  struct stat status;
  int error = write_all(descriptor, data, length);
  if (!error && fstat(descriptor, &status))
    error = -errno;
  if (!error && status.st_size > 0 && (size_t)status.st_size > limit)
    error = cut(path, descriptor, (size_t)status.st_size, limit / 2);
  close(descriptor);
  return error;
}
