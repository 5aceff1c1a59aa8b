/*
 * chunked.c - the framing of chunked bodies, as a machine that stops anywhere.
 *
 * A body comes in pieces that the kernel has filled, and its data is handed on where it lies; so the few bytes between two
 * chunks are consumed as they come, whatever piece they are in, and nothing is ever gathered for them.
 *
 * Strict where two readers of one stream could disagree (RFC 9112 section 7.1): digits only, so no sign, prefix or white space;
 * few enough of them, leading zeros included; CR LF at the end of every line and behind every chunk's data. White space between
 * the size and a semicolon, which the RFC calls bad, is refused too.
 *
 * Chunk lines are work for us that nobody asked for: a peer that puts a long one before every byte has us read hundreds of bytes for
 * each that a handler sees, below every limit of the body. So what a body's lines have more than their content warrants is summed
 * up and bounded.
 */
#include "bytes/scan.h"

enum { PHASE_SIZE = 0, PHASE_EXTENSION, PHASE_LINE_FEED, PHASE_DATA_RETURN, PHASE_DATA_FEED, PHASE_LAST };

static const double SIZE_MAX_EXACT = 4503599627370496.0; /* 2^52 */

static int digit_of(uint8_t byte) {
  if (byte >= '0' && byte <= '9')
    return byte - '0';
  byte |= 0x20;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static int is_extension_byte(uint8_t byte) {
  return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

/* The size's next byte. Result: 0 or MR_SCAN_*. */
static int32_t take_size(mr_chunked *chunked, uint8_t byte) {
  int digit = digit_of(byte);
  if (digit >= 0) {
    if (++chunked->digits > MR_CHUNK_DIGITS_MAX)
      return MR_SCAN_BAD_CHUNK;
    chunked->value = chunked->value * 16 + digit;
    return chunked->value > SIZE_MAX_EXACT ? MR_SCAN_BIG_CHUNK : 0;
  }
  if (chunked->digits == 0 || (byte != '\r' && byte != ';'))
    return MR_SCAN_BAD_CHUNK;
  chunked->phase = byte == '\r' ? PHASE_LINE_FEED : PHASE_EXTENSION;
  return 0;
}

static int32_t take_extension(mr_chunked *chunked, uint8_t byte) {
  if (byte == '\r') {
    chunked->phase = PHASE_LINE_FEED;
    return 0;
  }
  if (!is_extension_byte(byte))
    return MR_SCAN_BAD_CHUNK;
  return ++chunked->extension_bytes > chunked->extension_max ? MR_SCAN_LONG_EXTENSION : 0;
}

/* Result: 0 or MR_SCAN_MUCH_FRAMING. */
static int32_t finish_line(mr_chunked *chunked) {
  double excess = (double)chunked->excess + chunked->digits + chunked->extension_bytes - MR_CHUNK_LINE_FREE -
                  MR_CHUNK_LINE_PER_BYTE * chunked->value;
  if (excess > MR_CHUNK_EXCESS_MAX)
    return MR_SCAN_MUCH_FRAMING;
  chunked->excess = excess > 0 ? (int32_t)excess : 0;
  chunked->size = chunked->value;
  chunked->phase = chunked->size > 0 ? PHASE_DATA_RETURN : PHASE_LAST;
  chunked->value = 0;
  chunked->digits = chunked->extension_bytes = 0;
  return 0;
}

int32_t mr_scan_chunk(mr_chunked *chunked, const uint8_t *data, int32_t length) {
  chunked->size = -1;
  for (int32_t at = 0; at < length; at++) {
    uint8_t byte = data[at];
    int32_t failure = 0;
    switch (chunked->phase) {
    case PHASE_SIZE:
      failure = take_size(chunked, byte);
      break;
    case PHASE_EXTENSION:
      failure = take_extension(chunked, byte);
      break;
    case PHASE_DATA_RETURN:
      chunked->phase = PHASE_DATA_FEED;
      failure = byte == '\r' ? 0 : MR_SCAN_BAD_CHUNK;
      break;
    case PHASE_DATA_FEED:
      chunked->phase = PHASE_SIZE;
      failure = byte == '\n' ? 0 : MR_SCAN_BAD_CHUNK;
      break;
    case PHASE_LINE_FEED:
      if (byte != '\n')
        return MR_SCAN_BAD_CHUNK;
      failure = finish_line(chunked);
      return failure ? failure : at + 1;
    default:
      return MR_SCAN_BAD_CHUNK; /* behind the last chunk there is no other */
    }
    if (failure)
      return failure;
  }
  return length < 0 ? 0 : length;
}
