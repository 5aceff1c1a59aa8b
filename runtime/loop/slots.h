/*
 * slots.h - internal: tables of objects that the kernel and Lua know by number.
 *
 * An object begins with an mr_slot and lives in a block that never moves, so its address may be lent to the kernel. Taking a
 * slot raises its generation, which user_data carries to tell an earlier owner from the present one. A slot is given
 * back at once (give), or retired first and free with the next turn (retire, recycle), so that an event that is already in the
 * array never speaks of its next owner. Which of them is right, and when nothing is owed any more, its kind knows.
 *
 * `bytes` is the size of a table's objects, the same at every call: told by whoever asks, so that the compiler knows it.
 */
#ifndef MR_SLOTS_H
#define MR_SLOTS_H

#include <stddef.h>
#include <stdint.h>

typedef struct mr_slot {
  int32_t number;
  uint32_t generation;
  struct mr_slot *next; /* free or retired */
} mr_slot;

typedef struct mr_slots {
  void **blocks;
  int32_t count; /* numbers that have ever been taken: those below it are in use, retired or free */
  int32_t used;
  mr_slot *free, *retired;
} mr_slots;

enum { MR_SLOTS_PER_BLOCK = 256 };

/* An object that has ever been taken, whether it is in use or not. */
static inline void *mr_slots_at(const mr_slots *slots, int32_t number, size_t bytes) {
  uint32_t place = (uint32_t)number;
  return (char *)slots->blocks[place / MR_SLOTS_PER_BLOCK] + (place % MR_SLOTS_PER_BLOCK) * bytes;
}

/* A free object, the one that was freed last or the next new one, zero but for its slot; NULL without memory. */
void *mr_slots_take(mr_slots *slots, size_t bytes);

void mr_slots_give(mr_slots *slots, mr_slot *slot);
void mr_slots_retire(mr_slots *slots, mr_slot *slot);
void mr_slots_recycle(mr_slots *slots); /* gives back what is retired */
void mr_slots_destroy(mr_slots *slots);

#endif
