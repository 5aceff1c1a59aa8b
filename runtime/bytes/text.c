/*
 * text.c - UTF-8, numbers, hexadecimal and base64 over bytes; see bytes.h.
 *
 * UTF-8 is validated by its grammar: the first byte decides how many follow and what the second may be (Unicode table 3-7), and
 * every later one is 80..BF. The vector form looks at 16 bytes at a time.
 */
#include "bytes/bytes.h"

#include <errno.h>
#include <string.h>

#if defined(__x86_64__)
#include <tmmintrin.h>
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

#if defined(__x86_64__)

/*
 * 16 bytes at a time by the method of Keiser and Lemire ("Validating UTF-8 in less than one instruction per byte", 2020). Every
 * error but a missing third or fourth byte shows in a byte and the four bits that follow it: three tables, looked up by the high and the
 * low half of the byte before and the high half of this one, name the errors that each leaves possible, and what all three
 * leave is there. Where one is, and at the end, the scalar form says exactly how far the text is good.
 */
enum {
  TOO_SHORT = 1 << 0, /* a first byte, or ASCII, where a later byte must be */
  TOO_LONG = 1 << 1,  /* a later byte behind ASCII */
  OVERLONG_3 = 1 << 2,
  TOO_LARGE = 1 << 3, /* above U+10FFFF, by F4 and a second byte from 90 on, or by F5 and more */
  SURROGATE = 1 << 4,
  OVERLONG_2 = 1 << 5,
  TOO_LARGE_1000 = 1 << 6, /* by F5 and more, and a second byte of 80 to 8F */
  OVERLONG_4 = 1 << 6,     /* shares the bit: the first byte tells the two apart */
  TWO_LATER = 1 << 7,      /* a later byte behind a later byte: right where a third or fourth one must be */
  ANY_LOW = TOO_SHORT | TOO_LONG | TWO_LATER,
  LARGE_LOW = ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
};

__attribute__((target("ssse3"))) ALWAYS_INLINE __m128i high_halves(__m128i bytes) {
  return _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f));
}

/* Where the result is not zero, the text is ill-formed. `before` are the 16 bytes before `bytes`. */
__attribute__((target("ssse3"))) ALWAYS_INLINE __m128i utf8_errors(__m128i bytes, __m128i before) {
  const __m128i first_high =
      _mm_setr_epi8(TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, (char)TWO_LATER,
                    (char)TWO_LATER, (char)TWO_LATER, (char)TWO_LATER, TOO_SHORT | OVERLONG_2, TOO_SHORT,
                    TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
  const __m128i first_low =
      _mm_setr_epi8((char)(ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), (char)(ANY_LOW | OVERLONG_2), (char)ANY_LOW,
                    (char)ANY_LOW, (char)(ANY_LOW | TOO_LARGE), (char)LARGE_LOW, (char)LARGE_LOW, (char)LARGE_LOW,
                    (char)LARGE_LOW, (char)LARGE_LOW, (char)LARGE_LOW, (char)LARGE_LOW, (char)LARGE_LOW,
                    (char)(LARGE_LOW | SURROGATE), (char)LARGE_LOW, (char)LARGE_LOW);
  const int later = TOO_LONG | OVERLONG_2 | TWO_LATER;
  const __m128i second_high =
      _mm_setr_epi8(TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
                    (char)(later | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4), (char)(later | OVERLONG_3 | TOO_LARGE),
                    (char)(later | SURROGATE | TOO_LARGE), (char)(later | SURROGATE | TOO_LARGE), TOO_SHORT, TOO_SHORT,
                    TOO_SHORT, TOO_SHORT);
  __m128i one_before = _mm_alignr_epi8(bytes, before, 15);
  __m128i two_before = _mm_alignr_epi8(bytes, before, 14), three_before = _mm_alignr_epi8(bytes, before, 13);
  __m128i found =
      _mm_and_si128(_mm_and_si128(_mm_shuffle_epi8(first_high, high_halves(one_before)),
                                  _mm_shuffle_epi8(first_low, _mm_and_si128(one_before, _mm_set1_epi8(0x0f)))),
                    _mm_shuffle_epi8(second_high, high_halves(bytes)));
  /* Behind E0 and more a third byte must come, behind F0 and more a fourth: their high bit says so. */
  __m128i must = _mm_or_si128(_mm_subs_epu8(two_before, _mm_set1_epi8(0xe0 - 0x80)),
                              _mm_subs_epu8(three_before, _mm_set1_epi8(0xf0 - 0x80)));
  return _mm_xor_si128(_mm_and_si128(must, _mm_set1_epi8((char)0x80)), found);
}

/* Blocks of 16 that are well-formed as far as they go. Result: their bytes; the last character may be cut. */
__attribute__((target("ssse3"))) static int32_t utf8_blocks(const uint8_t *data, int32_t length) {
  __m128i before = _mm_setzero_si128();
  int was_ascii = 1;
  int32_t at = 0;
  for (; length - at >= 16; at += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(data + at));
    int is_ascii = _mm_movemask_epi8(bytes) == 0;
    if (!is_ascii || !was_ascii) {
      __m128i errors = utf8_errors(bytes, before);
      if (_mm_movemask_epi8(_mm_cmpeq_epi8(errors, _mm_setzero_si128())) != 0xffff)
        break;
    }
    was_ascii = is_ascii;
    before = bytes;
  }
  return at;
}

int32_t mr_utf8_span(const uint8_t *data, int32_t length) {
  if (!__builtin_cpu_supports("ssse3"))
    return mr_utf8_span_scalar(data, length);
  int32_t at = utf8_blocks(data, length);
  /* Back to where the character began that the last block may have cut. */
  for (int32_t back = 1; back <= 3 && back <= at; back++)
    if (data[at - back] >= 0xc0) {
      at -= back;
      break;
    }
  return at + mr_utf8_span_scalar(data + at, length - at);
}

#else

int32_t mr_utf8_span(const uint8_t *data, int32_t length) {
  return mr_utf8_span_scalar(data, length);
}

#endif

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

static const uint64_t exact_max = ((uint64_t)1 << 53) - 1; /* the largest whole number that a double is sure to tell */

int32_t mr_varint_decode(const uint8_t *data, int32_t length, int32_t bytes_max, double *value) {
  uint64_t number = 0;
  for (int32_t at = 0; at < bytes_max; at++) {
    if (at == length)
      return 0;
    uint64_t bits = data[at] & 127;
    if (bits && (at > 7 || number + (bits << 7 * at) > exact_max))
      return -ERANGE;
    number += at > 7 ? 0 : bits << 7 * at;
    if (data[at] < 128) {
      *value = (double)number;
      return at + 1;
    }
  }
  return -EMSGSIZE;
}

int32_t mr_varint_encode(double value, uint8_t *out) {
  uint64_t rest = (uint64_t)value;
  int32_t count = 0;
  for (; rest >= 128; rest >>= 7)
    out[count++] = (uint8_t)(rest | 128);
  out[count++] = (uint8_t)rest;
  return count;
}

int32_t mr_text_number(const uint8_t *text, int32_t length, int base, double *value) {
  uint64_t number = 0;
  int32_t at = 0;
  for (; at < length; at++) {
    int digit = hex_digit(text[at]);
    if (digit < 0 || digit >= base)
      break;
    number = number * (uint64_t)base + (uint64_t)digit;
    if (number > exact_max)
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
