/*
 * bind.c - sockets that listen: how they are opened, bound, and, for Unix sockets, what becomes of the file.
 *
 * A Unix socket's file outlives the socket. Closing a listener removes its file, when that is still the one it made. After
 * a crash the file stays and nobody answers there; whoever asks for it (MR_LISTEN_UNLINK_STALE) gets it removed before binding, but
 * only when it is a socket that refuses connections. Two processes that do this at the same moment may both think so: the lock
 * against that, where it is needed, is a file of the service's own.
 */
#include "socket/socket_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_BACKLOG = 4096 };

static int is_path(const mr_address *address) {
  return address->family == AF_UNIX && address->length > 0 && address->bytes[0] != '\0';
}

/* Whether the name is that of a socket at which nobody listens any more. */
static int is_stale(const mr_socket_name *name, socklen_t length) {
  struct stat status;
  if (lstat(name->local.sun_path, &status) || !S_ISSOCK(status.st_mode))
    return 0;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return 0;
  int refused = connect(fd, &name->any, length) && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

static int bind_name(int fd, const mr_socket_name *name, socklen_t length, uint32_t flags) {
  if (bind(fd, &name->any, length) == 0)
    return 0;
  if (errno != EADDRINUSE || !(flags & MR_LISTEN_UNLINK_STALE) || !is_stale(name, length))
    return -errno;
  if (unlink(name->local.sun_path) && errno != ENOENT)
    return -errno;
  return bind(fd, &name->any, length) ? -errno : 0;
}

static int defaults_set(int fd, int family) {
  if (family == AF_UNIX)
    return 0;
  mr_option_set(fd, MR_OPTION_REUSE_ADDRESS, 1, 0);
  mr_option_set(fd, MR_OPTION_NODELAY, 1, 0);
  return family == AF_INET6 ? mr_option_set(fd, MR_OPTION_IPV6_ONLY, 0, 0) : 0;
}

int mr_bound_file_note(const mr_address *address, uint32_t mode, mr_bound_file **out) {
  *out = NULL;
  if (!is_path(address))
    return 0;
  mr_bound_file *file = calloc(1, sizeof *file);
  struct stat status;
  if (!file)
    return -ENOMEM;
  memcpy(file->path, address->bytes, (size_t)address->length);
  if ((mode && chmod(file->path, mode)) || lstat(file->path, &status)) {
    int error = -errno;
    unlink(file->path);
    free(file);
    return error;
  }
  file->device = status.st_dev;
  file->inode = status.st_ino;
  *out = file;
  return 0;
}

static int open_on(int fd, const mr_address *address, const mr_listen *how, mr_bound_file **file) {
  mr_socket_name name;
  socklen_t length = mr_address_to_socket(address, &name);
  if (!length)
    return -EAFNOSUPPORT;
  if ((how->flags & MR_LISTEN_TAKE_DESCRIPTORS) && address->family != AF_UNIX)
    return -EOPNOTSUPP;
  int error = defaults_set(fd, address->family);
  if (!error)
    error = mr_options_set(fd, how->options, how->option_count, 0);
  /* Before bind, so that the file is never open to more than it is to be; umask may take from it, chmod gives that back. */
  if (!error && is_path(address) && how->mode && fchmod(fd, how->mode))
    error = -errno;
  if (!error)
    error = bind_name(fd, &name, length, is_path(address) ? how->flags : 0);
  if (!error)
    error = mr_bound_file_note(address, how->mode, file);
  if (!error && listen(fd, how->backlog > 0 ? how->backlog : DEFAULT_BACKLOG))
    error = -errno;
  return error;
}

int mr_bound_open(const mr_address *address, const mr_listen *how, mr_bound_file **file) {
  static const mr_listen defaults;
  *file = NULL;
  int fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  int error = open_on(fd, address, how ? how : &defaults, file);
  if (!error)
    return fd;
  close(fd);
  mr_bound_file_remove(file);
  return error;
}

void mr_bound_file_remove(mr_bound_file **file) {
  struct stat status;
  mr_bound_file *bound = *file;
  *file = NULL;
  if (!bound)
    return;
  if (lstat(bound->path, &status) == 0 && status.st_dev == bound->device && status.st_ino == bound->inode)
    unlink(bound->path);
  free(bound);
}
