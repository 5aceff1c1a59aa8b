/*
 * iovec.h - slabs, chunks and counted iovecs.
 *
 * A slab is one large mapping. It is carved into chunks; an iovec is a counted slice of a chunk. Every iovec that is not
 * empty owns exactly one reference record, and the record's generation tells a live holder from a stale copy: releasing
 * twice, or through a copy of the structure, gives -ESTALE and changes nothing.
 *
 * One mr_memory belongs to one thread. Its iovecs may outlive it: what is still held when it is destroyed stays mapped
 * until the last holder lets go.
 */
#ifndef MR_IOVEC_H
#define MR_IOVEC_H

typedef struct mr_memory mr_memory;
typedef struct mr_reference mr_reference;

/* A counted slice. All zero is the empty iovec, which owns nothing and may be released any number of times. */
typedef struct mr_iovec {
  uint8_t *data;
  mr_reference *reference;
  uint32_t length;   /* bytes that hold data */
  uint32_t capacity; /* bytes from data on that belong to this slice; length <= capacity */
  uint32_t generation;
  uint32_t flags;
} mr_iovec;

enum {
  MR_SLAB_BYTES = 4194304,    /* one mapping, and the longest contiguous iovec */
  MR_CHUNK_BYTES = 65536,     /* the unit that slabs are carved into */
  MR_ALIGNMENT_MAX = 2097152, /* a huge page */
};

/* Counters of one memory, all of the present unless they say otherwise. */
typedef struct mr_memory_statistics {
  uint64_t slab_count;
  uint64_t slab_bytes; /* mapped */
  uint64_t slab_bytes_peak;
  uint64_t chunk_count; /* chunks with at least one holder or open for allocation */
  uint64_t chunk_bytes;
  uint64_t iovec_count; /* references not yet released */
  uint64_t iovec_bytes; /* capacity of all allocations whose memory has not come home */
  uint64_t allocations; /* since the start */
} mr_memory_statistics;

/*
 * Makes a memory for the calling thread. limit_bytes bounds what it maps, 0 for no bound.
 * Result: 0 and *memory, or -ENOMEM. Destroy it with mr_memory_destroy.
 */
MR_API int mr_memory_create(uint64_t limit_bytes, mr_memory **memory);

/* Ends a memory. What is still held stays valid and is unmapped by its last release. Result: the iovecs still held. */
MR_API int64_t mr_memory_destroy(mr_memory *memory);

MR_API void mr_memory_statistics_get(const mr_memory *memory, mr_memory_statistics *out);

/*
 * Allocates 1..max_iovecs iovecs whose lengths add up to `length` bytes, each start aligned to `alignment` (a power of
 * two up to MR_ALIGNMENT_MAX, 0 for none). The rest of the chunk in use is taken first when more than one iovec is
 * allowed. Result: the number of iovecs in out[], each owned by the caller; 0 for a length of 0; -EINVAL for a bad
 * argument; -ENOBUFS when max_iovecs do not suffice; -ENOMEM at the limit or when the system refuses. On failure out[] is
 * zeroed and nothing has changed.
 */
MR_API int mr_iovec_alloc(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, uint32_t flags,
                          mr_iovec *out);

/* Drops the iovec's reference and empties it. Result: 0, or -ESTALE when it had been released already. */
MR_API int mr_iovec_release(mr_iovec *iovec);

/* Makes *target another reference to the bytes of source. Result: 0, or -ESTALE with *target empty. */
MR_API int mr_iovec_clone(mr_iovec *target, const mr_iovec *source);

/* The same for `length` bytes from `offset` on. Result: 0; -EINVAL when they are not inside source's length; -ESTALE. */
MR_API int mr_iovec_clone_segment(mr_iovec *target, const mr_iovec *source, uint32_t offset, uint32_t length);

/* Hands the reference over: source becomes empty. Moving onto itself does nothing. Result: 0 or -ESTALE. */
MR_API int mr_iovec_move(mr_iovec *target, mr_iovec *source);

/* How many references hold the chunk that the iovec lies in, itself included; 0 when it is empty or stale. */
MR_API int mr_iovec_holders(const mr_iovec *iovec);

#ifndef MR_CDEF
_Static_assert(sizeof(mr_iovec) == 32, "an iovec is two words and four counters");
#endif

#endif
