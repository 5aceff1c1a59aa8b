/*
 * api.h - what every public header begins with: how a function is made visible to Lua, and the number of the interface.
 */
#ifndef MR_API_H
#define MR_API_H

#ifndef MR_CDEF
#include <stddef.h>
#include <stdint.h>
#define MR_API __attribute__((visibility("default")))
#else
#define MR_API
#endif

/* Raised by one whenever a declaration that Lua sees changes its meaning; compared when the Lua modules load the library. */
enum { MR_ABI = 6 };

/* The ABI number that the library was built with. */
MR_API int mr_abi(void);

#endif
