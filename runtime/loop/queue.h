/*
 * queue.h - internal: queues of slices, and what they are made of, as connections and datagram sockets have them.
 */
#ifndef MR_QUEUE_H
#define MR_QUEUE_H

#include "loop/loop_internal.h"
#include "memory/iovec_internal.h"

/* A link of a queue: memory, or bytes of a file, of which the iovec has the length only. */
struct mr_piece {
  mr_iovec iovec;
  mr_piece *next;
  int64_t offset; /* of the file's next byte */
  int file;       /* a descriptor, the piece's own */
  int is_file;
};

typedef struct mr_queue {
  mr_piece *first, *last;
  uint64_t bytes;
  uint32_t files; /* pieces that are of files */
} mr_queue;

mr_piece *mr_piece_take(mr_loop *loop);             /* NULL: no memory */
void mr_piece_give(mr_loop *loop, mr_piece *piece); /* releases what it still holds */
void mr_pieces_destroy(mr_loop *loop);

void mr_queue_link(mr_queue *queue, mr_piece *piece);                 /* its bytes are for the caller to count */
int mr_queue_append(mr_loop *loop, mr_queue *queue, mr_iovec *iovec); /* takes the reference, also on failure */
void mr_queue_drop_first(mr_loop *loop, mr_queue *queue); /* its bytes are counted out of the queue already */
void mr_queue_clear(mr_loop *loop, mr_queue *queue);
void mr_queue_consume(mr_loop *loop, mr_queue *queue, uint64_t bytes); /* takes so many off the front */

#endif
