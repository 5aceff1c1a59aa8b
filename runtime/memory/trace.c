/*
 * trace.c - trace mode: notes on references, guards behind allocations, the quarantine.
 *
 * A block stands for an allocation, a note for one generation of a reference record: who made it and who ended it. Notes of
 * the past hang behind the record's present one, a bounded number in all, so that a stale iovec, which knows its record
 * and generation, finds who released or moved what it once held, also after the memory was handed out again. trace_report.c tells.
 *
 * A block whose last reference has gone is filled with a pattern and kept by its memory's quarantine, which holds the chunk; what
 * changes the pattern has written after the release. The mode may be switched on and off at any time: what was allocated without
 * it has no note, and is left alone.
 *
 * One lock for everything: this mode is for finding faults, not for speed.
 */
#include "memory/trace_note.h"

#include <stdlib.h>
#include <string.h>

enum {
  GUARD_BYTE = 0xfb,
  POISON_BYTE = 0xdd,
  NOTES_PAST_MAX = 16384,
  QUARANTINE_BYTES_MAX = 8388608,
};

int mr_trace_on;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
mr_trace_block *mr_trace_blocks;
mr_trace_note *mr_trace_live_notes;
static mr_trace_note *past_first, *past_last;
static int past_count;
static _Thread_local int32_t current_scope __attribute__((tls_model("initial-exec")));

void mr_trace_lock(void) {
  pthread_mutex_lock(&lock);
}

void mr_trace_unlock(void) {
  pthread_mutex_unlock(&lock);
}

void mr_trace_enable(int on) {
  mr_trace_on = on != 0;
}

int mr_trace_enabled(void) {
  return mr_trace_on;
}

__attribute__((constructor)) static void enable_from_environment(void) {
#ifdef MOONRING_IOVEC_TRACE
  mr_trace_on = 1;
#endif
  const char *wanted = getenv("MOONRING_TRACE");
  if (wanted && strstr(wanted, "iovec"))
    mr_trace_on = 1;
}

void mr_trace_scope(int32_t scope) {
  current_scope = scope;
}

/* Lists ------------------------------------------------------------------------------------------------------------ */

static void block_link(mr_trace_block *block) {
  block->previous = NULL;
  block->next = mr_trace_blocks;
  if (mr_trace_blocks)
    mr_trace_blocks->previous = block;
  mr_trace_blocks = block;
}

static void block_unlink(mr_trace_block *block) {
  if (block->previous)
    block->previous->next = block->next;
  else
    mr_trace_blocks = block->next;
  if (block->next)
    block->next->previous = block->previous;
}

static void note_make(mr_reference *reference, uint32_t generation, mr_trace_block *block, const char *what) {
  mr_trace_note *note = calloc(1, sizeof *note);
  if (!note)
    return; /* without its note the reference is as without the mode, but for its block, which then counts as held */
  note->reference = reference;
  note->generation = generation;
  note->block = block;
  note->data = block->data;
  note->length = block->length;
  note->allocated = block->made;
  mr_site_here(&note->made, what);
  note->scope = note->made.place && what ? current_scope : 0;
  note->older = reference->note;
  if (note->older)
    note->older->newer = note;
  reference->note = note;
  reference->special |= REFERENCE_NOTED;
  note->next = mr_trace_live_notes;
  if (mr_trace_live_notes)
    mr_trace_live_notes->previous = note;
  mr_trace_live_notes = note;
}

static void past_drop_oldest(void) {
  mr_trace_note *note = past_first;
  past_first = note->next;
  past_first->previous = NULL;
  past_count--;
  if (note->newer)
    note->newer->older = NULL;
  else
    note->reference->note = NULL;
  free(note);
}

static void note_end(mr_trace_note *note, note_state state, const char *what) {
  if (note->previous)
    note->previous->next = note->next;
  else
    mr_trace_live_notes = note->next;
  if (note->next)
    note->next->previous = note->previous;
  note->state = state;
  note->block = NULL;
  mr_site_here(&note->ended, what);
  note->next = NULL;
  note->previous = past_last;
  if (past_last)
    past_last->next = note;
  else
    past_first = note;
  past_last = note;
  if (++past_count > NOTES_PAST_MAX)
    past_drop_oldest();
}

mr_trace_note *mr_trace_note_of(const mr_reference *reference, uint32_t generation) {
  mr_trace_note *note = reference->note;
  while (note && note->generation != generation)
    note = note->older;
  return note;
}

mr_trace_note *mr_trace_live_note(const mr_reference *reference) {
  return reference->note && reference->note->state == NOTE_LIVE ? reference->note : NULL;
}

/* Guards and poison ------------------------------------------------------------------------------------------------ */

/* Offset of the first byte that differs from `value`, or -1. */
static int64_t first_other(const uint8_t *bytes, uint32_t count, uint8_t value) {
  for (uint32_t i = 0; i < count; i++)
    if (bytes[i] != value)
      return i;
  return -1;
}

int mr_trace_guard_check(mr_trace_block *block, const mr_site *seen) {
  int64_t at = first_other(block->data + block->length, block->guard, GUARD_BYTE);
  if (at < 0 || block->guard_reported)
    return 0;
  block->guard_reported = 1;
  mr_report_begin("write past the end: byte %lld of an iovec of %u bytes at %p was changed",
                  (long long)(block->length + at), block->length, (void *)block->data);
  if (seen)
    mr_report_site("found by", seen);
  mr_report_site("allocated", &block->made);
  mr_report_end();
  return 1;
}

int mr_trace_poison_check(mr_trace_block *block) {
  int64_t at = first_other(block->data, block->length, POISON_BYTE);
  if (at < 0)
    return mr_trace_guard_check(block, NULL);
  mr_report_begin("write after release: byte %lld of an iovec of %u bytes at %p was changed", (long long)at,
                  block->length, (void *)block->data);
  mr_report_site("released", &block->ended);
  mr_report_site("allocated", &block->made);
  mr_report_end();
  memset(block->data, POISON_BYTE, block->length);
  return 1;
}

static uint64_t quarantine_drop_oldest(mr_memory *memory) {
  mr_quarantine *quarantine = &memory->quarantine;
  mr_trace_block *block = quarantine->first;
  quarantine->first = block->next;
  if (!block->next)
    quarantine->last = NULL;
  uint64_t bytes = block->length;
  quarantine->bytes -= bytes;
  mr_trace_poison_check(block);
  mr_chunk_drop(memory, block->chunk);
  free(block);
  return bytes;
}

static void quarantine_add(mr_memory *memory, mr_trace_block *block) {
  mr_quarantine *quarantine = &memory->quarantine;
  memset(block->data, POISON_BYTE, block->length);
  block->next = NULL;
  if (quarantine->last)
    quarantine->last->next = block;
  else
    quarantine->first = block;
  quarantine->last = block;
  quarantine->bytes += block->length;
  while (quarantine->bytes > QUARANTINE_BYTES_MAX && quarantine->first != block)
    quarantine_drop_oldest(memory);
}

uint64_t mr_trace_quarantine_empty(mr_memory *memory) {
  if (!memory->quarantine.first)
    return 0;
  uint64_t bytes = 0;
  mr_trace_lock();
  while (memory->quarantine.first)
    bytes += quarantine_drop_oldest(memory);
  mr_trace_unlock();
  return bytes;
}

/* What happens to iovecs ------------------------------------------------------------------------------------------- */

void mr_trace_allocated(mr_memory *memory, mr_chunk *chunk, mr_reference *reference, uint8_t *data, uint32_t length,
                        uint32_t guard, const char *what) {
  mr_trace_block *block = calloc(1, sizeof *block);
  if (!block)
    return;
  *block = (mr_trace_block){
      .memory = memory, .chunk = chunk, .data = data, .length = length, .guard = guard, .references = 1};
  memset(data + length, GUARD_BYTE, guard);
  mr_trace_lock();
  mr_site_here(&block->made, what);
  block_link(block);
  note_make(reference, reference->generation, block, what);
  mr_trace_unlock();
}

void mr_trace_referenced(mr_reference *reference, mr_reference *source, const char *what) {
  mr_trace_lock();
  mr_trace_note *note = mr_trace_live_note(source);
  if (note) {
    note->block->references++;
    note_make(reference, reference->generation, note->block, what);
  }
  mr_trace_unlock();
}

int mr_trace_released(mr_memory *memory, mr_reference *reference, const char *what) {
  int kept = 0;
  mr_trace_lock();
  mr_trace_note *note = mr_trace_live_note(reference);
  if (note) {
    mr_trace_block *block = note->block;
    note_end(note, NOTE_RELEASED, what);
    mr_site_here(&block->ended, what);
    mr_trace_guard_check(block, &block->ended);
    if (--block->references == 0) {
      block_unlink(block);
      if (block->chunk->class != MR_CLASS_FOREIGN && !memory->orphaned) {
        quarantine_add(memory, block);
        kept = 1;
      } else {
        free(block);
      }
    }
  }
  mr_trace_unlock();
  return kept;
}

void mr_trace_moved(mr_reference *reference, uint32_t next) {
  mr_trace_lock();
  mr_trace_note *note = mr_trace_live_note(reference);
  if (note) {
    mr_trace_block *block = note->block;
    int32_t scope = note->scope;
    mr_site made = note->made;
    note_end(note, NOTE_MOVED, "mr_iovec_move");
    note_make(reference, next, block, made.what);
    if ((note = mr_trace_live_note(reference))) {
      note->made = made;
      note->scope = scope;
    }
  }
  mr_trace_unlock();
}

uint32_t mr_trace_shrunk(mr_reference *reference, uint32_t length) {
  uint32_t guard = 0;
  mr_trace_lock();
  mr_trace_note *note = mr_trace_live_note(reference);
  if (note) {
    mr_trace_block *block = note->block;
    mr_site here;
    mr_site_here(&here, "mr_iovec_commit");
    mr_trace_guard_check(block, &here);
    guard = block->guard;
    block->length = note->length = length;
    memset(block->data + length, GUARD_BYTE, guard);
  }
  mr_trace_unlock();
  return guard;
}

uint32_t mr_trace_guard_of(const mr_reference *reference) {
  mr_trace_lock();
  const mr_trace_note *note = mr_trace_live_note(reference);
  uint32_t guard = note ? note->block->guard : 0;
  mr_trace_unlock();
  return guard;
}

int mr_trace_same(const mr_reference *left, const mr_reference *right) {
  mr_trace_lock();
  const mr_trace_note *one = mr_trace_live_note(left), *other = mr_trace_live_note(right);
  int same = one ? other && one->block == other->block : !other;
  mr_trace_unlock();
  return same;
}
