/*
 * process.h - child processes of a loop: starting, signalling, and being told of their end.
 *
 * A child is known by a slot number until its end has been taken, and by a pidfd to the kernel, so no signal ever reaches a later owner
 * of its number. Children are reaped by the loop when they end, whether anybody asks or not.
 */
#ifndef MR_PROCESS_H
#define MR_PROCESS_H

#include "../loop/loop.h"

/* What mr_process_spawn was doing when it failed. */
typedef enum mr_spawn_step {
  MR_SPAWN_PREPARE,       /* memory for the start */
  MR_SPAWN_CLONE,         /* the process itself: clone(2) */
  MR_SPAWN_SESSION,       /* setsid(2) */
  MR_SPAWN_PROCESS_GROUP, /* setpgid(2) */
  MR_SPAWN_DESCRIPTOR,    /* dup2(2), close_range(2) */
  MR_SPAWN_GROUPS,        /* setgroups(2), setresgid(2) */
  MR_SPAWN_USER,          /* setresuid(2) */
  MR_SPAWN_DIRECTORY,     /* chdir(2) */
  MR_SPAWN_EXECUTE        /* execve(2) */
} mr_spawn_step;

/*
 * How a program is started. Strings and arrays are the caller's and only borrowed for the call. Zero is not the default of every
 * field: the ones named "or -1" have none there.
 */
typedef struct mr_spawn {
  const char *program;            /* with a slash: that file, from `directory` on; otherwise looked for in `search` */
  const char *search;             /* directories, separated by colons; only absolute ones count. NULL: none */
  const char *const *arguments;   /* from the 0th on, ended by NULL */
  const char *const *environment; /* "NAME=value", ended by NULL. NULL: that of this process */
  const char *directory;          /* NULL: that of this process */
  const int32_t *descriptors;     /* what becomes 0, 1, 2...; -1: closed. The program gets no other one */
  int32_t descriptor_count;       /* at least 3, at most MR_SPAWN_DESCRIPTORS_MAX */
  int32_t session;                /* 1: a session of its own, without a terminal */
  int32_t process_group;          /* 0: one of its own, above 0: that one, or -1: this process's */
  int32_t umask;                  /* or -1: this process's */
  int64_t user, group;            /* ids, or -1: this process's */
  const uint32_t *groups;         /* supplementary ones, set whenever `group` is */
  int32_t group_count;
  int32_t failed_step; /* out: mr_spawn_step of a failure */
} mr_spawn;

enum { MR_SPAWN_DESCRIPTORS_MAX = 64 };

/* How a child has ended. */
typedef struct mr_process_status {
  int32_t code;        /* exit status; -1: ended by a signal, or lost */
  int32_t signal;      /* the number of the signal that ended it, or 0 */
  int32_t core_dumped; /* 1: and it left a core */
  int32_t lost;        /* 1: somebody else has taken its status (wait(2) in this process) */
  double user_seconds; /* of the processor, its own children's included once it has waited for them */
  double system_seconds;
  double memory_peak; /* bytes */
} mr_process_status;

/*
 * Starts a program. It gets the descriptors that are listed and no other, and signals as a login has them: none is blocked, none ignored.
 * The calling thread is suspended until the program has been loaded, whatever the size of this process; nothing is copied.
 * Result: the child's slot, or the negative errno of the step that failed (failed_step), and then there is no child.
 */
MR_API int mr_process_spawn(mr_loop *loop, mr_spawn *spawn);

MR_API int mr_process_pid(mr_loop *loop, int process);

/*
 * Sends it a signal, or with `whole_group` everybody in the process group that it was started to lead. Result: 0 or negative errno;
 * -ESRCH once it has ended.
 */
MR_API int mr_process_signal(mr_loop *loop, int process, int signal_number, int whole_group);

/* How it has ended; MR_EVENT_PROCESS comes once when that is known. Result: 0, or -EAGAIN while it runs. */
MR_API int mr_process_status_get(mr_loop *loop, int process, mr_process_status *out);

/*
 * Ends it: SIGTERM now, SIGKILL after `grace` seconds (at once when that is 0), to its whole process group where it was started to lead
 * one. What is left of such a group when the child ends is killed.
 */
MR_API void mr_process_end(mr_loop *loop, int process, double grace);

/* Lets it run on when the loop ends; otherwise that ends it. */
MR_API void mr_process_detach(mr_loop *loop, int process);

/* Ends the caller's use of the slot. The child runs on and is reaped all the same. No event will come for it. */
MR_API void mr_process_release(mr_loop *loop, int process);

/* This process's environment, ended by NULL. Valid until it is changed. */
MR_API const char *const *mr_environment(void);

/* A user by name or number, as the system's databases know it (getpwnam(3), which may ask the network). */
typedef struct mr_user {
  uint32_t user, group;
  int32_t group_count;
  uint32_t groups[64];
} mr_user;

/* Result: 0, -ENOENT when nobody has that name, or the negative errno of the look-up. */
MR_API int mr_user_find(const char *name, mr_user *out);
/* The id of the group of that name. Result: as mr_user_find. */
MR_API int mr_group_find(const char *name, uint32_t *out);

#endif
