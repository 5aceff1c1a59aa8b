/*
 * reference.c - reference records, and what iovecs do with them: clone, move, narrow, release.
 *
 * Each iovec that is not empty owns one record. Records are recycled but never freed while the process lives, and each end and
 * each move raises the generation: a stale iovec finds another generation, whatever has become of its memory. A record whose
 * generation would wrap is retired.
 *
 * A released or moved-from iovec has no data and no length left but keeps its record's address and generation, which is how a
 * second release is told from the release of an empty iovec, and how trace mode knows whom to name.
 */
#include "memory/memory.h"

#include <stdlib.h>

#include "memory/iovec_internal.h"

enum { REFERENCES_PER_BLOCK = 256 };

typedef struct reference_block {
  mr_reference references[REFERENCES_PER_BLOCK];
  struct reference_block *next;
} reference_block;

/* What an ended memory leaves is taken up by the next. */
static struct {
  pthread_mutex_t lock;
  mr_reference *free;
  reference_block *blocks;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static mr_reference *block_add(void) {
  reference_block *block = aligned_alloc(_Alignof(reference_block), sizeof *block);
  if (!block)
    return NULL;
  block->next = store.blocks;
  store.blocks = block;
  mr_reference *list = NULL;
  for (int i = REFERENCES_PER_BLOCK - 1; i >= 0; i--) {
    block->references[i] = (mr_reference){.generation = 1, .next_free = list};
    list = &block->references[i];
  }
  return list;
}

mr_reference *mr_references_from_store(void) {
  pthread_mutex_lock(&store.lock);
  mr_reference *list = store.free;
  store.free = NULL;
  if (!list)
    list = block_add();
  pthread_mutex_unlock(&store.lock);
  return list;
}

void mr_references_to_store(mr_reference *list) {
  if (!list)
    return;
  mr_reference *last = list;
  while (last->next_free)
    last = last->next_free;
  pthread_mutex_lock(&store.lock);
  last->next_free = store.free;
  store.free = list;
  pthread_mutex_unlock(&store.lock);
}

int mr_references_refill(mr_memory *memory) {
  memory->references = mr_references_from_store();
  for (mr_reference *each = memory->references; each; each = each->next_free)
    each->special = 0; /* what was SHARED in another thread */
  return memory->references ? 0 : -ENOMEM;
}

static inline void reference_end_plain(mr_memory *memory, mr_reference *reference) {
  mr_chunk *chunk = reference->chunk;
  memory->usage -= (mr_usage){1, reference->capacity};
  mr_reference_give(memory, reference);
  mr_chunk_drop(memory, chunk);
}

void mr_reference_end(mr_memory *memory, mr_reference *reference) {
  uint32_t special = reference->special;
  if (special & REFERENCE_LUA)
    memory->account.lua_bytes -= reference->capacity;
  if ((special & REFERENCE_NOTED) && mr_trace_released(memory, reference, "mr_iovec_release"))
    reference->chunk->holders++; /* the quarantine's */
  reference->special = 0;
  reference_end_plain(memory, reference);
}

int mr_iovec_stale(const mr_iovec *iovec, const char *what) {
  if (mr_trace_on)
    mr_trace_stale(iovec, what);
  return -ESTALE;
}

int mr_iovec_wrong_thread(const mr_iovec *iovec, const char *what) {
  if (mr_trace_on)
    mr_trace_thread(iovec, what);
  return -EPERM;
}

/* Only the shell that a later call recognises as stale. */
static void iovec_empty(mr_iovec *iovec) {
  iovec->data = NULL;
  iovec->length = iovec->capacity = 0;
}

MR_COLD static int release_stale(mr_iovec *iovec) {
  if (!iovec->reference) {
    *iovec = (mr_iovec){0};
    return 0;
  }
  mr_iovec_stale(iovec, "mr_iovec_release");
  iovec_empty(iovec);
  return -ESTALE;
}

/* The release of a live iovec that is no plain one of this thread; it has been emptied. */
MR_COLD static int release_special(mr_iovec *iovec, uint8_t *data) {
  mr_reference *reference = iovec->reference;
  uint32_t special = reference->special;
  if (special & REFERENCE_SHARED)
    return mr_shared_release(reference, iovec->generation) ? mr_iovec_stale(iovec, "mr_iovec_release") : 0;
  mr_memory *memory = reference->chunk->memory;
  if (!mr_is_own(memory)) {
    if (mr_trace_on && __atomic_load_n(&memory->thread, __ATOMIC_RELAXED))
      mr_trace_thread(iovec, "mr_iovec_release");
    return mr_foreign_release(memory, reference, iovec->generation);
  }
  mr_own_memory = memory;
  if ((special & REFERENCE_RESERVED) && !(special & REFERENCE_NOTED))
    mr_chunk_give_back(memory, reference->chunk, data, data + reference->capacity);
  mr_reference_end(memory, reference);
  return 0;
}

int mr_iovec_release(mr_iovec *iovec) {
  mr_reference *reference = iovec->reference;
  if (__builtin_expect(!reference, 0) || !mr_generation_is(reference, iovec->generation))
    return release_stale(iovec);
  uint8_t *data = iovec->data;
  mr_memory *memory = mr_own_memory;
  iovec_empty(iovec);
  if (__builtin_expect(reference->special || reference->chunk->memory != memory, 0))
    return release_special(iovec, data);
  reference_end_plain(memory, reference);
  return 0;
}

int mr_iovecs_release(mr_iovec *iovecs, uint32_t count) {
  int first_error = 0;
  while (count--) { /* the last first, so that a reservation's space falls back into place */
    int error = mr_iovec_release(&iovecs[count]);
    if (error)
      first_error = error;
  }
  return first_error;
}

void mr_iovec_drop(mr_iovec *iovec) {
  if (mr_is_live(iovec))
    mr_iovec_release(iovec);
  *iovec = (mr_iovec){0};
}

void mr_iovec_finalize(mr_iovec *iovec) {
  if (!mr_is_live(iovec))
    return;
  mr_memory *memory = iovec->reference->chunk->memory;
  if (mr_is_own(memory)) { /* else it is over, and has told what it left */
    memory->leaks_caught++;
    if (mr_trace_on)
      mr_trace_forgotten(iovec, "left to the collector");
  }
  mr_iovec_drop(iovec);
}

/* Every clone but the plain one. */
MR_COLD static int clone_special(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length) {
  if (target == source)
    return -EINVAL;
  *target = (mr_iovec){0};
  mr_reference *reference = source->reference;
  if (!reference)
    return offset || length ? -EINVAL : 0;
  if (!mr_generation_is(reference, source->generation))
    return mr_iovec_stale(source, "mr_iovec_clone");
  if (offset > source->length || length > source->length - offset)
    return -EINVAL;
  if (reference->special & REFERENCE_SHARED)
    return mr_shared_clone(target, source, offset, length);
  mr_memory *memory = reference->chunk->memory;
  int entered = mr_memory_enter(memory);
  if (entered < 0)
    return mr_iovec_wrong_thread(source, "mr_iovec_clone");
  int error = reference->special & REFERENCE_RESERVED ? -EBUSY : 0;
  if (!error)
    error = mr_reference_make(memory, reference->chunk, source->data + offset, length, source->flags, target);
  if (!error && (reference->special & REFERENCE_NOTED))
    mr_trace_referenced(target->reference, reference, "mr_iovec_clone");
  mr_memory_leave(memory, entered);
  return error;
}

static inline int clone_segment(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length) {
  mr_reference *reference = source->reference;
  if (__builtin_expect(!reference || target == source, 0) || !mr_generation_is(reference, source->generation) ||
      __builtin_expect(reference->special & ~(uint32_t)REFERENCE_LUA, 0) ||
      __builtin_expect(offset > source->length || length > source->length - offset, 0))
    return clone_special(target, source, offset, length);
  mr_chunk *chunk = reference->chunk;
  mr_memory *memory = mr_own_memory;
  if (__builtin_expect(chunk->memory != memory || !memory->references, 0))
    return clone_special(target, source, offset, length);
  mr_reference *made = memory->references; /* here and not by a call, so that this path needs no stack frame */
  memory->references = made->next_free;
  mr_reference_fill(memory, made, chunk, source->data + offset, length, source->flags, target);
  return 0;
}

int mr_iovec_clone_segment(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length) {
  return clone_segment(target, source, offset, length);
}

int mr_iovec_clone(mr_iovec *target, const mr_iovec *source) {
  return clone_segment(target, source, 0, source->length);
}

int mr_iovec_move_segment(mr_iovec *target, mr_iovec *source, uint32_t offset, uint32_t length) {
  mr_iovec moved = *source;
  mr_reference *reference = moved.reference;
  if (reference && !mr_generation_is(reference, moved.generation))
    return mr_iovec_stale(source, "mr_iovec_move");
  if (offset > moved.length || length > moved.length - offset)
    return -EINVAL;
  if (!reference) {
    *target = (mr_iovec){0};
    return 0;
  }
  if (offset || length != moved.length) {
    moved.data += offset;
    moved.capacity = moved.length = length; /* the bytes around stay with the reference until it ends */
  }
  if (target == source) {
    *source = moved;
    return 0;
  }
  uint32_t next = moved.generation + 1 ? moved.generation + 1 : 1;
  if (reference->special & REFERENCE_SHARED) {
    if (!mr_shared_claim(reference, moved.generation, next))
      return mr_iovec_stale(source, "mr_iovec_move");
  } else {
    mr_memory *memory = reference->chunk->memory;
    int entered = mr_memory_enter(memory);
    if (entered < 0)
      return mr_iovec_wrong_thread(source, "mr_iovec_move");
    __atomic_store_n(&reference->generation, next, __ATOMIC_RELAXED);
    mr_memory_leave(memory, entered);
  }
  if (reference->special & REFERENCE_NOTED)
    mr_trace_moved(reference, next);
  moved.generation = next;
  *target = moved;
  iovec_empty(source);
  return 0;
}

int mr_iovec_move(mr_iovec *target, mr_iovec *source) {
  return target == source ? 0 : mr_iovec_move_segment(target, source, 0, source->length);
}

uint8_t *mr_iovec_data(const mr_iovec *iovec) {
  return mr_is_live(iovec) ? iovec->data : NULL;
}

uint32_t mr_iovec_length(const mr_iovec *iovec) {
  return mr_is_live(iovec) ? iovec->length : 0;
}

int mr_iovec_set_length(mr_iovec *iovec, uint32_t length) {
  mr_reference *reference = iovec->reference;
  if (reference && !mr_generation_is(reference, iovec->generation))
    return mr_iovec_stale(iovec, "mr_iovec_set_length");
  if (length > iovec->capacity)
    return -EINVAL;
  if (reference && !(reference->special & REFERENCE_SHARED) && !mr_is_own(reference->chunk->memory)) {
    int entered = mr_memory_enter(reference->chunk->memory);
    if (entered < 0)
      return mr_iovec_wrong_thread(iovec, "mr_iovec_set_length");
    mr_memory_leave(reference->chunk->memory, entered);
  }
  iovec->length = length;
  return 0;
}

int mr_iovec_holders(const mr_iovec *iovec) {
  if (!mr_is_live(iovec))
    return 0;
  const mr_reference *reference = iovec->reference;
  return reference->special & REFERENCE_SHARED ? (int)__atomic_load_n(&reference->root->holders, __ATOMIC_RELAXED)
                                               : (int)reference->chunk->holders;
}

void mr_iovec_hold(mr_iovec *iovec) {
  if (!mr_is_live(iovec))
    return;
  mr_reference *reference = iovec->reference;
  mr_chunk *chunk = reference->chunk;
  if ((reference->special & (REFERENCE_SHARED | REFERENCE_LUA)) || chunk->class == MR_CLASS_FOREIGN ||
      !mr_is_own(chunk->memory))
    return;
  reference->special |= REFERENCE_LUA;
  chunk->memory->account.lua_bytes += reference->capacity;
}

int mr_iovec_extend(mr_iovec *iovec, mr_iovec *next) {
  if (!mr_is_live(iovec) || !mr_is_live(next) || iovec->reference->chunk != next->reference->chunk ||
      iovec->data + iovec->length != next->data || iovec->length != iovec->capacity)
    return 0;
  mr_reference *reference = iovec->reference;
  uint32_t special = reference->special | next->reference->special;
  if ((special & ~(uint32_t)REFERENCE_NOTED) || !mr_is_own(reference->chunk->memory))
    return 0;
  if ((special & REFERENCE_NOTED) && !mr_trace_same(reference, next->reference))
    return 0;
  iovec->length += next->length;
  iovec->capacity += next->capacity;
  reference->capacity += next->capacity;
  reference->chunk->memory->iovec_bytes += next->capacity;
  mr_iovec_drop(next);
  return 1;
}
