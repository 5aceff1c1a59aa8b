/*
 * iovec.h - slabs, chunks and counted iovecs.
 *
 * A slab is one large mapping. It is carved into chunks; an iovec is a counted slice of a chunk. Every iovec that is not
 * empty owns exactly one reference record, and the record's generation tells a live holder from a stale one: what has been
 * released, moved from, or copied as a plain structure gives -ESTALE and changes nothing. No function here ever aborts.
 *
 * One mr_memory belongs to the thread that made it. Its iovecs may outlive it: what is still held when it is destroyed stays
 * mapped until the last holder lets go. LOCAL iovecs (flags 0) are counted plainly and stay on their thread; released on another
 * one, they are handed home, and everything else there gives -EPERM. SHARED ones are counted atomically and may be cloned,
 * moved and released anywhere.
 *
 * An argument called `out` or `target` is overwritten without a look at what it held.
 */
#ifndef MR_IOVEC_H
#define MR_IOVEC_H

#include "../api.h"

typedef struct mr_memory mr_memory;
typedef struct mr_reference mr_reference;

/* A counted slice. All zero is the empty iovec, which owns nothing and may be released any number of times. */
typedef struct mr_iovec {
  uint8_t *data;
  mr_reference *reference;
  uint32_t length;   /* bytes that hold data */
  uint32_t capacity; /* bytes from data on that belong to this slice; length <= capacity */
  uint32_t generation;
  uint32_t flags;
} mr_iovec;

enum {
  MR_IOVEC_SHARED = 1,   /* counted atomically, may cross threads */
  MR_IOVEC_READONLY = 2, /* wrapped memory that may not be written to: buffers over it refuse */
};

enum {
  MR_SLAB_BYTES = 4194304,    /* one mapping, and the longest contiguous iovec */
  MR_CHUNK_BYTES = 65536,     /* the unit that slabs are carved into */
  MR_ALIGNMENT_MAX = 2097152, /* a huge page */
};

/* Counters of one memory, all of the present unless they say otherwise. */
typedef struct mr_memory_statistics {
  uint64_t slab_count;
  uint64_t slab_bytes; /* mapped */
  uint64_t slab_bytes_peak;
  uint64_t chunk_count; /* chunks with at least one holder or open for allocation */
  uint64_t chunk_bytes;
  uint64_t iovec_count;      /* references not yet released; all those to one SHARED allocation count as one */
  uint64_t iovec_bytes;      /* their capacity */
  uint64_t allocations;      /* since the start */
  uint64_t lua_bytes;        /* capacity of those that Lua objects hold */
  uint64_t leaks_caught;     /* since the start: iovecs that only their finalizer has released */
  uint64_t refusals;         /* since the start: allocations that failed at the limit */
  uint64_t foreign_bytes;    /* wrapped, owned by somebody else */
  uint64_t stale_releases;   /* since the start: LOCAL iovecs handed home by another thread that were stale */
  uint64_t quarantine_bytes; /* trace mode: released and poisoned, not yet used again */
} mr_memory_statistics;

/*
 * What drives Lua's collector, which sees 50 bytes of an object that holds 64 KiB: when lua_bytes passes collect_at, Lua runs a
 * full collection and sets collect_at anew.
 */
typedef struct mr_memory_account {
  int64_t lua_bytes;
  int64_t collect_at;
} mr_memory_account;

enum { MR_COLLECT_BYTES = 16777216 }; /* lua_bytes may grow by this, or by half, between two collections */

/*
 * Makes a memory for the calling thread. limit_bytes bounds what it maps, 0 for no bound.
 * Result: 0 and *memory, or -ENOMEM. Destroy it with mr_memory_destroy.
 */
MR_API int mr_memory_create(uint64_t limit_bytes, mr_memory **memory);

/* Ends a memory. What is still held stays valid and is unmapped by its last release. Result: the iovecs still held, each of
 * which the trace reports. */
MR_API int64_t mr_memory_destroy(mr_memory *memory);

MR_API void mr_memory_statistics_get(const mr_memory *memory, mr_memory_statistics *out);
MR_API mr_memory_account *mr_memory_account_of(mr_memory *memory);

/*
 * Takes home what other threads have released, and gives idle memory back to the system: what has been free for half a second.
 * now_ns: a monotonic clock. Result: the nanoseconds after which the next call has work to do, or -1 when none is in sight.
 */
MR_API int64_t mr_memory_tick(mr_memory *memory, int64_t now_ns);

/*
 * Allocates 1..max_iovecs iovecs whose lengths add up to `length` bytes, each start aligned to `alignment` (a power of
 * two up to MR_ALIGNMENT_MAX, 0 for none). The rest of the chunk in use is taken first when more than one iovec is
 * allowed. flags: 0 or MR_IOVEC_SHARED. Result: the number of iovecs in out[], each owned by the caller; 0 for a length of 0;
 * -EINVAL for a bad argument; -ENOBUFS when max_iovecs do not suffice; -ENOMEM at the limit or when the system refuses; -EPERM on
 * a thread that is not the memory's. On failure out[] is zeroed and nothing has changed.
 */
MR_API int mr_iovec_alloc(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, uint32_t flags,
                          mr_iovec *out);

/*
 * The first of two phases, for when the final size is not known: as mr_iovec_alloc. Fill the iovecs in their order, set the
 * length of each to the bytes that it holds (0 for those not reached), then commit them, or release them unused.
 * Until then a reservation cannot be cloned.
 */
MR_API int mr_iovec_reserve(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, mr_iovec *out);

/*
 * Keeps what was filled of a reservation and gives the rest back: when nothing came between, the next allocation follows the
 * committed end, rounded up to `alignment`. Result: the iovecs kept, the others are empty; -EINVAL, with nothing changed, when one is
 * no open reservation or is longer than what was reserved; -ESTALE.
 */
MR_API int mr_iovec_commit(mr_memory *memory, uint32_t alignment, mr_iovec *iovecs, uint32_t count);

/*
 * An iovec over memory that something else owns and keeps until on_release(context, data, length) tells it, on the memory's thread,
 * that the last reference is gone. on_release must be C: Lua passes NULL or a C function, or uses the form below. flags:
 * MR_IOVEC_SHARED, MR_IOVEC_READONLY. Result: 0, -EINVAL, -ENOMEM, -EPERM.
 */
typedef void mr_iovec_released(void *context, uint8_t *data, uint32_t length);
MR_API int mr_iovec_wrap(mr_memory *memory, uint8_t *data, uint32_t length, uint32_t flags,
                         mr_iovec_released *on_release, void *context, mr_iovec *out);

/* The same for what Lua keeps alive under the number `anchor` (> 0) until mr_memory_anchors_released returns it. */
MR_API int mr_iovec_wrap_anchored(mr_memory *memory, const uint8_t *data, uint32_t length, uint32_t flags,
                                  int32_t anchor, mr_iovec *out);

/* Takes up to `max` anchors that nobody needs any more. Result: how many are in out[]. */
MR_API int mr_memory_anchors_released(mr_memory *memory, int32_t *out, int max);

/*
 * Drops the iovec's reference and empties it. Result: 0; -ESTALE when it was released or moved before, or is a copy of one
 * that was.
 */
MR_API int mr_iovec_release(mr_iovec *iovec);

/* Releases all of them, also behind one that fails. Result: 0 or the first failure. */
MR_API int mr_iovecs_release(mr_iovec *iovecs, uint32_t count);

/* What stands behind an iovec that a Lua object holds: releases what was forgotten and counts it. Never fails. */
MR_API void mr_iovec_finalize(mr_iovec *iovec);

/* Makes *target another reference to the bytes of source. Result: 0; -ESTALE; -EBUSY for an open reservation; -EINVAL when
 * target is source; -EPERM; -ENOMEM. On failure *target is empty, unless it is source. */
MR_API int mr_iovec_clone(mr_iovec *target, const mr_iovec *source);

/* The same for `length` bytes from `offset` on. -EINVAL also when they are not inside source's length. */
MR_API int mr_iovec_clone_segment(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length);

/* Hands the reference over: source becomes empty and stale. Moving onto itself does nothing. Result: 0, -ESTALE, -EPERM. */
MR_API int mr_iovec_move(mr_iovec *target, mr_iovec *source);

/* The same, keeping only `length` bytes from `offset` on; onto itself it narrows. Result: as of the move; -EINVAL when they
 * are not inside source's length, with source unchanged. */
MR_API int mr_iovec_move_segment(mr_iovec *target, mr_iovec *source, uint32_t offset, uint32_t length);

/* Byte 0, NULL when the iovec is empty or stale. */
MR_API uint8_t *mr_iovec_data(const mr_iovec *iovec);

/* Bytes that hold data, 0 when the iovec is empty or stale. */
MR_API uint32_t mr_iovec_length(const mr_iovec *iovec);

/* Result: 0; -EINVAL, with nothing changed, beyond the capacity; -ESTALE. */
MR_API int mr_iovec_set_length(mr_iovec *iovec, uint32_t length);

/* How many references hold the chunk (SHARED: the allocation) that the iovec lies in, itself included; 0 when it is empty
 * or stale. */
MR_API int mr_iovec_holders(const mr_iovec *iovec);

/* Counts the iovec as held by a Lua object until it is released; a move takes that along, a clone doesn't. */
MR_API void mr_iovec_hold(mr_iovec *iovec);

#ifndef MR_CDEF
_Static_assert(sizeof(mr_iovec) == 32, "an iovec is two words and four counters");
#endif

#endif
