/*
 * pool.c - leases, their records, the memory that a pool keeps, and the lists that scopes hold.
 *
 * Idle records lie in buckets by size: one for the pool's own size, the others for powers of two. A pool lives until it has been
 * destroyed and its last lease has been released.
 */
#include "buffer/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  OWN_BUCKET = 0, /* the others are 1 + log2(size) */
  BUCKETS = 32,
  SMALLEST_SHIFT = 6,
  RECORDS_PER_BLOCK = 64,
  RECORD_BYTES = sizeof(mr_record),
  ADDRESS_BITS = 48,
  TERM_LOW_BITS = 7,
  TERM_BITS = TERM_LOW_BITS + 64 - ADDRESS_BITS,
};

struct mr_pool {
  mr_record *idle[BUCKETS];
  mr_record *bare; /* free records without memory */
  uint32_t size;
  int destroyed;
  int64_t max_bytes, idle_bytes;
  int64_t acquired, made, released; /* since the start */
  mr_pool *previous, *next;         /* among all pools */
};

/* Free records without memory, of all pools of all threads. */
static struct {
  pthread_mutex_t lock;
  mr_record *free;
  struct record_block *blocks;
  mr_pool *pools; /* what only Lua's memory refers to looks leaked to a checker when a process just exits */
  mr_holder *holders;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct record_block {
  mr_record records[RECORDS_PER_BLOCK];
  struct record_block *next;
} record_block;

static mr_record *record_of(const mr_lease *lease) {
  uint64_t bits = (uint64_t)(uintptr_t)lease;
  return (mr_record *)(uintptr_t)(bits & (((uint64_t)1 << ADDRESS_BITS) - RECORD_BYTES));
}

/* Begins the record's next term. Result: 0 when there is none left, and the record must never be used again. */
static int next_term(mr_record *record) {
  uint64_t bits = (uint64_t)(uintptr_t)record->lease;
  uint64_t term = (bits & (RECORD_BYTES - 1)) | bits >> ADDRESS_BITS << TERM_LOW_BITS;
  if (++term >> TERM_BITS)
    return 0;
  bits = (uint64_t)(uintptr_t)record | (term & (RECORD_BYTES - 1)) | term >> TERM_LOW_BITS << ADDRESS_BITS;
  record->lease = (mr_lease *)(uintptr_t)bits;
  return 1;
}

static mr_record *record_from_store(void) {
  pthread_mutex_lock(&store.lock);
  if (!store.free) {
    record_block *block = aligned_alloc(RECORD_BYTES, (sizeof *block + RECORD_BYTES - 1) / RECORD_BYTES * RECORD_BYTES);
    if (block &&
        (uintptr_t)block >> ADDRESS_BITS) { /* addresses longer than leases can carry: refuse rather than mix up */
      free(block);
      block = NULL;
    }
    if (block) {
      memset(block, 0, sizeof *block);
      block->next = store.blocks;
      store.blocks = block;
      for (int i = RECORDS_PER_BLOCK - 1; i >= 0; i--) {
        block->records[i].lease = (mr_lease *)&block->records[i];
        block->records[i].next_free = store.free;
        store.free = &block->records[i];
      }
    }
  }
  mr_record *record = store.free;
  if (record)
    store.free = record->next_free;
  pthread_mutex_unlock(&store.lock);
  return record;
}

static void record_to_store(mr_record *record) {
  pthread_mutex_lock(&store.lock);
  record->pool = NULL;
  record->next_free = store.free;
  store.free = record;
  pthread_mutex_unlock(&store.lock);
}

static int bucket_of(const mr_pool *pool, uint32_t size) {
  if (size == pool->size)
    return OWN_BUCKET;
  int shift = size > 1 ? 32 - __builtin_clz(size - 1) : 0;
  return 1 + (shift < SMALLEST_SHIFT ? SMALLEST_SHIFT : shift > 30 ? 30 : shift);
}

/* The memory that a buffer of the bucket has. */
static uint32_t bucket_bytes(int bucket, uint32_t size) {
  return bucket == OWN_BUCKET || size > (uint32_t)1 << 30 ? size : (uint32_t)1 << (bucket - 1);
}

mr_pool *mr_pool_create(uint32_t size, double max_bytes) {
  mr_pool *pool = calloc(1, sizeof *pool);
  if (pool) {
    pool->size = size;
    pool->max_bytes = max_bytes < (double)INT64_MAX / 2 ? (int64_t)max_bytes : INT64_MAX / 2;
    pthread_mutex_lock(&store.lock);
    pool->next = store.pools;
    if (pool->next)
      pool->next->previous = pool;
    store.pools = pool;
    pthread_mutex_unlock(&store.lock);
  }
  return pool;
}

static void pool_free(mr_pool *pool) {
  pthread_mutex_lock(&store.lock);
  if (pool->previous)
    pool->previous->next = pool->next;
  else
    store.pools = pool->next;
  if (pool->next)
    pool->next->previous = pool->previous;
  pthread_mutex_unlock(&store.lock);
  free(pool);
}

void mr_pool_destroy(mr_pool *pool) {
  if (!pool || pool->destroyed)
    return;
  pool->destroyed = 1;
  for (int i = 0; i < BUCKETS; i++)
    while (pool->idle[i]) {
      mr_record *record = pool->idle[i];
      pool->idle[i] = record->next_free;
      record->buffer.flags_ = MR_BUFFER_OPEN; /* idle ones are closed for their old holders */
      mr_buffer_release(&record->buffer);
      record_to_store(record);
    }
  while (pool->bare) {
    mr_record *record = pool->bare;
    pool->bare = record->next_free;
    record_to_store(record);
  }
  if (pool->acquired == pool->released)
    pool_free(pool);
}

static mr_lease *lend(mr_record *record, uint32_t size) {
  record->buffer.position_ = 0;
  record->buffer.limit_ = record->buffer.capacity_ = (int32_t)size;
  record->buffer.flags_ = MR_BUFFER_OPEN;
  record->buffer.data_ = record->spare;
  record->pool->acquired++;
  return record->lease;
}

mr_lease *mr_pool_take(mr_pool *pool, uint32_t size) {
  mr_record **idle = &pool->idle[bucket_of(pool, size)];
  mr_record *record = *idle;
  if (!record || (uint32_t)record->spare_bytes < size)
    return NULL;
  *idle = record->next_free;
  pool->idle_bytes -= record->spare_bytes;
  return lend(record, size);
}

int mr_pool_make(mr_pool *pool, mr_memory *memory, uint32_t size, uint32_t alignment, mr_lease **lease) {
  *lease = NULL;
  mr_record *record = pool->bare;
  if (record)
    pool->bare = record->next_free;
  else if (!(record = record_from_store()))
    return -ENOMEM;
  int bucket = bucket_of(pool, size);
  uint32_t bytes = pool->max_bytes ? bucket_bytes(bucket, size) : size; /* what is not kept needs no class */
  int error = mr_buffer_allocate(memory, &record->buffer, bytes, alignment);
  if (error) {
    record->next_free = pool->bare;
    pool->bare = record;
    return error;
  }
  record->pool = pool;
  record->bucket = bucket;
  record->spare = record->buffer.data_;
  record->spare_bytes = record->buffer.capacity_;
  pool->made++;
  *lease = lend(record, size);
  return 0;
}

static void hold(mr_holder *holder, mr_record *record) {
  record->holder = holder;
  record->newer = NULL;
  record->older = holder->newest;
  if (record->older)
    record->older->newer = record;
  holder->newest = record;
}

static void let_go(mr_record *record) {
  if (record->newer)
    record->newer->older = record->older;
  else
    record->holder->newest = record->older;
  if (record->older)
    record->older->newer = record->newer;
  record->holder = NULL;
}

/* Ends the term of a record that nobody holds. */
static inline void release(mr_record *record) {
  mr_pool *pool = record->pool;
  pool->released++;
  int more_terms = next_term(record);
  mr_buffer *buffer = &record->buffer;
  if (more_terms && !pool->destroyed && (buffer->flags_ & (MR_BUFFER_OPEN | MR_BUFFER_VIEWED)) == MR_BUFFER_OPEN &&
      pool->idle_bytes + record->spare_bytes <= pool->max_bytes && record->spare_bytes) {
    buffer->data_ = NULL;
    buffer->position_ = buffer->limit_ = buffer->capacity_ = 0;
    buffer->flags_ = 0;
    record->next_free = pool->idle[record->bucket];
    pool->idle[record->bucket] = record;
    pool->idle_bytes += record->spare_bytes;
    return;
  }
  if ((buffer->flags_ & MR_BUFFER_OPEN) && !buffer->mapping_) { /* mr_buffer_release, in place */
    mr_iovec_release(&buffer->memory_);
    buffer->data_ = NULL;
    buffer->position_ = buffer->limit_ = buffer->capacity_ = 0;
    buffer->flags_ = 0;
  } else {
    mr_buffer_release(buffer);
  }
  record->pool = NULL;
  if (more_terms && pool->destroyed) {
    record_to_store(record);
  } else if (more_terms) {
    record->next_free = pool->bare;
    pool->bare = record;
  }
  if (pool->destroyed && pool->acquired == pool->released)
    pool_free(pool);
}

void mr_lease_release(mr_lease *lease) {
  mr_record *record = record_of(lease);
  if (record->lease != lease || !record->pool)
    return;
  if (record->holder)
    let_go(record);
  release(record);
}

mr_holder *mr_holder_create(mr_pool *pool) {
  mr_holder *holder = malloc(sizeof *holder);
  if (!holder)
    return NULL;
  pthread_mutex_lock(&store.lock);
  *holder = (mr_holder){.pool = pool, .next = store.holders};
  if (holder->next)
    holder->next->previous = holder;
  store.holders = holder;
  pthread_mutex_unlock(&store.lock);
  return holder;
}

void mr_holder_destroy(mr_holder *holder) {
  mr_holder_release(holder);
  pthread_mutex_lock(&store.lock);
  *(holder->previous ? &holder->previous->next : &store.holders) = holder->next;
  if (holder->next)
    holder->next->previous = holder->previous;
  pthread_mutex_unlock(&store.lock);
  free(holder);
}

mr_lease *mr_holder_allocate(mr_holder *holder, mr_memory *memory, uint32_t size) {
  mr_pool *pool = holder->pool;
  mr_record *record = pool->bare;
  if (!record || size - 1 >= MR_SLAB_BYTES)
    return NULL;
  /* Straight into the record. Lua's collector is not told of these bytes: it could not free them. */
  if (mr_iovec_alloc(memory, size, 0, 1, 0, &record->buffer.memory_) != 1)
    return NULL;
  pool->bare = record->next_free;
  pool->made++;
  record->pool = pool;
  record->bucket = OWN_BUCKET;
  record->spare = record->buffer.memory_.data;
  record->spare_bytes = (int32_t)size;
  hold(holder, record);
  return lend(record, size);
}

void mr_holder_add(mr_holder *holder, mr_lease *lease) {
  mr_record *record = record_of(lease);
  if (record->lease == lease && record->pool && !record->holder)
    hold(holder, record);
}

int mr_holder_remove(mr_holder *holder, mr_lease *lease) {
  mr_record *record = record_of(lease);
  if (record->lease != lease || record->holder != holder)
    return 0;
  let_go(record);
  return 1;
}

void mr_holder_release(mr_holder *holder) {
  mr_record *record = holder->newest;
  holder->newest = NULL;
  while (record) {
    mr_record *older = record->older;
    record->holder = NULL;
    release(record);
    record = older;
  }
}

void mr_pool_statistics_get(const mr_pool *pool, mr_pool_statistics *out) {
  *out = (mr_pool_statistics){
      .acquired = (double)pool->acquired,
      .reused = (double)(pool->acquired - pool->made),
      .released = (double)pool->released,
      .in_use = (double)(pool->acquired - pool->released),
      .idle_bytes = (double)pool->idle_bytes,
  };
  for (int i = 0; i < BUCKETS; i++)
    for (const mr_record *record = pool->idle[i]; record; record = record->next_free)
      out->idle_count++;
}
