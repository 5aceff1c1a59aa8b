/*
 * descriptor.h - the open descriptors of this process: which there are, pipes, and what Lua holds.
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

/* A pipe, closed in programs that are started: what is written to ends[1] is read from ends[0]. Result: 0 or negative errno. */
MR_API int mr_pipe_open(int32_t ends[2]);

/* Opens /dev/null for `write` (1) or reading (0). Result: the descriptor, or negative errno. */
MR_API int mr_null_open(int write);

/* close(2), in place: for pipes and devices, whose close does not wait. */
MR_API void mr_descriptor_close_now(int descriptor);

/* How many descriptors the process may have open (RLIMIT_NOFILE). */
MR_API double mr_descriptor_limit(void);

#endif
