/*
 * spawn.h - internal: the start of a program, without the loop that waits for its end.
 */
#ifndef MR_SPAWN_H
#define MR_SPAWN_H

#include "process/process.h"

/* What mr_process_spawn does but for the waiting. Result: the process's id and *pidfd, or negative errno. */
int mr_spawn_start(mr_spawn *spawn, int *pidfd);

#endif
