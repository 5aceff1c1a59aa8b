/*
 * text.c - UTF-8, hexadecimal and base64 over bytes; see bytes.h.
 *
 * UTF-8 is validated by its grammar: the first byte decides how many follow and what the second may be (Unicode table 3-7), and
 * every later one is 80..BF. Runs of ASCII, which most text is, are passed 16 bytes at a time.
 */
#include "moonring.h"

#include <errno.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The length of the sequence that begins with `first`, 0 when none does, and the range of its second byte. */
ALWAYS_INLINE int sequence_length(uint8_t first, uint8_t *low, uint8_t *high) {
  *low = 0x80;
  *high = 0xbf;
  if (first < 0x80)
    return 1;
  if (first < 0xc2)
    return 0;
  if (first < 0xe0)
    return 2;
  if (first < 0xf0) {
    if (first == 0xe0)
      *low = 0xa0; /* shorter forms are overlong */
    if (first == 0xed)
      *high = 0x9f; /* surrogates */
    return 3;
  }
  if (first > 0xf4)
    return 0;
  if (first == 0xf0)
    *low = 0x90;
  if (first == 0xf4)
    *high = 0x8f;
  return 4;
}

int mr_utf8_sequence(const uint8_t *data, int32_t length) {
  uint8_t low, high;
  int want = sequence_length(data[0], &low, &high);
  if (want == 0)
    return -1;
  for (int i = 1; i < want; i++) {
    if (i == length)
      return 0;
    if (data[i] < low || data[i] > high)
      return -i;
    low = 0x80;
    high = 0xbf;
  }
  return want;
}

/* Written out for each length, because the loop above costs a third of the speed on text that is not ASCII. */
ALWAYS_INLINE int32_t well_formed(const uint8_t *at, const uint8_t *end) {
  uint8_t low, high;
  int want = sequence_length(at[0], &low, &high);
  if (want < 2 || end - at < want || at[1] < low || at[1] > high)
    return want == 1;
  if (want > 2 && (at[2] & 0xc0) != 0x80)
    return 0;
  if (want > 3 && (at[3] & 0xc0) != 0x80)
    return 0;
  return want;
}

int32_t mr_utf8_span_scalar(const uint8_t *data, int32_t length) {
  const uint8_t *at = data, *end = data + length;
  while (at < end) {
    int32_t step = well_formed(at, end);
    if (!step)
      break;
    at += step;
  }
  return (int32_t)(at - data);
}

int32_t mr_utf8_span(const uint8_t *data, int32_t length) {
#if defined(__SSE2__)
  const uint8_t *at = data, *end = data + length;
  while (at < end) {
    if (*at < 0x80) {
      while (end - at >= 16) {
        int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)at));
        if (high) {
          at += __builtin_ctz((unsigned)high);
          break;
        }
        at += 16;
      }
      while (at < end && *at < 0x80)
        at++;
      if (at == end)
        break;
    }
    int32_t step = well_formed(at, end);
    if (!step)
      break;
    at += step;
  }
  return (int32_t)(at - data);
#else
  return mr_utf8_span_scalar(data, length);
#endif
}

int32_t mr_utf8_repair(const uint8_t *data, int32_t length, uint8_t *out) {
  uint8_t *to = out;
  while (length > 0) {
    int32_t good = mr_utf8_span(data, length);
    if (good)
      memcpy(to, data, (size_t)good);
    to += good;
    data += good;
    length -= good;
    if (length == 0)
      break;
    int bad = mr_utf8_sequence(data, length);
    memcpy(to, "\xef\xbf\xbd", 3);
    to += 3;
    int32_t skip = bad < 0 ? -bad : length; /* a cut sequence is all that is left */
    data += skip;
    length -= skip;
  }
  return (int32_t)(to - out);
}

void mr_hex_encode(const uint8_t *data, int32_t length, uint8_t *out) {
  static const char digits[] = "0123456789abcdef";
  for (int32_t i = 0; i < length; i++) {
    out[2 * i] = (uint8_t)digits[data[i] >> 4];
    out[2 * i + 1] = (uint8_t)digits[data[i] & 15];
  }
}

static int hex_digit(uint8_t c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int32_t mr_text_number(const uint8_t *text, int32_t length, int base, double *value) {
  const uint64_t max = ((uint64_t)1 << 53) - 1;
  uint64_t number = 0;
  int32_t at = 0;
  for (; at < length; at++) {
    int digit = hex_digit(text[at]);
    if (digit < 0 || digit >= base)
      break;
    number = number * (uint64_t)base + (uint64_t)digit;
    if (number > max)
      return -ERANGE;
  }
  *value = (double)number;
  return at;
}

int32_t mr_hex_decode(const uint8_t *text, int32_t length, uint8_t *out) {
  for (int32_t i = 0; i + 1 < length; i += 2) {
    int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0)
      return i;
    if (low < 0)
      return i + 1;
    out[i / 2] = (uint8_t)(high << 4 | low);
  }
  return -1;
}

static const char base64_digits[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

int32_t mr_base64_encode(const uint8_t *data, int32_t length, uint8_t *out, uint32_t flags) {
  const char *digits = base64_digits[flags & MR_BASE64_URL];
  uint8_t *to = out;
  for (; length >= 3; data += 3, length -= 3) {
    uint32_t bits = (uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2];
    *to++ = (uint8_t)digits[bits >> 18];
    *to++ = (uint8_t)digits[bits >> 12 & 63];
    *to++ = (uint8_t)digits[bits >> 6 & 63];
    *to++ = (uint8_t)digits[bits & 63];
  }
  if (length > 0) {
    uint32_t bits = (uint32_t)data[0] << 16 | (length > 1 ? (uint32_t)data[1] << 8 : 0);
    *to++ = (uint8_t)digits[bits >> 18];
    *to++ = (uint8_t)digits[bits >> 12 & 63];
    if (length > 1)
      *to++ = (uint8_t)digits[bits >> 6 & 63];
    if (!(flags & MR_BASE64_BARE))
      for (int32_t i = length; i < 3; i++)
        *to++ = '=';
  }
  return (int32_t)(to - out);
}

static int base64_value(uint8_t c, uint32_t flags) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  if (c == (flags & MR_BASE64_URL ? '-' : '+'))
    return 62;
  return c == (flags & MR_BASE64_URL ? '_' : '/') ? 63 : -1;
}

int32_t mr_base64_decode(const uint8_t *text, int32_t length, uint8_t *out, uint32_t flags) {
  int32_t digits = length;
  if (!(flags & MR_BASE64_BARE)) {
    if (length % 4)
      return -1 - length;
    for (int i = 0; i < 2 && digits > 0 && text[digits - 1] == '='; i++)
      digits--;
  }
  uint32_t bits = 0, bit_count = 0;
  uint8_t *to = out;
  for (int32_t i = 0; i < digits; i++) {
    int value = base64_value(text[i], flags);
    if (value < 0)
      return -1 - i;
    bits = bits << 6 | (uint32_t)value;
    bit_count += 6;
    if (bit_count >= 8) {
      bit_count -= 8;
      *to++ = (uint8_t)(bits >> bit_count);
    }
  }
  if (bit_count == 6) /* one digit alone */
    return -1 - digits;
  if (bits & ((1u << bit_count) - 1))
    return -digits; /* the last digit has bits that nothing decodes to */
  return (int32_t)(to - out);
}
