/*
 * bytes.h - bulk operations on bytes: search, comparison, masking, checksums, text encodings.
 *
 * Every function works on bytes whose bounds the caller has checked, in memory order, and reads nothing outside them. Lengths
 * are 0 to 2^31 - 1. The kernels with a vector form have a _scalar twin that it is tested against.
 */
#ifndef MR_BYTES_H
#define MR_BYTES_H

#include "../api.h"

/* memmove(3). */
MR_API void mr_bytes_move(uint8_t *to, const uint8_t *from, uint32_t length);

/* memset(3). */
MR_API void mr_bytes_fill(uint8_t *to, uint8_t byte, uint32_t length);

/* Offset of the first occurrence of needle, or -1; an empty one is found at 0. */
MR_API int32_t mr_bytes_find(const uint8_t *data, int32_t length, const uint8_t *needle, int32_t needle_length);

/* Offset of the first of `length` bytes that differ, or -1. */
MR_API int32_t mr_bytes_mismatch(const uint8_t *left, const uint8_t *right, int32_t length);
MR_API int32_t mr_bytes_mismatch_scalar(const uint8_t *left, const uint8_t *right, int32_t length);

/* XORs data[i] with key[(offset + i) % 4]: masking and unmasking of RFC 6455 section 5.3. */
MR_API void mr_bytes_xor(uint8_t *data, int32_t length, const uint8_t *key, uint32_t offset);
MR_API void mr_bytes_xor_scalar(uint8_t *data, int32_t length, const uint8_t *key, uint32_t offset);

/* CRC-32 of ISO 3309 (zlib, Ethernet), going on from `crc`, which starts at 0. */
MR_API uint32_t mr_bytes_crc32(uint32_t crc, const uint8_t *data, int32_t length);

/* A well-spread number for hash tables. Not stable between versions, and no protection against chosen keys. */
MR_API uint32_t mr_bytes_hash(uint32_t seed, const uint8_t *data, int32_t length);

/*
 * How many of the first bytes are complete, well-formed UTF-8 (Unicode table 3-7: no surrogates, nothing overlong, nothing above
 * U+10FFFF).
 */
MR_API int32_t mr_utf8_span(const uint8_t *data, int32_t length);
MR_API int32_t mr_utf8_span_scalar(const uint8_t *data, int32_t length);

/*
 * What data[0..length), length >= 1, begins with: the length of a well-formed sequence; 0 for one that is cut and may still become
 * well-formed; else minus the length of the ill-formed part that one U+FFFD stands for (its maximal subpart).
 */
MR_API int mr_utf8_sequence(const uint8_t *data, int32_t length);

/* Copies text to out, which has room for 3 * length bytes, with U+FFFD for what is ill-formed or cut. Result: bytes written. */
MR_API int32_t mr_utf8_repair(const uint8_t *data, int32_t length, uint8_t *out);

/*
 * Reads digits of base 10 or 16 (either case) up to the first other character. Result: their number, 0 when there are none, and
 * *value; -ERANGE above 2^53 - 1.
 */
MR_API int32_t mr_text_number(const uint8_t *text, int32_t length, int base, double *value);

enum { MR_VARINT_BYTES_MAX = 10 };

/*
 * Reads an unsigned LEB128 number of at most bytes_max bytes. Result: their number and *value; 0 when it is cut; -EMSGSIZE when it is
 * longer; -ERANGE above 2^53 - 1.
 */
MR_API int32_t mr_varint_decode(const uint8_t *data, int32_t length, int32_t bytes_max, double *value);

/* Writes a whole number of 0 to 2^53 - 1 to out, which has room for MR_VARINT_BYTES_MAX. Result: the bytes written. */
MR_API int32_t mr_varint_encode(double value, uint8_t *out);

/* Two lower-case digits for each byte. */
MR_API void mr_hex_encode(const uint8_t *data, int32_t length, uint8_t *out);

/* Reads length / 2 bytes from digits of either case. Result: -1, or the offset of the first character that is none. */
MR_API int32_t mr_hex_decode(const uint8_t *text, int32_t length, uint8_t *out);

/* Flags of the base64 functions: the alphabet of RFC 4648 section 5, and no '=' at the end. */
enum { MR_BASE64_URL = 1, MR_BASE64_BARE = 2 };

/* Writes (length + 2) / 3 * 4 characters, fewer with MR_BASE64_BARE. Result: their number. */
MR_API int32_t mr_base64_encode(const uint8_t *data, int32_t length, uint8_t *out, uint32_t flags);

/*
 * Reads RFC 4648 base64, strictly: one alphabet, padding exactly as encode writes it, unused bits 0, no white space. out has room
 * for length / 4 * 3 + 2 bytes. Result: the number of bytes, or minus one minus the offset of the character at fault.
 */
MR_API int32_t mr_base64_decode(const uint8_t *text, int32_t length, uint8_t *out, uint32_t flags);

#endif
