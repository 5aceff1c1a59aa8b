/*
 * iovec_internal.h - what the loop does with iovecs and Lua has no business with.
 */
#ifndef MR_IOVEC_INTERNAL_H
#define MR_IOVEC_INTERNAL_H

#include "memory/iovec.h"

/* Releases what the iovec holds, if anything, and leaves it all zero. For owners who may have handed it on. */
void mr_iovec_drop(mr_iovec *iovec);

/*
 * Glues next to the end of iovec when it follows it directly in the same chunk: one reference then stands for both and next is
 * empty. Result: 1, or 0 with nothing changed.
 */
int mr_iovec_extend(mr_iovec *iovec, mr_iovec *next);

/*
 * The byte behind the iovec's end when `length` more bytes are free there in its chunk, else NULL; and taking some of them into
 * the iovec. Nothing else may be allocated in between.
 */
uint8_t *mr_iovec_room(const mr_iovec *iovec, uint32_t length);
void mr_iovec_grow(mr_iovec *iovec, uint32_t length);

/*
 * Keeps the first `length` bytes. The rest goes back to the chunk when nothing was allocated behind it. The iovec must be the only
 * reference to its bytes. Result: 0, -EINVAL when it is shorter, -ESTALE.
 */
int mr_iovec_trim(mr_iovec *iovec, uint32_t length);

/* What the loop has to tell Lua about its memory: anchors to drop, or an allocation refused since the last call. */
enum { MR_MEMORY_ANCHORS = 1, MR_MEMORY_PRESSURE = 2 };
int mr_memory_news(mr_memory *memory);

#endif
