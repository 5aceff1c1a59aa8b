/*
 * slots.h - internal: tables of objects that the kernel and Lua know by number.
 *
 * An object begins with an mr_slot and lives in a block that never moves, so its address may be lent to the kernel. Taking a
 * slot raises its generation, which user_data carries to tell an earlier owner from the present one. A slot is given
 * back at once (give), or retired first and free with the next turn (retire, recycle), so that an event that is already in the
 * array never speaks of its next owner.
 */
#ifndef MR_SLOTS_H
#define MR_SLOTS_H

#include <stdint.h>

typedef struct mr_slot {
  int32_t number;
  uint32_t generation;
  struct mr_slot *next; /* free or retired */
} mr_slot;

typedef struct mr_slots {
  void **blocks;
  uint32_t bytes; /* of an object */
  int32_t count;  /* objects in all blocks */
  int32_t used;
  mr_slot *free, *retired;
} mr_slots;

enum { MR_SLOTS_PER_BLOCK = 64 };

/* An object of a table, whether it is in use or not. */
static inline void *mr_slots_at(const mr_slots *slots, int32_t number) {
  uint32_t place = (uint32_t)number;
  return (char *)slots->blocks[place / MR_SLOTS_PER_BLOCK] + (size_t)(place % MR_SLOTS_PER_BLOCK) * slots->bytes;
}

/* A free object of `bytes` (the same at every call), zero but for its slot; NULL without memory. */
void *mr_slots_take(mr_slots *slots, uint32_t bytes);

void mr_slots_give(mr_slots *slots, mr_slot *slot);
void mr_slots_retire(mr_slots *slots, mr_slot *slot);
void mr_slots_recycle(mr_slots *slots); /* gives back what is retired */
void mr_slots_destroy(mr_slots *slots);

#endif
