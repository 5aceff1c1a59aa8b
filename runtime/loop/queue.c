/*
 * queue.c - queues of slices. Pieces that lie one behind the other in memory, as small writes of one turn do, are glued into one.
 */
#include "loop/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECES_PER_BLOCK = 256 };

typedef struct piece_block {
  struct piece_block *next;
  mr_piece pieces[PIECES_PER_BLOCK];
} piece_block;

mr_piece *mr_piece_take(mr_loop *loop) {
  if (!loop->free_pieces) {
    piece_block *block = calloc(1, sizeof *block);
    if (!block)
      return NULL;
    block->next = loop->piece_blocks;
    loop->piece_blocks = block;
    for (int i = PIECES_PER_BLOCK - 1; i >= 0; i--) {
      block->pieces[i].next = loop->free_pieces;
      loop->free_pieces = &block->pieces[i];
    }
  }
  mr_piece *piece = loop->free_pieces;
  loop->free_pieces = piece->next;
  piece->next = NULL;
  return piece;
}

void mr_piece_give(mr_loop *loop, mr_piece *piece) {
  if (piece->is_file)
    close(piece->file);
  piece->is_file = 0;
  mr_iovec_drop(&piece->iovec);
  piece->next = loop->free_pieces;
  loop->free_pieces = piece;
}

void mr_pieces_destroy(mr_loop *loop) {
  for (piece_block *block = loop->piece_blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
}

void mr_queue_link(mr_queue *queue, mr_piece *piece) {
  if (queue->last)
    queue->last->next = piece;
  else
    queue->first = piece;
  queue->last = piece;
}

int mr_queue_append(mr_loop *loop, mr_queue *queue, mr_iovec *iovec) {
  uint32_t length = iovec->length;
  if (!queue->last || queue->last->is_file || !mr_iovec_extend(&queue->last->iovec, iovec)) {
    mr_piece *piece = mr_piece_take(loop);
    if (!piece) {
      mr_iovec_release(iovec);
      return -ENOMEM;
    }
    /* Handed on as it is: what moves inside the loop needs no new generation to tell old holders by. */
    piece->iovec = *iovec;
    *iovec = (mr_iovec){0};
    mr_queue_link(queue, piece);
  }
  queue->bytes += length;
  return 0;
}

void mr_queue_drop_first(mr_loop *loop, mr_queue *queue) {
  mr_piece *piece = queue->first;
  queue->first = piece->next;
  if (!queue->first)
    queue->last = NULL;
  queue->files -= (uint32_t)piece->is_file;
  mr_piece_give(loop, piece);
}

void mr_queue_clear(mr_loop *loop, mr_queue *queue) {
  while (queue->first)
    mr_queue_drop_first(loop, queue);
  queue->bytes = 0;
}

void mr_queue_consume(mr_loop *loop, mr_queue *queue, uint64_t bytes) {
  queue->bytes -= bytes;
  while (bytes) {
    mr_piece *piece = queue->first;
    mr_iovec *iovec = &piece->iovec;
    if (bytes < iovec->length && piece->is_file) {
      piece->offset += (int64_t)bytes;
      iovec->length -= (uint32_t)bytes;
      return;
    }
    if (bytes < iovec->length) {
      iovec->data += bytes;
      iovec->length -= (uint32_t)bytes;
      iovec->capacity -= (uint32_t)bytes;
      return;
    }
    bytes -= iovec->length;
    mr_queue_drop_first(loop, queue);
  }
}
