#include "system/crypto.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>

/* The functions of libcrypto that are used, of the version whose headers this was compiled with. */
typedef struct library {
  __typeof__(&EVP_get_digestbyname) find;
  __typeof__(&EVP_Digest) digest;
} library;

#define STRINGIFY(text) #text
#define VERSIONED(name, version) name ".so." STRINGIFY(version)

static const library *library_get(void) {
  static library loaded; /* a race between threads writes the same addresses twice */
  if (loaded.digest)
    return &loaded;
  void *handle = dlopen(VERSIONED("libcrypto", OPENSSL_SHLIB_VERSION), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return NULL;
  loaded.find = (__typeof__(loaded.find))dlsym(handle, "EVP_get_digestbyname");
  loaded.digest = (__typeof__(loaded.digest))dlsym(handle, "EVP_Digest");
  return loaded.find && loaded.digest ? &loaded : NULL;
}

int mr_digest(const char *algorithm, const uint8_t *data, uint32_t length, uint8_t *out) {
  const library *crypto = library_get();
  if (!crypto)
    return -ELIBACC;
  const EVP_MD *type = crypto->find(algorithm);
  unsigned size = 0;
  if (!type || !crypto->digest(data, length, out, &size, type, NULL))
    return -EINVAL;
  return (int)size;
}

int mr_random(uint8_t *out, uint32_t length) {
  while (length) {
    ssize_t got = getrandom(out, length, 0);
    if (got < 0 && errno != EINTR)
      return -errno;
    if (got > 0) {
      out += got;
      length -= (uint32_t)got;
    }
  }
  return 0;
}
