/*
 * trace_internal.h - the hooks of trace mode in the iovec layer. With the mode off, what is left of them is a branch on
 * mr_trace_on or on a record's empty note.
 */
#ifndef MR_TRACE_INTERNAL_H
#define MR_TRACE_INTERNAL_H

#include "memory/trace.h"

typedef struct mr_trace_note mr_trace_note;
typedef struct mr_trace_block mr_trace_block;

/* Released allocations that nobody may touch yet, the oldest first; on each hangs a holder of its chunk. */
typedef struct mr_quarantine {
  mr_trace_block *first, *last;
  uint64_t bytes;
} mr_quarantine;

enum { MR_TRACE_GUARD_BYTES = 16 };

extern int mr_trace_on;

static inline uint32_t mr_trace_guard(void) {
  return __builtin_expect(mr_trace_on, 0) ? MR_TRACE_GUARD_BYTES : 0;
}

struct mr_chunk;

/* A reference to a new allocation; guard: the bytes behind it that are ours (0: none, and no poison either). */
void mr_trace_allocated(mr_memory *memory, struct mr_chunk *chunk, mr_reference *reference, uint8_t *data,
                        uint32_t length, uint32_t guard, const char *what);
/* A reference to the same allocation as another one's, also the root of a SHARED one. */
void mr_trace_referenced(mr_reference *reference, mr_reference *source, const char *what);
/* The reference is about to end. Result: 1 when the quarantine has taken its chunk's holder over. */
int mr_trace_released(mr_memory *memory, mr_reference *reference, const char *what);
/* The reference goes on under the next generation. */
void mr_trace_moved(mr_reference *reference, uint32_t next);
/* The allocation is shorter now. Result: the guard bytes behind it. */
uint32_t mr_trace_shrunk(mr_reference *reference, uint32_t length);
/* The guard bytes behind the reference's allocation, and whether it shares that with another reference's. */
uint32_t mr_trace_guard_of(const mr_reference *reference);
int mr_trace_same(const mr_reference *left, const mr_reference *right);

/* trace_site.c's and trace.c's common lock. */
void mr_trace_lock(void);
void mr_trace_unlock(void);

void mr_trace_stale(const mr_iovec *iovec, const char *what);
void mr_trace_thread(const mr_iovec *iovec, const char *what);
void mr_trace_forgotten(const mr_iovec *iovec, const char *what);
/* Lets go of everything in quarantine. Result: the bytes that became free. */
uint64_t mr_trace_quarantine_empty(mr_memory *memory);
/* Reports what the memory still holds, for its end. */
void mr_trace_ended(mr_memory *memory);

#endif
