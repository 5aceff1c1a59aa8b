/*
 * buffer_reference.c - what scripts/bench/buffer.lua compares with: a cursor in C with the same checks, and plain loops.
 */
#include <stdint.h>
#include <string.h>

typedef struct cursor {
  uint8_t *data;
  int32_t position, limit, capacity;
  uint32_t flags;
} cursor;

static inline int read_u32(cursor *c, uint32_t *out) {
  if (c->limit - c->position < 4)
    return -1;
  uint32_t value;
  memcpy(&value, c->data + c->position, 4);
  c->position += 4;
  *out = __builtin_bswap32(value);
  return 0;
}

static inline int write_u32(cursor *c, uint32_t value) {
  if (c->limit - c->position < 4 || (c->flags & 1))
    return -1;
  value = __builtin_bswap32(value);
  memcpy(c->data + c->position, &value, 4);
  c->position += 4;
  return 0;
}

double reference_read(cursor *c, int32_t count) {
  double sum = 0;
  uint32_t value;
  for (int32_t i = 0; i < count; i++) {
    if (read_u32(c, &value))
      return -1;
    sum += value;
  }
  return sum;
}

int reference_write(cursor *c, int32_t count) {
  for (int32_t i = 0; i < count; i++)
    if (write_u32(c, (uint32_t)i))
      return -1;
  return 0;
}

int32_t reference_index_of(const uint8_t *data, int32_t length, uint8_t byte) {
  for (int32_t i = 0; i < length; i++)
    if (data[i] == byte)
      return i;
  return -1;
}

int32_t reference_mismatch(const uint8_t *left, const uint8_t *right, int32_t length) {
  for (int32_t i = 0; i < length; i++)
    if (left[i] != right[i])
      return i;
  return -1;
}

void reference_xor(uint8_t *data, int32_t length, const uint8_t *key) {
  for (int32_t i = 0; i < length; i++)
    data[i] ^= key[i & 3];
}

static uint32_t table[256];

uint32_t reference_crc32(const uint8_t *data, int32_t length) {
  if (!table[1])
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; bit++)
        value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
      table[i] = value;
    }
  uint32_t crc = ~0u;
  for (int32_t i = 0; i < length; i++)
    crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
  return ~crc;
}

int32_t reference_utf8(const uint8_t *data, int32_t length) {
  int32_t i = 0;
  while (i < length) {
    uint8_t c = data[i];
    int want = c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;
    if (want < 0 || i + want >= length)
      return i;
    for (int k = 1; k <= want; k++)
      if ((data[i + k] & 0xc0) != 0x80)
        return i;
    if ((c == 0xe0 && data[i + 1] < 0xa0) || (c == 0xed && data[i + 1] > 0x9f) || (c == 0xf0 && data[i + 1] < 0x90) ||
        (c == 0xf4 && data[i + 1] > 0x8f))
      return i;
    i += want + 1;
  }
  return i;
}
