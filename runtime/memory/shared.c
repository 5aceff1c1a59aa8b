/*
 * shared.c - iovecs and threads: SHARED references, and LOCAL ones that were released in the wrong place.
 *
 * A SHARED allocation has one more record, its root, whose atomic count is the number of references to it. To its chunk it is
 * one plain holder, and only the memory's own thread touches that: the last release, wherever it happens, hands the root
 * home. A reference is ended by exchanging its generation, so of two threads that release copies of one iovec one gets
 * -ESTALE. A clone raises the count only while it is not zero and then looks at the generation again; records and roots are never
 * freed, so even a stale iovec may ask them.
 *
 * Order: a release publishes what its thread has written to the bytes, the last one acquires all of that before the memory goes
 * home, and the lock of the list carries it to the owner, who may reuse it.
 *
 * Records for clones come from a small list of the calling thread, since any thread may make them.
 */
#include "memory/memory.h"

#include <stdlib.h>

enum { CACHE_MAX = 512 };

static _Thread_local struct {
  mr_reference *free;
  int count;
  int registered;
} cache __attribute__((tls_model("initial-exec")));

static pthread_key_t cache_key;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;

static void cache_flush(void *unused) {
  (void)unused;
  mr_references_to_store(cache.free);
  cache.free = NULL;
  cache.count = 0;
  cache.registered = 0;
}

static void cache_key_make(void) {
  pthread_key_create(&cache_key, cache_flush);
}

/* Has the list emptied when the thread ends. */
static void cache_register(void) {
  pthread_once(&cache_once, cache_key_make);
  pthread_setspecific(cache_key, &cache);
  cache.registered = 1;
}

static mr_reference *cache_take(void) {
  if (!cache.free) {
    cache.free = mr_references_from_store();
    if (!cache.free)
      return NULL;
    cache.count = 0; /* those of the store are not counted: they came in one list */
    if (!cache.registered)
      cache_register();
  }
  mr_reference *reference = cache.free;
  cache.free = reference->next_free;
  if (cache.count)
    cache.count--;
  return reference;
}

/* The record's generation has been raised already. It stays marked as SHARED, for whoever is about to release a copy now. */
static void cache_give(mr_reference *reference) {
  if (__atomic_load_n(&reference->generation, __ATOMIC_RELAXED) == 0)
    return;
  if (!cache.registered)
    cache_register();
  reference->next_free = cache.free;
  cache.free = reference;
  if (++cache.count > CACHE_MAX) {
    mr_references_to_store(cache.free);
    cache.free = NULL;
    cache.count = 0;
  }
}

int mr_shared_make(mr_memory *memory, mr_iovec *iovec) {
  mr_reference *root = mr_reference_take(memory);
  if (!root)
    return -ENOMEM;
  mr_reference *reference = iovec->reference;
  root->chunk = reference->chunk;
  root->capacity = reference->capacity;
  root->special = 0;
  if (reference->special & REFERENCE_NOTED)
    mr_trace_referenced(root, reference, NULL);
  __atomic_store_n(&root->holders, 1, __ATOMIC_RELAXED);
  __atomic_store_n(&reference->root, root, __ATOMIC_RELAXED);
  reference->special |= REFERENCE_SHARED;
  iovec->flags |= MR_IOVEC_SHARED;
  return 0;
}

int mr_shared_claim(mr_reference *reference, uint32_t generation, uint32_t next) {
  return __atomic_compare_exchange_n(&reference->generation, &generation, next, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void mr_shared_end(mr_memory *memory, mr_reference *root) {
  mr_chunk *chunk = root->chunk;
  int kept = (root->special & REFERENCE_NOTED) && mr_trace_released(memory, root, NULL);
  memory->iovec_count--;
  memory->iovec_bytes -= root->capacity;
  root->special = 0;
  mr_reference_give(memory, root);
  if (!kept)
    mr_chunk_drop(memory, chunk);
}

/* Gives a root whose count has reached zero to its memory. */
static void root_home(mr_reference *root) {
  mr_memory *memory = root->chunk->memory;
  if (mr_is_own(memory)) {
    mr_shared_end(memory, root);
    return;
  }
  pthread_mutex_lock(&memory->lock);
  if (memory->orphaned) {
    mr_shared_end(memory, root);
    mr_memory_leave_slowly(memory);
    return;
  }
  root->next_free = memory->home_roots;
  memory->home_roots = root;
  __atomic_store_n(&memory->home_pending, 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&memory->lock);
}

static void holders_drop(mr_reference *root) {
  if (__atomic_sub_fetch(&root->holders, 1, __ATOMIC_RELEASE))
    return;
  (void)__atomic_load_n(&root->holders, __ATOMIC_ACQUIRE); /* a fence, in the form that ThreadSanitizer understands */
  root_home(root);
}

int mr_shared_release(mr_reference *reference, uint32_t generation) {
  mr_reference *root = __atomic_load_n(&reference->root, __ATOMIC_RELAXED);
  if (!mr_shared_claim(reference, generation, generation + 1))
    return -ESTALE;
  if (reference->special & REFERENCE_NOTED)
    mr_trace_released(NULL, reference, "mr_iovec_release");
  cache_give(reference);
  holders_drop(root);
  return 0;
}

/* Raises the count unless it has reached zero. */
static int holders_add(mr_reference *root) {
  uint32_t holders = __atomic_load_n(&root->holders, __ATOMIC_RELAXED);
  while (holders)
    if (__atomic_compare_exchange_n(&root->holders, &holders, holders + 1, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      return 1;
  return 0;
}

int mr_shared_clone(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length) {
  mr_reference *from = source->reference;
  mr_reference *root = __atomic_load_n(&from->root, __ATOMIC_RELAXED);
  mr_reference *made = cache_take();
  if (!made) {
    *target = (mr_iovec){0};
    return -ENOMEM;
  }
  int held = root && holders_add(root);
  if (!held || !mr_generation_is(from, source->generation)) {
    cache_give(made);
    if (held)
      holders_drop(root);
    *target = (mr_iovec){0};
    return mr_iovec_stale(source, "mr_iovec_clone");
  }
  made->chunk = root->chunk;
  __atomic_store_n(&made->root, root, __ATOMIC_RELAXED);
  made->capacity = length;
  made->special = REFERENCE_SHARED;
  if (from->special & REFERENCE_NOTED)
    mr_trace_referenced(made, from, "mr_iovec_clone");
  *target = (mr_iovec){source->data + offset, made, length, length, made->generation, source->flags};
  return 0;
}

int mr_foreign_release(mr_memory *memory, mr_reference *reference, uint32_t generation) {
  mr_homecoming *home = malloc(sizeof *home);
  if (!home)
    return -ENOMEM;
  *home = (mr_homecoming){NULL, reference, generation};
  pthread_mutex_lock(&memory->lock);
  if (memory->orphaned) {
    free(home);
    int live = mr_generation_is(reference, generation);
    if (live)
      mr_reference_end(memory, reference);
    mr_memory_leave_slowly(memory);
    return live ? 0 : -ESTALE;
  }
  home->next = memory->home;
  memory->home = home;
  __atomic_store_n(&memory->home_pending, 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&memory->lock);
  return 0;
}
