/*
 * deflate.h - zlib's streams (RFC 1950, 1951, 1952) over bytes, in steps that the caller bounds.
 */
#ifndef MR_DEFLATE_H
#define MR_DEFLATE_H

#include "../api.h"

typedef struct mr_deflate mr_deflate;

enum { MR_DEFLATE_ZLIB = 0, MR_DEFLATE_GZIP = 1, MR_DEFLATE_RAW = 2 };
enum {
  MR_DEFLATE_MORE = 0,
  MR_DEFLATE_SYNC = 1, /* the output holds all of the input so far and ends with 00 00 ff ff */
  MR_DEFLATE_FULL = 2, /* and what follows does not refer to it */
  MR_DEFLATE_FINISH = 3,
};
enum { MR_DEFLATE_WINDOW_BITS = 15 }; /* the largest window, 32 KiB */

/* What one step took and gave. */
typedef struct mr_deflate_step {
  int32_t consumed;
  int32_t produced;
} mr_deflate_step;

/*
 * A compressor of the level 0 to 9 (-1: zlib's default), or with inflate = 1 a decompressor, with a window of 2^window_bits bytes: 9
 * to 15 (decompressing: 8 to 15). NULL when there is no memory.
 */
MR_API mr_deflate *mr_deflate_create(int inflate, int format, int level, int window_bits);

/* As new, with the memory that it has: what follows is a stream of its own. */
MR_API void mr_deflate_reset(mr_deflate *stream);

/* Safe as a finalizer, and with NULL. */
MR_API void mr_deflate_destroy(mr_deflate *stream);

/*
 * Takes from `in` and writes to `out` until one of them is used up. `flush` (MR_DEFLATE_*) says whether more input will follow; a
 * decompressor ignores it. Result: 1 at the end of the stream, 0 before; -EILSEQ for input that is not of the format, and then for
 * every later step; -ENOMEM. *step is right in every case.
 */
MR_API int mr_deflate_run(mr_deflate *stream, const uint8_t *in, int32_t in_length, uint8_t *out, int32_t out_length,
                          int flush, mr_deflate_step *step);

#endif
