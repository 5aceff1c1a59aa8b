/*
 * descriptor.h - the open descriptors of this process, for whoever looks for forgotten ones.
 */
#ifndef MR_DESCRIPTOR_H
#define MR_DESCRIPTOR_H

/* The numbers of the open descriptors, `max` of them at most, in rising order. Result: how many, or negative errno. */
MR_API int mr_descriptors(int32_t *out, int max);

/* What a descriptor is, in the kernel's words ("socket:[1234]", "/path"), NUL-terminated, cut to size. Result: 0 or negative errno. */
MR_API int mr_descriptor_name(int descriptor, char *text, size_t size);

#endif
