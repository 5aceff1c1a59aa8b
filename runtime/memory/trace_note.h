/*
 * trace_note.h - internal to trace mode: what is known of an allocation and of a reference. trace.c keeps the notes, trace_report.c
 * reads them. Everything here is under the trace's lock.
 */
#ifndef MR_TRACE_NOTE_H
#define MR_TRACE_NOTE_H

#include "memory/memory.h"
#include "memory/trace_site.h"

/* Stands for an allocation. */
struct mr_trace_block {
  mr_trace_block *previous, *next; /* among the live ones, or in a quarantine */
  mr_memory *memory;
  mr_chunk *chunk;
  uint8_t *data;
  uint32_t length, guard;
  uint32_t references;
  int guard_reported;
  mr_site made, ended;
};

/* Stands for one generation of a reference record. */
typedef enum note_state { NOTE_LIVE, NOTE_RELEASED, NOTE_MOVED } note_state;

struct mr_trace_note {
  mr_trace_note *previous, *next; /* among the live ones, or those of the past, the oldest first */
  mr_trace_note *older, *newer;   /* of the same record */
  mr_reference *reference;
  mr_trace_block *block; /* while live */
  uint8_t *data;
  uint32_t length, generation;
  int32_t scope;
  note_state state;
  mr_site allocated, made, ended;
};

extern mr_trace_block *mr_trace_blocks; /* the live ones */
extern mr_trace_note *mr_trace_live_notes;

/* The note of a generation, and that of the present one; NULL when there is none. */
mr_trace_note *mr_trace_note_of(const mr_reference *reference, uint32_t generation);
mr_trace_note *mr_trace_live_note(const mr_reference *reference);

/* Look at the bytes behind a block, and at those of a released one. Result: the faults reported. */
int mr_trace_guard_check(mr_trace_block *block, const mr_site *seen);
int mr_trace_poison_check(mr_trace_block *block);

#endif
