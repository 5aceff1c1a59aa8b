/*
 * trace.h - trace mode: who allocated, who released, who is at fault.
 *
 * On, every reference is noted with the place that made it and the place that ended it; allocations are followed by guard
 * bytes; what is released is filled with a pattern and kept out of use for a while. Faults are reported on stderr as they are found,
 * leaks grouped by the place of allocation. A place is a line of Lua, told by mr_trace_place, and always the C callers.
 *
 * It is switched by mr_trace_enable, by MOONRING_TRACE=iovec in the environment, or at build time by MOONRING_IOVEC_TRACE.
 */
#ifndef MR_TRACE_H
#define MR_TRACE_H

#include "iovec.h"

/* Turns the mode on or off for what is allocated from now on. */
MR_API void mr_trace_enable(int on);
MR_API int mr_trace_enabled(void);

/* The line of Lua that the calling thread is at, for what it does next; NULL when it is not in Lua. The text is copied. */
MR_API void mr_trace_place(const char *text);

/* The number of the scope whose Lua code the calling thread runs; 0 for none. */
MR_API void mr_trace_scope(int32_t scope);

/* The iovec now belongs to that scope. */
MR_API void mr_trace_assign(const mr_iovec *iovec, int32_t scope);

/* Reports what Lua code of the scope has made and not released. what: the scope in words. Result: the iovecs reported. */
MR_API int mr_trace_scope_ended(int32_t scope, const char *what);

/* Reports the use of a stale iovec; does nothing for a live or an empty one. Result: 1 when it was reported. */
MR_API int mr_trace_use(const mr_iovec *iovec, const char *what);

/* Looks at every guard and at everything in quarantine now. Result: the faults that were reported. */
MR_API int mr_trace_check(mr_memory *memory);

/* Faults reported since the start, leaks included. */
MR_API int64_t mr_trace_reports(void);

/* Writes reports to this file instead of stderr; NULL for stderr. Result: 0 or negative errno. */
MR_API int mr_trace_output(const char *path);

#endif
