/*
 * call_file.c - the calls on files that the ring carries out: how their arguments become its requests.
 *
 * io_uring tries each of them without blocking when it is submitted, and so what is in memory already is done by the time the
 * submission returns; the rest is taken up by a thread of the kernel's or by the disk.
 */
#include "call/call_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static uint64_t address_of(const void *pointer) {
  return (uint64_t)(uintptr_t)pointer;
}

/* A call whose text is `path`, and `other` as its offset when there is one. */
static int path_call(mr_loop *loop, mr_uring_request request, const char *path, const char *other, mr_call **out) {
  mr_call *call = mr_call_take(loop);
  if (!call)
    return -ENOMEM;
  const char *other_copy = NULL;
  if (mr_call_copy_text(call, path, other, &other_copy)) {
    mr_call_drop(loop, call);
    return -ENOMEM;
  }
  call->request = request;
  call->request.address = address_of(call->text);
  if (other)
    call->request.offset = address_of(other_copy);
  *out = call;
  return 0;
}

static int path_start(mr_loop *loop, mr_uring_request request, const char *path, const char *other) {
  mr_call *call;
  int error = path_call(loop, request, path, other, &call);
  return error ? error : mr_call_submit(loop, call);
}

static int plain_start(mr_loop *loop, mr_uring_request request) {
  mr_call *call = mr_call_take(loop);
  if (!call)
    return -ENOMEM;
  call->request = request;
  return mr_call_submit(loop, call);
}

int mr_call_open(mr_loop *loop, int directory, const char *path, int flags, uint32_t permissions) {
  mr_call *call;
  int without_waiting = !(flags & (O_NONBLOCK | O_PATH));
  mr_uring_request request = {.operation = MR_URING_OPEN,
                              .fd = directory,
                              .length = permissions,
                              .flags = (uint32_t)(flags | O_CLOEXEC | (without_waiting ? O_NONBLOCK : 0))};
  int error = path_call(loop, request, path, NULL, &call);
  if (error)
    return error;
  call->gives_descriptor = 1;
  call->without_waiting = (uint8_t)without_waiting;
  return mr_call_submit(loop, call);
}

const mr_open_flags mr_open_flag = {O_DIRECT, O_DIRECTORY, O_NOFOLLOW, O_NOATIME, O_TMPFILE};

void mr_file_guard_release(mr_file_guard *guard) {
  if (guard->descriptor < 0)
    return;
  if (mr_loop_lives(guard->loop)) {
    guard->loop->statistics.forgotten++;
    mr_descriptor_close(guard->loop, guard->descriptor);
  } else {
    close(guard->descriptor);
  }
  guard->descriptor = -1;
}

void mr_temporary_name(char *out) {
  static const char letters[33] = "abcdefghijklmnopqrstuvwxyz234567";
  uint8_t bytes[MR_TEMPORARY_NAME_BYTES - 1];
  if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != (ssize_t)sizeof bytes) {
    /* Only before the system has any randomness. Names are taken exclusively anyway. */
    uint64_t value = (uint64_t)(mr_clock_now() * 1e9) * 6364136223846793005U + (uint64_t)getpid();
    for (size_t i = 0; i < sizeof bytes; i++)
      bytes[i] = (uint8_t)((value = value * 6364136223846793005U + 1442695040888963407U) >> 56);
  }
  for (size_t i = 0; i < sizeof bytes; i++)
    out[i] = letters[bytes[i] % 32];
  out[sizeof bytes] = 0;
}

int mr_descriptor_has_offsets(int fd) {
  return lseek(fd, 0, SEEK_CUR) >= 0;
}

int mr_descriptor_read_now(mr_loop *loop, int fd, int64_t offset, uint8_t *data, uint32_t length) {
  mr_calls *calls = loop->calls;
  if (calls->read_now_turn != loop->statistics.turns) {
    calls->read_now_turn = loop->statistics.turns;
    calls->read_now_left = MR_READ_NOW_BYTES;
  }
  uint32_t cost = length < MR_READ_NOW_LEAST ? MR_READ_NOW_LEAST : length;
  if (cost > calls->read_now_left)
    return -EAGAIN;
  const struct iovec part = {data, length};
  ssize_t got = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
  if (got < 0)
    return -errno;
  calls->read_now_left -= cost;
  if (got == 0 || got == length)
    return (int)got;
  /* Short, by the end of the file or by a page that is not there: the next read tells which. */
  const struct iovec next = {data + got, length - (uint32_t)got};
  ssize_t more = preadv2(fd, &next, 1, offset + got, RWF_NOWAIT);
  return more == 0 ? (int)got : -EAGAIN;
}

/* A read or write of one buffer. */
static int buffer_start(mr_loop *loop, mr_uring_operation operation, int fd, int64_t offset, mr_buffer *buffer) {
  if (buffer->flags_ & MR_BUFFER_ANCHORED)
    return -EINVAL;
  mr_call *call = mr_call_take(loop);
  if (!call)
    return -ENOMEM;
  int error = mr_buffer_slice(&call->memory, buffer);
  if (error) {
    mr_call_drop(loop, call);
    return error;
  }
  call->request = (mr_uring_request){.operation = (uint8_t)operation,
                                     .fd = fd,
                                     .address = address_of(call->memory.data_),
                                     .length = (uint32_t)call->memory.limit_,
                                     .offset = (uint64_t)offset};
  return mr_call_submit(loop, call);
}

int mr_call_read(mr_loop *loop, int fd, int64_t offset, mr_buffer *buffer) {
  return buffer->flags_ & MR_BUFFER_READONLY ? -EINVAL : buffer_start(loop, MR_URING_READ, fd, offset, buffer);
}

int mr_call_write(mr_loop *loop, int fd, int64_t offset, mr_buffer *buffer) {
  mr_signal_survive_writes();
  return buffer_start(loop, MR_URING_WRITE, fd, offset, buffer);
}

/* References of the call's own to all iovecs, and their names for the kernel. */
static int hold_iovecs(mr_call *call, const mr_iovec *const *iovecs, uint32_t count) {
  call->held = calloc(count, sizeof *call->held);
  call->parts = calloc(count, sizeof *call->parts);
  if (!call->held || !call->parts)
    return -ENOMEM;
  uint64_t total = 0;
  for (uint32_t i = 0; i < count; i++) {
    int error = iovecs[i]->length ? mr_iovec_clone(&call->held[i], iovecs[i]) : 0;
    if (error)
      return error;
    call->held_count++;
    call->parts[i] = (struct iovec){call->held[i].data, call->held[i].length};
    total += call->held[i].length;
  }
  return total > INT32_MAX ? -EINVAL : 0; /* the result of a call is an int */
}

static int iovecs_start(mr_loop *loop, mr_uring_operation operation, int fd, int64_t offset,
                        const mr_iovec *const *iovecs, uint32_t count) {
  if (count == 0 || count > MR_CALL_PARTS_MAX)
    return -EINVAL;
  mr_call *call = mr_call_take(loop);
  if (!call)
    return -ENOMEM;
  int error = hold_iovecs(call, iovecs, count);
  if (error) {
    mr_call_drop(loop, call);
    return error;
  }
  call->request = (mr_uring_request){.operation = (uint8_t)operation,
                                     .fd = fd,
                                     .address = address_of(call->parts),
                                     .length = count,
                                     .offset = (uint64_t)offset};
  return mr_call_submit(loop, call);
}

int mr_call_read_iovecs(mr_loop *loop, int fd, int64_t offset, const mr_iovec *const *iovecs, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (iovecs[i]->flags & MR_IOVEC_READONLY)
      return -EINVAL;
  return iovecs_start(loop, MR_URING_READ_PARTS, fd, offset, iovecs, count);
}

int mr_call_write_iovecs(mr_loop *loop, int fd, int64_t offset, const mr_iovec *const *iovecs, uint32_t count) {
  mr_signal_survive_writes();
  return iovecs_start(loop, MR_URING_WRITE_PARTS, fd, offset, iovecs, count);
}

int mr_call_write_bytes(mr_loop *loop, int fd, int64_t offset, const uint8_t *data, uint32_t length) {
  mr_signal_survive_writes();
  mr_buffer copy;
  int error = mr_buffer_allocate(loop->memory, &copy, length, 0);
  if (error)
    return error;
  memcpy(copy.data_, data, length);
  loop->statistics.bytes_copied += length;
  int call = buffer_start(loop, MR_URING_WRITE, fd, offset, &copy);
  mr_buffer_release(&copy);
  return call;
}

int mr_call_poll(mr_loop *loop, int fd, uint32_t events) {
  return plain_start(loop, (mr_uring_request){.operation = MR_URING_POLL, .fd = fd, .flags = events});
}

int mr_call_sync(mr_loop *loop, int fd, int data_only) {
  return plain_start(
      loop, (mr_uring_request){.operation = MR_URING_SYNC, .fd = fd, .flags = data_only ? MR_URING_SYNC_DATA : 0});
}

int mr_call_allocate(mr_loop *loop, int fd, int mode, int64_t offset, int64_t length) {
  return plain_start(loop, (mr_uring_request){.operation = MR_URING_ALLOCATE,
                                              .fd = fd,
                                              .length = (uint32_t)mode,
                                              .offset = (uint64_t)offset,
                                              .address = (uint64_t)length});
}

static int32_t truncate_file(mr_call *call) {
  return ftruncate(call->descriptor, (off_t)call->arguments[0]) ? -errno : 0;
}

int mr_call_truncate(mr_loop *loop, int fd, int64_t length) {
  if (mr_uring_supports(loop->ring, MR_URING_TRUNCATE))
    return plain_start(loop, (mr_uring_request){.operation = MR_URING_TRUNCATE, .fd = fd, .offset = (uint64_t)length});
  mr_call *call;
  int error = mr_call_take_helped(loop, fd, NULL, &call);
  if (error)
    return error;
  call->arguments[0] = length;
  return mr_call_help(loop, call, truncate_file);
}

int mr_call_advise(mr_loop *loop, int fd, int64_t offset, uint32_t length, int advice) {
  return plain_start(loop, (mr_uring_request){.operation = MR_URING_ADVISE,
                                              .fd = fd,
                                              .length = length,
                                              .offset = (uint64_t)offset,
                                              .flags = (uint32_t)advice});
}

int mr_call_stat(mr_loop *loop, int directory, const char *path, int flags) {
  mr_call *call;
  mr_uring_request request = {.operation = MR_URING_STATUS,
                              .fd = directory,
                              .length = STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN | STATX_MNT_ID,
                              .flags = (uint32_t)flags | (*path ? 0 : AT_EMPTY_PATH)};
  int error = path_call(loop, request, path, NULL, &call);
  if (error)
    return error;
  if (mr_call_reserve_data(call, sizeof(struct statx))) {
    mr_call_drop(loop, call);
    return -ENOMEM;
  }
  call->request.offset = address_of(call->data);
  return mr_call_submit(loop, call);
}

static double seconds_of(const struct statx_timestamp *time, int known) {
  return known ? (double)time->tv_sec + time->tv_nsec * 1e-9 : NAN;
}

void mr_call_status(mr_loop *loop, int slot, mr_file_status *out) {
  const struct statx *found = (const struct statx *)mr_call_data(loop, slot);
  memset(out, 0, sizeof *out);
  out->size = (double)found->stx_size;
  out->blocks = (double)found->stx_blocks;
  out->accessed = seconds_of(&found->stx_atime, (found->stx_mask & STATX_ATIME) != 0);
  out->modified = seconds_of(&found->stx_mtime, (found->stx_mask & STATX_MTIME) != 0);
  out->changed = seconds_of(&found->stx_ctime, (found->stx_mask & STATX_CTIME) != 0);
  out->created = seconds_of(&found->stx_btime, (found->stx_mask & STATX_BTIME) != 0);
  out->inode = found->stx_ino;
  out->device = (uint64_t)found->stx_dev_major << 32 | found->stx_dev_minor;
  out->special = (uint64_t)found->stx_rdev_major << 32 | found->stx_rdev_minor;
  out->mode = found->stx_mode;
  out->links = found->stx_nlink;
  out->owner = found->stx_uid;
  out->group = found->stx_gid;
  out->block_bytes = found->stx_blksize;
  out->attributes = (uint32_t)found->stx_attributes;
  out->mount = found->stx_mask & STATX_MNT_ID ? found->stx_mnt_id : 0;
  if (found->stx_mask & STATX_DIOALIGN) {
    out->direct_memory_alignment = found->stx_dio_mem_align;
    out->direct_offset_alignment = found->stx_dio_offset_align;
  }
}

int mr_call_rename(mr_loop *loop, const char *from, const char *to, uint32_t flags) {
  return path_start(
      loop,
      (mr_uring_request){.operation = MR_URING_RENAME, .fd = AT_FDCWD, .length = (uint32_t)AT_FDCWD, .flags = flags},
      from, to);
}

int mr_call_link(mr_loop *loop, int directory, const char *from, const char *to, int flags) {
  return path_start(
      loop,
      (mr_uring_request){
          .operation = MR_URING_LINK, .fd = directory, .length = (uint32_t)AT_FDCWD, .flags = (uint32_t)flags},
      from, to);
}

int mr_call_symlink(mr_loop *loop, const char *target, const char *path) {
  return path_start(loop, (mr_uring_request){.operation = MR_URING_SYMLINK, .fd = AT_FDCWD}, target, path);
}

int mr_call_unlink(mr_loop *loop, int directory, const char *path, int flags) {
  return path_start(loop, (mr_uring_request){.operation = MR_URING_UNLINK, .fd = directory, .flags = (uint32_t)flags},
                    path, NULL);
}

int mr_call_make_directory(mr_loop *loop, int directory, const char *path, uint32_t permissions) {
  return path_start(loop,
                    (mr_uring_request){.operation = MR_URING_MAKE_DIRECTORY, .fd = directory, .length = permissions},
                    path, NULL);
}
