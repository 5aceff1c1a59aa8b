/*
 * iovec.c - where iovecs come from: allocation, reservation, memory of others.
 *
 * Allocation bumps an offset in the open chunk of the request's class, so neighbours in time are neighbours in memory, which is
 * what lets the send path glue small pieces together without a copy. A chunk goes back to its slab when its last
 * reference is released; an open chunk that nobody holds any more starts again at its first byte, so a loop that allocates
 * and releases stays in the same cache lines.
 *
 * Why classes and not one open chunk: bump allocation pins a chunk for its longest-lived byte. With one class of 64 KiB, one 16-byte
 * holder in every 64 KiB of churn pins all of it; with chunks of 4, 16 and 64 KiB, taken so that at least eight allocations
 * fit, a holder pins at most eight times the largest size of its class: 4 KiB for up to 512 bytes. Tails are lost only to requests that
 * insist on one piece. Measured (scripts/bench/memory): 10,000 holders of 16 bytes, one after each 100 KiB of churn,
 * 1 GiB in all, keep 1.2 MiB of chunks; with the one class of 64 KiB they keep 234 MiB.
 */
#include "memory/memory.h"

#include <stdlib.h>
#include <string.h>

#include "memory/iovec_internal.h"

enum {
  ALLOCATIONS_PER_CHUNK = 8,     /* at the least: what bounds the memory that one small holder pins */
  BUMP_MAX = MR_CHUNK_BYTES / 2, /* longer ones get units of their own */
  LENGTH_MAX = INT32_MAX,
};

/* A request whose arguments have been checked. */
typedef struct request {
  mr_memory *memory;
  uint32_t length, alignment, max_iovecs;
  uint32_t guard; /* bytes behind each piece; trace mode */
  const char *what;
} request;

static mr_chunk_class class_of(uint32_t length) {
  mr_chunk_class class = MR_CLASS_SMALL;
  while (class < MR_CLASS_UNIT && length > mr_chunk_sizes[class] / ALLOCATIONS_PER_CHUNK)
    class ++;
  return class;
}

static uint32_t align_up(uint32_t offset, uint32_t alignment) {
  return (offset + alignment - 1) & ~(alignment - 1);
}

/* Takes `length` bytes and their guard from a chunk, which has them at `offset`. */
static inline int bump(const request *want, mr_chunk *chunk, uint32_t offset, uint32_t length, uint32_t guard,
                       mr_iovec *out) {
  int error = mr_reference_make(want->memory, chunk, chunk->base + offset, length, 0, out);
  if (__builtin_expect(error, 0))
    return error;
  chunk->offset = offset + length + guard;
  MR_UNPOISON(out->data, length + guard);
  if (__builtin_expect(mr_trace_on, 0))
    mr_trace_allocated(want->memory, chunk, out->reference, out->data, length, guard, want->what);
  return 0;
}

/* Opens a fresh chunk of the class in place of the one in use. */
static mr_chunk *open_next(mr_memory *memory, mr_chunk_class class) {
  mr_chunk *chunk;
  if (mr_memory_chunk(memory, class, 0, 0, &chunk))
    return NULL;
  if (memory->open[class])
    mr_memory_close_chunk(memory, memory->open[class]);
  memory->open[class] = chunk;
  chunk->open = 1;
  return chunk;
}

/* One contiguous piece from fresh memory. */
static int allocate_fresh(const request *want, mr_chunk_class class, uint32_t length, mr_iovec *out) {
  uint32_t guard = length + want->guard <= MR_SLAB_BYTES ? want->guard : 0;
  if (length + guard <= BUMP_MAX && want->alignment <= MR_CHUNK_BYTES) {
    while (mr_chunk_sizes[class] < want->alignment)
      class ++;
    mr_chunk *chunk = open_next(want->memory, class);
    return chunk ? bump(want, chunk, 0, length, guard, out) : -ENOMEM;
  }
  mr_chunk *chunk;
  int error = mr_memory_chunk(want->memory, MR_CLASS_RUN, length + guard, want->alignment, &chunk);
  if (error)
    return error;
  error = bump(want, chunk, 0, length, guard, out);
  if (error)
    mr_chunk_return(&want->memory->slabs, chunk);
  return error;
}

static uint32_t pieces_needed(uint32_t tail, uint32_t length) {
  uint32_t fresh = tail < length ? length - tail : 0;
  return (tail > 0) + (fresh + MR_SLAB_BYTES - 1) / MR_SLAB_BYTES;
}

/* The rest of the open chunk first, then fresh pieces of up to a slab. */
static int allocate_pieces(const request *want, mr_chunk_class class, mr_iovec *out) {
  mr_chunk *open = want->memory->open[class];
  uint32_t saved_offset = open ? open->offset : 0;
  uint32_t at = open ? align_up(saved_offset, want->alignment) : 0;
  uint32_t tail =
      open && want->alignment <= open->size && at + want->guard < open->size ? open->size - at - want->guard : 0;
  if (pieces_needed(tail, want->length) > want->max_iovecs)
    tail = 0;
  if (pieces_needed(tail, want->length) > want->max_iovecs)
    return -ENOBUFS;
  uint32_t fresh = tail < want->length ? want->length - tail : 0;
  int count = 0, error = 0;
  if (tail) {
    error = bump(want, open, at, tail < want->length ? tail : want->length, want->guard, out);
    count += !error;
  }
  while (!error && fresh) {
    uint32_t piece = fresh < MR_SLAB_BYTES ? fresh : MR_SLAB_BYTES;
    error = allocate_fresh(want, class, piece, &out[count]);
    count += !error;
    fresh -= piece;
  }
  if (!error)
    return count;
  mr_iovecs_release(out, (uint32_t)count);
  memset(out, 0, want->max_iovecs * sizeof *out);
  if (tail && want->memory->open[class] == open && open->holders && !want->guard)
    open->offset = saved_offset;
  return error;
}

/* -EINVAL, or 0 with the alignment's default put in. */
static int check_alignment(uint32_t *alignment) {
  if (*alignment == 0)
    *alignment = 1;
  return *alignment > MR_ALIGNMENT_MAX || (*alignment & (*alignment - 1)) ? -EINVAL : 0;
}

static int share_all(mr_memory *memory, mr_iovec *iovecs, int count) {
  for (int i = 0; i < count; i++) {
    int error = mr_shared_make(memory, &iovecs[i]);
    if (error) {
      mr_iovecs_release(iovecs, (uint32_t)count);
      memset(iovecs, 0, (size_t)count * sizeof *iovecs);
      return error;
    }
  }
  return count;
}

static inline int allocate(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, uint32_t flags,
                           mr_iovec *out, const char *what) {
  if (max_iovecs == 0)
    return -EINVAL;
  out[0] = (mr_iovec){0};
  if (max_iovecs > 1)
    memset(out, 0, max_iovecs * sizeof *out);
  if (length > LENGTH_MAX || (flags & ~(uint32_t)MR_IOVEC_SHARED) || check_alignment(&alignment))
    return -EINVAL;
  if (length == 0)
    return 0;
  if (!mr_is_own(memory))
    return -EPERM;
  if (memory->slabs.limit_bytes && length > memory->slabs.limit_bytes) {
    memory->refusals++;
    return -ENOMEM;
  }
  request want = {memory, length, alignment, max_iovecs, mr_trace_guard(), what};
  uint32_t space = length + want.guard;
  mr_chunk_class class = class_of(space);
  mr_chunk *open = memory->open[class];
  int count = -1;
  if (open && space <= BUMP_MAX && alignment <= open->size) {
    uint32_t at = align_up(open->offset, alignment);
    if (at < open->size && space <= open->size - at) {
      int error = bump(&want, open, at, length, want.guard, out);
      if (error)
        return error;
      count = 1;
    }
  }
  if (count < 0) {
    if (alignment > mr_chunk_sizes[class])
      want.max_iovecs = 1;
    count = allocate_pieces(&want, class, out);
    if (count < 0)
      return count;
  }
  memory->allocations++;
  return __builtin_expect(flags != 0, 0) ? share_all(memory, out, count) : count;
}

int mr_iovec_alloc(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, uint32_t flags,
                   mr_iovec *out) {
  return allocate(memory, length, alignment, max_iovecs, flags, out, "mr_iovec_alloc");
}

int mr_iovec_reserve(mr_memory *memory, uint32_t length, uint32_t alignment, uint32_t max_iovecs, mr_iovec *out) {
  int count = allocate(memory, length, alignment, max_iovecs, 0, out, "mr_iovec_reserve");
  for (int i = 0; i < count; i++)
    out[i].reference->special |= REFERENCE_RESERVED;
  return count;
}

void mr_chunk_give_back(mr_memory *memory, mr_chunk *chunk, uint8_t *from, uint8_t *to) {
  if (chunk->class > MR_CLASS_UNIT || chunk->base + chunk->offset != to)
    return;
  if (!chunk->open) {
    /* A later piece has opened another chunk: when that one is unused again, this one takes its place. */
    mr_chunk *other = memory->open[chunk->class];
    if (other && other->holders)
      return;
    if (other)
      mr_memory_close_chunk(memory, other);
    memory->open[chunk->class] = chunk;
    chunk->open = 1;
  }
  chunk->offset = (uint32_t)(from - chunk->base);
  MR_POISON(from, (size_t)(to - from));
}

/* Shortens a reference that is the only one to its bytes. */
static void shrink(mr_memory *memory, mr_iovec *iovec, uint32_t length) {
  mr_reference *reference = iovec->reference;
  uint32_t old = reference->capacity, guard = 0;
  if (reference->special & REFERENCE_NOTED) {
    guard = mr_trace_guard_of(reference);
    mr_trace_shrunk(reference, length);
  }
  mr_chunk_give_back(memory, reference->chunk, iovec->data + length + guard, iovec->data + old + guard);
  memory->iovec_bytes -= old - length;
  if (reference->special & REFERENCE_LUA)
    memory->account.lua_bytes -= old - length;
  reference->capacity = length;
  iovec->capacity = iovec->length = length;
}

/* 0 when all are open reservations of this memory, each named once and filled within its bounds; they are marked as seen. */
static int commit_check(const mr_memory *memory, mr_iovec *iovecs, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    mr_reference *reference = iovecs[i].reference;
    int error = 0;
    if (reference && !mr_generation_is(reference, iovecs[i].generation))
      error = mr_iovec_stale(&iovecs[i], "mr_iovec_commit");
    else if (!reference || reference->chunk->memory != memory ||
             (reference->special & (REFERENCE_RESERVED | REFERENCE_SEEN)) != REFERENCE_RESERVED ||
             iovecs[i].capacity != reference->capacity || iovecs[i].length > reference->capacity)
      error = -EINVAL;
    if (error) {
      while (i--)
        iovecs[i].reference->special &= ~(uint32_t)REFERENCE_SEEN;
      return error;
    }
    reference->special |= REFERENCE_SEEN;
  }
  return 0;
}

int mr_iovec_commit(mr_memory *memory, uint32_t alignment, mr_iovec *iovecs, uint32_t count) {
  if (check_alignment(&alignment))
    return -EINVAL;
  if (!mr_is_own(memory))
    return -EPERM;
  int error = commit_check(memory, iovecs, count);
  if (error)
    return error;
  int kept = 0;
  mr_chunk *end = NULL; /* where the last filled byte is */
  while (count--) {
    mr_iovec *iovec = &iovecs[count];
    mr_reference *reference = iovec->reference;
    reference->special &= ~(uint32_t)(REFERENCE_RESERVED | REFERENCE_SEEN);
    if (iovec->length != reference->capacity)
      shrink(memory, iovec, iovec->length);
    if (iovec->length == 0) {
      mr_iovec_drop(iovec);
      continue;
    }
    if (!end)
      end = reference->chunk;
    kept++;
  }
  if (end && end->open && align_up(end->offset, alignment) <= end->size)
    end->offset = align_up(end->offset, alignment);
  return kept;
}

uint8_t *mr_iovec_room(const mr_iovec *iovec, uint32_t length) {
  const mr_chunk *chunk = iovec->reference->chunk;
  uint8_t *end = iovec->data + iovec->length;
  if (iovec->reference->special || mr_trace_on || !chunk->open || end != chunk->base + chunk->offset ||
      length > chunk->size - chunk->offset)
    return NULL;
  MR_UNPOISON(end, length);
  return end;
}

void mr_iovec_grow(mr_iovec *iovec, uint32_t length) {
  mr_reference *reference = iovec->reference;
  mr_chunk *chunk = reference->chunk;
  chunk->offset += length;
  iovec->length += length;
  iovec->capacity += length;
  reference->capacity += length;
  chunk->memory->iovec_bytes += length;
}

int mr_iovec_trim(mr_iovec *iovec, uint32_t length) {
  if (length > iovec->length)
    return -EINVAL;
  if (!iovec->reference)
    return 0;
  if (!mr_is_live(iovec))
    return mr_iovec_stale(iovec, "mr_iovec_trim");
  if (iovec->reference->capacity == iovec->capacity)
    shrink(iovec->reference->chunk->memory, iovec, length);
  iovec->length = length;
  return 0;
}

static int wrap(mr_memory *memory, uint8_t *data, uint32_t length, uint32_t flags, mr_chunk **chunk, mr_iovec *out) {
  *out = (mr_iovec){0};
  if (!data || length > LENGTH_MAX || (flags & ~(uint32_t)(MR_IOVEC_SHARED | MR_IOVEC_READONLY)))
    return -EINVAL;
  if (!mr_is_own(memory))
    return -EPERM;
  *chunk = mr_chunk_foreign(&memory->slabs, memory, data, length);
  if (!*chunk)
    return -ENOMEM;
  int error = mr_reference_make(memory, *chunk, data, length, flags & MR_IOVEC_READONLY, out);
  if (error) {
    mr_chunk_forget(&memory->slabs, *chunk);
    return error;
  }
  memory->foreign_bytes += length;
  if (mr_trace_on)
    mr_trace_allocated(memory, *chunk, out->reference, data, length, 0, "mr_iovec_wrap");
  out->flags = flags & MR_IOVEC_READONLY;
  if (!(flags & MR_IOVEC_SHARED))
    return 0;
  error = share_all(memory, out, 1);
  return error < 0 ? error : 0;
}

int mr_iovec_wrap(mr_memory *memory, uint8_t *data, uint32_t length, uint32_t flags, mr_iovec_released *on_release,
                  void *context, mr_iovec *out) {
  mr_chunk *chunk;
  int error = wrap(memory, data, length, flags, &chunk, out);
  if (error)
    return error;
  chunk->on_release = on_release;
  chunk->context = context;
  return 0;
}

int mr_iovec_wrap_anchored(mr_memory *memory, const uint8_t *data, uint32_t length, uint32_t flags, int32_t anchor,
                           mr_iovec *out) {
  mr_chunk *chunk;
  *out = (mr_iovec){0};
  if (anchor <= 0)
    return -EINVAL;
  int error = wrap(memory, (uint8_t *)data, length, flags, &chunk, out);
  if (error)
    return error;
  chunk->anchor = anchor;
  return 0;
}
