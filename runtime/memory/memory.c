/*
 * memory.c - memories: their beginning, their end, what comes home to them, and what they tell.
 *
 * A memory belongs to a thread. What other threads release is put into two lists under its lock and taken home with the next
 * tick, or when memory runs short. A memory that is destroyed while held is orphaned: it has no thread any more, every
 * release takes the lock, and the last one frees it.
 */
#include "memory/memory.h"

#include <stdlib.h>

#include "memory/iovec_internal.h"

enum { DECAY_NS = 500000000 };

_Thread_local char mr_thread_mark;
_Thread_local mr_memory *mr_own_memory;

int mr_memory_create(uint64_t limit_bytes, mr_memory **out) {
  mr_memory *memory = calloc(1, sizeof *memory);
  if (!memory)
    return -ENOMEM;
  memory->slabs.limit_bytes = limit_bytes;
  memory->account.collect_at = MR_COLLECT_BYTES;
  memory->thread = mr_thread_self();
  pthread_mutex_init(&memory->lock, NULL);
  *out = memory;
  return 0;
}

static void memory_free(mr_memory *memory) {
  mr_references_to_store(memory->references);
  mr_slabs_destroy(&memory->slabs);
  pthread_mutex_destroy(&memory->lock);
  free(memory);
}

int mr_memory_enter_slowly(mr_memory *memory) {
  pthread_mutex_lock(&memory->lock);
  if (memory->orphaned)
    return 1;
  pthread_mutex_unlock(&memory->lock);
  return -EPERM;
}

void mr_memory_leave_slowly(mr_memory *memory) {
  int held = memory->iovec_count != 0;
  pthread_mutex_unlock(&memory->lock);
  if (!held)
    memory_free(memory);
}

void mr_memory_close_chunk(mr_memory *memory, mr_chunk *chunk) {
  memory->open[chunk->class] = NULL;
  chunk->open = 0;
  if (!chunk->holders)
    mr_chunk_return(&memory->slabs, chunk);
}

static void close_unheld(mr_memory *memory) {
  for (int class = 0; class <= MR_CLASS_UNIT; class ++)
    if (memory->open[class] && !memory->open[class]->holders)
      mr_memory_close_chunk(memory, memory->open[class]);
}

typedef struct homecomers {
  mr_reference *root;
  mr_homecoming *home;
} homecomers;

/* Takes the lists of what other threads have released; under the lock. */
static homecomers homecomers_take(mr_memory *memory) {
  homecomers taken = {memory->home_roots, memory->home};
  memory->home_roots = NULL;
  memory->home = NULL;
  __atomic_store_n(&memory->home_pending, 0, __ATOMIC_RELAXED);
  return taken;
}

static void end_all(mr_memory *memory, homecomers taken) {
  while (taken.root) {
    mr_reference *next = taken.root->next_free;
    mr_shared_end(memory, taken.root);
    taken.root = next;
  }
  while (taken.home) {
    mr_homecoming *home = taken.home;
    taken.home = home->next;
    if (mr_generation_is(home->reference, home->generation)) {
      mr_reference_end(memory, home->reference);
    } else {
      memory->stale_releases++;
      mr_iovec_stale(&(mr_iovec){.reference = home->reference, .generation = home->generation}, "mr_iovec_release");
    }
    free(home);
  }
}

void mr_memory_come_home(mr_memory *memory) {
  if (!__atomic_load_n(&memory->home_pending, __ATOMIC_ACQUIRE))
    return;
  pthread_mutex_lock(&memory->lock);
  homecomers taken = homecomers_take(memory);
  pthread_mutex_unlock(&memory->lock);
  end_all(memory, taken);
}

int64_t mr_memory_destroy(mr_memory *memory) {
  mr_memory_come_home(memory);
  mr_trace_ended(memory);
  mr_trace_quarantine_empty(memory);
  for (int class = 0; class <= MR_CLASS_UNIT; class ++)
    if (memory->open[class])
      mr_memory_close_chunk(memory, memory->open[class]);
  pthread_mutex_lock(&memory->lock);
  memory->orphaned = 1;
  __atomic_store_n(&memory->thread, NULL, __ATOMIC_RELAXED);
  if (mr_own_memory == memory)
    mr_own_memory = NULL;
  end_all(memory, homecomers_take(memory)); /* from now on, nobody adds to the lists */
  int64_t held = (int64_t)memory->iovec_count;
  pthread_mutex_unlock(&memory->lock);
  if (!held)
    memory_free(memory);
  return held;
}

static void foreign_ended(mr_memory *memory, mr_chunk *chunk) {
  memory->foreign_bytes -= chunk->size;
  if (chunk->anchor) {
    chunk->next_free = memory->released_anchors;
    memory->released_anchors = chunk;
    return;
  }
  mr_chunk ended = *chunk;
  mr_chunk_forget(&memory->slabs, chunk);
  if (ended.on_release)
    ended.on_release(ended.context, ended.base, ended.size);
}

void mr_memory_chunk_ended(mr_memory *memory, mr_chunk *chunk) {
  if (chunk->class == MR_CLASS_FOREIGN)
    foreign_ended(memory, chunk);
  else
    mr_chunk_return(&memory->slabs, chunk);
}

int mr_memory_chunk(mr_memory *memory, mr_chunk_class class, uint32_t bytes, uint32_t alignment, mr_chunk **out) {
  int error = mr_chunk_acquire(&memory->slabs, memory, class, bytes, alignment, out);
  if (!error)
    return 0;
  mr_memory_come_home(memory);
  mr_trace_quarantine_empty(memory);
  close_unheld(memory);
  error = mr_chunk_acquire(&memory->slabs, memory, class, bytes, alignment, out);
  if (error) {
    memory->refusals++;
    memory->pressure = 1;
  }
  return error;
}

int64_t mr_memory_tick(mr_memory *memory, int64_t now_ns) {
  mr_memory_come_home(memory);
  mr_memory_account *account = &memory->account;
  int64_t growth = account->lua_bytes / 2 > MR_COLLECT_BYTES ? account->lua_bytes / 2 : MR_COLLECT_BYTES;
  if (account->collect_at > account->lua_bytes + growth)
    account->collect_at = account->lua_bytes + growth;
  mr_slabs *slabs = &memory->slabs;
  if (!memory->decay_at) {
    if (!slabs->dirty_units && !slabs->dirty_chunks && !slabs->free_slab_count)
      return -1;
    memory->decay_at = now_ns + DECAY_NS;
  } else if (now_ns >= memory->decay_at) {
    memory->decay_at = mr_slabs_decay(slabs) ? now_ns + DECAY_NS : 0;
    if (!memory->decay_at)
      return -1;
  }
  return memory->decay_at - now_ns;
}

int mr_memory_news(mr_memory *memory) {
  int news = (memory->released_anchors ? MR_MEMORY_ANCHORS : 0) | (memory->pressure ? MR_MEMORY_PRESSURE : 0);
  memory->pressure = 0;
  return news;
}

int mr_memory_anchors_released(mr_memory *memory, int32_t *out, int max) {
  int count = 0;
  while (memory->released_anchors && count < max) {
    mr_chunk *chunk = memory->released_anchors;
    memory->released_anchors = chunk->next_free;
    out[count++] = chunk->anchor;
    mr_chunk_forget(&memory->slabs, chunk);
  }
  return count;
}

mr_memory_account *mr_memory_account_of(mr_memory *memory) {
  return &memory->account;
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
      .lua_bytes = (uint64_t)memory->account.lua_bytes,
      .leaks_caught = memory->leaks_caught,
      .refusals = memory->refusals,
      .foreign_bytes = memory->foreign_bytes,
      .stale_releases = memory->stale_releases,
      .quarantine_bytes = memory->quarantine.bytes,
  };
}
