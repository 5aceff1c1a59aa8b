/*
 * spawn.c - from a description to a running program.
 *
 * The child is made with the parent's memory and the parent suspended, as vfork(2) does, so the cost doesn't depend on how large this
 * process is and no copy of it ever exists. That memory is live: until the exec the child must not allocate, not lock, not
 * run a signal handler, and not change ids through the C library, which would change them in the parent's threads. Where it fails it
 * leaves the step and the errno in that same memory.
 *
 * What a program inherits is decided here, and it is little: the descriptors that were listed, and whatever of environment,
 * directory and ids was not set.
 */
#include "process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { STACK_BYTES = 65536, LOOKUP_BYTES = 65536 };

/* The child leaves its stack without returning, and would leave the sanitizer's marks on it. */
#define IN_CHILD __attribute__((no_sanitize_address))

/* What the child works from, all of it made before. */
typedef struct start {
  mr_spawn *spawn;
  char **candidates; /* files to try, ended by NULL */
  int error;         /* what the child leaves: 0 or its errno */
  int step;
} start;

IN_CHILD static _Noreturn void give_up(start *start, int step) {
  start->step = step;
  start->error = errno;
  _exit(127);
}

IN_CHILD static void signals_reset(void) {
  /* The kernel's structure, all zero: the C library's function would leave out the two signals that it keeps to itself. */
  static const unsigned long defaults[4];
  for (int number = 1; number < NSIG; number++)
    syscall(SYS_rt_sigaction, number, defaults, NULL, (size_t)NSIG / 8);
}

/* Sources are moved out of the way first, because one may stand where another is to go. */
IN_CHILD static int descriptors_place(const mr_spawn *spawn) {
  int32_t moved[MR_SPAWN_DESCRIPTORS_MAX];
  for (int target = 0; target < spawn->descriptor_count; target++) {
    moved[target] = spawn->descriptors[target];
    if (moved[target] >= 0 && (moved[target] = fcntl(moved[target], F_DUPFD_CLOEXEC, spawn->descriptor_count)) < 0)
      return -1;
  }
  for (int target = 0; target < spawn->descriptor_count; target++) {
    if (moved[target] < 0)
      close(target);
    else if (dup2(moved[target], target) < 0)
      return -1;
  }
  return (int)syscall(SYS_close_range, (unsigned)spawn->descriptor_count, ~0U, 0);
}

/* Tries each candidate. Of several failures "may not" tells more than "is not there". */
IN_CHILD static void execute(const start *start) {
  const mr_spawn *spawn = start->spawn;
  char *const *environment = spawn->environment ? (char *const *)spawn->environment : environ;
  int refused = 0;
  errno = ENOENT;
  for (char **candidate = start->candidates; *candidate; candidate++) {
    execve(*candidate, (char *const *)spawn->arguments, environment);
    if (errno == EACCES)
      refused = 1;
    else if (errno != ENOENT && errno != ENOTDIR)
      return;
  }
  if (refused)
    errno = EACCES;
}

IN_CHILD static int child(void *argument) {
  start *start = argument;
  const mr_spawn *spawn = start->spawn;
  signals_reset();
  if (spawn->session && setsid() < 0)
    give_up(start, MR_SPAWN_SESSION);
  if (spawn->process_group >= 0 && !spawn->session && setpgid(0, spawn->process_group))
    give_up(start, MR_SPAWN_PROCESS_GROUP);
  if (descriptors_place(spawn))
    give_up(start, MR_SPAWN_DESCRIPTOR);
  if (spawn->umask >= 0)
    umask((mode_t)spawn->umask);
  if (spawn->group >= 0) {
    const gid_t group = (gid_t)spawn->group;
    if (syscall(SYS_setgroups, (size_t)spawn->group_count, spawn->groups) ||
        syscall(SYS_setresgid, group, group, group))
      give_up(start, MR_SPAWN_GROUPS);
  }
  if (spawn->user >= 0) {
    const uid_t user = (uid_t)spawn->user;
    if (syscall(SYS_setresuid, user, user, user))
      give_up(start, MR_SPAWN_USER);
  }
  if (spawn->directory && chdir(spawn->directory))
    give_up(start, MR_SPAWN_DIRECTORY);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execute(start);
  give_up(start, MR_SPAWN_EXECUTE);
}

/* The files to try, in one block: pointers, then text. NULL without memory. */
static char **candidates_make(const mr_spawn *spawn) {
  const char *search = strchr(spawn->program, '/') || !spawn->search ? NULL : spawn->search;
  size_t name = strlen(spawn->program), count = 2;
  for (const char *at = search; at && *at; at++)
    count += *at == ':';
  char **candidates = malloc(count * (sizeof *candidates + name + 2) + (search ? strlen(search) : 0));
  if (!candidates)
    return NULL;
  char *text = (char *)(candidates + count);
  size_t used = 0;
  if (!search && strchr(spawn->program, '/')) {
    candidates[used++] = memcpy(text, spawn->program, name + 1);
  }
  for (const char *at = search; at; at = *at ? at + 1 : NULL) {
    size_t length = strcspn(at, ":");
    if (*at == '/') { /* a program is taken from the working directory only by a name that says so */
      candidates[used++] = text;
      memcpy(text, at, length);
      text[length] = '/';
      memcpy(text + length + 1, spawn->program, name + 1);
      text += length + name + 2;
    }
    at += length;
  }
  candidates[used] = NULL;
  return candidates;
}

/* With SIGCHLD ignored, as some parents leave it, the kernel would throw the status of children away. */
static void keep_statuses(void) {
  struct sigaction action;
  if (sigaction(SIGCHLD, NULL, &action) == 0 && (action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT))) {
    action.sa_flags &= ~SA_NOCLDWAIT;
    if (action.sa_handler == SIG_IGN)
      action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, NULL);
  }
}

int mr_spawn_start(mr_spawn *spawn, int *pidfd) {
  spawn->failed_step = MR_SPAWN_PREPARE;
  if (spawn->descriptor_count < 3 || spawn->descriptor_count > MR_SPAWN_DESCRIPTORS_MAX)
    return -EINVAL;
  start start = {.spawn = spawn, .candidates = candidates_make(spawn)};
  char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (!start.candidates || stack == MAP_FAILED) {
    free(start.candidates);
    if (stack != MAP_FAILED)
      munmap(stack, STACK_BYTES);
    return -ENOMEM;
  }
  keep_statuses();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int pid = clone(child, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start, pidfd);
  int error = pid < 0 ? errno : start.error;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  munmap(stack, STACK_BYTES);
  free(start.candidates);
  if (!error)
    return pid;
  spawn->failed_step = pid < 0 ? MR_SPAWN_CLONE : start.step;
  if (pid >= 0) {
    siginfo_t info;
    waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED); /* it is ending already */
    close(*pidfd);
  }
  return -error;
}

const char *const *mr_environment(void) {
  return (const char *const *)environ;
}

static int user_number(const char *name, uint32_t *out) {
  char *end;
  unsigned long number = strtoul(name, &end, 10);
  if (*name < '0' || *name > '9' || *end || number >= UINT32_MAX)
    return 0;
  *out = (uint32_t)number;
  return 1;
}

int mr_user_find(const char *name, mr_user *out) {
  char *memory = malloc(LOOKUP_BYTES);
  if (!memory)
    return -ENOMEM;
  struct passwd entry, *found = NULL;
  uint32_t number;
  int is_number = user_number(name, &number);
  int error = is_number ? getpwuid_r(number, &entry, memory, LOOKUP_BYTES, &found)
                        : getpwnam_r(name, &entry, memory, LOOKUP_BYTES, &found);
  if (!error && found) {
    out->user = found->pw_uid;
    out->group = found->pw_gid;
    out->group_count = sizeof out->groups / sizeof *out->groups;
    if (getgrouplist(found->pw_name, found->pw_gid, out->groups, &out->group_count) < 0)
      error = E2BIG;
  } else if (!error && is_number) {
    *out = (mr_user){.user = number, .group = number}; /* a number needs no entry */
  } else if (!error) {
    error = ENOENT;
  }
  free(memory);
  return -error;
}

int mr_group_find(const char *name, uint32_t *out) {
  if (user_number(name, out))
    return 0;
  char *memory = malloc(LOOKUP_BYTES);
  if (!memory)
    return -ENOMEM;
  struct group entry, *found = NULL;
  int error = getgrnam_r(name, &entry, memory, LOOKUP_BYTES, &found);
  if (!error && found)
    *out = found->gr_gid;
  else if (!error)
    error = ENOENT;
  free(memory);
  return -error;
}
