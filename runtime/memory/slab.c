/*
 * slab.c - slabs and chunks.
 *
 * A slab is a mapping of 4 MiB, aligned to its size, so that the alignment of a chunk inside it is the alignment of its address.
 * It is 64 units of 64 KiB; a 64-bit mask knows which are free, and a run of units is found with a few shifts. Small chunks
 * come from units that are split into equal parts with a mask of their own. All bookkeeping lies outside the mapping: a
 * handler that writes past its slice can hurt bytes, not the allocator.
 *
 * Memory goes back to the system by decay: what was free at two looks in a row, and not used between them, is given back. So a
 * service around its working point neither maps nor faults, and one that has gone quiet shrinks to what is held. Only
 * beyond a few free slabs is one unmapped at once. A small holder that pins a slab pins its own page of it: the free rest is
 * handed back by madvise.
 */
#include "memory/slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/poison.h"

const uint32_t mr_chunk_sizes[MR_CLASS_UNIT + 1] = {4096, 16384, MR_CHUNK_BYTES};

enum { DESCRIPTORS_PER_BLOCK = 128, FREE_SLABS_KEPT = 4 };

typedef struct descriptor_block {
  struct descriptor_block *next;
  mr_chunk chunks[DESCRIPTORS_PER_BLOCK];
} descriptor_block;

static mr_chunk *descriptor_take(mr_slabs *slabs) {
  if (!slabs->descriptors) {
    descriptor_block *block = calloc(1, sizeof *block);
    if (!block)
      return NULL;
    block->next = slabs->descriptor_blocks;
    slabs->descriptor_blocks = block;
    for (int i = DESCRIPTORS_PER_BLOCK - 1; i >= 0; i--) {
      block->chunks[i].next_free = slabs->descriptors;
      slabs->descriptors = &block->chunks[i];
    }
  }
  mr_chunk *chunk = slabs->descriptors;
  slabs->descriptors = chunk->next_free;
  return chunk;
}

static void descriptor_give(mr_slabs *slabs, mr_chunk *chunk) {
  chunk->next_free = slabs->descriptors;
  slabs->descriptors = chunk;
}

/* Maps MR_SLAB_BYTES aligned to their own size: twice as much is mapped, and what lies around is cut off. */
static uint8_t *slab_map(void) {
  uint8_t *raw = mmap(NULL, 2 * (size_t)MR_SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED)
    return NULL;
  uint8_t *base = (uint8_t *)(((uintptr_t)raw + MR_SLAB_BYTES - 1) & ~(uintptr_t)(MR_SLAB_BYTES - 1));
  if (base > raw)
    munmap(raw, (size_t)(base - raw));
  size_t behind = (size_t)(raw + 2 * (size_t)MR_SLAB_BYTES - (base + MR_SLAB_BYTES));
  if (behind)
    munmap(base + MR_SLAB_BYTES, behind);
  return base;
}

static mr_slab *slab_add(mr_slabs *slabs) {
  if (slabs->limit_bytes && (slabs->slab_count + 1) * MR_SLAB_BYTES > slabs->limit_bytes)
    return NULL;
  mr_slab *slab = calloc(1, sizeof *slab);
  if (!slab)
    return NULL;
  slab->base = slab_map();
  if (!slab->base) {
    free(slab);
    return NULL;
  }
  MR_POISON(slab->base, MR_SLAB_BYTES);
  slab->free = UINT64_MAX;
  for (int i = 0; i < MR_UNITS_PER_SLAB; i++)
    slab->units[i] = (mr_unit){.slab = slab, .class = MR_CLASS_COUNT};
  slab->next = slabs->slabs;
  if (slab->next)
    slab->next->previous = slab;
  slabs->slabs = slab;
  slabs->slab_count++;
  slabs->free_slab_count++;
  if (slabs->slab_count > slabs->slab_count_peak)
    slabs->slab_count_peak = slabs->slab_count;
  return slab;
}

static void slab_remove(mr_slabs *slabs, mr_slab *slab) {
  if (slab->previous)
    slab->previous->next = slab->next;
  else
    slabs->slabs = slab->next;
  if (slab->next)
    slab->next->previous = slab->previous;
  slabs->slab_count--;
  slabs->free_slab_count--;
  slabs->dirty_units -= (uint64_t)__builtin_popcountll(slab->dirty);
  MR_UNPOISON(slab->base, MR_SLAB_BYTES);
  munmap(slab->base, MR_SLAB_BYTES);
  free(slab);
}

static uint64_t units_mask(unsigned count) {
  return count == 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1;
}

/* Index of the first of `count` free units in a row whose index is a multiple of `step` (a power of two), or -1. */
static int units_find(uint64_t free, unsigned count, unsigned step) {
  uint64_t starts = free;
  for (unsigned have = 1; starts && have < count;) {
    unsigned shift = have < count - have ? have : count - have;
    starts &= starts >> shift;
    have += shift;
  }
  if (step > 1)
    starts &= step >= 64 ? 1 : UINT64_MAX / units_mask(step);
  return starts ? __builtin_ctzll(starts) : -1;
}

static mr_unit *units_take(mr_slabs *slabs, unsigned count, unsigned step) {
  int at = -1;
  mr_slab *slab;
  for (slab = slabs->slabs; slab; slab = slab->next)
    if ((at = units_find(slab->free, count, step)) >= 0)
      break;
  if (!slab) {
    slab = slab_add(slabs);
    if (!slab)
      return NULL;
    at = 0;
  }
  if (slab->free == UINT64_MAX)
    slabs->free_slab_count--;
  uint64_t taken = units_mask(count) << at;
  slabs->dirty_units -= (uint64_t)__builtin_popcountll(slab->dirty & taken);
  slab->free &= ~taken;
  slab->dirty &= ~taken;
  slab->idle &= ~taken;
  return &slab->units[at];
}

static void units_give(mr_slabs *slabs, mr_unit *unit, unsigned count) {
  mr_slab *slab = unit->slab;
  uint64_t given = units_mask(count) << (unit - slab->units);
  slab->free |= given;
  slab->dirty |= given;
  slabs->dirty_units += count;
  if (slab->free != UINT64_MAX)
    return;
  slabs->free_slab_count++;
  if (slabs->free_slab_count > FREE_SLABS_KEPT)
    slab_remove(slabs, slab);
}

static void split_link(mr_slabs *slabs, mr_unit *unit) {
  mr_unit **head = &slabs->split[unit->class];
  unit->previous = NULL;
  unit->next = *head;
  if (unit->next)
    unit->next->previous = unit;
  *head = unit;
}

static void split_unlink(mr_slabs *slabs, mr_unit *unit) {
  if (unit->previous)
    unit->previous->next = unit->next;
  else
    slabs->split[unit->class] = unit->next;
  if (unit->next)
    unit->next->previous = unit->previous;
}

static uint8_t *unit_base(const mr_unit *unit) {
  return unit->slab->base + (size_t)(unit - unit->slab->units) * MR_CHUNK_BYTES;
}

static uint16_t split_full_mask(mr_chunk_class class) {
  return (uint16_t)((1u << (MR_CHUNK_BYTES / mr_chunk_sizes[class])) - 1);
}

/* Takes one part of a split unit, splitting a fresh one when none has room. */
static int split_take(mr_slabs *slabs, mr_chunk *chunk, mr_chunk_class class) {
  mr_unit *unit = slabs->split[class];
  if (!unit) {
    unit = units_take(slabs, 1, 1);
    if (!unit)
      return -ENOMEM;
    unit->class = (uint8_t) class;
    unit->free = split_full_mask(class);
    unit->dirty = unit->idle = 0;
    split_link(slabs, unit);
  }
  int part = __builtin_ctz(unit->free);
  uint16_t taken = (uint16_t)(1u << part);
  unit->free &= (uint16_t)~taken;
  slabs->dirty_chunks -= (unit->dirty & taken) != 0;
  unit->dirty &= (uint16_t)~taken;
  unit->idle &= (uint16_t)~taken;
  if (!unit->free)
    split_unlink(slabs, unit);
  chunk->unit = unit;
  chunk->size = mr_chunk_sizes[class];
  chunk->base = unit_base(unit) + (size_t)part * chunk->size;
  return 0;
}

static void split_give(mr_slabs *slabs, mr_chunk *chunk) {
  mr_unit *unit = chunk->unit;
  if (!unit->free)
    split_link(slabs, unit);
  uint16_t given = (uint16_t)(1u << ((size_t)(chunk->base - unit_base(unit)) / chunk->size));
  unit->free |= given;
  unit->dirty |= given;
  slabs->dirty_chunks++;
  if (unit->free == split_full_mask((mr_chunk_class)chunk->class)) {
    split_unlink(slabs, unit);
    slabs->dirty_chunks -= (uint64_t)__builtin_popcount(unit->dirty);
    unit->dirty = unit->idle = 0;
    unit->class = MR_CLASS_COUNT;
    units_give(slabs, unit, 1);
  }
}

int mr_chunk_acquire(mr_slabs *slabs, mr_memory *memory, mr_chunk_class class, uint32_t bytes, uint32_t alignment,
                     mr_chunk **out) {
  mr_chunk *chunk = descriptor_take(slabs);
  if (!chunk)
    return -ENOMEM;
  int error = 0;
  if (class < MR_CLASS_UNIT) {
    error = split_take(slabs, chunk, class);
  } else {
    unsigned count = class == MR_CLASS_UNIT ? 1 : (bytes + MR_CHUNK_BYTES - 1) / MR_CHUNK_BYTES;
    unsigned step = alignment > MR_CHUNK_BYTES ? alignment / MR_CHUNK_BYTES : 1;
    chunk->unit = units_take(slabs, count, step);
    if (chunk->unit) {
      chunk->unit->class = MR_CLASS_COUNT; /* not split */
      chunk->base = unit_base(chunk->unit);
      chunk->size = count * MR_CHUNK_BYTES;
    } else {
      error = -ENOMEM;
    }
  }
  if (error) {
    descriptor_give(slabs, chunk);
    return error;
  }
  chunk->memory = memory;
  chunk->next_free = NULL;
  chunk->offset = 0;
  chunk->holders = 0;
  chunk->class = (uint8_t) class;
  chunk->open = 0;
  slabs->chunk_count++;
  slabs->chunk_bytes += chunk->size;
  *out = chunk;
  return 0;
}

void mr_chunk_return(mr_slabs *slabs, mr_chunk *chunk) {
  slabs->chunk_count--;
  slabs->chunk_bytes -= chunk->size;
  MR_POISON(chunk->base, chunk->size);
  if (chunk->class < MR_CLASS_UNIT)
    split_give(slabs, chunk);
  else
    units_give(slabs, chunk->unit, chunk->size / MR_CHUNK_BYTES);
  descriptor_give(slabs, chunk);
}

mr_chunk *mr_chunk_foreign(mr_slabs *slabs, mr_memory *memory, uint8_t *data, uint32_t length) {
  mr_chunk *chunk = descriptor_take(slabs);
  if (chunk)
    *chunk = (mr_chunk){.base = data, .memory = memory, .size = length, .offset = length, .class = MR_CLASS_FOREIGN};
  return chunk;
}

void mr_chunk_forget(mr_slabs *slabs, mr_chunk *chunk) {
  descriptor_give(slabs, chunk);
}

static void pages_give(uint8_t *base, size_t bytes) {
  madvise(base, bytes, MADV_DONTNEED); /* refused: they stay resident, and that is all */
}

/* The chunks of split units that nobody has used since the last look. */
static void split_decay(mr_slabs *slabs, mr_slab *slab) {
  for (int i = 0; i < MR_UNITS_PER_SLAB; i++) {
    mr_unit *unit = &slab->units[i];
    if ((slab->free >> i & 1) || unit->class >= MR_CLASS_UNIT || !unit->dirty)
      continue;
    for (unsigned due = unit->dirty & unit->idle; due; due &= due - 1) {
      unsigned part = (unsigned)__builtin_ctz(due);
      pages_give(unit_base(unit) + (size_t)part * mr_chunk_sizes[unit->class], mr_chunk_sizes[unit->class]);
      unit->dirty &= (uint16_t) ~(1u << part);
      slabs->dirty_chunks--;
    }
    unit->idle = unit->dirty;
  }
}

static void slab_decay(mr_slabs *slabs, mr_slab *slab) {
  uint64_t due = slab->dirty & slab->idle;
  while (due) {
    int first = __builtin_ctzll(due);
    uint64_t rest = ~(due >> first);
    unsigned count = rest ? (unsigned)__builtin_ctzll(rest) : 64;
    pages_give(slab->base + (size_t)first * MR_CHUNK_BYTES, (size_t)count * MR_CHUNK_BYTES);
    uint64_t given = units_mask(count) << first;
    due &= ~given;
    slab->dirty &= ~given;
    slabs->dirty_units -= count;
  }
  slab->idle = slab->free;
}

int mr_slabs_decay(mr_slabs *slabs) {
  mr_slab *next;
  for (mr_slab *slab = slabs->slabs; slab; slab = next) {
    next = slab->next;
    if (slab->idle == UINT64_MAX) {
      slab_remove(slabs, slab);
      continue;
    }
    if (slabs->dirty_chunks)
      split_decay(slabs, slab);
    slab_decay(slabs, slab);
  }
  return slabs->dirty_units || slabs->dirty_chunks || slabs->free_slab_count;
}

void mr_slabs_destroy(mr_slabs *slabs) {
  while (slabs->slabs)
    slab_remove(slabs, slabs->slabs);
  descriptor_block *block = slabs->descriptor_blocks;
  while (block) {
    descriptor_block *next = block->next;
    free(block);
    block = next;
  }
  slabs->descriptor_blocks = NULL;
  slabs->descriptors = NULL;
}
