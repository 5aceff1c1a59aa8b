/*
 * call_internal.h - system calls as their files see each other: call.c, call_file.c, call_helped.c, and helper.c.
 */
#ifndef MR_CALL_INTERNAL_H
#define MR_CALL_INTERNAL_H

#include "call/call.h"
#include "loop/loop_internal.h"
#include "memory/iovec_internal.h"

typedef enum mr_call_state {
  CALL_FREE,
  CALL_WAITING,   /* the submission queue was full */
  CALL_RUNNING,   /* in the kernel or at a helper */
  CALL_ENDED,     /* its event has been told; the caller has not finished it */
  CALL_ABANDONED, /* nobody waits for it; it cleans up when it ends */
} mr_call_state;

typedef struct mr_call mr_call;

/* What a helper thread does: it may use of the call only what was put there for it. Result: that of the call. */
typedef int32_t mr_call_work(mr_call *call);

struct mr_call {
  mr_slot slot;
  uint8_t state;
  uint8_t gives_descriptor; /* a result >= 0 is a descriptor, which an abandoned call closes */
  uint8_t without_waiting;  /* an open: O_NONBLOCK was added, and goes when it has succeeded */
  uint8_t cancel_wanted;    /* the submission queue was full */
  uint8_t let_go;           /* abandoned, but to be done */
  int32_t result;
  int32_t descriptor, other_descriptor; /* -1; of its own, closed with the call */
  mr_uring_request request;             /* of the ring's calls */
  mr_call_work *work;                   /* of the helpers' calls */
  mr_buffer memory;                     /* a holder of what the kernel reads or fills, */
  mr_iovec *held;                       /* or of each of these, */
  uint32_t held_count;
  struct iovec *parts; /* as the kernel wants them named */
  char *text;          /* copies of paths */
  uint8_t *data;       /* what the call gives back beside its result */
  uint32_t data_bytes;
  int64_t arguments[4]; /* for `work` */
  mr_loop *home;        /* where a helper's result goes */
  mr_call *next;        /* waiting for submission, at the helpers, or done there */
};

struct mr_calls {
  mr_slots slots;
  mr_call *waiting_first, *waiting_last; /* for room in the submission queue; in their order */
  int cancels_wanted;
  uint64_t read_now_turn; /* the turn that read_now_left is of */
  uint32_t read_now_left;
  int let_go;                      /* calls that nobody waits for and that shall be done */
  mr_call *done_first, *done_last; /* by helpers; under their lock */
  int helped;                      /* at the helpers, or done there and not yet collected */
  int more_done;                   /* helpers have done more than there was room for in the events */
};

static inline mr_call *mr_call_at(mr_loop *loop, int32_t slot) {
  return mr_slots_at(&loop->calls->slots, slot, sizeof(mr_call));
}

/*
 * call.c. A call is taken, filled, and handed to the ring or to a helper, all by one public function, which returns the slot.
 * mr_call_drop gives back what never was handed on.
 */
mr_call *mr_call_take(mr_loop *loop); /* NULL: no memory */
void mr_call_drop(mr_loop *loop, mr_call *call);
int mr_call_submit(mr_loop *loop, mr_call *call); /* request is filled. Result: the slot */
/* A call that works on `path` and on the file behind fd, where there are such; under another number, for fd may be closed
 * meanwhile. Result: 0 or negative errno. */
int mr_call_take_helped(mr_loop *loop, int fd, const char *path, mr_call **out);
int mr_call_help(mr_loop *loop, mr_call *call,
                 mr_call_work *work); /* Result: the slot, or negative errno and dropped */
int mr_call_copy_text(mr_call *call, const char *first, const char *second, const char **second_copy);
int mr_call_reserve_data(mr_call *call, uint32_t bytes);
void mr_call_complete(mr_loop *loop, mr_call *call, int32_t result);
int mr_calls_create(mr_loop *loop);   /* Result: 0 or -ENOMEM */
void mr_calls_prepare(mr_loop *loop); /* before each submission: what found the queue full */
void mr_calls_collect(mr_loop *loop); /* takes what helpers have done */
void mr_calls_recycle(mr_loop *loop);
void mr_calls_abandon_all(mr_loop *loop);
void mr_calls_destroy(mr_loop *loop);

/* helper.c */
int mr_helpers_add(mr_call *call);    /* a thread runs call->work and wakes call->home. Result: 0 or negative errno */
int mr_helpers_remove(mr_call *call); /* Result: 1 when no thread had begun with it, and none will */
mr_call *mr_helpers_take(mr_loop *home); /* the next one done, NULL: none */
void mr_helpers_lock(void);              /* for whoever changes wake_fd */
void mr_helpers_unlock(void);

#endif
