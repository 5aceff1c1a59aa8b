/*
 * crypto.h - digests by OpenSSL's libcrypto, and random bytes of the kernel.
 *
 * The library is loaded when the first digest is asked for: linking it would make every start of a program that needs none
 * several times as slow.
 */
#ifndef MR_CRYPTO_H
#define MR_CRYPTO_H

#include "../api.h"

enum { MR_DIGEST_BYTES_MAX = 64 };

/*
 * Writes the digest of data[0..length) by the algorithm of that name as OpenSSL knows it ("SHA1", "SHA256", "MD5" ...) to out, which
 * has room for MR_DIGEST_BYTES_MAX bytes. Result: its length; -EINVAL for an unknown algorithm, -ELIBACC where libcrypto can't be
 * loaded.
 */
MR_API int mr_digest(const char *algorithm, const uint8_t *data, uint32_t length, uint8_t *out);

/* Fills out with unpredictable bytes (getrandom(2)). Result: 0 or negative errno. */
MR_API int mr_random(uint8_t *out, uint32_t length);

#endif
