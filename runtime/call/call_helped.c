/*
 * call_helped.c - the calls that io_uring does not have, and a helper thread makes: what runs there.
 *
 * The first part of each pair runs on a helper and touches nothing but the call. Descriptors are the call's own duplicates, since
 * the caller may close his, and its number may mean another file by the time a helper is free.
 */
#include "call/call_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DIRECTORY_BYTES = 32768 }; /* of entries at once: some 1000 names */

static int32_t result_of(ssize_t result) {
  return result < 0 ? -errno : (int32_t)result;
}

/* Whether the descriptor itself is meant. */
static int is_of_descriptor(const mr_call *call) {
  return !*call->text;
}

static int32_t change_permissions(mr_call *call) {
  mode_t mode = (mode_t)call->arguments[0];
  return result_of(is_of_descriptor(call) ? fchmod(call->descriptor, mode) : chmod(call->text, mode));
}

int mr_call_permissions(mr_loop *loop, int fd, const char *path, uint32_t permissions) {
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, path, &call);
  if (error)
    return error;
  call->arguments[0] = permissions;
  return mr_call_help(loop, call, change_permissions);
}

static int32_t change_owner(mr_call *call) {
  uid_t owner = (uid_t)call->arguments[0];
  gid_t group = (gid_t)call->arguments[1];
  if (is_of_descriptor(call))
    return result_of(fchown(call->descriptor, owner, group));
  return result_of(fchownat(AT_FDCWD, call->text, owner, group, (int)call->arguments[2]));
}

int mr_call_owner(mr_loop *loop, int fd, const char *path, int64_t owner, int64_t group, int no_follow) {
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, path, &call);
  if (error)
    return error;
  call->arguments[0] = owner;
  call->arguments[1] = group;
  call->arguments[2] = no_follow ? AT_SYMLINK_NOFOLLOW : 0;
  return mr_call_help(loop, call, change_owner);
}

static struct timespec time_of(int64_t nanoseconds) {
  if (nanoseconds == INT64_MIN)
    return (struct timespec){.tv_nsec = UTIME_OMIT};
  int64_t rest = nanoseconds % 1000000000;
  if (rest < 0)
    rest += 1000000000;
  return (struct timespec){.tv_sec = (nanoseconds - rest) / 1000000000, .tv_nsec = rest};
}

static int32_t change_times(mr_call *call) {
  const struct timespec times[2] = {time_of(call->arguments[0]), time_of(call->arguments[1])};
  if (is_of_descriptor(call))
    return result_of(futimens(call->descriptor, times));
  return result_of(utimensat(AT_FDCWD, call->text, times, (int)call->arguments[2]));
}

/* In nanoseconds, which the system's clock reaches in 2262; what is beyond is cut. */
static int64_t nanoseconds_of(double seconds) {
  if (isnan(seconds))
    return INT64_MIN;
  double limit = 9.2e9;
  seconds = seconds > limit ? limit : seconds < -limit ? -limit : seconds;
  double whole = floor(seconds);
  return (int64_t)whole * 1000000000 + (int64_t)((seconds - whole) * 1e9);
}

int mr_call_times(mr_loop *loop, int fd, const char *path, double accessed, double modified, int no_follow) {
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, path, &call);
  if (error)
    return error;
  call->arguments[0] = nanoseconds_of(accessed);
  call->arguments[1] = nanoseconds_of(modified);
  call->arguments[2] = no_follow ? AT_SYMLINK_NOFOLLOW : 0;
  return mr_call_help(loop, call, change_times);
}

static int32_t ask_access(mr_call *call) {
  return result_of(faccessat(AT_FDCWD, call->text, (int)call->arguments[0], AT_EACCESS));
}

int mr_call_access(mr_loop *loop, const char *path, int mode) {
  mr_call *call;
  int error = mr_call_take_helped(loop, -1, path, &call);
  if (error)
    return error;
  call->arguments[0] = mode;
  return mr_call_help(loop, call, ask_access);
}

/* A call that gives up to `bytes` of data. */
static int data_start(mr_loop *loop, int fd, const char *path, uint32_t bytes, mr_call_work *work) {
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, path, &call);
  if (error)
    return error;
  if (mr_call_reserve_data(call, bytes)) {
    mr_call_drop(loop, call);
    return -ENOMEM;
  }
  return mr_call_help(loop, call, work);
}

static int32_t read_link(mr_call *call) {
  return result_of(readlink(call->text, (char *)call->data, call->data_bytes));
}

int mr_call_read_link(mr_loop *loop, const char *path) {
  return data_start(loop, -1, path, PATH_MAX, read_link);
}

static int32_t real_path(mr_call *call) {
  return realpath(call->text, (char *)call->data) ? (int32_t)strlen((char *)call->data) : -errno;
}

int mr_call_real_path(mr_loop *loop, const char *path) {
  return data_start(loop, -1, path, PATH_MAX, real_path);
}

static int32_t read_directory(mr_call *call) {
  return result_of(getdents64(call->descriptor, call->data, call->data_bytes));
}

int mr_call_directory(mr_loop *loop, int fd) {
  return data_start(loop, fd, NULL, DIRECTORY_BYTES, read_directory);
}

int mr_directory_entry_read(const uint8_t *data, int bytes, int offset, mr_directory_entry *out) {
  if (offset >= bytes)
    return 0;
  const struct dirent64 *entry = (const struct dirent64 *)(data + offset);
  out->inode = entry->d_ino;
  out->name = entry->d_name;
  out->name_bytes = (uint32_t)strlen(entry->d_name);
  out->type = entry->d_type;
  return offset + entry->d_reclen;
}

static int32_t copy_range(mr_call *call) {
  off64_t from = call->arguments[0], to = call->arguments[1];
  return result_of(
      copy_file_range(call->descriptor, &from, call->other_descriptor, &to, (size_t)call->arguments[2], 0));
}

static int32_t clone_file(mr_call *call) {
  return result_of(ioctl(call->other_descriptor, FICLONE, call->descriptor));
}

/* A call on two descriptors. */
static int pair_take(mr_loop *loop, int from, int to, mr_call **out) {
  int error = mr_call_take_helped(loop, from, NULL, out);
  if (error)
    return error;
  (*out)->other_descriptor = fcntl(to, F_DUPFD_CLOEXEC, 0);
  if ((*out)->other_descriptor >= 0)
    return 0;
  error = -errno;
  mr_call_drop(loop, *out);
  return error;
}

int mr_call_copy(mr_loop *loop, int from, int64_t from_offset, int to, int64_t to_offset, uint32_t length) {
  mr_call *call;
  int error = pair_take(loop, from, to, &call);
  if (error)
    return error;
  call->arguments[0] = from_offset;
  call->arguments[1] = to_offset;
  call->arguments[2] = length > INT32_MAX ? INT32_MAX : length;
  return mr_call_help(loop, call, copy_range);
}

int mr_call_clone(mr_loop *loop, int from, int to) {
  mr_call *call;
  int error = pair_take(loop, from, to, &call);
  return error ? error : mr_call_help(loop, call, clone_file);
}

static int32_t lock(mr_call *call) {
  struct flock want = {.l_type = (short)call->arguments[0], .l_whence = SEEK_SET};
  return result_of(fcntl(call->descriptor, F_OFD_SETLK, &want));
}

int mr_call_lock(mr_loop *loop, int fd, int kind) {
  static const short types[] = {F_UNLCK, F_RDLCK, F_WRLCK};
  if (kind < 0 || kind > 2)
    return -EINVAL;
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, NULL, &call);
  if (error)
    return error;
  call->arguments[0] = types[kind];
  return mr_call_help(loop, call, lock);
}

int mr_watch_open(void) {
  int fd = inotify_init1(IN_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int32_t add_watch(mr_call *call) {
  return result_of(inotify_add_watch(call->descriptor, call->text, (uint32_t)call->arguments[0]));
}

int mr_call_watch(mr_loop *loop, int fd, const char *path, uint32_t mask) {
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, path, &call);
  if (error)
    return error;
  call->arguments[0] = mask;
  return mr_call_help(loop, call, add_watch);
}

int mr_watch_remove(int fd, int watch) {
  return inotify_rm_watch(fd, watch) ? -errno : 0;
}

int mr_watch_event_read(const uint8_t *data, int bytes, int offset, mr_watch_event *out) {
  if (offset + (int)sizeof(struct inotify_event) > bytes)
    return 0;
  const struct inotify_event *event = (const struct inotify_event *)(data + offset);
  *out = (mr_watch_event){event->wd, event->mask, event->cookie, 0, event->name};
  if (event->len)
    out->name_bytes = (uint32_t)strnlen(event->name, event->len);
  return offset + (int)sizeof *event + (int)event->len;
}
