/*
 * scan.c - scanning kernels.
 *
 * The head indexer is written once, over three span functions: each returns the first byte at or behind `at` that is
 * not in its class of characters, or `end`. The compiler inlines the indexer twice, over the scalar spans, which ask
 * a table byte by byte, and over the vector spans, which look at 16 bytes at a time as long as 16 are there. Nothing
 * is read at or behind data + length, so a head may end where its mapping ends.
 *
 * The indexer works line by line. Every line function returns the offset of the next line, MR_SCAN_MORE or a failure,
 * and head->scanned moves only over complete lines. The first offending byte decides, whatever follows it, so a head
 * that arrives in pieces gets the same answer as in one piece, at the earliest byte that allows it.
 *
 * What it accepts is the strict reading of RFC 9112: names are tokens directly followed by the colon (5.1), there are
 * no folded lines (5.2), lines end in CR LF (2.2), and values hold no control character but HTAB (RFC 9110 5.5).
 */
#include "bytes/scan.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The class table, spelled as expressions over the character's number. */
#define IS_ALNUM(c) (((c) >= '0' && (c) <= '9') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define IS_COMMON(c) /* marks that token and name share */                                                             \
  ((c) == '!' || (c) == '$' || (c) == '%' || (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' ||    \
   (c) == '.' || (c) == '_' || (c) == '~')
#define IS_TOKEN(c) (IS_ALNUM(c) || IS_COMMON(c) || (c) == '#' || (c) == '^' || (c) == '`' || (c) == '|')
#define IS_NAME(c) (IS_ALNUM(c) || IS_COMMON(c) || (c) == '(' || (c) == ')' || (c) == ',' || (c) == ';' || (c) == '=')
#define IS_VISIBLE(c) ((c) > ' ' && (c) != 0x7f)
#define IS_VALUE(c) (IS_VISIBLE(c) || (c) == ' ' || (c) == '\t')

#define CLASS(c)                                                                                                       \
  ((IS_TOKEN(c) ? MR_CLASS_TOKEN : 0) | (IS_VISIBLE(c) ? MR_CLASS_VISIBLE : 0) | (IS_VALUE(c) ? MR_CLASS_VALUE : 0) |  \
   (IS_NAME(c) ? MR_CLASS_NAME : 0))
#define CLASS_4(c) CLASS(c), CLASS(c + 1), CLASS(c + 2), CLASS(c + 3)
#define CLASS_16(c) CLASS_4(c), CLASS_4(c + 4), CLASS_4(c + 8), CLASS_4(c + 12)
#define CLASS_64(c) CLASS_16(c), CLASS_16(c + 16), CLASS_16(c + 32), CLASS_16(c + 48)

static const uint8_t classes_of[256] = {CLASS_64(0), CLASS_64(64), CLASS_64(128), CLASS_64(192)};

typedef const uint8_t *span_function(const uint8_t *at, const uint8_t *end);

/* The indexer's parameters, known at compile time wherever it is inlined. */
typedef struct spans {
  span_function *token;
  span_function *visible;
  span_function *value;
} spans;

ALWAYS_INLINE const uint8_t *span_of(const uint8_t *at, const uint8_t *end, uint32_t classes) {
  while (at < end && (classes_of[*at] & classes))
    at++;
  return at;
}

ALWAYS_INLINE const uint8_t *token_scalar(const uint8_t *at, const uint8_t *end) {
  return span_of(at, end, MR_CLASS_TOKEN);
}

ALWAYS_INLINE const uint8_t *visible_scalar(const uint8_t *at, const uint8_t *end) {
  return span_of(at, end, MR_CLASS_VISIBLE);
}

ALWAYS_INLINE const uint8_t *value_scalar(const uint8_t *at, const uint8_t *end) {
  return span_of(at, end, MR_CLASS_VALUE);
}

#if defined(__SSE2__)

ALWAYS_INLINE __m128i load(const uint8_t *at) {
  return _mm_loadu_si128((const __m128i *)at);
}

/*
 * Bytes of x whose unsigned value lies in [low, low + count): moved to the bottom of the signed range, one
 * comparison.
 */
ALWAYS_INLINE __m128i in_range(__m128i x, int low, int count) {
  return _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - low))), _mm_set1_epi8((char)(0x80 + count)));
}

/* Letters, digits and '-' make nearly every name: those by vector, the rarer token characters by table. */
ALWAYS_INLINE const uint8_t *token_vector(const uint8_t *at, const uint8_t *end) {
  while (end - at >= 16) {
    __m128i x = load(at);
    __m128i letter = in_range(_mm_or_si128(x, _mm_set1_epi8(0x20)), 'a', 26);
    __m128i other = _mm_or_si128(in_range(x, '0', 10), _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    uint32_t out = (uint32_t)_mm_movemask_epi8(_mm_or_si128(letter, other)) ^ 0xffff;
    if (out) {
      at += __builtin_ctz(out);
      if (!(classes_of[*at] & MR_CLASS_TOKEN))
        return at;
      at++;
    } else {
      at += 16;
    }
  }
  return token_scalar(at, end);
}

/* Bit i is set where at[i] is `low` or below, or DEL. */
ALWAYS_INLINE uint32_t controls(const uint8_t *at, int low) {
  __m128i x = load(at);
  __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8((char)low)), x);
  return (uint32_t)_mm_movemask_epi8(_mm_or_si128(below, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));
}

ALWAYS_INLINE const uint8_t *visible_vector(const uint8_t *at, const uint8_t *end) {
  for (; end - at >= 16; at += 16) {
    uint32_t out = controls(at, ' ');
    if (out)
      return at + __builtin_ctz(out);
  }
  return visible_scalar(at, end);
}

ALWAYS_INLINE const uint8_t *value_vector(const uint8_t *at, const uint8_t *end) {
  while (end - at >= 16) {
    uint32_t out = controls(at, ' ' - 1);
    if (out) {
      at += __builtin_ctz(out);
      if (*at != '\t')
        return at;
      at++;
    } else {
      at += 16;
    }
  }
  return value_scalar(at, end);
}

#endif

/*
 * Whether the token name[0..length) is `lower` but for case: | 0x20 makes letters and '-' of no other token
 * character.
 */
ALWAYS_INLINE int is_name(const uint8_t *name, const char *lower, int32_t length) {
  if (length < 8) {
    uint32_t first, last, lower_first, lower_last;
    memcpy(&first, name, 4);
    memcpy(&last, name + length - 4, 4);
    memcpy(&lower_first, lower, 4);
    memcpy(&lower_last, lower + length - 4, 4);
    return (((first | 0x20202020u) ^ lower_first) | ((last | 0x20202020u) ^ lower_last)) == 0;
  }
  uint64_t difference = 0;
  for (int32_t i = 0; i < length; i += 8) {
    int32_t offset = i + 8 <= length ? i : length - 8;
    uint64_t word, lower_word;
    memcpy(&word, name + offset, 8);
    memcpy(&lower_word, lower + offset, 8);
    difference |= (word | 0x2020202020202020u) ^ lower_word;
  }
  return difference == 0;
}

/* name[0..length) is a token. */
ALWAYS_INLINE mr_field_id identify(const uint8_t *name, int32_t length) {
  const uint32_t lengths = 1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 14 | 1u << 17;
  if (length > 17 || !(lengths >> length & 1)) /* spares the jump table for most names */
    return MR_FIELD_OTHER;
  switch (length) {
  case 4:
    return is_name(name, "host", 4) ? MR_FIELD_HOST : MR_FIELD_OTHER;
  case 6:
    return is_name(name, "expect", 6) ? MR_FIELD_EXPECT : MR_FIELD_OTHER;
  case 7:
    return is_name(name, "upgrade", 7) ? MR_FIELD_UPGRADE : MR_FIELD_OTHER;
  case 10:
    return is_name(name, "connection", 10) ? MR_FIELD_CONNECTION : MR_FIELD_OTHER;
  case 14:
    return is_name(name, "content-length", 14) ? MR_FIELD_CONTENT_LENGTH : MR_FIELD_OTHER;
  case 17:
    return is_name(name, "transfer-encoding", 17) ? MR_FIELD_TRANSFER_ENCODING : MR_FIELD_OTHER;
  default:
    return MR_FIELD_OTHER;
  }
}

/* `at` is behind the text of a line. Result: the offset behind its CR LF, MR_SCAN_MORE, or what is wrong. */
ALWAYS_INLINE int32_t end_line(const uint8_t *data, const uint8_t *at, const uint8_t *end, int32_t failure) {
  if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
    return (int32_t)(at + 2 - data);
  if (at == end)
    return MR_SCAN_MORE;
  if (*at == '\r')
    return at + 1 == end ? MR_SCAN_MORE : MR_SCAN_BAD_LINE;
  return *at == '\n' ? MR_SCAN_BAD_LINE : failure;
}

ALWAYS_INLINE void set_part(mr_head *head, int part, const uint8_t *start, const uint8_t *end) {
  head->part[part] = (int32_t)(start - head->data);
  head->part_length[part] = (int32_t)(end - start);
}

/* Method or version, SP, target or status, and what follows the next SP if there is one. */
ALWAYS_INLINE int32_t index_first_line(const uint8_t *data, const uint8_t *end, mr_head *head, spans spans) {
  const uint8_t *at = spans.token(data, end);
  if (at != data && at != end && *at == '/')
    at = spans.token(at + 1, end); /* a version */
  if (at == end)
    return MR_SCAN_MORE;
  if (at == data || *at != ' ')
    return MR_SCAN_BAD_LINE;
  set_part(head, 0, data, at);

  const uint8_t *start = at + 1;
  at = spans.visible(start, end);
  if (at == end)
    return MR_SCAN_MORE;
  if (at == start)
    return MR_SCAN_BAD_LINE;
  set_part(head, 1, start, at);

  start = at;
  if (*at == ' ') {
    start = at + 1;
    at = spans.value(start, end);
  }
  set_part(head, 2, start, at);
  return end_line(data, at, end, MR_SCAN_BAD_LINE);
}

/* Of the characters that a value may hold, SP and HTAB are those up to SP. */
ALWAYS_INLINE int is_blank(uint8_t byte) {
  return byte <= ' ';
}

ALWAYS_INLINE void note_field(mr_head *head, mr_field_id id) {
  uint32_t bit = 1u << id;
  if (head->seen & bit) {
    head->repeated |= bit;
  } else {
    head->seen |= bit;
    head->first[id] = head->field_count;
  }
}

/* The field line at `line`, of which at least one byte is there. */
ALWAYS_INLINE int32_t index_field(const uint8_t *data, const uint8_t *line, const uint8_t *end, mr_head *head,
                                  spans spans) {
  const uint8_t *colon = spans.token(line, end);
  if (colon == end)
    return MR_SCAN_MORE;
  if (colon == line || *colon != ':')
    return *colon == '\n' ? MR_SCAN_BAD_LINE : MR_SCAN_BAD_NAME;

  const uint8_t *value = colon + 1;
  const uint8_t *value_end = spans.value(value, end);
  int32_t next = end_line(data, value_end, end, MR_SCAN_BAD_VALUE);
  if (next <= 0)
    return next;

  while (value < value_end && is_blank(*value))
    value++;
  while (value < value_end && is_blank(value_end[-1]))
    value_end--;
  int32_t name_length = (int32_t)(colon - line);
  mr_field_id id = identify(line, name_length);
  mr_field *field = &head->fields[head->field_count];
  field->name = (int32_t)(line - data);
  field->name_length = name_length;
  field->value = (int32_t)(value - data);
  field->value_length = (int32_t)(value_end - value);
  field->id = (int32_t)id;
  note_field(head, id);
  head->field_count++;
  return next;
}

/* The end of what may be looked at of a line: the limit's, so that what lies behind it changes no answer. */
ALWAYS_INLINE const uint8_t *line_end(const uint8_t *line, const uint8_t *end, int32_t max) {
  return max && end - line > max ? line + max : end;
}

/* What a line function's answer means when the line was cut there. */
ALWAYS_INLINE int32_t judge_line(int32_t next, const uint8_t *line, const uint8_t *end, int32_t max) {
  return next == MR_SCAN_MORE && max && end - line >= max ? MR_SCAN_TOO_LONG : next;
}

ALWAYS_INLINE int32_t index_fields(const uint8_t *data, int32_t length, mr_head *head, spans spans) {
  const uint8_t *end = data + length;
  const int32_t line_max = head->line_max;
  const int32_t fields_max = head->fields_max ? head->fields_max : MR_HEAD_FIELDS_MAX;
  int32_t at = head->scanned;
  int32_t next = MR_SCAN_MORE;
  while (at < length) {
    if (data[at] == '\r') {
      next = end_line(data, data + at, end, MR_SCAN_BAD_LINE);
      if (next > 0)
        at = next;
      break;
    }
    const uint8_t *line = data + at;
    next = MR_SCAN_TOO_MANY;
    if (head->field_count < fields_max)
      next = judge_line(index_field(data, line, line_end(line, end, line_max), head, spans), line, end, line_max);
    if (next <= 0)
      break;
    at = next;
    next = MR_SCAN_MORE;
  }
  head->scanned = at;
  return next;
}

ALWAYS_INLINE int32_t index_head(const uint8_t *data, int32_t length, mr_head *head, spans spans) {
  if (head->scanned == 0)
    mr_head_reset(head);
  head->data = data;
  if (length <= head->scanned)
    return MR_SCAN_MORE;

  if (head->scanned == 0) {
    const uint8_t *end = data + length;
    int32_t next = index_first_line(data, line_end(data, end, head->line_max), head, spans);
    next = judge_line(next, data, end, head->line_max);
    if (next <= 0)
      return next;
    head->scanned = next;
  }
  return index_fields(data, length, head, spans);
}

void mr_head_reset(mr_head *head) {
  head->data = NULL;
  head->scanned = 0;
  head->field_count = 0;
  head->seen = 0;
  head->repeated = 0;
  memset(head->part, 0, sizeof head->part);
  memset(head->part_length, 0, sizeof head->part_length);
}

int32_t mr_scan_head_scalar(const uint8_t *data, int32_t length, mr_head *head) {
  return index_head(data, length, head, (spans){token_scalar, visible_scalar, value_scalar});
}

int32_t mr_scan_head(const uint8_t *data, int32_t length, mr_head *head) {
#if defined(__SSE2__)
  return index_head(data, length, head, (spans){token_vector, visible_vector, value_vector});
#else
  return mr_scan_head_scalar(data, length, head);
#endif
}

int32_t mr_scan_fields(const uint8_t *data, int32_t length, mr_head *head) {
  if (head->scanned == 0)
    mr_head_reset(head);
  head->data = data;
  if (length <= head->scanned)
    return MR_SCAN_MORE;
#if defined(__SSE2__)
  return index_fields(data, length, head, (spans){token_vector, visible_vector, value_vector});
#else
  return index_fields(data, length, head, (spans){token_scalar, visible_scalar, value_scalar});
#endif
}

int32_t mr_head_find(const mr_head *head, const uint8_t *name, int32_t length, int32_t from) {
  for (int32_t i = from < 0 ? 0 : from; i < head->field_count; i++) {
    const mr_field *field = &head->fields[i];
    if (mr_scan_equal_fold(head->data + field->name, field->name_length, name, length))
      return i;
  }
  return -1;
}

int32_t mr_scan_span(const uint8_t *data, int32_t length, uint32_t classes) {
  return length <= 0 ? 0 : (int32_t)(span_of(data, data + length, classes) - data);
}

/* Behind the bracket: what an IPv6 address is spelled with, and the closing one. NULL when that is not what is there. */
static const uint8_t *skip_address(const uint8_t *start, const uint8_t *end) {
  const uint8_t *at = start;
  while (at < end && ((*at >= '0' && *at <= ':') || ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'f') || *at == '.'))
    at++;
  return at < end && *at == ']' && at - start >= 2 ? at + 1 : NULL;
}

int mr_scan_host(const uint8_t *data, int32_t length) {
  if (length <= 0)
    return 1;
  const uint8_t *end = data + length;
  const uint8_t *at = *data == '[' ? skip_address(data + 1, end) : span_of(data, end, MR_CLASS_NAME);
  if (at == end)
    return 1;
  if (!at || *at != ':')
    return 0;
  uint32_t port = 0;
  for (at++; at < end; at++) {
    uint32_t digit = (uint32_t)*at - '0';
    port = port * 10 + digit;
    if (digit > 9 || port > 65535)
      return 0;
  }
  return 1;
}

double mr_scan_decimal(const uint8_t *data, int32_t length) {
  const uint64_t max = (UINT64_C(1) << 53) - 1;
  uint64_t value = 0;
  if (length <= 0)
    return -1;
  for (int32_t i = 0; i < length; i++) {
    uint32_t digit = (uint32_t)data[i] - '0';
    if (digit > 9)
      return -1;
    value = value * 10 + digit; /* at most max * 10 + 9, far from wrapping */
    if (value > max)
      return -1;
  }
  return (double)value;
}

int32_t mr_scan_byte(const uint8_t *data, int32_t length, uint8_t byte) {
  const uint8_t *found = length <= 0 ? NULL : memchr(data, byte, (size_t)length);
  return found ? (int32_t)(found - data) : -1;
}

ALWAYS_INLINE uint8_t fold(uint8_t byte) {
  return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

int mr_scan_equal_fold(const uint8_t *left, int32_t left_length, const uint8_t *right, int32_t right_length) {
  if (left_length != right_length)
    return 0;
  for (int32_t i = 0; i < left_length; i++) {
    if (fold(left[i]) != fold(right[i]))
      return 0;
  }
  return 1;
}
