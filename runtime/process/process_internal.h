/*
 * process_internal.h - what the loop keeps for process.c, and asks of it.
 */
#ifndef MR_PROCESS_INTERNAL_H
#define MR_PROCESS_INTERNAL_H

#include "loop/loop_internal.h"
#include "process/process.h"

typedef struct mr_process {
  mr_slot slot;
  int32_t pid;
  int pidfd;     /* -1 once it has been reaped */
  int32_t timer; /* -1: none; for its kill, or for watching it at last */
  uint8_t held;  /* its caller has not let go */
  uint8_t polled;
  uint8_t leads; /* a process group of its own */
  uint8_t ending;
  uint8_t detached;
  mr_process_status status;
} mr_process;

struct mr_processes {
  mr_slots slots;
  int closing; /* no more polls */
};

int mr_processes_create(mr_loop *loop); /* Result: 0 or -ENOMEM */
void mr_process_complete(mr_loop *loop, int32_t slot, const mr_completion *done);
void mr_process_expired(mr_loop *loop, int32_t slot); /* its timer has */
void mr_processes_recycle(mr_loop *loop);
/* Tells all children to end, kills them after the grace; `wait` runs the loop until something has come or `until` is past. */
void mr_processes_end(mr_loop *loop, int64_t grace_ns, int (*wait)(mr_loop *loop, int64_t until));
void mr_processes_close(mr_loop *loop); /* what is polled still completes, nothing is polled any more */
void mr_processes_destroy(mr_loop *loop);

#endif
