/*
 * turn.h - a loop as a whole: made, turned, asked, ended.
 *
 * Lua pulls. mr_loop_turn submits what is queued, waits for completions, does by itself all that needs no decision, and
 * fills a flat array of events, which are hints: the woken task asks the object for the truth and waits again when
 * there is nothing. A loop belongs to the thread that made it.
 */
#ifndef MR_TURN_H
#define MR_TURN_H

#include "../loop/loop.h"

/*
 * Makes a loop on the calling thread. options may be NULL. Result: 0 and *loop, or negative errno; mr_loop_explain says
 * what it means and what to do.
 */
MR_API int mr_loop_create(const mr_loop_options *options, mr_loop **loop);

/* What the kernel has for the loop, and what of it is in use. */
typedef struct mr_loop_features {
  uint32_t submission_entries, completion_entries;
  int32_t deferred;           /* 1: completions are worked off in the loop's own system call */
  int32_t cooperative;        /* 1: or at least without interrupting it */
  int32_t direct_submissions; /* 1: operations are submitted without an array in between (6.6) */
  int32_t registered;         /* 1: the ring is entered by a registered number */
  int32_t incremental;        /* 1: receive buffers are filled bit by bit (6.12), as a trial has shown */
  int32_t multishot_reads;    /* 1: pipes are read like sockets (6.7), as a trial has shown */
  int32_t last_operation;     /* the highest operation that the kernel knows, -1: unknown */
} mr_loop_features;

MR_API void mr_loop_features_get(mr_loop *loop, mr_loop_features *out);

/* Writes cause and remedy of a failed mr_loop_create, NUL-terminated, cut to size bytes. */
MR_API void mr_loop_explain(int error, char *text, size_t size);

/*
 * Ends the loop: lets closed connections send what they have queued, cancels everything else in flight, waits up to timeout
 * seconds for the kernel to return its memory, closes all descriptors, frees the loop. Result: the operations that the
 * kernel still owed (their memory is then leaked on purpose), normally 0.
 */
MR_API int mr_loop_destroy(mr_loop *loop, double timeout);

/* The same, telling also how many iovecs were still held when its memory ended. */
MR_API int mr_loop_finish(mr_loop *loop, double timeout, int64_t *iovecs_held);

/*
 * One turn: submits, waits, completes. Waits at most `timeout` seconds for the first event, 0: not at all, negative: as long as
 * it takes. Result: the number of events in mr_loop_events, 0 when the time ran out, or negative errno for a failure of
 * the ring itself; -EDEADLK when it would wait for ever: no timer is armed and the kernel owes nothing but signals. The events
 * are valid until the next turn. Who takes the connection of an MR_EVENT_ACCEPTED makes it an MR_EVENT_NONE: the connections of
 * all others are closed with the listener.
 */
MR_API int mr_loop_turn(mr_loop *loop, double timeout);

MR_API void mr_loop_statistics_get(const mr_loop *loop, mr_loop_statistics *out);

#endif
