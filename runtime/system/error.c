/*
 * error.c - what errno values are called, and the library's version of its interface.
 */
#include "system/error.h"

#include <limits.h>
#include <string.h>

int mr_abi(void) {
  return MR_ABI;
}

static int positive(int error) {
  return error < 0 && error > INT_MIN ? -error : error;
}

const char *mr_error_name(int error) {
  const char *name = strerrorname_np(positive(error));
  return name ? name : "EUNKNOWN";
}

const char *mr_error_text(int error) {
  const char *text = strerrordesc_np(positive(error));
  return text ? text : "unknown error";
}
