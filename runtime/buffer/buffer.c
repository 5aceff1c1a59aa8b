/*
 * buffer.c - making, sharing and releasing cursors. Reading and writing through them is Lua's part (lua/moonring/buffer), where it
 * compiles to a bounds check and a load.
 */
#include "buffer/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A counted mapping. The count is plain: its buffers belong to one thread, and other processes count their own mappings. */
struct mr_mapping {
  uint8_t *base;
  size_t size;
  uint32_t holders;
  int descriptor; /* -1: private memory */
};

enum { PAGE_BYTES = 4096 };

static int64_t mapped_bytes; /* of all threads */

double mr_buffer_mapped_bytes(void) {
  return (double)__atomic_load_n(&mapped_bytes, __ATOMIC_RELAXED);
}

static void mapping_release(mr_mapping *mapping) {
  if (--mapping->holders)
    return;
  munmap(mapping->base, mapping->size);
  __atomic_fetch_sub(&mapped_bytes, (int64_t)mapping->size, __ATOMIC_RELAXED);
  if (mapping->descriptor >= 0)
    close(mapping->descriptor);
  free(mapping);
}

/* Maps `capacity` bytes, of descriptor where it is not -1, and makes *buffer their only holder; takes descriptor over. */
static int mapping_open(mr_buffer *buffer, int descriptor, uint32_t capacity) {
  mr_mapping *mapping = malloc(sizeof *mapping);
  int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void *base = MAP_FAILED;
  int error = ENOMEM;
  if (mapping) {
    base = mmap(NULL, capacity ? capacity : 1, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    error = errno;
  }
  if (base == MAP_FAILED) {
    free(mapping);
    if (descriptor >= 0)
      close(descriptor);
    return -error;
  }
  *mapping = (mr_mapping){.base = base, .size = capacity ? capacity : 1, .holders = 1, .descriptor = descriptor};
  __atomic_fetch_add(&mapped_bytes, (int64_t)mapping->size, __ATOMIC_RELAXED);
  buffer->data_ = base;
  buffer->limit_ = buffer->capacity_ = (int32_t)capacity;
  buffer->flags_ = MR_BUFFER_OPEN;
  buffer->mapping_ = mapping;
  return 0;
}

int mr_buffer_adopt(mr_buffer *buffer, mr_iovec *iovec) {
  mr_iovec memory = {0};
  int error = mr_iovec_move(&memory, iovec);
  *buffer = (mr_buffer){0};
  if (error)
    return error;
  buffer->data_ = memory.data;
  buffer->limit_ = buffer->capacity_ = (int32_t)memory.length;
  buffer->flags_ = MR_BUFFER_OPEN | (memory.flags & MR_IOVEC_READONLY ? MR_BUFFER_READONLY : 0);
  buffer->memory_ = memory;
  mr_iovec_hold(&buffer->memory_);
  return 0;
}

int mr_buffer_allocate(mr_memory *memory, mr_buffer *buffer, uint32_t capacity, uint32_t alignment) {
  *buffer = (mr_buffer){0};
  if (capacity > INT32_MAX || (alignment & (alignment - 1)))
    return -EINVAL;
  if (capacity > MR_SLAB_BYTES)
    return alignment > PAGE_BYTES ? -EINVAL : mapping_open(buffer, -1, capacity);
  mr_iovec iovec;
  int count = mr_iovec_alloc(memory, capacity, alignment, 1, 0, &iovec);
  return count < 0 ? count : mr_buffer_adopt(buffer, &iovec);
}

int mr_buffer_allocate_shared(mr_buffer *buffer, uint32_t capacity) {
  *buffer = (mr_buffer){0};
  if (capacity > INT32_MAX)
    return -EINVAL;
  int descriptor = memfd_create("moonring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0)
    return -errno;
  if (ftruncate(descriptor, capacity ? capacity : 1) ||
      fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
    int error = errno;
    close(descriptor);
    return -error;
  }
  return mapping_open(buffer, descriptor, capacity);
}

int mr_buffer_open_shared(mr_buffer *buffer, int descriptor, uint32_t capacity) {
  *buffer = (mr_buffer){0};
  struct stat status;
  if (fstat(descriptor, &status))
    return -errno;
  if (capacity > INT32_MAX || status.st_size < (off_t)capacity)
    return -EINVAL;
  int seals = fcntl(descriptor, F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK))
    return -EPERM;
  int own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  return own < 0 ? -errno : mapping_open(buffer, own, capacity);
}

int mr_buffer_descriptor(const mr_buffer *buffer) {
  return buffer->mapping_ ? buffer->mapping_->descriptor : -1;
}

int mr_buffer_slice_part(mr_buffer *target, mr_buffer *source, uint32_t length) {
  mr_buffer made = {0};
  int error = source->flags_ & MR_BUFFER_OPEN ? 0 : -ESTALE;
  if (!error && source->memory_.reference)
    error = mr_iovec_clone_segment(&made.memory_, &source->memory_, (uint32_t)source->position_, length);
  if (error) {
    *target = (mr_buffer){0};
    return error;
  }
  if (source->mapping_) {
    source->mapping_->holders++;
    made.mapping_ = source->mapping_;
  }
  source->flags_ |= MR_BUFFER_VIEWED;
  made.data_ = source->data_ ? source->data_ + source->position_ : NULL;
  made.limit_ = made.capacity_ = (int32_t)length;
  made.flags_ = source->flags_;
  *target = made;
  mr_iovec_hold(&target->memory_);
  return 0;
}

int mr_buffer_slice(mr_buffer *target, mr_buffer *source) {
  return mr_buffer_slice_part(target, source, (uint32_t)(source->limit_ - source->position_));
}

void mr_buffer_move(mr_buffer *target, mr_buffer *source) {
  if (target == source)
    return;
  *target = *source;
  *source = (mr_buffer){0};
}

void mr_buffer_release(mr_buffer *buffer) {
  mr_iovec memory = buffer->memory_;
  if (buffer->flags_ & MR_BUFFER_OPEN) {
    mr_iovec_release(&memory);
    if (buffer->mapping_)
      mapping_release(buffer->mapping_);
  }
  *buffer = (mr_buffer){0};
  buffer->memory_ = memory; /* stale: by it, trace mode knows what the buffer was */
}

void mr_buffer_finalize(mr_buffer *buffer) {
  if (buffer->flags_ & MR_BUFFER_OPEN) {
    mr_iovec_finalize(&buffer->memory_);
    if (buffer->mapping_)
      mapping_release(buffer->mapping_);
  }
  *buffer = (mr_buffer){0};
}
