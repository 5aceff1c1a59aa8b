/*
 * slots.c - tables of objects that the kernel and Lua know by number.
 */
#include "loop/loop_internal.h"

#include <stdlib.h>
#include <string.h>

static int block_add(mr_slots *slots, uint32_t bytes) {
  size_t blocks = (size_t)slots->count / MR_SLOTS_PER_BLOCK;
  void **list = realloc(slots->blocks, (blocks + 1) * sizeof *list);
  if (!list)
    return -1;
  slots->blocks = list;
  char *block = calloc(MR_SLOTS_PER_BLOCK, bytes);
  if (!block)
    return -1;
  list[blocks] = block;
  slots->bytes = bytes;
  for (int32_t i = MR_SLOTS_PER_BLOCK - 1; i >= 0; i--) {
    mr_slot *slot = (mr_slot *)(block + (size_t)i * bytes);
    slot->number = slots->count + i;
    slot->next = slots->free;
    slots->free = slot;
  }
  slots->count += MR_SLOTS_PER_BLOCK;
  return 0;
}

void *mr_slots_take(mr_slots *slots, uint32_t bytes) {
  if (!slots->free && block_add(slots, bytes))
    return NULL;
  mr_slot *slot = slots->free;
  slots->free = slot->next;
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
  for (int32_t i = 0; i < slots->count / MR_SLOTS_PER_BLOCK; i++)
    free(slots->blocks[i]);
  free(slots->blocks);
  *slots = (mr_slots){0};
}
