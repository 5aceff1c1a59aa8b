/*
 * moonring.h - everything that Lua sees of the C runtime.
 *
 * The build preprocesses this header with MR_CDEF defined and embeds the result as the text for ffi.cdef, so no
 * structure is declared twice. The headers below therefore hold plain declarations, enums in place of #define'd numbers,
 * and keep static asserts, inline functions and the C library's headers inside `#ifndef MR_CDEF`. They name each other by
 * relative paths, because installed nobody's include path leads to them.
 *
 * Conventions: results are counts or slots >= 0, failures are negative errno values. Lengths are bytes, times are
 * seconds as double. A function that takes a pointer to a structure borrows it for the call unless it says otherwise.
 */
#ifndef MR_MOONRING_H
#define MR_MOONRING_H

#include "api.h"
#include "buffer/buffer.h"
#include "buffer/deflate.h"
#include "buffer/pool.h"
#include "bytes/bytes.h"
#include "bytes/scan.h"
#include "call/call.h"
#include "datagram/datagram.h"
#include "dns/resolver.h"
#include "loop/loop.h"
#include "memory/iovec.h"
#include "memory/trace.h"
#include "process/process.h"
#include "socket/address.h"
#include "socket/bind.h"
#include "stream/standard.h"
#include "stream/stream.h"
#include "system/crypto.h"
#include "system/descriptor.h"
#include "system/error.h"
#include "system/private_file.h"
#include "system/terminal.h"
#include "turn/turn.h"

#endif
