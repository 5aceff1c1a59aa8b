/*
 * buffer.h - a cursor over the memory of one iovec.
 *
 * 0 <= position <= limit <= capacity holds at all times. A released buffer has all three at 0, so the bounds check that
 * every access makes anyway fails, and only the slow path asks why. The fields are signed 32-bit because LuaJIT compiles
 * those to plain integer arithmetic; their names end in an underscore because Lua offers them as read-only properties.
 */
#ifndef MR_BUFFER_H
#define MR_BUFFER_H

typedef struct mr_buffer {
  uint8_t *data_; /* byte 0 of the buffer */
  int32_t position_;
  int32_t limit_;
  int32_t capacity_;
  uint32_t flags_;
  mr_iovec memory_; /* the reference that keeps data_ alive */
} mr_buffer;

enum {
  MR_BUFFER_READONLY = 1,
  MR_BUFFER_OPEN = 2, /* cleared by release: tells "closed" from "empty" */
};

/*
 * Makes *buffer a cursor over `capacity` fresh bytes (position 0, limit = capacity), which are not zeroed. What the
 * structure held before is not looked at. Result: 0, -EINVAL, -ENOMEM.
 */
MR_API int mr_buffer_allocate(mr_memory *memory, mr_buffer *buffer, uint32_t capacity, uint32_t alignment);

/* Makes *buffer a cursor over iovec's bytes and takes the reference over: iovec becomes empty. Result: 0 or -ESTALE. */
MR_API int mr_buffer_adopt(mr_buffer *buffer, mr_iovec *iovec);

/* Makes *target a view of source's [position, limit) with a reference of its own. Result: 0 or -ESTALE. */
MR_API int mr_buffer_slice(mr_buffer *target, const mr_buffer *source);

/* Drops the memory; the buffer is closed and empty afterwards. Safe to repeat. */
MR_API void mr_buffer_release(mr_buffer *buffer);

/* What stands behind a buffer that Lua forgets: releases it and counts that. Never fails. */
MR_API void mr_buffer_finalize(mr_buffer *buffer);

/* memmove(3), for bytes whose bounds the caller has checked. */
MR_API void mr_bytes_move(uint8_t *to, const uint8_t *from, uint32_t length);

#ifndef MR_CDEF
_Static_assert(sizeof(mr_buffer) == 56, "a buffer is one cache line at most");
#endif

#endif
