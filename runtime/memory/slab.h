/*
 * slab.h - internal: slabs and the chunks carved from them. Used by memory.c and iovec.c only.
 */
#ifndef MR_SLAB_H
#define MR_SLAB_H

#include "memory/iovec.h"

typedef struct mr_slab mr_slab;
typedef struct mr_unit mr_unit;
typedef struct mr_chunk mr_chunk;

enum { MR_UNITS_PER_SLAB = MR_SLAB_BYTES / MR_CHUNK_BYTES };
_Static_assert(MR_UNITS_PER_SLAB == 64, "a slab's free units are one 64-bit mask");

/*
 * Chunk classes. Small allocations go to small chunks so that a small holder pins little: an allocation takes the smallest
 * class that holds eight of it, so what it can pin is bounded by its own class.
 */
typedef enum mr_chunk_class {
  MR_CLASS_SMALL,   /* 4 KiB */
  MR_CLASS_MEDIUM,  /* 16 KiB */
  MR_CLASS_UNIT,    /* 64 KiB */
  MR_CLASS_RUN,     /* several units, one allocation */
  MR_CLASS_FOREIGN, /* memory that something else owns: only the descriptor is ours */
  MR_CLASS_COUNT
} mr_chunk_class;

struct mr_chunk {
  uint8_t *base;
  mr_memory *memory;
  mr_unit *unit; /* the first of them */
  mr_chunk *next_free;
  uint32_t size;
  uint32_t offset;  /* next byte to allocate while the chunk is open */
  uint32_t holders; /* references into it */
  uint8_t class;
  uint8_t open; /* the memory allocates from it */
  /* MR_CLASS_FOREIGN: who wants to know that the last holder is gone */
  int32_t anchor;
  mr_iovec_released *on_release;
  void *context;
};

/* One 64 KiB piece of a slab. A split unit is carved into chunks of a smaller class. */
struct mr_unit {
  mr_slab *slab;
  mr_unit *previous, *next; /* among the memory's split units of this class with room */
  uint16_t free;            /* split units: one bit for each chunk that is free */
  uint16_t dirty, idle;     /* split units: free and perhaps resident; and so at the last decay, too */
  uint8_t class;
};

struct mr_slab {
  uint8_t *base;
  mr_slab *previous, *next; /* among the memory's slabs */
  uint64_t free;            /* one bit for each unit that is free */
  uint64_t dirty, idle;     /* units that are free and perhaps resident; and that were so at the last decay, too */
  mr_unit units[MR_UNITS_PER_SLAB];
};

/* The part of a memory that owns slabs and chunks; iovec.c embeds it. */
typedef struct mr_slabs {
  mr_slab *slabs;
  mr_unit *split[MR_CLASS_UNIT]; /* units with room for another small chunk */
  mr_chunk *descriptors;         /* free ones */
  void *descriptor_blocks;
  uint64_t limit_bytes;
  uint64_t slab_count, slab_count_peak, free_slab_count;
  uint64_t chunk_count, chunk_bytes;
  uint64_t dirty_units, dirty_chunks; /* free but perhaps resident: what decay is for */
} mr_slabs;

extern const uint32_t mr_chunk_sizes[MR_CLASS_UNIT + 1];

/*
 * Takes a chunk. For MR_CLASS_RUN, `bytes` is rounded up to units (at most a slab) and the start is aligned to `alignment`; the
 * other classes are aligned to their own size. Result: 0 and *out with holders 0, or -ENOMEM.
 */
int mr_chunk_acquire(mr_slabs *slabs, mr_memory *memory, mr_chunk_class class, uint32_t bytes, uint32_t alignment,
                     mr_chunk **out);

/* Gives a chunk that nobody holds back to its slab. */
void mr_chunk_return(mr_slabs *slabs, mr_chunk *chunk);

/* A descriptor for memory of somebody else; the same two ends as acquire and return. NULL when there is no memory for it. */
mr_chunk *mr_chunk_foreign(mr_slabs *slabs, mr_memory *memory, uint8_t *data, uint32_t length);
void mr_chunk_forget(mr_slabs *slabs, mr_chunk *chunk);

/*
 * Gives back to the system what has been free since the last call: whole slabs are unmapped, of others the pages go. To be
 * called at long intervals. Result: 1 when something is left for the next call.
 */
int mr_slabs_decay(mr_slabs *slabs);

/* Unmaps everything. No chunk may be in use. */
void mr_slabs_destroy(mr_slabs *slabs);

#endif
