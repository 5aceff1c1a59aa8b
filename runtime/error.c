/*
 * error.c - what errno values are called, and the library's version of its interface.
 */
#include "moonring.h"

#include <stdlib.h>
#include <string.h>

int mr_abi(void) {
  return MR_ABI;
}

const char *mr_error_name(int error) {
  const char *name = strerrorname_np(abs(error));
  return name ? name : "EUNKNOWN";
}

const char *mr_error_text(int error) {
  const char *text = strerrordesc_np(abs(error));
  return text ? text : "unknown error";
}
