/*
 * moonring.h - everything that Lua sees of the C runtime.
 *
 * The build preprocesses this header with MR_CDEF defined and embeds the result as the text for ffi.cdef, so no
 * structure is declared twice. The headers below therefore hold plain declarations, enums in place of #define'd numbers,
 * and keep #include, static asserts and inline functions inside `#ifndef MR_CDEF`.
 *
 * Conventions: results are counts or slots >= 0, failures are negative errno values. Lengths are bytes, times are
 * seconds as double. A function that takes a pointer to a structure borrows it for the call unless it says otherwise.
 */
#ifndef MR_MOONRING_H
#define MR_MOONRING_H

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

/* Name ("ECONNRESET") and sentence ("connection reset by peer") of an errno value, positive or negative. Static strings. */
MR_API const char *mr_error_name(int error);
MR_API const char *mr_error_text(int error);

#include "memory/iovec.h"

#include "memory/trace.h"

#include "buffer/buffer.h"

#include "bytes/bytes.h"

#include "system/crypto.h"

#include "buffer/deflate.h"

#include "buffer/pool.h"

#include "bytes/scan.h"

#include "socket/address.h"

#include "loop/loop.h"

#include "system/terminal.h"

#include "system/descriptor.h"

#include "process/process.h"

#include "stream/standard.h"

#include "call/call.h"

#include "datagram/datagram.h"

#include "dns/resolver.h"

#endif
