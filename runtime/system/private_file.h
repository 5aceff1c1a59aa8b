/*
 * private_file.h - files of lines that are their owner's alone.
 */
#ifndef MR_PRIVATE_FILE_H
#define MR_PRIVATE_FILE_H

#include "../api.h"

/*
 * Appends `length` bytes, whole lines, to a file that only its owner may read, made with its folders where it isn't there. Several
 * processes may do so at once. A file that has grown beyond `limit` bytes is cut to its last lines, half as many bytes.
 * Result: 0 or negative errno.
 */
MR_API int mr_private_append(const char *path, const char *data, size_t length, size_t limit);

#endif
