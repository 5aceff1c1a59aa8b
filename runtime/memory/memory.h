/*
 * memory.h - internal: what a memory and a reference record are. Shared by memory.c, reference.c, iovec.c, shared.c, trace.c.
 *
 * Who may touch what: everything of a memory belongs to its thread, but for `lock` and what it protects (orphaned, the two
 * lists of what comes home). Once orphaned, a memory has no thread, and whoever holds the lock owns all of it.
 */
#ifndef MR_MEMORY_H
#define MR_MEMORY_H

#include "memory/slab.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "memory/poison.h"
#include "memory/trace_internal.h"

/* What makes a reference more than a plain one; the fast paths look for none of them. */
enum {
  REFERENCE_SHARED = 1,
  REFERENCE_RESERVED = 2, /* not committed yet */
  REFERENCE_SEEN = 4,     /* by the commit that runs */
  REFERENCE_LUA = 8,      /* held by a Lua object */
  REFERENCE_NOTED = 16,   /* trace mode */
};

/* Behind each iovec that is not empty. Recycled, never freed; the generation tells its owners apart. */
struct mr_reference {
  mr_chunk *chunk;
  mr_reference *next_free;
  uint32_t generation; /* never 0 while in use */
  uint32_t capacity;
  uint32_t special;    /* REFERENCE_...; 0 while the record is free */
  uint32_t holders;    /* of a root */
  mr_reference *root;  /* SHARED: the record that counts the allocation's references */
  mr_trace_note *note; /* of this owner and the ones before */
} __attribute__((aligned(64)));

/* A LOCAL iovec that another thread has released. */
typedef struct mr_homecoming {
  struct mr_homecoming *next;
  mr_reference *reference;
  uint32_t generation;
} mr_homecoming;

typedef uint64_t mr_usage __attribute__((vector_size(16)));

struct mr_memory {
  const void *thread;       /* see mr_thread_self; NULL once orphaned */
  mr_reference *references; /* free records */
  union {
    mr_usage usage; /* for the fast paths: both in one load and one store */
    struct {
      uint64_t iovec_count, iovec_bytes;
    };
  };
  mr_chunk *open[MR_CLASS_UNIT + 1];
  uint64_t allocations;
  mr_memory_account account;
  mr_slabs slabs;
  uint64_t leaks_caught, refusals, foreign_bytes, stale_releases;
  mr_quarantine quarantine;
  mr_chunk *released_anchors; /* foreign chunks that wait for Lua to drop what they were over */
  int64_t decay_at;           /* 0: nothing to decay */
  int pressure;               /* an allocation was refused since the loop asked */
  int home_pending;           /* atomic: something is in the lists below */
  pthread_mutex_t lock;
  int orphaned; /* destroyed, but held: the last release frees it */
  mr_reference *home_roots;
  mr_homecoming *home;
};

/* Off the fast paths: neither inlined into them nor in the way of their registers. */
#define MR_COLD __attribute__((noinline, cold))

extern _Thread_local char mr_thread_mark __attribute__((tls_model("initial-exec")));

/* Two threads that live at the same time have different ones. */
static inline const void *mr_thread_self(void) {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_thread_pointer(); /* one load; the address of a thread-local variable takes three instructions */
#else
  return &mr_thread_mark;
#endif
}

/*
 * The memory of this thread that was used last, NULL for none. The fast paths of clone and release take its address from
 * here and only compare the one that the record leads to: the processor then need not wait for three dependent loads before it
 * knows where the counters are, which was half of their time.
 */
extern _Thread_local mr_memory *mr_own_memory __attribute__((tls_model("initial-exec")));

static inline int mr_is_own(const mr_memory *memory) {
  return __builtin_expect(__atomic_load_n(&memory->thread, __ATOMIC_RELAXED) == mr_thread_self(), 1);
}

static inline int mr_generation_is(const mr_reference *reference, uint32_t generation) {
  return __builtin_expect(__atomic_load_n(&reference->generation, __ATOMIC_RELAXED) == generation, 1);
}

static inline int mr_is_live(const mr_iovec *iovec) {
  return iovec->reference && mr_generation_is(iovec->reference, iovec->generation);
}

/* memory.c */

/*
 * Makes the caller the owner of memory until mr_memory_leave: 0 when it is the memory's thread, 1 when the memory is orphaned
 * and now locked, -EPERM when it is another thread's.
 */
int mr_memory_enter_slowly(mr_memory *memory);
void mr_memory_leave_slowly(mr_memory *memory);

static inline int mr_memory_enter(mr_memory *memory) {
  if (!mr_is_own(memory))
    return mr_memory_enter_slowly(memory);
  mr_own_memory = memory;
  return 0;
}

static inline void mr_memory_leave(mr_memory *memory, int entered) {
  if (__builtin_expect(entered, 0))
    mr_memory_leave_slowly(memory);
}

/* A chunk, trying harder before it gives up: -ENOMEM. */
int mr_memory_chunk(mr_memory *memory, mr_chunk_class class, uint32_t bytes, uint32_t alignment, mr_chunk **out);
/* Lets the memory allocate from another chunk than this one. */
void mr_memory_close_chunk(mr_memory *memory, mr_chunk *chunk);
/* What happens to a chunk whose last holder has gone and that is not open. */
MR_COLD void mr_memory_chunk_ended(mr_memory *memory, mr_chunk *chunk);
/* Takes home what other threads have released. */
void mr_memory_come_home(mr_memory *memory);

/* Drops one holder of a chunk. */
static inline void mr_chunk_drop(mr_memory *memory, mr_chunk *chunk) {
  if (--chunk->holders)
    return;
  if (chunk->open) {
    MR_POISON(chunk->base, chunk->size);
    chunk->offset = 0;
  } else {
    mr_memory_chunk_ended(memory, chunk);
  }
}

/* reference.c */

/* The store of free records, for all threads. A list of some, or NULL. */
mr_reference *mr_references_from_store(void);
void mr_references_to_store(mr_reference *list);
/* Ends a live LOCAL reference. */
void mr_reference_end(mr_memory *memory, mr_reference *reference);
/* What every function answers to a stale iovec. */
int mr_iovec_stale(const mr_iovec *iovec, const char *what);
int mr_iovec_wrong_thread(const mr_iovec *iovec, const char *what);

/* Raises the generation, so that every iovec that knows the old one is stale. Result: 0 when it can't be raised any more. */
static inline uint32_t mr_generation_raise(mr_reference *reference) {
  uint32_t next = reference->generation + 1;
  __atomic_store_n(&reference->generation, next, __ATOMIC_RELAXED);
  return next;
}

/* Refills the memory's list of free records. Result: 0 or -ENOMEM. */
MR_COLD int mr_references_refill(mr_memory *memory);

/* A free record of the memory's list; NULL. */
static inline mr_reference *mr_reference_take(mr_memory *memory) {
  if (__builtin_expect(!memory->references, 0) && mr_references_refill(memory))
    return NULL;
  mr_reference *reference = memory->references;
  memory->references = reference->next_free;
  return reference;
}

static inline void mr_reference_give(mr_memory *memory, mr_reference *reference) {
  if (__builtin_expect(mr_generation_raise(reference) == 0, 0))
    return; /* retired: its generations have been used up */
  reference->next_free = memory->references;
  memory->references = reference;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ &&
                   offsetof(mr_iovec, capacity) == offsetof(mr_iovec, length) + 4 &&
                   offsetof(mr_iovec, flags) == offsetof(mr_iovec, generation) + 4,
               "mr_reference_fill writes pairs of fields");

/* Fills *out with a new reference, by a record just taken, to `capacity` bytes of chunk at data. */
static inline void mr_reference_fill(mr_memory *memory, mr_reference *reference, mr_chunk *chunk, uint8_t *data,
                                     uint32_t capacity, uint32_t flags, mr_iovec *out) {
  reference->chunk = chunk;
  reference->capacity = capacity;
  chunk->holders++;
  memory->usage += (mr_usage){1, capacity};
  out->data = data;
  out->reference = reference;
  /* Two fields at a time: it is the number of stores that bounds a clone. */
  uint64_t lengths = (uint64_t)capacity << 32 | capacity, rest = (uint64_t)flags << 32 | reference->generation;
  memcpy(&out->length, &lengths, sizeof lengths);
  memcpy(&out->generation, &rest, sizeof rest);
}

/* The same with a record of the memory's. Result: 0 or -ENOMEM. */
static inline int mr_reference_make(mr_memory *memory, mr_chunk *chunk, uint8_t *data, uint32_t capacity,
                                    uint32_t flags, mr_iovec *out) {
  mr_reference *reference = mr_reference_take(memory);
  if (__builtin_expect(!reference, 0))
    return -ENOMEM;
  mr_reference_fill(memory, reference, chunk, data, capacity, flags, out);
  return 0;
}

/* iovec.c */

/* Gives [from, to) back to chunk when nothing has been allocated behind it. */
void mr_chunk_give_back(mr_memory *memory, mr_chunk *chunk, uint8_t *from, uint8_t *to);

/* shared.c */

/* Makes a fresh LOCAL iovec a SHARED one. Result: 0 or -ENOMEM. */
int mr_shared_make(mr_memory *memory, mr_iovec *iovec);
int mr_shared_release(mr_reference *reference, uint32_t generation);
int mr_shared_clone(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length);
/* Ends the owner's generation of a record. Result: 1, or 0 when another thread was faster. */
int mr_shared_claim(mr_reference *reference, uint32_t generation, uint32_t next);
/* Ends a SHARED allocation whose last reference has gone; on its memory's thread. */
void mr_shared_end(mr_memory *memory, mr_reference *root);
/* Hands a LOCAL reference to the memory that it belongs to. */
int mr_foreign_release(mr_memory *memory, mr_reference *reference, uint32_t generation);

#endif
