/*
 * standard.h - standard output and standard error without waiting.
 *
 * What is written goes into memory, and from there to the descriptor as far as that takes it at once; the rest follows when the loop hears
 * that there is room. The flags of the descriptor, which other processes share, are never changed.
 */
#ifndef MR_STANDARD_H
#define MR_STANDARD_H

#include "../loop/loop.h"

typedef struct mr_standard mr_standard;

/* The part that Lua writes to directly. */
struct mr_standard {
  uint8_t *data;
  int32_t used;     /* behind what is to go out */
  int32_t capacity; /* used may grow up to here; mr_standard_room makes it more */
  int32_t first;    /* before it: what has gone out already */
  int32_t blocked;  /* 1: the descriptor takes nothing more just now; the loop waits for that to change */
  int32_t awaited;  /* set by who waits: MR_EVENT_OUTPUT comes when some of it has gone out */
};

/* Makes sure that 0, 1 and 2 are open. One that was closed reads and writes nothing, instead of being the next socket. */
MR_API void mr_standard_secure(void);

/* That of descriptor 1 or 2; NULL without memory. */
MR_API mr_standard *mr_standard_open(int descriptor);

/* Whether it is a terminal. */
MR_API int mr_standard_is_terminal(int descriptor);

/* Room for `length` bytes more behind `used`. Result: 0 or -ENOMEM. */
MR_API int mr_standard_room(mr_standard *standard, uint32_t length);

/* Puts a number behind `used`, where there are MR_STANDARD_NUMBER_BYTES, as Lua's tostring writes it. Result: its bytes. */
enum { MR_STANDARD_NUMBER_BYTES = 32 };
MR_API int mr_standard_number(mr_standard *standard, double number);

/*
 * Writes what can be written without waiting. Where something is left, the loop goes on with it. Result: the bytes left; negative
 * errno when writing has failed, and then all of it has been dropped.
 */
MR_API int mr_standard_flush(mr_standard *standard, mr_loop *loop);

/*
 * Writes all of it, waiting outside of any loop for up to `seconds` (negative: as long as it takes). Result: 0, -ETIMEDOUT, or the
 * negative errno of the failure, including one that the loop has met and nobody was told of.
 */
MR_API int mr_standard_finish(mr_standard *standard, double seconds);

/* The negative errno of a failure that nobody was told of, or 0; that is told with this. */
MR_API int mr_standard_error(mr_standard *standard);

#endif
