/*
 * buffer.c - making and releasing cursors. Reading and writing through them is Lua's part (lua/moonring/buffer.lua), where it
 * compiles to a bounds check and a load.
 */
#include "moonring.h"

#include <errno.h>
#include <string.h>

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
  mr_iovec iovec;
  int count = mr_iovec_alloc(memory, capacity, alignment, 1, 0, &iovec);
  return count < 0 ? count : mr_buffer_adopt(buffer, &iovec);
}

int mr_buffer_slice(mr_buffer *target, const mr_buffer *source) {
  mr_iovec part = {0};
  int error = 0;
  if (!(source->flags_ & MR_BUFFER_OPEN))
    error = -ESTALE;
  else if (source->memory_.reference)
    error = mr_iovec_clone_segment(&part, &source->memory_, (uint32_t)source->position_,
                                   (uint32_t)(source->limit_ - source->position_));
  if (error) {
    *target = (mr_buffer){0};
    return error;
  }
  uint32_t flags = source->flags_;
  mr_buffer_adopt(target, &part);
  target->flags_ = flags;
  return 0;
}

void mr_buffer_release(mr_buffer *buffer) {
  mr_iovec memory = buffer->memory_;
  if (buffer->flags_ & MR_BUFFER_OPEN)
    mr_iovec_release(&memory);
  *buffer = (mr_buffer){0};
  buffer->memory_ = memory; /* stale: by it, trace mode knows what the buffer was */
}

void mr_buffer_finalize(mr_buffer *buffer) {
  if (buffer->flags_ & MR_BUFFER_OPEN)
    mr_iovec_finalize(&buffer->memory_);
  *buffer = (mr_buffer){0};
}

void mr_bytes_move(uint8_t *to, const uint8_t *from, uint32_t length) {
  if (length)
    memmove(to, from, length);
}
