/*
 * trace_report.c - trace mode's faults and leaks in words: what was done, where, and who did what before it.
 */
#include "memory/trace_note.h"

#include <string.h>

static mr_site_groups forgotten; /* what the collector has caught, told at the end */

static int is_release(const char *what) {
  return !strcmp(what, "mr_iovec_release");
}

/* Who has the memory now that the note was once about. */
static void report_new_owner(const mr_trace_note *note) {
  for (const mr_trace_block *block = mr_trace_blocks; block; block = block->next)
    if (block->data < note->data + note->length && note->data < block->data + block->length) {
      mr_report_site("now held by", &block->made);
      return;
    }
}

static void report_past(const mr_iovec *iovec, const mr_trace_note *note, const char *what) {
  const char *deed = is_release(what) ? "release" : "use";
  const char *past = note->state == NOTE_MOVED ? "move" : "release";
  if (iovec->data)
    mr_report_begin("%s of a copied iovec after the %s of the original: %u bytes at %p", deed, past, note->length,
                    (void *)note->data);
  else if (note->state == NOTE_RELEASED && is_release(what))
    mr_report_begin("double release: %u bytes at %p", note->length, (void *)note->data);
  else
    mr_report_begin("%s after %s: %u bytes at %p", deed, past, note->length, (void *)note->data);
}

void mr_trace_stale(const mr_iovec *iovec, const char *what) {
  mr_site here;
  mr_trace_lock();
  mr_site_here(&here, what);
  const mr_trace_note *note = mr_trace_note_of(iovec->reference, iovec->generation);
  if (note && note->state != NOTE_LIVE) {
    report_past(iovec, note, what);
    mr_report_site("fault", &here);
    mr_report_site(note->state == NOTE_MOVED ? "moved" : "released", &note->ended);
    if (note->made.place != note->allocated.place || note->made.what != note->allocated.what)
      mr_report_site("made", &note->made);
    mr_report_site("allocated", &note->allocated);
    if (note->state == NOTE_RELEASED)
      report_new_owner(note);
  } else {
    mr_report_begin("%s of a stale iovec, made before the trace was on or very long ago",
                    is_release(what) ? "release" : "use");
    mr_report_site("fault", &here);
  }
  mr_report_end();
  mr_trace_unlock();
}

int mr_trace_use(const mr_iovec *iovec, const char *what) {
  if (!iovec->reference || mr_is_live(iovec))
    return 0;
  mr_trace_stale(iovec, what);
  return 1;
}

void mr_trace_thread(const mr_iovec *iovec, const char *what) {
  mr_site here;
  mr_trace_lock();
  mr_site_here(&here, what);
  const mr_trace_note *note = mr_trace_note_of(iovec->reference, iovec->generation);
  mr_report_begin("LOCAL iovec used on a thread that is not its own (allocate it with MR_IOVEC_SHARED)");
  mr_report_site("fault", &here);
  if (note)
    mr_report_site("allocated", &note->allocated);
  mr_report_end();
  mr_trace_unlock();
}

void mr_trace_forgotten(const mr_iovec *iovec, const char *what) {
  mr_trace_lock();
  const mr_trace_note *note = mr_trace_note_of(iovec->reference, iovec->generation);
  if (note && mr_groups_add(&forgotten, &note->allocated, note->length)) {
    mr_report_begin("leak: an iovec of %u bytes was %s (the first from this place; totals follow at the end)",
                    note->length, what);
    mr_report_site("allocated", &note->allocated);
    mr_report_end();
  }
  mr_trace_unlock();
}

void mr_trace_assign(const mr_iovec *iovec, int32_t scope) {
  mr_trace_lock();
  mr_trace_note *note = iovec->reference ? mr_trace_live_note(iovec->reference) : NULL;
  if (note && note->generation == iovec->generation)
    note->scope = scope;
  mr_trace_unlock();
}

static uint64_t groups_total(const mr_site_groups *groups) {
  uint64_t total = groups->more_count;
  for (int i = 0; i < groups->count; i++)
    total += groups->groups[i].count;
  return total;
}

int mr_trace_scope_ended(int32_t scope, const char *what) {
  if (!scope)
    return 0;
  static mr_site_groups groups; /* large; protected by the lock */
  mr_trace_lock();
  memset(&groups, 0, sizeof groups);
  for (mr_trace_note *note = mr_trace_live_notes; note; note = note->next)
    if (note->scope == scope) {
      mr_groups_add(&groups, &note->made, note->length);
      note->scope = 0;
    }
  uint64_t total = groups_total(&groups);
  if (total) {
    mr_report_begin("leak at scope exit: %llu iovec%s not released and not owned by %s", (unsigned long long)total,
                    total == 1 ? "" : "s", what);
    mr_groups_report(&groups, "allocated");
    mr_report_end();
  }
  mr_trace_unlock();
  return (int)total;
}

static int guards_check(const mr_memory *memory) {
  int faults = 0;
  for (mr_trace_block *block = mr_trace_blocks; block; block = block->next)
    if (block->memory == memory)
      faults += mr_trace_guard_check(block, NULL);
  return faults;
}

int mr_trace_check(mr_memory *memory) {
  mr_trace_lock();
  int faults = guards_check(memory);
  for (mr_trace_block *block = memory->quarantine.first; block; block = block->next)
    faults += mr_trace_poison_check(block);
  mr_trace_unlock();
  return faults;
}

void mr_trace_ended(mr_memory *memory) {
  static mr_site_groups groups;
  mr_trace_lock();
  guards_check(memory);
  memset(&groups, 0, sizeof groups);
  for (mr_trace_block *block = mr_trace_blocks; block; block = block->next)
    if (block->memory == memory)
      mr_groups_add(&groups, &block->made, block->length);
  if (groups.count) {
    mr_report_begin("leak at exit: %llu iovecs are still held", (unsigned long long)groups_total(&groups));
    mr_groups_report(&groups, "allocated");
    mr_report_end();
  }
  if (forgotten.count) {
    mr_report_begin("leaks that the collector has caught: %llu iovecs", (unsigned long long)groups_total(&forgotten));
    mr_groups_report(&forgotten, "allocated");
    mr_report_end();
    memset(&forgotten, 0, sizeof forgotten);
  }
  mr_trace_unlock();
}
