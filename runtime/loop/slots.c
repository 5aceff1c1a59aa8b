/*
 * slots.c - tables of objects that the kernel and Lua know by number.
 */
#include "loop/slots.h"

#include <stdlib.h>
#include <string.h>

/* An object that has never been taken. Nobody touches it before, so a block costs the memory of what was taken of it. */
static mr_slot *slot_make(mr_slots *slots, size_t bytes) {
  size_t block = (size_t)slots->count / MR_SLOTS_PER_BLOCK;
  if (slots->count % MR_SLOTS_PER_BLOCK == 0) {
    void **blocks = realloc(slots->blocks, (block + 1) * sizeof *blocks);
    if (!blocks)
      return NULL;
    slots->blocks = blocks;
    blocks[block] = calloc(MR_SLOTS_PER_BLOCK, bytes);
    if (!blocks[block])
      return NULL;
  }
  mr_slot *slot = mr_slots_at(slots, slots->count, bytes);
  slot->number = slots->count++;
  return slot;
}

void *mr_slots_take(mr_slots *slots, size_t bytes) {
  mr_slot *slot = slots->free;
  if (slot)
    slots->free = slot->next;
  else
    slot = slot_make(slots, bytes);
  if (!slot)
    return NULL;
  slots->used++;
  mr_slot kept = {.number = slot->number, .generation = slot->generation + 1};
  memset(slot, 0, bytes);
  *slot = kept;
  return slot;
}

void mr_slots_give(mr_slots *slots, mr_slot *slot) {
  slot->next = slots->free;
  slots->free = slot;
  slots->used--;
}

void mr_slots_retire(mr_slots *slots, mr_slot *slot) {
  slot->next = slots->retired;
  slots->retired = slot;
}

void mr_slots_recycle(mr_slots *slots) {
  while (slots->retired) {
    mr_slot *slot = slots->retired;
    slots->retired = slot->next;
    mr_slots_give(slots, slot);
  }
}

void mr_slots_destroy(mr_slots *slots) {
  for (int32_t first = 0; first < slots->count; first += MR_SLOTS_PER_BLOCK)
    free(slots->blocks[first / MR_SLOTS_PER_BLOCK]);
  free(slots->blocks);
  *slots = (mr_slots){0};
}
