/*
 * iovec.c - counted slices of chunks.
 *
 * Allocation bumps an offset in the open chunk of the request's class, so neighbours in time are neighbours in memory, which is
 * what lets the send path glue small pieces together without a copy. A chunk goes back to its slab when its last
 * reference is released; an open chunk that nobody holds any more starts again at its first byte, so a loop that allocates
 * and releases stays in the same cache lines.
 *
 * Each iovec owns one reference record. Records are recycled but never freed while the process lives, and each
 * recycling raises the generation: a stale copy of an iovec finds another generation, whatever has become of its memory.
 */
#include "slab.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "iovec_internal.h"
#include "poison.h"

enum {
  REFERENCES_PER_BLOCK = 256,
  ALLOCATIONS_PER_CHUNK = 8,     /* at the least: what bounds the memory that one small holder pins */
  BUMP_MAX = MR_CHUNK_BYTES / 2, /* longer ones get units of their own */
  LENGTH_MAX = INT32_MAX,
};

struct mr_reference {
  mr_chunk *chunk;
  mr_reference *next_free;
  uint32_t generation;
  uint32_t capacity;
};

struct mr_memory {
  mr_slabs slabs;
  mr_chunk *open[MR_CLASS_UNIT + 1];
  mr_reference *references; /* free records */
  uint64_t iovec_count, iovec_bytes, allocations;
  int orphaned; /* destroyed, but held: the last release frees it */
};

/* Records outlive the memory that made them, because a stale iovec may still ask one. What an ended memory leaves is taken
 * up by the next. */
static struct {
  pthread_mutex_t lock;
  mr_reference *free;
  struct reference_block *blocks;
} reference_store = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct reference_block {
  struct reference_block *next;
  mr_reference references[REFERENCES_PER_BLOCK];
} reference_block;

static mr_reference *references_from_store(void) {
  pthread_mutex_lock(&reference_store.lock);
  mr_reference *list = reference_store.free;
  reference_store.free = NULL;
  if (!list) {
    reference_block *block = calloc(1, sizeof *block);
    if (block) {
      block->next = reference_store.blocks;
      reference_store.blocks = block;
      for (int i = REFERENCES_PER_BLOCK - 1; i >= 0; i--) {
        block->references[i].generation = 1;
        block->references[i].next_free = list;
        list = &block->references[i];
      }
    }
  }
  pthread_mutex_unlock(&reference_store.lock);
  return list;
}

static void references_to_store(mr_reference *list) {
  if (!list)
    return;
  mr_reference *last = list;
  while (last->next_free)
    last = last->next_free;
  pthread_mutex_lock(&reference_store.lock);
  last->next_free = reference_store.free;
  reference_store.free = list;
  pthread_mutex_unlock(&reference_store.lock);
}

int mr_memory_create(uint64_t limit_bytes, mr_memory **out) {
  mr_memory *memory = calloc(1, sizeof *memory);
  if (!memory)
    return -ENOMEM;
  memory->slabs.limit_bytes = limit_bytes;
  *out = memory;
  return 0;
}

static void memory_free(mr_memory *memory) {
  references_to_store(memory->references);
  mr_slabs_destroy(&memory->slabs);
  free(memory);
}

static void chunk_close(mr_memory *memory, mr_chunk *chunk) {
  memory->open[chunk->class] = NULL;
  chunk->open = 0;
  if (!chunk->holders)
    mr_chunk_return(&memory->slabs, chunk);
}

int64_t mr_memory_destroy(mr_memory *memory) {
  for (int class = 0; class <= MR_CLASS_UNIT; class ++)
    if (memory->open[class])
      chunk_close(memory, memory->open[class]);
  int64_t held = (int64_t)memory->iovec_count;
  if (held)
    memory->orphaned = 1;
  else
    memory_free(memory);
  return held;
}

void mr_memory_statistics_get(const mr_memory *memory, mr_memory_statistics *out) {
  *out = (mr_memory_statistics){
      .slab_count = memory->slabs.slab_count,
      .slab_bytes = memory->slabs.slab_count * MR_SLAB_BYTES,
      .slab_bytes_peak = memory->slabs.slab_count_peak * MR_SLAB_BYTES,
      .chunk_count = memory->slabs.chunk_count,
      .chunk_bytes = memory->slabs.chunk_bytes,
      .iovec_count = memory->iovec_count,
      .iovec_bytes = memory->iovec_bytes,
      .allocations = memory->allocations,
  };
}

/* Fills *out with a new reference to `capacity` bytes of chunk at data. Result: 0 or -ENOMEM. */
static int reference_make(mr_memory *memory, mr_chunk *chunk, uint8_t *data, uint32_t capacity, mr_iovec *out) {
  if (!memory->references && !(memory->references = references_from_store()))
    return -ENOMEM;
  mr_reference *reference = memory->references;
  memory->references = reference->next_free;
  reference->chunk = chunk;
  reference->capacity = capacity;
  chunk->holders++;
  memory->iovec_count++;
  memory->iovec_bytes += capacity;
  *out = (mr_iovec){data, reference, capacity, capacity, reference->generation, 0};
  return 0;
}

static int is_live(const mr_iovec *iovec) {
  return iovec->reference && iovec->reference->generation == iovec->generation;
}

static mr_chunk_class class_of(uint32_t length) {
  mr_chunk_class class = MR_CLASS_SMALL;
  while (class < MR_CLASS_UNIT && length > mr_chunk_sizes[class] / ALLOCATIONS_PER_CHUNK)
    class ++;
  return class;
}

static uint32_t align_up(uint32_t offset, uint32_t alignment) {
  return (offset + alignment - 1) & ~(alignment - 1);
}

/* Takes `length` bytes from the open chunk, which has them at `offset`. */
static int bump(mr_memory *memory, mr_chunk *chunk, uint32_t offset, uint32_t length, mr_iovec *out) {
  int error = reference_make(memory, chunk, chunk->base + offset, length, out);
  if (error)
    return error;
  chunk->offset = offset + length;
  MR_UNPOISON(out->data, length);
  return 0;
}

/* Opens a fresh chunk of the class in place of the one in use. */
static mr_chunk *open_next(mr_memory *memory, mr_chunk_class class) {
  mr_chunk *chunk;
  if (mr_chunk_acquire(&memory->slabs, memory, class, 0, 0, &chunk))
    return NULL;
  if (memory->open[class])
    chunk_close(memory, memory->open[class]);
  memory->open[class] = chunk;
  chunk->open = 1;
  return chunk;
}

/* One contiguous piece from fresh memory. */
static int allocate_fresh(mr_memory *memory, mr_chunk_class class, uint32_t length, uint32_t alignment, mr_iovec *out) {
  if (length <= BUMP_MAX && alignment <= MR_CHUNK_BYTES) {
    while (mr_chunk_sizes[class] < alignment)
      class ++;
    mr_chunk *chunk = open_next(memory, class);
    return chunk ? bump(memory, chunk, 0, length, out) : -ENOMEM;
  }
  mr_chunk *chunk;
  int error = mr_chunk_acquire(&memory->slabs, memory, MR_CLASS_RUN, length, alignment, &chunk);
  if (error)
    return error;
  error = bump(memory, chunk, 0, length, out);
  if (error)
    mr_chunk_return(&memory->slabs, chunk);
  return error;
}

/* The rest of the open chunk first, then fresh pieces of up to a slab. */
static int allocate_pieces(mr_memory *memory, mr_chunk_class class, uint32_t length, uint32_t alignment,
                           uint32_t max_iovecs, mr_iovec *out) {
  mr_chunk *open = memory->open[class];
  uint32_t saved_offset = open ? open->offset : 0;
  uint32_t at = open ? align_up(saved_offset, alignment) : 0;
  uint32_t tail = open && at < open->size ? open->size - at : 0;
  if (max_iovecs == 1)
    tail = 0;
  uint32_t fresh = tail < length ? length - tail : 0;
  if ((tail > 0) + (fresh + MR_SLAB_BYTES - 1) / MR_SLAB_BYTES > max_iovecs)
    return -ENOBUFS;

  int count = 0, error = 0;
  if (tail)
    error = bump(memory, open, at, tail < length ? tail : length, &out[count++]);
  while (!error && fresh) {
    uint32_t piece = fresh < MR_SLAB_BYTES ? fresh : MR_SLAB_BYTES;
    error = allocate_fresh(memory, class, piece, alignment, &out[count++]);
    fresh -= piece;
  }
  if (!error)
    return count;
  for (int i = 0; i < count; i++)
    mr_iovec_release(&out[i]);
  if (tail && memory->open[class] == open && open->holders)
    open->offset = saved_offset;
  return error;
}

int mr_iovec_alloc(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, uint32_t flags,
                   mr_iovec *out) {
  if (max_iovecs == 0)
    return -EINVAL;
  out[0] = (mr_iovec){0};
  if (max_iovecs > 1)
    memset(out, 0, max_iovecs * sizeof *out);
  if (length > LENGTH_MAX || flags)
    return -EINVAL;
  if (alignment == 0)
    alignment = 1;
  if (alignment > MR_ALIGNMENT_MAX || (alignment & (alignment - 1)))
    return -EINVAL;
  if (length == 0)
    return 0;

  mr_chunk_class class = class_of(length);
  mr_chunk *open = memory->open[class];
  if (open) {
    uint32_t at = align_up(open->offset, alignment);
    if (alignment <= open->size && at < open->size && length <= open->size - at && length <= BUMP_MAX) {
      memory->allocations++;
      int error = bump(memory, open, at, length, out);
      return error ? error : 1;
    }
  }
  if (alignment > mr_chunk_sizes[class])
    max_iovecs = 1;
  int count = allocate_pieces(memory, class, length, alignment, max_iovecs, out);
  if (count > 0)
    memory->allocations++;
  return count;
}

int mr_iovec_release(mr_iovec *iovec) {
  mr_reference *reference = iovec->reference;
  if (!reference) {
    *iovec = (mr_iovec){0};
    return 0;
  }
  int live = reference->generation == iovec->generation;
  *iovec = (mr_iovec){0};
  if (!live)
    return -ESTALE;
  mr_chunk *chunk = reference->chunk;
  mr_memory *memory = chunk->memory;
  memory->iovec_count--;
  memory->iovec_bytes -= reference->capacity;
  reference->generation++;
  reference->next_free = memory->references;
  memory->references = reference;
  if (--chunk->holders == 0) {
    if (chunk->open) {
      MR_POISON(chunk->base, chunk->size);
      chunk->offset = 0;
    } else {
      mr_chunk_return(&memory->slabs, chunk);
      if (memory->orphaned && memory->iovec_count == 0)
        memory_free(memory);
    }
  }
  return 0;
}

int mr_iovec_clone_segment(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length) {
  const mr_iovec from = *source;
  if (!is_live(&from)) {
    *target = (mr_iovec){0};
    return from.reference || offset || length ? -ESTALE : 0;
  }
  if (offset > from.length || length > from.length - offset)
    return -EINVAL;
  mr_chunk *chunk = from.reference->chunk;
  return reference_make(chunk->memory, chunk, from.data + offset, length, target);
}

int mr_iovec_clone(mr_iovec *target, const mr_iovec *source) {
  int error = mr_iovec_clone_segment(target, source, 0, source->length);
  return error;
}

int mr_iovec_move(mr_iovec *target, mr_iovec *source) {
  if (target == source)
    return 0;
  if (source->reference && !is_live(source))
    return -ESTALE;
  *target = *source;
  *source = (mr_iovec){0};
  return 0;
}

int mr_iovec_holders(const mr_iovec *iovec) {
  return is_live(iovec) ? (int)iovec->reference->chunk->holders : 0;
}

int mr_iovec_extend(mr_iovec *iovec, mr_iovec *next) {
  if (!is_live(iovec) || !is_live(next) || iovec->reference->chunk != next->reference->chunk ||
      iovec->data + iovec->length != next->data || iovec->length != iovec->capacity)
    return 0;
  iovec->length += next->length;
  iovec->capacity += next->capacity;
  iovec->reference->capacity += next->capacity;
  iovec->reference->chunk->memory->iovec_bytes += next->capacity;
  mr_iovec_release(next);
  return 1;
}

uint8_t *mr_iovec_room(const mr_iovec *iovec, uint32_t length) {
  const mr_chunk *chunk = iovec->reference->chunk;
  uint8_t *end = iovec->data + iovec->length;
  if (!chunk->open || end != chunk->base + chunk->offset || length > chunk->size - chunk->offset)
    return NULL;
  MR_UNPOISON(end, length);
  return end;
}

void mr_iovec_grow(mr_iovec *iovec, uint32_t length) {
  mr_reference *reference = iovec->reference;
  mr_chunk *chunk = reference->chunk;
  chunk->offset += length;
  iovec->length += length;
  iovec->capacity += length;
  reference->capacity += length;
  chunk->memory->iovec_bytes += length;
}

int mr_iovec_trim(mr_iovec *iovec, uint32_t length) {
  if (length > iovec->length)
    return -EINVAL;
  if (!is_live(iovec))
    return iovec->reference ? -ESTALE : 0;
  mr_reference *reference = iovec->reference;
  mr_chunk *chunk = reference->chunk;
  if (chunk->open && iovec->data + iovec->capacity == chunk->base + chunk->offset) {
    uint32_t rest = iovec->capacity - length;
    chunk->offset -= rest;
    MR_POISON(iovec->data + length, rest);
    iovec->capacity = length;
    reference->capacity -= rest;
    chunk->memory->iovec_bytes -= rest;
  }
  iovec->length = length;
  return 0;
}
