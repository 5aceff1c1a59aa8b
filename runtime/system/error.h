/*
 * error.h - what errno values are called.
 */
#ifndef MR_ERROR_H
#define MR_ERROR_H

#include "../api.h"

/* Name ("ECONNRESET") and sentence ("connection reset by peer") of an errno value, positive or negative. Static strings. */
MR_API const char *mr_error_name(int error);
MR_API const char *mr_error_text(int error);

#endif
