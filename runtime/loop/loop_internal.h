/*
 * loop_internal.h - what every kind of operation has of the loop: its state, numbers for completions, events, timers, and how
 * others wake it.
 *
 * Arrows point here. Each kind keeps what it needs in a record of its own, whose inside this file does not know; turn.c, which
 * knows all kinds, has them made and calls them.
 *
 * Who owes what: each operation in the kernel is counted on its object (owed) and on the loop (operations). An object's
 * slot is given out again only when it is closed and nothing is owed, so that a completion, however late, finds its object;
 * the generation in user_data tells a later owner of the slot from the one that asked.
 */
#ifndef MR_LOOP_INTERNAL_H
#define MR_LOOP_INTERNAL_H

#include "loop/loop.h"
#include "loop/slots.h"
#include "uring/uring.h"

enum {
  EVENTS_MAX = 1024,
  EVENTS_SPARE = 64, /* one completion may stand for every signal there is */
  RECEIVE_GROUP = 0, /* the receive ring's number; datagrams have those after it */
};

/* What a completion belongs to: user_data is kind:8 | generation:24 | slot:32. */
typedef enum mr_operation {
  OPERATION_IGNORED,
  OPERATION_ACCEPT,
  OPERATION_RECEIVE,
  OPERATION_SEND,
  OPERATION_CONNECT,
  OPERATION_PROCESS,
  OPERATION_STANDARD,
  OPERATION_WAKE,
  OPERATION_CALL,
  OPERATION_DATAGRAM_RECEIVE,
  OPERATION_DATAGRAM_SEND,
  OPERATION_DATAGRAM_ROOM,
  OPERATION_RESOLVER,
} mr_operation;

typedef enum mr_timer_use {
  TIMER_FREE,
  TIMER_LUA,
  TIMER_FIRED, /* its event is in the array */
  TIMER_LINGER,
  TIMER_ACCEPT,
  TIMER_PROCESS,
  TIMER_RESOLVER,
  TIMER_DATAGRAM,
} mr_timer_use;

typedef struct mr_timer {
  int64_t deadline; /* ns, monotonic */
  int32_t place;    /* in the heap, or the next free timer */
  int32_t target;   /* slot of the object it is for */
  uint8_t use;
} mr_timer;

typedef struct mr_timers {
  mr_timer *timers;
  int32_t *heap; /* timer slots, the earliest first, four children each */
  int32_t count, capacity;
  int32_t free; /* -1: none */
} mr_timers;

/* The records of the kinds. */
typedef struct mr_connection mr_connection;
typedef struct mr_receive_ring mr_receive_ring;
typedef struct mr_piece mr_piece;
typedef struct mr_message mr_message;
typedef struct mr_datagrams mr_datagrams;
typedef struct mr_resolvers mr_resolvers;
typedef struct mr_processes mr_processes;
typedef struct mr_calls mr_calls;

struct mr_loop {
  mr_uring *ring;
  mr_memory *memory;
  mr_loop_options options;
  mr_event events[EVENTS_MAX + EVENTS_SPARE];
  int event_count;
  int64_t now;           /* ns, monotonic */
  int64_t pressure_told; /* when Lua last heard that memory is short */
  mr_timers timers;
  mr_receive_ring *receive;
  mr_slots connections, listeners;
  mr_connection *dirty_first, *dirty_last;
  mr_connection *quick_first; /* those whose quick send is in flight */
  int quick_awaited;          /* something is to happen once one of them has ended, so the submission must not wait */
  mr_datagrams *datagrams;
  mr_resolvers *resolvers;
  mr_piece *free_pieces;
  void *piece_blocks;
  mr_message *messages;
  int message_count;
  int signals_awaited;
  mr_processes *processes;
  int wake_fd; /* eventfd for signals and helper threads, -1 until one of them is needed; closed under the helpers' lock */
  int wake_armed;
  uint64_t wake_value;
  mr_calls *calls;
  int ending;
  int flushing; /* connections in CONNECTION_FLUSHING */
  mr_loop *next_living;
  mr_loop_statistics statistics;
};

static inline uint64_t user_data_make(mr_operation operation, uint32_t generation, int32_t slot) {
  return (uint64_t)operation << 56 | (uint64_t)(generation & 0xffffff) << 32 | (uint32_t)slot;
}

static inline uint64_t user_data_of(mr_operation operation, const mr_slot *slot) {
  return user_data_make(operation, slot->generation, slot->number);
}

static inline int generation_matches(uint64_t user_data, uint32_t generation) {
  return ((user_data >> 32) & 0xffffff) == (generation & 0xffffff);
}

/* loop.c */
void mr_loop_living_add(mr_loop *loop);
void mr_loop_living_remove(const mr_loop *loop);
int mr_loop_lives(const mr_loop *loop); /* whether it is one that this thread has made and not destroyed */
/* Ends what the guard stands for. Result: its loop, or NULL when that is gone or the guard was released before. */
mr_loop *mr_guard_end(mr_guard *guard);
/* How long receive buffers are still kept, in nanoseconds: 0 once they have been of no use for a while, -1 while they are. */
int64_t mr_rings_kept(const mr_loop *loop, int in_use, int64_t *idle_since);
void mr_event_push(mr_loop *loop, mr_event_kind kind, int32_t slot, int32_t result);

/* timer.c */
int mr_timers_start(mr_loop *loop, int64_t delay, mr_timer_use use, int32_t target);
void mr_timers_stop(mr_loop *loop, int timer);
int64_t mr_timers_next(const mr_loop *loop); /* ns until the first is due, -1: none is armed */
void mr_timers_expire(mr_loop *loop,
                      void (*expired)(mr_loop *loop, mr_timer_use use, int32_t target)); /* those of the kinds */
void mr_timers_recycle(mr_loop *loop); /* frees the numbers of the last turn's events */
void mr_timers_destroy(mr_loop *loop);

/* wake.c */
int mr_wake_open(mr_loop *loop);      /* from now on writing to wake_fd wakes the loop. Result: 0 or negative errno */
void mr_wake_prepare(mr_loop *loop);  /* before each submission, unless nobody will wake the loop any more */
void mr_wake_complete(mr_loop *loop); /* somebody has written there, or the read was cancelled */
void mr_wake_close(mr_loop *loop);

/* signal.c */
void mr_signals_collect(mr_loop *loop); /* tells Lua of those that have come */
void mr_signals_destroy(mr_loop *loop);

#endif
