/*
 * bytes.c - search, comparison, masking and checksums of bytes. UTF-8, hex and base64 are in text.c.
 *
 * Searching is left to the C library, whose memchr and memmem choose the processor's best form at run time; CRC-32 to zlib.
 */
#include "bytes/bytes.h"

#include <string.h>
#include <zlib.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

void mr_bytes_move(uint8_t *to, const uint8_t *from, uint32_t length) {
  if (length)
    memmove(to, from, length);
}

void mr_bytes_fill(uint8_t *to, uint8_t byte, uint32_t length) {
  if (length)
    memset(to, byte, length);
}

int32_t mr_bytes_find(const uint8_t *data, int32_t length, const uint8_t *needle, int32_t needle_length) {
  if (needle_length == 0)
    return 0;
  if (needle_length > length)
    return -1;
  const uint8_t *found = memmem(data, (size_t)length, needle, (size_t)needle_length);
  return found ? (int32_t)(found - data) : -1;
}

int32_t mr_bytes_mismatch_scalar(const uint8_t *left, const uint8_t *right, int32_t length) {
  for (int32_t i = 0; i < length; i++)
    if (left[i] != right[i])
      return i;
  return -1;
}

int32_t mr_bytes_mismatch(const uint8_t *left, const uint8_t *right, int32_t length) {
  int32_t at = 0;
#if defined(__SSE2__)
  for (; length - at >= 16; at += 16) {
    __m128i equal =
        _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(left + at)), _mm_loadu_si128((const __m128i *)(right + at)));
    uint32_t differ = (uint32_t)_mm_movemask_epi8(equal) ^ 0xffff;
    if (differ)
      return at + __builtin_ctz(differ);
  }
#endif
  int32_t rest = length > at ? mr_bytes_mismatch_scalar(left + at, right + at, length - at) : -1;
  return rest < 0 ? -1 : at + rest;
}

void mr_bytes_xor_scalar(uint8_t *data, int32_t length, const uint8_t *key, uint32_t offset) {
  for (int32_t i = 0; i < length; i++)
    data[i] ^= key[(offset + (uint32_t)i) & 3];
}

void mr_bytes_xor(uint8_t *data, int32_t length, const uint8_t *key, uint32_t offset) {
  int32_t at = 0;
#if defined(__SSE2__)
  if (length >= 16) {
    uint8_t mask[16];
    for (unsigned i = 0; i < sizeof mask; i++)
      mask[i] = key[(offset + i) & 3];
    const __m128i keys = _mm_loadu_si128((const __m128i *)mask);
    for (; length - at >= 16; at += 16) {
      __m128i *here = (__m128i *)(data + at);
      _mm_storeu_si128(here, _mm_xor_si128(_mm_loadu_si128(here), keys));
    }
  }
#endif
  mr_bytes_xor_scalar(data + at, length - at, key, offset + (uint32_t)at);
}

uint32_t mr_bytes_crc32(uint32_t crc, const uint8_t *data, int32_t length) {
  return length ? (uint32_t)crc32(crc, data, (uInt)length) : crc;
}

/* Multiply and fold, eight bytes a round; the last round takes what is left, so the length goes into the start. */
uint32_t mr_bytes_hash(uint32_t seed, const uint8_t *data, int32_t length) {
  const uint64_t odd = 0x9e3779b97f4a7c15u;
  uint64_t hash = ((uint64_t)seed << 32 | (uint32_t)length) * odd;
  while (length > 0) {
    uint64_t word = 0;
    size_t take = length < 8 ? (size_t)length : 8;
    memcpy(&word, data, take);
    hash = (hash ^ word) * odd;
    hash ^= hash >> 29;
    data += take;
    length -= (int32_t)take;
  }
  hash *= odd;
  return (uint32_t)(hash >> 32);
}
