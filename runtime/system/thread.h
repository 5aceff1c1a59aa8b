/*
 * thread.h - internal: threads beside those that run loops.
 */
#ifndef MR_THREAD_H
#define MR_THREAD_H

#include <pthread.h>
#include <stddef.h>

/*
 * Starts a thread that no signal comes to: those are for the threads of loops. stack_bytes 0: as much as is usual. Result: 0 or
 * negative errno.
 */
int mr_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *));

/* A condition whose waits end by the monotonic clock. */
void mr_condition_open(pthread_cond_t *condition);

#endif
