/*
 * call.h - system calls that don't hold up the loop.
 *
 * A call is one system call, carried out by the ring, or, where io_uring has none such, by a helper thread that wakes the loop.
 * The function that starts it copies its text and holds its memory, so the arguments may go at once; it returns the call's slot,
 * or a negative errno with nothing begun. MR_EVENT_CALL tells its end, once. The slot is the caller's until mr_call_finish,
 * which gives the result, or mr_call_abandon.
 *
 * An abandoned call is cancelled, which the kernel may do or not: what it has done by then stays done. It keeps its memory until
 * it has ended, and then cleans up by itself; a descriptor that it was to give is closed. Descriptors that it works on may be closed
 * meanwhile: it goes on with the file that they stood for.
 *
 * `directory` is a descriptor that relative paths begin at, or MR_CALL_HERE. Flags are those of the system calls.
 */
#ifndef MR_CALL_H
#define MR_CALL_H

#include "../buffer/buffer.h"
#include "../loop/loop.h"

enum { MR_CALL_HERE = -100 }; /* AT_FDCWD */

/* The result of a call that has ended: that of the system call, or negative errno; -EINPROGRESS before. The slot stays. */
MR_API int mr_call_result(mr_loop *loop, int call);

/* The same, and the slot is given back. A descriptor in the result is the caller's. */
MR_API int mr_call_finish(mr_loop *loop, int call);

/* Ends the caller's interest, whether the call has ended or not. No event will come for it. */
MR_API void mr_call_abandon(mr_loop *loop, int call);

/* The same without a cancellation: it is to be done, and nobody asks how it ended. The end of the loop waits for it. */
MR_API void mr_call_let_go(mr_loop *loop, int call);

/* What the ended call gave beside its result, until the slot is given back: see the call. */
MR_API const uint8_t *mr_call_data(mr_loop *loop, int call);

/*
 * openat(2), close-on-exec. Never waits for a peer: a FIFO that is opened for reading waits without holding a thread until there are
 * bytes, or a writer has come and gone; for writing alone, -ENXIO says that there is no reader yet. Result: the descriptor.
 */
MR_API int mr_call_open(mr_loop *loop, int directory, const char *path, int flags, uint32_t permissions);

/* The flags of open(2) whose numbers differ between processors. */
typedef struct mr_open_flags {
  int32_t direct, directory, no_follow, no_access_time, temporary;
} mr_open_flags;

MR_API extern const mr_open_flags mr_open_flag;

/* Closes the descriptor after the calls made before, waiting for nobody. */
MR_API void mr_descriptor_close(mr_loop *loop, int descriptor);

/*
 * What stands behind a descriptor that its user forgets: mr_file_guard_release, which Lua attaches as a finalizer, closes it, also
 * when the loop is gone, and counts it as forgotten. descriptor -1: none.
 */
typedef struct mr_file_guard {
  mr_loop *loop;
  int32_t descriptor;
} mr_file_guard;

MR_API void mr_file_guard_release(mr_file_guard *guard);

/* Whether the descriptor is of a file with offsets, not of a pipe, terminal or socket. Never waits. */
MR_API int mr_descriptor_has_offsets(int descriptor);

/*
 * pread(2) into, and pwrite(2) from, [position, limit) of *buffer, which is slab memory or a mapping (-EINVAL for one that belongs to
 * Lua): no copy, and the position stays. offset -1 stands for the file's own position, as pipes and terminals need. Result:
 * the bytes, which may be fewer.
 */
MR_API int mr_call_read(mr_loop *loop, int descriptor, int64_t offset, mr_buffer *buffer);
MR_API int mr_call_write(mr_loop *loop, int descriptor, int64_t offset, mr_buffer *buffer);

/*
 * pread(2) here and now, of what is in memory already: all of it, or what there is before the file's end, is copied without a turn
 * of the loop. Result: the bytes; -EAGAIN, for mr_call_read, when some are not there, or when MR_READ_NOW_BYTES of one turn are used up,
 * so that nobody holds the loop with it; -EOPNOTSUPP where the filesystem can't tell. Not for files opened with O_DIRECT.
 */
enum {
  MR_READ_NOW_BYTES = 4194304,
  MR_READ_NOW_LEAST = 16384, /* what a short one counts for */
};
MR_API int mr_descriptor_read_now(mr_loop *loop, int descriptor, int64_t offset, uint8_t *data, uint32_t length);

/* The same for the `length` bytes of each of `count` iovecs, at most MR_CALL_PARTS_MAX. */
enum { MR_CALL_PARTS_MAX = 1024 };
MR_API int mr_call_read_iovecs(mr_loop *loop, int descriptor, int64_t offset, const mr_iovec *const *iovecs,
                               uint32_t count);
MR_API int mr_call_write_iovecs(mr_loop *loop, int descriptor, int64_t offset, const mr_iovec *const *iovecs,
                                uint32_t count);

/* pwrite(2) of a copy. */
MR_API int mr_call_write_bytes(mr_loop *loop, int descriptor, int64_t offset, const uint8_t *data, uint32_t length);

/* Waits until one of the poll(2) events is there. Result: those that are. */
MR_API int mr_call_poll(mr_loop *loop, int descriptor, uint32_t events);

/* fsync(2), or fdatasync(2). */
MR_API int mr_call_sync(mr_loop *loop, int descriptor, int data_only);

MR_API int mr_call_allocate(mr_loop *loop, int descriptor, int mode, int64_t offset, int64_t length); /* fallocate(2) */
MR_API int mr_call_truncate(mr_loop *loop, int descriptor, int64_t length);                           /* ftruncate(2) */
MR_API int mr_call_advise(mr_loop *loop, int descriptor, int64_t offset, uint32_t length,
                          int advice); /* posix_fadvise(2) */

/* What statx(2) tells. Times are seconds since 1970; NaN for what the filesystem doesn't know. */
typedef struct mr_file_status {
  double size, blocks; /* bytes; units of 512 */
  double accessed, modified, changed, created;
  uint64_t inode;
  uint64_t device;  /* major << 32 | minor */
  uint64_t special; /* of a device file: the device that it stands for */
  uint64_t mount;   /* 0: not known */
  uint32_t mode;    /* type and permissions, as in stat(2) */
  uint32_t links, owner, group, block_bytes;
  uint32_t direct_memory_alignment, direct_offset_alignment; /* O_DIRECT's; both 0: impossible or not known */
  uint32_t attributes;
} mr_file_status;

/* statx(2); of the descriptor `directory` itself when path is "". mr_call_status gives what the ended call has found. */
MR_API int mr_call_stat(mr_loop *loop, int directory, const char *path, int flags);
MR_API void mr_call_status(mr_loop *loop, int call, mr_file_status *out);

MR_API int mr_call_rename(mr_loop *loop, const char *from, const char *to, uint32_t flags); /* renameat2(2) */
/* linkat(2): `from` relative to `directory`; of the descriptor itself when it is "" and flags say AT_EMPTY_PATH. */
MR_API int mr_call_link(mr_loop *loop, int directory, const char *from, const char *to, int flags);
MR_API int mr_call_symlink(mr_loop *loop, const char *target, const char *path);
MR_API int mr_call_unlink(mr_loop *loop, int directory, const char *path, int flags); /* unlinkat(2) */
MR_API int mr_call_make_directory(mr_loop *loop, int directory, const char *path, uint32_t permissions);

/*
 * By helper threads. Those of the next group work on the file at `path`, or on the descriptor itself when it is "".
 */
MR_API int mr_call_permissions(mr_loop *loop, int descriptor, const char *path, uint32_t permissions); /* chmod(2) */
/* chown(2), of the link itself where the file is one and no_follow is 1; -1 leaves owner or group. */
MR_API int mr_call_owner(mr_loop *loop, int descriptor, const char *path, int64_t owner, int64_t group, int no_follow);
/* utimensat(2); seconds since 1970, NaN leaves one as it is. */
MR_API int mr_call_times(mr_loop *loop, int descriptor, const char *path, double accessed, double modified,
                         int no_follow);

MR_API int mr_call_access(mr_loop *loop, const char *path, int mode); /* faccessat(2) with the effective ids */

/* readlink(2) and realpath(3). Data: the text; result: its length. */
MR_API int mr_call_read_link(mr_loop *loop, const char *path);
MR_API int mr_call_real_path(mr_loop *loop, const char *path);

/*
 * The next entries of the directory behind a descriptor. Data: the records of getdents64(2); result: their bytes, 0 at the end.
 * mr_directory_entry reads the one at `offset`, or answers 0 at the end; result: the offset of the next.
 */
typedef struct mr_directory_entry {
  uint64_t inode;
  const char *name; /* within data */
  uint32_t name_bytes;
  uint32_t type; /* DT_* */
} mr_directory_entry;

MR_API int mr_call_directory(mr_loop *loop, int descriptor);
MR_API int mr_directory_entry_read(const uint8_t *data, int bytes, int offset, mr_directory_entry *out);

/* copy_file_range(2). Result: the bytes copied; -EXDEV, -EINVAL, -EOPNOTSUPP, -ENOSYS where the kernel can't for these two. */
MR_API int mr_call_copy(mr_loop *loop, int from, int64_t from_offset, int to, int64_t to_offset, uint32_t length);

/* ioctl FICLONE: makes `to` share all of from's blocks. -EOPNOTSUPP, -EXDEV, -EINVAL where the filesystem can't. */
MR_API int mr_call_clone(mr_loop *loop, int from, int to);

/* Takes (1: shared, 2: exclusive) or gives back (0) the lock that belongs to the open file, of all its bytes (F_OFD_SETLK). Never
 * waits: -EAGAIN when somebody else has it. */
MR_API int mr_call_lock(mr_loop *loop, int descriptor, int kind);

/* Writes the part of a name that nobody can guess, NUL-terminated, into MR_TEMPORARY_NAME_BYTES bytes. */
enum { MR_TEMPORARY_NAME_BYTES = 16 };
MR_API void mr_temporary_name(char *out);

/* inotify_init1(2), and inotify_add_watch(2), whose result is the watch. */
MR_API int mr_watch_open(void);
MR_API int mr_call_watch(mr_loop *loop, int descriptor, const char *path, uint32_t mask);
MR_API int mr_watch_remove(int descriptor, int watch);

/* One event of inotify(7) in what was read; as mr_directory_entry_read. */
typedef struct mr_watch_event {
  int32_t watch;
  uint32_t mask, cookie;
  uint32_t name_bytes; /* 0: the watched file itself */
  const char *name;
} mr_watch_event;

MR_API int mr_watch_event_read(const uint8_t *data, int bytes, int offset, mr_watch_event *out);

#endif
