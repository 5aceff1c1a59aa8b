/*
 * buffer.h - a cursor over a run of bytes.
 *
 * The bytes are an iovec's, a mapping's (memory shared with other processes, or too long for a slab), or belong to Lua, which
 * then keeps them alive for as long as the buffer (MR_BUFFER_ANCHORED). Either way a slice is a holder of its own.
 *
 * 0 <= position <= limit <= capacity holds at all times. A released buffer has all three at 0, so the bounds check that
 * every access makes anyway fails, and only the slow path asks why. The fields are signed 32-bit because LuaJIT compiles
 * those to plain integer arithmetic; their names end in an underscore because Lua offers them as read-only properties.
 */
#ifndef MR_BUFFER_H
#define MR_BUFFER_H

#include "../memory/iovec.h"

typedef struct mr_mapping mr_mapping;

typedef struct mr_buffer {
  uint8_t *data_; /* byte 0 of the buffer */
  int32_t position_;
  int32_t limit_;
  int32_t capacity_;
  uint32_t flags_;
  mr_iovec memory_;     /* the reference that keeps data_ alive, */
  mr_mapping *mapping_; /* or the mapping that is held instead */
} mr_buffer;

enum {
  MR_BUFFER_READONLY = 1,
  MR_BUFFER_OPEN = 2,     /* cleared by release: tells "closed" from "empty" */
  MR_BUFFER_ANCHORED = 4, /* data_ belongs to an object that Lua's collector owns; lua/moonring/buffer keeps it */
  MR_BUFFER_HEAP = 8,     /* in an array that Lua made for it */
  MR_BUFFER_VIEWED = 16,  /* others hold references to the same bytes: a pool must not hand them to a new owner */
};

/*
 * Makes *buffer a cursor over `capacity` fresh bytes (position 0, limit = capacity), which are not zeroed. What the
 * structure held before is not looked at. Above MR_SLAB_BYTES the memory is a mapping of its own, aligned to pages at most.
 * Result: 0, -EINVAL, -ENOMEM.
 */
MR_API int mr_buffer_allocate(mr_memory *memory, mr_buffer *buffer, uint32_t capacity, uint32_t alignment);

/*
 * The same over zeroed memory that other processes can map through mr_buffer_descriptor. Its size is sealed, so that nobody can
 * take pages from under it. Result: 0, or negative errno (-EMFILE, -ENOMEM, ...).
 */
MR_API int mr_buffer_allocate_shared(mr_buffer *buffer, uint32_t capacity);

/*
 * Maps the first `capacity` bytes of the memory behind a descriptor, which stays the caller's. Result: 0; -EINVAL when it is
 * shorter; -EPERM when it may still shrink (no F_SEAL_SHRINK), which would end this process by SIGBUS; negative errno.
 */
MR_API int mr_buffer_open_shared(mr_buffer *buffer, int descriptor, uint32_t capacity);

/* The descriptor of shared memory, which lives as long as the memory; -1 for any other buffer. */
MR_API int mr_buffer_descriptor(const mr_buffer *buffer);

/* Bytes of all mappings that buffers of this process hold beside their slabs. */
MR_API double mr_buffer_mapped_bytes(void);

/* Makes *buffer a cursor over iovec's bytes and takes the reference over: iovec becomes empty. Result: 0 or -ESTALE. */
MR_API int mr_buffer_adopt(mr_buffer *buffer, mr_iovec *iovec);

/*
 * Makes *target a view of `length` bytes from source's position on, with a reference of its own. They lie before source's limit.
 * Result: 0, -ESTALE or -ENOMEM, with *target closed.
 */
MR_API int mr_buffer_slice_part(mr_buffer *target, mr_buffer *source, uint32_t length);

/* The same of all from position to limit. */
MR_API int mr_buffer_slice(mr_buffer *target, mr_buffer *source);

/* Makes *target what *source is and *source closed. What target held before is not looked at. */
MR_API void mr_buffer_move(mr_buffer *target, mr_buffer *source);

/* Drops the memory; the buffer is closed and empty afterwards. Safe to repeat. */
MR_API void mr_buffer_release(mr_buffer *buffer);

/* What stands behind a buffer that Lua forgets: releases it and counts that. Never fails. */
MR_API void mr_buffer_finalize(mr_buffer *buffer);

#ifndef MR_CDEF
_Static_assert(sizeof(mr_buffer) == 64, "a buffer is one cache line");
#endif

#endif
