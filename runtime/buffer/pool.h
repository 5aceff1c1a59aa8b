/*
 * pool.h - buffers that are used again.
 *
 * Who acquires gets a lease: a number in the shape of a pointer that stands for one record in one term of use. A released lease
 * never matches its record again, so an old holder can neither use nor release what has gone to a new owner, although the
 * record itself is recycled. Leases are values: compiled Lua keeps them in registers.
 *
 * A lease is the record's address, in the low 48 bits, with the term in the bits around it that an aligned address leaves
 * free. A record whose terms are used up is retired. Records are never freed, so any lease may be asked at any time.
 *
 * A holder is what a scope has of this: the list of the leases that it releases together.
 */
#ifndef MR_POOL_H
#define MR_POOL_H

#include "buffer.h"

typedef struct mr_pool mr_pool;
typedef struct mr_holder mr_holder;
typedef struct mr_lease mr_lease; /* never defined: a mr_lease * is not to be followed */

typedef struct mr_record {
  mr_buffer buffer; /* closed while nobody holds it */
  mr_lease *lease;  /* the lease that holds it; a value that no lease has when none does */
  struct mr_record *next_free;
  mr_pool *pool;
  uint8_t *spare; /* while it is free: the memory it keeps, of */
  int32_t spare_bytes;
  int32_t bucket;
  mr_holder *holder; /* whose list it is in; NULL: nobody's */
  struct mr_record *older, *newer;
} mr_record;

struct mr_holder {
  mr_record *newest;          /* NULL: it holds nothing */
  mr_pool *pool;              /* where its memory is made */
  mr_holder *previous, *next; /* among all holders */
};

typedef struct mr_pool_statistics {
  double acquired;   /* since the start */
  double reused;     /* of those, with memory that was there */
  double released;   /* since the start */
  double in_use;     /* leases that have not been released */
  double idle_count; /* buffers kept */
  double idle_bytes;
} mr_pool_statistics;

/* A pool that keeps up to max_bytes of idle memory; `size` is what most of its buffers are. NULL when there is no memory. */
MR_API mr_pool *mr_pool_create(uint32_t size, double max_bytes);

/* Frees what is idle. Leases in use stay good; their memory is freed when they are released. Safe as a finalizer. */
MR_API void mr_pool_destroy(mr_pool *pool);

/* A buffer of `size` bytes (position 0, limit = capacity = size) out of what is idle, or NULL. */
MR_API mr_lease *mr_pool_take(mr_pool *pool, uint32_t size);

/* The same with new memory, whose first byte is aligned (0: not); an aligned one is for a pool that keeps nothing. Result: 0 and *lease, or as of mr_buffer_allocate. */
MR_API int mr_pool_make(mr_pool *pool, mr_memory *memory, uint32_t size, uint32_t alignment, mr_lease **lease);

/* Ends the lease; its memory goes back to the pool unless somebody else still refers to it. Does nothing when it has ended. */
MR_API void mr_lease_release(mr_lease *lease);

/* A list of leases whose memory the pool makes, which must outlive it. NULL when there is no memory. */
MR_API mr_holder *mr_holder_create(mr_pool *pool);

/* Releases all that it holds and frees it. Safe as a finalizer. */
MR_API void mr_holder_destroy(mr_holder *holder);

/*
 * A buffer of `size` bytes out of new memory, held. NULL when that is not done here: no record is at hand, a size of 0 or above
 * MR_SLAB_BYTES, no memory. mr_pool_make and mr_holder_add then do it or tell why not.
 */
MR_API mr_lease *mr_holder_allocate(mr_holder *holder, mr_memory *memory, uint32_t size);

/* Holds a lease that nobody holds. */
MR_API void mr_holder_add(mr_holder *holder, mr_lease *lease);

/* Lets go of a lease, which stays good. Result: 1, or 0 when the holder does not hold it. */
MR_API int mr_holder_remove(mr_holder *holder, mr_lease *lease);

/* Releases all that it holds, the last held first. */
MR_API void mr_holder_release(mr_holder *holder);

MR_API void mr_pool_statistics_get(const mr_pool *pool, mr_pool_statistics *out);

#ifndef MR_CDEF
_Static_assert(sizeof(mr_record) == 128, "the low seven bits of a record's address carry a part of the term");
#endif

#endif
