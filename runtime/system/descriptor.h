/*
 * descriptor.h - the open descriptors of this process, for whoever looks for forgotten ones, and one that Lua holds.
 */
#ifndef MR_DESCRIPTOR_H
#define MR_DESCRIPTOR_H

#include "../api.h"

/* The numbers of the open descriptors, `max` of them at most, in rising order. Result: how many, or negative errno. */
MR_API int mr_descriptors(int32_t *out, int max);

/* What a descriptor is, in the kernel's words ("socket:[1234]", "/path"), NUL-terminated, cut to size. Result: 0 or negative errno. */
MR_API int mr_descriptor_name(int descriptor, char *text, size_t size);

/* A descriptor that Lua holds; the finalizer closes it. number -1: none. */
typedef struct mr_descriptor {
  int32_t number;
} mr_descriptor;

MR_API void mr_descriptor_release(mr_descriptor *descriptor);

/* How many descriptors the process may have open (RLIMIT_NOFILE). */
MR_API double mr_descriptor_limit(void);

#endif
