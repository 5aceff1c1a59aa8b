/*
 * iovec_internal.h - what the loop does with iovecs and Lua has no business with.
 */
#ifndef MR_IOVEC_INTERNAL_H
#define MR_IOVEC_INTERNAL_H

#include "moonring.h"

/*
 * Glues next to the end of iovec when it follows it directly in the same chunk: one reference then stands for both and next is
 * empty. Result: 1, or 0 with nothing changed.
 */
int mr_iovec_extend(mr_iovec *iovec, mr_iovec *next);

/*
 * Keeps the first `length` bytes. The rest goes back to the chunk when nothing was allocated behind it. The iovec must be the only
 * reference to its bytes. Result: 0, -EINVAL when it is shorter, -ESTALE.
 */
int mr_iovec_trim(mr_iovec *iovec, uint32_t length);

#endif
