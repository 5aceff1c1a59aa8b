/*
 * deflate.c - zlib's streams in steps that the caller bounds: nothing here decides how much output there may be.
 */
#include "buffer/deflate.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

struct mr_deflate {
  z_stream stream;
  int inflate;
  int ended; /* 1, or the error that ended it */
};

enum { MEMORY_LEVEL = 8 };

mr_deflate *mr_deflate_create(int inflate, int format, int level, int window_bits) {
  mr_deflate *made = calloc(1, sizeof *made);
  if (!made)
    return NULL;
  int bits = format == MR_DEFLATE_RAW ? -window_bits : format == MR_DEFLATE_GZIP ? window_bits + 16 : window_bits;
  made->inflate = inflate;
  int result = inflate ? inflateInit2(&made->stream, bits)
                       : deflateInit2(&made->stream, level, Z_DEFLATED, bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
  if (result != Z_OK) {
    free(made);
    return NULL;
  }
  return made;
}

void mr_deflate_reset(mr_deflate *stream) {
  stream->ended = 0;
  if (stream->inflate)
    inflateReset(&stream->stream);
  else
    deflateReset(&stream->stream);
}

void mr_deflate_destroy(mr_deflate *stream) {
  if (!stream)
    return;
  if (stream->inflate)
    inflateEnd(&stream->stream);
  else
    deflateEnd(&stream->stream);
  free(stream);
}

int mr_deflate_run(mr_deflate *stream, const uint8_t *in, int32_t in_length, uint8_t *out, int32_t out_length,
                   int flush, mr_deflate_step *step) {
  static const int flushes[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_FINISH};
  *step = (mr_deflate_step){0};
  if (stream->ended)
    return stream->ended;
  z_stream *z = &stream->stream;
  uint8_t none;
  z->next_in = in ? (Bytef *)in : &none;
  z->avail_in = (uInt)in_length;
  z->next_out = out ? out : &none;
  z->avail_out = (uInt)out_length;
  int result = stream->inflate ? inflate(z, Z_NO_FLUSH) : deflate(z, flushes[flush]);
  step->consumed = in_length - (int32_t)z->avail_in;
  step->produced = out_length - (int32_t)z->avail_out;
  if (result == Z_STREAM_END)
    stream->ended = 1;
  else if (result == Z_MEM_ERROR)
    stream->ended = -ENOMEM;
  else if (result != Z_OK && result != Z_BUF_ERROR)
    stream->ended = -EILSEQ;
  return stream->ended;
}
